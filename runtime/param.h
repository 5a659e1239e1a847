/* Typed parameters of runbooks: string, integer, number, boolean, duration, size, ip, cidr, host, port, path, url,
 * enum(a,b), list(T), map(T), secret. */
#ifndef MOONBOOK_PARAM_H
#define MOONBOOK_PARAM_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

enum param_kind {
    PARAM_STRING,
    PARAM_INTEGER,
    PARAM_NUMBER,
    PARAM_BOOLEAN,
    PARAM_DURATION,
    PARAM_SIZE,
    PARAM_IP,
    PARAM_CIDR,
    PARAM_HOST,
    PARAM_PORT,
    PARAM_PATH,
    PARAM_URL,
    PARAM_ENUM,
    PARAM_LIST,
    PARAM_MAP,
    PARAM_SECRET,
};

struct param_type {
    enum param_kind kind;
    struct param_type *element; /* of list and map */
    char **choices;             /* of enum, NULL-terminated */
};

/* Parses "list(enum(a,b))". NULL and a message for what is no type. */
struct param_type *param_type_parse(const char *text, char *error, size_t error_size);
void param_type_free(struct param_type *type);

/* "list(string)": the name as written back. */
void param_type_name(const struct param_type *type, char *out, size_t size);

/* One for each `--set`: converts the text of a value. [-0, +(0|1), v] Lists: "a,b" or JSON; maps: JSON (NAME.KEY=VALUE is
 * put together by the caller, one value at a time); secrets: by source, through param_secret. Durations become
 * seconds (a Lua number, integer when whole), sizes bytes. False: `error` says what would be right. `name` is the
 * parameter's: who is asked for a secret sees it. */
bool param_from_text(lua_State *L, const struct param_type *type, const char *name, const char *text,
                     char *error, size_t error_size);

/* Checks and converts a Lua value (a default, --vars): [-0, +(0|1), v] pushes the converted one. */
bool param_from_lua(lua_State *L, const struct param_type *type, const char *name, int index, char *error,
                    size_t error_size);

/* Reads a secret from where it is: "pass:alice/consul", "env:VAR", "file:PATH", "command:...", "prompt", "-" (standard
 * input). [-0, +(0|1), v] pushes the secret, or false and what to do in `error`. A text with another
 * prefix is refused: a secret is never given itself. Each name is asked for by itself; standard input is for one. Raises
 * "cancelled": then nothing is wrong with what was given. */
bool param_secret(lua_State *L, const char *name, const char *source, char *error, size_t error_size);

#endif
