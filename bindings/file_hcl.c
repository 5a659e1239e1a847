/* file.hcl: the arguments, and the edits of the file's text between them. */
#include "file_hcl.h"

#include "binding.h"
#include "file_write.h"
#include "hcl_lua.h"
#include "json.h"
#include "unknown.h"

#include <stdlib.h>
#include <string.h>

struct key {
    const char *bytes;
    size_t length;
};

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    return strcmp(a->bytes, b->bytes);
}

/* [-0, +2, v] The paths of the option `set` in order, so that an outer one comes before what is in it: an array of
 * them in a userdata, on top of the option itself (nil where it is missing). */
static struct key *sorted_paths(lua_State *L, struct file_target *target, size_t *count)
{
    int type = lua_getfield(L, 1, "set");
    *count = 0;
    if (type != LUA_TNIL && (type != LUA_TTABLE || unknown_is(L, -1)))
        file_target_error(L, target, "usage", "set = {[\"client.reserved.cpu\"] = 4}",
                          "set is a table of paths and values, not %s", luaL_typename(L, -1));
    for (lua_pushnil(L); type == LUA_TTABLE && lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            file_target_error(L, target, "usage", "set = {[\"client.reserved.cpu\"] = 4}",
                              "set has a key that is no path but %s", luaL_typename(L, -2));
        ++*count;
    }
    struct key *keys = lua_newuserdatauv(L, (*count + 1) * sizeof *keys, 0);
    size_t i = 0;
    if (type == LUA_TTABLE)
        for (lua_pushnil(L); lua_next(L, -3) && i < *count; i++) {
            lua_pop(L, 1);
            keys[i].bytes = lua_tolstring(L, -1, &keys[i].length);
        }
    qsort(keys, *count, sizeof *keys, compare_keys);
    return keys;
}

static void remove_paths(lua_State *L, struct file_target *target, struct hcl_work *work, const char **paths)
{
    for (size_t i = 0; paths != NULL && paths[i] != NULL; i++) {
        if (strcmp(paths[i], UNKNOWN_TEXT) == 0) {
            work->unknown = true;
            continue;
        }
        hcl_work_path(L, work, paths[i], strlen(paths[i]));
        if (!hcl_remove(&work->editor, &work->path))
            file_target_raise(L, target, &work->failure);
    }
}

/* [-0, +0, v] The option `set` is at `index`. */
static void set_paths(lua_State *L, struct file_target *target, struct hcl_work *work, int index,
                      const struct key *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hcl_work_path(L, work, keys[i].bytes, keys[i].length);
        lua_pushlstring(L, keys[i].bytes, keys[i].length);
        lua_rawget(L, index);
        struct hcl_value value = hcl_work_value(L, work, -1);
        lua_pop(L, 1);
        if (!hcl_set(&work->editor, &work->path, value))
            file_target_raise(L, target, &work->failure);
    }
}

/* A new file for JSON begins as an empty object. */
static const char *first_text(const struct file_target *target)
{
    size_t length = strlen(target->path);
    if (target->old_content.length > 0)
        return target->old_content.bytes;
    return length > 5 && strcmp(target->path + length - 5, ".json") == 0 ? "{}\n" : "";
}

/* [-0, +0, v] Makes the new content of the old one. */
static void edit(lua_State *L, struct file_target *target, struct hcl_work *work, const char **removed)
{
    size_t count, length = target->old_content.length;
    struct key *keys = sorted_paths(L, target, &count);
    int index = lua_gettop(L) - 1;
    const char *text = first_text(target);
    hcl_work_parse(L, work, text, length > 0 ? length : strlen(text));
    remove_paths(L, target, work, removed);
    set_paths(L, target, work, index, keys, count);
    target->secret = target->secret || work->secret;
    if (target->secret)
        target->default_mode = 0600;
    target->content_unknown = target->content_unknown || work->unknown;
    buffer_append(&target->new_content, buffer_text(&work->editor.text), work->editor.text.length);
    if (count == 0 && length == 0)
        buffer_clear(&target->new_content); /* nothing was asked for: an empty file stays one */
}

int file_hcl(lua_State *L)
{
    static const char *const options[] = {"set",   "remove", "create",   "mode",
                                          "owner", "group",  "validate", NULL};
    argument_table(L, 1, "file.hcl", options);
    lua_settop(L, 1);
    struct file_target *target = file_target_new(L, "file.hcl");
    if (target->path_unknown)
        return file_target_unknown(L, target);
    const char **removed = argument_list(L, 1, target->kind, "remove");
    if (removed == NULL && lua_getfield(L, 1, "set") == LUA_TNIL)
        file_target_error(L, target, "usage", "set = {[\"client.reserved.cpu\"] = 4}, remove = {\"server\"}",
                          "neither set nor remove is given");
    if (file_target_read_text(L, target)) {
        struct hcl_work *work = hcl_work_open(L, target->op);
        work->hidden = !file_state_is_public(&target->found);
        if (target->found.stat.exists && target->found.stat.type != 'f')
            return file_converge(L, target); /* which refuses it */
        edit(L, target, work, removed);
    }
    return file_converge(L, target);
}
