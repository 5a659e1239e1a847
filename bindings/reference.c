/* The reference: every module, function and endpoint as Lua tables, made from the tables that run them. `moonbook api`
 * prints it. */
#include "reference.h"

#include "api.h"
#include "converge.h"
#include "json.h"

#include <stdio.h>
#include <string.h>

static void set_text(lua_State *L, const char *name, const char *text)
{
    if (!text || !*text)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

/* [-1, +0, m] Appends the entry on top to the list below it. */
static void append(lua_State *L)
{
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* [-0, +0, m] The list is on top. */
static void append_functions(lua_State *L, const struct binding_module *module)
{
    bool global = strcmp(module->name, "_G") == 0;
    for (const struct binding_function *function = module->functions; function->name; function++) {
        lua_createtable(L, 0, 6);
        set_text(L, "kind", "function");
        set_text(L, "module", module->name);
        if (global || !*function->name)
            set_text(L, "name", global ? function->name : module->name);
        else {
            lua_pushfstring(L, "%s.%s", module->name, function->name);
            lua_setfield(L, -2, "name");
        }
        set_text(L, "usage", function->usage);
        set_text(L, "about", function->about);
        set_text(L, "example", function->example);
        append(L);
    }
}

/* Appends a list's names as options: "recurse=, raw=". */
static void append_options(luaL_Buffer *usage, const char *list, bool *some)
{
    char word[API_WORD];
    bool needed;
    while (api_next_word(&list, word, sizeof word, &needed)) {
        bool open = strcmp(word, "...") == 0 || strcmp(word, "{key}") == 0;
        api_lua_name(word, word, sizeof word);
        luaL_addstring(usage, *some ? ", " : "{");
        luaL_addstring(usage, open ? "..." : word);
        if (!open)
            luaL_addstring(usage, "=");
        *some = true;
    }
}

/* [-0, +1, m] "(key, {recurse=, raw=})": what the function takes. */
static void push_usage(lua_State *L, const struct api_row *row)
{
    luaL_Buffer usage;
    bool some = false, options = false, data = api_has_word(row->body, "{key}");
    luaL_buffinit(L, &usage);
    luaL_addchar(&usage, '(');
    for (const char *at = strchr(row->path, '{'); at; at = strchr(at + 1, '{')) {
        if (row->mount[0] && strncmp(at, "{mount}", 7) == 0)
            continue;
        luaL_addstring(&usage, some ? ", " : "");
        luaL_addlstring(&usage, at + 1, strcspn(at + 1, "}"));
        some = true;
    }
    if (data) {
        luaL_addstring(&usage, some ? ", data" : "data");
        some = true;
    }
    size_t before = luaL_bufflen(&usage);
    luaL_addstring(&usage, some ? ", " : "");
    append_options(&usage, data ? "" : strcmp(row->body, "raw") == 0 ? "body,from" : row->body, &options);
    append_options(&usage, row->query, &options);
    append_options(&usage, row->mount[0] ? "mount" : "", &options);
    append_options(&usage, strcmp(row->returns, "raw") == 0 ? "to" : "", &options);
    append_options(&usage, row->blocking ? "index,wait" : "", &options);
    if (options)
        luaL_addchar(&usage, '}');
    else
        luaL_buffsub(&usage, luaL_bufflen(&usage) - before);
    luaL_addchar(&usage, ')');
    luaL_pushresult(&usage);
}

static void append_endpoint(lua_State *L, const struct api_product *product, const struct api_row *row)
{
    static const char *const effects[] = {
        [API_READ] = "read", [API_CHANGE] = "change", [API_CREATES] = "creates"};
    char group[API_WORD], name[API_WORD];
    api_lua_name(row->group, group, sizeof group);
    api_lua_name(row->name, name, sizeof name);
    for (char *slash = group; (slash = strchr(slash, '/'));)
        *slash = '.';
    lua_createtable(L, 0, 18);
    set_text(L, "kind", "endpoint");
    set_text(L, "product", product->name);
    set_text(L, "group", group);
    lua_pushfstring(L, "%s.%s.%s", product->name, group, name);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "name");
    push_usage(L, row);
    lua_concat(L, 2);
    lua_setfield(L, -2, "usage");
    if (product->top && strcmp(row->group, product->top) == 0) {
        lua_pushfstring(L, "%s.%s", product->name, name);
        lua_setfield(L, -2, "short");
    }
    set_text(L, "method", row->method);
    set_text(L, "path", row->path);
    set_text(L, "mount", row->mount);
    set_text(L, "query", row->query);
    set_text(L, "body", row->body);
    set_text(L, "returns", row->returns);
    set_text(L, "effect", effects[row->effect]);
    set_text(L, "answers", row->answers);
    set_text(L, "secret", row->secret);
    set_text(L, "since", row->since);
    set_text(L, "doc", row->doc);
    lua_pushboolean(L, row->blocking);
    lua_setfield(L, -2, "blocking");
    append(L);
}

/* [-0, +0, m] What present and absent know. The list is on top. */
static void append_kinds(lua_State *L, const struct api_product *product)
{
    for (const struct converge_kind *kind = product->kinds; kind->name; kind++) {
        char name[API_WORD];
        if (!*kind->name)
            continue; /* the only one: the function's own text says it all */
        snprintf(name, sizeof name, "%s", kind->name);
        for (char *blank = name; (blank = strchr(blank, ' '));)
            *blank = '_';
        lua_createtable(L, 0, 5);
        set_text(L, "kind", "thing");
        set_text(L, "module", product->name);
        lua_pushfstring(L, "%s.present.%s", product->name, name);
        lua_setfield(L, -2, "name");
        lua_pushfstring(L, "%s.present(\"%s\", %sdata)", product->name, kind->name,
                        kind->single ? "" : "name, ");
        lua_setfield(L, -2, "usage");
        set_text(L, "about", kind->about);
        append(L);
    }
}

int reference_push(lua_State *L)
{
    lua_newtable(L);
    json_mark_array(L, -1);
    for (const struct binding_module *const *module = runtime_of(L)->modules; *module; module++) {
        lua_createtable(L, 0, 3);
        set_text(L, "kind", "module");
        set_text(L, "name", (*module)->name);
        set_text(L, "about", (*module)->about);
        append(L);
        append_functions(L, *module);
        if ((*module)->api)
            append_kinds(L, (*module)->api);
        if ((*module)->api)
            for (const struct api_row *row = (*module)->api->rows; row->group; row++)
                append_endpoint(L, (*module)->api, row);
    }
    return 1;
}
