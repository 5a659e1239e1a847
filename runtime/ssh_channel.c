/* Channels of a connection: opened one at a time, read and written without blocking, closed in the background. */
#include "ssh_session_parts.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define READ_PIECE    32768
#define WINDOW        ((unsigned)2 << 20)
#define CLOSE_MS      10000 /* for the other side's part in closing a channel */
#define REACH_SLOW_MS 1000  /* an opening that took longer: see ssh_session_is_stuck */
#define OPEN_SLOW_MS  10000
#define REFUSALS_MOST 4

const char ssh_busy[] = "another address behind it does not answer";

struct ssh_opening {
    struct ssh_session *session;
    char *address; /* to connect to, or NULL for a command's channel */
    int port;
    struct buffer message;                   /* for a Unix socket */
    const struct ssh_channel_events *events; /* for a connection */
    void *owner;
    bool forgotten; /* nobody waits any more */
    bool finished;
    struct ssh_channel *channel; /* the result */
    char refusal[160];
    bool busy;    /* it was never begun: the connection is stuck */
    bool started; /* libssh2 works at it: it must be finished */
    struct ssh_opening *next;
};

struct ssh_channel {
    struct ssh_session *session;
    LIBSSH2_CHANNEL *libssh2; /* NULL once it was freed */
    bool is_exec;
    struct buffer out;
    size_t sent; /* of `out` */
    bool end_wanted, end_sent;
    bool refused; /* the other side takes nothing more */
    bool closing;
    uint64_t close_by;
    const struct ssh_channel_events *events;
    void *owner;
    struct ssh_channel *next;
};

/* ---- openings ---- */

static struct ssh_channel *channel_new(struct ssh_opening *opening, LIBSSH2_CHANNEL *libssh2)
{
    struct ssh_session *session = opening->session;
    struct ssh_channel *channel = allocate_zeroed(1, sizeof *channel);
    channel->session = session;
    channel->libssh2 = libssh2;
    channel->is_exec = !opening->address;
    channel->events = opening->events;
    channel->owner = opening->owner;
    channel->next = session->channels;
    session->channels = channel;
    session->execs += channel->is_exec;
    session->execs_begun += channel->is_exec;
    session->runtime->counts.round_trips += opening->address != NULL;
    ssh_session_hold(session);
    return channel;
}

static void opening_free(struct ssh_opening *opening)
{
    free(opening->address);
    buffer_free(&opening->message);
    free(opening);
}

/* The request is off the queue: tells whoever asked. */
static void opening_finish(struct ssh_opening *opening)
{
    opening->finished = true;
    if (opening->forgotten) {
        ssh_channel_close(opening->channel);
        opening_free(opening);
    } else if (opening->events) {
        if (opening->channel)
            opening->events->opened(opening->owner, opening->channel, NULL);
        else
            opening->events->opened(opening->owner, NULL, opening->busy ? ssh_busy : opening->refusal);
        opening_free(opening);
    } /* else the fiber that waits takes it */
}

static void drop_first(struct ssh_session *session)
{
    struct ssh_opening *opening = session->first_opening;
    session->first_opening = opening->next;
    if (!session->first_opening)
        session->last_opening = NULL;
}

static struct ssh_opening *opening_queue(struct ssh_session *session, const char *address, int port)
{
    struct ssh_opening *opening = allocate_zeroed(1, sizeof *opening);
    opening->session = session;
    opening->address = address ? copy_text(address) : NULL;
    opening->port = port;
    if (session->last_opening)
        session->last_opening->next = opening;
    else
        session->first_opening = opening;
    session->last_opening = opening;
    return opening;
}

static void append_number(struct buffer *message, size_t number)
{
    const char bytes[] = {(char)(number >> 24), (char)(number >> 16), (char)(number >> 8), (char)number};
    buffer_append(message, bytes, sizeof bytes);
}

/* direct-streamlocal@openssh.com: the path, a text and a number that are reserved. libssh2 before 1.11 has no call for it. */
static LIBSSH2_CHANNEL *open_local_socket(struct ssh_opening *opening)
{
    static const char type[] = "direct-streamlocal@openssh.com";
    if (!opening->message.length) {
        append_number(&opening->message, strlen(opening->address));
        buffer_append_text(&opening->message, opening->address);
        append_number(&opening->message, 0);
        append_number(&opening->message, 0);
    }
    return libssh2_channel_open_ex(opening->session->libssh2, type, sizeof type - 1, WINDOW,
                                   LIBSSH2_CHANNEL_PACKET_DEFAULT, opening->message.bytes,
                                   (unsigned)opening->message.length);
}

/* One call of libssh2. True when the opening is over, well or not. */
static bool work_at(struct ssh_opening *opening)
{
    struct ssh_session *session = opening->session;
    LIBSSH2_SESSION *libssh2 = session->libssh2;
    LIBSSH2_CHANNEL *channel;
    if (!opening->started)
        uv_timer_start(&session->opening_timer, ssh_channels_on_slow_opening,
                       opening->address ? REACH_SLOW_MS : OPEN_SLOW_MS, 0);
    opening->started = true;
    if (!opening->address)
        channel =
            libssh2_channel_open_ex(libssh2, "session", 7, WINDOW, LIBSSH2_CHANNEL_PACKET_DEFAULT, NULL, 0);
    else if (*opening->address == '/')
        channel = open_local_socket(opening);
    else
        channel = libssh2_channel_direct_tcpip_ex(libssh2, opening->address, opening->port, "127.0.0.1", 0);
    int code = channel ? 0 : libssh2_session_last_errno(libssh2);
    if (code == LIBSSH2_ERROR_EAGAIN)
        return false;
    uv_timer_stop(&session->opening_timer);
    session->stuck = false;
    if (channel) {
        opening->channel = channel_new(opening, channel);
        return true;
    }
    char *text = NULL;
    libssh2_session_last_error(libssh2, &text, NULL, 0);
    snprintf(opening->refusal, sizeof opening->refusal, "%s", text ? text : "refused");
    ssh_session_check(session, code);
    return true;
}

static void advance_openings(struct ssh_session *session)
{
    struct ssh_opening *opening;
    while (!session->dead && (opening = session->first_opening)) {
        if (opening->forgotten && !opening->started) {
            drop_first(session);
            opening_free(opening);
            continue;
        }
        if (!work_at(opening))
            return;
        drop_first(session);
        opening_finish(opening);
    }
}

/* Those behind the one that gets no answer are told to go elsewhere. */
void ssh_channels_on_slow_opening(uv_timer_t *timer)
{
    struct ssh_session *session = timer->data;
    struct ssh_opening *first = session->first_opening, *opening;
    if (session->dead || !first)
        return;
    ssh_session_hold(session);
    session->stuck = true;
    while ((opening = first->next)) {
        first->next = opening->next;
        opening->busy = true;
        opening_finish(opening);
    }
    session->last_opening = first;
    ssh_session_wake(session);
    ssh_session_release(session);
}

struct ssh_opening *ssh_channel_connect(struct ssh_session *session, const char *address, int port,
                                        const struct ssh_channel_events *events, void *owner)
{
    if (session->dead || session->stuck)
        return NULL;
    struct ssh_opening *opening = opening_queue(session, address, port);
    opening->events = events;
    opening->owner = owner;
    return opening;
}

void ssh_opening_forget(struct ssh_opening *opening)
{
    opening->forgotten = true;
}

static struct ssh_channel *say_busy(const struct ssh_session *session, const char *op,
                                    struct failure *failure)
{
    failure_set(failure, "busy", op, "%s opens no channel: %s", session->name, ssh_busy);
    return NULL;
}

/* Waits for the channel of a command or, with an address, to it. */
static struct ssh_channel *await_opening(struct ssh_session *session, const char *address, int port,
                                         uint64_t until, const char *op, struct failure *failure)
{
    enum wait_outcome outcome = WAIT_WOKEN;
    if (session->stuck)
        return say_busy(session, op, failure);
    struct ssh_opening *opening = opening_queue(session, address, port);
    ssh_session_advance(session);
    while (!opening->finished && !session->dead && outcome == WAIT_WOKEN)
        outcome = ssh_session_wait(session, until);
    if (!opening->finished) {
        ssh_opening_forget(opening); /* where the connection is dead its end frees it */
        if (!ssh_session_is_dead(session, op, failure))
            fiber_wait_failure(failure, outcome, op, 0);
        return NULL;
    }
    struct ssh_channel *channel = opening->channel;
    if (opening->busy)
        say_busy(session, op, failure);
    else if (!channel && !ssh_session_is_dead(session, op, failure))
        failure_set(failure, "failed", op, "%s refused a channel: %s", session->name, opening->refusal);
    opening_free(opening);
    return channel;
}

struct ssh_channel *ssh_channel_reach(struct ssh_session *session, const char *address, int port,
                                      uint64_t until, struct failure *failure)
{
    if (ssh_session_is_dead(session, "forward", failure))
        return NULL;
    ssh_session_hold(session);
    struct ssh_channel *channel = await_opening(session, address, port, until, "forward", failure);
    ssh_session_release(session);
    return channel;
}

void ssh_channel_own(struct ssh_channel *channel, const struct ssh_channel_events *events, void *owner)
{
    channel->events = events;
    channel->owner = owner;
}

/* ---- commands ---- */

/* sshd may allow fewer channels at a time than it does by default: then as many as there are is the most. But it counts one
 * that was closed until it has seen to all that came together with the close, a request for the next channel too: what it
 * refuses is asked for again, and is refused for good when that is repeated with nothing open and nobody else served. */
static struct ssh_channel *open_in_turn(struct ssh_session *session, bool urgent, uint64_t until,
                                        struct failure *failure)
{
    unsigned refused = 0, refused_alone = 0;
    uint64_t begun = session->execs_begun;
    for (;;) {
        while (session->execs >= session->execs_most && !urgent && !session->dead && !session->stuck) {
            enum wait_outcome outcome = ssh_session_wait(session, until);
            if (outcome != WAIT_WOKEN) {
                fiber_wait_failure(failure, outcome, "run", 0);
                return NULL;
            }
        }
        if (ssh_session_is_dead(session, "run", failure))
            return NULL;
        struct ssh_channel *channel = await_opening(session, NULL, 0, until, "run", failure);
        if (channel || session->dead || strcmp(failure->kind, "failed") != 0)
            return channel;
        bool alone = urgent || (!session->execs && session->execs_begun == begun);
        refused_alone = alone ? refused_alone + 1 : 0;
        begun = session->execs_begun;
        if (refused_alone == REFUSALS_MOST)
            return NULL;
        if (!alone && session->execs && ++refused > 1)
            session->execs_most = session->execs;
    }
}

struct ssh_channel *ssh_channel_run(struct ssh_session *session, const char *command, bool urgent,
                                    uint64_t until, struct failure *failure)
{
    ssh_session_hold(session);
    struct ssh_channel *channel = open_in_turn(session, urgent, until, failure);
    session->runtime->counts.round_trips += channel && !urgent; /* a look at a slow command is nobody's */
    while (channel) {
        int code =
            libssh2_channel_process_startup(channel->libssh2, "exec", 4, command, (unsigned)strlen(command));
        if (code == 0)
            break;
        enum wait_outcome outcome = WAIT_WOKEN;
        if (code != LIBSSH2_ERROR_EAGAIN)
            ssh_session_check(session, code);
        else
            outcome = ssh_session_wait(session, until);
        if (code == LIBSSH2_ERROR_EAGAIN && outcome == WAIT_WOKEN && !session->dead)
            continue;
        if (outcome != WAIT_WOKEN)
            fiber_wait_failure(failure, outcome, "run", 0);
        else if (!ssh_session_is_dead(session, "run", failure))
            failure_set(failure, "failed", "run", "%s does not let this user run commands", session->name);
        ssh_channel_close(channel);
        channel = NULL;
    }
    ssh_session_release(session);
    return channel;
}

static int signal_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } signals[] = {{"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"FPE", SIGFPE},   {"HUP", SIGHUP},
                   {"ILL", SIGILL},   {"INT", SIGINT},   {"KILL", SIGKILL}, {"PIPE", SIGPIPE},
                   {"QUIT", SIGQUIT}, {"SEGV", SIGSEGV}, {"TERM", SIGTERM}, {"USR1", SIGUSR1},
                   {"USR2", SIGUSR2}};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (strcmp(signals[i].name, name) == 0)
            return signals[i].number;
    return SIGRTMAX; /* one that the protocol has no name for: SIGBUS, SIGSYS, ... */
}

void ssh_channel_exit(struct ssh_channel *channel, int *status, int *signal)
{
    char *name = NULL;
    *status = libssh2_channel_get_exit_status(channel->libssh2);
    libssh2_channel_get_exit_signal(channel->libssh2, &name, NULL, NULL, NULL, NULL, NULL);
    *signal = name ? signal_number(name) : 0;
    if (name)
        libssh2_free(channel->session->libssh2, name);
}

/* ---- bytes ---- */

size_t ssh_channel_read(struct ssh_channel *channel, int stream, size_t most, struct buffer *into)
{
    char piece[READ_PIECE];
    size_t total = 0;
    while (total < most) {
        ssize_t length = libssh2_channel_read_ex(channel->libssh2, stream ? SSH_EXTENDED_DATA_STDERR : 0,
                                                 piece, sizeof piece);
        if (length <= 0) {
            ssh_session_check(channel->session, (int)length);
            break;
        }
        buffer_append(into, piece, (size_t)length);
        total += (size_t)length;
    }
    return total;
}

/* Gives libssh2 what waits, while its queue to the socket is short. After "would block" (keys are being exchanged) the same
 * bytes come again. */
static void flush(struct ssh_channel *channel)
{
    struct ssh_session *session = channel->session;
    while (channel->sent < channel->out.length && !channel->refused && session->queued < SSH_QUEUE_MOST) {
        ssize_t taken = libssh2_channel_write(channel->libssh2, channel->out.bytes + channel->sent,
                                              channel->out.length - channel->sent);
        if (taken == 0 || taken == LIBSSH2_ERROR_EAGAIN)
            return; /* its window is full */
        if (taken < 0) {
            ssh_session_check(session, (int)taken);
            channel->refused = true;
        } else {
            channel->sent += (size_t)taken;
        }
    }
    if (channel->sent == channel->out.length || channel->refused) {
        buffer_wipe(&channel->out); /* may have held a secret */
        channel->sent = 0;
    }
    if (channel->end_wanted && !channel->end_sent && !channel->out.length)
        channel->end_sent = libssh2_channel_send_eof(channel->libssh2) != LIBSSH2_ERROR_EAGAIN;
}

void ssh_channel_write(struct ssh_channel *channel, const char *bytes, size_t length)
{
    if (channel->refused || channel->session->dead)
        return;
    buffer_append(&channel->out, bytes, length);
    flush(channel);
}

size_t ssh_channel_unsent(const struct ssh_channel *channel)
{
    return channel->out.length - channel->sent;
}

void ssh_channel_end(struct ssh_channel *channel)
{
    channel->end_wanted = true;
    if (!channel->session->dead)
        flush(channel);
}

bool ssh_channel_ended(const struct ssh_channel *channel)
{
    return libssh2_channel_eof(channel->libssh2) == 1;
}

bool ssh_channel_closed(struct ssh_channel *channel)
{
    return ssh_channel_ended(channel) && libssh2_channel_wait_closed(channel->libssh2) == 0;
}

bool ssh_channel_is_broken(const struct ssh_channel *channel)
{
    return channel->refused;
}

struct ssh_session *ssh_channel_session(const struct ssh_channel *channel)
{
    return channel->session;
}

/* ---- closing ---- */

/* Off the list and gone. */
static void forget(struct ssh_channel *channel)
{
    struct ssh_session *session = channel->session;
    struct ssh_channel **at = &session->channels;
    while (*at != channel)
        at = &(*at)->next;
    *at = channel->next;
    session->execs -= channel->is_exec;
    buffer_wipe(&channel->out);
    free(channel);
    ssh_session_release(session);
}

/* One that the other side never closes is left to the end of the session. True when it is done with. */
static bool try_to_free(struct ssh_channel *channel)
{
    struct ssh_session *session = channel->session;
    if (!session->dead && libssh2_channel_free(channel->libssh2) == LIBSSH2_ERROR_EAGAIN &&
        runtime_now(session->runtime) < channel->close_by)
        return false;
    return true;
}

void ssh_channel_close(struct ssh_channel *channel)
{
    if (!channel)
        return;
    channel->closing = true;
    channel->events = NULL;
    channel->close_by = runtime_now(channel->session->runtime) + CLOSE_MS;
    if (try_to_free(channel))
        forget(channel);
}

void ssh_channel_keep_as_tap(struct ssh_channel *channel)
{
    libssh2_channel_close(channel->libssh2); /* our part: sshd counts it until then */
    channel->session->tap = channel->libssh2;
    forget(channel);
}

static void on_tap_opened(void *owner, struct ssh_channel *channel, const char *refusal)
{
    (void)owner;
    (void)refusal;
    if (channel)
        ssh_channel_keep_as_tap(channel);
}

static void on_tap_active(void *owner, struct ssh_channel *channel)
{
    (void)owner;
    (void)channel;
}

void ssh_channels_make_tap(struct ssh_session *session)
{
    static const struct ssh_channel_events events = {on_tap_opened, on_tap_active};
    if (!session->channels && !session->first_opening && ssh_channel_connect(session, NULL, 0, &events, NULL))
        ssh_session_advance(session);
}

/* ---- what the connection tells ---- */

bool ssh_channels_in_use(const struct ssh_session *session)
{
    for (const struct ssh_opening *opening = session->first_opening; opening; opening = opening->next)
        if (!opening->forgotten)
            return true;
    for (const struct ssh_channel *channel = session->channels; channel; channel = channel->next)
        if (!channel->closing)
            return true;
    return false;
}

void ssh_channels_advance(struct ssh_session *session)
{
    advance_openings(session);
    struct ssh_channel *next;
    for (struct ssh_channel *channel = session->channels; channel && !session->dead; channel = next) {
        next = channel->next;
        if (channel->closing) {
            if (try_to_free(channel))
                forget(channel);
            continue;
        }
        flush(channel);
        if (channel->events && !session->dead)
            channel->events->active(channel->owner, channel);
    }
}

void ssh_channels_tell_death(struct ssh_session *session)
{
    struct ssh_opening *opening;
    while ((opening = session->first_opening)) {
        drop_first(session);
        snprintf(opening->refusal, sizeof opening->refusal, "the connection was lost: %s", session->death);
        opening_finish(opening);
    }
    struct ssh_channel *next;
    for (struct ssh_channel *channel = session->channels; channel; channel = next) {
        next = channel->next;
        if (channel->closing)
            forget(channel);
        else if (channel->events)
            channel->events->active(channel->owner, channel);
    }
}
