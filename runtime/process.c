/* Child processes through libuv: the exit and the end of both outputs are awaited, the group is killed at the timeout. */
#include "process.h"

#include "fiber.h"
#include "process_stream.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUTPUT_LIMIT      ((size_t)64 << 20)
#define KILL_AFTER_MS     2000 /* from SIGTERM to SIGKILL */
#define DRAIN_MS          1000 /* for a background child that holds an output after the exit */
#define READ_PIECE        65536
#define STREAM_READ_AHEAD ((size_t)256 << 10)
#define LINE_MOST         ((size_t)16 << 20)

extern char **environ;

/* One child. On the heap, since its handles close after the fiber has gone on: freed with the last handle. */
struct child {
    struct runtime *runtime;
    struct fiber *fiber; /* whom to wake; NULL once detached */
    uv_process_t process;
    uv_pipe_t input, outputs[2];
    uv_timer_t killer;
    uv_write_t write;
    unsigned holders; /* handles not yet closed, and the caller until it detaches */
    bool started, exited;
    bool ending;  /* told to end: what is left of the group goes with it */
    bool open[2]; /* outputs that have not ended */
    bool paused[2];
    bool overflow;
    int status, signal;
    size_t limit;
    struct buffer collected[2];
    char *input_copy;
    size_t input_length;
    size_t read_offset; /* of a stream: how much of collected[0] was handed out */
};

static void release(struct child *child)
{
    if (--child->holders)
        return;
    buffer_wipe(&child->collected[0]);
    buffer_wipe(&child->collected[1]);
    if (child->input_copy)
        explicit_bzero(child->input_copy, child->input_length);
    free(child->input_copy);
    free(child);
}

static void on_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void close_handle(uv_handle_t *handle)
{
    if (handle->data && !uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void wake(struct child *child)
{
    if (child->fiber)
        fiber_wake(child->fiber);
}

static void signal_group(struct child *child, int signal_number)
{
    if (child->started && !child->exited)
        kill(-child->process.pid, signal_number);
}

static void on_exit_of_child(uv_process_t *process, int64_t status, int signal_number)
{
    struct child *child = process->data;
    child->exited = true;
    if (child->ending)
        kill(-process->pid, SIGKILL); /* those who ignored SIGTERM; nobody is left: ESRCH */
    child->status = signal_number ? -1 : (int)status;
    child->signal = signal_number;
    uv_timer_stop(&child->killer);
    close_handle((uv_handle_t *)&child->killer);
    close_handle((uv_handle_t *)process);
    wake(child);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *piece)
{
    (void)handle;
    (void)suggested;
    *piece = uv_buf_init(allocate(READ_PIECE), READ_PIECE);
}

static void on_output(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece)
{
    struct child *child = stream->data;
    int which = stream == (uv_stream_t *)&child->outputs[1];
    if (length > 0) {
        buffer_append(&child->collected[which], piece->base, (size_t)length);
        if (child->collected[which].length > child->limit) {
            child->overflow = true;
            signal_group(child, SIGKILL);
        }
    } else if (length < 0) {
        child->open[which] = false;
        close_handle((uv_handle_t *)stream);
    }
    free(piece->base);
    wake(child);
}

static void on_input_written(uv_write_t *write, int status)
{
    (void)status; /* a child that does not read its input says so by its exit status */
    struct child *child = write->data;
    close_handle((uv_handle_t *)&child->input);
}

static void on_kill_time(uv_timer_t *timer)
{
    signal_group(timer->data, SIGKILL);
}

/* SIGTERM now, SIGKILL in two seconds; what is left of the child ends by its own callbacks. */
static void end_child(struct child *child)
{
    if (child->exited || !child->started)
        return;
    child->ending = true;
    signal_group(child, SIGTERM);
    uv_timer_start(&child->killer, on_kill_time, KILL_AFTER_MS, 0);
}

/* The fiber goes; callbacks find nobody to wake. Outputs are closed, the process handle waits for the exit. */
static void detach(struct child *child)
{
    child->fiber = NULL;
    for (int i = 0; i < 2; i++)
        close_handle((uv_handle_t *)&child->outputs[i]);
    close_handle((uv_handle_t *)&child->input);
    if (!child->started || child->exited) {
        close_handle((uv_handle_t *)&child->killer);
        close_handle((uv_handle_t *)&child->process);
    }
    release(child);
}

static void track(struct child *child, uv_handle_t *handle)
{
    handle->data = child;
    child->holders++;
}

static struct child *child_new(struct runtime *runtime, const struct process_options *options)
{
    struct child *child = allocate_zeroed(1, sizeof *child);
    child->runtime = runtime;
    child->fiber = runtime->current;
    child->holders = 1;
    child->limit = options->output_limit ? options->output_limit : OUTPUT_LIMIT;
    for (int i = 0; i < 2; i++) {
        uv_pipe_init(&runtime->loop, &child->outputs[i], 0);
        track(child, (uv_handle_t *)&child->outputs[i]);
        child->open[i] = true;
    }
    uv_timer_init(&runtime->loop, &child->killer);
    track(child, (uv_handle_t *)&child->killer);
    if (options->input) {
        uv_pipe_init(&runtime->loop, &child->input, 0);
        track(child, (uv_handle_t *)&child->input);
        child->input_copy = allocate(options->input_length);
        memcpy(child->input_copy, options->input, options->input_length);
        child->input_length = options->input_length;
    }
    return child;
}

/* The environment with the changes asked for; entries belong to the caller and to environ, the vector is freed. */
static char **merged_environment(const char *const *changes)
{
    if (!changes)
        return NULL;
    size_t have = 0, more = 0;
    while (environ[have])
        have++;
    while (changes[more])
        more++;
    char **merged = allocate_zeroed(have + more + 1, sizeof *merged);
    size_t count = 0;
    for (size_t i = 0; i < have; i++) {
        bool replaced = false;
        for (size_t j = 0; j < more && !replaced; j++) {
            size_t name = strcspn(changes[j], "=") + 1;
            replaced = strncmp(environ[i], changes[j], name) == 0;
        }
        if (!replaced)
            merged[count++] = environ[i];
    }
    for (size_t j = 0; j < more; j++)
        merged[count++] = (char *)(uintptr_t)changes[j];
    return merged;
}

static int spawn(struct child *child, const struct process_options *options)
{
    uv_stdio_container_t stdio[3 + 8] = {0};
    size_t extra = options->descriptor_count < 8 ? options->descriptor_count : 8;
    if (options->input) {
        stdio[0].flags = UV_CREATE_PIPE | UV_READABLE_PIPE;
        stdio[0].data.stream = (uv_stream_t *)&child->input;
    }
    for (int i = 0; i < 2; i++) {
        stdio[1 + i].flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
        stdio[1 + i].data.stream = (uv_stream_t *)&child->outputs[i];
    }
    for (size_t i = 0; i < extra; i++) {
        stdio[3 + i].flags = UV_INHERIT_FD;
        stdio[3 + i].data.fd = options->descriptors[i];
    }
    char **environment = merged_environment(options->environment);
    uv_process_options_t how = {
        .exit_cb = on_exit_of_child,
        .file = options->argv[0],
        .args = (char **)(uintptr_t)options->argv,
        .env = environment,
        .cwd = options->directory,
        .flags = UV_PROCESS_DETACHED, /* a group of its own: the terminal's Ctrl-C is ours to deal with */
        .stdio_count = 3 + (int)extra,
        .stdio = stdio,
    };
    int error = uv_spawn(&child->runtime->loop, &child->process, &how);
    track(child, (uv_handle_t *)&child->process); /* uv_spawn initialises the handle also when it fails */
    free(environment);
    child->started = error == 0;
    return error;
}

static struct child *child_start(struct runtime *runtime, const struct process_options *options,
                                 struct failure *failure)
{
    if (!fiber_may_wait(runtime)) {
        fiber_wait_failure(failure, WAIT_REFUSED, options->argv[0], 0);
        return NULL;
    }
    struct child *child = child_new(runtime, options);
    int error = spawn(child, options);
    if (error) {
        detach(child);
        failure_errno(failure, -error, "run", "%s cannot be started", options->argv[0]);
        if (error == UV_ENOENT && options->directory)
            failure_hint(failure, "check that %s is installed and that the folder %s exists",
                         options->argv[0], options->directory);
        else if (error == UV_ENOENT)
            failure_hint(failure, "install what brings %s", options->argv[0]);
        return NULL;
    }
    for (int i = 0; i < 2; i++)
        uv_read_start((uv_stream_t *)&child->outputs[i], on_allocate, on_output);
    if (options->input) {
        uv_buf_t piece = uv_buf_init(child->input_copy, (unsigned)child->input_length);
        child->write.data = child;
        uv_write(&child->write, (uv_stream_t *)&child->input, &piece, 1, on_input_written);
    }
    return child;
}

/* Waits until `exited` and both outputs ended; after the exit, or where it is over, only DRAIN_MS more for the outputs. */
static enum wait_outcome await_end(struct child *child, const struct process_options *options)
{
    struct runtime *runtime = child->runtime;
    uint64_t deadline = runtime_now(runtime) + options->timeout_ms, drained = 0;
    while (!child->exited || child->open[0] || child->open[1]) {
        uint64_t now = runtime_now(runtime);
        if (!drained &&
            (child->exited || (options->is_over && options->is_over(options->context, &child->collected[1]))))
            drained = now + DRAIN_MS;
        uint64_t end = drained ? drained : deadline;
        if (now >= end)
            return drained ? WAIT_WOKEN : WAIT_TIMEOUT;
        enum wait_outcome outcome = fiber_suspend(runtime, end - now);
        if (outcome == WAIT_CANCELLED || outcome == WAIT_REFUSED)
            return outcome;
    }
    return WAIT_WOKEN;
}

/* After SIGTERM: waits for the exit, so that what the command wrote is complete when the caller goes on. */
static void await_exit(struct child *child)
{
    uint64_t now, end = runtime_now(child->runtime) + KILL_AFTER_MS + 1000;
    while (!child->exited && (now = runtime_now(child->runtime)) < end)
        fiber_endure(child->runtime, end - now);
}

bool process_run(struct runtime *runtime, const struct process_options *options,
                 struct process_result *result, struct failure *failure)
{
    *result = (struct process_result){.status = -1};
    struct child *child = child_start(runtime, options, failure);
    if (!child)
        return false;
    enum wait_outcome outcome = await_end(child, options);
    if (outcome != WAIT_WOKEN || !child->exited) {
        end_child(child);
        await_exit(child);
    }
    result->status = child->status;
    result->signal = child->signal;
    result->output = child->collected[0];
    result->error = child->collected[1];
    child->collected[0] = child->collected[1] = (struct buffer){0};
    bool overflow = child->overflow;
    size_t limit = child->limit;
    detach(child);
    if (overflow)
        return failure_set(failure, "failed", options->argv[0], "more than %zu MiB of output", limit >> 20);
    if (outcome == WAIT_TIMEOUT)
        return failure_set(failure, "timeout", options->argv[0], "did not end within %.3g s and was stopped",
                           (double)options->timeout_ms / 1000.0);
    return outcome == WAIT_WOKEN || fiber_wait_failure(failure, outcome, options->argv[0], 0);
}

void process_result_free(struct process_result *result)
{
    buffer_wipe(&result->output);
    buffer_wipe(&result->error);
}

/* ---- streams ---- */

struct child_stream {
    struct process_stream stream;
    struct child *child;
};

static void regulate(struct child *child)
{
    bool full = !process_wants_more(&child->collected[0], child->read_offset);
    if (!child->open[0] || full == child->paused[0])
        return;
    child->paused[0] = full;
    if (full)
        uv_read_stop((uv_stream_t *)&child->outputs[0]);
    else
        uv_read_start((uv_stream_t *)&child->outputs[0], on_allocate, on_output);
}

bool process_take_line(struct buffer *have, size_t *offset, bool more_comes, struct buffer *line)
{
    if (*offset == have->length)
        return false;
    const char *start = have->bytes + *offset;
    size_t left = have->length - *offset;
    const char *end = memchr(start, '\n', left);
    if (!end && more_comes)
        return false;
    size_t length = end ? (size_t)(end - start) : left;
    buffer_append(line, start, length);
    *offset += length + (end != NULL);
    if (*offset == have->length || (*offset >= STREAM_READ_AHEAD && *offset >= have->length / 2)) {
        have->length -= *offset;
        memmove(have->bytes, have->bytes + *offset, have->length + 1);
        *offset = 0;
    }
    return true;
}

bool process_wants_more(const struct buffer *have, size_t offset)
{
    size_t waiting = have->length - offset;
    return waiting < STREAM_READ_AHEAD ||
           (waiting <= LINE_MOST && !memchr(have->bytes + offset, '\n', waiting));
}

bool process_line_is_too_long(const struct buffer *have, size_t offset, struct failure *failure)
{
    if (have->length - offset <= LINE_MOST)
        return false;
    failure_set(failure, "failed", "read", "a line of more than %zu MiB", LINE_MOST >> 20);
    return true;
}

static int await_line(struct child *child, struct buffer *line, uint64_t timeout_ms, struct failure *failure)
{
    uint64_t deadline = runtime_now(child->runtime) + timeout_ms;
    buffer_clear(line);
    for (;;) {
        regulate(child);
        if (process_take_line(&child->collected[0], &child->read_offset, child->open[0], line))
            return 1;
        if (!child->open[0])
            return 0;
        if (process_line_is_too_long(&child->collected[0], child->read_offset, failure))
            return -1;
        uint64_t now = runtime_now(child->runtime);
        enum wait_outcome outcome = timeout_ms == FIBER_NO_TIMEOUT
                                        ? fiber_suspend(child->runtime, FIBER_NO_TIMEOUT)
                                    : now >= deadline ? WAIT_TIMEOUT
                                                      : fiber_suspend(child->runtime, deadline - now);
        if (outcome == WAIT_WOKEN)
            continue;
        fiber_wait_failure(failure, outcome, "read", timeout_ms);
        return -1;
    }
}

static int child_read_line(struct process_stream *stream, struct buffer *line, uint64_t timeout_ms,
                           struct failure *failure)
{
    struct child *child = ((struct child_stream *)stream)->child;
    child->fiber = child->runtime->current;
    int got = await_line(child, line, timeout_ms, failure);
    child->fiber = NULL; /* the next reader may be another fiber */
    return got;
}

static void child_close(struct process_stream *stream)
{
    struct child *child = ((struct child_stream *)stream)->child;
    end_child(child);
    detach(child);
    free(stream);
}

static const struct process_stream_operations child_stream_operations = {child_read_line, child_close};

struct process_stream *process_open(struct runtime *runtime, const struct process_options *options,
                                    struct failure *failure)
{
    struct child *child = child_start(runtime, options, failure);
    if (!child)
        return NULL;
    struct child_stream *stream = allocate_zeroed(1, sizeof *stream);
    stream->stream.operations = &child_stream_operations;
    stream->child = child;
    child->fiber = NULL; /* whoever reads */
    return &stream->stream;
}

int process_read_line(struct process_stream *stream, struct buffer *line, uint64_t timeout_ms,
                      struct failure *failure)
{
    return stream->operations->read_line(stream, line, timeout_ms, failure);
}

void process_close(struct process_stream *stream)
{
    if (stream)
        stream->operations->close(stream);
}
