/* The module `file`: what is in the file system of the fiber's host. Here are its reads and its table; the state
 * words live in file_write.c, file_lines.c and file_tree.c. */
#include "binding.h"
#include "file_hcl.h"
#include "file_lines.h"
#include "file_state.h"
#include "file_tree.h"
#include "file_write.h"
#include "overlay.h"
#include "unknown.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

static const char buffer_metatable[] = "moonbook.file_buffer";

static int buffer_gc(lua_State *L)
{
    buffer_wipe(luaL_checkudata(L, 1, buffer_metatable));
    return 0;
}

/* [-0, +1, m] A buffer that Lua owns. */
static struct buffer *push_buffer(lua_State *L)
{
    struct buffer *buffer = lua_newuserdatauv(L, sizeof *buffer, 0);
    *buffer = (struct buffer){0};
    if (luaL_newmetatable(L, buffer_metatable)) {
        lua_pushcfunction(L, buffer_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return buffer;
}

/* [-0, +0, v] Raises what a read found wrong, named as the script called it. */
static void raise_read(lua_State *L, const char *op, const char *path, struct failure *failure)
{
    snprintf(failure->op, sizeof failure->op, "%s %.100s", op, path);
    failure_raise(L, failure);
}

/* [-0, +0, v] The path argument, made absolute. False where --check cannot know it. */
static bool path_argument(lua_State *L, const char *op, struct host *host, char path[PATH_MAX])
{
    struct failure failure;
    if (unknown_is(L, 1)) {
        unknown_used(L);
        return false;
    }
    if (lua_type(L, 1) != LUA_TSTRING)
        failure_error(L, "usage", op, "the path is text, not %s", luaL_typename(L, 1));
    size_t length;
    const char *given = lua_tolstring(L, 1, &length);
    if (length == 0 || strlen(given) != length)
        failure_error(L, "usage", op, length == 0 ? "the path is empty" : "the path has a NUL byte in it");
    if (!file_path(host, given, path, &failure))
        raise_read(L, op, given, &failure);
    return true;
}

static int file_read_function(lua_State *L)
{
    static const char op[] = "file.read";
    struct host *host = host_current(runtime_of(L));
    char path[PATH_MAX];
    struct failure failure;
    if (!path_argument(L, op, host, path)) {
        unknown_push(L);
        return 1;
    }
    struct buffer *content = push_buffer(L);
    struct file_state *state = lua_newuserdatauv(L, sizeof *state, 0);
    enum file_read outcome = FILE_FAILED;
    bool missing = false;
    if (!runtime_of(L)->options.check) {
        /* No look before: one way to the host is enough, and the file may go away between two. */
        if (host_read(host, path, content, &failure))
            outcome = FILE_READ;
        else
            missing = strcmp(failure.kind, "not-found") == 0;
    } else if (file_state_get(L, host, path, true, state, &failure)) {
        missing = !state->stat.exists;
        if (!missing)
            outcome = file_state_read(L, host, state, content, &failure);
    }
    if (outcome == FILE_FAILED && !missing)
        raise_read(L, op, path, &failure);
    if (missing)
        lua_pushnil(L);
    else if (outcome == FILE_UNKNOWN)
        unknown_push(L);
    else
        lua_pushlstring(L, buffer_text(content), content->length);
    return 1;
}

static void set_text(lua_State *L, const char *name, bool known, const char *value)
{
    if (!known)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void set_time(lua_State *L, const char *name, int64_t us)
{
    lua_pushnumber(L, (lua_Number)us / 1e6);
    lua_setfield(L, -2, name);
}

/* [-0, +1, m] The table that file.stat returns. */
static void push_stat(lua_State *L, const struct file_state *state)
{
    const struct host_stat *stat = &state->stat;
    char mode[8];
    lua_createtable(L, 0, 8);
    snprintf(mode, sizeof mode, "%04o", (unsigned)stat->mode);
    set_text(L, "type", true, file_state_type(stat));
    set_text(L, "mode", state->mode_known, mode);
    set_text(L, "owner", state->owner_known, stat->owner);
    set_text(L, "group", state->group_known, stat->group);
    set_text(L, "target", stat->type == 'l', stat->target);
    if (stat->type == 'f' && state->content != FILE_CONTENT_UNKNOWN) {
        lua_pushinteger(L, (lua_Integer)stat->size);
        lua_setfield(L, -2, "size");
    }
    set_time(L, "mtime", stat->mtime_us);
    set_time(L, "ctime", stat->ctime_us);
}

/* [-0, +1, v] Looks at the path argument; NULL, and nothing pushed, where --check cannot know which path it is. */
static struct file_state *look(lua_State *L, const char *op)
{
    struct host *host = host_current(runtime_of(L));
    char path[PATH_MAX];
    struct failure failure;
    if (!path_argument(L, op, host, path))
        return NULL;
    struct file_state *state = lua_newuserdatauv(L, sizeof *state, 0);
    if (!file_state_get(L, host, path, false, state, &failure))
        raise_read(L, op, path, &failure);
    return state;
}

static int file_stat_function(lua_State *L)
{
    const struct file_state *state = look(L, "file.stat");
    if (state == NULL)
        unknown_push(L);
    else if (state->stat.exists)
        push_stat(L, state);
    else
        lua_pushnil(L);
    return 1;
}

static int file_exists_function(lua_State *L)
{
    const struct file_state *state = look(L, "file.exists");
    if (state == NULL)
        unknown_push(L);
    else
        lua_pushboolean(L, state->stat.exists);
    return 1;
}

/* [-0, +0, v] Expands the pattern on the host. The shell sees it as the value of a parameter: with IFS empty that is
 * expanded as a pattern and nothing else. */
static void expand(lua_State *L, struct host *host, const char *pattern, struct buffer *names)
{
    static const char script[] = "IFS=; for p in $1; do "
                                 "if [ -e \"$p\" ] || [ -L \"$p\" ]; then printf '%s\\0' \"$p\"; fi; done";
    static const char *const environment[] = {"LC_ALL=C", NULL};
    const char *argv[] = {"sh", "-c", script, "sh", pattern, NULL};
    struct host_command command = {.argv = argv, .environment = environment};
    struct failure failure;
    if (!host_check(host, &command, names, &failure))
        raise_read(L, "file.glob", pattern, &failure);
}

struct matches {
    const char *pattern;
    int result;
};

static bool visit_match(lua_State *L, const char *path, void *context)
{
    const struct matches *matches = context;
    if (!lua_istable(L, -1) || fnmatch(matches->pattern, path, FNM_PATHNAME | FNM_PERIOD) != 0)
        return false;
    lua_getfield(L, -1, "exists");
    if (lua_toboolean(L, -1)) {
        lua_pushstring(L, path);
        lua_rawseti(L, matches->result, (lua_Integer)lua_rawlen(L, matches->result) + 1);
    }
    lua_pop(L, 1);
    return false;
}

/* [-0, +0, m] Adds what only the overlay has; the result is on top of the stack. */
static void add_predicted(lua_State *L, struct host *host, const char *pattern)
{
    struct matches matches = {pattern, lua_gettop(L)};
    overlay_each(L, host, "file", visit_match, &matches);
}

static int file_glob_function(lua_State *L)
{
    struct host *host = host_current(runtime_of(L));
    bool check = runtime_of(L)->options.check;
    char pattern[PATH_MAX];
    struct failure failure;
    if (!path_argument(L, "file.glob", host, pattern)) {
        unknown_push(L);
        return 1;
    }
    struct buffer *names = push_buffer(L);
    struct file_state *state = lua_newuserdatauv(L, sizeof *state, 0);
    expand(L, host, pattern, names);
    lua_newtable(L);
    const char *name = buffer_text(names), *end = name + names->length;
    for (lua_Integer count = 0; name < end; name += strlen(name) + 1) {
        if (check) {
            if (!file_state_get(L, host, name, false, state, &failure))
                raise_read(L, "file.glob", name, &failure);
            if (!state->stat.exists || state->predicted)
                continue; /* what is predicted and there comes from the overlay */
        }
        lua_pushstring(L, name);
        lua_rawseti(L, -2, ++count);
    }
    if (check) {
        add_predicted(L, host, pattern);
        luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
        lua_getfield(L, -1, "table");
        lua_getfield(L, -1, "sort");
        lua_pushvalue(L, -4);
        lua_call(L, 1, 0);
        lua_pop(L, 2);
    }
    return 1;
}

#define ATTRIBUTES                                                                                           \
    "mode is octal text (\"0640\"), owner and group are names or numbers; what is left out stays as it is. "
#define VALIDATE                                                                                             \
    "validate is a checker's argv, {\"dnsmasq\", \"--test\", \"--conf-file=-\"}: it gets the new content "   \
    "on "                                                                                                    \
    "standard input, or, where an argument has %s, the path of a hidden copy beside the file; unless it "    \
    "ends "                                                                                                  \
    "with 0 the file is left as it is and \"invalid\" is raised with what the checker said. "
#define RESULT " -> {changed=, before=, after=}"

static const struct binding_function functions[] = {
    {"present", file_present, "file.present{path, content=|source=, mode=, owner=, group=, validate=}" RESULT,
     "A file is there with this content: text, a secret, or that of `source`, a path on the operator's "
     "machine. "
     "Without both only its being there, mode and owner matter. " ATTRIBUTES
     "A new file has 0644; 0600 if it holds a secret or its source is not readable by everybody. A symbolic "
     "link at the path is kept, what it leads to is written; never half, always whole. " VALIDATE
     "Raises \"not-found\" (source, folder, owner), \"permission\", \"invalid\", \"failed\" (no file is "
     "there).",
     "local path = os.tmpname()\n"
     "assert(file.present{path, content = \"a = 1\\n\", mode = \"0640\"}.changed)\n"
     "assert(not file.present{path, content = \"a = 1\\n\", mode = \"0640\"}.changed)\n"
     "file.absent{path}"},
    {"line", file_line,
     "file.line{path, line=, matching=, after=, before=, create=false, mode=, owner=, group=, "
     "validate=}" RESULT,
     "Each line of `line` (text or list) is in the file. With `matching`, a Lua pattern, the lines that "
     "match it "
     "become exactly these: those wanted stay, others are replaced in place, surplus ones removed; {} "
     "removes all. "
     "Missing lines come after the last match, else behind the last line that matches the pattern `after`, "
     "or "
     "ahead of the first that matches `before`, else at the end. Line endings and a missing last newline are "
     "kept. " ATTRIBUTES VALIDATE "Raises \"not-found\" for a file that is not there, unless create=true; "
     "\"usage\" for a malformed pattern.",
     "local path = os.tmpname()\n"
     "file.present{path, content = \"port=53\\nserver=/consul/10.0.0.1\\n\"}\n"
     "file.line{path, line = \"server=/consul/10.0.0.2\", matching = \"^server=/consul/\"}\n"
     "assert(file.read(path) == \"port=53\\nserver=/consul/10.0.0.2\\n\")\n"
     "file.absent{path}"},
    {"block", file_block,
     "file.block{path, content=, marker=\"moonbook\", comment=\"#\", after=, before=, create=false, mode=, "
     "owner=, "
     "group=, validate=}" RESULT,
     "The lines between \"# BEGIN marker\" and \"# END marker\" are `content`; \"\" removes the block. A new "
     "block "
     "goes where `after` or `before` say, as with file.line, else to the end. " ATTRIBUTES VALIDATE
     "Raises \"invalid\" where the markers are not a pair, \"not-found\" for a missing file unless "
     "create=true.",
     "local path = os.tmpname()\n"
     "file.block{path, content = \"10.0.0.1 a\\n10.0.0.2 b\\n\", marker = \"cluster\"}\n"
     "assert(file.read(path):find(\"# BEGIN cluster\\n10.0.0.1 a\\n\", 1, true))\n"
     "file.absent{path}"},
    {"hcl", file_hcl,
     "file.hcl{path, set={[PATH]=VALUE}, remove={PATH, ...}, create=false, mode=, owner=, group=, "
     "validate=}" RESULT,
     "A configuration in HCL or JSON says what `set` names and nothing of what `remove` names; paths and "
     "values are those "
     "of hcl.set, each path is set as a whole, outer ones first, after the removals. What is equal already "
     "(4 and 4.0, "
     "\"a\" however it is escaped) stays as it is written; no line changes that need not. " ATTRIBUTES
     "A new file (create=true) has 0644, 0600 with a secret in it. " VALIDATE
     "Raises \"invalid\" with line and column for a file that cannot be read, \"usage\" where a path fits "
     "several "
     "things, \"not-found\" for a missing file unless create=true.",
     "local path = os.tmpname()\n"
     "file.present{path, content = \"client {\\n\\tenabled = true # yes\\n}\\n\"}\n"
     "local wanted = { path, set = { [\"client.reserved.cpu\"] = 4, [\"client.enabled\"] = true } }\n"
     "assert(file.hcl(wanted).changed and not file.hcl(wanted).changed)\n"
     "assert(hcl.get(file.read(path), \"client.reserved.cpu\") == 4)\n"
     "file.absent{path}"},
    {"directory", file_directory, "file.directory{path, mode=, owner=, group=}" RESULT,
     "A directory is there, with its parents. New parents get 0755 and belong to who makes them; mode and "
     "owner are "
     "for the last one only. " ATTRIBUTES "A new one has 0755. Raises \"failed\" where something else is in "
     "the way, \"not-found\" for an owner that the "
     "host does not know.",
     "local path = os.tmpname()\n"
     "file.absent{path}\n"
     "assert(file.directory{path .. \"/a/b\", mode = \"0750\"}.changed)\n"
     "assert(file.stat(path .. \"/a/b\").mode == \"0750\")\n"
     "file.absent{path, recursive = true}"},
    {"link", file_link, "file.link{path, to=}" RESULT,
     "A symbolic link at path points to `to`, which need not exist. A link that points elsewhere is replaced "
     "at once; "
     "raises \"failed\" where a file or directory is in the way.",
     "local path = os.tmpname()\n"
     "file.absent{path}\n"
     "file.link{path, to = \"/etc/passwd\"}\n"
     "assert(file.stat(path).target == \"/etc/passwd\")\n"
     "file.absent{path}"},
    {"absent", file_absent, "file.absent{path, recursive=false}" RESULT,
     "Nothing is at the path. Of a symbolic link the link goes, not what it leads to. A directory with "
     "something in "
     "it goes with recursive=true only, within its file system, and then cannot be undone. \"/\", \"/etc\" "
     "and "
     "their like are refused (\"usage\").",
     "local path = os.tmpname()\n"
     "assert(file.absent{path}.changed and not file.absent{path}.changed)"},
    {"copied", file_copied, "file.copied{path, from=host, source=, mode=, owner=, group=, validate=}" RESULT,
     "The file has the content of `source` on the host `from` (this one where it is left out), at most 64 "
     "MiB; the "
     "bytes go through the operator's machine and touch no disk of it. " ATTRIBUTES
     "A new file has the source's permissions. " VALIDATE "Raises as file.present.",
     "local path = os.tmpname()\n"
     "file.copied{path, source = \"/etc/passwd\"}\n"
     "assert(file.read(path) == file.read(\"/etc/passwd\"))\n"
     "file.absent{path}"},
    {"read", file_read_function, "file.read(path) -> text",
     "The whole content, at most 64 MiB; nil where there is no file. Under --check what earlier steps would "
     "have "
     "written, an unknown value where nobody knows. Raises \"permission\", \"failed\".",
     "assert(file.read(\"/etc/passwd\"))\nassert(file.read(\"/no/such\") == nil)"},
    {"stat", file_stat_function,
     "file.stat(path) -> {type=, mode=, owner=, group=, size=, mtime=, ctime=, target=}",
     "What the path is: type \"file\", \"directory\", \"link\" or \"other\", mode octal text (\"0644\"), "
     "size in bytes, "
     "times in seconds since 1970 with fractions, target of a link, which is not followed; nil where nothing "
     "is "
     "there. Under --check fields that cannot be known yet are missing.",
     "assert(file.stat(\"/etc\").type == \"directory\")"},
    {"exists", file_exists_function, "file.exists(path) -> boolean",
     "Is anything at the path? A symbolic link that leads nowhere is.",
     "assert(file.exists(\"/etc\") and not file.exists(\"/no/such\"))"},
    {"glob", file_glob_function, "file.glob(pattern) -> {path, ...}",
     "The paths that match a shell pattern (* ? [a-z]), in byte order; hidden ones only where the pattern "
     "has the dot.",
     "for _, path in ipairs(file.glob(\"/etc/host*\")) do assert(file.exists(path)) end"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module file_module = {
    .name = "file",
    .about =
        "Files, directories and links of the host: state words that change only what differs, and reads.",
    .functions = functions,
    .open = NULL,
};
