/* What a write of an endpoint will change: the present state is read first where the API lets it be read, so that the
 * journal knows what was there, --diff has something to show and the change can be undone. It is a service: where the
 * state cannot be read the write goes on without. */
#include "api.h"

#include "digest.h"
#include "fields.h"
#include "json.h"

#include <stdio.h>
#include <string.h>

#define READ_TIMEOUT_MS 10000
#define READ_LIMIT      (4 * 1024 * 1024)
#define SHOWN_LIMIT     (16 * 1024) /* a longer state enters the journal as its hash */

/* --- reading ------------------------------------------------------------------------------------------------------- */

/* Appends the parameters of the write's URL that say where it goes: datacenter, namespace, region. */
static void copy_place(const struct api_write *write, struct exchange *exchange)
{
    const char *at = strchr(buffer_text(&write->exchange->url), '?');
    bool first = true;
    while (at && *at) {
        size_t length = strcspn(++at, "&");
        char name[API_WORD];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, "=&"), at);
        if (api_has_word(write->client->product->query, name)) {
            buffer_append_text(&exchange->url, first ? "?" : "&");
            buffer_append(&exchange->url, at, length);
            first = false;
        }
        at += length;
    }
}

/* [-0, +1, v] Reads the state: a decoded answer with its secrets hidden, or nil for what is not there. False, and
 * nothing pushed, where nobody can say. Raises where the server cannot be reached: the write could not reach it either. */
static bool push_state(lua_State *L, const struct api_write *write, const struct api_row *reader)
{
    struct failure failure;
    char error[128];
    struct exchange *exchange = exchange_open(L, write->op);
    int slot = lua_gettop(L);
    api_address(exchange, write->client, write->path);
    copy_place(write, exchange);
    exchange->request.method = "GET";
    exchange->request.reads = true;
    exchange->request.answer_limit = READ_LIMIT;
    if (write->deadline) { /* half of the time is for the write */
        exchange_limit_time(L, exchange, write->deadline);
        exchange->request.timeout_ms = (exchange->request.timeout_ms + 1) / 2;
    }
    if (exchange->request.timeout_ms == 0 || exchange->request.timeout_ms > READ_TIMEOUT_MS)
        exchange->request.timeout_ms = READ_TIMEOUT_MS;
    exchange_name(exchange, write->op);
    if (!exchange_perform(L, exchange, &failure)) {
        if (strcmp(failure.kind, "unreachable") == 0 || strcmp(failure.kind, "cancelled") == 0) {
            api_explain_unreachable(write->client, &failure);
            failure_raise(L, &failure);
        }
        lua_settop(L, slot - 1);
        return false;
    }
    int status = exchange->answer.status;
    const struct buffer *body = &exchange->answer.body;
    bool known = status == 404 || status == 200;
    if (status == 404)
        lua_pushnil(L);
    else if (known && json_decode(L, buffer_text(body), body->length, error, sizeof error)) {
        api_hide(L, write->client->product->secret, write->op);
        api_hide(L, reader->secret, write->op);
    } else
        known = false;
    lua_closeslot(L, slot);
    if (!known)
        lua_settop(L, slot - 1);
    else
        lua_remove(L, slot);
    return known;
}

/* [-1, +1, v] Of an answer, the thing itself: Vault's are below data, a list of one is that one. */
static void unwrap(lua_State *L)
{
    if (lua_istable(L, -1) && json_is_array(L, -1)) {
        lua_rawgeti(L, -1, 1);
        lua_remove(L, -2);
    } else if (lua_istable(L, -1)) {
        if (lua_getfield(L, -1, "data") == LUA_TTABLE)
            lua_remove(L, -2);
        else
            lua_pop(L, 1);
    }
}

/* --- what differs ----------------------------------------------------------------------------------------------------- */

static bool is_plain_list(lua_State *L, int index)
{
    bool plain = lua_istable(L, index);
    lua_Integer count = plain ? (lua_Integer)lua_rawlen(L, index) : 0;
    for (lua_Integer i = 1; plain && i <= count; i++) {
        int type = lua_rawgeti(L, index, i);
        plain = type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN;
        lua_pop(L, 1);
    }
    return plain;
}

/* [-0, +1, m] What of `given` the server gives back, too: what it never tells (a password) must not be told here. `all`
 * becomes false where something was left out. */
static void push_common(lua_State *L, int given, int found, bool *all)
{
    luaL_checkstack(L, 10, "fields");
    lua_newtable(L);
    int common = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, given); lua_settop(L, common + 1)) {
        int key = common + 1, value = common + 2;
        if (lua_type(L, key) != LUA_TSTRING)
            continue;
        lua_pushvalue(L, key);
        int type = lua_rawget(L, found);
        lua_pushvalue(L, key);
        if (type == LUA_TNIL) {
            *all = false;
            continue;
        }
        if (!lua_istable(L, value))
            lua_pushvalue(L, value);
        else if (type == LUA_TTABLE && !json_is_array(L, value + 1) && lua_rawlen(L, value) == 0)
            push_common(L, value, value + 1, all);
        else if (is_plain_list(L, value))
            lua_pushvalue(L, value);
        else {
            *all = false;
            continue;
        }
        lua_rawset(L, common);
    }
}

/* [-0, +0, v] The whole state as the journal keeps it. */
static void keep_state(lua_State *L, const struct api_write *write, int found, struct change *change)
{
    fields_push_shown(L, NULL, found);
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    char hex[DIGEST_SIZE], hash[DIGEST_SIZE + 64];
    if (length > SHOWN_LIMIT && digest_sha256(text, length, hex)) {
        snprintf(hash, sizeof hash, "{\"bytes\":%zu,\"sha256\":\"%s\"}", length, hex);
        text = hash;
    }
    change->before = exchange_copy(write->exchange, text);
    lua_pop(L, 1);
}

/* Does the state have a field that only the server may know? */
static bool has_secrets(const struct api_row *reader)
{
    return reader->secret[0] != '\0';
}

/* [-0, +1, v] The fields of the write that the server gives back; fills in what differs. Pushes nil where the body is none
 * of fields. */
static bool compare(lua_State *L, const struct api_write *write, const struct api_row *reader, int found,
                    struct change *change)
{
    bool all = true;
    int given = write->data ? write->data : write->options;
    bool vault = write->client->product->central;
    struct fields fields = {.types = "", .sets = vault, .weak = vault};
    struct fields_difference difference = {0};
    if (!given || strcmp(write->row->body, "raw") == 0 || !write->row->body[0]) {
        lua_pushnil(L);
        return false;
    }
    push_common(L, given, found, &all);
    int common = lua_gettop(L);
    if (has_secrets(reader) || fields_is_empty(L, common))
        return false;
    fields_describe(L, &fields, common, found, &difference);
    if (difference.lines.length) {
        change->before = exchange_copy(write->exchange, buffer_text(&difference.before));
        change->diff = exchange_copy(write->exchange, buffer_text(&difference.lines));
    }
    bool undoable = all && !difference.hidden && change->diff;
    fields_difference_free(&difference);
    return undoable;
}

/* --- the way back -------------------------------------------------------------------------------------------------------- */

/* The row with this method at the very same path, or NULL. */
static const struct api_row *row_with(const struct api_write *write, const char *method)
{
    for (const struct api_row *row = write->client->product->rows; row->group; row++)
        if (strcmp(row->method, method) == 0 && strcmp(row->path, write->row->path) == 0 && !row->mount[0] &&
            row->effect == API_CHANGE)
            return row;
    return NULL;
}

/* {"op":"call","function":"nomad.nodes.drain_node","arguments":["...", {...}]}; `data`: JSON, or NULL. */
static void describe_call(lua_State *L, const struct api_write *write, const struct api_row *row,
                          const char *data, struct json_text *json)
{
    char group[API_WORD], name[API_WORD * 3];
    api_lua_name(row->group, group, sizeof group);
    for (char *slash = group; (slash = strchr(slash, '/'));)
        *slash = '.';
    snprintf(name, sizeof name, "%s.%s.%s", write->client->product->name, group, row->name);
    json_open_object(json);
    json_key(json, "op");
    json_string(json, "call");
    json_key(json, "addr");
    json_string(json, write->client->base);
    json_key(json, "function");
    json_string(json, name);
    json_key(json, "arguments");
    json_open_array(json);
    for (int i = 1; i <= write->parameters; i++) {
        lua_pushvalue(L, i);
        json_string(json, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    if (data)
        json_raw(json, data);
    json_close_array(json);
    json_close_object(json);
}

/* Does the row's body name its fields? */
static bool names_fields(const struct api_row *row)
{
    return row->body[0] && strcmp(row->body, "raw") != 0 && !api_has_word(row->body, "{key}");
}

/* [-0, +0, v] Back to the fields that a write of the path takes, all of them: some servers replace the whole. */
static void describe_restore(lua_State *L, const struct api_write *write, const struct api_row *row,
                             int found, struct json_text *json)
{
    char word[API_WORD];
    bool needed, whole = true;
    if (!row || !names_fields(row) || !lua_istable(L, found) || fields_has_unwritable(L, found))
        return;
    lua_newtable(L);
    for (const char *list = row->body; api_next_word(&list, word, sizeof word, &needed);) {
        int type = lua_getfield(L, found, word);
        whole = whole && (type != LUA_TNIL || !needed);
        lua_setfield(L, -2, word);
    }
    fields_push_shown(L, NULL, -1);
    if (whole)
        describe_call(L, write, row, lua_tostring(L, -1), json);
    lua_pop(L, 2);
}

/* The row that makes what was deleted anew at its path: one that only updates would find nothing. */
static const struct api_row *maker(const struct api_write *write)
{
    const struct api_row *row = row_with(write, "PUT");
    row = row ? row : row_with(write, "POST");
    return row && strncmp(row->name, "update_", 7) != 0 ? row : NULL;
}

/* [-0, +0, v] */
static void describe_undo(lua_State *L, const struct api_write *write, int found, bool undoable,
                          struct change *change)
{
    struct json_text json = {0};
    const struct api_product *product = write->client->product;
    bool removes = strcmp(write->row->method, "DELETE") == 0, there = !fields_is_nothing(L, found);
    if (product->undo && product->undo(L, write, found, &json))
        ;
    else if (removes && there)
        describe_restore(L, write, maker(write), found, &json);
    else if (!removes && !there && row_with(write, "DELETE"))
        describe_call(L, write, row_with(write, "DELETE"), NULL, &json);
    else if (!removes && there && undoable && names_fields(write->row))
        describe_restore(L, write, write->row, found, &json);
    else if (!removes && there && undoable && !write->row->mount[0])
        describe_call(L, write, write->row, change->before, &json);
    if (json.out.length)
        change->undo = exchange_copy(write->exchange, buffer_text(&json.out));
    buffer_free(&json.out);
}

void api_look_before(lua_State *L, const struct api_write *write, struct change *change)
{
    int top = lua_gettop(L);
    const struct api_row *reader = api_reader(write->client->product, write->row, write->path);
    bool same_path = reader && strcmp(reader->path, write->row->path) == 0;
    if (!reader || (write->row->effect != API_CHANGE && !same_path) || !push_state(L, write, reader))
        return;
    unwrap(L);
    int found = lua_gettop(L);
    bool undoable = false;
    if (lua_istable(L, found))
        undoable = compare(L, write, reader, found, change);
    if (!fields_is_nothing(L, found) && !change->before)
        keep_state(L, write, found, change);
    describe_undo(L, write, found, undoable, change);
    lua_settop(L, top);
}
