/* present and absent: the steps that all kinds share. */
#include "converge.h"

#include "json.h"
#include "overlay.h"
#include "report.h"
#include "secret.h"
#include "unknown.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define METATABLE "moonbook.convergence"

/* --- life ------------------------------------------------------------------------------------------------------------ */

static int release(lua_State *L)
{
    struct convergence *c = lua_touserdata(L, 1);
    if (c->pending) {
        struct failure failure;
        failure_from_lua(L, 2, &failure);
        c->pending = false;
        change_failed(L, &c->change, &failure);
    }
    buffer_free(&c->passage.url);
    buffer_wipe(&c->types);
    buffer_wipe(&c->undo);
    buffer_wipe(&c->account);
    fields_difference_free(&c->difference);
    fields_difference_free(&c->left);
    return 0;
}

/* [-0, +1, m] Closed when the running C function ends. */
static struct convergence *push_convergence(lua_State *L)
{
    struct convergence *c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (struct convergence){.L = L};
    if (luaL_newmetatable(L, METATABLE)) {
        lua_pushcfunction(L, release);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, release);
        lua_setfield(L, -2, "__close");
    }
    lua_setmetatable(L, -2);
    lua_toclose(L, -1);
    return c;
}

int converge_refuse(struct convergence *c, const char *hint, const char *format, ...)
{
    struct failure failure;
    char message[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    failure_set(&failure, "usage", c->op, "%s", message);
    if (hint && *hint)
        failure_hint(&failure, "%s", hint);
    return failure_raise(c->L, &failure);
}

int converge_conflict(struct convergence *c)
{
    return failure_advise(c->L, "failed", c->op, "run it again: it looks at what is there now",
                          "somebody else changed it between look and write; nothing was written");
}

/* --- arguments ---------------------------------------------------------------------------------------------------------- */

static bool same_kind(const char *kind, const char *given)
{
    for (; *kind && (*kind == *given || (*kind == ' ' && (*given == '-' || *given == '_'))); kind++)
        given++;
    return !*kind && !*given;
}

/* [-0, +0, v] The kind that the argument names. */
static const struct converge_kind *take_kind(struct convergence *c, const struct converge_kind *kinds,
                                             int index)
{
    const char *names[32];
    size_t count = 0;
    const char *given = lua_type(c->L, index) == LUA_TSTRING ? lua_tostring(c->L, index) : "";
    struct buffer known = {0};
    for (const struct converge_kind *kind = kinds; kind->name; kind++) {
        if (same_kind(kind->name, given)) {
            buffer_free(&known);
            return kind;
        }
        if (count + 1 < sizeof names / sizeof names[0])
            names[count++] = kind->name;
        buffer_format(&known, "%s%s", known.length ? ", " : "", kind->name);
    }
    names[count] = NULL;
    char hint[512];
    const char *near = *given ? nearest_name(given, names) : NULL;
    snprintf(hint, sizeof hint, "%s%s%sknown kinds: %s", near ? "did you mean \"" : "", near ? near : "",
             near ? "\"? " : "", buffer_text(&known));
    buffer_free(&known);
    failure_advise(c->L, "usage", c->verb, hint, "\"%s\" is no kind of thing that %s knows", given, c->verb);
    return NULL; /* not reached */
}

/* [-0, +0, v] The options: create, and what every call takes. */
static void take_options(struct convergence *c, int index, bool present)
{
    static const char *const names[] = {"create", "purge", NULL};
    lua_State *L = c->L;
    if (lua_isnoneornil(L, index))
        return;
    argument_table(L, index, c->op, present ? names : names + 1);
    c->options = index;
    if (present && lua_getfield(L, index, "create") != LUA_TNIL) {
        if (!lua_istable(L, -1))
            failure_error(L, "usage", c->op, "create is a table of fields, not %s", luaL_typename(L, -1));
        c->create = lua_gettop(L);
    } /* the value stays on the stack while it is used */
}

/* [-0, +0, v] What it is about, at index 2 of the stack (1 where there are no kinds). */
static void take_name(struct convergence *c, int index, const char *noun)
{
    lua_State *L = c->L;
    if (unknown_is(L, index)) {
        lua_pushliteral(L, UNKNOWN_TEXT);
        lua_replace(L, index);
        unknown_used(L);
        c->unknown = true;
    }
    if (lua_type(L, index) != LUA_TSTRING)
        failure_error(L, "usage", c->op, "%s is a text, not %s", noun, luaL_typename(L, index));
    if (lua_rawlen(L, index) == 0)
        failure_error(L, "usage", c->op, "%s is empty", noun);
    c->name = lua_tostring(L, index);
}

/* [-0, +1, v] A copy of the data: another fiber may change the caller's while this one waits. */
static void take_data(struct convergence *c, int index)
{
    lua_State *L = c->L;
    bool is_text = lua_type(L, index) == LUA_TSTRING || secret_is(L, index) || unknown_is(L, index);
    if (c->kind->text && is_text) {
        lua_createtable(L, 0, 1);
        lua_pushvalue(L, index);
        lua_setfield(L, -2, c->kind->text);
    } else if (lua_isnoneornil(L, index))
        lua_newtable(L);
    else if (lua_istable(L, index))
        fields_push_copy(L, index);
    else
        failure_error(L, "usage", c->op, "the data are a table%s, not %s", c->kind->text ? " or a text" : "",
                      luaL_typename(L, index));
    c->wanted = lua_gettop(L);
}

/* [-0, +0, v] What the answers of the kind hide is as secret where a script writes it down. */
static void hide_data(struct convergence *c)
{
    lua_State *L = c->L;
    if (!c->kind->group || !lua_istable(L, c->wanted))
        return;
    lua_pushvalue(L, c->wanted);
    api_hide(L, api_find(c->product, c->kind->group, c->kind->row)->secret, c->op);
    lua_replace(L, c->wanted);
}

/* [-0, +1, v] */
static void take_client(struct convergence *c)
{
    if (lua_touserdata(c->L, lua_upvalueindex(1)))
        lua_pushvalue(c->L, lua_upvalueindex(1));
    else
        api_default_client(c->L, c->product);
    c->client = lua_gettop(c->L);
}

/* [-0, +n, v] Arguments, client and data at places of the stack that stay. */
static struct convergence *begin(lua_State *L, const struct api_product *product, bool present)
{
    int given = lua_gettop(L), at = 1;
    const struct converge_kind *kinds = product->kinds;
    lua_settop(L, given > 4 ? given : 4);
    luaL_checkstack(L, 40, product->name);
    struct convergence *c = push_convergence(L);
    c->product = product;
    snprintf(c->op, sizeof c->op, "%s.%s", product->name, present ? "present" : "absent");
    c->verb = lua_pushstring(L, c->op);
    c->kind = kinds;
    if (*kinds->name)
        c->kind = take_kind(c, kinds, at++);
    if (!present && !c->kind->remove)
        failure_error(L, "usage", c->verb, "there is always one %s: it can only be present", c->kind->name);
    c->name = "";
    if (!c->kind->single)
        take_name(c, at++, *kinds->name ? "the name" : "the path");
    snprintf(c->target, sizeof c->target, "%s%s%s", c->kind->name, *c->kind->name && *c->name ? " " : "",
             c->name);
    snprintf(c->op, sizeof c->op, "%s %s", c->verb, c->target);
    c->fields = (struct fields){.types = c->kind->types, .secret = c->kind->secret};
    if (present) {
        take_data(c, at++);
        hide_data(c);
    }
    take_options(c, at, present);
    if (given > at)
        failure_error(L, "usage", c->op, "%d arguments are too many", given);
    take_client(c);
    if (c->kind->check && !c->unknown)
        c->kind->check(c);
    return c;
}

/* --- calls ---------------------------------------------------------------------------------------------------------------- */

void converge_call(struct convergence *c, const char *group, const char *name, int arguments)
{
    const struct api_row *row = api_find(c->product, group, name);
    assert(row != NULL); /* the tables have it: a test calls every kind */
    api_invoke(c->L, c->client, row, arguments, &c->passage);
}

bool converge_try(struct convergence *c, const char *group, const char *name, int arguments)
{
    const struct api_row *row = api_find(c->product, group, name);
    bool answered = api_try(c->L, c->client, row, arguments, NULL);
    lua_pop(c->L, 1);
    return answered;
}

void converge_swap(struct convergence *c, const char *group, const char *name, int arguments)
{
    converge_call(c, group, name, arguments);
    lua_pop(c->L, 1);
    if (lua_isboolean(c->L, -1) && !lua_toboolean(c->L, -1))
        converge_conflict(c);
}

void converge_pick(lua_State *L, const char *field, const char *text)
{
    int list = lua_gettop(L);
    for (lua_Integer i = 1; lua_istable(L, list) && lua_rawgeti(L, list, i) == LUA_TTABLE; i++) {
        lua_getfield(L, -1, field);
        bool same = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), text) == 0;
        lua_pop(L, 1);
        if (same) {
            lua_replace(L, list);
            lua_settop(L, list);
            return;
        }
        lua_pop(L, 1);
    }
    lua_settop(L, list - 1);
    lua_pushnil(L);
}

bool converge_text(lua_State *L, int index, const char *field, char *out, size_t size)
{
    lua_getfield(L, index, field);
    bool is_text = lua_type(L, -1) == LUA_TSTRING;
    snprintf(out, size, "%s", is_text ? lua_tostring(L, -1) : "");
    lua_pop(L, 1);
    return is_text;
}

lua_Integer converge_integer(lua_State *L, int index, const char *field)
{
    lua_getfield(L, index, field);
    lua_Integer value = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    lua_pop(L, 1);
    return value;
}

/* --- predictions ---------------------------------------------------------------------------------------------------------- */

/* [-0, +1, m] Where the client of this call sends: what is in one namespace is not in another. */
const char *converge_push_server(struct convergence *c)
{
    const struct api_client *client = lua_touserdata(c->L, c->client);
    struct buffer server = {0};
    buffer_format(&server, "%s %s", c->product->name, client->base);
    for (size_t i = 0; i < client->query_count; i++)
        buffer_format(&server, " %s=%s", client->query[i].name, client->query[i].value);
    for (size_t i = 0; i < client->header_count; i++)
        if (strcmp(client->headers[i].name, "X-Vault-Namespace") == 0)
            buffer_format(&server, " namespace=%s", client->headers[i].value);
    const char *pushed = lua_pushstring(c->L, buffer_text(&server));
    buffer_free(&server);
    return pushed;
}

/* [-0, +1, m] The name of the thing in the overlay. */
static const char *push_prediction_name(struct convergence *c)
{
    const char *server = converge_push_server(c);
    char space[256] = "";
    if (c->wanted && lua_istable(c->L, c->wanted))
        converge_text(c->L, c->wanted, "Namespace", space, sizeof space);
    lua_pushfstring(c->L, "%s %s%s%s", server, c->target, *space ? " namespace=" : "", space);
    lua_remove(c->L, -2);
    return lua_tostring(c->L, -1);
}

/* [-0, +1, m] Pushes what an earlier step would have left; false and nothing where none would. */
static bool push_prediction(struct convergence *c)
{
    lua_State *L = c->L;
    const char *name = push_prediction_name(c);
    bool predicted =
        overlay_get(L, api_overlay_host(L, lua_touserdata(L, c->client)), CONVERGE_PREDICTIONS, name);
    if (!predicted) {
        lua_pop(L, 1);
        return false;
    }
    if (lua_istable(L, -1))
        fields_push_copy(L, -1);
    else if (lua_toboolean(L, -1))
        unknown_push(L);
    else
        lua_pushnil(L);
    lua_replace(L, -3);
    lua_pop(L, 1);
    return true;
}

/* [-0, +0, m] The URL of a thing that was predicted before, and not looked up again, is that of the first time. */
static void remember_url(struct convergence *c)
{
    lua_State *L = c->L;
    struct host *where = api_overlay_host(L, lua_touserdata(L, c->client));
    const char *name = lua_pushfstring(L, "%s (URL)", push_prediction_name(c));
    if (c->passage.url.length > 0 && !c->listed) {
        lua_pushstring(L, buffer_text(&c->passage.url));
        overlay_put(L, where, CONVERGE_PREDICTIONS, name);
    } else if (overlay_get(L, where, CONVERGE_PREDICTIONS, name)) {
        buffer_append_text(&c->passage.url, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
}

/* [-1, +0, m] The object on top, or nil, is what would be there: for this module, and for who reads the same URL. */
static void predict(struct convergence *c)
{
    lua_State *L = c->L;
    struct host *where = api_overlay_host(L, lua_touserdata(L, c->client));
    int object = lua_gettop(L);
    bool there = !lua_isnil(L, object);
    const char *name = push_prediction_name(c);
    if (there)
        lua_pushvalue(L, object);
    else
        lua_pushboolean(L, false);
    overlay_put(L, where, CONVERGE_PREDICTIONS, name);
    if (there && fields_is_nothing(L, c->found)) {
        lua_pushboolean(L, true);
        overlay_put(L, where, CONVERGE_MADE, name);
    }
    lua_pop(L, 1);
    remember_url(c);
    if (c->passage.url.length > 0 && !c->listed) {
        if (there && c->kind->answer) {
            fields_push_copy(L, object);
            c->kind->answer(c);
        } else
            lua_pushboolean(L, there);
        overlay_put(L, where, c->product->name, buffer_text(&c->passage.url));
    }
    lua_settop(L, object - 1);
}

/* --- looking ---------------------------------------------------------------------------------------------------------------- */

/* [-0, +1, v] */
static void look(struct convergence *c)
{
    int top = lua_gettop(c->L);
    c->passage.passed = false;
    c->index = 0;
    c->id[0] = '\0';
    c->predicted = push_prediction(c);
    if (!c->predicted)
        c->kind->look(c);
    lua_copy(c->L, -1, top + 1);
    lua_settop(c->L, top + 1);
    if (!c->verifies)
        c->found = top + 1;
}

/* Does the kind have such a field? */
static bool is_known(const struct convergence *c, const char *name)
{
    if (!c->kind->group)
        return true;
    const char *body = api_find(c->product, c->kind->group, c->kind->row)->body;
    return api_has_word(body, name) || api_has_word(body, "...");
}

/* [-0, +0, v] Refuses fields of the table that the kind does not have. */
static void refuse_unknown(struct convergence *c, int table)
{
    lua_State *L = c->L;
    if (!lua_istable(L, table)) /* only a real run can know it */
        return;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            converge_refuse(c, "write {Field = value, ...}", "the data have no list in them");
        const char *name = lua_tostring(L, -2);
        if (is_known(c, name))
            continue;
        const char *names[API_WORD];
        char words[API_WORD][API_WORD];
        size_t count = 0;
        const char *body = api_find(c->product, c->kind->group, c->kind->row)->body;
        while (count + 1 < API_WORD && api_next_word(&body, words[count], API_WORD, NULL)) {
            names[count] = words[count];
            count++;
        }
        names[count] = NULL;
        const char *near = nearest_name(name, names);
        char hint[API_WORD + 32] = "";
        if (near)
            snprintf(hint, sizeof hint, "did you mean %s?", near);
        converge_refuse(c, hint, "\"%s\" is no field of a%s %s", name,
                        strchr("aeiou", c->kind->name[0]) ? "n" : "", c->kind->name);
    }
}

/* [-0, +0, v] Fields that no server gives back can be sent when the thing is made, but not compared. */
static void refuse_unreadable(struct convergence *c)
{
    lua_State *L = c->L;
    for (lua_pushnil(L); lua_next(L, c->wanted); lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING &&
            fields_type(&c->fields, lua_tostring(L, -2)) == FIELD_UNREADABLE)
            converge_refuse(c,
                            "give it in the options, create = {...}: then it is sent when the thing is made, "
                            "and only then",
                            "%s cannot be read back, so nobody can tell whether it differs",
                            lua_tostring(L, -2));
}

/* --- present ------------------------------------------------------------------------------------------------------------------ */

/* [-1, +1, m] Takes out of the object on top what the server fills in. */
static void drop_given(struct convergence *c)
{
    char word[API_WORD];
    const char *list = c->kind->given ? c->kind->given : "";
    while (api_next_word(&list, word, sizeof word, NULL)) {
        bool wanted = c->wanted && lua_getfield(c->L, c->wanted, word) != LUA_TNIL;
        if (c->wanted)
            lua_pop(c->L, 1);
        if (wanted)
            continue;
        lua_pushnil(c->L);
        lua_setfield(c->L, -2, word);
    }
    if (!c->kind->group)
        return;
    for (lua_pushnil(c->L); lua_next(c->L, -2); lua_pop(c->L, 1))
        if (lua_type(c->L, -2) == LUA_TSTRING && !is_known(c, lua_tostring(c->L, -2))) {
            lua_pushvalue(c->L, -2);
            lua_pushnil(c->L);
            lua_rawset(c->L, -5); /* a field that is there: the traversal goes on */
        }
}

/* [-0, +1, v] The whole object as it would be. */
static void push_whole(struct convergence *c)
{
    fields_push_merged(c->L, &c->fields, c->wanted, c->found);
    if (lua_istable(c->L, -1))
        drop_given(c);
}

/* [-0, +1, v] What goes out. */
static void push_outgoing(struct convergence *c)
{
    lua_State *L = c->L;
    if (c->keeps)
        fields_push_sent(L, &c->fields, FIELD_PLAIN, c->wanted, c->found);
    else
        push_whole(c);
    if (!c->create || !fields_is_nothing(L, c->found) || !lua_istable(L, -1))
        return;
    for (lua_pushnil(L); lua_next(L, c->create);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

void converge_undo(struct convergence *c, struct json_text *json)
{
    const struct api_client *client = lua_touserdata(c->L, c->client);
    bool was_there = !fields_is_nothing(c->L, c->found);
    char op[64];
    if (c->difference.hidden)
        return;
    snprintf(op, sizeof op, "%s.%s", c->product->name, was_there ? "present" : "absent");
    json_open_object(json);
    json_key(json, "op");
    json_string(json, op);
    json_key(json, "addr");
    json_string(json, client->base);
    if (*c->kind->name) {
        json_key(json, "kind");
        json_string(json, c->kind->name);
    }
    json_key(json, "name");
    json_string(json, c->name);
    if (was_there) {
        json_key(json, "data");
        json_raw(json, buffer_text(&c->difference.before));
    }
    json_close_object(json);
}

static void describe_undo(struct convergence *c, bool removed)
{
    struct json_text json = {0};
    if (c->kind->undo)
        c->kind->undo(c, &json, removed);
    else
        converge_undo(c, &json);
    buffer_append(&c->undo, buffer_text(&json.out), json.out.length);
    buffer_free(&json.out);
}

static void fill_change(struct convergence *c)
{
    const struct fields_difference *difference = &c->difference;
    c->change = (struct change){
        .kind = c->verb,
        .target = c->target,
        .before = difference->before.length ? buffer_text(&difference->before) : NULL,
        .after = difference->after.length ? buffer_text(&difference->after) : NULL,
        .undo = c->undo.length ? buffer_text(&c->undo) : NULL,
        .diff = c->account.length          ? buffer_text(&c->account)
                : difference->lines.length ? buffer_text(&difference->lines)
                                           : NULL,
    };
}

/* [-0, +1, v] Nothing to do: counts it, and says what there is of what was named. */
static int unneeded(struct convergence *c, bool present)
{
    lua_State *L = c->L;
    struct change found = {0};
    change_unneeded(L, c->verb, c->target);
    if (present) {
        lua_newtable(L);
        int named = lua_gettop(L);
        for (lua_pushnil(L); lua_next(L, c->wanted); lua_settop(L, named + 1)) {
            lua_pushvalue(L, named + 1);
            if (fields_has_secret(L, named + 2)) { /* what is there is the same, and plain */
                lua_pushvalue(L, named + 2);
            } else {
                lua_pushvalue(L, named + 1);
                lua_rawget(L, c->found);
            }
            lua_rawset(L, named);
        }
        fields_push_shown(L, &c->fields, named);
        found.before = found.after = lua_tostring(L, -1);
    }
    return change_push_result(L, &found, false);
}

/* [-0, +0, v] Is what is there what is wanted? */
static bool is_same(struct convergence *c, int found)
{
    return fields_equal(c->L, &c->fields, FIELD_PLAIN, c->wanted, found) ||
           (c->kind->same && !fields_is_nothing(c->L, found) && c->kind->same(c, found));
}

/* [-0, +0, v] Fields that were not named stay as they are; where a server thinks otherwise, the operator learns of it. */
static void warn_of_others(struct convergence *c, int now)
{
    lua_State *L = c->L;
    const char *given = c->kind->given ? c->kind->given : "";
    if (!lua_istable(L, now))
        return;
    for (lua_pushnil(L); lua_next(L, c->found); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        lua_getfield(L, c->wanted, name);
        lua_getfield(L, now, name);
        int top = lua_gettop(L);
        if (lua_isnil(L, top - 1) && !api_has_word(given, name) &&
            !fields_equal(L, &c->fields, fields_type(&c->fields, name), top - 2, top))
            report_warning(L, "%s: writing the fields that were named changed %s too: name it as it shall be",
                           c->op, name);
        lua_settop(L, top - 2);
    }
}

/* [-0, +0, v] Looks again: does the server hold what was sent? */
static void verify(struct convergence *c)
{
    lua_State *L = c->L;
    c->verifies = true;
    look(c);
    int now = lua_gettop(L);
    if (is_same(c, now)) {
        if (c->keeps && !fields_is_nothing(L, c->found))
            warn_of_others(c, now);
        return;
    }
    struct fields_difference *left = &c->left;
    fields_describe(L, &c->fields, c->wanted, now, left);
    for (char *at = left->lines.bytes; at && *at; at++)
        *at = *at == '\n' ? ' ' : *at;
    failure_advise(
        L, "failed", c->op,
        "does the server know the field, and give it back? create = {...} takes fields that are sent "
        "when the thing is made and never compared",
        "it was written, but the server does not hold what was sent: %s", buffer_text(&left->lines));
}

/* [-0, +0, v] The gate, the write and the look behind it. */
static enum change_decision apply(struct convergence *c)
{
    lua_State *L = c->L;
    c->change.elsewhere = true;
    enum change_decision decision = change_begin(L, &c->change);
    if (decision == CHANGE_APPLY) {
        c->pending = true; /* from here on an error ends the change as failed: release */
        c->passage.passed = true;
        if (c->wanted) {
            c->kind->write(c);
            verify(c);
        } else
            c->kind->remove(c);
        c->pending = false;
    }
    return decision;
}

/* [-0, +1, v] Something in the data, or in what is there, can only be known by a real run. */
static int predict_unknown(struct convergence *c)
{
    lua_State *L = c->L;
    c->change = (struct change){.kind = c->verb, .target = c->target, .inexact = true};
    if (change_begin(L, &c->change) == CHANGE_PREDICT) {
        struct host *where = api_overlay_host(L, lua_touserdata(L, c->client));
        const char *name = push_prediction_name(c);
        lua_pushboolean(L, true);
        overlay_put(L, where, CONVERGE_PREDICTIONS, name);
    }
    change_end(L, &c->change);
    return change_push_result(L, &c->change, c->change.status != CHANGE_DECLINED);
}

int converge_present(lua_State *L, const struct api_product *product)
{
    struct convergence *c = begin(L, product, true);
    refuse_unknown(c, c->wanted);
    if (c->create)
        refuse_unknown(c, c->create);
    if (c->unknown || unknown_is(L, c->wanted))
        return predict_unknown(c);
    look(c);
    if (unknown_is(L, c->found))
        return predict_unknown(c);
    if (c->kind->settle)
        c->kind->settle(c);
    refuse_unreadable(c);
    bool there = !fields_is_nothing(L, c->found);
    if (there && is_same(c, c->found))
        return unneeded(c, true);
    fields_describe(L, &c->fields, c->wanted, c->found, &c->difference);
    push_outgoing(c);
    c->sent = lua_gettop(L);
    describe_undo(c, false);
    fill_change(c);
    enum change_decision decision = apply(c);
    lua_settop(L, c->sent);
    if (decision == CHANGE_PREDICT) {
        push_whole(c);
        predict(c);
    }
    change_end(L, &c->change);
    return change_push_result(L, &c->change, decision != CHANGE_DECLINE);
}

/* --- absent -------------------------------------------------------------------------------------------------------------------- */

/* [-0, +0, v] What goes away: all of it, less what the server filled in. */
static void describe_removal(struct convergence *c)
{
    lua_State *L = c->L;
    fields_push_copy(L, c->found);
    int gone = lua_gettop(L);
    if (lua_istable(L, gone)) {
        drop_given(c);
        lua_newtable(L); /* none of its fields is wanted */
        for (lua_pushnil(L); lua_next(L, gone); lua_pop(L, 1)) {
            lua_pushvalue(L, -2);
            json_push_null(L);
            lua_rawset(L, gone + 1);
        }
        fields_describe(L, &c->fields, gone + 1, gone, &c->difference);
    }
    buffer_clear(&c->difference.before);
    buffer_clear(&c->difference.after);
    fields_push_shown(L, &c->fields, gone);
    buffer_append_text(&c->difference.before, lua_tostring(L, -1));
    lua_settop(L, gone - 1);
}

int converge_absent(lua_State *L, const struct api_product *product)
{
    struct convergence *c = begin(L, product, false);
    if (c->unknown)
        return predict_unknown(c);
    look(c);
    if (unknown_is(L, c->found))
        return predict_unknown(c);
    if (fields_is_nothing(L, c->found))
        return unneeded(c, false);
    describe_removal(c);
    describe_undo(c, true);
    fill_change(c);
    enum change_decision decision = apply(c);
    lua_settop(L, c->found);
    if (decision == CHANGE_PREDICT) {
        lua_pushnil(L);
        predict(c);
    }
    change_end(L, &c->change);
    return change_push_result(L, &c->change, decision != CHANGE_DECLINE);
}
