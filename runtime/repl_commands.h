/* The commands of a session. */
#ifndef MOONBOOK_REPL_COMMANDS_H
#define MOONBOOK_REPL_COMMANDS_H

#include "repl.h"

struct repl_command {
    const char *name;
    const char *arguments; /* "FILE [NAME=LITERAL ...]" */
    const char *about;
    bool needs; /* an argument */
    void (*run)(struct repl *repl, const char *arguments);
};

/* Ends with a NULL name. */
extern const struct repl_command repl_commands[];

/* In a fiber, [-2, +0, v]: the session, a name. Adds its reference to what is shown. */
int repl_describe(lua_State *L);

/* In a fiber, [-2, +0, v]: the session, an expression. Its value becomes the last one. */
int repl_value(lua_State *L);

/* What follows acts on that host. False: it was said why not. */
bool repl_enter_host(struct repl *repl, const char *name);

#endif
