/* The connection: bytes in and out, keep-alive, death. Channels are in ssh_channel.c. */
#include "ssh_session_parts.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SILENCES_MOST 3

/* ---- life ---- */

static void release(struct ssh_session *session)
{
    if (--session->holders)
        return;
    session->ended = true;
    session->gone = true;
    /* The tap and what else is left: freed by libssh2, which finds the connection gone. */
    for (int tries = 0; tries < 10 && libssh2_session_free(session->libssh2) == LIBSSH2_ERROR_EAGAIN; tries++)
        ;
    buffer_wipe(&session->in);
    buffer_wipe(&session->kept);
    free(session->death);
    free(session->name);
    free(session);
}

void ssh_session_hold(struct ssh_session *session)
{
    session->holders++;
}

void ssh_session_release(struct ssh_session *session)
{
    release(session);
}

static void on_stream_closed(uv_handle_t *handle)
{
    struct ssh_session *session = handle->data;
    free(handle);
    release(session);
}

static void on_opening_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

/* From the loop, not from inside of what noticed the death: channels go now. */
static void on_timer_closed(uv_handle_t *handle)
{
    ssh_channels_tell_death(handle->data);
    release(handle->data);
}

/* The handles go; what fibers and channels hold stays until they let go. */
static void close_handles(struct ssh_session *session)
{
    if (session->handles_closed)
        return;
    session->handles_closed = true;
    uv_close((uv_handle_t *)session->stream, on_stream_closed);
    uv_close((uv_handle_t *)&session->opening_timer, on_opening_timer_closed);
    uv_close((uv_handle_t *)&session->timer, on_timer_closed);
}

void ssh_session_wake(struct ssh_session *session)
{
    for (struct ssh_waiter *waiter = session->waiters; waiter; waiter = waiter->next)
        fiber_wake(waiter->fiber);
}

void ssh_session_fail(struct ssh_session *session, const char *format, ...)
{
    if (session->dead)
        return;
    struct buffer reason = {0};
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buffer_append_text(&reason, text);
    session->dead = session->ended = true;
    session->death = reason.bytes;
    uv_timer_stop(&session->timer);
    close_handles(session);
    ssh_session_wake(session);
}

bool ssh_session_is_dead(const struct ssh_session *session, const char *op, struct failure *failure)
{
    if (session->dead && failure) {
        failure_set(failure, "unreachable", op, "the connection to %s was lost: %s", session->name,
                    session->death);
        failure_hint(failure, "see whether the host is up and reachable, then run it again");
    }
    return session->dead;
}

bool ssh_session_is_stuck(const struct ssh_session *session)
{
    return session->stuck;
}

bool ssh_session_in_use(const struct ssh_session *session)
{
    return ssh_channels_in_use(session);
}

LIBSSH2_SESSION *ssh_session_libssh2(struct ssh_session *session)
{
    return session->libssh2;
}

int ssh_session_descriptor(const struct ssh_session *session)
{
    uv_os_fd_t file = -1;
    uv_fileno((uv_handle_t *)session->stream, &file);
    return file;
}

/* ---- bytes ---- */

/* libssh2 takes what came. */
static ssize_t on_receive(libssh2_socket_t socket, void *bytes, size_t length, int flags, void **abstract)
{
    (void)socket;
    (void)flags;
    struct ssh_session *session = *abstract;
    size_t left = session->in.length - session->taken;
    if (!left)
        return session->gone ? 0 : -EAGAIN; /* what was received before the end is still to be read */
    if (length > left)
        length = left;
    memcpy(bytes, session->in.bytes + session->taken, length);
    session->taken += length;
    if (session->taken == session->in.length) {
        buffer_clear(&session->in);
        session->taken = 0;
    }
    return (ssize_t)length;
}

/* Bytes that libuv writes, and how many of them count to the queue. */
struct outgoing {
    uv_write_t request;
    struct ssh_session *session;
    size_t length;
    char bytes[];
};

static void on_written(uv_write_t *request, int status)
{
    struct outgoing *outgoing = request->data;
    struct ssh_session *session = outgoing->session;
    bool was_full = session->queued >= SSH_QUEUE_MOST;
    session->queued -= outgoing->length;
    free(outgoing);
    if (status < 0 && status != UV_ECANCELED)
        ssh_session_fail(session, "%s", uv_strerror(status));
    else if (was_full && session->queued < SSH_QUEUE_MOST)
        ssh_session_advance(session);
    release(session);
}

/* libssh2 hands over what is to be sent: all of it is taken, always. */
static ssize_t on_send(libssh2_socket_t socket, const void *bytes, size_t length, int flags, void **abstract)
{
    (void)socket;
    (void)flags;
    struct ssh_session *session = *abstract;
    if (session->handles_closed)
        return -EPIPE;
    size_t done = 0;
    if (session->apart) {
        buffer_append(&session->kept, bytes, length);
        return (ssize_t)length;
    }
    if (!session->queued) {
        uv_buf_t piece = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)length);
        int written = uv_try_write(session->stream, &piece, 1);
        done = written > 0 ? (size_t)written : 0;
    }
    if (done == length)
        return (ssize_t)length;
    struct outgoing *outgoing = allocate(sizeof *outgoing + length - done);
    outgoing->session = session;
    outgoing->length = length - done;
    outgoing->request.data = outgoing;
    memcpy(outgoing->bytes, (const char *)bytes + done, length - done);
    uv_buf_t piece = uv_buf_init(outgoing->bytes, (unsigned)outgoing->length);
    if (uv_write(&outgoing->request, session->stream, &piece, 1, on_written) != 0) {
        free(outgoing);
        return -EPIPE;
    }
    session->queued += outgoing->length;
    session->holders++;
    return (ssize_t)length;
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *piece)
{
    (void)handle;
    (void)suggested;
    *piece = uv_buf_init(allocate(65536), 65536);
}

/* Until the first command sshd holds small packets back while earlier ones are not acknowledged, which the kernel puts off
 * for 40 ms. It forgets that it is not to do so again and again. */
static void acknowledge(const struct ssh_session *session)
{
    int yes = 1;
    if (!session->tap)
        setsockopt(ssh_session_descriptor(session), IPPROTO_TCP, TCP_QUICKACK, &yes, sizeof yes);
}

static void on_bytes(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece)
{
    struct ssh_session *session = stream->data;
    session->holders++; /* what follows may end it */
    if (length > 0) {
        buffer_append(&session->in, piece->base, (size_t)length);
        session->last_heard = runtime_now(session->runtime);
        session->silences = 0;
        acknowledge(session);
    } else if (length < 0) {
        session->ended = true;
        uv_read_stop(stream);
    }
    free(piece->base);
    ssh_session_advance(session);
    if (session->established && !session->dead && !session->tap && session->in.length > session->taken)
        ssh_channels_make_tap(session);
    if (length == UV_EOF)
        ssh_session_fail(session, "the host closed it");
    else if (length < 0)
        ssh_session_fail(session, "%s", uv_strerror((int)length));
    ssh_session_wake(session);
    release(session);
}

void ssh_session_set_apart(struct ssh_session *session, bool apart)
{
    session->apart = apart;
    if (session->handles_closed)
        return;
    if (apart) {
        uv_read_stop(session->stream);
        return;
    }
    uv_read_start(session->stream, on_allocate, on_bytes);
    void *abstract = session;
    if (session->kept.length && on_send(0, session->kept.bytes, session->kept.length, 0, &abstract) < 0)
        ssh_session_fail(session, "it cannot be written to");
    buffer_clear(&session->kept);
}

void ssh_session_set_user(struct ssh_session *session, void *user)
{
    session->user = user;
}

void *ssh_session_user(const struct ssh_session *session)
{
    return session->user;
}

/* ---- keep-alive ---- */

static void on_tick(uv_timer_t *timer)
{
    struct ssh_session *session = timer->data;
    session->holders++;
    uint64_t silent = runtime_now(session->runtime) - session->last_heard;
    if (silent + 100 >= session->silence_ms * (session->silences + 1)) {
        if (++session->silences > SILENCES_MOST)
            ssh_session_fail(session, "it did not answer for %.0f s", (double)silent / 1000.0);
        else
            libssh2_keepalive_send(session->libssh2, NULL);
    }
    if (!session->dead)
        ssh_session_advance(session); /* libssh2's own time limits */
    release(session);
}

void ssh_session_establish(struct ssh_session *session, uint64_t silence_ms)
{
    session->established = true;
    session->silence_ms = silence_ms;
    session->last_heard = runtime_now(session->runtime);
    libssh2_keepalive_config(session->libssh2, 1, 2);
    uv_timer_start(&session->timer, on_tick, silence_ms, silence_ms);
}

/* ---- what happens ---- */

void ssh_session_check(struct ssh_session *session, int code)
{
    switch (code) {
    case LIBSSH2_ERROR_SOCKET_DISCONNECT:
    case LIBSSH2_ERROR_SOCKET_RECV:
    case LIBSSH2_ERROR_SOCKET_SEND:
        if (!session->ended) /* else whoever saw the end says what it was */
            ssh_session_fail(session, "the host closed it");
        break;
    case LIBSSH2_ERROR_INVALID_MAC:
    case LIBSSH2_ERROR_DECRYPT:
    case LIBSSH2_ERROR_PROTO:
    case LIBSSH2_ERROR_KEX_FAILURE:
    case LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE:
    case LIBSSH2_ERROR_BAD_USE: {
        char *text = NULL;
        libssh2_session_last_error(session->libssh2, &text, NULL, 0);
        ssh_session_fail(session, "%s (libssh2 error %d)", text ? text : "protocol error", code);
        break;
    }
    default:
        break;
    }
}

void ssh_session_advance(struct ssh_session *session)
{
    if (!session->established || session->advancing || session->dead)
        return;
    session->holders++;
    session->advancing = true;
    if (session->tap) {
        char byte;
        ssize_t got = libssh2_channel_read(session->tap, &byte, 1);
        if (got < 0)
            ssh_session_check(session, (int)got);
    }
    if (!session->dead)
        ssh_channels_advance(session);
    session->advancing = false;
    ssh_session_wake(session);
    release(session);
}

void ssh_session_stir(struct ssh_session *session)
{
    ssh_session_advance(session);
}

enum wait_outcome ssh_session_wait(struct ssh_session *session, uint64_t until)
{
    uint64_t now = runtime_now(session->runtime);
    if (now >= until)
        return WAIT_TIMEOUT;
    struct ssh_waiter waiter = {.fiber = session->runtime->current, .next = session->waiters};
    session->waiters = &waiter;
    enum wait_outcome outcome = fiber_suspend(session->runtime, until - now);
    struct ssh_waiter **at = &session->waiters;
    while (*at != &waiter)
        at = &(*at)->next;
    *at = waiter.next;
    return outcome;
}

struct ssh_session *ssh_session_new(struct runtime *runtime, const char *name, uv_stream_t *stream)
{
    struct ssh_session *session = allocate_zeroed(1, sizeof *session);
    session->libssh2 = libssh2_session_init_ex(NULL, NULL, NULL, session);
    if (!session->libssh2) {
        free(session);
        return NULL;
    }
    session->runtime = runtime;
    session->name = copy_text(name);
    session->stream = stream;
    session->execs_most = SSH_EXECS_MOST;
    session->holders = 4; /* the owner, stream and timers */
    stream->data = session;
    uv_timer_init(&runtime->loop, &session->timer);
    uv_timer_init(&runtime->loop, &session->opening_timer);
    session->timer.data = session->opening_timer.data = session;
    libssh2_session_set_blocking(session->libssh2, 0);
    libssh2_session_callback_set(session->libssh2, LIBSSH2_CALLBACK_RECV, (void *)(uintptr_t)on_receive);
    libssh2_session_callback_set(session->libssh2, LIBSSH2_CALLBACK_SEND, (void *)(uintptr_t)on_send);
    uv_read_start(stream, on_allocate, on_bytes);
    return session;
}

void ssh_session_close(struct ssh_session *session)
{
    if (!session)
        return;
    if (!session->dead && session->established)
        libssh2_session_disconnect(session->libssh2, "done");
    ssh_session_fail(session, "it was closed");
    release(session);
}
