/* file.present and file.copied: files with a given content. */
#include "file_write.h"

#include "binding.h"
#include "diff.h"
#include "digest.h"
#include "file_validate.h"
#include "host_value.h"
#include "secret.h"
#include "unknown.h"

#include <stdio.h>
#include <string.h>

#define LARGEST_READ ((uint64_t)64 << 20) /* what host_read reads */

bool file_target_read_old(lua_State *L, struct file_target *target)
{
    struct failure failure;
    if (target->old_known || !target->found.stat.exists)
        return true;
    switch (file_state_read(L, target->host, &target->found, &target->old_content, &failure)) {
    case FILE_READ:
        target->old_known = true;
        return true;
    case FILE_UNKNOWN:
        return false;
    default:
        file_target_raise(L, target, &failure);
        return false;
    }
}

bool file_target_read_text(lua_State *L, struct file_target *target)
{
    target->reads = target->content_asked = true;
    file_target_look(L, target, true);
    if (!target->found.stat.exists) {
        if (!argument_boolean(L, 1, target->kind, "create", false))
            file_target_error(L, target, "not-found", "add create = true to make it",
                              "the file does not exist");
        return true;
    }
    if (target->found.stat.type == 'f' && !file_target_read_old(L, target))
        target->content_unknown = true;
    return !target->content_unknown;
}

/* Is the content another? Files of different size are, without reading. */
static bool content_differs(lua_State *L, struct file_target *target)
{
    const struct file_state *found = &target->found;
    if (!target->content_asked || !found->stat.exists)
        return false;
    if (target->content_unknown || found->content == FILE_CONTENT_UNKNOWN) {
        target->inexact = true;
        return true;
    }
    const struct buffer *content = &target->new_content;
    if (!target->old_known && found->content == FILE_CONTENT_REAL && found->stat.size != content->length)
        return true;
    if (!file_target_read_old(L, target))
        return true;
    const struct buffer *old = &target->old_content;
    return old->length != content->length ||
           (old->length > 0 && memcmp(old->bytes, content->bytes, old->length) != 0);
}

static void refuse_other_kinds(lua_State *L, struct file_target *target)
{
    const struct host_stat *stat = &target->found.stat;
    if (!stat->exists || stat->type == 'f')
        return;
    const char *hint = stat->type == 'd' ? "give the path of the file in it" : "";
    file_target_error(L, target, "failed", hint, "%s is a %s, no file", target->found.path,
                      stat->type == 'd' ? "directory" : "device, socket or pipe");
}

/* [-0, +0, v] The digests of both contents and their difference, as far as they are known and may be shown. */
static void compare_contents(lua_State *L, struct file_target *target, bool differs)
{
    char old_digest[DIGEST_SIZE] = "", new_digest[DIGEST_SIZE] = "";
    bool is_new = !target->found.stat.exists;
    bool known = target->content_asked && !target->content_unknown;
    if (differs && target->found.stat.size <= LARGEST_READ)
        file_target_read_old(L, target);
    if (target->old_known)
        digest_sha256(target->old_content.bytes, target->old_content.length, old_digest);
    if (known)
        digest_sha256(target->new_content.bytes, target->new_content.length, new_digest);
    file_target_describe(target, old_digest[0] != '\0' ? old_digest : NULL,
                         new_digest[0] != '\0' ? new_digest : NULL);
    if (differs && known && (is_new || target->old_known) && !target->secret &&
        file_state_is_public(&target->found) && file_state_is_public(&target->wanted) &&
        diff_worthwhile(&target->old_content) && diff_worthwhile(&target->new_content))
        diff_unified(runtime_of(L), target->path, &target->old_content, &target->new_content, &target->diff);
}

/* Why the contents, which differ, are shown to nobody; NULL: for no such reason. */
static const char *reason_to_hide(const struct file_target *target)
{
    if (target->diff.length > 0)
        return NULL;
    if (target->secret)
        return "a secret is in them";
    bool public = file_state_is_public(&target->found) && file_state_is_public(&target->wanted);
    return public ? NULL : "not everybody may read the file";
}

static void describe_undo(struct file_target *target, unsigned differs)
{
    const char *op = !target->found.stat.exists    ? "remove"
                     : (differs & DIFFERS_CONTENT) ? "restore"
                                                   : "attributes";
    file_target_undo(target, op);
    if (target->found.stat.exists)
        file_target_undo_attributes(target);
    json_close_object(&target->undo);
}

static bool apply(struct file_target *target, unsigned differs, struct failure *failure)
{
    if ((differs & (DIFFERS_KIND | DIFFERS_CONTENT)) == 0)
        return file_target_set_attributes(target, failure);
    if (file_validate_needs_file(target) && !file_validate_candidate(target, failure))
        return false;
    return file_target_write(target, target->found.path, failure);
}

/* What the path becomes, for the journal and the overlay. */
static unsigned settle(lua_State *L, struct file_target *target)
{
    struct file_state *wanted = &target->wanted;
    unsigned differs = file_target_compare(L, target);
    if (content_differs(L, target))
        differs |= DIFFERS_CONTENT;
    wanted->stat.exists = true;
    wanted->stat.type = 'f';
    if ((differs & DIFFERS_KIND) != 0 && !target->content_asked)
        target->content_asked = true; /* nobody said what is in it: it begins empty */
    if (target->content_asked) {
        wanted->content = target->content_unknown ? FILE_CONTENT_UNKNOWN : FILE_CONTENT_PREDICTED;
        wanted->stat.size = target->new_content.length;
    }
    if (target->content_unknown)
        target->inexact = target->inexact || differs != 0;
    return differs;
}

int file_converge(lua_State *L, struct file_target *target)
{
    refuse_other_kinds(L, target);
    unsigned differs = settle(L, target);
    bool writes = (differs & (DIFFERS_KIND | DIFFERS_CONTENT)) != 0;
    if ((differs & DIFFERS_KIND) != 0)
        file_target_check_parent(L, target);
    if (differs != 0)
        file_target_check_owner(L, target);
    if (writes)
        file_validate_input(L, target);
    compare_contents(L, target, writes);
    struct change change = file_target_change(target, false);
    if (differs == 0) {
        change_unneeded(L, target->kind, target->path);
        return change_push_result(L, &change, false);
    }
    describe_undo(target, differs);
    change = file_target_change(target, (differs & DIFFERS_CONTENT) != 0);
    change.hidden = writes ? reason_to_hide(target) : NULL;
    struct failure failure;
    enum change_decision decision = change_begin(L, &change);
    if (decision == CHANGE_APPLY && !apply(target, differs, &failure)) {
        snprintf(failure.op, sizeof failure.op, "%s", target->op);
        return change_fail(L, &change, &failure);
    }
    if (decision == CHANGE_PREDICT)
        file_state_predict(L, target->host, &target->wanted,
                           target->content_asked && !target->content_unknown ? &target->new_content : NULL);
    change_end(L, &change);
    return change_push_result(L, &change, decision != CHANGE_DECLINE);
}

/* [-0, +0, v] Reads the file that the content comes from; what is not readable by everybody makes a new file private. */
static void read_source(lua_State *L, struct file_target *target, struct host *host, const char *given,
                        struct file_state *source)
{
    char path[PATH_MAX];
    struct failure failure;
    if (!file_path(host, given, path, &failure) || !file_state_get(L, host, path, true, source, &failure))
        file_target_raise(L, target, &failure);
    if (!source->stat.exists)
        file_target_error(L, target, "not-found", "give the path of an existing file as source",
                          "the source %s does not exist on %s", path, host->name);
    if (source->stat.type != 'f')
        file_target_error(L, target, "failed", "", "the source %s on %s is no file but a %s", path,
                          host->name, file_state_type(&source->stat));
    switch (file_state_read(L, host, source, &target->new_content, &failure)) {
    case FILE_FAILED:
        file_target_raise(L, target, &failure);
        break;
    case FILE_UNKNOWN:
        target->content_unknown = true;
        break;
    default:
        break;
    }
}

/* [-0, +0, v] `content`: text, a secret or, under --check, an unknown value. */
static void take_content(lua_State *L, struct file_target *target)
{
    if (unknown_is(L, -1)) {
        unknown_used(L);
        target->content_unknown = true;
    } else {
        size_t length;
        const char *bytes = secret_or_text(L, -1, target->op, &length, &target->secret);
        buffer_append(&target->new_content, bytes, length);
        /* Nobody said how: what holds a secret is its owner's alone. */
        if (target->secret)
            target->default_mode = 0600;
    }
    target->content_asked = true;
}

static void present_content(lua_State *L, struct file_target *target)
{
    const char *source = argument_string(L, 1, target->kind, "source", NULL);
    if (lua_getfield(L, 1, "content") != LUA_TNIL) {
        if (source != NULL)
            file_target_error(L, target, "usage", "leave one of them out",
                              "content and source are both given");
        take_content(L, target);
    } else if (source != NULL) {
        struct file_state *state = lua_newuserdatauv(L, sizeof *state, 0);
        target->content_asked = true;
        target->source = source;
        if (strcmp(source, UNKNOWN_TEXT) == 0) {
            target->content_unknown = true;
            return;
        }
        read_source(L, target, runtime_of(L)->local, source, state);
        if (state->mode_known && (state->stat.mode & 0004) == 0)
            target->default_mode = 0600;
    }
}

int file_present(lua_State *L)
{
    static const char *const options[] = {"content", "source", "mode", "owner", "group", "validate", NULL};
    argument_table(L, 1, "file.present", options);
    lua_settop(L, 1);
    struct file_target *target = file_target_new(L, "file.present");
    if (target->path_unknown)
        return file_target_unknown(L, target);
    present_content(L, target);
    target->reads = target->content_asked;
    file_target_look(L, target, true);
    return file_converge(L, target);
}

/* [-0, +0, v] The host that the option `from` names; the fiber's own without it. */
static struct host *source_host(lua_State *L, struct file_target *target)
{
    struct host *host = target->host;
    if (lua_getfield(L, 1, "from") != LUA_TNIL)
        host = host_value(L, -1);
    if (host == NULL)
        file_target_error(L, target, "usage", "from = host(\"NAME\")", "from is a host, not %s",
                          luaL_typename(L, -1));
    return host; /* the options table keeps it alive */
}

int file_copied(lua_State *L)
{
    static const char *const options[] = {"from", "source", "mode", "owner", "group", "validate", NULL};
    argument_table(L, 1, "file.copied", options);
    lua_settop(L, 1);
    struct file_target *target = file_target_new(L, "file.copied");
    if (target->path_unknown)
        return file_target_unknown(L, target);
    const char *source = argument_string(L, 1, target->kind, "source", NULL);
    if (source == NULL)
        file_target_error(L, target, "usage", "source = \"/path/on/that/host\"", "source is missing");
    target->content_asked = true;
    target->source = source;
    struct host *from = source_host(L, target);
    if (strcmp(source, UNKNOWN_TEXT) == 0) {
        target->content_unknown = true;
    } else {
        struct file_state *state = lua_newuserdatauv(L, sizeof *state, 0);
        read_source(L, target, from, source, state);
        if (state->mode_known)
            target->default_mode = (int)(state->stat.mode & 0777);
    }
    target->reads = target->content_asked;
    file_target_look(L, target, true);
    return file_converge(L, target);
}
