/* One call of an endpoint: from the row and the Lua arguments to a request, through the gate, and back. */
#include "api.h"

#include "change.h"
#include "fields.h"
#include "host.h"
#include "json.h"
#include "json_number.h"
#include "overlay.h"
#include "secret.h"
#include "unknown.h"

#include <assert.h>
#include <curl/curlver.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_OPTIONS    160
#define DEFAULT_WAIT_MS (5 * 60 * 1000) /* what the servers take where wait is not given */
#define WAIT_MARGIN_MS  10000
#define FULL_ID         36

/* --- one call ------------------------------------------------------------------------------------------------- */

struct call {
    lua_State *L;
    const struct api_product *product;
    const struct api_row *row;
    struct api_client *client;
    struct exchange *exchange;
    struct api_row judged;       /* the row, with what the path that is asked makes of its effect */
    int parameters;              /* path parameters at 1..n */
    int data;                    /* index of the table that is the body, or 0 */
    int options;                 /* index of the options table, or 0 */
    bool unknown;                /* something in it that only a real run can know */
    uint64_t deadline;           /* timeout= is for the whole call; 0 where it is not given */
    struct api_passage *passage; /* of a binding's call, or NULL */
    char op[128];
};

/* How many arguments the path takes; its mount is an option. */
static int count_parameters(const struct api_row *row)
{
    const char *path = row->path;
    bool has_mount = row->mount[0];
    int count = 0;
    for (; *path; path++)
        count += *path == '{';
    return has_mount ? count - 1 : count;
}

/* --- path ----------------------------------------------------------------------------------------------------- */

/* The name of the path parameter that begins at `open`, the "{". */
static void parameter_name(const char *open, char *name, size_t size)
{
    const char *end = strchr(++open, '}');
    size_t length = (size_t)(end - open);
    length = length < size ? length : size - 1;
    memcpy(name, open, length);
    name[length] = '\0';
}

/* [-0, +0, v] Appends a path parameter. "." and ".." would be resolved by servers: another endpoint would answer. */
static void append_parameter(struct call *call, int index, const char *name, struct buffer *path)
{
    lua_State *L = call->L;
    size_t length;
    if (unknown_is(L, index)) {
        unknown_used(L);
        call->unknown = true;
        buffer_append_text(path, UNKNOWN_TEXT);
        return;
    }
    if (secret_is(L, index))
        failure_error(L, "usage", call->op, "%s cannot be a secret: it would show in the URL", name);
    if (lua_type(L, index) != LUA_TSTRING && !lua_isinteger(L, index))
        failure_error(L, "usage", call->op, "%s, argument %d, is text, not %s", name, index,
                      luaL_typename(L, index));
    const char *text = lua_tolstring(L, index, &length);
    bool slashes = api_has_word(call->product->slashes, name);
    for (; slashes && call->product->trims && length > 0 && *text == '/'; length--)
        text++;
    bool may_be_empty = slashes && (!call->product->trims || strcmp(call->row->method, "LIST") == 0);
    if ((length == 0 && !may_be_empty) || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        failure_error(L, "usage", call->op, "%s cannot be \"%s\"", name, text);
    exchange_escape(path, text, length, slashes);
}

/* [-0, +0, v] Where the engine or method is mounted: the option, or the usual place. */
static void append_mount(struct call *call, struct buffer *path)
{
    const char *mount = call->row->mount;
    if (call->options)
        mount = argument_string(call->L, call->options, call->op, "mount", mount);
    mount += strspn(mount, "/");
    size_t length = strlen(mount);
    while (length > 0 && mount[length - 1] == '/')
        length--;
    if (length == 0)
        failure_error(call->L, "usage", call->op, "mount cannot be empty");
    exchange_escape(path, mount, length, true);
}

/* [-0, +0, v] The row's path with its parameters, escaped; the exchange owns it. */
static const char *build_path(struct call *call)
{
    struct buffer *path = &call->exchange->answer.body;
    int index = 0;
    for (const char *at = call->row->path; *at; at++) {
        if (*at != '{') {
            buffer_append(path, at, 1);
            continue;
        }
        char name[API_WORD];
        parameter_name(at, name, sizeof name);
        if (call->row->mount[0] && strcmp(name, "mount") == 0)
            append_mount(call, path);
        else
            append_parameter(call, ++index, name, path);
        at = strchr(at, '}');
    }
    while (strcmp(call->row->method, "LIST") == 0 && path->length > 1 && path->bytes[path->length - 1] == '/')
        path->bytes[--path->length] = '\0'; /* the top of a mount */
    const char *copy = exchange_copy(call->exchange, buffer_text(path));
    buffer_clear(path);
    return copy;
}

/* --- options ---------------------------------------------------------------------------------------------------- */

/* May the options have any field? */
static bool is_open(const struct api_row *row)
{
    return api_has_word(row->body, "...") || api_has_word(row->query, "{key}");
}

/* [-0, +0, v] Refuses options that the row does not know, except where the body may have any. */
static void check_options(struct call *call)
{
    static const char *const always[] = {"timeout", "retries", NULL};
    const struct api_row *row = call->row;
    const char *lists[] = {row->query,
                           strcmp(row->body, "raw") == 0 ? "body,from"
                           : call->data                  ? ""
                                                         : row->body,
                           call->product->query,
                           row->blocking ? "index,wait" : "",
                           row->mount[0] ? "mount" : "",
                           strcmp(row->returns, "raw") == 0 ? "to" : ""};
    const char *names[MOST_OPTIONS];
    char word[API_WORD];
    size_t count = 0;
    if (is_open(row))
        return;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (const char *list = lists[i];
             count + 3 < MOST_OPTIONS && api_next_word(&list, word, sizeof word, NULL);) {
            api_lua_name(word, word, sizeof word);
            names[count++] = exchange_copy(call->exchange, word);
        }
    for (size_t i = 0; always[i]; i++)
        names[count++] = always[i];
    names[count] = NULL;
    argument_table(call->L, call->options, call->op, names);
}

/* [-0, +1, -] Pushes the option with the API's name; false (and nil) where it is not given. */
static bool push_option(struct call *call, const char *name)
{
    char lua_name[API_WORD];
    api_lua_name(name, lua_name, sizeof lua_name);
    lua_pushstring(call->L, lua_name);
    return lua_rawget(call->L, call->options) != LUA_TNIL;
}

/* [-0, +0, v] The value on top as a query parameter: text, number, boolean; lists and maps ("key:value", as Consul
 * wants node metadata) repeat it. */
static void add_query(struct call *call, const char *name)
{
    lua_State *L = call->L;
    if (unknown_is(L, -1)) {
        unknown_used(L);
        exchange_query(call->exchange, name, UNKNOWN_TEXT);
    } else if (lua_isboolean(L, -1)) {
        bool flag = api_has_word(call->product->flags, name);
        if (lua_toboolean(L, -1) || !flag)
            exchange_query(call->exchange, name, flag ? NULL : lua_toboolean(L, -1) ? "true" : "false");
    } else if (lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER) {
        lua_pushvalue(L, -1);
        exchange_query(call->exchange, name, lua_tostring(L, -1));
        lua_pop(L, 1);
    } else if (json_number_digits(L, -1)) {
        exchange_query(call->exchange, name, json_number_digits(L, -1)); /* Consul's flags have 64 bits */
    } else if (lua_istable(L, -1)) {
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            if (lua_type(L, -1) != LUA_TSTRING)
                failure_error(L, "usage", call->op, "%s is a list of texts", name);
            const char *value = lua_type(L, -2) == LUA_TSTRING
                                    ? lua_pushfstring(L, "%s:%s", lua_tostring(L, -2), lua_tostring(L, -1))
                                    : (lua_pushvalue(L, -1), lua_tostring(L, -1));
            exchange_query(call->exchange, name, value);
            lua_pop(L, 1);
        }
    } else
        failure_error(L, "usage", call->op, "%s is text, a number, a boolean or a list, not %s", name,
                      luaL_typename(L, -1));
}

/* [-0, +0, v] The parameters of a list that the call gives. */
static void add_queries(struct call *call, const char *list)
{
    char name[API_WORD];
    bool always;
    while (api_next_word(&list, name, sizeof name, &always)) {
        if (always)
            exchange_query(call->exchange, name, NULL);
        else if (call->options && strcmp(name, "{key}") != 0) {
            if (push_option(call, name))
                add_query(call, name);
            lua_pop(call->L, 1);
        }
    }
}

/* Options that are for us, not for the server. */
static bool is_ours(const struct call *call, const char *name)
{
    return strcmp(name, "timeout") == 0 || strcmp(name, "retries") == 0 ||
           (call->row->mount[0] && strcmp(name, "mount") == 0) || api_has_word(call->product->query, name) ||
           api_has_word(call->row->query, name);
}

/* [-0, +0, v] Of a row that takes any parameter: what else the options hold. */
static void add_other_queries(struct call *call)
{
    lua_State *L = call->L;
    if (!call->options || !api_has_word(call->row->query, "{key}"))
        return;
    for (lua_pushnil(L); lua_next(L, call->options); lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING && !is_ours(call, lua_tostring(L, -2)))
            add_query(call, lua_tostring(L, -2));
}

/* [-0, +0, v] index and wait; the request then lives longer than the server waits (it adds up to a 16th). */
static void add_blocking(struct call *call)
{
    char text[32];
    if (!call->options)
        return;
    int64_t wait = argument_duration(call->L, call->options, call->op, "wait", -1);
    bool blocks = push_option(call, "index");
    if (blocks)
        add_query(call, "index");
    lua_pop(call->L, 1);
    if (wait >= 0) {
        snprintf(text, sizeof text, "%lldms", (long long)wait);
        exchange_query(call->exchange, "wait", text);
    } else
        wait = DEFAULT_WAIT_MS;
    if (blocks)
        call->exchange->request.timeout_ms = (uint64_t)wait + (uint64_t)wait / 16 + WAIT_MARGIN_MS;
}

/* What the client sends unless the call says otherwise: namespace, region. */
static void add_client_queries(struct call *call)
{
    for (size_t i = 0; i < call->client->query_count; i++) {
        const char *name = call->client->query[i].name;
        bool given = call->options && push_option(call, name);
        if (call->options)
            lua_pop(call->L, 1);
        if (!given)
            exchange_query(call->exchange, name, call->client->query[i].value);
    }
}

/* --- body ------------------------------------------------------------------------------------------------------ */

/* [-0, +0, v] A body that is no object: bytes as they are, tables as JSON. */
static void take_raw_body(struct call *call)
{
    lua_State *L = call->L;
    const char *from = call->options ? argument_string(L, call->options, call->op, "from", NULL) : NULL;
    bool given = call->options && push_option(call, "body");
    if (given == (from != NULL))
        failure_error(L, "usage", call->op,
                      given ? "body and from are both given; leave one out"
                            : "body is missing: bytes, or from= the path of a file");
    if (from)
        api_body_from(L, call->exchange, from);
    else if (lua_istable(L, -1))
        exchange_json_body(L, call->exchange, -1);
    else
        exchange_text_body(L, call->exchange, -1);
    lua_pop(L, 1);
}

/* [-0, +0, m] Copies into the table on top the options that are nobody else's: the body may have any field. */
static void copy_other_fields(struct call *call)
{
    lua_State *L = call->L;
    for (lua_pushnil(L); lua_next(L, call->options);) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (*name && !is_ours(call, name)) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, -4);
        } else
            lua_pop(L, 1);
    }
}

/* [-0, +1, v] Pushes the object of the row's fields that are given. */
static void push_fields(struct call *call)
{
    lua_State *L = call->L;
    char name[API_WORD];
    bool needed;
    lua_newtable(L);
    for (const char *list = call->row->body; api_next_word(&list, name, sizeof name, &needed);) {
        if (strcmp(name, "...") == 0)
            continue;
        if (call->options && push_option(call, name)) {
            lua_setfield(L, -2, name);
            continue;
        }
        if (needed)
            failure_error(L, "usage", call->op, "%s is missing: the server needs it", name);
        if (call->options)
            lua_pop(L, 1);
    }
    if (call->options && api_has_word(call->row->body, "..."))
        copy_other_fields(call);
}

/* [-0, +0, v] The body that the row asks for. */
static void take_body(struct call *call)
{
    lua_State *L = call->L;
    if (!call->row->body[0])
        return;
    if (strcmp(call->row->body, "raw") == 0) {
        take_raw_body(call);
        return;
    }
    if (call->data)
        lua_pushvalue(L, call->data);
    else
        push_fields(call);
    lua_pushnil(L);
    if (lua_next(L, -2)) {
        lua_pop(L, 2);
        exchange_json_body(L, call->exchange, -1);
    } else { /* said outright: an empty Lua table could be a list */
        buffer_append_text(&call->exchange->body, "{}");
        call->exchange->has_body = true;
        exchange_header(call->exchange, "Content-Type", "application/json", false);
    }
    lua_pop(L, 1);
    if (strcmp(call->row->method, "PATCH") == 0)
        call->exchange->headers[call->exchange->header_count - 1].value = "application/merge-patch+json";
}

/* --- ids that are given by their beginning ----------------------------------------------------------------------- */

void api_address(struct exchange *exchange, const struct api_client *client, const char *path)
{
    buffer_append_text(&exchange->url, client->base);
    buffer_append_text(&exchange->url, path);
    exchange->request.target = client->target;
    api_agent_way(client, exchange);
    if (client->token)
        exchange_header(exchange, client->product->token_header, client->token, true);
    if (client->product->header)
        exchange_header(exchange, client->product->header, "true", false);
    for (size_t i = 0; i < client->header_count; i++)
        exchange_header(exchange, client->headers[i].name, client->headers[i].value, true);
    exchange->request.timeout_ms = client->timeout_ms;
    if (client->retries >= 0)
        exchange->request.retries = (unsigned)client->retries;
}

/* [-1, +1, v] Of the list of objects on top: the ID of the only one that begins so. Raises where there are several or
 * none. */
static void choose_id(struct call *call, const struct api_short_id *kind, const char *given)
{
    lua_State *L = call->L;
    struct failure failure;
    int found = 0, list = lua_gettop(L);
    lua_pushnil(L);
    int chosen = lua_gettop(L);
    failure_set(&failure, "usage", call->op, "several %ss begin with %s:", kind->noun, given);
    for (lua_Integer i = 1; lua_rawgeti(L, list, i) == LUA_TTABLE; i++) {
        lua_getfield(L, -1, "Name");
        if (lua_getfield(L, -2, "ID") == LUA_TSTRING &&
            strncmp(lua_tostring(L, -1), given, strlen(given)) == 0) {
            size_t used = strlen(failure.message);
            snprintf(failure.message + used, sizeof failure.message - used, "%s %s%s%s%s", found ? "," : "",
                     lua_tostring(L, -1), lua_isstring(L, -2) ? " (" : "",
                     lua_isstring(L, -2) ? lua_tostring(L, -2) : "", lua_isstring(L, -2) ? ")" : "");
            lua_copy(L, -1, chosen);
            found++;
        }
        lua_settop(L, chosen);
    }
    failure_hint(&failure, "give more of the id");
    if (found > 1)
        failure_raise(L, &failure);
    if (found == 0)
        failure_error(L, "not-found", call->op, "no %s has an id that begins with %s", kind->noun, given);
    lua_settop(L, chosen);
    lua_replace(L, list);
}

/* [-0, +1, v] Asks for the full id. The server wants an even number of digits; the rest is compared here. */
static void push_full_id(struct call *call, const struct api_short_id *kind, const char *given)
{
    lua_State *L = call->L;
    struct failure failure;
    char error[128], prefix[FULL_ID + 1];
    size_t digits = 0;
    snprintf(prefix, sizeof prefix, "%s", given);
    for (const char *at = given; *at; at++)
        digits += *at != '-';
    if (digits % 2)
        prefix[strlen(prefix) - 1] = '\0';
    struct exchange *exchange = exchange_open(L, call->op);
    api_address(exchange, call->client, kind->list);
    exchange_query(exchange, "prefix", prefix);
    for (size_t i = 0; i < call->client->query_count; i++)
        exchange_query(exchange, call->client->query[i].name, call->client->query[i].value);
    exchange->request.method = "GET";
    exchange->request.reads = true;
    if (call->deadline)
        exchange_limit_time(L, exchange, call->deadline);
    exchange_name(exchange, call->op);
    if (!exchange_perform(L, exchange, &failure)) {
        api_explain_unreachable(call->client, &failure);
        failure_raise(L, &failure);
    }
    if (exchange->answer.status != 200) {
        api_explain(L, call->client, call->row, exchange, &failure);
        failure_raise(L, &failure);
    }
    const struct buffer *body = &exchange->answer.body;
    if (!json_decode(L, buffer_text(body), body->length, error, sizeof error))
        exchange_refuse_json(L, exchange, error, api_hint_foreign(call->client, exchange));
    if (!lua_istable(L, -1))
        failure_error(L, "not-found", call->op, "no %s has an id that begins with %s", kind->noun, given);
    choose_id(call, kind, given);
}

/* [-0, +0, v] Replaces ids at 1..n of which only the beginning was given. */
static void complete_ids(struct call *call)
{
    lua_State *L = call->L;
    int index = 0;
    for (const char *at = strchr(call->row->path, '{'); at; at = strchr(at + 1, '{')) {
        char name[API_WORD];
        parameter_name(at, name, sizeof name);
        index++;
        for (const struct api_short_id *kind = call->product->short_ids; kind && kind->parameter; kind++) {
            if (strcmp(kind->parameter, name) != 0 || lua_type(L, index) != LUA_TSTRING)
                continue;
            const char *given = lua_tostring(L, index);
            size_t length = strlen(given);
            if (length < 2 || length >= FULL_ID || strspn(given, "0123456789abcdef-") != length)
                continue;
            push_full_id(call, kind, given);
            lua_replace(L, index);
            lua_closeslot(L, -1); /* the exchange that asked */
            lua_pop(L, 1);
        }
    }
}

/* --- sending ----------------------------------------------------------------------------------------------------- */

static void take_answers(struct call *call)
{
    char word[API_WORD];
    size_t count = 0;
    for (const char *list = call->judged.answers; api_next_word(&list, word, sizeof word, NULL);)
        if (count + 1 < EXCHANGE_ANSWERS)
            call->exchange->answers[count++] = atoi(word);
    call->exchange->answers[count] = 0;
}

/* Sends it; false with a failure that says what to look at. */
static bool perform(struct call *call, struct failure *failure)
{
    /* The rule of --check, once more where it cannot be passed by: only reads leave. */
    assert(call->judged.effect == API_READ || !runtime_of(call->L)->options.check);
    if (call->deadline)
        exchange_limit_time(call->L, call->exchange, call->deadline);
    uint64_t timeout = call->exchange->request.timeout_ms;
    uint64_t end = runtime_now(runtime_of(call->L)) + (timeout ? timeout : TRANSFER_TIMEOUT_MS);
    bool answered = exchange_perform(call->L, call->exchange, failure);
    if (answered && api_redirect(call->L, call->client, call->exchange, end))
        answered = exchange_perform(call->L, call->exchange, failure);
    if (answered)
        return true;
    api_explain_unreachable(call->client, failure);
    return false;
}

/* Appends where the call goes when it does not say by its path: namespace, region, datacenter. What is in one is not in
 * another. */
static void append_place(struct call *call, struct buffer *name)
{
    static const char *const places[] = {"dc", "ns", "partition", "region", "namespace", NULL};
    const char *query = strchr(buffer_text(&call->exchange->url), '?');
    for (const char *const *place = places; query && *place; place++)
        for (const char *at = query; at; at = strchr(at + 1, '&')) {
            size_t length = strlen(*place);
            if (strncmp(at + 1, *place, length) == 0 && at[length + 1] == '=')
                buffer_format(name, " %.*s", (int)strcspn(at + 1, "&"), at + 1);
        }
    for (size_t i = 0; i < call->client->header_count; i++)
        if (strcmp(call->client->headers[i].name, "X-Vault-Namespace") == 0)
            buffer_format(name, " namespace=%s", call->client->headers[i].value);
}

/* The name under which a predicted change of this path is found again. */
static const char *overlay_name(struct call *call, const char *path)
{
    struct buffer name = {0};
    buffer_format(&name, "%s%s", call->client->base, path);
    append_place(call, &name);
    const char *copy = exchange_copy(call->exchange, buffer_text(&name));
    buffer_free(&name);
    return copy;
}

/* [-0, +(0|1), m] Pushes what was predicted for the path, if something was. */
static bool push_predicted(struct call *call, const char *path)
{
    struct runtime *runtime = runtime_of(call->L);
    return runtime->options.check && overlay_get(call->L, api_overlay_host(call->L, call->client),
                                                 call->product->name, overlay_name(call, path));
}

/* Was the text asked for without Nomad's frames? */
static bool asks_plain(struct call *call)
{
    bool plain = call->options && push_option(call, "plain") && lua_toboolean(call->L, -1);
    if (call->options)
        lua_pop(call->L, 1);
    return plain;
}

/* [-0, +1, v] The answer to a file. */
static int perform_to(struct call *call, const char *path)
{
    if (api_answer_to(call->L, call->client, call->row, call->exchange, call->op, path))
        lua_pushboolean(call->L, true);
    else
        unknown_push(call->L);
    return 1;
}

/* [-0, +0, -] nil, or a table without anything in it? */
static bool is_nothing(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    if (!lua_istable(L, index))
        return lua_isnil(L, index);
    lua_pushnil(L);
    bool empty = !lua_next(L, index);
    lua_pop(L, empty ? 0 : 2);
    return empty;
}

/* [-0, +n, v] A read: predicted before, or asked. */
static int perform_read(struct call *call, const char *path)
{
    lua_State *L = call->L;
    struct failure failure;
    if (call->unknown) {
        unknown_used(L);
        unknown_push(L);
        return 1;
    }
    const char *to = call->options && strcmp(call->row->returns, "raw") == 0
                         ? argument_string(L, call->options, call->op, "to", NULL)
                         : NULL;
    if (to)
        return perform_to(call, to);
    if (push_predicted(call, path)) {
        if (lua_istable(L, -1))
            fields_push_copy(L, -1);
        else if (!lua_toboolean(L, -1))
            lua_pushnil(L);
        else
            unknown_push(L);
        return 1;
    }
    call->exchange->request.reads = true;
    if (strcmp(call->row->returns, "stream") == 0)
        return api_push_stream(L, call->client, call->row, call->exchange, asks_plain(call));
    if (!perform(call, &failure))
        return failure_raise(L, &failure);
    api_push_answer(L, call->client, &call->judged, call->exchange);
    if (call->product->found_nothing && is_nothing(L, -2))
        call->product->found_nothing(L, call->client, call->row, call->exchange);
    return 2;
}

/* [-0, +0, v] Raises unless the answer is one of success. */
static void refuse_error(struct call *call)
{
    struct failure failure;
    int status = call->exchange->answer.status;
    if (status < 300 || exchange_is_answer(call->exchange, status))
        return;
    api_explain(call->L, call->client, call->row, call->exchange, &failure);
    failure_raise(call->L, &failure);
}

/* [-0, +2, v] A change for which the gate was passed. */
static int perform_passed(struct call *call)
{
    struct failure failure;
    call->exchange->request.once =
        call->judged.effect == API_CREATES || strcmp(call->row->method, "POST") == 0;
    if (!perform(call, &failure))
        return failure_raise(call->L, &failure);
    refuse_error(call);
    api_push_answer(call->L, call->client, &call->judged, call->exchange);
    return 2;
}

/* [-0, +0, v] What is there now; not where something in the request is unknown, or predicted. */
static void look_before(struct call *call, const char *path, struct change *change)
{
    lua_State *L = call->L;
    bool predicted = push_predicted(call, path);
    if (predicted)
        lua_pop(L, 1);
    if (predicted || call->unknown)
        return;
    struct api_write write = {.client = call->client,
                              .row = &call->judged,
                              .op = call->op,
                              .path = path,
                              .exchange = call->exchange,
                              .parameters = call->parameters,
                              .data = call->data,
                              .options = call->options,
                              .deadline = call->deadline};
    api_look_before(L, &write, change);
}

/* [-0, +n, v] A change, through the gate. */
static int perform_change(struct call *call, const char *path)
{
    lua_State *L = call->L;
    struct failure failure;
    const char *query = strchr(buffer_text(&call->exchange->url), '?');
    struct buffer target = {0};
    buffer_format(&target, "%s %s%s", call->row->method, path, query ? query : "");
    struct change change = {.kind = exchange_copy(call->exchange, call->op),
                            .target = exchange_copy(call->exchange, buffer_text(&target)),
                            .after = exchange_describe_body(call->exchange),
                            .elsewhere = true};
    buffer_free(&target);
    look_before(call, path, &change);
    enum change_decision decision = change_begin(L, &change);
    if (decision != CHANGE_APPLY) {
        if (decision == CHANGE_PREDICT && !call->unknown) {
            lua_pushboolean(L, strcmp(call->row->method, "DELETE") != 0);
            overlay_put(L, api_overlay_host(call->L, call->client), call->product->name,
                        overlay_name(call, path));
        }
        change_end(L, &change);
        unknown_push(L);
        return 1;
    }
    call->exchange->request.once =
        call->judged.effect == API_CREATES || strcmp(call->row->method, "POST") == 0;
    if (!perform(call, &failure))
        return change_fail(L, &change, &failure);
    int status = call->exchange->answer.status;
    if (status >= 300 && !exchange_is_answer(call->exchange, status)) {
        api_explain(L, call->client, call->row, call->exchange, &failure);
        if (call->product->is_missing && call->product->is_missing(L, call->client, call->exchange))
            failure_hint(&failure, "what it names is not there: the token itself is known to the servers");
        return change_fail(L, &change, &failure);
    }
    change_end(L, &change);
    api_push_answer(L, call->client, &call->judged, call->exchange);
    return 2;
}

/* [-0, +0, m] Is there something in the table that only a real run can know? Then even a read cannot be made. */
static bool mentions_unknown(lua_State *L, int table, int depth)
{
    bool found = false;
    if (!runtime_of(L)->options.check || depth > JSON_MAX_DEPTH)
        return false;
    luaL_checkstack(L, 4, "options");
    for (lua_pushnil(L); !found && lua_next(L, table); lua_pop(L, 1)) {
        found =
            unknown_is(L, -1) || (lua_istable(L, -1) && mentions_unknown(L, lua_absindex(L, -1), depth + 1));
        if (found)
            lua_pop(L, 1);
    }
    return found;
}

/* [-0, +0, v] What is at 1..n: the path parameters, then at most one table. */
static void take_arguments(struct call *call)
{
    lua_State *L = call->L;
    int given = lua_gettop(L);
    bool has_data = api_has_word(call->row->body, "{key}");
    call->parameters = count_parameters(call->row);
    int before = call->parameters + has_data;
    bool fits = given >= before && given <= before + 1 &&
                (given == before || lua_isnil(L, given) || lua_istable(L, given)) &&
                (!has_data || lua_istable(L, before));
    if (!fits)
        failure_error(L, "usage", call->op,
                      "it takes %d path parameter%s (%s)%s and then one table of options", call->parameters,
                      call->parameters == 1 ? "" : "s", call->row->path, has_data ? ", a table of data" : "");
    lua_settop(L, before + 1);
    call->data = has_data ? before : 0;
    call->options = lua_istable(L, before + 1) ? before + 1 : 0;
    call->unknown = (call->data && mentions_unknown(L, call->data, 0)) ||
                    (call->options && mentions_unknown(L, call->options, 0));
}

/* [-0, +0, v] timeout and retries, which every call takes. */
static void take_limits(struct call *call)
{
    struct transfer_request *request = &call->exchange->request;
    if (!call->options)
        return;
    if (call->deadline)
        exchange_limit_time(call->L, call->exchange, call->deadline);
    int64_t retries = argument_integer(call->L, call->options, call->op, "retries", request->retries);
    request->retries = retries < 0 ? 0 : retries > 100 ? 100 : (unsigned)retries;
}

/* An answer that the server wraps into a token is a token made: such a read is a change. What a binding looks up for
 * itself comes as it is. */
static void take_wrapping(struct call *call)
{
    const struct transfer_header *wrapping = &call->client->wrapping;
    if (!wrapping->name || call->passage)
        return;
    exchange_header(call->exchange, wrapping->name, wrapping->value, false);
    if (call->judged.effect == API_READ)
        call->judged.effect = API_CREATES;
}

/* [-0, +1, v] Makes the exchange and fills it in. Returns the path, escaped, without the query. */
static const char *prepare(struct call *call)
{
    lua_State *L = call->L;
    call->exchange = exchange_open(L, call->op);
    call->exchange->request.method = call->row->method;
    if (call->options)
        check_options(call);
    const char *path = build_path(call);
    api_judge(call->product, call->row, path, &call->judged);
    api_address(call->exchange, call->client, path);
    add_queries(call, call->row->query);
    add_queries(call, call->product->query);
    add_other_queries(call);
    if (call->row->blocking)
        add_blocking(call);
    add_client_queries(call);
    take_body(call);
    take_limits(call);
    take_answers(call);
    take_wrapping(call);
    exchange_name(call->exchange, call->op);
    return path;
}

/* "consul.kv.read_key": how Lua calls it. */
static void name_call(struct call *call)
{
    const char *const parts[] = {call->product->name, ".", call->row->group, ".", call->row->name};
    size_t length = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (const char *at = parts[i]; *at && length + 1 < sizeof call->op; at++)
            call->op[length++] = *at == '-' ? '_' : *at == '/' ? '.' : *at;
    call->op[length] = '\0';
}

/* The Lua function of a row. Upvalues: product, row, client (nil: the current host's default). */
int api_call(lua_State *L)
{
    struct call call = {.L = L,
                        .product = lua_touserdata(L, lua_upvalueindex(1)),
                        .row = lua_touserdata(L, lua_upvalueindex(2)),
                        .client = lua_touserdata(L, lua_upvalueindex(3)),
                        .passage = lua_touserdata(L, lua_upvalueindex(4))};
    name_call(&call);
    if (strcmp(call.row->returns, "websocket") == 0)
        return failure_advise(L, "failed", call.op, "use the product's own command line for it",
                              "this endpoint talks over a WebSocket, which libcurl %s cannot do yet",
                              LIBCURL_VERSION);
    take_arguments(&call);
    if (!call.client)
        call.client = api_default_client(L, call.product); /* stays on the stack while it is used */
    int64_t timeout = call.options ? argument_duration(L, call.options, call.op, "timeout", 0) : 0;
    call.deadline = timeout > 0 ? runtime_now(runtime_of(L)) + (uint64_t)timeout : 0;
    complete_ids(&call);
    const char *path = prepare(&call);
    if (call.passage) {
        buffer_clear(&call.passage->url);
        buffer_append_text(&call.passage->url, overlay_name(&call, path));
    }
    if (call.judged.effect == API_READ)
        return perform_read(&call, path);
    return call.passage && call.passage->passed ? perform_passed(&call) : perform_change(&call, path);
}

/* [-0, +1, m] Puts the function of the row, with the passage, below its arguments. */
static void insert_function(lua_State *L, int client, const struct api_row *row, int arguments,
                            struct api_passage *passage)
{
    const struct api_client *from = lua_touserdata(L, client);
    int base = lua_gettop(L) - arguments;
    client = lua_absindex(L, client);
    luaL_checkstack(L, 8, "a call");
    lua_pushlightuserdata(L, (void *)(uintptr_t)from->product);
    lua_pushlightuserdata(L, (void *)(uintptr_t)row);
    lua_pushvalue(L, client);
    lua_pushlightuserdata(L, passage);
    lua_pushcclosure(L, api_call, 4);
    lua_insert(L, base + 1);
}

void api_invoke(lua_State *L, int client, const struct api_row *row, int arguments,
                struct api_passage *passage)
{
    insert_function(L, client, row, arguments, passage);
    lua_call(L, arguments, 2);
}

bool api_try(lua_State *L, int client, const struct api_row *row, int arguments, struct api_passage *passage)
{
    struct api_passage own = {0};
    insert_function(L, client, row, arguments, passage ? passage : &own);
    bool answered = lua_pcall(L, arguments, 2, 0) == LUA_OK;
    buffer_free(&own.url);
    if (!answered && !failure_is(L, -1, "permission") && !failure_is(L, -1, "http"))
        lua_error(L);
    return answered;
}
