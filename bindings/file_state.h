/* What a path looks like to the fiber that asks: as it is on the host or, under --check, as earlier steps would have
 * left it. Every read of the file module passes here; other bindings (systemd's `fresh`) ask here too.
 *
 * Predictions are kept in the overlay, kind "file", name = the path, as tables {exists=, type="file"|"directory"|
 * "link"|"other", mode=, owner=, group=, target=, content=}; a field that is missing is not known. The module's
 * own: as_is=true (the content is that on the disk), fresh=true (a directory that was not there before, so that
 * nothing real below its path counts), time= (when it was predicted, in microseconds since 1970). */
#ifndef MOONBOOK_FILE_STATE_H
#define MOONBOOK_FILE_STATE_H

#include "buffer.h"
#include "failure.h"
#include "host.h"

#include <limits.h>
#include <lua.h>
#include <stdbool.h>

enum file_content {
    FILE_CONTENT_REAL,      /* what the host has */
    FILE_CONTENT_PREDICTED, /* the overlay has it */
    FILE_CONTENT_UNKNOWN,   /* only a real run can know */
};

struct file_state {
    char path[PATH_MAX];   /* the path asked for; with `follow`, what its symbolic links lead to */
    struct host_stat stat; /* of a predicted path: what is known; both times are when it was predicted */
    bool predicted;        /* an earlier step would have made it so */
    bool mode_known, owner_known, group_known; /* true for all that is real */
    bool fresh;                                /* a directory that was predicted where there was none */
    enum file_content content;
};

/* Makes a path absolute and simple: no "//", "/./" or "/" at its end; ".." stays, as links decide what it means. A
 * relative path starts at the working directory on the operator's machine and is refused ("usage") elsewhere. */
bool file_path(struct host *host, const char *given, char path[PATH_MAX], struct failure *failure);

/* [-0, +0, m] Looks at a path that file_path made. With `follow`, symbolic links at its end are followed (those within
 * it always are, by the host). A path that is not there is no failure. */
bool file_state_get(lua_State *L, struct host *host, const char *path, bool follow, struct file_state *state,
                    struct failure *failure);

/* [-0, +0, m] The same with links followed, for somebody who is going to read the file: `content` gets it where that costs no
 * way of its own to the host; `*read` tells. */
bool file_state_get_read(lua_State *L, struct host *host, const char *path, struct file_state *state,
                         struct buffer *content, bool *read, struct failure *failure);

enum file_read { FILE_READ, FILE_UNKNOWN, FILE_FAILED };

/* [-0, +0, m] Appends the content of what file_state_get found to `content`, which a Lua userdata must own: the overlay
 * is read through Lua. FILE_UNKNOWN: only a real run can know it. */
enum file_read file_state_read(lua_State *L, struct host *host, const struct file_state *state,
                               struct buffer *content, struct failure *failure);

/* [-0, +0, m] Under --check: predicts that `state->path` would look like this. `content` may be NULL where the
 * content stays what it is, or is not known (FILE_CONTENT_UNKNOWN). */
void file_state_predict(lua_State *L, struct host *host, const struct file_state *state,
                        const struct buffer *content);

/* [-0, +0, m] Under --check: what Lua's own functions would do to `path` on that host is predicted, so that later steps
 * see it. They return 0, or the errno of the call that would fail: then nothing is predicted.
 *
 * os.remove, os.rename; io.open for writing, which gets what would be read from the file (a scratch's buffer). */
int file_predict_removed(lua_State *L, struct host *host, const char *path);
int file_predict_renamed(lua_State *L, struct host *host, const char *from, const char *to);
int file_predict_opened(lua_State *L, struct host *host, const char *path, const char *mode,
                        struct buffer *content);

/* [-0, +0, m] For overlay_each over "file": is it a prediction of something that is there, below that folder? */
bool file_predicted_below(lua_State *L, const char *name, const char *folder);

/* "file", "directory", "link", "other"; "absent" for what is not there. */
const char *file_state_type(const struct host_stat *stat);

/* May everybody read it? Then its content may be shown. What is not there holds nothing. */
bool file_state_is_public(const struct file_state *state);

/* The path's folder: "/etc" of "/etc/hosts", "/" of "/etc". */
void file_parent(const char *path, char parent[PATH_MAX]);

#endif
