/* Failures: what went wrong, where, why, and what to do next.
 *
 * C code below Lua reports through a `struct failure` that its caller owns (no memory to release); a binding
 * turns it into a Lua error with failure_raise, as its last act. In Lua an error is a table
 * {kind, op, host, step, message, hint, status, ...} whose tostring is one readable line. */
#ifndef MOONBOOK_FAILURE_H
#define MOONBOOK_FAILURE_H

#include <lua.h>
#include <stdbool.h>

/* Kinds, as scripts compare them:
 *   "usage"      wrong arguments or parameters: nothing was touched
 *   "not-found"  what was asked for is not there
 *   "permission" the system or server refused for lack of rights
 *   "timeout"    the wait ended first
 *   "cancelled"  the fiber was cancelled (pcall does not catch this one)
 *   "unreachable" the host or server did not answer at all
 *   "exit"       a command ended with another status than asked for (`status`), or by a signal
 *   "http"       a server answered with an error (`status`)
 *   "invalid"    content that its reader refuses (syntax, fingerprint, checksum)
 *   "busy"       another run changes the host
 *   "failed"     anything else */
struct failure {
    char kind[24];
    char host[128]; /* where: filled in when it becomes a Lua error, "" before */
    char step[128];
    char op[128];       /* what was being done: "file.present /etc/dnsmasq.conf" */
    char message[4096]; /* what happened and why */
    char hint[1024];    /* what to do next, or "" */
    int status;         /* exit status or HTTP status, 0 where there is none */
};

/* Fills in kind, op and the formatted message; clears hint and status. Returns false, so that a function can
 * `return failure_set(...)`. */
bool failure_set(struct failure *failure, const char *kind, const char *op, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a failed system call: kind from `error_number` (ENOENT "not-found", EACCES and EPERM
 * "permission", ETIMEDOUT "timeout", ...), message = the formatted text, ": ", strerror. */
bool failure_errno(struct failure *failure, int error_number, const char *op, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Sets the hint: what the operator can do about it, as an imperative sentence without a full stop. */
void failure_hint(struct failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* [-0, +1, m] Pushes the error table, with `host` and `step` of the fiber that runs. Fields can be added. */
void failure_push(lua_State *L, const struct failure *failure);

/* [-0, +0, v] Pushes the error table and raises it. Never returns. */
int failure_raise(lua_State *L, const struct failure *failure);

/* [-0, +0, v] failure_set and failure_raise in one. */
int failure_error(lua_State *L, const char *kind, const char *op, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* [-0, +0, v] The same with a hint. */
int failure_advise(lua_State *L, const char *kind, const char *op, const char *hint, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* [-0, +0, -] Is the value at `index` an error table of `kind` (any kind when NULL)? */
bool failure_is(lua_State *L, int index, const char *kind);

/* [-1, +1, m] Makes an error table of the plain text error on top (a script's own mistake), with the host and step of the
 * fiber; another value stays as it is. */
void failure_adopt(lua_State *L);

/* [-0, +0, -] Reads an error value of any type (table, string, nil) back into C. */
void failure_from_lua(lua_State *L, int index, struct failure *failure);

/* [-0, +0, m] Makes the metatable of error tables; once for each Lua state. */
void failure_open(lua_State *L);

#endif
