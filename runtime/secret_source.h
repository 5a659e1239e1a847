/* Where secrets are: the operator's password store, environment, files, commands, keyboard, standard input.
 * Always on the operator's machine, whatever host a runbook acts on. */
#ifndef MOONBOOK_SECRET_SOURCE_H
#define MOONBOOK_SECRET_SOURCE_H

#include "failure.h"

#include <lua.h>
#include <stdbool.h>

struct runtime;

enum secret_place {
    SECRET_PASS,    /* first line of `pass show NAME` */
    SECRET_ENV,     /* an environment variable */
    SECRET_FILE,    /* first line of a file; "~/" is the home directory */
    SECRET_SHELL,   /* output of a shell command without its last newline */
    SECRET_COMMAND, /* the same of `argv`, without a shell */
    SECRET_PROMPT,  /* asked for on the terminal; the name is the question */
    SECRET_INPUT,   /* first line of standard input */
    SECRET_STORE,   /* a server that a binding knows */
};

/* A server that keeps secrets: what a binding registers. */
struct secret_store {
    const char *name;   /* "vault": the source is vault:WHERE */
    lua_CFunction read; /* [-1, +1, v] WHERE -> text or secret; raises where there is none */
};

struct secret_source {
    enum secret_place place;
    const char *name;                 /* NULL for SECRET_COMMAND; of SECRET_INPUT whom it is for */
    const char *const *argv;          /* of SECRET_COMMAND */
    const struct secret_store *store; /* of SECRET_STORE */
};

/* Reads "pass:NAME", "env:VAR", "file:PATH", "command:TEXT", "prompt", "-", and "vault:WHERE" for each store of that name. False
 * for any other text. `source` points into `text`. */
bool secret_source_parse(const struct runtime *runtime, const char *text, struct secret_source *source);

/* [-0, +(0|1), m] Pushes the secret, or returns false with `failure`. A source is read once a run, also when
 * many fibers ask at the same time: the others wait for the first. Standard input has one secret, for one name. */
bool secret_source_push(lua_State *L, const struct secret_source *source, struct failure *failure);

#endif
