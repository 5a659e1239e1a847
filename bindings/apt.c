/* The apt module: its table, and what all its functions begin with. */
#include "apt.h"

#include "apt_package.h"
#include "overlay.h"
#include "transfer.h"
#include "unknown.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define CHOICES_MOST 400

void apt_open(lua_State *L, const char *op, struct apt *apt)
{
    luaL_checkstack(L, 60, op);
    if (lua_type(L, 1) == LUA_TSTRING) { /* apt.installed "consul" */
        lua_createtable(L, 1, 0);
        lua_pushvalue(L, 1);
        lua_rawseti(L, -2, 1);
        lua_replace(L, 1);
    }
    *apt = (struct apt){
        .L = L,
        .runtime = runtime_of(L),
        .host = host_current(runtime_of(L)),
        .op = op,
        .check = runtime_of(L)->options.check,
        .lock_timeout_ms = APT_LOCK_TIMEOUT_MS,
    };
    apt->scratch = scratch_open(L);
}

int apt_raise(struct apt *apt)
{
    snprintf(apt->failure.op, sizeof apt->failure.op, "%s", apt->op);
    return failure_raise(apt->L, &apt->failure);
}

/* As Debian's policy has it, with an architecture behind a colon. */
static bool is_package_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
    if (length < 2 || !isalnum((unsigned char)name[0]) || (name[length] && name[length] != ':'))
        return false;
    const char *architecture = name + length + (name[length] == ':');
    return strspn(architecture, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(architecture);
}

static bool is_among(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

const char *const *apt_names(struct apt *apt)
{
    lua_State *L = apt->L;
    size_t count = 0;
    lua_Unsigned most = lua_rawlen(L, 1);
    const char **names = lua_newuserdatauv(L, (most + 1) * sizeof *names, 0);
    names[0] = NULL;
    for (lua_Unsigned i = 1; i <= most; i++) {
        const char *name = lua_rawgeti(L, 1, (lua_Integer)i) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        if (!name)
            failure_error(L, "usage", apt->op, "a package's name is text, not %s", luaL_typename(L, -1));
        if (!is_package_name(name))
            failure_error(L, "usage", apt->op, "\"%s\" is no name of a package", name);
        lua_pop(L, 1); /* argument_table's copy keeps it */
        if (!is_among(name, names))
            names[count++] = name;
        names[count] = NULL;
    }
    if (!count)
        failure_error(L, "usage", apt->op, "the names of the packages are missing: %s{ \"consul\" }",
                      apt->op);
    return names;
}

char *apt_ask(struct apt *apt, const char *const *argv, int statuses)
{
    static const char *const environment[] = {"LC_ALL=C", NULL};
    struct host_command command = {.argv = argv, .environment = environment};
    struct process_result result;
    char *output = NULL;
    if (host_run(apt->host, &command, &result, &apt->failure)) {
        if (result.status >= 0 && result.status <= statuses) {
            output = scratch_take(apt->scratch, &result.output);
        } else {
            struct buffer *said = scratch_buffer(apt->scratch);
            host_last_words(apt->host, &result, said);
            failure_set(&apt->failure, result.status == 127 ? "not-found" : "exit", apt->op,
                        "%s: exit status %d%s%s", argv[0], result.status, said->length ? ": " : "",
                        buffer_text(said));
            apt->failure.status = result.status;
        }
    }
    if (!output && strcmp(apt->failure.kind, "not-found") == 0) {
        failure_set(&apt->failure, "not-found", apt->op, "there is no %s on %s", argv[0], apt->host->name);
        failure_hint(&apt->failure, "the apt module is for Debian, Ubuntu and their kin");
    }
    process_result_free(&result);
    return output;
}

const char *apt_shown_uri(struct apt *apt, const char *uri)
{
    const char *marker = uri ? strstr(uri, "://") : NULL;
    if (!marker)
        return uri;
    const char *authority = marker + 3, *end = memrchr(authority, '@', strcspn(authority, "/\n"));
    if (!end)
        return uri;
    transfer_hide_password(apt->runtime->redactor, uri);
    return scratch_format(apt->scratch, "%.*s%s", (int)(authority - uri), uri, end + 1);
}

/* ---- reading ---- */

/* [-0, +0, v] A function of one name, given as apt.version("consul") or apt.version{"consul"}. */
static const char *open_for_one(lua_State *L, const char *op, struct apt *apt)
{
    if (lua_type(L, 1) != LUA_TSTRING && !lua_istable(L, 1))
        failure_error(L, "usage", op, "the name of a package is wanted, not %s", luaL_typename(L, 1));
    lua_settop(L, 1);
    apt_open(L, op, apt);
    argument_table(L, 1, op, (const char *const[]){NULL});
    const char *const *names = apt_names(apt);
    if (names[1])
        failure_error(L, "usage", op, "one package at a time");
    return names[0];
}

static int version(lua_State *L)
{
    struct apt apt;
    struct apt_packages packages;
    const char *names[] = {open_for_one(L, "apt.version", &apt), NULL};
    apt_packages_look(&apt, names, &packages);
    const struct apt_package *package = &packages.items[0];
    if (!apt_package_present(package))
        lua_pushnil(L);
    else if (package->version_unknown)
        unknown_push(L);
    else
        lua_pushstring(L, package->status.version);
    return 1;
}

static int versions(lua_State *L)
{
    struct apt apt;
    char candidate[APT_VERSION_SIZE];
    const char *name = open_for_one(L, "apt.versions", &apt);
    overlay_all(L, apt.host, "repository");
    if (lua_istable(L,
                    -1)) { /* under --check: what a repository that is only predicted has, nobody can say */
        unknown_push(L);
        return 1;
    }
    const char *cached[] = {"apt-cache", "policy", name, NULL};
    const char *uncached[] = {
        "apt-cache", "-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache=", "policy", name, NULL};
    const char *policy = apt_ask(&apt, apt.check ? uncached : cached, 0);
    if (!policy)
        apt_raise(&apt);
    struct apt_choice *choices = scratch_zeroed(apt.scratch, CHOICES_MOST, sizeof *choices);
    size_t count = apt_policy_find(policy, name, candidate, choices, CHOICES_MOST);
    lua_Integer at = 0;
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        if (!choices[i].downloadable)
            continue;
        lua_pushstring(L, choices[i].version);
        lua_rawseti(L, -2, ++at);
    }
    return 1;
}

static const struct binding_function functions[] = {
    {"repository", apt_repository,
     "apt.repository{name, uri=, suite=, components={\"main\"}, architectures=, key=, fingerprints={}, "
     "keyring=, "
     "comment=, lock_timeout=} -> {changed=, before=, after=}",
     "A signed package repository: its key in /usr/share/keyrings/NAME-archive-keyring.gpg, a deb822 file "
     "/etc/apt/sources.list.d/NAME.sources that names it, other entries for the same URI taken out, and the "
     "lists "
     "of this one source brought up to date when they are missing or older than that. suite and "
     "architectures "
     "default to the host's. key is an https URL, a path on the operator's machine or the text of the key; "
     "its "
     "primary fingerprint must be in the set `fingerprints`, else \"invalid\", and nothing is touched. The "
     "comment "
     "is written once. A suite that the repository does not have is \"not-found\". See sources.list(5).",
     NULL},
    {"updated", apt_updated, "apt.updated{max_age=\"1h\", lock_timeout=} -> {changed=, before=, after=}",
     "The package lists of all sources are not older than max_age (a duration, default one hour) and newer "
     "than the "
     "files that name the sources; else apt-get update. Raises \"failed\" when a source cannot be read, "
     "\"timeout\" "
     "when another program keeps the lock for longer than lock_timeout (default \"5m\").",
     NULL},
    {"installed", apt_installed,
     "apt.installed{name..., version=, recommends=, brings={users=, groups=, units=, enabled=, files=}, "
     "lock_timeout=} -> {changed=, before=, after=}",
     "Packages are installed; no service starts by that (policy-rc.d). version, for one package: "
     "\"1.9.7-1\", "
     "\"1.9.*\" or constraints such as \">= 1.8, < 1.10\", by the rules of deb-version(7); the newest that "
     "satisfies "
     "is chosen, and one installed that satisfies stays. brings says what later steps may count on under "
     "--check; a "
     "real run verifies it. A run that was killed in the middle is finished by the next. Raises "
     "\"not-found\" for "
     "packages and versions that no repository has, \"timeout\" when another program keeps apt's locks for "
     "longer "
     "than lock_timeout (default \"5m\").",
     NULL},
    {"absent", apt_absent, "apt.absent{name..., purge=false, lock_timeout=} -> {changed=, before=, after=}",
     "Packages are not installed; with purge their configuration files are gone too. What depends on them "
     "goes "
     "along, as apt-get remove does it.",
     NULL},
    {"held", apt_held, "apt.held{name..., lock_timeout=} -> {changed=, before=, after=}",
     "Installed packages stay at their version: upgrades leave them alone (apt-mark hold).", NULL},
    {"version", version, "apt.version(name) -> string or nil",
     "The version of a package that is installed, nil where it is not.",
     "assert(apt.version(\"moonbook-no-such-package\") == nil)"},
    {"versions", versions, "apt.versions(name) -> {string...}",
     "The versions that the repositories have, newest first; empty for a package that nobody has.",
     "assert(#apt.versions(\"moonbook-no-such-package\") == 0)"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module apt_module = {
    .name = "apt",
    .about = "Packages and their repositories on Debian and Ubuntu",
    .functions = functions,
};
