/* Lua module `secret`: values that scripts carry and never see. */
#include "binding.h"

#include "secret.h"
#include "secret_source.h"

#include <string.h>

/* [-0, +1, v] */
static int push_source(lua_State *L, const struct secret_source *source)
{
    struct failure failure;
    if (!secret_source_push(L, source, &failure))
        return failure_raise(L, &failure);
    return 1;
}

/* [-0, +1, v] The source that the text at 1 names; `op` and `what` are for messages. */
static int push_named(lua_State *L, enum secret_place place, const char *op, const char *what)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        return failure_error(L, "usage", op, "the %s is text, not %s", what, luaL_typename(L, 1));
    size_t length;
    const char *name = lua_tolstring(L, 1, &length);
    if (!length || strlen(name) != length)
        return failure_error(L, "usage", op, "the %s is %s", what, length ? "cut by a NUL byte" : "empty");
    return push_source(L, &(struct secret_source){.place = place, .name = name});
}

static int secret_pass(lua_State *L)
{
    return push_named(L, SECRET_PASS, "secret.pass", "name in the password store");
}

static int secret_env(lua_State *L)
{
    return push_named(L, SECRET_ENV, "secret.env", "name of the environment variable");
}

static int secret_file(lua_State *L)
{
    return push_named(L, SECRET_FILE, "secret.file", "path");
}

static int secret_command(lua_State *L)
{
    if (!lua_istable(L, 1))
        return push_named(L, SECRET_SHELL, "secret.command", "command");
    static const char *const no_options[] = {NULL};
    argument_table(L, 1, "secret.command", no_options);
    argument_subject(L, 1, "secret.command", "program");
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "argv");
    const char **argv = argument_list(L, -1, "secret.command", "argv");
    return push_source(L, &(struct secret_source){.place = SECRET_COMMAND, .argv = argv});
}

static int secret_vault(lua_State *L)
{
    struct secret_source source;
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_pushfstring(L, "vault:%s", lua_tostring(L, 1));
    if (!secret_source_parse(runtime_of(L), lua_tostring(L, 2), &source))
        return failure_advise(L, "usage", "secret.vault", "write secret.vault \"secret/ci/deploy#password\"",
                              "no path and field is given");
    return push_source(L, &source);
}

static int secret_prompt(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        lua_pushliteral(L, "secret: ");
        lua_replace(L, 1);
    }
    return push_named(L, SECRET_PROMPT, "secret.prompt", "question");
}

static int secret_is_one(lua_State *L)
{
    lua_pushboolean(L, secret_is(L, 1));
    return 1;
}

static const struct binding_function functions[] = {
    {"pass", secret_pass, "secret.pass(NAME) -> secret",
     "The first line of `pass show NAME`, run on your own machine, once a run. Waits up to five minutes for "
     "the "
     "passphrase. Raises \"failed\" when pass does not know the name, \"invalid\" for less than four "
     "characters.",
     NULL},
    {"env", secret_env, "secret.env(VARIABLE) -> secret",
     "The value of an environment variable of moonbook itself. Raises \"not-found\" where it is not set or "
     "empty.",
     "assert(tostring(secret.env(\"PATH\")) == \"<secret>\")"},
    {"file", secret_file, "secret.file(PATH) -> secret",
     "The first line of a file on your own machine, without the newline; \"~/\" is your home directory. "
     "Raises "
     "\"not-found\", \"permission\", and \"invalid\" for less than four characters.",
     NULL},
    {"command", secret_command, "secret.command{PROGRAM, ARGUMENT, ...} -> secret",
     "What a command prints on your own machine, without the last newline; run once a run, also under "
     "--check. A "
     "single text runs in /bin/sh. Raises \"failed\" on another status than 0, \"timeout\" after five "
     "minutes.",
     "local token = secret.command{\"echo\", \"not-very-secret\"}\n"
     "assert(tostring(\"Bearer \" .. token) == \"<secret>\")"},
    {"vault", secret_vault, "secret.vault(\"PATH#FIELD\") -> secret",
     "The field of what Vault has at the path, read once a run with the operator's own address and token "
     "(VAULT_ADDR, "
     "VAULT_TOKEN). secret/ci finds what version 2 of the KV engine has at secret/data/ci too. Raises "
     "\"not-found\" where there is "
     "no such path or field, and what vault.read raises.",
     NULL},
    {"prompt", secret_prompt, "secret.prompt([QUESTION]) -> secret",
     "What you type at the terminal, which does not show it; the same question is asked once a run. Raises "
     "\"usage\" where there is no terminal.",
     NULL},
    {"is", secret_is_one, "secret.is(VALUE) -> boolean", "Whether a value is a secret.",
     "assert(secret.is(secret.env(\"PATH\")) and not secret.is(\"text\"))"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module secret_module = {
    "secret",
    "Values that print as <secret>, stay secret when joined with text, and are opened only where they are "
    "used: a "
    "header, a file, a standard input. Two secrets compare equal by content.",
    functions,
    NULL,
    NULL,
};
