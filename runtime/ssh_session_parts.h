/* What the two files of a session share: ssh_session.c (the connection) and ssh_channel.c (its channels). */
#ifndef MOONBOOK_SSH_SESSION_PARTS_H
#define MOONBOOK_SSH_SESSION_PARTS_H

#include "ssh_session.h"

#define SSH_QUEUE_MOST ((size_t)512 << 10) /* bytes waiting for the socket: more is not given to libssh2 */
#define SSH_EXECS_MOST 8                   /* of sshd's ten (MaxSessions): two are left for ending commands */

/* On the stack of the fiber that waits. */
struct ssh_waiter {
    struct fiber *fiber;
    struct ssh_waiter *next;
};

struct ssh_session {
    struct runtime *runtime;
    char *name;
    LIBSSH2_SESSION *libssh2;
    uv_stream_t *stream;
    uv_timer_t timer;
    uv_timer_t opening_timer; /* runs while libssh2 works at an opening */
    unsigned holders;         /* the owner, three handles, writes under way, channels */
    bool handles_closed;
    bool established;
    bool apart;
    struct buffer kept; /* to be sent when it is no longer apart */
    void *user;
    bool advancing;
    bool ended; /* no more bytes will come */
    bool dead;
    bool stuck;
    bool gone; /* being freed */
    char *death;
    struct buffer in;
    size_t taken;  /* of `in`, by libssh2 */
    size_t queued; /* bytes that libuv has not written yet */
    uint64_t last_heard, silence_ms;
    unsigned silences;
    struct ssh_waiter *waiters;
    struct ssh_opening *first_opening, *last_opening;
    struct ssh_channel *channels;
    LIBSSH2_CHANNEL *tap;
    unsigned execs, execs_most;
    uint64_t execs_begun; /* ever */
};

void ssh_session_hold(struct ssh_session *session);
void ssh_session_release(struct ssh_session *session);
void ssh_session_wake(struct ssh_session *session);

/* Gives the connection up where a result of libssh2 says that it is of no use any more. */
void ssh_session_check(struct ssh_session *session, int code);

/* Does what can be done: takes in what came, opens, sends, closes, wakes. */
void ssh_session_advance(struct ssh_session *session);

/* The channels' part of it. */
void ssh_channels_advance(struct ssh_session *session);
bool ssh_channels_in_use(const struct ssh_session *session);
void ssh_channels_make_tap(struct ssh_session *session);
void ssh_channels_on_slow_opening(uv_timer_t *timer);
void ssh_channels_tell_death(struct ssh_session *session);

#endif
