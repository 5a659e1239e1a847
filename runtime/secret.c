/* Secret values: bytes in memory that Lua can carry and join but not read. */
#include "secret.h"

#include "failure.h"
#include "redact.h"
#include "runtime.h"
#include "unknown.h"

#include <lauxlib.h>
#include <string.h>

#define METATABLE "moonbook.secret"

#define LONGEST_WHERE 255

/* The bytes never become a Lua string: those are shared, and nobody wipes them. */
struct secret {
    size_t length;
    char where[LONGEST_WHERE + 1];
    char bytes[];
};

static struct secret *secret_at(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TUSERDATA ? luaL_testudata(L, index, METATABLE) : NULL;
}

/* [-0, +1, m] A secret whose bytes are still to be filled in. */
static struct secret *push_empty(lua_State *L, size_t length, const char *where)
{
    struct secret *secret = lua_newuserdatauv(L, sizeof *secret + length + 1, 0);
    secret->length = length;
    memset(secret->bytes, 0, length + 1);
    size_t where_length = strnlen(where, LONGEST_WHERE);
    memcpy(secret->where, where, where_length);
    secret->where[where_length] = '\0';
    luaL_setmetatable(L, METATABLE);
    return secret;
}

void secret_push(lua_State *L, const char *bytes, size_t length, const char *where)
{
    if (!redactor_add(runtime_of(L)->redactor, bytes, length))
        failure_advise(L, "invalid", "secret", "check that the source holds what you expect",
                       "%s gives %s: it cannot be told from ordinary text in what is printed", where,
                       length ? "less than four characters" : "nothing");
    memcpy(push_empty(L, length, where)->bytes, bytes, length);
}

void secret_push_any(lua_State *L, const char *bytes, size_t length, const char *where)
{
    redactor_add(runtime_of(L)->redactor, bytes, length);
    memcpy(push_empty(L, length, where)->bytes, bytes, length);
}

void secret_push_joined(lua_State *L, const char *bytes, size_t length, const char *where)
{
    memcpy(push_empty(L, length, where)->bytes, bytes, length);
}

bool secret_is(lua_State *L, int index)
{
    return secret_at(L, index) != NULL;
}

const char *secret_bytes(lua_State *L, int index, size_t *length)
{
    const struct secret *secret = secret_at(L, index);
    if (!secret)
        return NULL;
    if (length)
        *length = secret->length;
    return secret->bytes;
}

const char *secret_or_text(lua_State *L, int index, const char *op, size_t *length, bool *is_secret)
{
    const struct secret *secret = secret_at(L, index);
    if (is_secret)
        *is_secret = secret != NULL;
    if (secret)
        return secret_bytes(L, index, length);
    if (unknown_is(L, index)) {
        unknown_used(L);
        if (length)
            *length = sizeof UNKNOWN_TEXT - 1;
        return UNKNOWN_TEXT;
    }
    if (lua_type(L, index) != LUA_TSTRING)
        failure_error(L, "usage", op, "text or a secret is wanted, not %s", luaL_typename(L, index));
    return lua_tolstring(L, index, length);
}

static int secret_tostring(lua_State *L)
{
    lua_pushliteral(L, REDACTED);
    return 1;
}

/* "Bearer " .. token: a secret again. The redactor knows its secret part already, wherever it stands. */
static int secret_concat(lua_State *L)
{
    const char *parts[2];
    size_t lengths[2];
    const char *where = "";
    for (int i = 0; i < 2; i++) {
        const struct secret *secret = secret_at(L, i + 1);
        if (unknown_is(L, i + 1)) {
            unknown_used(L);
            unknown_push(L);
            return 1;
        }
        if (!secret && !lua_isstring(L, i + 1))
            return failure_error(L, "usage", "secret",
                                 "a secret can be joined with text, not with a %s value",
                                 luaL_typename(L, i + 1));
        if (secret)
            where = secret->where;
        parts[i] = secret ? secret->bytes : lua_tostring(L, i + 1);
        lengths[i] = secret ? secret->length : lua_rawlen(L, i + 1);
    }
    struct secret *joined = push_empty(L, lengths[0] + lengths[1], where);
    memcpy(joined->bytes, parts[0], lengths[0]);
    memcpy(joined->bytes + lengths[0], parts[1], lengths[1]);
    return 1;
}

/* Takes the same time wherever two secrets of one length differ. */
static int secret_equal(lua_State *L)
{
    const struct secret *a = secret_at(L, 1), *b = secret_at(L, 2);
    bool same = a && b && a->length == b->length;
    if (same) {
        unsigned char difference = 0;
        for (size_t i = 0; i < a->length; i++)
            difference |= (unsigned char)a->bytes[i] ^ (unsigned char)b->bytes[i];
        same = difference == 0;
    }
    lua_pushboolean(L, same);
    return 1;
}

static int secret_length(lua_State *L)
{
    return failure_error(L, "usage", "secret", "the length of a secret is not told");
}

static int secret_gc(lua_State *L)
{
    struct secret *secret = luaL_checkudata(L, 1, METATABLE);
    explicit_bzero(secret->bytes, secret->length);
    return 0;
}

void secret_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"__tostring", secret_tostring}, {"__concat", secret_concat}, {"__eq", secret_equal},
        {"__len", secret_length},        {"__gc", secret_gc},         {NULL, NULL},
    };
    if (luaL_newmetatable(L, METATABLE)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushliteral(L, "secret"); /* for messages: "attempt to index a secret value" */
        lua_setfield(L, -2, "__name");
        lua_pushliteral(L, "secret"); /* what getmetatable shows: scripts cannot reach the functions */
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
}
