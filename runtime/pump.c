/* Bytes both ways, with back-pressure both ways. */
#include "pump.h"

#include <stdlib.h>

#define AHEAD ((size_t)256 << 10) /* bytes that wait on either side at most */

struct pump {
    uv_stream_t *stream;
    struct ssh_opening *opening; /* until it is open */
    struct ssh_channel *channel;
    pump_told *told;
    void *owner;
    size_t writing; /* bytes given to the stream that are not written yet */
    unsigned writes;
    bool reading;
    bool stream_ended;  /* it sends no more */
    bool channel_ended; /* the other side sends no more, and all was given to the stream */
    bool closing;
    bool closed;
    struct buffer early; /* what came from the stream before the channel was open */
    uv_shutdown_t shutdown;
};

struct piece {
    uv_write_t write;
    struct pump *pump;
    struct buffer bytes;
};

static void release(struct pump *pump)
{
    if (!pump->closed || pump->writes)
        return;
    buffer_wipe(&pump->early);
    free(pump);
}

static void on_closed(uv_handle_t *handle)
{
    struct pump *pump = handle->data;
    free(handle);
    pump->closed = true;
    release(pump);
}

static void end(struct pump *pump)
{
    if (pump->closing)
        return;
    pump->closing = true;
    pump->told = NULL;
    if (pump->opening)
        ssh_opening_forget(pump->opening);
    pump->opening = NULL;
    ssh_channel_close(pump->channel);
    pump->channel = NULL;
    uv_close((uv_handle_t *)pump->stream, on_closed);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *piece)
{
    (void)handle;
    (void)suggested;
    *piece = uv_buf_init(allocate(32768), 32768);
}

static void regulate(struct pump *pump);

static void on_bytes(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece)
{
    struct pump *pump = stream->data;
    if (length > 0 && pump->channel)
        ssh_channel_write(pump->channel, piece->base, (size_t)length);
    else if (length > 0)
        buffer_append(&pump->early, piece->base, (size_t)length);
    free(piece->base);
    if (length == UV_EOF && pump->channel) {
        pump->stream_ended = true;
        ssh_channel_end(pump->channel);
    } else if (length < 0) { /* also where nobody waits for the opening any more */
        end(pump);
        return;
    }
    regulate(pump);
}

/* Reads from the stream while the other side takes it. */
static void regulate(struct pump *pump)
{
    if (pump->closing)
        return;
    size_t waiting = pump->channel ? ssh_channel_unsent(pump->channel) : pump->early.length;
    bool wanted = !pump->stream_ended && waiting < AHEAD;
    if (wanted && !pump->reading)
        uv_read_start(pump->stream, on_allocate, on_bytes);
    else if (!wanted && pump->reading)
        uv_read_stop(pump->stream);
    pump->reading = wanted;
    if (pump->stream_ended && pump->channel_ended && !pump->writes)
        end(pump);
}

static void drain(struct pump *pump);

static void on_written(uv_write_t *write, int status)
{
    struct piece *piece = write->data;
    struct pump *pump = piece->pump;
    pump->writing -= piece->bytes.length;
    pump->writes--;
    buffer_wipe(&piece->bytes);
    free(piece);
    if (pump->closing) {
        release(pump);
    } else if (status < 0) {
        end(pump);
    } else {
        drain(pump);
    }
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown;
    (void)status;
}

/* From the channel to the stream. */
static void drain(struct pump *pump)
{
    while (pump->writing < AHEAD && pump->channel) {
        struct piece *piece = allocate_zeroed(1, sizeof *piece);
        if (!ssh_channel_read(pump->channel, 0, AHEAD, &piece->bytes)) {
            free(piece);
            break;
        }
        piece->pump = pump;
        piece->write.data = piece;
        uv_buf_t bytes = uv_buf_init(piece->bytes.bytes, (unsigned)piece->bytes.length);
        pump->writing += piece->bytes.length;
        pump->writes++;
        if (uv_write(&piece->write, pump->stream, &bytes, 1, on_written) != 0) {
            on_written(&piece->write, UV_EPIPE);
            return;
        }
    }
    if (pump->channel && !pump->channel_ended && ssh_channel_ended(pump->channel)) {
        pump->channel_ended = true;
        uv_shutdown(&pump->shutdown, pump->stream, on_shut);
    }
    regulate(pump);
}

static void on_active(void *owner, struct ssh_channel *channel)
{
    struct pump *pump = owner;
    if (ssh_session_is_dead(ssh_channel_session(channel), "", NULL) || ssh_channel_is_broken(channel))
        end(pump);
    else
        drain(pump);
}

static void on_opened(void *owner, struct ssh_channel *channel, const char *refusal)
{
    struct pump *pump = owner;
    pump_told *told = pump->told;
    pump->opening = NULL;
    pump->channel = channel;
    pump->told = NULL;
    if (told)
        told(pump->owner, refusal);
    if (!channel) {
        end(pump);
        return;
    }
    ssh_channel_write(channel, buffer_text(&pump->early), pump->early.length);
    buffer_wipe(&pump->early);
    drain(pump);
}

void pump_forget(struct pump *pump)
{
    pump->told = NULL;
}

static const struct ssh_channel_events events = {on_opened, on_active};

static struct pump *pump_new(uv_stream_t *stream)
{
    struct pump *pump = allocate_zeroed(1, sizeof *pump);
    pump->stream = stream;
    stream->data = pump;
    return pump;
}

struct pump *pump_start(struct ssh_session *session, const char *address, int port, uv_stream_t *stream,
                        pump_told *told, void *owner)
{
    struct pump *pump = pump_new(stream);
    pump->told = told;
    pump->owner = owner;
    pump->opening = ssh_channel_connect(session, address, port, &events, pump);
    if (!pump->opening) {
        end(pump);
        return NULL;
    }
    regulate(pump);
    ssh_session_stir(session);
    return pump;
}

void pump_adopt(struct ssh_channel *channel, uv_stream_t *stream)
{
    struct pump *pump = pump_new(stream);
    pump->channel = channel;
    ssh_channel_own(channel, &events, pump);
    on_active(pump, channel);
}
