/* Lua module `http`: requests to any server, and files fetched from one. */
#include "binding.h"
#include "change.h"
#include "digest.h"
#include "exchange.h"
#include "file_write.h"
#include "host.h"
#include "json.h"
#include "redact.h"
#include "secret.h"
#include "unknown.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define REDIRECTS        5
#define DOWNLOAD_LIMIT   ((size_t)1 << 30)
#define DOWNLOAD_TIMEOUT (30 * 60 * 1000)
#define SHOWN_BODY       300
#define ANSWER_METATABLE "moonbook.http_answer"

/* --- arguments ----------------------------------------------------------------------------------------------- */

/* [-n, +2, v] f(url, options) or f{url, options}: leaves the URL at 1 and a table of options at 2. */
static void normalise_arguments(lua_State *L, const char *op)
{
    if (lua_istable(L, 1)) {
        lua_settop(L, 1);
        lua_rawgeti(L, 1, 1);
        lua_insert(L, 1);
    } else {
        lua_settop(L, 2);
        if (lua_isnil(L, 2)) {
            lua_newtable(L);
            lua_replace(L, 2);
        }
    }
    if (lua_isnil(L, 1))
        failure_error(L, "usage", op, "the URL is missing: it comes first, without a name");
    if (!lua_istable(L, 2))
        failure_error(L, "usage", op, "the options after the URL are a table, not %s", luaL_typename(L, 2));
}

/* [-0, +0, v] The URL at 1. False: it is unknown, under --check. */
static bool take_url(lua_State *L, struct exchange *exchange, const char *op)
{
    size_t length;
    if (unknown_is(L, 1)) {
        unknown_used(L);
        return false;
    }
    const char *url = secret_or_text(L, 1, op, &length, NULL);
    buffer_append(&exchange->url, url, length);
    transfer_hide_password(runtime_of(L)->redactor, url);
    exchange_name(exchange, op);
    if (strlen(url) != length)
        failure_error(L, "usage", exchange->op, "the URL has a NUL byte in it");
    return true;
}

/* [-0, +0, v] query = {name = value, name = {value, value}, flag = true} */
static void add_query_value(lua_State *L, struct exchange *exchange, const char *name)
{
    if (lua_isboolean(L, -1))
        exchange_query(exchange, name, lua_toboolean(L, -1) ? "true" : "false");
    else if (lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER) {
        lua_pushvalue(L, -1); /* tostring must not change the caller's table */
        exchange_query(exchange, name, lua_tostring(L, -1));
        lua_pop(L, 1);
    } else
        failure_error(L, "usage", exchange->op, "query.%s is text, a number, a boolean or a list of them",
                      name);
}

/* [-0, +1, v] Pushes the field when it is a table, or nil. */
static bool push_table_option(lua_State *L, struct exchange *exchange, const char *name)
{
    int type = lua_getfield(L, 2, name);
    if (type != LUA_TNIL && type != LUA_TTABLE)
        failure_error(L, "usage", exchange->op, "%s is a table, not %s", name, luaL_typename(L, -1));
    return type == LUA_TTABLE;
}

/* [-0, +0, v] The key below the top of the stack, as text. */
static const char *option_key(lua_State *L, struct exchange *exchange, const char *option)
{
    if (lua_type(L, -2) != LUA_TSTRING)
        failure_error(L, "usage", exchange->op, "%s has names, not %s", option, luaL_typename(L, -2));
    return lua_tostring(L, -2);
}

static void take_query(lua_State *L, struct exchange *exchange)
{
    if (push_table_option(L, exchange, "query"))
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            const char *name = option_key(L, exchange, "query");
            if (!lua_istable(L, -1)) {
                add_query_value(L, exchange, name);
                continue;
            }
            for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++, lua_pop(L, 1))
                add_query_value(L, exchange, name);
            lua_pop(L, 1);
        }
    lua_pop(L, 1);
}

/* Headers whose values are credentials whatever the script says. */
static bool is_credential(const char *name)
{
    static const char *const names[] = {"Authorization", "Proxy-Authorization", "Cookie",
                                        "X-Vault-Token", "X-Consul-Token",      "X-Nomad-Token"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

/* "Bearer abc": what follows the scheme is the secret. */
static void hide_credential(lua_State *L, const char *value)
{
    const char *blank = strchr(value, ' ');
    const char *secret = blank ? blank + 1 : value;
    redactor_add(runtime_of(L)->redactor, secret, strlen(secret));
}

static void take_headers(lua_State *L, struct exchange *exchange)
{
    if (push_table_option(L, exchange, "headers"))
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            bool secret = false;
            size_t length = strlen(UNKNOWN_TEXT);
            const char *value = UNKNOWN_TEXT;
            const char *name = option_key(L, exchange, "headers");
            if (unknown_is(L, -1))
                unknown_used(L);
            else
                value = secret_or_text(L, -1, exchange->op, &length, &secret);
            if (strlen(value) != length)
                failure_error(L, "usage", exchange->op, "the header %s has a NUL byte in it", name);
            if (is_credential(name) && !secret)
                hide_credential(L, value);
            exchange_header(exchange, name, value, secret || is_credential(name));
        }
    lua_pop(L, 1);
}

/* ok = 404 or ok = {404, 410}: statuses that are data. */
static void take_answers(lua_State *L, struct exchange *exchange)
{
    size_t count = 0;
    if (lua_getfield(L, 2, "ok") == LUA_TNUMBER)
        exchange->answers[count++] = (int)lua_tointeger(L, -1);
    else if (lua_istable(L, -1))
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++, lua_pop(L, 1)) {
            if (!lua_isinteger(L, -1) || count + 1 >= EXCHANGE_ANSWERS)
                failure_error(L, "usage", exchange->op, "ok is a list of at most %d statuses",
                              EXCHANGE_ANSWERS - 1);
            exchange->answers[count++] = (int)lua_tointeger(L, -1);
        }
    else if (!lua_isnil(L, -1))
        failure_error(L, "usage", exchange->op, "ok is a status or a list of them, not %s",
                      luaL_typename(L, -1));
    lua_settop(L, 3); /* URL, options, exchange */
    exchange->answers[count] = 0;
}

static void take_body(lua_State *L, struct exchange *exchange)
{
    bool given = lua_getfield(L, 2, "body") != LUA_TNIL;
    if (given)
        exchange_text_body(L, exchange, -1);
    if (lua_getfield(L, 2, "json") != LUA_TNIL) {
        if (given)
            failure_error(L, "usage", exchange->op, "body and json are both given; leave one out");
        exchange_json_body(L, exchange, -1);
    }
    lua_pop(L, 2);
}

/* --- answers ------------------------------------------------------------------------------------------------- */

/* answer.json: the body decoded, at the first use. */
static int answer_index(lua_State *L)
{
    char error[256];
    size_t length;
    if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "json") != 0)
        return 0;
    lua_getfield(L, 1, "body");
    lua_getfield(L, 1, "url");
    const char *body = lua_tolstring(L, 3, &length);
    if (!body || !json_decode(L, body, length, error, sizeof error))
        return failure_advise(L, "invalid", "http", "see what answers there: body has what it said",
                              "the answer of %s is no JSON: %s", lua_tostring(L, 4),
                              body ? error : "it has no body");
    lua_pushvalue(L, -1);
    lua_setfield(L, 1, "json");
    return 1;
}

/* [-0, +1, m] {status=, headers=, body=, url=} */
static int push_answer(lua_State *L, struct exchange *exchange)
{
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, exchange->answer.status);
    lua_setfield(L, -2, "status");
    exchange_push_headers(L, exchange);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, buffer_text(&exchange->answer.body), exchange->answer.body.length);
    lua_setfield(L, -2, "body");
    lua_pushstring(L, exchange_shown_url(exchange));
    lua_setfield(L, -2, "url");
    if (luaL_newmetatable(L, ANSWER_METATABLE)) {
        lua_pushcfunction(L, answer_index);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    return 1;
}

/* The beginning of an error's body on one line: servers explain themselves there. Pages for browsers do not. */
static void excerpt(lua_State *L, const struct buffer *body, struct buffer *said)
{
    const char *text = buffer_text(body);
    if (text[strspn(text, " \t\r\n")] != '<')
        exchange_excerpt(L, text, body->length, SHOWN_BODY, said);
}

/* A status that the caller did not ask for, as a failure. True where it is fine. */
static bool accept_status(lua_State *L, const struct exchange *exchange, struct failure *failure)
{
    int status = exchange->answer.status;
    struct buffer said = {0};
    const char *location = transfer_answer_header(&exchange->answer, "Location");
    if (status < 300 || status == 304 || exchange_is_answer(exchange, status))
        return true;
    if (status < 400) {
        exchange_excerpt_location(L, location ? location : "", &said);
        failure_set(failure, "http", exchange->op, "status %d: redirected to %s, not followed", status,
                    buffer_text(&said));
    } else {
        excerpt(L, &exchange->answer.body, &said);
        failure_set(failure, status == 401 || status == 403 ? "permission" : "http", exchange->op,
                    "status %d%s%s", status, said.length ? ": " : "", buffer_text(&said));
        if (status == 401 || status == 403)
            failure_hint(failure,
                         "see who asks (user, password, Authorization in headers) and what they may do");
    }
    buffer_free(&said);
    failure->status = status;
    return false;
}

/* Where nothing better is known. */
static void hint_unreachable(struct failure *failure)
{
    if (strcmp(failure->kind, "unreachable") == 0 && !failure->hint[0])
        failure_hint(failure, "see whether the server runs, and what its log says");
}

/* --- reads --------------------------------------------------------------------------------------------------- */

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *first = NULL, *second = NULL;
    bool same = curl_url_get(a, part, &first, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                curl_url_get(b, part, &second, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                strcasecmp(first, second) == 0;
    curl_free(first);
    curl_free(second);
    return same;
}

static bool is_web(CURLU *url)
{
    char *scheme = NULL;
    bool web = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
               (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0);
    curl_free(scheme);
    return web;
}

/* What was meant for one server goes to no other. */
static void drop_credentials(struct exchange *exchange)
{
    struct transfer_target *target = &exchange->request.target;
    size_t kept = 0;
    for (size_t i = 0; i < exchange->header_count; i++)
        if (!exchange->headers[i].secret)
            exchange->headers[kept++] = exchange->headers[i];
    exchange->header_count = kept;
    target->user = target->password = target->cert = target->key = NULL;
    target->server_name = target->unix_socket = NULL;
}

/* Points the exchange to where the answer says. False: it must not be followed (to another scheme than http and
 * https, or from https to http), or it says nothing. */
static bool follow(struct exchange *exchange, const char *op)
{
    const char *location = transfer_answer_header(&exchange->answer, "Location");
    CURLU *from = curl_url(), *to = curl_url();
    char *url = NULL;
    const char *old = buffer_text(&exchange->url);
    bool parsed = location && from && to && curl_url_set(from, CURLUPART_URL, old, 0) == CURLUE_OK &&
                  curl_url_set(to, CURLUPART_URL, old, 0) == CURLUE_OK &&
                  curl_url_set(to, CURLUPART_URL, location, 0) == CURLUE_OK;
    bool same = parsed && same_part(from, to, CURLUPART_SCHEME) && same_part(from, to, CURLUPART_HOST) &&
                same_part(from, to, CURLUPART_PORT);
    bool fine = parsed && is_web(to) &&
                (same || strncasecmp(old, "https:", 6) != 0 || same_part(from, to, CURLUPART_SCHEME)) &&
                curl_url_get(to, CURLUPART_URL, &url, 0) == CURLUE_OK;
    if (fine) {
        if (!same)
            drop_credentials(exchange);
        buffer_clear(&exchange->url);
        buffer_append_text(&exchange->url, url);
        exchange_name(exchange, op);
    }
    curl_free(url);
    curl_url_cleanup(from);
    curl_url_cleanup(to);
    return fine;
}

/* [-0, +0, v] Sends a read, follows where it is sent, raises unless the answer is one that was asked for. */
static void perform_read(lua_State *L, struct exchange *exchange, const char *op, int64_t redirects)
{
    struct runtime *runtime = runtime_of(L);
    struct failure failure;
    uint64_t timeout = exchange->request.timeout_ms ? exchange->request.timeout_ms : TRANSFER_TIMEOUT_MS;
    uint64_t deadline = runtime_now(runtime) + timeout;
    exchange->request.reads = true;
    for (;;) {
        uint64_t now = runtime_now(runtime);
        exchange->request.timeout_ms = now < deadline ? deadline - now : 1;
        if (!exchange_perform(L, exchange, &failure)) {
            hint_unreachable(&failure);
            failure_raise(L, &failure);
        }
        int status = exchange->answer.status;
        if (!is_redirect(status) || exchange_is_answer(exchange, status) || redirects == 0)
            break;
        if (redirects-- > 0 && !follow(exchange, op))
            break;
    }
    if (!accept_status(L, exchange, &failure))
        failure_raise(L, &failure);
}

static const char *const read_options[] = {
    "headers", "query", "ok", "redirects", EXCHANGE_TARGET_OPTIONS, EXCHANGE_LIMIT_OPTIONS, NULL};

/* [-0, +2, v] What all functions read of their arguments: URL at 1, options at 2, exchange at 3. NULL: an unknown
 * value is on top instead. */
static struct exchange *take_common(lua_State *L, const char *op, const char *method)
{
    struct exchange *exchange = exchange_open(L, op);
    exchange->request.method = exchange_copy(exchange, method);
    bool known = take_url(L, exchange, op);
    take_answers(L, exchange);
    exchange_target_options(L, 2, exchange);
    exchange_limit_options(L, 2, exchange);
    take_headers(L, exchange);
    if (known) {
        take_query(L, exchange);
        exchange_name(exchange, op);
        return exchange;
    }
    buffer_append_text(&exchange->url, UNKNOWN_TEXT);
    return exchange;
}

static int read_url(lua_State *L, const char *op, const char *method)
{
    normalise_arguments(L, op);
    argument_table(L, 2, op, read_options);
    int64_t redirects = argument_integer(L, 2, op, "redirects", REDIRECTS);
    struct exchange *exchange = take_common(L, op, method);
    if (unknown_is(L, 1)) {
        unknown_push(L);
        return 1;
    }
    perform_read(L, exchange, op, redirects < 0 ? 0 : redirects);
    return push_answer(L, exchange);
}

static int http_get(lua_State *L)
{
    return read_url(L, "http.get", "GET");
}

static int http_head(lua_State *L)
{
    return read_url(L, "http.head", "HEAD");
}

/* --- changes ------------------------------------------------------------------------------------------------- */

static const char *const write_options[] = {
    "headers", "query", "ok", "body", "json", EXCHANGE_TARGET_OPTIONS, EXCHANGE_LIMIT_OPTIONS, NULL};
static const char *const request_options[] = {"method",
                                              "reads",
                                              "headers",
                                              "query",
                                              "ok",
                                              "body",
                                              "json",
                                              EXCHANGE_TARGET_OPTIONS,
                                              EXCHANGE_LIMIT_OPTIONS,
                                              NULL};

/* [-0, +1, v] Through the gate: sent, predicted or declined. */
static int perform_change(lua_State *L, struct exchange *exchange, const char *op)
{
    struct failure failure;
    bool known = !unknown_is(L, 1);
    struct change change = {.kind = op,
                            .target = known ? exchange_shown_url(exchange) : UNKNOWN_TEXT,
                            .after = exchange_describe_body(exchange),
                            .elsewhere = true};
    if (change_begin(L, &change) != CHANGE_APPLY) {
        change_end(L, &change);
        unknown_push(L);
        return 1;
    }
    exchange->request.once = strcmp(exchange->request.method, "POST") == 0;
    if (!exchange_perform(L, exchange, &failure) || !accept_status(L, exchange, &failure)) {
        hint_unreachable(&failure);
        return change_fail(L, &change, &failure);
    }
    change_end(L, &change);
    return push_answer(L, exchange);
}

static int write_url(lua_State *L, const char *op, const char *method)
{
    normalise_arguments(L, op);
    argument_table(L, 2, op, write_options);
    struct exchange *exchange = take_common(L, op, method);
    take_body(L, exchange);
    return perform_change(L, exchange, op);
}

static int http_put(lua_State *L)
{
    return write_url(L, "http.put", "PUT");
}

static int http_post(lua_State *L)
{
    return write_url(L, "http.post", "POST");
}

static int http_delete(lua_State *L)
{
    return write_url(L, "http.delete", "DELETE");
}

static int http_request(lua_State *L)
{
    static const char op[] = "http.request";
    normalise_arguments(L, op);
    argument_table(L, 2, op, request_options);
    const char *method = argument_string(L, 2, op, "method", "GET");
    if (!*method || strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != strlen(method))
        failure_error(L, "usage", op, "method is a word in capitals such as \"PATCH\", not \"%s\"", method);
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    reads = argument_boolean(L, 2, op, "reads", reads);
    struct exchange *exchange = take_common(L, op, method);
    take_body(L, exchange);
    if (!reads)
        return perform_change(L, exchange, op);
    if (unknown_is(L, 1)) {
        unknown_push(L);
        return 1;
    }
    perform_read(L, exchange, op, 0);
    return push_answer(L, exchange);
}

/* --- download ------------------------------------------------------------------------------------------------ */

static const char *const download_options[] = {"to",
                                               "sha256",
                                               "mode",
                                               "owner",
                                               "group",
                                               "headers",
                                               "redirects",
                                               EXCHANGE_TARGET_OPTIONS,
                                               EXCHANGE_LIMIT_OPTIONS,
                                               NULL};

/* [-0, +1, v] The options of file.present out of those of http.download, pushed. */
static void push_file_options(lua_State *L)
{
    static const char *const names[] = {"mode", "owner", "group"};
    lua_newtable(L);
    if (lua_getfield(L, 2, "to") == LUA_TNIL)
        failure_error(L, "usage", "http.download", "to is missing: the path of the file");
    lua_rawseti(L, -2, 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        lua_getfield(L, 2, names[i]);
        lua_setfield(L, -2, names[i]);
    }
}

/* [-0, +0, v] sha256 = 64 hexadecimal digits, in any case; "" where not given. */
static void take_digest(lua_State *L, char digest[DIGEST_SIZE])
{
    const char *text = argument_string(L, 2, "http.download", "sha256", "");
    size_t length = strlen(text);
    if (length != 0 && (length != DIGEST_SIZE - 1 || strspn(text, "0123456789abcdefABCDEF") != length))
        failure_error(L, "usage", "http.download", "sha256 is 64 hexadecimal digits, not \"%s\"", text);
    for (size_t i = 0; i <= length; i++)
        digest[i] = (char)tolower((unsigned char)text[i]);
}

/* [-0, +0, v] Has the file the digest already? The host counts: a large file need not come here. */
static bool has_digest(lua_State *L, struct file_target *target, const char *digest)
{
    struct failure failure;
    const struct file_state *found = &target->found;
    if (!digest[0] || !found->stat.exists || found->stat.type != 'f')
        return false;
    if (found->content != FILE_CONTENT_REAL) {
        char has[DIGEST_SIZE];
        return file_target_read_old(L, target) &&
               digest_sha256(target->old_content.bytes, target->old_content.length, has) &&
               strcmp(has, digest) == 0;
    }
    const char *const argv[] = {"sha256sum", "--", found->path, NULL};
    struct host_command command = {.argv = argv};
    struct buffer said = {0};
    bool ran = host_check(target->host, &command, &said, &failure);
    const char *hex = buffer_text(&said) + (buffer_text(&said)[0] == '\\'); /* an escaped name follows */
    bool same = ran && strncmp(hex, digest, DIGEST_SIZE - 1) == 0;
    buffer_free(&said);
    if (!ran)
        file_target_raise(L, target, &failure);
    return same;
}

/* [-0, +0, v] Fetches the file into the target's content and checks it. */
static void fetch(lua_State *L, struct exchange *exchange, struct file_target *target, const char *digest)
{
    char has[DIGEST_SIZE];
    int64_t redirects = argument_integer(L, 2, "http.download", "redirects", REDIRECTS);
    perform_read(L, exchange, "http.download", redirects < 0 ? 0 : redirects);
    struct buffer *body = &exchange->answer.body;
    digest_sha256(body->bytes, body->length, has);
    if (digest[0] && strcmp(has, digest) != 0)
        failure_advise(L, "invalid", exchange->op,
                       "find out which is right before you use the file: %s was not touched",
                       "the file has SHA-256 %s, wanted is %s", has, digest);
    target->content_asked = true;
    target->new_content = *body; /* moved: the target owns it from here */
    *body = (struct buffer){0};
}

static int http_download(lua_State *L)
{
    char digest[DIGEST_SIZE];
    normalise_arguments(L, "http.download");
    argument_table(L, 2, "http.download", download_options);
    take_digest(L, digest);
    bool known = !unknown_is(L, 1);
    struct exchange *exchange = take_common(L, "http.download", "GET");
    if (!exchange->request.answer_limit)
        exchange->request.answer_limit = DOWNLOAD_LIMIT;
    if (!exchange->request.timeout_ms)
        exchange->request.timeout_ms = DOWNLOAD_TIMEOUT;
    push_file_options(L);
    lua_replace(L, 1); /* where file_target_new looks */
    struct file_target *target = file_target_new(L, "http.download");
    if (target->path_unknown)
        return file_target_unknown(L, target);
    file_target_look(L, target, true);
    if (!known)
        target->content_asked = target->content_unknown = true;
    else if (!has_digest(L, target, digest))
        fetch(L, exchange, target, digest);
    return file_converge(L, target);
}

/* --- the module ---------------------------------------------------------------------------------------------- */

#define OPTIONS_ABOUT                                                                                        \
    "Options: headers (values may be secrets), query, ok (a status or a list of statuses that are data), "   \
    "timeout "                                                                                               \
    "(for everything, default 60 s), connect_timeout (10 s), limit (size of the answer, default 64 MiB), "   \
    "ca, "                                                                                                   \
    "ca_path, cert, key, server_name, verify, user, password, unix_socket. "
#define RAISES_ABOUT                                                                                         \
    "Raises \"http\" for statuses from 300 that are not in ok (304 is data), \"permission\" for 401 and "    \
    "403 (both "                                                                                             \
    "with status), \"unreachable\", \"timeout\", \"invalid\" (not HTTP, too large). "

static const struct binding_function functions[] = {
    {"get", http_get,
     "http.get(url, {headers=, query=, ok=, retries=, ...}) -> {status=, headers=, body=, url=, json=}",
     "Fetches a URL. The answer's headers are found by name in any case; answer.json is the body decoded. "
     "Follows up "
     "to `redirects` (5) redirects, never from https to http; secret headers, user, password and client "
     "certificate "
     "stay with the first host. Tries again up to `retries` (2) times after a refused connection, 429 and "
     "502 to 504, "
     "after the time that Retry-After says. " OPTIONS_ABOUT RAISES_ABOUT "Specified in RFC 9110.",
     NULL},
    {"head", http_head, "http.head(url, {...}) -> {status=, headers=, body=\"\", url=}",
     "As http.get, without the body. " RAISES_ABOUT, NULL},
    {"put", http_put,
     "http.put(url, {body=|json=, headers=, ok=, ...}) -> {status=, headers=, body=, url=, json=}",
     "Sends a PUT: a change, so under --check it is predicted and its answer unknown. body is text or a "
     "secret; json "
     "is a value to encode, secrets in it included. Never repeated, no redirect followed; it cannot be "
     "undone. " OPTIONS_ABOUT RAISES_ABOUT,
     NULL},
    {"post", http_post,
     "http.post(url, {body=|json=, headers=, ok=, ...}) -> {status=, headers=, body=, url=, json=}",
     "Sends a POST: a change, as http.put. " RAISES_ABOUT, NULL},
    {"delete", http_delete,
     "http.delete(url, {headers=, ok=, ...}) -> {status=, headers=, body=, url=, json=}",
     "Sends a DELETE: a change, as http.put. " RAISES_ABOUT, NULL},
    {"request", http_request,
     "http.request{url, method=, reads=, body=|json=, headers=, ...} -> {status=, headers=, body=, url=, "
     "json=}",
     "Sends any method (default GET). A change, as http.put, unless the method is GET or HEAD or reads=true "
     "says that "
     "nothing changes on the server. No redirect is followed. " RAISES_ABOUT,
     NULL},
    {"download", http_download,
     "http.download{url, to=, sha256=, mode=, owner=, group=, ...} -> {changed=, before=, after=}",
     "Makes a file on the current host hold what the URL gives. With sha256 nothing is fetched when the file "
     "is that "
     "already, and what does not match is refused (\"invalid\") before the file is touched; without it the "
     "URL is "
     "fetched and compared each time. The operator's machine fetches, up to 1 GiB and 30 minutes unless "
     "limit and "
     "timeout say otherwise. Undone like file.present. " RAISES_ABOUT,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module http_module = {
    .name = "http",
    .about = "Requests to any HTTP server, and files fetched from one.",
    .functions = functions,
};
