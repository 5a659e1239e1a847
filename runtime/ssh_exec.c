/* Running commands over a connection. */
#include "ssh_exec.h"

#include "process_stream.h"

#include <stdlib.h>
#include <string.h>

#define OUTPUT_LIMIT      (((size_t)64 << 20) + 4096) /* a file of 64 MiB is read by a command */
#define OPEN_MS           20000                       /* to get a channel and have the command started */
#define DRAIN_MS          1000 /* for a background child that holds an output after the exit */
#define LOOK_FIRST_MS     1000 /* silence after which we look whether the command still runs */
#define LOOK_MOST_MS      8000
#define LOOK_MS           5000 /* for such a look */
#define KILL_MS           4000
#define INPUT_AHEAD       ((size_t)256 << 10)
#define STREAM_READ_AHEAD ((size_t)256 << 10)

struct running {
    struct ssh_session *session;
    struct ssh_channel *channel;
    const struct host_command *command;
    const struct remote_sudo *sudo;
    struct remote_line line;
    struct remote_progress progress;
    struct process_result *result;
    size_t fed; /* of the prefix and the input */
    uint64_t deadline;
    uint64_t look_at, look_every; /* when to look after a silent command */
    uint64_t drained;             /* it has ended: outputs are waited for until then; 0 = it has not */
};

static uint64_t now_of(const struct running *running)
{
    (void)running;
    return uv_hrtime() / 1000000;
}

static void feed(struct running *running)
{
    const struct buffer *prefix = &running->line.prefix;
    size_t total = prefix->length + running->command->input_length;
    while (running->fed < total) {
        size_t unsent = ssh_channel_unsent(running->channel);
        if (unsent >= INPUT_AHEAD)
            return;
        bool in_prefix = running->fed < prefix->length;
        const char *from = in_prefix ? prefix->bytes + running->fed
                                     : running->command->input + (running->fed - prefix->length);
        size_t length = (in_prefix ? prefix->length : total) - running->fed;
        if (length > INPUT_AHEAD - unsent)
            length = INPUT_AHEAD - unsent;
        ssh_channel_write(running->channel, from, length);
        running->fed += length;
    }
    ssh_channel_end(running->channel);
}

/* Reads what came; the silence is over then. */
static void take(struct running *running)
{
    struct process_result *result = running->result;
    size_t got = ssh_channel_read(running->channel, 0, OUTPUT_LIMIT, &result->output) +
                 ssh_channel_read(running->channel, 1, OUTPUT_LIMIT, &result->error);
    if (!got)
        return;
    running->look_every = LOOK_FIRST_MS;
    running->look_at = now_of(running) + LOOK_FIRST_MS;
    if (!running->progress.began || !running->progress.error_began)
        remote_progress_look(running->line.mark, &result->output, &result->error, &running->progress);
}

/* Runs a line that tells something by its status alone. -1 where that could not be had; `outcome` tells of a cancellation, which
 * no later wait tells again in time. */
static int run_plainly(struct ssh_session *session, const char *line, const struct buffer *input,
                       uint64_t until, enum wait_outcome *outcome)
{
    struct failure failure;
    struct buffer said = {0};
    struct ssh_channel *channel = ssh_channel_run(session, line, true, until, &failure);
    int status = -1, signal = 0;
    *outcome = WAIT_WOKEN;
    if (!channel && strcmp(failure.kind, "cancelled") == 0)
        *outcome = WAIT_CANCELLED;
    if (!channel)
        return -1;
    if (input)
        ssh_channel_write(channel, buffer_text(input), input->length);
    ssh_channel_end(channel);
    bool closed;
    while (!(closed = ssh_channel_closed(channel)) && !ssh_session_is_dead(session, "", NULL)) {
        ssh_channel_read(channel, 0, OUTPUT_LIMIT, &said);
        ssh_channel_read(channel, 1, OUTPUT_LIMIT, &said);
        if (!ssh_channel_closed(channel) && (*outcome = ssh_session_wait(session, until)) != WAIT_WOKEN)
            break;
    }
    if (closed)
        ssh_channel_exit(channel, &status, &signal);
    ssh_channel_close(channel);
    buffer_wipe(&said);
    return closed && !signal ? status : -1;
}

/* libssh2 does not tell "it ended with 0" from "nothing known yet", and the end of the outputs does not come while a
 * background child holds them: after a silence the process table is asked. */
static enum wait_outcome look_after(struct running *running)
{
    char line[160];
    enum wait_outcome outcome;
    /* Not by /proc, which may hide other users' processes (hidepid), such as sudo. */
    snprintf(line, sizeof line,
             "sh -c 'LC_ALL=C; export LC_ALL; said=$(kill -0 %ld 2>&1) && exit 0\n"
             "case $said in *permitted*) exit 0;; esac; exit 1'",
             running->progress.leader);
    if (run_plainly(running->session, line, NULL, now_of(running) + LOOK_MS, &outcome) == 1)
        running->drained = now_of(running) + DRAIN_MS;
    running->look_every = running->look_every >= LOOK_MOST_MS ? LOOK_MOST_MS : running->look_every * 2;
    running->look_at = now_of(running) + running->look_every;
    return outcome;
}

static void end_remotely(struct running *running)
{
    if (!running->progress.began || ssh_session_is_dead(running->session, "", NULL))
        return;
    struct remote_line kill;
    enum wait_outcome ignored;
    remote_line_kill(running->sudo, running->progress.leader, running->progress.process, &kill);
    run_plainly(running->session, buffer_text(&kill.line), &kill.prefix, now_of(running) + KILL_MS, &ignored);
    remote_line_free(&kill);
    /* What it wrote last. */
    uint64_t until = now_of(running) + DRAIN_MS;
    while (take(running), !ssh_channel_closed(running->channel))
        if (ssh_session_is_dead(running->session, "", NULL) ||
            ssh_session_wait(running->session, until) != WAIT_WOKEN)
            break;
}

static bool has_exited(const struct running *running)
{
    int status, signal;
    ssh_channel_exit(running->channel, &status, &signal);
    return status || signal;
}

/* Until the command has ended. WAIT_WOKEN: it has, the connection is lost, or there is too much output. */
static enum wait_outcome await_end(struct running *running)
{
    for (;;) {
        feed(running);
        take(running);
        if (ssh_channel_closed(running->channel) || ssh_session_is_dead(running->session, "", NULL) ||
            running->result->output.length > OUTPUT_LIMIT || running->result->error.length > OUTPUT_LIMIT)
            return WAIT_WOKEN;
        uint64_t now = now_of(running);
        if (!running->drained && has_exited(running))
            running->drained = now + DRAIN_MS;
        if (running->drained && now >= running->drained)
            return WAIT_WOKEN;
        if (now >= running->deadline)
            return WAIT_TIMEOUT;
        uint64_t until = running->drained ? running->drained : running->deadline;
        if (running->progress.began && !running->drained) {
            if (now >= running->look_at) {
                if (look_after(running) == WAIT_CANCELLED)
                    return WAIT_CANCELLED;
                continue; /* it may have ended meanwhile: nobody tells that again */
            }
            if (until > running->look_at)
                until = running->look_at;
        }
        enum wait_outcome outcome = ssh_session_wait(running->session, until);
        if (outcome == WAIT_CANCELLED || outcome == WAIT_REFUSED)
            return outcome;
    }
}

/* What there is to say of a command that was begun. */
static bool judge(struct running *running, const char *name, enum wait_outcome outcome,
                  struct failure *failure)
{
    struct process_result *result = running->result;
    const char *program = running->command->argv[0];
    bool over = ssh_channel_closed(running->channel) || running->drained;
    if (result->output.length > OUTPUT_LIMIT || result->error.length > OUTPUT_LIMIT)
        return failure_set(failure, "failed", program, "more than %zu MiB of output", OUTPUT_LIMIT >> 20);
    if (outcome == WAIT_TIMEOUT)
        return failure_set(failure, "timeout", program, "did not end within %.3g s and was stopped",
                           (double)running->command->timeout_ms / 1000.0);
    if (outcome != WAIT_WOKEN)
        return fiber_wait_failure(failure, outcome, program, 0);
    if (!over && ssh_session_is_dead(running->session, program, failure)) {
        failure_hint(failure, "%s may have gone on or not: see whether the host is up, then run it again",
                     program);
        return false;
    }
    ssh_channel_exit(running->channel, &result->status, &result->signal);
    if (result->signal)
        result->status = -1;
    return remote_command_started(name, running->command, &running->progress, result, running->sudo, failure);
}

static bool run(struct ssh_session *session, const char *name, const struct host_command *command,
                const struct remote_sudo *sudo, bool first, struct process_result *result,
                struct failure *failure)
{
    struct running running = {.session = session, .command = command, .sudo = sudo, .result = result};
    uint64_t now = now_of(&running);
    *result = (struct process_result){.status = -1};
    running.deadline = now + command->timeout_ms;
    running.look_every = LOOK_FIRST_MS;
    running.look_at = now + LOOK_FIRST_MS;
    remote_line_make(command, REMOTE_EXEC, sudo, &running.line);
    uint64_t open_until = now + OPEN_MS < running.deadline ? now + OPEN_MS : running.deadline;
    running.channel = ssh_channel_run(session, buffer_text(&running.line.line), false, open_until, failure);
    bool done = running.channel != NULL;
    if (done) {
        enum wait_outcome outcome = await_end(&running);
        bool too_much = result->output.length > OUTPUT_LIMIT || result->error.length > OUTPUT_LIMIT;
        if (outcome != WAIT_WOKEN || too_much)
            end_remotely(&running);
        remote_progress_look(running.line.mark, &result->output, &result->error, &running.progress);
        done = judge(&running, name, outcome, failure);
        if (first && done && ssh_channel_closed(running.channel))
            ssh_channel_keep_as_tap(running.channel);
        else
            ssh_channel_close(running.channel);
    }
    remote_line_free(&running.line);
    return done;
}

bool ssh_exec_run(struct ssh_session *session, const char *name, const struct host_command *command,
                  const struct remote_sudo *sudo, struct process_result *result, struct failure *failure)
{
    return run(session, name, command, sudo, false, result, failure);
}

bool ssh_exec_first(struct ssh_session *session, const char *name, const struct host_command *command,
                    const struct remote_sudo *sudo, struct process_result *result, struct failure *failure)
{
    return run(session, name, command, sudo, true, result, failure);
}

/* ---- streams ---- */

struct ssh_stream {
    struct process_stream stream;
    struct ssh_session *session;
    struct ssh_channel *channel;
    char mark[32];
    struct remote_progress progress;
    struct buffer output, error;
    size_t read_offset;
    bool open, begun;
};

/* What came, while less than enough is waiting to be asked for. Errors are kept until it runs. */
static void take_stream(struct ssh_stream *stream)
{
    if (process_wants_more(&stream->output, stream->read_offset))
        ssh_channel_read(stream->channel, 0, STREAM_READ_AHEAD, &stream->output);
    ssh_channel_read(stream->channel, 1, OUTPUT_LIMIT, &stream->error);
    if (stream->begun)
        buffer_clear(&stream->error);
    stream->open = !ssh_channel_ended(stream->channel) && !ssh_session_is_dead(stream->session, "", NULL);
}

static int stream_read_line(struct process_stream *base, struct buffer *line, uint64_t timeout_ms,
                            struct failure *failure)
{
    struct ssh_stream *stream = (struct ssh_stream *)base;
    uint64_t now = uv_hrtime() / 1000000;
    uint64_t until = timeout_ms == FIBER_NO_TIMEOUT ? UINT64_MAX : now + timeout_ms;
    buffer_clear(line);
    for (;;) {
        take_stream(stream);
        if (process_take_line(&stream->output, &stream->read_offset, stream->open, line))
            return 1;
        if (ssh_session_is_dead(stream->session, "read", failure))
            return -1;
        if (!stream->open)
            return 0;
        if (process_line_is_too_long(&stream->output, stream->read_offset, failure))
            return -1;
        enum wait_outcome outcome = ssh_session_wait(stream->session, until);
        if (outcome != WAIT_WOKEN) {
            fiber_wait_failure(failure, outcome, "read", timeout_ms);
            return -1;
        }
    }
}

static void stream_close(struct process_stream *base)
{
    struct ssh_stream *stream = (struct ssh_stream *)base;
    ssh_channel_close(stream->channel);
    buffer_free(&stream->output);
    buffer_free(&stream->error);
    free(stream);
}

static const struct process_stream_operations stream_operations = {stream_read_line, stream_close};

/* Until it is known whether the command runs, or the end. */
static bool await_begin(struct ssh_stream *stream, const char *name, const struct host_command *command,
                        const struct remote_sudo *sudo, uint64_t until, struct failure *failure)
{
    while (take_stream(stream),
           !remote_stream_look(stream->mark, &stream->output, &stream->progress) && stream->open) {
        enum wait_outcome outcome = ssh_session_wait(stream->session, until);
        if (outcome != WAIT_WOKEN)
            return fiber_wait_failure(failure, outcome, command->argv[0], OPEN_MS);
    }
    if (ssh_session_is_dead(stream->session, command->argv[0], failure))
        return false;
    stream->begun = true;
    struct process_result said = {.output = stream->output, .error = stream->error};
    return remote_command_started(name, command, &stream->progress, &said, sudo, failure);
}

struct process_stream *ssh_exec_open(struct ssh_session *session, const char *name,
                                     const struct host_command *command, const struct remote_sudo *sudo,
                                     struct failure *failure)
{
    uint64_t until = (uv_hrtime() / 1000000) + OPEN_MS;
    struct remote_line line;
    remote_line_make(command, REMOTE_STREAM, sudo, &line);
    struct ssh_channel *channel = ssh_channel_run(session, buffer_text(&line.line), false, until, failure);
    struct ssh_stream *stream = NULL;
    if (channel) {
        ssh_channel_write(channel, buffer_text(&line.prefix), line.prefix.length);
        stream = allocate_zeroed(1, sizeof *stream);
        *stream = (struct ssh_stream){.stream = {&stream_operations}, .session = session, .channel = channel};
        memcpy(stream->mark, line.mark, sizeof stream->mark);
        if (!await_begin(stream, name, command, sudo, until, failure)) {
            stream_close(&stream->stream);
            stream = NULL;
        }
    }
    remote_line_free(&line);
    return stream ? &stream->stream : NULL;
}
