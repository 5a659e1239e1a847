/* Lua's own functions that change files, under --check: what they would do goes into the overlay. */
#include "file_state.h"

#include "scratch.h"
#include "unknown.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

/* [-0, +0, m] Looks at a path as the script gave it; 0 or an errno. */
static int look_at(lua_State *L, struct host *host, const char *given, bool follow, struct file_state *state)
{
    struct failure failure;
    char path[PATH_MAX];
    if (!file_path(host, given, path, &failure))
        return ENAMETOOLONG;
    if (file_state_get(L, host, path, follow, state, &failure))
        return 0;
    return strcmp(failure.kind, "not-found") == 0 ? ENOENT : EACCES;
}

/* [-0, +0, m] Is there a folder that the path could be made in? 0 or an errno. */
static int look_at_parent(lua_State *L, struct host *host, const char *path)
{
    char folder[PATH_MAX];
    struct file_state *parent = lua_newuserdatauv(L, sizeof *parent, 0);
    file_parent(path, folder);
    int error = look_at(L, host, folder, true, parent);
    if (!error && !parent->stat.exists)
        error = ENOENT;
    else if (!error && parent->stat.type != 'd')
        error = ENOTDIR;
    lua_pop(L, 1);
    return error;
}

static void predict_absent(lua_State *L, struct host *host, struct file_state *state)
{
    state->stat = (struct host_stat){0};
    file_state_predict(L, host, state, NULL);
}

int file_predict_removed(lua_State *L, struct host *host, const char *path)
{
    struct file_state *state = lua_newuserdatauv(L, sizeof *state, 0);
    int error = look_at(L, host, path, false, state);
    if (!error && !state->stat.exists)
        error = ENOENT;
    if (!error)
        predict_absent(L, host, state);
    lua_pop(L, 1);
    return error;
}

/* [-0, +0, m] The content as far as it can be known; else the state says that it cannot. */
static bool take_content(lua_State *L, struct host *host, struct file_state *state, struct buffer *content)
{
    struct failure failure;
    bool known = state->stat.type == 'f' && file_state_read(L, host, state, content, &failure) == FILE_READ;
    state->content = known ? FILE_CONTENT_PREDICTED : FILE_CONTENT_UNKNOWN;
    return known;
}

/* What is in a directory that moves is not followed: what comes after is inexact. */
int file_predict_renamed(lua_State *L, struct host *host, const char *from, const char *to)
{
    struct file_state *old = lua_newuserdatauv(L, sizeof *old, 0);
    struct file_state *new = lua_newuserdatauv(L, sizeof *new, 0);
    struct scratch *scratch = scratch_open(L);
    int error = look_at(L, host, from, false, old);
    if (!error && !old->stat.exists)
        error = ENOENT;
    if (!error)
        error = look_at(L, host, to, false, new);
    if (!error)
        error = look_at_parent(L, host, new->path);
    if (!error) {
        struct buffer *content = scratch_buffer(scratch);
        bool known = take_content(L, host, old, content);
        if (old->stat.type == 'd')
            unknown_used(L);
        char path[PATH_MAX];
        memcpy(path, new->path, sizeof path);
        *new = *old;
        memcpy(new->path, path, sizeof path);
        file_state_predict(L, host, new, known ? content : NULL);
        predict_absent(L, host, old);
    }
    lua_closeslot(L, -1);
    lua_pop(L, 3);
    return error;
}

int file_predict_opened(lua_State *L, struct host *host, const char *path, const char *mode,
                        struct buffer *content)
{
    struct file_state *state = lua_newuserdatauv(L, sizeof *state, 0);
    int error = look_at(L, host, path, true, state);
    bool exists = !error && state->stat.exists;
    if (exists && state->stat.type == 'd')
        error = EISDIR;
    else if (!error && !exists)
        error = mode[0] == 'r' ? ENOENT : look_at_parent(L, host, state->path);
    if (!error && (!exists || state->stat.type == 'f')) { /* a device stays what it is */
        if (exists && strchr(mode, '+') && mode[0] != 'w' && !take_content(L, host, state, content))
            unknown_used(L);
        state->stat.exists = true;
        state->stat.type = 'f';
        state->content = FILE_CONTENT_UNKNOWN; /* what the script writes is not looked at */
        file_state_predict(L, host, state, NULL);
    }
    lua_pop(L, 1);
    return error;
}
