/* The one path that a state word of the file module is about: what was asked, what was found, what shall be, and all
 * that the gate is told. It lives in a Lua userdata, so that an error at any point leaks nothing. */
#ifndef MOONBOOK_FILE_TARGET_H
#define MOONBOOK_FILE_TARGET_H

#include "change.h"
#include "file_state.h"
#include "json.h"

#include <lua.h>
#include <stdbool.h>

struct file_target {
    const char *kind; /* "file.present" */
    char op[128];     /* "file.present /etc/hosts", for errors */
    struct host *host;
    char path[PATH_MAX]; /* as it was asked for, absolute */
    bool path_unknown;   /* under --check: it comes from a command that was not run */

    /* asked */
    int mode; /* -1: as it is */
    const char *owner, *group;
    const char **validate; /* argv of the checker, or NULL */
    const char *source;    /* where the content comes from, or NULL; the options table owns it */

    struct file_state found;  /* symbolic links followed where the state word follows them */
    struct file_state wanted; /* what it becomes */

    struct buffer old_content, new_content;
    bool reads;           /* it is going to read the old content: it may come with the look */
    bool old_known;       /* old_content was read */
    bool content_asked;   /* the content is the state word's business */
    bool content_unknown; /* ... but only a real run can know it */
    bool secret;          /* it holds a secret: no difference is shown */
    bool inexact;         /* the prediction rests on something unknown */
    int default_mode;     /* of a new file or directory */

    struct json_text before, after, undo;
    struct buffer diff;
};

/* How found and wanted differ; 0 = not at all. */
enum file_difference { DIFFERS_KIND = 1, DIFFERS_CONTENT = 2, DIFFERS_MODE = 4, DIFFERS_OWNER = 8 };

/* [-0, +2, v] Makes a target from the options table at index 1: path, mode, owner, group, validate. Pushes the userdata
 * that owns it and the vector of `validate`. Raises "usage" for wrong ones. */
struct file_target *file_target_new(lua_State *L, const char *kind);

/* [-0, +0, v] Looks at the path: fills `found`, and `wanted` with the same. With `reads`, for those
 * that follow links, also `old_content` if it comes on the same way. */
void file_target_look(lua_State *L, struct file_target *target, bool follow);

/* [-0, +0, v] Compares mode and owner with those asked for and puts them into `wanted`. */
unsigned file_target_compare(lua_State *L, struct file_target *target);

/* [-0, +0, v] Raises "not-found" unless owner and group exist on the host, or --check predicts them. */
void file_target_check_owner(lua_State *L, struct file_target *target);

/* [-0, +0, v] Raises "not-found" unless the path's folder exists. */
void file_target_check_parent(lua_State *L, struct file_target *target);

/* Gives the path the owner and mode of `wanted`, as far as they were asked for. */
bool file_target_set_attributes(struct file_target *target, struct failure *failure);

/* Fills `before` and `after`; digests may be NULL. `undo` is the caller's. */
void file_target_describe(struct file_target *target, const char *old_digest, const char *new_digest);

/* Begins the JSON of `undo` with its op and path; the caller adds members and closes the object. */
void file_target_undo(struct file_target *target, const char *op);
/* Adds mode, owner and group of what was found. */
void file_target_undo_attributes(struct file_target *target);

/* [-0, +1, v] Predicts a change of nobody knows which path: what a state word returns for `path_unknown`. */
int file_target_unknown(lua_State *L, struct file_target *target);

/* What the gate is told, from the target. `keep`: what is there now is kept for undo. */
struct change file_target_change(struct file_target *target, bool keep);

/* The owner that was asked for, and the mode of `wanted`. */
struct host_attributes file_target_attributes(const struct file_target *target);

/* Runs `argv` on the target's host; "exit" with what it said unless its status is 0, "permission" where it says so. */
bool file_target_run(struct file_target *target, const char *const *argv, struct failure *failure);

/* [-0, +0, v] Raises a failure with the target's op. A hint of "" is none. */
int file_target_error(lua_State *L, struct file_target *target, const char *kind, const char *hint,
                      const char *format, ...) __attribute__((format(printf, 5, 6)));

/* [-0, +0, v] Raises `failure` with the target's op. */
int file_target_raise(lua_State *L, struct file_target *target, struct failure *failure);

#endif
