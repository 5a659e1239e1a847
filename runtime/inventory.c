/* The terms of an inventory, one after another, into a list without doubles. */
#include "inventory.h"

#include "host_range.h"
#include "hosts.h"
#include "nearest.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS_DEEP 16
#define MOST_NAMES  64 /* of groups, for a hint */

/* One resolution: the list is at `list`, machine -> true of what is in it at `seen`. */
struct resolution {
    lua_State *L;
    int list, seen;
    bool removes;      /* takes hosts out instead */
    const char *group; /* whose terms these are, or NULL */
    int depth;
};

static void resolve_terms(struct resolution *resolution, const char *terms);

/* ---- one host ---- */

/* [-0, +1, m] A copy of the description at `index`, with what the term itself says of user and port. */
static void push_changed(lua_State *L, int index, const struct host_spec *spec)
{
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, index);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    if (spec->user) {
        lua_pushstring(L, spec->user);
        lua_setfield(L, -2, "user");
    }
    if (spec->port) {
        lua_pushstring(L, spec->port);
        lua_setfield(L, -2, "port");
    }
}

/* [-0, +n, v] The host that hosts.lua describes, by its name or by user@NAME:port; NULL where it does not. */
static struct host *described(lua_State *L, const char *name)
{
    struct host_spec spec = {0};
    struct buffer space = {0};
    struct failure ignored;
    inventory_file_push(L, "hosts");
    int hosts = lua_gettop(L);
    if (!lua_istable(L, hosts))
        return NULL;
    if (lua_getfield(L, hosts, name) == LUA_TNIL && host_spec_parse(name, &spec, &space, &ignored)) {
        name = lua_pushstring(L, spec.name);
        if (lua_getfield(L, hosts, name) == LUA_TTABLE)
            push_changed(L, lua_gettop(L), &spec);
    }
    buffer_free(&space);
    if (lua_isnil(L, -1))
        return NULL;
    if (!lua_istable(L, -1))
        failure_advise(L, "usage", "hosts.lua",
                       "write NAME = { address = ..., user = ... }, as host{} takes it",
                       "hosts.%s is %s, not a table", name, luaL_typename(L, -1));
    return runtime_of(L)->describe_host(L, name, lua_gettop(L));
}

struct host *inventory_host(lua_State *L, const char *name, const char *fallback)
{
    struct runtime *runtime = runtime_of(L);
    struct host *host = NULL;
    int top = lua_gettop(L);
    luaL_checkstack(L, 16, "inventory");
    if (strcmp(name, "local") == 0 || strcmp(name, runtime->local->name) == 0)
        return runtime->local;
    host = described(L, name);
    if (!host) {
        struct host_spec spec = {.fallback = fallback};
        struct buffer space = {0};
        struct failure failure;
        if (host_spec_parse(name, &spec, &space, &failure))
            host = hosts_get(runtime, &spec, &failure);
        buffer_free(&space);
        if (!host)
            failure_raise(L, &failure);
    }
    lua_settop(L, top);
    return host;
}

/* Adds it, or takes it out; one machine is to be worked on once. */
static void take_host(struct resolution *resolution, struct host *host)
{
    lua_State *L = resolution->L;
    bool there = lua_getfield(L, resolution->seen, host->machine) != LUA_TNIL;
    lua_pop(L, 1);
    if (resolution->removes) {
        lua_pushboolean(L, false);
        lua_setfield(L, resolution->seen, host->machine);
    } else if (!there) {
        lua_pushboolean(L, true);
        lua_setfield(L, resolution->seen, host->machine);
        lua_pushlightuserdata(L, host);
        lua_rawseti(L, resolution->list, (lua_Integer)lua_rawlen(L, resolution->list) + 1);
    }
}

/* ---- terms ---- */

struct names {
    struct buffer text; /* each with its NUL */
};

static bool keep_name(void *context, const char *name)
{
    struct names *names = context;
    buffer_append(&names->text, name, strlen(name) + 1);
    return true;
}

static void resolve_range(struct resolution *resolution, const char *word)
{
    lua_State *L = resolution->L;
    struct names names = {0};
    struct failure failure;
    bool expanded = host_range_expand(word, keep_name, &names, &failure);
    if (expanded)
        lua_pushlstring(L, buffer_text(&names.text), names.text.length);
    buffer_free(&names.text);
    if (!expanded)
        failure_raise(L, &failure);
    size_t length;
    const char *name = lua_tolstring(L, -1, &length);
    for (const char *end = name + length; name < end; name += strlen(name) + 1)
        take_host(resolution, inventory_host(L, name, NULL));
    lua_pop(L, 1);
}

/* [-0, +0, v] */
static void refuse_group(lua_State *L, const char *name)
{
    const char *names[MOST_NAMES + 1] = {NULL};
    size_t count = 0;
    struct failure failure;
    failure_set(&failure, "usage", "hosts", "there is no group \"%s\"", name);
    if (!lua_istable(L, -1)) {
        failure_hint(
            &failure,
            "groups are in hosts.lua (here, in ~/.config/moonbook, in /etc/moonbook): return { groups = "
            "{ %s = \"c[1-3]\" } }",
            name);
        failure_raise(L, &failure);
    }
    for (lua_pushnil(L); lua_next(L, -2) && count < MOST_NAMES; lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING)
            names[count++] = lua_tostring(L, -2);
    const char *meant = nearest_name(name, names);
    if (meant)
        failure_hint(&failure, "did you mean @%s?", meant);
    else
        failure_hint(&failure, "hosts.lua has no such entry in its groups");
    failure_raise(L, &failure);
}

static void resolve_group(struct resolution *resolution, const char *name)
{
    lua_State *L = resolution->L;
    struct resolution inner = *resolution;
    int top = lua_gettop(L);
    luaL_checkstack(L, 16, "inventory");
    if (++inner.depth > GROUPS_DEEP)
        failure_error(L, "usage", "hosts", "group \"%s\" of hosts.lua holds itself", name);
    inner.group = name;
    inventory_file_push(L, "groups");
    if (!lua_istable(L, -1) || lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_settop(L, top + 1);
        refuse_group(L, name);
    }
    if (lua_type(L, -1) == LUA_TSTRING)
        resolve_terms(&inner, lua_tostring(L, -1));
    else if (!lua_istable(L, -1))
        failure_error(L, "usage", "hosts",
                      "group \"%s\" of hosts.lua is %s; write \"c1,c2\" or { \"c1\", \"c2\" }", name,
                      luaL_typename(L, -1));
    else
        for (lua_Integer i = 1; lua_geti(L, top + 2, i) != LUA_TNIL; i++, lua_pop(L, 1)) {
            if (lua_type(L, -1) != LUA_TSTRING)
                failure_error(L, "usage", "hosts", "group \"%s\" of hosts.lua: entry %d is %s, not text",
                              name, (int)i, luaL_typename(L, -1));
            resolve_terms(&inner, lua_tostring(L, -1));
        }
    lua_settop(L, top);
}

/* [-0, +0, v] Of what a source gave: the list on top. What others call "local" is not the operator's machine. */
static void take_listed(struct resolution *resolution, const char *term)
{
    lua_State *L = resolution->L;
    int list = lua_gettop(L);
    for (lua_Integer i = 1; lua_geti(L, list, i) != LUA_TNIL; i++) {
        int type = lua_getfield(L, -1, "name");
        if (type != LUA_TSTRING || strcmp(lua_tostring(L, -1), "local") == 0)
            failure_error(L, "usage", "hosts", "%s has a host whose name is %s", term,
                          type == LUA_TSTRING ? "local, which is this machine" : "no text");
        lua_getfield(L, -2, "address");
        take_host(resolution, inventory_host(L, lua_tostring(L, -2), lua_tostring(L, -1)));
        lua_settop(L, list);
    }
    lua_settop(L, list);
}

/* "consul:nomad-client"; a number behind the colon is the port of a host of that name. False: no source is meant. */
static bool resolve_source(struct resolution *resolution, const char *term)
{
    lua_State *L = resolution->L;
    const char *colon = strchr(term, ':');
    if (!colon || (colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1)))
        return false;
    for (const struct inventory_source *each = runtime_of(L)->inventory; each && each->name; each++)
        if (strlen(each->name) == (size_t)(colon - term) &&
            strncmp(each->name, term, strlen(each->name)) == 0) {
            int top = lua_gettop(L);
            if (!colon[1])
                failure_error(L, "usage", "hosts", "\"%s\": nothing is named; write %s:%s", term, each->name,
                              each->what);
            luaL_checkstack(L, 16, "inventory");
            lua_pushcfunction(L, each->list);
            lua_pushstring(L, colon + 1);
            lua_call(L, 1, 1);
            take_listed(resolution, term);
            lua_settop(L, top);
            return true;
        }
    return false;
}

static void resolve_term(struct resolution *resolution, const char *term)
{
    if (!*term)
        failure_error(resolution->L, "usage", "hosts", "there is an empty name between the commas");
    if (*term == '@')
        resolve_group(resolution, term + 1);
    else if (!resolve_source(resolution, term))
        resolve_range(resolution, term);
}

/* Length of the first term: up to a comma that stands in no bracket and before no KEY=VALUE of a filter. */
static size_t term_length(const char *terms)
{
    size_t i = 0;
    for (bool inside = false; terms[i]; i++) {
        inside = terms[i] == '[' || (inside && terms[i] != ']');
        if (terms[i] != ',' || inside)
            continue;
        const char *next = terms + i + 1;
        if (!memchr(terms, ':', i) || next[strcspn(next, ",=")] != '=')
            break;
    }
    return i;
}

static void resolve_terms(struct resolution *resolution, const char *terms)
{
    lua_State *L = resolution->L;
    for (;;) {
        size_t length = term_length(terms), blank = strspn(terms, " \t");
        if (blank > length)
            blank = length;
        resolve_term(resolution, lua_pushlstring(L, terms + blank, length - blank));
        lua_pop(L, 1);
        if (!terms[length])
            return;
        terms += length + 1;
    }
}

/* [-0, +1, m] Those that were not taken out. */
static void push_left(struct resolution *resolution)
{
    lua_State *L = resolution->L;
    lua_Integer left = 0;
    lua_newtable(L);
    for (lua_Integer i = 1; lua_rawgeti(L, resolution->list, i) != LUA_TNIL; i++) {
        const struct host *host = lua_touserdata(L, -1);
        lua_getfield(L, resolution->seen, host->machine);
        bool stays = lua_toboolean(L, -1);
        lua_pop(L, 1);
        if (stays)
            lua_rawseti(L, -2, ++left);
        else
            lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void inventory_push(lua_State *L, const char *on, const char *except)
{
    lua_newtable(L);
    lua_newtable(L);
    struct resolution resolution = {.L = L, .list = lua_gettop(L) - 1, .seen = lua_gettop(L)};
    resolve_terms(&resolution, on);
    resolution.removes = true;
    if (except)
        resolve_terms(&resolution, except);
    push_left(&resolution);
    lua_replace(L, resolution.list);
    lua_pop(L, 1);
    if (lua_rawlen(L, -1) == 0)
        failure_advise(L, "usage", "hosts", "look at what it stands for: moonbook hosts",
                       "\"%s\"%s%s stands for no host at all", on, except ? " without " : "",
                       except ? except : "");
}
