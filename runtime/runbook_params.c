/* Parameters of a runbook: its declarations, the values given, the defaults. */
#include "json.h"
#include "nearest.h"
#include "runbook.h"
#include "secret.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One declaration { "name", "type", default =, about = } of the header. */
struct declaration {
    const char *name; /* owned by the header's table */
    struct param_type *type;
    const char *type_name;
    bool has_default;
};

struct declarations {
    struct declaration *items;
    size_t count;
};

static int declarations_gc(lua_State *L)
{
    struct declarations *all = lua_touserdata(L, 1);
    for (size_t i = 0; i < all->count; i++)
        param_type_free(all->items[i].type);
    free(all->items);
    *all = (struct declarations){0};
    return 0;
}

static void read_declaration(lua_State *L, int list, lua_Integer index, struct declaration *declaration)
{
    static const char *const fields[] = {"default", "about", "required", NULL};
    char error[256];
    if (lua_geti(L, list, index) != LUA_TTABLE)
        failure_error(L, "usage", "runbook", "params[%d] is not a table { \"name\", \"type\", about = }",
                      (int)index);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        bool known = lua_isinteger(L, -2) && lua_tointeger(L, -2) <= 2;
        for (size_t i = 0; fields[i] && lua_type(L, -2) == LUA_TSTRING; i++)
            known = known || strcmp(fields[i], lua_tostring(L, -2)) == 0;
        if (!known)
            failure_error(L, "usage", "runbook", "params[%d] has a field \"%s\" that is not known",
                          (int)index, luaL_tolstring(L, -2, NULL));
    }
    lua_geti(L, -1, 1);
    lua_geti(L, -2, 2);
    /* Of a number the text would be gone with its place on the stack. */
    declaration->name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
    declaration->type_name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    if (!declaration->name || !declaration->type_name)
        failure_error(L, "usage", "runbook", "params[%d] begins with a name and a type, both text",
                      (int)index);
    declaration->type = param_type_parse(declaration->type_name, error, sizeof error);
    if (!declaration->type)
        failure_error(L, "usage", "runbook", "parameter %s: %s", declaration->name, error);
    declaration->has_default = lua_getfield(L, -3, "default") != LUA_TNIL;
    lua_pop(L, 4);
}

/* [-0, +1, v] Reads the header's params; a userdata owns the types. */
static struct declarations *push_declarations(lua_State *L, int runbook)
{
    struct declarations *all = lua_newuserdatauv(L, sizeof *all, 0);
    *all = (struct declarations){0};
    if (luaL_newmetatable(L, "moonbook.declarations")) {
        lua_pushcfunction(L, declarations_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    int type = lua_getfield(L, runbook, "params");
    if (type != LUA_TTABLE && type != LUA_TNIL)
        failure_error(L, "usage", "runbook", "params is a list of { \"name\", \"type\", about = }");
    size_t count = type == LUA_TTABLE ? (size_t)luaL_len(L, -1) : 0;
    all->items = allocate_zeroed(count, sizeof *all->items);
    for (size_t i = 0; i < count; i++) {
        all->count = i + 1;
        read_declaration(L, lua_gettop(L), (lua_Integer)i + 1, &all->items[i]);
    }
    lua_pop(L, 1);
    return all;
}

static const struct declaration *find(const struct declarations *all, const char *name, size_t length)
{
    for (size_t i = 0; i < all->count; i++)
        if (strlen(all->items[i].name) == length && strncmp(all->items[i].name, name, length) == 0)
            return &all->items[i];
    return NULL;
}

static int refuse_unknown(lua_State *L, const struct declarations *all, const char *name)
{
    struct buffer known = {0};
    struct failure failure;
    const char **names = allocate_zeroed(all->count + 1, sizeof *names);
    for (size_t i = 0; i < all->count; i++) {
        names[i] = all->items[i].name;
        buffer_format(&known, "%s%s", i ? ", " : "", names[i]);
    }
    const char *meant = nearest_name(name, names);
    failure_set(&failure, "usage", "parameters", "there is no parameter \"%s\"", name);
    if (meant)
        failure_hint(&failure, "did you mean %s?", meant);
    else
        failure_hint(&failure, "it takes %s", known.length ? known.bytes : "none at all");
    free(names);
    buffer_free(&known);
    return failure_raise(L, &failure);
}

static int refuse_value(lua_State *L, const struct declaration *declaration, const char *error)
{
    struct failure failure;
    failure_set(&failure, "usage", "parameters", "%s (%s): %s", declaration->name, declaration->type_name,
                error);
    return failure_raise(L, &failure);
}

/* [-0, +0, v] NAME.KEY=VALUE: one value of a map. */
static void set_map_value(lua_State *L, int values, const struct declaration *declaration, const char *key,
                          const char *text)
{
    char error[512];
    if (lua_getfield(L, values, declaration->name) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, values, declaration->name);
    }
    int map = lua_gettop(L);
    const char *name = lua_pushfstring(L, "%s.%s", declaration->name, key);
    bool twice = lua_getfield(L, map, key) != LUA_TNIL;
    lua_pop(L, 1);
    if (twice)
        snprintf(error, sizeof error, "given twice");
    if (twice || !param_from_text(L, declaration->type->element, name, text, error, sizeof error)) {
        struct buffer whole = {0};
        buffer_format(&whole, "%.80s: %s", key, error);
        snprintf(error, sizeof error, "%s", buffer_text(&whole));
        buffer_free(&whole);
        refuse_value(L, declaration, error);
    }
    lua_setfield(L, map, key);
    lua_settop(L, map - 1);
}

static void apply_setting(lua_State *L, int values, const struct declarations *all,
                          const struct runbook_setting *setting)
{
    char error[512];
    const char *dot = strchr(setting->name, '.');
    const struct declaration *whole = find(all, setting->name, strlen(setting->name));
    const struct declaration *map = dot ? find(all, setting->name, (size_t)(dot - setting->name)) : NULL;
    if (!whole && map && map->type->kind == PARAM_MAP) {
        set_map_value(L, values, map, dot + 1, setting->value);
        return;
    }
    if (!whole) {
        refuse_unknown(L, all, setting->name);
        return;
    }
    if (lua_getfield(L, values, whole->name) != LUA_TNIL)
        refuse_value(L, whole, "given twice");
    lua_pop(L, 1);
    if (!param_from_text(L, whole->type, whole->name, setting->value, error, sizeof error))
        refuse_value(L, whole, error);
    lua_setfield(L, values, whole->name);
}

/* [-0, +0, v] Values of --vars, where --set says nothing. */
static void apply_vars(lua_State *L, int values, const struct declarations *all, int vars)
{
    char error[512];
    for (lua_pushnil(L); lua_next(L, vars); lua_pop(L, 1)) {
        size_t length = 0;
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &length) : "(a number)";
        const struct declaration *declaration = find(all, name, length);
        if (!declaration) {
            refuse_unknown(L, all, name);
            return;
        }
        if (lua_getfield(L, values, declaration->name) == LUA_TNIL) {
            if (!param_from_lua(L, declaration->type, declaration->name, lua_gettop(L) - 1, error,
                                sizeof error))
                refuse_value(L, declaration, error);
            lua_setfield(L, values, declaration->name);
        }
        lua_pop(L, 1);
    }
}

/* [-0, +1, v] A field of the declaration of that index. */
static int push_field(lua_State *L, int runbook, size_t index, const char *name)
{
    lua_getfield(L, runbook, "params");
    lua_geti(L, -1, (lua_Integer)index + 1);
    int type = lua_getfield(L, -1, name);
    lua_replace(L, -3);
    lua_pop(L, 1);
    return type;
}

/* What is required and not there; a default that is a function may come yet unless they were `called`. The values are on top. */
static void refuse_missing(lua_State *L, int runbook, const struct declarations *all, bool called)
{
    int values = lua_gettop(L);
    struct buffer missing = {0}, hint = {0};
    struct failure failure;
    for (size_t i = 0; i < all->count; i++) {
        const struct declaration *declaration = &all->items[i];
        bool is_function = push_field(L, runbook, i, "default") == LUA_TFUNCTION;
        push_field(L, runbook, i, "required");
        bool required = lua_toboolean(L, -1);
        if (required && (called || !is_function) && lua_getfield(L, values, declaration->name) == LUA_TNIL) {
            buffer_format(&missing, "%s%s (%s)", missing.length ? ", " : "", declaration->name,
                          declaration->type_name);
            buffer_format(&hint, " --set %s=...", declaration->name);
        }
        lua_settop(L, values);
    }
    if (!missing.length)
        return;
    failure_set(&failure, "usage", "parameters", "missing: %s", missing.bytes);
    failure_hint(&failure, "add%s", buffer_text(&hint));
    buffer_free(&missing);
    buffer_free(&hint);
    failure_raise(L, &failure);
}

/* Defaults of the one kind or the other where nothing is given; a function's may be nil. The values are on top. */
static void apply_defaults(lua_State *L, int runbook, const struct declarations *all, bool functions)
{
    int values = lua_gettop(L);
    char error[512];
    for (size_t i = 0; i < all->count; i++, lua_settop(L, values)) {
        const struct declaration *declaration = &all->items[i];
        if (lua_getfield(L, values, declaration->name) != LUA_TNIL)
            continue;
        bool is_function = push_field(L, runbook, i, "default") == LUA_TFUNCTION;
        if (is_function != functions)
            continue;
        if (is_function)
            lua_call(L, 0, 1);
        if (lua_isnil(L, -1))
            continue;
        if (!param_from_lua(L, declaration->type, declaration->name, lua_gettop(L), error, sizeof error))
            refuse_value(L, declaration, error);
        lua_setfield(L, values, declaration->name);
    }
}

void runbook_given_parameters(lua_State *L, int index, const struct runbook_setting *settings, size_t count,
                              int vars)
{
    index = lua_absindex(L, index);
    struct declarations *all = push_declarations(L, index);
    lua_newtable(L);
    int values = lua_gettop(L);
    for (size_t i = 0; i < count; i++)
        apply_setting(L, values, all, &settings[i]);
    if (vars)
        apply_vars(L, values, all, vars);
    apply_defaults(L, index, all, false);
    refuse_missing(L, index, all, false);
    lua_remove(L, values - 1);
}

static void push_copy(lua_State *L, int index, bool shown);

void runbook_parameters(lua_State *L, int index, int given)
{
    index = lua_absindex(L, index);
    given = lua_absindex(L, given);
    struct declarations *all = push_declarations(L, index);
    push_copy(L, given, false);
    apply_defaults(L, index, all, true);
    refuse_missing(L, index, all, true);
    lua_remove(L, -2);
}

void runbook_validate(lua_State *L, int index, int parameters)
{
    if (lua_getfield(L, index, "validate") == LUA_TFUNCTION) {
        lua_pushvalue(L, parameters);
        if (lua_pcall(L, 1, 0, 0) == LUA_OK)
            return;
        if (failure_is(L, -1, "cancelled"))
            lua_error(L);
        struct failure failure;
        failure_from_lua(L, -1, &failure);
        snprintf(failure.kind, sizeof failure.kind, "usage");
        if (!failure.op[0])
            snprintf(failure.op, sizeof failure.op, "parameters");
        failure_raise(L, &failure);
    }
    lua_pop(L, 1);
}

/* [-0, +1, m] A copy, with `shown` one in which secrets are the text "<secret>". */
static void push_copy(lua_State *L, int index, bool shown)
{
    luaL_checkstack(L, 4, "parameters nested too deep");
    index = lua_absindex(L, index);
    if (shown && secret_is(L, index)) {
        lua_pushliteral(L, "<secret>");
        return;
    }
    if (!lua_istable(L, index)) {
        lua_pushvalue(L, index);
        return;
    }
    lua_newtable(L);
    if (json_is_array(L, index))
        json_mark_array(L, -1);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        push_copy(L, -2, shown);
        lua_rawset(L, -5);
    }
}

void runbook_shown_parameters(lua_State *L, int parameters)
{
    push_copy(L, parameters, true);
    json_encode(L, -1);
    lua_remove(L, -2);
}
