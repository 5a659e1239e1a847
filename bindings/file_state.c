/* What a path looks like: the host's stat with the predictions of --check before it. */
#include "file_state.h"

#include "overlay.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_LINKS 40 /* as the kernel */

const char *file_state_type(const struct host_stat *stat)
{
    if (!stat->exists)
        return "absent";
    switch (stat->type) {
    case 'f':
        return "file";
    case 'd':
        return "directory";
    case 'l':
        return "link";
    default:
        return "other";
    }
}

bool file_state_is_public(const struct file_state *state)
{
    return !state->stat.exists || (state->mode_known && (state->stat.mode & 0004) != 0);
}

void file_parent(const char *path, char parent[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) : 0;
    snprintf(parent, PATH_MAX, "%.*s", length > 0 ? (int)length : 1, length > 0 ? path : "/");
}

/* Copies a path piece by piece, without empty pieces and ".". */
static void simplify(const char *from, char path[PATH_MAX])
{
    size_t length = 0;
    while (*from != '\0') {
        size_t piece = strcspn(from, "/");
        if (piece > 0 && !(piece == 1 && from[0] == '.')) {
            path[length++] = '/';
            memcpy(path + length, from, piece);
            length += piece;
        }
        from += piece;
        from += strspn(from, "/");
    }
    if (length == 0)
        path[length++] = '/';
    path[length] = '\0';
}

bool file_path(struct host *host, const char *given, char path[PATH_MAX], struct failure *failure)
{
    char folder[PATH_MAX] = "";
    struct buffer whole = {0};
    if (given[0] != '/' && host != host->runtime->local) {
        failure_set(failure, "usage", "path", "'%s' is not an absolute path", given);
        failure_hint(failure, "give the whole path, from /");
        return false;
    }
    if (given[0] != '/' && getcwd(folder, sizeof folder) == NULL)
        return failure_errno(failure, errno, "path", "the working directory");
    buffer_format(&whole, "%s/%s", folder, given);
    bool fits = whole.length < PATH_MAX - 1;
    if (fits)
        simplify(whole.bytes, path);
    buffer_free(&whole);
    return fits || failure_errno(failure, ENAMETOOLONG, "path", "'%.100s...'", given);
}

/* [-0, +0, m] The permission bits of a prediction: an integer, or text in octal as apt's `brings` may write it. */
static bool predicted_mode(lua_State *L, mode_t *mode)
{
    bool known = true;
    if (lua_getfield(L, -1, "mode") == LUA_TSTRING)
        *mode = (mode_t)strtoul(lua_tostring(L, -1), NULL, 8) & 07777;
    else if (lua_isinteger(L, -1))
        *mode = (mode_t)lua_tointeger(L, -1) & 07777;
    else
        known = false;
    lua_pop(L, 1);
    return known;
}

static bool predicted_text(lua_State *L, const char *name, char *out, size_t size)
{
    bool known = lua_getfield(L, -1, name) == LUA_TSTRING;
    if (known)
        snprintf(out, size, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    return known;
}

static bool predicted_flag(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

static enum file_content predicted_content(lua_State *L, struct host_stat *stat)
{
    enum file_content content = FILE_CONTENT_UNKNOWN;
    if (lua_getfield(L, -1, "content") == LUA_TSTRING) {
        stat->size = lua_rawlen(L, -1);
        content = FILE_CONTENT_PREDICTED;
    }
    lua_pop(L, 1);
    return content == FILE_CONTENT_UNKNOWN && predicted_flag(L, "as_is") ? FILE_CONTENT_REAL : content;
}

/* [-1, +0, m] Reads a prediction. */
static void state_from_prediction(lua_State *L, struct file_state *state)
{
    static const char types[][10] = {"file", "directory", "link", "other"};
    struct host_stat *stat = &state->stat;
    char type[16] = "file";
    state->predicted = true;
    stat->exists = predicted_flag(L, "exists");
    if (!stat->exists) {
        lua_pop(L, 1);
        return;
    }
    predicted_text(L, "type", type, sizeof type);
    stat->type = 'o';
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(type, types[i]) == 0)
            stat->type = types[i][0];
    state->mode_known = predicted_mode(L, &stat->mode);
    state->owner_known = predicted_text(L, "owner", stat->owner, sizeof stat->owner);
    state->group_known = predicted_text(L, "group", stat->group, sizeof stat->group);
    predicted_text(L, "target", stat->target, sizeof stat->target);
    state->content = predicted_content(L, stat);
    state->fresh = predicted_flag(L, "fresh");
    lua_getfield(L, -1, "time");
    stat->mtime_us = stat->ctime_us = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : wall_clock_us();
    lua_pop(L, 2);
}

/* Would the path be gone because a folder above it is, or was made anew? The nearest prediction decides. */
static bool predicted_gone(lua_State *L, struct host *host, const char *path)
{
    char folder[PATH_MAX], next[PATH_MAX];
    file_parent(path, folder);
    while (strcmp(folder, "/") != 0) {
        if (overlay_get(L, host, "file", folder)) {
            bool gone = !predicted_flag(L, "exists") || predicted_flag(L, "fresh");
            lua_pop(L, 1);
            return gone;
        }
        file_parent(folder, next);
        memcpy(folder, next, sizeof folder);
    }
    return false;
}

bool file_predicted_below(lua_State *L, const char *name, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(name, folder, length) == 0 && name[length] == '/' && lua_istable(L, -1) &&
           predicted_flag(L, "exists");
}

static bool visit_below(lua_State *L, const char *name, void *folder)
{
    return file_predicted_below(L, name, folder);
}

/* Is something predicted below the path? Then the path is a directory, though nobody said so: a package that
 * brings a file brings its folder. */
static bool predicted_folder(lua_State *L, struct host *host, char *path)
{
    return overlay_each(L, host, "file", visit_below, path);
}

static void state_of_real(struct file_state *state)
{
    state->mode_known = state->owner_known = state->group_known = state->stat.exists;
    state->content = FILE_CONTENT_REAL;
}

/* Where a look leaves what it read on the way. */
struct on_the_way {
    struct buffer *content;
    bool read;
};

/* Looks at `state->path` itself; `way` may be NULL. */
static bool look(lua_State *L, struct host *host, struct file_state *state, struct on_the_way *way,
                 struct failure *failure)
{
    bool check = host->runtime->options.check;
    state->stat = (struct host_stat){0};
    state->predicted = state->mode_known = state->owner_known = state->group_known = state->fresh = false;
    state->content = FILE_CONTENT_REAL;
    if (check && overlay_get(L, host, "file", state->path)) {
        state_from_prediction(L, state);
        return true;
    }
    if (check && predicted_gone(L, host, state->path)) {
        state->predicted = true;
    } else {
        bool found = way ? host_look(host, state->path, &state->stat, way->content, &way->read, failure)
                         : host_stat_one(host, state->path, &state->stat, failure);
        if (!found)
            return false;
        state_of_real(state);
    }
    if (check && !state->stat.exists && predicted_folder(L, host, state->path)) {
        state->predicted = state->stat.exists = true;
        state->stat.type = 'd';
        state->stat.mtime_us = state->stat.ctime_us = wall_clock_us();
    }
    return true;
}

/* Replaces `state->path`, a link, by where it points. */
static bool step_along(struct file_state *state, struct failure *failure)
{
    const char *target = state->stat.target;
    char parent[PATH_MAX];
    struct buffer whole = {0};
    file_parent(state->path, parent);
    buffer_format(&whole, "%s/%s", target[0] == '/' ? "" : parent, target);
    bool fits = whole.length < PATH_MAX - 1;
    if (fits)
        simplify(whole.bytes, state->path);
    buffer_free(&whole);
    return fits || failure_errno(failure, ENAMETOOLONG, "follow the link", "%s", state->path);
}

static bool get(lua_State *L, struct host *host, const char *path, bool follow, struct file_state *state,
                struct on_the_way *way, struct failure *failure)
{
    luaL_checkstack(L, 10, "file");
    snprintf(state->path, sizeof state->path, "%s", path);
    for (int links = 0; links < MOST_LINKS; links++) {
        if (!look(L, host, state, way, failure))
            return false;
        if (!follow || !state->stat.exists || state->stat.type != 'l')
            return true;
        if (!step_along(state, failure))
            return false;
    }
    return failure_errno(failure, ELOOP, "follow the link", "%s", path);
}

bool file_state_get(lua_State *L, struct host *host, const char *path, bool follow, struct file_state *state,
                    struct failure *failure)
{
    return get(L, host, path, follow, state, NULL, failure);
}

bool file_state_get_read(lua_State *L, struct host *host, const char *path, struct file_state *state,
                         struct buffer *content, bool *read, struct failure *failure)
{
    struct on_the_way way = {.content = content};
    bool done = get(L, host, path, true, state, &way, failure);
    *read = done && way.read;
    return done;
}

enum file_read file_state_read(lua_State *L, struct host *host, const struct file_state *state,
                               struct buffer *content, struct failure *failure)
{
    if (state->content == FILE_CONTENT_REAL)
        return host_read(host, state->path, content, failure) ? FILE_READ : FILE_FAILED;
    if (state->content == FILE_CONTENT_UNKNOWN || !overlay_get(L, host, "file", state->path))
        return FILE_UNKNOWN;
    size_t length = 0;
    lua_getfield(L, -1, "content");
    const char *bytes = lua_tolstring(L, -1, &length);
    buffer_append(content, bytes, length);
    lua_pop(L, 2);
    return FILE_READ;
}

static void set_text(lua_State *L, const char *name, bool known, const char *value)
{
    if (!known || value[0] == '\0')
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

/* [-0, +0, m] The content field: new, or what an earlier prediction had. */
static void set_content(lua_State *L, struct host *host, const struct file_state *state,
                        const struct buffer *content)
{
    if (content != NULL) {
        lua_pushlstring(L, buffer_text(content), content->length);
        lua_setfield(L, -2, "content");
    } else if (state->content == FILE_CONTENT_REAL) {
        set_flag(L, "as_is", true);
    } else if (state->content == FILE_CONTENT_PREDICTED && overlay_get(L, host, "file", state->path)) {
        lua_getfield(L, -1, "content");
        lua_setfield(L, -3, "content");
        lua_pop(L, 1);
    }
}

void file_state_predict(lua_State *L, struct host *host, const struct file_state *state,
                        const struct buffer *content)
{
    const struct host_stat *stat = &state->stat;
    luaL_checkstack(L, 10, "file");
    lua_createtable(L, 0, 8);
    set_flag(L, "exists", stat->exists);
    if (stat->exists) {
        set_text(L, "type", true, file_state_type(stat));
        set_text(L, "owner", state->owner_known, stat->owner);
        set_text(L, "group", state->group_known, stat->group);
        set_text(L, "target", true, stat->target);
        if (state->mode_known) {
            lua_pushinteger(L, (lua_Integer)stat->mode);
            lua_setfield(L, -2, "mode");
        }
        if (state->fresh)
            set_flag(L, "fresh", true);
        if (stat->type == 'f')
            set_content(L, host, state, content);
    }
    lua_pushinteger(L, wall_clock_us());
    lua_setfield(L, -2, "time");
    overlay_put(L, host, "file", state->path);
}
