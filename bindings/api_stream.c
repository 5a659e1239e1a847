/* Endpoints that answer without end: logs, events, metrics. The function gives an iterator that is closed with the scope:
 *
 *     for line in nomad.fs.stream_logs(id, {task = "build", type = "stdout", follow = true}) do print(line) end
 *
 * What it hands out follows from what comes: JSON objects become tables; objects that are Nomad's frames, and text,
 * become lines. The server is only read from as fast as the loop takes it. */
#include "api.h"

#include "json.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define METATABLE      "moonbook.api_stream"
#define LONGEST_LINE   ((size_t)1 << 20)
#define LONGEST_OBJECT ((size_t)16 << 20)
#define FOREIGN        "see what it is that answers there, and what its log says"
#define AGAIN          "ask again from where it was: the server may have been stopped"

enum mode { MODE_UNKNOWN, MODE_LINES, MODE_OBJECTS };

struct stream {
    struct transfer_stream *transfer; /* NULL: closed */
    struct buffer bytes;              /* as they came, from `taken` on not looked at */
    size_t taken;
    struct buffer text; /* lines out of frames */
    size_t text_taken;
    uint64_t silence_ms;
    enum mode mode;
    bool ended, framed;
    size_t blanks;  /* that it begins with, as long as the mode is not known */
    size_t scanned; /* of an object that is not whole yet */
    int depth;
    bool in_string, escaped;
    char op[sizeof((struct failure *)0)->op];
};

static void stream_end(struct stream *stream)
{
    transfer_stream_close(stream->transfer);
    stream->transfer = NULL;
    buffer_wipe(&stream->bytes);
    buffer_wipe(&stream->text);
}

static int stream_close(lua_State *L)
{
    stream_end(luaL_checkudata(L, 1, METATABLE));
    return 0;
}

/* Forgets the first `count` bytes, now and then for good. */
static void take(struct buffer *buffer, size_t *taken, size_t count)
{
    *taken += count;
    if (*taken < 65536 && *taken < buffer->length)
        return;
    memmove(buffer->bytes, buffer->bytes + *taken, buffer->length - *taken);
    buffer->length -= *taken;
    buffer->bytes[buffer->length] = '\0';
    *taken = 0;
}

/* [-0, +(0|1), m] Pushes the next whole line; at the end of the stream what is left. */
static bool push_line(lua_State *L, struct buffer *buffer, size_t *taken, bool ended)
{
    size_t left = buffer->length - *taken;
    const char *start = buffer->bytes + *taken;
    const char *newline = left ? memchr(start, '\n', left) : NULL;
    size_t length = newline ? (size_t)(newline - start) : left;
    if (left == 0 || (!newline && !ended && left < LONGEST_LINE))
        return false;
    if (length > LONGEST_LINE) {
        length = LONGEST_LINE;
        newline = NULL;
    }
    lua_pushlstring(L, start, length > 0 && start[length - 1] == '\r' ? length - 1 : length);
    take(buffer, taken, length + (newline != NULL));
    return true;
}

/* How long the object is that begins here; 0 while it is not whole. Goes on where it was. */
static size_t object_length(struct stream *stream, const char *start, size_t left)
{
    for (; stream->scanned < left; stream->scanned++) {
        char byte = start[stream->scanned];
        if (stream->in_string) {
            stream->in_string = stream->escaped || byte != '"';
            stream->escaped = !stream->escaped && byte == '\\';
        } else if (byte == '"')
            stream->in_string = true;
        else if (byte == '{' || byte == '[')
            stream->depth++;
        else if ((byte == '}' || byte == ']') && --stream->depth == 0) {
            size_t length = stream->scanned + 1;
            stream->scanned = 0;
            return length;
        }
    }
    return 0;
}

/* [-0, +0, v] How long the object is that comes next; 0 while it is not whole. */
static size_t next_object(lua_State *L, struct stream *stream, const char *start, size_t left)
{
    if (*start != '{' && *start != '[')
        failure_advise(L, "invalid", stream->op, FOREIGN,
                       "the stream is no JSON: no object begins where one should");
    size_t length = object_length(stream, start, left);
    if (length == 0 && left > LONGEST_OBJECT)
        failure_advise(L, "invalid", stream->op, FOREIGN, "an object of the stream is larger than 16 MiB");
    if (length == 0 && stream->ended)
        failure_advise(L, "invalid", stream->op, AGAIN, "the stream ended within an object");
    return length;
}

/* [-0, +0, v] Is the object on top a frame of Nomad's? Then its bytes go to the text. */
static bool unpack_frame(lua_State *L, struct stream *stream)
{
    size_t length;
    lua_getfield(L, -1, "Data");
    const char *data = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
    lua_getfield(L, -2, "Offset");
    bool frame = stream->framed || (data && (lua_isinteger(L, -1) || lua_isnil(L, -1)));
    lua_pop(L, 2); /* the object keeps them */
    if (!frame)
        return false;
    stream->framed = true;
    if (!data)
        return true;
    unsigned char *bytes = malloc(length / 4 * 3 + 3);
    int count = bytes ? EVP_DecodeBlock(bytes, (const unsigned char *)data, (int)length) : -1;
    for (size_t i = length; count > 0 && i > 0 && data[i - 1] == '='; i--)
        count--;
    if (count > 0)
        buffer_append(&stream->text, (const char *)bytes, (size_t)count);
    free(bytes);
    if (count < 0)
        failure_advise(L, "invalid", stream->op, FOREIGN, "a frame of the stream is not base64");
    return true;
}

/* [-0, +(0|1), v] Pushes the next object, or the next line out of frames. */
static bool push_object(lua_State *L, struct stream *stream)
{
    char error[256];
    for (;;) {
        if (push_line(L, &stream->text, &stream->text_taken, stream->ended))
            return true;
        size_t left = stream->bytes.length - stream->taken;
        const char *start = stream->bytes.bytes ? stream->bytes.bytes + stream->taken : "";
        size_t blanks = stream->scanned ? 0 : strspn(start, " \r\n\t");
        if (blanks > 0) {
            take(&stream->bytes, &stream->taken, blanks);
            continue;
        }
        size_t length = left ? next_object(L, stream, start, left) : 0;
        if (length == 0)
            return false;
        if (!json_decode(L, start, length, error, sizeof error))
            failure_advise(L, "invalid", stream->op, FOREIGN, "the stream is no JSON: %s", error);
        take(&stream->bytes, &stream->taken, length);
        lua_pushnil(L);
        bool empty = !lua_next(L, -2);
        lua_pop(L, empty ? 0 : 2);
        if (!empty && !unpack_frame(L, stream))
            return true;
        lua_pop(L, 1); /* {} only says that the server is alive */
    }
}

/* What it hands out shows with the first byte that is no blank; blanks without end are lines. */
static void choose_mode(struct stream *stream)
{
    const char *start = stream->bytes.bytes ? stream->bytes.bytes + stream->taken : "";
    size_t left = stream->bytes.length - stream->taken;
    while (stream->blanks < left && strchr(" \r\n\t", start[stream->blanks]) && start[stream->blanks])
        stream->blanks++;
    if (stream->blanks < left)
        stream->mode = start[stream->blanks] == '{' ? MODE_OBJECTS : MODE_LINES;
    else if (left > LONGEST_LINE)
        stream->mode = MODE_LINES;
}

/* [-0, +(0|1), v] Pushes what can be made of the bytes that are there. */
static bool push_next(lua_State *L, struct stream *stream)
{
    if (stream->mode == MODE_UNKNOWN)
        choose_mode(stream);
    if (stream->mode == MODE_OBJECTS)
        return push_object(L, stream);
    return stream->mode == MODE_LINES && push_line(L, &stream->bytes, &stream->taken, stream->ended);
}

/* stream() -> the next line or object; nil at the end. Raises "timeout" after a silence of `timeout`. */
static int stream_call(lua_State *L)
{
    struct stream *stream = luaL_checkudata(L, 1, METATABLE);
    struct failure failure;
    lua_settop(L, 1);
    if (!stream->transfer && !stream->ended)
        return failure_error(L, "usage", stream->op, "the stream is closed");
    while (!push_next(L, stream)) {
        if (stream->ended)
            return 0;
        enum transfer_piece piece =
            transfer_stream_read(stream->transfer, stream->silence_ms, &stream->bytes, &failure);
        if (piece == TRANSFER_FAILED) {
            if (!failure.hint[0] && strcmp(failure.kind, "unreachable") == 0)
                failure_hint(&failure, AGAIN);
            return failure_raise(L, &failure);
        }
        stream->ended = piece == TRANSFER_END;
    }
    return 1;
}

/* [-0, +1, m] */
static struct stream *push_stream(lua_State *L)
{
    struct stream *stream = lua_newuserdatauv(L, sizeof *stream, 0);
    *stream = (struct stream){0};
    if (luaL_newmetatable(L, METATABLE)) {
        static const luaL_Reg methods[] = {{"__call", stream_call},
                                           {"__close", stream_close},
                                           {"__gc", stream_close},
                                           {"close", stream_close},
                                           {NULL, NULL}};
        luaL_setfuncs(L, methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    return stream;
}

int api_push_stream(lua_State *L, const struct api_client *client, const struct api_row *row,
                    struct exchange *exchange, bool plain)
{
    struct failure failure;
    struct stream *stream = push_stream(L);
    snprintf(stream->op, sizeof stream->op, "%s", exchange->op);
    stream->silence_ms = exchange->request.timeout_ms;
    stream->mode = plain ? MODE_LINES : MODE_UNKNOWN;
    exchange->request.url = buffer_text(&exchange->url);
    exchange->request.headers = exchange->headers;
    exchange->request.header_count = exchange->header_count;
    if (exchange_reach(exchange, &failure))
        stream->transfer = transfer_stream_open(runtime_of(L), &exchange->request, &failure);
    if (!stream->transfer) {
        api_explain_unreachable(client, &failure);
        return failure_raise(L, &failure);
    }
    const struct transfer_answer *answer = transfer_stream_answer(stream->transfer);
    if (answer->status >= 300) {
        transfer_answer_free(&exchange->answer);
        exchange->answer = transfer_stream_take_answer(stream->transfer);
        stream_end(stream);
        api_explain(L, client, row, exchange, &failure);
        return failure_raise(L, &failure);
    }
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, -3); /* the loop closes it */
    return 4;
}
