/* The agent's protocol: a length, a type, strings; one answer to each request. */
#include "ssh_agent.h"

#include "fiber.h"
#include "ssh_known_hosts.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MS   10000
#define ANSWER_MOST ((size_t)1 << 20)

enum { REQUEST_IDENTITIES = 11, IDENTITIES_ANSWER = 12, SIGN_REQUEST = 13, SIGN_RESPONSE = 14 };

struct ssh_agent {
    struct runtime *runtime;
    struct fiber *fiber; /* who waits; NULL when the owner is gone */
    uv_pipe_t pipe;
    uv_connect_t connect;
    bool connected, closed;
    int error;
    struct buffer in;
    struct ssh_agent_key *keys;
    size_t count;
};

static void wake(struct ssh_agent *agent)
{
    if (agent->fiber)
        fiber_wake(agent->fiber);
}

static void on_closed(uv_handle_t *handle)
{
    struct ssh_agent *agent = handle->data;
    for (size_t i = 0; i < agent->count; i++) {
        free(agent->keys[i].blob);
        free(agent->keys[i].comment);
    }
    free(agent->keys);
    buffer_free(&agent->in);
    free(agent);
}

void ssh_agent_close(struct ssh_agent *agent)
{
    if (!agent)
        return;
    agent->fiber = NULL;
    uv_close((uv_handle_t *)&agent->pipe, on_closed);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct ssh_agent *agent = connect->data;
    agent->connected = status == 0;
    agent->error = status;
    wake(agent);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *piece)
{
    (void)handle;
    (void)suggested;
    *piece = uv_buf_init(allocate(16384), 16384);
}

static void on_bytes(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece)
{
    struct ssh_agent *agent = stream->data;
    if (length > 0)
        buffer_append(&agent->in, piece->base, (size_t)length);
    else if (length < 0)
        agent->closed = true;
    free(piece->base);
    wake(agent);
}

static bool pause_until(struct ssh_agent *agent, uint64_t until, struct failure *failure)
{
    uint64_t now = runtime_now(agent->runtime);
    agent->fiber = agent->runtime->current;
    enum wait_outcome outcome = now >= until ? WAIT_TIMEOUT : fiber_suspend(agent->runtime, until - now);
    return outcome == WAIT_WOKEN || fiber_wait_failure(failure, outcome, "ssh-agent", ANSWER_MS);
}

struct ssh_agent *ssh_agent_open(struct runtime *runtime, const char *path, struct failure *failure)
{
    struct ssh_agent *agent = allocate_zeroed(1, sizeof *agent);
    agent->runtime = runtime;
    uv_pipe_init(&runtime->loop, &agent->pipe, 0);
    agent->pipe.data = agent->connect.data = agent;
    agent->fiber = runtime->current;
    uv_pipe_connect(&agent->connect, &agent->pipe, path, on_connected);
    uint64_t until = runtime_now(runtime) + ANSWER_MS;
    bool waited = true;
    while (waited && !agent->connected && !agent->error)
        waited = pause_until(agent, until, failure);
    if (waited && agent->error)
        failure_errno(failure, -agent->error, "ssh-agent", "%s", path);
    if (!agent->connected) {
        ssh_agent_close(agent);
        return NULL;
    }
    uv_read_start((uv_stream_t *)&agent->pipe, on_allocate, on_bytes);
    return agent;
}

/* ---- numbers and strings ---- */

static void put_number(struct buffer *out, size_t number)
{
    unsigned char bytes[] = {(unsigned char)(number >> 24), (unsigned char)(number >> 16),
                             (unsigned char)(number >> 8), (unsigned char)number};
    buffer_append(out, bytes, sizeof bytes);
}

static void put_string(struct buffer *out, const unsigned char *bytes, size_t length)
{
    put_number(out, length);
    buffer_append(out, bytes, length);
}

struct reader {
    const unsigned char *bytes;
    size_t left;
};

static bool get_number(struct reader *reader, size_t *number)
{
    if (reader->left < 4)
        return false;
    const unsigned char *b = reader->bytes;
    *number = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
    reader->bytes += 4;
    reader->left -= 4;
    return true;
}

static bool get_string(struct reader *reader, const unsigned char **bytes, size_t *length)
{
    if (!get_number(reader, length) || *length > reader->left)
        return false;
    *bytes = reader->bytes;
    reader->bytes += *length;
    reader->left -= *length;
    return true;
}

/* ---- requests ---- */

struct request {
    uv_write_t write;
    struct buffer bytes;
};

static void on_written(uv_write_t *write, int status)
{
    (void)status; /* an agent that is gone closes the pipe too */
    struct request *request = write->data;
    buffer_free(&request->bytes);
    free(request);
}

/* Sends `body` and waits for the answer; `reader` is at what follows its type. */
static bool exchange(struct ssh_agent *agent, const struct buffer *body, int wanted, uint64_t until,
                     struct reader *reader, struct failure *failure)
{
    if (agent->closed)
        return failure_set(failure, "failed", "ssh-agent", "its connection is closed");
    struct request *request = allocate_zeroed(1, sizeof *request);
    put_string(&request->bytes, (const unsigned char *)body->bytes, body->length);
    request->write.data = request;
    uv_buf_t piece = uv_buf_init(request->bytes.bytes, (unsigned)request->bytes.length);
    buffer_clear(&agent->in);
    if (uv_write(&request->write, (uv_stream_t *)&agent->pipe, &piece, 1, on_written) != 0)
        on_written(&request->write, 0);
    for (;;) {
        size_t length = 0;
        *reader = (struct reader){(const unsigned char *)buffer_text(&agent->in), agent->in.length};
        if (get_number(reader, &length) && (length > ANSWER_MOST || length == 0))
            return failure_set(failure, "invalid", "ssh-agent", "its answer is none");
        if (agent->in.length >= 4 && reader->left >= length) {
            int type = *reader->bytes++;
            reader->left = length - 1;
            return type == wanted || failure_set(failure, "failed", "ssh-agent", "it refuses");
        }
        if (agent->closed)
            return failure_set(failure, "failed", "ssh-agent", "it closed the connection");
        if (!pause_until(agent, until, failure)) {
            agent->closed = true; /* what still comes would pass for the answer to the next request */
            return false;
        }
    }
}

static bool take_key(struct ssh_agent *agent, struct reader *reader)
{
    const unsigned char *blob, *comment;
    size_t length, comment_length;
    if (!get_string(reader, &blob, &length) || !get_string(reader, &comment, &comment_length))
        return false;
    struct ssh_agent_key key = {.length = length};
    key.blob = allocate(length + 1);
    memcpy(key.blob, blob, length);
    key.comment = allocate(comment_length + 1);
    memcpy(key.comment, comment, comment_length);
    key.comment[comment_length] = '\0';
    ssh_key_type(blob, length, key.type, sizeof key.type);
    agent->keys = reallocate(agent->keys, (agent->count + 1) * sizeof *agent->keys);
    agent->keys[agent->count++] = key;
    return true;
}

bool ssh_agent_list(struct ssh_agent *agent, const struct ssh_agent_key **keys, size_t *count,
                    struct failure *failure)
{
    struct buffer body = {0};
    struct reader reader;
    size_t number = 0;
    buffer_append(&body, (char[]){REQUEST_IDENTITIES}, 1);
    bool done =
        exchange(agent, &body, IDENTITIES_ANSWER, runtime_now(agent->runtime) + ANSWER_MS, &reader, failure);
    buffer_free(&body);
    if (done && !get_number(&reader, &number))
        done = failure_set(failure, "invalid", "ssh-agent", "its answer is none");
    for (size_t i = 0; done && i < number; i++)
        if (!take_key(agent, &reader))
            done = failure_set(failure, "invalid", "ssh-agent", "its answer is none");
    *keys = agent->keys;
    *count = agent->count;
    return done;
}

bool ssh_agent_sign(struct ssh_agent *agent, const struct ssh_agent_key *key, const unsigned char *bytes,
                    size_t length, uint64_t until, struct buffer *signature, struct failure *failure)
{
    struct buffer body = {0};
    struct reader reader;
    const unsigned char *blob;
    size_t size;
    buffer_append(&body, (char[]){SIGN_REQUEST}, 1);
    put_string(&body, key->blob, key->length);
    put_string(&body, bytes, length);
    put_number(&body, 0);
    bool done = exchange(agent, &body, SIGN_RESPONSE, until, &reader, failure);
    buffer_free(&body);
    if (!done)
        return false;
    /* libssh2 puts the format before the signature itself. */
    const unsigned char *format;
    size_t format_length;
    if (!get_string(&reader, &blob, &size))
        return failure_set(failure, "invalid", "ssh-agent", "its answer is none");
    reader = (struct reader){blob, size};
    if (!get_string(&reader, &format, &format_length) || !get_string(&reader, &blob, &size))
        return failure_set(failure, "invalid", "ssh-agent", "its signature is none");
    buffer_append(signature, blob, size);
    return true;
}
