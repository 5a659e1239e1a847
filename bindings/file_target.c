/* What the state words of the file module share: looking, owners, modes, and what the gate is told. */
#include "file_target.h"

#include "binding.h"
#include "overlay.h"
#include "unknown.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char target_metatable[] = "moonbook.file_target";

static int target_gc(lua_State *L)
{
    struct file_target *target = luaL_checkudata(L, 1, target_metatable);
    buffer_wipe(&target->old_content);
    buffer_wipe(&target->new_content);
    buffer_wipe(&target->diff);
    buffer_free(&target->before.out);
    buffer_free(&target->after.out);
    buffer_free(&target->undo.out);
    return 0;
}

int file_target_raise(lua_State *L, struct file_target *target, struct failure *failure)
{
    /* Without a path the op is the function's name; the caller's words say more than the transport's "read". */
    snprintf(failure->op, sizeof failure->op, "%s", target->op);
    return failure_raise(L, failure);
}

int file_target_error(lua_State *L, struct file_target *target, const char *kind, const char *hint,
                      const char *format, ...)
{
    struct failure failure;
    char message[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    failure_set(&failure, kind, target->op, "%s", message);
    if (hint[0] != '\0')
        failure_hint(&failure, "%s", hint);
    return failure_raise(L, &failure);
}

struct file_target *file_target_new(lua_State *L, const char *kind)
{
    struct file_target *target = lua_newuserdatauv(L, sizeof *target, 0);
    *target = (struct file_target){.kind = kind, .mode = -1, .default_mode = 0644};
    if (luaL_newmetatable(L, target_metatable)) {
        lua_pushcfunction(L, target_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    target->host = host_current(runtime_of(L));
    snprintf(target->op, sizeof target->op, "%s", kind);
    const char *given = argument_subject(L, 1, kind, "path");
    struct failure failure;
    target->path_unknown = strcmp(given, UNKNOWN_TEXT) == 0;
    if (target->path_unknown)
        snprintf(target->path, sizeof target->path, "%s", given);
    else if (!file_path(target->host, given, target->path, &failure))
        file_target_raise(L, target, &failure);
    snprintf(target->op, sizeof target->op, "%s %.100s", kind, target->path);
    target->mode = argument_mode(L, 1, kind, "mode");
    target->owner = argument_string(L, 1, kind, "owner", NULL);
    target->group = argument_string(L, 1, kind, "group", NULL);
    target->validate = argument_list(L, 1, kind, "validate");
    if (target->validate != NULL && target->validate[0] == NULL)
        file_target_error(L, target, "usage", "give a command and its arguments", "validate is empty");
    if (given[strlen(given) - 1] == '/' && strcmp(target->path, "/") != 0 &&
        strcmp(kind, "file.directory") != 0)
        file_target_error(L, target, "usage", "", "'%s' ends in a slash: give the name too", given);
    return target;
}

void file_target_look(lua_State *L, struct file_target *target, bool follow)
{
    struct failure failure;
    bool found = target->reads
                     ? file_state_get_read(L, target->host, target->path, &target->found,
                                           &target->old_content, &target->old_known, &failure)
                     : file_state_get(L, target->host, target->path, follow, &target->found, &failure);
    if (!found)
        file_target_raise(L, target, &failure);
    target->wanted = target->found;
}

/* Is `asked`, a name or a number, what the path has? */
static bool same_identity(const char *asked, const char *name, unsigned number, bool predicted)
{
    char digits[16];
    snprintf(digits, sizeof digits, "%u", number);
    return strcmp(asked, name) == 0 || (!predicted && strcmp(asked, digits) == 0);
}

static bool compare_mode(struct file_target *target)
{
    struct file_state *found = &target->found, *wanted = &target->wanted;
    bool is_new = !found->stat.exists;
    int mode = target->mode >= 0 ? target->mode : is_new ? target->default_mode : -1;
    if (mode < 0 || (found->mode_known && found->stat.mode == (mode_t)mode))
        return false;
    if (!is_new && !found->mode_known)
        target->inexact = true;
    wanted->stat.mode = (mode_t)mode;
    wanted->mode_known = true;
    return true;
}

/* One of owner and group: true where it differs, with what is wanted noted. */
static bool compare_identity(struct file_target *target, const char *asked, unsigned number, bool known,
                             char name[64], bool *wanted_known)
{
    if (asked == NULL || (known && same_identity(asked, name, number, target->found.predicted)))
        return false;
    if (target->found.stat.exists && !known)
        target->inexact = true;
    snprintf(name, 64, "%s", asked);
    *wanted_known = true;
    return true;
}

unsigned file_target_compare(lua_State *L, struct file_target *target)
{
    (void)L;
    const struct file_state *found = &target->found;
    struct file_state *wanted = &target->wanted;
    unsigned differs = 0;
    if (compare_mode(target))
        differs |= DIFFERS_MODE;
    bool owner = compare_identity(target, target->owner, found->stat.uid, found->owner_known,
                                  wanted->stat.owner, &wanted->owner_known);
    bool group = compare_identity(target, target->group, found->stat.gid, found->group_known,
                                  wanted->stat.group, &wanted->group_known);
    if (owner || group)
        differs |= DIFFERS_OWNER;
    if (found->stat.exists)
        return differs;
    return DIFFERS_KIND;
}

/* Does the host know the name? A number needs nobody to know it. */
static bool identity_exists(struct file_target *target, const char *database, const char *name, bool *exists,
                            struct failure *failure)
{
    *exists = true;
    if (name[strspn(name, "0123456789")] == '\0' && name[0] != '\0')
        return true;
    const char *argv[] = {"getent", "--", database, name, NULL};
    struct host_command command = {.argv = argv, .timeout_ms = 30000};
    struct process_result result = {0};
    bool ran = host_run(target->host, &command, &result, failure);
    if (ran)
        *exists = result.status == 0;
    process_result_free(&result);
    return ran;
}

static void check_identity(lua_State *L, struct file_target *target, const char *name, const char *what,
                           const char *database)
{
    struct failure failure;
    bool exists;
    if (name == NULL || strcmp(name, UNKNOWN_TEXT) == 0)
        return;
    if (overlay_get(L, target->host, what, name)) {
        bool predicted = lua_toboolean(L, -1);
        if (predicted && lua_istable(L, -1))
            predicted = lua_getfield(L, -1, "exists") == LUA_TNIL || lua_toboolean(L, -1);
        if (predicted)
            return;
    }
    if (!identity_exists(target, database, name, &exists, &failure))
        file_target_raise(L, target, &failure);
    if (!exists) {
        char hint[256];
        snprintf(hint, sizeof hint,
                 "create it first, or install the package that brings it; under --check say so "
                 "with apt.installed{..., brings = {%ss = {\"%.60s\"}}}",
                 what, name);
        file_target_error(L, target, "not-found", hint, "there is no %s '%s' on %s", what, name,
                          target->host->name);
    }
}

void file_target_check_owner(lua_State *L, struct file_target *target)
{
    int top = lua_gettop(L);
    check_identity(L, target, target->owner, "user", "passwd");
    check_identity(L, target, target->group, "group", "group");
    lua_settop(L, top);
}

void file_target_check_parent(lua_State *L, struct file_target *target)
{
    /* Kept in a userdata: two paths of this size are too much for a C stack that Lua shares. */
    struct file_state *state = lua_newuserdatauv(L, sizeof *state, 0);
    char parent[PATH_MAX];
    struct failure failure;
    file_parent(target->found.path, parent);
    if (!file_state_get(L, target->host, parent, true, state, &failure))
        file_target_raise(L, target, &failure);
    char hint[512];
    snprintf(hint, sizeof hint, "make it first: file.directory{\"%.400s\"}", parent);
    if (!state->stat.exists)
        file_target_error(L, target, "not-found", hint, "the folder %s does not exist", parent);
    if (state->stat.type != 'd')
        file_target_error(L, target, "failed", "", "%s is no directory", parent);
    lua_pop(L, 1);
}

bool file_target_run(struct file_target *target, const char *const *argv, struct failure *failure)
{
    static const char *const environment[] = {"LC_ALL=C", NULL}; /* its messages are read below */
    struct host_command command = {.argv = argv, .environment = environment};
    if (host_check(target->host, &command, NULL, failure))
        return true;
    if (strstr(failure->message, "Permission denied") != NULL ||
        strstr(failure->message, "Operation not permitted") != NULL) {
        snprintf(failure->kind, sizeof failure->kind, "permission");
        failure_hint(failure, "run it as a user who may, or with --sudo");
    }
    return false;
}

struct host_attributes file_target_attributes(const struct file_target *target)
{
    const struct file_state *wanted = &target->wanted;
    return (struct host_attributes){
        .mode = wanted->mode_known ? (int)wanted->stat.mode : -1,
        .owner = target->owner,
        .group = target->group,
    };
}

bool file_target_set_attributes(struct file_target *target, struct failure *failure)
{
    struct host_attributes attributes = file_target_attributes(target);
    return host_set_attributes(target->host, target->found.path, &target->found.stat, &attributes, failure);
}

static void text_member(struct json_text *json, const char *name, const char *value)
{
    json_key(json, name);
    json_string(json, value);
}

static void mode_member(struct json_text *json, mode_t mode)
{
    char digits[8];
    snprintf(digits, sizeof digits, "%04o", (unsigned)mode);
    text_member(json, "mode", digits);
}

static void attribute_members(struct json_text *json, const struct file_state *state)
{
    if (state->mode_known && state->stat.type != 'l')
        mode_member(json, state->stat.mode);
    if (state->owner_known && state->stat.owner[0] != '\0')
        text_member(json, "owner", state->stat.owner);
    if (state->group_known && state->stat.group[0] != '\0')
        text_member(json, "group", state->stat.group);
}

static void describe_state(struct json_text *json, const struct file_target *target,
                           const struct file_state *state, const char *digest)
{
    buffer_clear(&json->out);
    json->comma = false;
    json_open_object(json);
    text_member(json, "type", file_state_type(&state->stat));
    if (state->stat.exists) {
        if (strcmp(state->path, target->path) != 0)
            text_member(json, "path", state->path); /* what a symbolic link leads to */
        attribute_members(json, state);
        if (state->stat.type == 'f' && state->content != FILE_CONTENT_UNKNOWN) {
            json_key(json, "size");
            json_integer(json, (long long)state->stat.size);
        }
        if (digest != NULL)
            text_member(json, "sha256", digest);
        if (state->stat.type == 'l')
            text_member(json, "target", state->stat.target);
    }
    json_close_object(json);
}

void file_target_describe(struct file_target *target, const char *old_digest, const char *new_digest)
{
    describe_state(&target->before, target, &target->found, old_digest);
    describe_state(&target->after, target, &target->wanted, new_digest);
}

void file_target_undo(struct file_target *target, const char *op)
{
    buffer_clear(&target->undo.out);
    target->undo.comma = false;
    json_open_object(&target->undo);
    text_member(&target->undo, "op", op);
    text_member(&target->undo, "path", target->found.path);
}

void file_target_undo_attributes(struct file_target *target)
{
    attribute_members(&target->undo, &target->found);
}

int file_target_unknown(lua_State *L, struct file_target *target)
{
    struct change change = {.kind = target->kind, .target = target->path, .inexact = true};
    change_begin(L, &change);
    change_end(L, &change);
    return change_push_result(L, &change, true);
}

struct change file_target_change(struct file_target *target, bool keep)
{
    return (struct change){
        .kind = target->kind,
        .target = target->path,
        .before = buffer_text(&target->before.out),
        .after = buffer_text(&target->after.out),
        .undo = target->undo.out.length > 0 ? buffer_text(&target->undo.out) : NULL,
        .diff = target->diff.length > 0 ? buffer_text(&target->diff) : NULL,
        .keep = keep ? target->found.path : NULL,
        .inexact = target->inexact,
    };
}
