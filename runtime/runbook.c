/* Finding runbooks and loading their files. Parameters are runbook_params.c's. */
#include "runbook.h"

#include "json.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <lauxlib.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- places ---- */

static void add_place(struct runbook_places *places, const char *folder, const char *origin)
{
    char real[PATH_MAX];
    struct stat found;
    if (places->count == sizeof places->items / sizeof *places->items || !realpath(folder, real) ||
        stat(real, &found) != 0 || !S_ISDIR(found.st_mode))
        return;
    for (size_t i = 0; i < places->count; i++)
        if (strcmp(places->items[i].folder, real) == 0)
            return;
    places->items[places->count++] = (struct runbook_place){copy_text(real), origin};
}

static void add_variable(struct runbook_places *places)
{
    const char *value = getenv("MOONBOOK_PATH");
    while (value && *value) {
        size_t length = strcspn(value, ":");
        struct buffer folder = {0};
        buffer_append(&folder, value, length);
        if (length)
            add_place(places, folder.bytes, "MOONBOOK_PATH");
        buffer_free(&folder);
        value += length + (value[length] == ':');
    }
}

void runbook_own_folder(struct buffer *path)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && *config == '/')
        buffer_format(path, "%s/moonbook/scripts", config);
    else
        buffer_format(path, "%s/.config/moonbook/scripts", home ? home : "/root");
}

/* Where the program itself lies: PREFIX/bin/moonbook or, in a source tree, build/moonbook. */
static void add_shipped(struct runbook_places *places)
{
    char program[PATH_MAX], folder[PATH_MAX + 64];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = '\0';
        char *slash = strrchr(program, '/');
        if (slash)
            *slash = '\0';
        snprintf(folder, sizeof folder, "%s/../share/moonbook/scripts", program);
        add_place(places, folder, "shipped");
        snprintf(folder, sizeof folder, "%s/../Makefile", program);
        bool in_source_tree = access(folder, R_OK) == 0;
        snprintf(folder, sizeof folder, "%s/../scripts", program);
        if (in_source_tree)
            add_place(places, folder, "shipped");
    }
    add_place(places, MOONBOOK_SCRIPTS, "shipped");
}

void runbook_places(struct runtime *runtime, struct runbook_places *places)
{
    (void)runtime;
    *places = (struct runbook_places){0};
    struct buffer own = {0};
    runbook_own_folder(&own);
    add_variable(places);
    add_place(places, "scripts", "here");
    add_place(places, buffer_text(&own), "own");
    add_place(places, "/etc/moonbook/scripts", "site");
    add_shipped(places);
    buffer_free(&own);
}

void runbook_places_free(struct runbook_places *places)
{
    for (size_t i = 0; i < places->count; i++)
        free(places->items[i].folder);
    places->count = 0;
}

void runbook_free(struct runbook *runbook)
{
    free(runbook->name);
    free(runbook->path);
    *runbook = (struct runbook){0};
}

/* ---- trust ---- */

/* A group whose only member is the owner: Debian gives each user one, and umask 002 goes with it. */
static bool is_private_group(uid_t uid, gid_t gid)
{
    struct passwd *user = getpwuid(uid);
    if (!user || user->pw_gid != gid)
        return false;
    char *name = copy_text(user->pw_name);
    struct group *group = getgrgid(gid);
    bool private = group && strcmp(group->gr_name, name) == 0;
    for (char **member = group ? group->gr_mem : NULL; private && *member; member++)
    private = strcmp(*member, name) == 0;
    free(name);
    return private;
}

static bool check_trust(const char *path, struct failure *failure)
{
    struct stat found;
    if (lstat(path, &found) != 0)
        return failure_errno(failure, errno, "runbook", "%s", path);
    if (S_ISLNK(found.st_mode) && stat(path, &found) != 0) /* who may write to its target decides */
        return failure_errno(failure, errno, "runbook", "%s", path);
    bool owned = found.st_uid == geteuid() || found.st_uid == 0;
    bool writable = (found.st_mode & S_IWOTH) ||
                    ((found.st_mode & S_IWGRP) && !is_private_group(found.st_uid, found.st_gid));
    if (owned && !writable)
        return true;
    failure_set(failure, "permission", "runbook", "%s is not to be trusted: %s", path,
                owned ? "others than its owner may write to it" : "it belongs to another user");
    failure_hint(failure,
                 owned ? "chmod go-w %s" : "copy it to a folder of your own, or chown %s to yourself or root",
                 path);
    return false;
}

bool runbook_trusted(const char *top, const char *path, struct failure *failure)
{
    char partial[PATH_MAX];
    size_t length = strlen(top);
    snprintf(partial, sizeof partial, "%s", path);
    if (!check_trust(top, failure))
        return false;
    for (char *slash = strchr(partial + length + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (!check_trust(partial, failure))
            return false;
        *slash = '/';
    }
    return check_trust(path, failure);
}

/* ---- finding ---- */

struct listing {
    struct runbook *items;
    size_t count, capacity;
};

static void add_runbook(struct listing *listing, const struct runbook_place *place, const char *relative)
{
    if (listing->count == listing->capacity) {
        listing->capacity = listing->capacity ? listing->capacity * 2 : 32;
        listing->items = reallocate(listing->items, listing->capacity * sizeof *listing->items);
    }
    struct buffer path = {0}, name = {0};
    buffer_format(&path, "%s/%s", place->folder, relative);
    buffer_append(&name, relative, strlen(relative) - 4);
    listing->items[listing->count++] = (struct runbook){name.bytes, path.bytes, place->origin};
}

/* lib/ holds modules, not runbooks. */
static void walk(struct listing *listing, const struct runbook_place *place, const char *relative, int depth)
{
    char path[PATH_MAX], below[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", place->folder, relative);
    struct dirent **entries;
    int count = depth < 6 ? scandir(path, &entries, NULL, alphasort) : -1;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        int length = snprintf(below, sizeof below, "%s%s%s", relative, *relative ? "/" : "", name);
        if (*name != '.' && length < (int)sizeof below) {
            struct stat found;
            int whole = snprintf(path, sizeof path, "%s/%s", place->folder, below);
            bool exists = whole < (int)sizeof path && stat(path, &found) == 0;
            if (exists && S_ISDIR(found.st_mode) && (*relative || strcmp(name, "lib") != 0))
                walk(listing, place, below, depth + 1);
            else if (exists && S_ISREG(found.st_mode) && length > 4 &&
                     strcmp(below + length - 4, ".lua") == 0)
                add_runbook(listing, place, below);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

struct runbook *runbook_list(struct runtime *runtime, size_t *count)
{
    struct runbook_places places;
    struct listing listing = {0};
    runbook_places(runtime, &places);
    for (size_t i = 0; i < places.count; i++)
        walk(&listing, &places.items[i], "", 0);
    runbook_places_free(&places);
    *count = listing.count;
    return listing.items;
}

/* The nearest name by its last part too: "join" finds setup/join-client. */
static void offer_names(struct runtime *runtime, const char *name, struct failure *failure)
{
    size_t count;
    struct runbook *all = runbook_list(runtime, &count);
    struct buffer near = {0};
    for (size_t i = 0; i < count; i++) {
        const char *last = strrchr(all[i].name, '/');
        const char *wanted = strrchr(name, '/');
        last = last ? last + 1 : all[i].name;
        wanted = wanted && wanted[1] ? wanted + 1 : name;
        if (strstr(last, wanted) || strstr(wanted, last) || strncmp(last, wanted, 3) == 0)
            buffer_format(&near, "%s%s", near.length ? ", " : "", all[i].name);
    }
    if (near.length)
        failure_hint(failure, "did you mean %s? `moonbook list` shows them all", near.bytes);
    else
        failure_hint(failure, "`moonbook list` shows what there is; a file is given with its .lua");
    buffer_free(&near);
    for (size_t i = 0; i < count; i++)
        runbook_free(&all[i]);
    free(all);
}

static bool find_file(const char *path, struct runbook *runbook, struct failure *failure)
{
    char real[PATH_MAX];
    if (!realpath(path, real))
        return failure_errno(failure, errno, "runbook", "%s", path);
    *runbook = (struct runbook){copy_text(path), copy_text(real), "file"};
    return true;
}

bool runbook_find(struct runtime *runtime, const char *name, struct runbook *runbook, struct failure *failure)
{
    size_t length = strlen(name);
    if (*name == '/' || *name == '.' || (length > 4 && strcmp(name + length - 4, ".lua") == 0))
        return find_file(name, runbook, failure);
    struct runbook_places places;
    runbook_places(runtime, &places);
    bool found = false, trusted = false;
    for (size_t i = 0; i < places.count && !found; i++) {
        struct buffer path = {0};
        buffer_format(&path, "%s/%s.lua", places.items[i].folder, name);
        found = !strstr(name, "..") && access(path.bytes, F_OK) == 0;
        trusted = found && runbook_trusted(places.items[i].folder, path.bytes, failure);
        if (trusted)
            *runbook = (struct runbook){copy_text(name), copy_text(path.bytes), places.items[i].origin};
        buffer_free(&path);
    }
    runbook_places_free(&places);
    if (!found) {
        failure_set(failure, "usage", "runbook", "there is no runbook \"%s\"", name);
        offer_names(runtime, name, failure);
    }
    return trusted;
}

/* ---- loading ---- */

/* `require` looks in the runbook's own folder, then in lib/ of every place that can be trusted. */
void runbook_search(lua_State *L, const struct runbook *runbook)
{
    struct runbook_places places;
    struct failure failure;
    struct buffer path = {0};
    const char *slash = strrchr(runbook->path, '/');
    buffer_format(&path, "%.*s/?.lua", slash ? (int)(slash - runbook->path) : 1, slash ? runbook->path : ".");
    runbook_places(runtime_of(L), &places);
    for (size_t i = 0; i < places.count; i++) {
        struct buffer lib = {0};
        buffer_format(&lib, "%s/lib", places.items[i].folder);
        if (access(lib.bytes, F_OK) == 0 && runbook_trusted(places.items[i].folder, lib.bytes, &failure))
            buffer_format(&path, ";%s/?.lua", lib.bytes);
        buffer_free(&lib);
    }
    runbook_places_free(&places);
    lua_getglobal(L, "package");
    lua_pushstring(L, buffer_text(&path));
    buffer_free(&path);
    lua_setfield(L, -2, "path");
    lua_pop(L, 1);
}

static void check_header(lua_State *L, const char *name)
{
    static const char *const fields[] = {"about", "needs", "params", "validate", "run", NULL};
    if (!lua_istable(L, -1))
        failure_advise(L, "usage", name, "see a shipped one: moonbook show setup/join-client",
                       "a runbook returns a table {about=, needs=, params=, run=}, this one returned %s",
                       luaL_typename(L, -1));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        bool known = false;
        for (size_t i = 0; fields[i] && lua_type(L, -2) == LUA_TSTRING; i++)
            known = known || strcmp(fields[i], lua_tostring(L, -2)) == 0;
        if (!known)
            failure_error(L, "usage", name, "its header has a field \"%s\" that this version does not know",
                          luaL_tolstring(L, -2, NULL));
    }
    if (lua_getfield(L, -1, "about") != LUA_TSTRING)
        failure_error(L, "usage", name, "its header needs about = \"one line\"");
    if (lua_getfield(L, -2, "run") != LUA_TFUNCTION)
        failure_error(L, "usage", name, "its header needs run = function(p) ... end");
    int validate = lua_getfield(L, -3, "validate");
    if (validate != LUA_TFUNCTION && validate != LUA_TNIL)
        failure_error(L, "usage", name, "validate is a function(p), not %s", luaL_typename(L, -1));
    lua_pop(L, 3);
    runbook_check_needs(L, -1, name);
}

void runbook_compile(lua_State *L, const struct runbook *runbook)
{
    runbook_search(L, runbook);
    if (luaL_loadfilex(L, runbook->path, "t") != LUA_OK)
        failure_error(L, "usage", runbook->name, "it cannot be loaded: %s", lua_tostring(L, -1));
}

void runbook_load(lua_State *L, const struct runbook *runbook)
{
    if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
        if (failure_is(L, -1, "cancelled"))
            lua_error(L);
        failure_error(L, "usage", runbook->name, "it cannot be loaded: %s", luaL_tolstring(L, -1, NULL));
    }
    check_header(L, runbook->name);
}

/* ---- describing ---- */

#define DESCRIBE_STEPS 10000000 /* of the Lua machine: a header that takes longer does not end */

/* Indexed or called, it gives itself: what stands for modules and required files. */
static int inert(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    return 1;
}

/* [-0, +1, m] */
static void push_inert(lua_State *L)
{
    static const char *const events[] = {"__index", "__call", "__concat", NULL};
    lua_newtable(L);
    lua_newtable(L);
    for (size_t i = 0; events[i]; i++) {
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, inert, 1);
        lua_setfield(L, -2, events[i]);
    }
    lua_setmetatable(L, -2);
}

/* [-0, +1, m] Lua's functions that only compute; everything else is inert. */
void runbook_push_inert_environment(lua_State *L)
{
    static const char *const pure[] = {"string",   "table",    "math",  "utf8",   "type",
                                       "tostring", "tonumber", "pairs", "ipairs", "select",
                                       "assert",   "error",    "next",  NULL};
    lua_newtable(L);
    for (size_t i = 0; pure[i]; i++) {
        lua_getglobal(L, pure[i]);
        lua_setfield(L, -2, pure[i]);
    }
    lua_newtable(L);
    push_inert(L);
    lua_pushcclosure(L, inert, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

static void on_too_long(lua_State *L, lua_Debug *activation)
{
    (void)activation;
    luaL_error(L, "loading it does not end");
}

void runbook_describe(lua_State *L, const struct runbook *runbook)
{
    if (luaL_loadfilex(L, runbook->path, "t") != LUA_OK)
        failure_error(L, "usage", runbook->name, "it cannot be loaded: %s", lua_tostring(L, -1));
    runbook_push_inert_environment(L);
    lua_setupvalue(L, -2, 1);
    lua_sethook(L, on_too_long, LUA_MASKCOUNT, DESCRIBE_STEPS);
    int status = lua_pcall(L, 0, 1, 0);
    lua_sethook(L, NULL, 0, 0);
    if (status != LUA_OK)
        failure_error(L, "usage", runbook->name, "it cannot be loaded: %s", luaL_tolstring(L, -1, NULL));
    check_header(L, runbook->name);
}
