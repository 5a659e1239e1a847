/* What a runbook needs of the servers: `needs` of its header, checked when it is loaded and asked of them before a run.
 * Which products there are, and how to ask them, the bindings say. */
#include "nearest.h"
#include "runbook.h"
#include "version.h"

#include <lauxlib.h>
#include <string.h>

#define MOST_PRODUCTS 16

/* ---- the form ---- */

static const struct product *find_product(const struct product *products, const char *name)
{
    for (; products && products->name; products++)
        if (strcmp(products->name, name) == 0)
            return products;
    return NULL;
}

/* [-0, +0, v] */
static void refuse_product(lua_State *L, const char *runbook, const char *name)
{
    const char *names[MOST_PRODUCTS + 1] = {NULL};
    struct buffer known = {0};
    struct failure failure;
    size_t count = 0;
    for (const struct product *each = runtime_of(L)->products; each && each->name && count < MOST_PRODUCTS;
         each++) {
        buffer_format(&known, "%s%s", count ? ", " : "", each->name);
        names[count++] = each->name;
    }
    const char *meant = nearest_name(name, names);
    failure_set(&failure, "usage", runbook, "needs.%s: there is no product \"%s\"", name, name);
    if (meant)
        failure_hint(&failure, "did you mean %s?", meant);
    else
        failure_hint(&failure, "products are %s", buffer_text(&known));
    buffer_free(&known);
    failure_raise(L, &failure);
}

/* [-0, +0, v] One entry: its key is below its value on top. */
static void check_need(lua_State *L, const char *runbook)
{
    static const char right[] = "write \">= 1.9\" or \">= 1.7, < 2\"; operators are >= > <= < = != ~>";
    if (lua_type(L, -2) != LUA_TSTRING)
        failure_advise(L, "usage", runbook, "write needs = { PRODUCT = \">= 1.0\" }",
                       "needs has a value without a product, %s", luaL_tolstring(L, -1, NULL));
    const char *product = lua_tostring(L, -2);
    if (!find_product(runtime_of(L)->products, product))
        refuse_product(L, runbook, product);
    if (lua_type(L, -1) != LUA_TSTRING)
        failure_advise(L, "usage", runbook, right, "needs.%s is %s, but a constraint is text", product,
                       lua_type(L, -1) == LUA_TNUMBER ? luaL_tolstring(L, -1, NULL) : luaL_typename(L, -1));
    size_t length;
    const char *constraint = lua_tolstring(L, -1, &length);
    if (strlen(constraint) != length || !version_constraint_valid(constraint))
        failure_advise(L, "usage", runbook, right, "needs.%s: \"%s\" is no constraint of versions", product,
                       constraint);
}

void runbook_check_needs(lua_State *L, int index, const char *name)
{
    int type = lua_getfield(L, index, "needs");
    if (type != LUA_TNIL && type != LUA_TTABLE)
        failure_advise(L, "usage", name, "write needs = { PRODUCT = \">= 1.0\" }",
                       "needs is a table of products and versions, not %s", luaL_typename(L, -1));
    if (type == LUA_TTABLE)
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
            check_need(L, name);
    lua_pop(L, 1);
}

/* ---- the servers ---- */

/* [-1, +0, v] Raises the error on top with what it is about before it. */
static void explain_silence(lua_State *L, const char *runbook, const struct product *product,
                            const char *constraint)
{
    struct failure failure, said;
    if (failure_is(L, -1, "cancelled"))
        lua_error(L);
    failure_from_lua(L, -1, &failure);
    said = failure;
    failure_set(&failure, said.kind, runbook,
                "needs %s %s, but the version of its server is not known: %s%s%s", product->title, constraint,
                said.op, said.op[0] ? ": " : "", said.message);
    failure_hint(&failure, "%s", said.hint);
    failure.status = said.status;
    failure_raise(L, &failure);
}

/* [-0, +0, v] */
static void meet(lua_State *L, const char *runbook, const struct product *product, const char *constraint)
{
    struct version version;
    lua_pushcfunction(L, product->version);
    if (lua_pcall(L, 0, 2, 0) != LUA_OK)
        explain_silence(L, runbook, product, constraint);
    const char *text = lua_tostring(L, -2), *where = lua_tostring(L, -1);
    if (!version_parse(text, &version))
        failure_error(L, "failed", runbook,
                      "needs %s %s; the server at %s says that it is \"%s\", which is no version",
                      product->title, constraint, where, text);
    if (!version_fits(&version, constraint)) {
        struct failure failure;
        failure_set(&failure, "usage", runbook, "needs %s %s, the server at %s is %s", product->title,
                    constraint, where, text);
        failure_hint(&failure,
                     "use a server that fits, or change needs in a copy of your own (moonbook edit) "
                     "where you know that this one will do");
        failure_raise(L, &failure);
    }
    lua_pop(L, 2);
}

void runbook_meet_needs(lua_State *L, int index, const char *name)
{
    if (lua_getfield(L, index, "needs") == LUA_TTABLE)
        for (const struct product *each = runtime_of(L)->products; each && each->name; each++) {
            if (lua_getfield(L, -1, each->name) == LUA_TSTRING)
                meet(L, name, each, lua_tostring(L, -1));
            lua_pop(L, 1);
        }
    lua_pop(L, 1);
}
