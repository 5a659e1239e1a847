/* One SSH connection over libssh2, many channels on it at once.
 *
 * libssh2 1.10 has rules of its own, which this layer keeps so that nobody above needs to know them:
 * - A call that would block in the middle of a packet must be repeated with the same arguments before any other, or the
 *   session is lost. So it never blocks there: bytes to send go to a queue of ours (libuv writes them), bytes that
 *   came are taken from a buffer of ours. Who sends much looks at the queue before.
 * - It opens one channel at a time. Requests to open stand in a queue here and are finished here, also when the fiber
 *   that asked is gone: the channel that comes is then closed.
 * - Closing a channel waits for the other side. That is finished here too, nobody waits for it.
 * - Nothing reads what came unless a channel is read: a channel that is closed on both sides, the tap, is kept for that,
 *   so that the server's requests are answered on an idle connection too. One that never ran a command, to a jump host,
 *   gets one when something comes; where the server refuses that, asking for it was enough to have read what came.
 * - It takes answers to keep-alives for nothing. Whether bytes came is what tells that the other side lives.
 *
 * Callbacks of libuv move bytes and wake fibers; what a fiber waits for it looks at again after ssh_session_wait. */
#ifndef MOONBOOK_SSH_SESSION_H
#define MOONBOOK_SSH_SESSION_H

#include "buffer.h"
#include "failure.h"
#include "fiber.h"
#include "runtime.h"

#include <libssh2.h>
#include <stdbool.h>
#include <stdint.h>

struct ssh_session;
struct ssh_channel;

/* A session on a connected stream, which it owns from now on (closed and freed with it). `name` is the host's, for
 * messages. Nothing is sent yet. NULL when there is no memory. */
struct ssh_session *ssh_session_new(struct runtime *runtime, const char *name, uv_stream_t *stream);

/* Says goodbye and closes. Memory is released when libuv has closed the handles and the last channel is gone. */
void ssh_session_close(struct ssh_session *session);

/* For handshake and login, which one fiber does before the session is `established`. */
LIBSSH2_SESSION *ssh_session_libssh2(struct ssh_session *session);

/* The stream's descriptor: libssh2 wants to see one, though it never reads or writes it. */
int ssh_session_descriptor(const struct ssh_session *session);

/* While it is apart, libssh2 may be called for it in the thread pool: nothing comes in, what goes out is kept. */
void ssh_session_set_apart(struct ssh_session *session, bool apart);

/* A pointer of whoever logs in, for libssh2's callbacks: they are given the session. */
void ssh_session_set_user(struct ssh_session *session, void *user);
void *ssh_session_user(const struct ssh_session *session);

/* From now on channels may be opened, and the other side is asked for a sign of life when nothing came for
 * `silence_ms`; after three such times the connection is given up. */
void ssh_session_establish(struct ssh_session *session, uint64_t silence_ms);

/* Waits until something happened on the connection or the time (of runtime_now) has come. */
enum wait_outcome ssh_session_wait(struct ssh_session *session, uint64_t until);

/* Is the connection lost? Then fills in why, as "unreachable"; `failure` may be NULL. */
bool ssh_session_is_dead(const struct ssh_session *session, const char *op, struct failure *failure);

/* Gives the connection up; the first reason stays. */
void ssh_session_fail(struct ssh_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* An address behind the host that does not answer keeps libssh2 from opening anything else until sshd gives it up, which
 * takes minutes. An opening without an answer for a second (ten for a command's) makes the connection stuck: what waits to
 * be opened on it, and what is asked for later, fails as "busy" and belongs on a new connection. What is open goes on. */
bool ssh_session_is_stuck(const struct ssh_session *session);

/* Is anything open or being opened on it? */
bool ssh_session_in_use(const struct ssh_session *session);

/* The refusal of a "busy" connection, as told to owners of channels: this very pointer. */
extern const char ssh_busy[];

/* Opens a channel and starts a command there. Waits. NULL and a failure: "unreachable", "timeout", "cancelled", "busy",
 * "failed" where the server refuses. At most eight commands run at once on a connection (sshd allows ten), further
 * ones wait here, but for `urgent` ones, which end or look after others. */
struct ssh_channel *ssh_channel_run(struct ssh_session *session, const char *command, bool urgent,
                                    uint64_t until, struct failure *failure);

/* What a channel without a fiber tells its owner. Called from the loop: may not wait. */
struct ssh_channel_events {
    void (*opened)(void *owner, struct ssh_channel *channel, const char *refusal); /* channel NULL: why not */
    void (*active)(void *owner,
                   struct ssh_channel *channel); /* bytes, end, room to write, or a dead connection */
};

/* Opens a channel to an address behind the host; one that begins with '/' is a Unix socket there. Waits, fails as
 * ssh_channel_run does. Nobody is told what comes before it has an owner. */
struct ssh_channel *ssh_channel_reach(struct ssh_session *session, const char *address, int port,
                                      uint64_t until, struct failure *failure);
void ssh_channel_own(struct ssh_channel *channel, const struct ssh_channel_events *events, void *owner);

/* The same without waiting; NULL where the connection is lost or stuck. The owner is told later, at the earliest when the
 * next bytes come or ssh_session_stir is called. */
struct ssh_opening;
struct ssh_opening *ssh_channel_connect(struct ssh_session *session, const char *address, int port,
                                        const struct ssh_channel_events *events, void *owner);

void ssh_session_stir(struct ssh_session *session);

/* The owner is gone: nothing is told any more. */
void ssh_opening_forget(struct ssh_opening *opening);

/* Appends what came on stream 0 (output) or 1 (errors), at most about `most` bytes. Returns how many. */
size_t ssh_channel_read(struct ssh_channel *channel, int stream, size_t most, struct buffer *into);

/* Sends, at once or when there is room. ssh_channel_unsent tells what still waits: keep it small. */
void ssh_channel_write(struct ssh_channel *channel, const char *bytes, size_t length);
size_t ssh_channel_unsent(const struct ssh_channel *channel);

/* No more is written: end of file for the other side, after what waits. */
void ssh_channel_end(struct ssh_channel *channel);

/* Has the other side sent all, and was it read? */
bool ssh_channel_ended(const struct ssh_channel *channel);

/* Has the other side closed the channel? Only then the absence of a signal and a status of 0 mean success. */
bool ssh_channel_closed(struct ssh_channel *channel);

/* The exit status and signal as far as they are known: 0 and 0 also mean that nothing came yet. */
void ssh_channel_exit(struct ssh_channel *channel, int *status, int *signal);

/* Does the other side take nothing more? */
bool ssh_channel_is_broken(const struct ssh_channel *channel);

struct ssh_session *ssh_channel_session(const struct ssh_channel *channel);

/* Never waits. NULL is fine. */
void ssh_channel_close(struct ssh_channel *channel);

/* The channel, ended and closed by the other side, becomes the tap. */
void ssh_channel_keep_as_tap(struct ssh_channel *channel);

#endif
