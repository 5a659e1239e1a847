/* JSON for the cluster's APIs: yajl reads it, a writer of our own makes it, nothing is lost in between.
 *
 * yajl_gen is not used: what an event holds must be repaired, not refused (U+FFFD), and a refusal says where
 * in the value it is. */
#include "json.h"

#include "failure.h"
#include "json_number.h"
#include "secret.h"
#include "unknown.h"
#include "utf8.h"

#include <lauxlib.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#define ARRAY_METATABLE  "moonbook.json.array"
#define WRITER_METATABLE "moonbook.json.writer"

#define LONGEST_NUMBER 1024              /* characters */
#define LARGEST_TEXT   ((size_t)1 << 29) /* bytes, read or written */

/* Bytes that a decoded value may take, or four times its text: what servers say is two to four times as large in Lua,
 * "[],[]," thirty times. Looked at now and then. */
#define VALUE_MEMORY ((size_t)1 << 28)
#define LOOK_EVERY   1024 /* values */

/* ---- UTF-8 ---- */

bool json_is_text(const char *bytes, size_t length)
{
    for (size_t at = 0, step; at < length; at += step)
        if (!(step = utf8_length(bytes + at, length - at)))
            return false;
    return true;
}

/* ---- Reading ---- */

/* One level for each array or object that is open: its table stands on the Lua stack, an object's key
 * above. */
struct reader {
    lua_State *L;
    yajl_handle handle;
    const char *text;
    size_t length;
    char *error; /* where to say why the text is refused */
    size_t error_size;
    bool good;
    const char *refusal; /* why a callback stopped the reading */
    int memory;          /* KB that Lua had at the beginning */
    unsigned values;
    int depth;
    struct {
        bool array;
        lua_Integer count;
    } levels[JSON_MAX_DEPTH];
};

/* Is the value not larger than any that is meant well? */
static bool is_bearable(struct reader *reader)
{
    size_t most = reader->length * 4 > VALUE_MEMORY ? reader->length * 4 : VALUE_MEMORY;
    int grown = lua_gc(reader->L, LUA_GCCOUNT) - reader->memory;
    if (grown < 0 || (size_t)grown < most >> 10)
        return true;
    reader->refusal = "too many values: they would take more than 256 MiB of memory";
    return false;
}

/* [-1, +0, m] The value on top of the stack goes where the text has it; the outermost one stays. */
static int place(struct reader *reader)
{
    if (++reader->values % LOOK_EVERY == 0 && !is_bearable(reader))
        return 0;
    if (!reader->depth)
        return 1;
    if (reader->levels[reader->depth - 1].array)
        lua_rawseti(reader->L, -2, ++reader->levels[reader->depth - 1].count);
    else
        lua_rawset(reader->L, -3);
    return 1;
}

static int read_null(void *context)
{
    struct reader *reader = context;
    lua_pushlightuserdata(reader->L, NULL);
    return place(reader);
}

static int read_boolean(void *context, int value)
{
    struct reader *reader = context;
    lua_pushboolean(reader->L, value);
    return place(reader);
}

/* [-0, +(0|1), m] False where a float cannot hold it. */
static bool push_float(lua_State *L, const char *digits)
{
    if (!lua_stringtonumber(L, digits))
        return false;
    lua_pushnumber(L, lua_tonumber(L, -1)); /* "-0" reads as an integer and would lose its sign */
    lua_remove(L, -2);
    return isfinite(lua_tonumber(L, -1));
}

/* [-0, +(0|1), m] Most numbers are integers that surely fit. False for all others, and for -0, which has a sign. */
static bool push_short_integer(lua_State *L, const char *text, size_t length)
{
    bool negative = text[0] == '-';
    lua_Integer value = 0;
    if (length > 18)
        return false;
    for (size_t i = negative; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
    }
    if (negative && value == 0)
        return false;
    lua_pushinteger(L, negative ? -value : value);
    return true;
}

static int read_number(void *context, const char *text, size_t length)
{
    struct reader *reader = context;
    char digits[LONGEST_NUMBER + 1];
    if (push_short_integer(reader->L, text, length))
        return place(reader);
    if (length > LONGEST_NUMBER) {
        reader->refusal = "a number of more than 1024 characters";
        return 0;
    }
    memcpy(digits, text, length);
    digits[length] = '\0';
    if (strcmp(digits, "-0") == 0) {
        lua_pushnumber(reader->L, -0.0);
    } else if (!strpbrk(digits, ".eE")) {
        /* Lua itself turns an integer beyond its range into a float. */
        lua_stringtonumber(reader->L, digits);
        if (!lua_isinteger(reader->L, -1)) {
            lua_pop(reader->L, 1);
            json_number_push(reader->L, digits, length);
        }
    } else if (!push_float(reader->L, digits)) {
        reader->refusal = "a number too large for a float";
        return 0;
    }
    return place(reader);
}

static int read_string(void *context, const unsigned char *bytes, size_t length)
{
    struct reader *reader = context;
    lua_pushlstring(reader->L, (const char *)bytes, length);
    return place(reader);
}

static int read_key(void *context, const unsigned char *bytes, size_t length)
{
    struct reader *reader = context;
    lua_pushlstring(reader->L, (const char *)bytes, length);
    return 1;
}

static int begin_level(struct reader *reader, bool array)
{
    if (reader->depth == JSON_MAX_DEPTH) {
        reader->refusal = "nested deeper than 120 levels";
        return 0;
    }
    lua_newtable(reader->L);
    if (array)
        luaL_setmetatable(reader->L, ARRAY_METATABLE);
    reader->levels[reader->depth].array = array;
    reader->levels[reader->depth++].count = 0;
    return 1;
}

static int begin_array(void *context)
{
    return begin_level(context, true);
}

static int begin_object(void *context)
{
    return begin_level(context, false);
}

static int end_level(void *context)
{
    struct reader *reader = context;
    reader->depth--;
    return place(reader);
}

static const yajl_callbacks callbacks = {
    .yajl_null = read_null,
    .yajl_boolean = read_boolean,
    .yajl_number = read_number,
    .yajl_string = read_string,
    .yajl_start_map = begin_object,
    .yajl_map_key = read_key,
    .yajl_end_map = end_level,
    .yajl_start_array = begin_array,
    .yajl_end_array = end_level,
};

/* Writes "line 3, column 7: what" for the byte at `offset`; columns count characters. Returns false. */
static bool refuse(const char *text, size_t offset, const char *what, char *error, size_t error_size)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
            column++;
        }
    }
    snprintf(error, error_size, "line %zu, column %zu: %s", line, column, what);
    return false;
}

/* The four hexadecimal digits of \uXXXX at `text`, or -1. */
static int escape_value(const char *text, size_t left)
{
    int value = 0;
    if (left < 6 || text[0] != '\\' || text[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        static const char hex[] = "0123456789abcdef0123456789ABCDEF";
        const char *digit = text[i] ? strchr(hex, text[i]) : NULL;
        if (!digit)
            return -1;
        value = value << 4 | (int)((digit - hex) & 15);
    }
    return value;
}

/* How many bytes the escape at `text` has; 0 where it is one half of a surrogate pair without the other: yajl
 * would make invalid UTF-8 or a question mark of it. */
static size_t escape_length(const char *text, size_t left)
{
    int value = escape_value(text, left);
    if (value < 0xD800 || value > 0xDFFF)
        return left < 2 ? 1 : 2;
    if (value > 0xDBFF)
        return 0;
    int other = escape_value(text + 6, left - 6);
    return other >= 0xDC00 && other <= 0xDFFF ? 12 : 0;
}

/* Are the eight bytes at `text` ASCII without a backslash? Nearly all of a text is. May say no where they are. */
static bool is_plain(const char *text)
{
    uint64_t word;
    memcpy(&word, text, sizeof word);
    uint64_t backslashes = word ^ 0x5c5c5c5c5c5c5c5c; /* a zero byte for each */
    return !((word | (backslashes - 0x0101010101010101)) & 0x8080808080808080);
}

/* What yajl does not refuse by itself. */
static bool precheck(const char *text, size_t length, char *error, size_t error_size)
{
    if (length > LARGEST_TEXT)
        return refuse(text, 0, "more than 512 MiB", error, error_size);
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        return refuse(text, 0, "a byte order mark, which JSON does not have", error, error_size);
    size_t blanks = 0;
    while (blanks < length && memchr(" \t\r\n", text[blanks], 4))
        blanks++;
    if (blanks == length)
        return refuse(text, 0, "the text is empty", error, error_size);
    for (size_t at = blanks, step; at < length; at += step) {
        if (length - at >= 8 && is_plain(text + at)) {
            step = 8;
            continue;
        }
        step = utf8_length(text + at, length - at);
        if (!step)
            return refuse(text, at, "invalid UTF-8", error, error_size);
        if (text[at] == '\\' && !(step = escape_length(text + at, length - at)))
            return refuse(text, at, "half of a surrogate pair", error, error_size);
    }
    return true;
}

/* Says why yajl stopped, and where: after `taken` bytes, one more than there are where the text ended. */
static bool explain(const struct reader *reader, size_t taken)
{
    size_t last = taken ? taken - 1 : 0;
    if (reader->refusal)
        return refuse(reader->text, last, reader->refusal, reader->error, reader->error_size);
    unsigned char *reason = yajl_get_error(reader->handle, 0, NULL, 0);
    char what[256];
    snprintf(what, sizeof what, "%s", reason ? (const char *)reason : "not JSON");
    if (reason)
        yajl_free_error(reader->handle, reason);
    what[strcspn(what, "\n")] = '\0';
    /* Inside a token, yajl puts the byte that does not fit back. */
    bool inside = strncmp(what, "lexical error", 13) == 0 && !strstr(what, "invalid char in");
    return refuse(reader->text, inside && taken < reader->length ? taken : last, what, reader->error,
                  reader->error_size);
}

static bool run_parser(struct reader *reader)
{
    if (yajl_parse(reader->handle, (const unsigned char *)reader->text, reader->length) != yajl_status_ok)
        return explain(reader, yajl_get_bytes_consumed(reader->handle));
    if (yajl_complete_parse(reader->handle) != yajl_status_ok)
        return explain(reader, reader->length + 1);
    return true;
}

/* [-1, +1, m] Runs protected, so that yajl's memory is released whatever Lua raises. nil where the text is refused. */
static int read_text(lua_State *L)
{
    struct reader *reader = lua_touserdata(L, 1);
    reader->L = L;
    luaL_checkstack(L, 2 * JSON_MAX_DEPTH + 16, "no room to read JSON");
    reader->good = run_parser(reader);
    if (!reader->good)
        lua_pushnil(L);
    return 1;
}

bool json_decode(lua_State *L, const char *text, size_t length, char *error, size_t error_size)
{
    struct reader reader = {.text = text,
                            .length = length,
                            .error = error,
                            .error_size = error_size,
                            .memory = lua_gc(L, LUA_GCCOUNT)};
    if (!precheck(text, length, error, error_size))
        return false;
    luaL_checkstack(L, 4, "no room to read JSON");
    reader.handle = yajl_alloc(&callbacks, NULL, &reader);
    if (!reader.handle)
        return luaL_error(L, "not enough memory"), false;
    yajl_config(reader.handle, yajl_dont_validate_strings, 1); /* precheck did, and more strictly */
    lua_pushcfunction(L, read_text);
    lua_pushlightuserdata(L, &reader);
    int status = lua_pcall(L, 1, 1, 0);
    yajl_free(reader.handle);
    if (status != LUA_OK)
        return lua_error(L), false;
    if (!reader.good)
        lua_pop(L, 1);
    return reader.good;
}

/* ---- Building text ---- */

static void comma(struct json_text *json)
{
    if (json->comma)
        buffer_append(&json->out, ",", 1);
    json->comma = true;
}

static void begin(struct json_text *json, const char *bracket)
{
    comma(json);
    buffer_append(&json->out, bracket, 1);
    json->comma = false;
}

static void end(struct json_text *json, const char *bracket)
{
    buffer_append(&json->out, bracket, 1);
    json->comma = true;
}

void json_open_object(struct json_text *json)
{
    begin(json, "{");
}

void json_close_object(struct json_text *json)
{
    end(json, "}");
}

void json_open_array(struct json_text *json)
{
    begin(json, "[");
}

void json_close_array(struct json_text *json)
{
    end(json, "]");
}

/* One character that does not stand for itself. */
static void write_escape(struct buffer *out, unsigned char c)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    const char *found = c ? strchr(plain, c) : NULL;
    if (found)
        buffer_format(out, "\\%c", letter[found - plain]);
    else
        buffer_format(out, "\\u%04x", c);
}

static void write_string(struct buffer *out, const char *bytes, size_t length)
{
    buffer_append(out, "\"", 1);
    size_t done = 0, at = 0;
    while (at < length) {
        unsigned char c = (unsigned char)bytes[at];
        size_t step = utf8_length(bytes + at, length - at);
        if (step && c >= 0x20 && c != '"' && c != '\\') {
            at += step;
            continue;
        }
        buffer_append(out, bytes + done, at - done);
        if (step)
            write_escape(out, c);
        else
            buffer_append(out, "\xEF\xBF\xBD", 3);
        done = ++at;
    }
    buffer_append(out, bytes + done, length - done);
    buffer_append(out, "\"", 1);
}

void json_key(struct json_text *json, const char *name)
{
    comma(json);
    write_string(&json->out, name, strlen(name));
    buffer_append(&json->out, ":", 1);
    json->comma = false;
}

void json_bytes(struct json_text *json, const char *bytes, size_t length)
{
    comma(json);
    write_string(&json->out, bytes, length);
}

void json_string(struct json_text *json, const char *text)
{
    if (text)
        json_bytes(json, text, strlen(text));
    else
        json_raw(json, NULL);
}

void json_integer(struct json_text *json, long long number)
{
    comma(json);
    buffer_format(&json->out, "%lld", number);
}

void json_boolean(struct json_text *json, bool value)
{
    json_raw(json, value ? "true" : "false");
}

void json_raw(struct json_text *json, const char *text)
{
    comma(json);
    buffer_append_text(&json->out, text ? text : "null");
}

/* ---- Writing Lua values ---- */

/* Where in the value the writer is, for refusals and to find cycles. */
struct level {
    const void *table;
    const char *key; /* NULL: an item, its number is */
    lua_Integer item;
};

struct writer {
    lua_State *L;
    struct json_text json;
    struct failure failure;
    bool open_secrets;
    int depth;
    struct level levels[JSON_MAX_DEPTH];
};

struct key {
    const char *bytes;
    size_t length;
};

static bool write_value(struct writer *writer);

/* Keeps why, with the way to the value: "at TaskGroups[2].Count: a function is no JSON". Returns false. */
static bool refuse_value(struct writer *writer, const char *what)
{
    struct buffer way = {0};
    for (int i = 0; i < writer->depth; i++) {
        const struct level *level = &writer->levels[i];
        if (level->key)
            buffer_format(&way, "%s%s", way.length ? "." : "", level->key);
        else if (level->item)
            buffer_format(&way, "[%lld]", (long long)level->item);
    }
    failure_set(&writer->failure, "usage", "json.encode", "%s%s%s%s", way.length ? "at " : "",
                buffer_text(&way), way.length ? ": " : "", what);
    buffer_free(&way);
    return false;
}

static bool write_number(struct writer *writer)
{
    char digits[40];
    if (lua_isinteger(writer->L, -1)) {
        json_integer(&writer->json, lua_tointeger(writer->L, -1));
        return true;
    }
    double number = lua_tonumber(writer->L, -1);
    if (!isfinite(number))
        return refuse_value(writer, "JSON has neither infinity nor NaN");
    /* Whole floats go without a fraction: Go refuses 5.0 where it wants an integer, and n / 2 is a float. */
    int precision = 15;
    do
        snprintf(digits, sizeof digits, "%.*g", precision, number);
    while (strtod(digits, NULL) != number && precision++ < 17);
    json_raw(&writer->json, digits);
    return true;
}

static bool write_text(struct writer *writer, const char *bytes, size_t length)
{
    if (!json_is_text(bytes, length))
        return refuse_value(writer, "text that is not UTF-8; encode bytes as base64");
    json_bytes(&writer->json, bytes, length);
    return true;
}

static bool write_userdata(struct writer *writer)
{
    lua_State *L = writer->L;
    size_t length;
    const char *bytes = json_number_digits(L, -1);
    if (bytes) {
        json_raw(&writer->json, bytes);
        return true;
    }
    bytes = secret_bytes(L, -1, &length);
    if (bytes && writer->open_secrets)
        return write_text(writer, bytes, length);
    if (bytes)
        return refuse_value(writer, "a secret cannot become text");
    if (unknown_is(L, -1) && writer->open_secrets) {
        unknown_used(L);
        json_string(&writer->json, UNKNOWN_TEXT);
        return true;
    }
    if (unknown_is(L, -1))
        return refuse_value(writer, "a value that only a real run can know");
    return refuse_value(writer, "an object of the program is no JSON");
}

static bool write_items(struct writer *writer, lua_Integer count)
{
    struct level *level = &writer->levels[writer->depth - 1];
    json_open_array(&writer->json);
    for (level->item = 1; level->item <= count; level->item++) {
        lua_rawgeti(writer->L, -1, level->item);
        if (!write_value(writer))
            return false;
        lua_pop(writer->L, 1);
    }
    json_close_array(&writer->json);
    return true;
}

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->bytes, b->bytes, shorter);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

/* The table on top of the stack has `count` keys, all of them text; they stay valid as long as it does. */
static bool write_members(struct writer *writer, size_t count)
{
    lua_State *L = writer->L;
    struct level *level = &writer->levels[writer->depth - 1];
    struct key *keys = lua_newuserdatauv(L, (count ? count : 1) * sizeof *keys, 0);
    lua_insert(L, -2);
    size_t i = 0;
    for (lua_pushnil(L); lua_next(L, -2) && i < count; i++) {
        lua_pop(L, 1);
        keys[i].bytes = lua_tolstring(L, -1, &keys[i].length);
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    json_open_object(&writer->json);
    for (i = 0; i < count; i++) {
        level->key = keys[i].bytes;
        if (!json_is_text(keys[i].bytes, keys[i].length))
            return refuse_value(writer, "a name that is not UTF-8");
        json_bytes(&writer->json, keys[i].bytes, keys[i].length);
        buffer_append(&writer->json.out, ":", 1);
        writer->json.comma = false;
        lua_pushlstring(L, keys[i].bytes, keys[i].length);
        lua_rawget(L, -2);
        if (!write_value(writer))
            return false;
        lua_pop(L, 1);
    }
    json_close_object(&writer->json);
    lua_remove(L, -2);
    return true;
}

/* Looks at the keys of the table on top of the stack. */
struct shape {
    size_t names;        /* keys that are text */
    size_t items;        /* keys that are integers from 1 */
    lua_Integer highest; /* the highest of these */
    bool other;
};

static struct shape table_shape(lua_State *L)
{
    struct shape shape = {0};
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            shape.names++;
        } else if (lua_isinteger(L, -2) && lua_tointeger(L, -2) > 0) {
            shape.items++;
            if (lua_tointeger(L, -2) > shape.highest)
                shape.highest = lua_tointeger(L, -2);
        } else {
            shape.other = true;
        }
    }
    return shape;
}

static bool write_table(struct writer *writer)
{
    lua_State *L = writer->L;
    const void *table = lua_topointer(L, -1);
    if (writer->depth == JSON_MAX_DEPTH)
        return refuse_value(writer, "nested deeper than 120 levels");
    for (int i = 0; i < writer->depth; i++)
        if (writer->levels[i].table == table)
            return refuse_value(writer, "a table that contains itself");
    struct shape shape = table_shape(L);
    bool array = json_is_array(L, -1) || shape.items;
    if (shape.other)
        return refuse_value(writer, "a table with a key that is neither text nor a number from 1");
    if (array && shape.names)
        return refuse_value(writer, "a table with both names and numbers as keys");
    if (array && (lua_Integer)shape.items != shape.highest)
        return refuse_value(writer, "an array with holes; put json.null there");
    writer->levels[writer->depth++] = (struct level){.table = table};
    if (!(array ? write_items(writer, shape.highest) : write_members(writer, shape.names)))
        return false;
    writer->depth--;
    return true;
}

/* Appends the value on top of the stack, which stays there; on refusal the stack is left as it is. */
static bool write_value(struct writer *writer)
{
    lua_State *L = writer->L;
    size_t length;
    const char *bytes;
    if (writer->json.out.length > LARGEST_TEXT)
        return refuse_value(writer, "more than 512 MiB of JSON");
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        json_boolean(&writer->json, lua_toboolean(L, -1));
        return true;
    case LUA_TNUMBER:
        return write_number(writer);
    case LUA_TSTRING:
        bytes = lua_tolstring(L, -1, &length);
        return write_text(writer, bytes, length);
    case LUA_TTABLE:
        return write_table(writer);
    case LUA_TUSERDATA:
        return write_userdata(writer);
    case LUA_TLIGHTUSERDATA:
        if (json_is_null(L, -1)) {
            json_raw(&writer->json, NULL);
            return true;
        }
        return refuse_value(writer, "an object of the program is no JSON");
    case LUA_TNIL:
        return refuse_value(writer, "nil is no JSON; write json.null");
    default:
        return refuse_value(writer,
                            lua_isfunction(L, -1) ? "a function is no JSON" : "a coroutine is no JSON");
    }
}

static int writer_gc(lua_State *L)
{
    struct writer *writer = lua_touserdata(L, 1);
    buffer_wipe(&writer->json.out);
    return 0;
}

/* [-0, +1, v] Encodes the value at `index` into a writer that Lua owns, pushed; raises what it refuses. */
static struct writer *encode(lua_State *L, int index, bool open_secrets)
{
    index = lua_absindex(L, index);
    luaL_checkstack(L, 4 * JSON_MAX_DEPTH + 32, "no room to write JSON");
    struct writer *writer = lua_newuserdatauv(L, sizeof *writer, 0);
    memset(writer, 0, sizeof *writer);
    luaL_setmetatable(L, WRITER_METATABLE);
    writer->L = L;
    writer->open_secrets = open_secrets;
    int top = lua_gettop(L);
    lua_pushvalue(L, index);
    bool good = write_value(writer);
    lua_settop(L, top);
    if (!good) {
        buffer_wipe(&writer->json.out);
        failure_raise(L, &writer->failure);
    }
    return writer;
}

void json_encode(lua_State *L, int index)
{
    struct writer *writer = encode(L, index, false);
    lua_pushlstring(L, buffer_text(&writer->json.out), writer->json.out.length);
    buffer_free(&writer->json.out);
    lua_remove(L, -2);
}

void json_encode_request(lua_State *L, int index, struct buffer *out)
{
    struct writer *writer = encode(L, index, true);
    buffer_append(out, buffer_text(&writer->json.out), writer->json.out.length);
    buffer_wipe(&writer->json.out);
    lua_pop(L, 1);
}

/* ---- Arrays, null, set-up ---- */

void json_mark_array(lua_State *L, int index)
{
    lua_pushvalue(L, index);
    luaL_setmetatable(L, ARRAY_METATABLE);
    lua_pop(L, 1);
}

bool json_is_array(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, ARRAY_METATABLE);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

void json_push_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
}

bool json_is_null(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, index);
}

void json_open(lua_State *L)
{
    luaL_newmetatable(L, ARRAY_METATABLE);
    lua_pop(L, 1);
    json_number_open(L);
    luaL_newmetatable(L, WRITER_METATABLE);
    lua_pushcfunction(L, writer_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
