/* file.directory, file.link and file.absent. */
#include "file_tree.h"

#include "binding.h"
#include "file_target.h"
#include "overlay.h"
#include "unknown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARENT_MODE 0755

/* [-0, +1, v] Tells the gate, and applies or predicts. `predict` may be NULL where `wanted` says it all. */
static int pass_gate(lua_State *L, struct file_target *target, bool keep,
                     bool (*apply)(struct file_target *target, struct failure *failure),
                     void (*predict)(lua_State *L, struct file_target *target))
{
    struct failure failure;
    struct change change = file_target_change(target, keep);
    enum change_decision decision = change_begin(L, &change);
    if (decision == CHANGE_APPLY && !apply(target, &failure)) {
        snprintf(failure.op, sizeof failure.op, "%s", target->op);
        return change_fail(L, &change, &failure);
    }
    if (decision == CHANGE_PREDICT && predict != NULL)
        predict(L, target);
    if (decision == CHANGE_PREDICT)
        file_state_predict(L, target->host, &target->wanted, NULL);
    change_end(L, &change);
    return change_push_result(L, &change, decision != CHANGE_DECLINE);
}

static int nothing_to_do(lua_State *L, struct file_target *target)
{
    file_target_describe(target, NULL, NULL);
    struct change change = file_target_change(target, false);
    change_unneeded(L, target->kind, target->path);
    return change_push_result(L, &change, false);
}

/* ---- directories ---- */

static bool make_directory(struct file_target *target, struct failure *failure)
{
    if (target->found.stat.exists)
        return file_target_set_attributes(target, failure);
    struct host_attributes attributes = file_target_attributes(target);
    return host_make_directory(target->host, target->found.path, &attributes, failure);
}

/* [-0, +0, v] Goes up from the path to the first folder that exists; calls `visit` for each that does not. */
static void visit_missing_parents(lua_State *L, struct file_target *target,
                                  void (*visit)(lua_State *L, struct file_target *target,
                                                struct file_state *missing))
{
    struct file_state *state = lua_newuserdatauv(L, sizeof *state, 0);
    char path[PATH_MAX], next[PATH_MAX];
    struct failure failure;
    file_parent(target->found.path, path);
    for (;;) {
        if (!file_state_get(L, target->host, path, true, state, &failure))
            file_target_raise(L, target, &failure);
        if (state->stat.exists && state->stat.type != 'd')
            file_target_error(L, target, "failed", "move it away, or choose another path",
                              "%s is in the way: it is a %s", path, file_state_type(&state->stat));
        if (state->stat.exists)
            break;
        visit(L, target, state);
        file_parent(path, next);
        memcpy(path, next, sizeof path);
    }
    lua_pop(L, 1);
}

static void note_parent(lua_State *L, struct file_target *target, struct file_state *missing)
{
    (void)L;
    json_string(&target->undo, missing->path);
}

static void predict_parent(lua_State *L, struct file_target *target, struct file_state *missing)
{
    missing->stat = (struct host_stat){.exists = true, .type = 'd', .mode = PARENT_MODE};
    missing->mode_known = missing->fresh = true;
    file_state_predict(L, target->host, missing, NULL);
}

static void predict_parents(lua_State *L, struct file_target *target)
{
    if (!target->found.stat.exists)
        visit_missing_parents(L, target, predict_parent);
}

/* The undo of a new directory lists what to remove, the deepest first: parents were made too. */
static void describe_directory(lua_State *L, struct file_target *target)
{
    bool is_new = !target->found.stat.exists;
    file_target_describe(target, NULL, NULL);
    file_target_undo(target, is_new ? "remove" : "attributes");
    if (is_new) {
        json_key(&target->undo, "directories");
        json_open_array(&target->undo);
        json_string(&target->undo, target->found.path);
        visit_missing_parents(L, target, note_parent);
        json_close_array(&target->undo);
    } else {
        file_target_undo_attributes(target);
    }
    json_close_object(&target->undo);
}

int file_directory(lua_State *L)
{
    static const char *const options[] = {"mode", "owner", "group", NULL};
    argument_table(L, 1, "file.directory", options);
    lua_settop(L, 1);
    struct file_target *target = file_target_new(L, "file.directory");
    if (target->path_unknown)
        return file_target_unknown(L, target);
    target->default_mode = PARENT_MODE;
    file_target_look(L, target, true);
    struct host_stat *wanted = &target->wanted.stat;
    if (wanted->exists && wanted->type != 'd')
        file_target_error(L, target, "failed", "move it away, or remove it with file.absent",
                          "%s is in the way: it is a %s", target->found.path, file_state_type(wanted));
    unsigned differs = file_target_compare(L, target);
    if (differs == 0)
        return nothing_to_do(L, target);
    target->wanted.fresh = target->found.fresh || !wanted->exists;
    wanted->exists = true;
    wanted->type = 'd';
    file_target_check_owner(L, target);
    describe_directory(L, target);
    return pass_gate(L, target, false, make_directory, predict_parents);
}

/* ---- links ---- */

/* GNU ln -f makes the new link beside and renames it. */
static bool make_link(struct file_target *target, struct failure *failure)
{
    const char *argv[] = {"ln", "-s", "-f", "-T", "--", target->wanted.stat.target, target->found.path, NULL};
    return file_target_run(target, argv, failure);
}

int file_link(lua_State *L)
{
    static const char *const options[] = {"to", NULL};
    argument_table(L, 1, "file.link", options);
    lua_settop(L, 1);
    struct file_target *target = file_target_new(L, "file.link");
    if (target->path_unknown)
        return file_target_unknown(L, target);
    const char *to = argument_string(L, 1, target->kind, "to", NULL);
    if (to == NULL || to[0] == '\0')
        file_target_error(L, target, "usage", "to = \"PATH\"", "to is missing: where the link points");
    file_target_look(L, target, false);
    const struct host_stat *found = &target->found.stat;
    struct host_stat *wanted = &target->wanted.stat;
    if (strlen(to) >= sizeof wanted->target)
        file_target_error(L, target, "usage", "", "to has more than %zu bytes", sizeof wanted->target - 1);
    if (found->exists && found->type != 'l')
        file_target_error(L, target, "failed", "move it away, or remove it with file.absent",
                          "%s is in the way: it is a %s", target->path, file_state_type(found));
    if (found->exists && strcmp(found->target, to) == 0)
        return nothing_to_do(L, target);
    target->inexact = strcmp(to, UNKNOWN_TEXT) == 0;
    if (!found->exists)
        file_target_check_parent(L, target);
    wanted->exists = true;
    wanted->type = 'l';
    snprintf(wanted->target, sizeof wanted->target, "%s", to);
    file_target_describe(target, NULL, NULL);
    file_target_undo(target, found->exists ? "link" : "remove");
    if (found->exists) {
        json_key(&target->undo, "to");
        json_string(&target->undo, found->target);
    }
    json_close_object(&target->undo);
    return pass_gate(L, target, found->exists, make_link, NULL);
}

/* ---- absent ---- */

static bool remove_one(struct file_target *target, struct failure *failure)
{
    const char *rm[] = {"rm", "-f", "--", target->found.path, NULL}; /* -f: no question on a read-only file */
    const char *rmdir[] = {"rmdir", "--", target->found.path, NULL};
    return file_target_run(target, target->found.stat.type == 'd' ? rmdir : rm, failure);
}

static bool remove_tree(struct file_target *target, struct failure *failure)
{
    const char *argv[] = {"rm", "-r", "-f", "--one-file-system", "--", target->found.path, NULL};
    return file_target_run(target, argv, failure);
}

/* Without these no system runs; nobody removes them on purpose with a runbook. */
static void refuse_vital(lua_State *L, struct file_target *target)
{
    static const char *const vital[] = {
        "/",          "/bin",   "/boot",    "/dev",     "/etc",     "/home",    "/lib",       "/lib32",
        "/lib64",     "/media", "/mnt",     "/opt",     "/proc",    "/root",    "/run",       "/sbin",
        "/srv",       "/sys",   "/tmp",     "/usr",     "/usr/bin", "/usr/lib", "/usr/local", "/usr/sbin",
        "/usr/share", "/var",   "/var/lib", "/var/log", "/var/tmp", NULL};
    for (size_t i = 0; vital[i] != NULL; i++)
        if (strcmp(target->path, vital[i]) == 0)
            file_target_error(L, target, "usage", "name what is to go below it", "%s is never removed",
                              target->path);
    /* Where ".." leads depends on links: the list above could be got round. */
    if (strstr(target->path, "/../") != NULL ||
        (strlen(target->path) >= 3 && strcmp(target->path + strlen(target->path) - 3, "/..") == 0))
        file_target_error(L, target, "usage", "give the path without '..'", "%s has '..' in it",
                          target->path);
}

static bool visit_below(lua_State *L, const char *name, void *folder)
{
    return file_predicted_below(L, name, folder);
}

/* [-0, +0, m] Would earlier steps have put something into the directory? */
static bool has_predicted(lua_State *L, struct file_target *target)
{
    return overlay_each(L, target->host, "file", visit_below, target->found.path);
}

static bool visit_gone(lua_State *L, const char *name, void *context)
{
    struct file_target *target = context;
    if (!file_predicted_below(L, name, target->found.path))
        return false;
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "exists");
    overlay_put(L, target->host, "file", name);
    return false;
}

/* [-0, +0, m] A directory that goes takes along what was predicted in it. */
static void predict_children_gone(lua_State *L, struct file_target *target)
{
    overlay_each(L, target->host, "file", visit_gone, target);
}

static bool predicted_away(lua_State *L, struct file_target *target, const char *path)
{
    if (!overlay_get(L, target->host, "file", path))
        return false;
    lua_getfield(L, -1, "exists");
    bool exists = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return !exists;
}

/* Lists what is in the directory, each name ended by NUL, into `new_content`: a buffer that the target owns and a
 * removal has no other use for. */
static void list_directory(lua_State *L, struct file_target *target)
{
    struct failure failure;
    const char *argv[] = {"find", target->found.path, "-mindepth", "1", "-maxdepth", "1", "-print0", NULL};
    struct host_command command = {.argv = argv};
    if (!host_check(target->host, &command, &target->new_content, &failure))
        file_target_raise(L, target, &failure);
}

/* [-0, +0, v] Is there nothing in the directory, as far as this fiber is to know? */
static bool directory_is_empty(lua_State *L, struct file_target *target)
{
    if (has_predicted(L, target))
        return false;
    if (target->found.fresh || (target->found.predicted && !target->found.mode_known))
        return true;
    list_directory(L, target);
    const char *name = buffer_text(&target->new_content);
    const char *end = name + target->new_content.length;
    for (; name < end; name += strlen(name) + 1)
        if (!predicted_away(L, target, name))
            return false;
    return true;
}

/* What was there is kept on the host and put back by undo; of a directory with something in it too much would be. */
static void describe_removal(struct file_target *target, bool empty)
{
    file_target_describe(target, NULL, NULL);
    char type = target->found.stat.type;
    if (type == 'o' || (type == 'd' && !empty))
        return;
    file_target_undo(target, type == 'd' ? "directory" : type == 'l' ? "link" : "restore");
    if (type == 'l') {
        json_key(&target->undo, "to");
        json_string(&target->undo, target->found.stat.target);
    }
    file_target_undo_attributes(target);
    json_close_object(&target->undo);
}

int file_absent(lua_State *L)
{
    static const char *const options[] = {"recursive", NULL};
    argument_table(L, 1, "file.absent", options);
    lua_settop(L, 1);
    struct file_target *target = file_target_new(L, "file.absent");
    if (target->path_unknown)
        return file_target_unknown(L, target);
    bool recursive = argument_boolean(L, 1, target->kind, "recursive", false);
    refuse_vital(L, target);
    file_target_look(L, target, false);
    const struct host_stat *found = &target->found.stat;
    if (!found->exists)
        return nothing_to_do(L, target);
    bool empty = found->type != 'd' || directory_is_empty(L, target);
    if (!empty && !recursive)
        file_target_error(L, target, "failed", "add recursive = true to remove it with all that is in it",
                          "%s is not empty", target->path);
    target->wanted.stat = (struct host_stat){0};
    describe_removal(target, empty);
    bool keep = found->type == 'f' || found->type == 'l';
    return pass_gate(L, target, keep, empty ? remove_one : remove_tree, predict_children_gone);
}
