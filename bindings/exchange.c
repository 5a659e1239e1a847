/* The parts of a request that comes from Lua: options read and copied, bodies encoded, answers pushed. */
#include "exchange.h"

#include "digest.h"
#include "json.h"
#include "quantity.h"
#include "redact.h"
#include "secret.h"
#include "unknown.h"
#include "utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define SHOWN_LOCATION 300
#define METATABLE      "moonbook.exchange"

/* --- life ---------------------------------------------------------------------------------------------------- */

static int release(lua_State *L)
{
    struct exchange *exchange = lua_touserdata(L, 1);
    for (size_t i = 0; i < exchange->text_count; i++) {
        explicit_bzero(exchange->texts[i], strlen(exchange->texts[i]));
        free(exchange->texts[i]);
    }
    if (exchange->owned_file >= 0)
        close(exchange->owned_file);
    if (exchange->temporary)
        unlink(exchange->temporary);
    free(exchange->temporary);
    exchange->owned_file = -1;
    exchange->temporary = NULL;
    free(exchange->texts);
    free(exchange->headers);
    buffer_wipe(&exchange->url);
    buffer_wipe(&exchange->body);
    transfer_answer_free(&exchange->answer);
    exchange->texts = NULL;
    exchange->headers = NULL;
    exchange->text_count = exchange->header_count = 0;
    lua_pushnil(L); /* the collector need not come again */
    lua_setmetatable(L, 1);
    return 0;
}

static void set_op(struct exchange *exchange, const char *op, size_t length)
{
    length = length < sizeof exchange->op ? length : sizeof exchange->op - 1;
    memcpy(exchange->op, op, length);
    exchange->op[length] = '\0';
}

struct exchange *exchange_open(lua_State *L, const char *op)
{
    struct exchange *exchange = lua_newuserdatauv(L, sizeof *exchange, 0);
    *exchange = (struct exchange){.request = TRANSFER_REQUEST, .owned_file = -1};
    set_op(exchange, op, strlen(op));
    exchange->request.op = exchange->op;
    exchange->request.retries = EXCHANGE_RETRIES;
    exchange->request.answers = exchange->answers;
    if (luaL_newmetatable(L, METATABLE)) {
        lua_pushcfunction(L, release);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, release);
        lua_setfield(L, -2, "__close");
    }
    lua_setmetatable(L, -2);
    lua_toclose(L, -1);
    return exchange;
}

void exchange_name(struct exchange *exchange, const char *op)
{
    struct buffer name = {0};
    buffer_append_text(&name, op);
    buffer_append(&name, " ", 1);
    transfer_show_url(buffer_text(&exchange->url), &name);
    set_op(exchange, buffer_text(&name), name.length);
    buffer_free(&name);
}

const char *exchange_copy(struct exchange *exchange, const char *text)
{
    if (!text)
        return NULL;
    exchange->texts = reallocate(exchange->texts, (exchange->text_count + 1) * sizeof *exchange->texts);
    return exchange->texts[exchange->text_count++] = copy_text(text);
}

/* --- URL, headers, body -------------------------------------------------------------------------------------- */

void exchange_header(struct exchange *exchange, const char *name, const char *value, bool secret)
{
    exchange->headers =
        reallocate(exchange->headers, (exchange->header_count + 1) * sizeof *exchange->headers);
    exchange->headers[exchange->header_count++] = (struct transfer_header){
        .name = exchange_copy(exchange, name), .value = exchange_copy(exchange, value), .secret = secret};
}

void exchange_escape(struct buffer *out, const char *bytes, size_t length, bool slashes)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        bool plain =
            (byte < 128 && isalnum(byte)) || (byte && strchr("-._~", byte)) || (slashes && byte == '/');
        if (plain)
            buffer_append(out, &bytes[i], 1);
        else
            buffer_append(out, (const char[]){'%', hex[byte >> 4], hex[byte & 15]}, 3);
    }
}

void exchange_query(struct exchange *exchange, const char *name, const char *value)
{
    buffer_append_text(&exchange->url, strchr(buffer_text(&exchange->url), '?') ? "&" : "?");
    exchange_escape(&exchange->url, name, strlen(name), false);
    if (value) {
        buffer_append_text(&exchange->url, "=");
        exchange_escape(&exchange->url, value, strlen(value), true);
    }
}

void exchange_json_body(lua_State *L, struct exchange *exchange, int index)
{
    json_encode_request(L, index, &exchange->body);
    exchange->has_body = true;
    exchange_header(exchange, "Content-Type", "application/json", false);
}

void exchange_text_body(lua_State *L, struct exchange *exchange, int index)
{
    size_t length;
    if (unknown_is(L, index)) {
        unknown_used(L);
        buffer_append_text(&exchange->body, UNKNOWN_TEXT);
    } else {
        const char *text = secret_or_text(L, index, exchange->op, &length, NULL);
        buffer_append(&exchange->body, text, length);
    }
    exchange->has_body = true;
}

const char *exchange_describe_body(struct exchange *exchange)
{
    char hex[DIGEST_SIZE], text[DIGEST_SIZE + 64];
    if (!exchange->has_body || !digest_sha256(exchange->body.bytes, exchange->body.length, hex))
        return NULL;
    snprintf(text, sizeof text, "{\"bytes\":%zu,\"sha256\":\"%s\"}", exchange->body.length, hex);
    return exchange_copy(exchange, text);
}

const char *exchange_shown_url(struct exchange *exchange)
{
    struct buffer shown = {0};
    transfer_show_url(buffer_text(&exchange->url), &shown);
    const char *copy = exchange_copy(exchange, buffer_text(&shown));
    buffer_free(&shown);
    return copy;
}

/* --- options ------------------------------------------------------------------------------------------------- */

const char *exchange_secret_option(lua_State *L, int index, struct exchange *exchange, const char *name,
                                   bool sensitive)
{
    const char *text = NULL;
    index = lua_absindex(L, index);
    lua_pushstring(L, name);
    lua_rawget(L, index);
    if (unknown_is(L, -1)) {
        unknown_used(L);
        text = UNKNOWN_TEXT;
    } else if (!lua_isnil(L, -1)) {
        size_t length;
        text = secret_or_text(L, -1, exchange->op, &length, NULL);
        if (strlen(text) != length)
            failure_error(L, "usage", exchange->op, "%s has a NUL byte in it", name);
        if (sensitive)
            redactor_add(runtime_of(L)->redactor, text, length);
        text = exchange_copy(exchange, text);
    }
    lua_pop(L, 1);
    return text;
}

void exchange_target_options(lua_State *L, int index, struct exchange *exchange)
{
    static const struct {
        const char *name;
        size_t offset;
    } paths[] = {
        {"unix_socket", offsetof(struct transfer_target, unix_socket)},
        {"ca", offsetof(struct transfer_target, ca)},
        {"ca_path", offsetof(struct transfer_target, ca_path)},
        {"cert", offsetof(struct transfer_target, cert)},
        {"key", offsetof(struct transfer_target, key)},
        {"server_name", offsetof(struct transfer_target, server_name)},
    };
    struct transfer_target *target = &exchange->request.target;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        const char *text = argument_string(L, index, exchange->op, paths[i].name, NULL);
        if (text)
            *(const char **)((char *)target + paths[i].offset) = exchange_copy(exchange, text);
    }
    const char *user = exchange_secret_option(L, index, exchange, "user", false);
    const char *password = exchange_secret_option(L, index, exchange, "password", true);
    target->user = user ? user : target->user;
    target->password = password ? password : target->password;
    target->insecure = !argument_boolean(L, index, exchange->op, "verify", !target->insecure);
}

/* [-0, +0, v] A number of bytes or "64M". */
static size_t size_option(lua_State *L, int index, const char *op, const char *name)
{
    int64_t bytes = 0;
    index = lua_absindex(L, index);
    lua_pushstring(L, name);
    int type = lua_rawget(L, index);
    if (type == LUA_TSTRING ? !size_parse(lua_tostring(L, -1), &bytes)
                            : type != LUA_TNIL && !lua_isinteger(L, -1))
        failure_error(L, "usage", op, "%s is a size such as \"64M\" or a number of bytes", name);
    if (type == LUA_TNUMBER)
        bytes = lua_tointeger(L, -1);
    if (bytes < 0)
        failure_error(L, "usage", op, "%s cannot be below 0", name);
    lua_pop(L, 1);
    return (size_t)bytes;
}

void exchange_limit_options(lua_State *L, int index, struct exchange *exchange)
{
    struct transfer_request *request = &exchange->request;
    int64_t retries = argument_integer(L, index, exchange->op, "retries", request->retries);
    if (retries < 0 || retries > 100)
        failure_error(L, "usage", exchange->op, "retries is between 0 and 100");
    request->retries = (unsigned)retries;
    request->timeout_ms =
        (uint64_t)argument_duration(L, index, exchange->op, "timeout", (int64_t)request->timeout_ms);
    request->connect_timeout_ms = (uint64_t)argument_duration(L, index, exchange->op, "connect_timeout",
                                                              (int64_t)request->connect_timeout_ms);
    size_t limit = size_option(L, index, exchange->op, "limit");
    request->answer_limit = limit ? limit : request->answer_limit;
}

void exchange_limit_time(lua_State *L, struct exchange *exchange, uint64_t deadline)
{
    uint64_t now = runtime_now(runtime_of(L));
    exchange->request.timeout_ms = now < deadline ? deadline - now : 1;
}

/* --- sending and the answer ----------------------------------------------------------------------------------- */

bool exchange_is_answer(const struct exchange *exchange, int status)
{
    for (const int *answer = exchange->answers; *answer; answer++)
        if (*answer == status)
            return true;
    return false;
}

bool exchange_reach(struct exchange *exchange, struct failure *failure)
{
    struct buffer socket = {0};
    if (!exchange->via)
        return true;
    if (exchange->via_port <= 0 && *exchange->via_address != '/')
        return failure_set(failure, "usage", exchange->op, "no forward leads to such an address on %s",
                           exchange->via->name);
    const struct transfer_request *request = &exchange->request;
    uint64_t patience =
        request->connect_timeout_ms ? request->connect_timeout_ms : TRANSFER_CONNECT_TIMEOUT_MS;
    if (request->timeout_ms && request->timeout_ms < patience)
        patience = request->timeout_ms;
    bool done =
        host_forward(exchange->via, exchange->via_address, exchange->via_port, patience, &socket, failure);
    if (done) {
        struct transfer_target *target = &exchange->request.target;
        target->unix_socket = exchange_copy(exchange, buffer_text(&socket));
        buffer_clear(&socket);
        buffer_append_text(&socket, exchange->via_address);
        if (exchange->via_port > 0)
            buffer_format(&socket, ":%d", exchange->via_port);
        buffer_format(&socket, " (as %s sees it)", exchange->via->name);
        target->behind = exchange_copy(exchange, buffer_text(&socket));
    }
    buffer_free(&socket);
    return done;
}

bool exchange_perform(lua_State *L, struct exchange *exchange, struct failure *failure)
{
    if (!exchange_reach(exchange, failure))
        return false;
    struct transfer_request *request = &exchange->request;
    request->url = buffer_text(&exchange->url);
    request->headers = exchange->headers;
    request->header_count = exchange->header_count;
    request->body = exchange->has_body ? buffer_text(&exchange->body) : NULL;
    request->body_length = exchange->body.length;
    transfer_answer_free(&exchange->answer);
    return transfer_perform(runtime_of(L), request, &exchange->answer, failure);
}

bool exchange_is_json(const struct exchange *exchange)
{
    const char *type = transfer_answer_header(&exchange->answer, "Content-Type");
    return type && strcasestr(type, "json");
}

/* --- what servers say -------------------------------------------------------------------------------------------- */

void exchange_excerpt(lua_State *L, const char *text, size_t length, size_t most, struct buffer *out)
{
    struct buffer whole = {0};
    size_t start = out->length;
    buffer_append(&whole, text, length);
    redacted_head(runtime_of(L)->redactor, &whole, most, out); /* a secret cut in two would pass unseen */
    buffer_wipe(&whole);
    for (size_t i = start; i < out->length; i++)
        if (strchr("\r\n\t", out->bytes[i]))
            out->bytes[i] = ' '; /* a NUL, too */
    if (out->length > start)
        utf8_disarm(out->bytes + start, out->length - start);
}

void exchange_excerpt_location(lua_State *L, const char *location, struct buffer *out)
{
    struct buffer shown = {0};
    const char *scheme = strstr(location, "://");
    const char *slashes = scheme ? scheme + 3 : strncmp(location, "//", 2) == 0 ? location + 2 : NULL;
    const char *at = slashes ? memrchr(slashes, '@', strcspn(slashes, "/?#")) : NULL;
    if (at) {
        buffer_append(&shown, location, (size_t)(slashes - location));
        buffer_append_text(&shown, at + 1);
    } else
        buffer_append_text(&shown, location);
    exchange_excerpt(L, buffer_text(&shown), shown.length, SHOWN_LOCATION, out);
    if (!*location)
        buffer_append_text(out, "nowhere");
    buffer_free(&shown);
}

bool exchange_is_page(const struct exchange *exchange)
{
    const char *type = transfer_answer_header(&exchange->answer, "Content-Type");
    const char *text = buffer_text(&exchange->answer.body);
    text += strspn(text, " \t\r\n");
    return *text == '<' && ((type && strcasestr(type, "html")) || strncasecmp(text, "<!doctype", 9) == 0 ||
                            strncasecmp(text, "<html", 5) == 0);
}

int exchange_refuse_json(lua_State *L, const struct exchange *exchange, const char *error, const char *hint)
{
    struct failure failure;
    const char *encoding = transfer_answer_header(&exchange->answer, "Content-Encoding");
    if (exchange_is_page(exchange))
        failure_set(&failure, "invalid", exchange->op, "the answer is a page for browsers, no JSON");
    else if (encoding && strcasecmp(encoding, "identity") != 0)
        failure_set(&failure, "invalid", exchange->op,
                    "the answer is compressed (Content-Encoding: %.40s), which was not asked for", encoding);
    else
        failure_set(&failure, "invalid", exchange->op, "the answer is no JSON: %s", error);
    failure_hint(&failure, "%s", hint);
    return failure_raise(L, &failure);
}
