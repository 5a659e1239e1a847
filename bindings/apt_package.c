/* Packages: looking at them, and changes that one apt-get makes together. */
#include "apt_package.h"

#include "change_list.h"
#include "json.h"
#include "overlay.h"

#include <stdio.h>
#include <string.h>

/* policy-rc.d is asked by invoke-rc.d and deb-systemd-invoke before a maintainer script starts a service. Ours denies
 * only while the very shell that made it lives: the process's number and the tick it was started at. A foreign one
 * is the administrator's word and stays. Descriptor 9 makes runs of our own wait for each other; children do not
 * inherit it, as what they leave behind would keep it. */
const char apt_package_script[] =
    "mode=$1; shift\n"
    "policy=/usr/sbin/policy-rc.d\n"
    "mark='# moonbook: no service starts while it installs packages'\n"
    "exec 9>/run/moonbook-apt.lock\n"
    "flock -n 9 || { echo 'another moonbook is at work' >&2; exit 75; }\n"
    "started() { read -r line </proc/\"$1\"/stat; line=${line##*) }; set -- $line; echo \"${20}\"; }\n"
    "ours=\n"
    "finish() { [ -z \"$ours\" ] || rm -f \"$policy\"; rm -f \"$policy.moonbook\"; }\n"
    "if [ \"$mode\" = deny ]; then\n"
    "  trap finish EXIT\n"
    "  trap 'exit 143' HUP INT TERM\n"
    "  if [ -f \"$policy\" ] && grep -qF \"$mark\" \"$policy\"; then rm -f \"$policy\"; fi\n"
    "  if [ ! -e \"$policy\" ] && [ ! -L \"$policy\" ]; then\n"
    "    cat >\"$policy.moonbook\" <<END\n"
    "#!/bin/sh\n"
    "$mark\n"
    "# Only while process $$, started at tick $(started $$), lives: afterwards this file denies nothing.\n"
    "[ -r /proc/$$/stat ] || exit 0\n"
    "read -r line </proc/$$/stat\n"
    "line=\\${line##*) }\n"
    "set -- \\$line\n"
    "[ \"\\${20}\" != $(started $$) ] || exit 101\n"
    "exit 0\n"
    "END\n"
    "    chmod 0755 \"$policy.moonbook\"\n"
    "    ! ln \"$policy.moonbook\" \"$policy\" 2>/dev/null || ours=1\n"
    "    rm -f \"$policy.moonbook\"\n"
    "  fi\n"
    "fi\n"
    /* What a run that was killed left half done is finished first; does nothing where all is well. */
    "dpkg --force-confdef --force-confold --configure -a </dev/null 9>&-\n"
    /* Torn in the middle of unpacking: dpkg will have it unpacked again, and apt takes its version for installed. One that
     * cannot be fetched any more is replaced by what was asked for. */
    "torn=$(dpkg-query -W -f '${db:Status-Eflag} ${db:Status-Status} "
    "${Package}:${Architecture}=${Version}\\n' |\n"
    "  sed -nE 's/^(reinstreq [^ ]*|ok half-installed) (.*=.+)$/\\2/p')\n"
    "[ -z \"$torn\" ] || apt --no-remove --allow-downgrades --reinstall install $torn\n"
    "apt \"$@\" && exit 0\n"
    "status=$?\n"
    "if ! apt-get -qq check </dev/null >/dev/null 2>&1 9>&-; then\n"
    "  apt --no-remove -f install && apt \"$@\" && exit 0\n"
    "fi\n"
    "exit $status\n";

/* ---- looking ---- */

static bool ask_dpkg(struct apt_packages *packages)
{
    struct apt *apt = packages->apt;
    const char **argv = scratch_zeroed(apt->scratch, packages->count + 8, sizeof *argv);
    size_t at = 0;
    argv[at++] = "dpkg-query";
    argv[at++] = "-W";
    argv[at++] = "-f=" APT_QUERY_FORMAT;
    argv[at++] = "--";
    for (size_t i = 0; i < packages->count; i++)
        argv[at++] = packages->items[i].name;
    const char *output = apt_ask(apt, argv, 1); /* 1: it does not know one of them */
    if (!output)
        return false;
    for (size_t i = 0; i < packages->count; i++)
        apt_query_find(output, packages->items[i].name, &packages->items[i].status);
    return true;
}

/* [-0, +0, m] An earlier step's prediction takes the place of what dpkg says. */
static void see_overlay(struct apt *apt, struct apt_package *package)
{
    lua_State *L = apt->L;
    if (!overlay_get(L, apt->host, "package", package->name))
        return;
    struct apt_status *status = &package->status;
    package->predicted = true;
    lua_getfield(L, -1, "installed");
    status->present = lua_toboolean(L, -1) ? 'i' : 'n';
    status->broken = false;
    lua_getfield(L, -2, "held");
    status->wanted = lua_toboolean(L, -1) ? 'h' : 'i';
    const char *version = lua_getfield(L, -3, "version") == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    snprintf(status->version, sizeof status->version, "%s", version ? version : "");
    package->version_unknown = status->present == 'i' && !version;
    lua_pop(L, 4);
}

void apt_packages_look(struct apt *apt, const char *const *names, struct apt_packages *packages)
{
    packages->apt = apt;
    packages->count = 0;
    while (names[packages->count])
        packages->count++;
    packages->items = scratch_zeroed(apt->scratch, packages->count, sizeof *packages->items);
    for (size_t i = 0; i < packages->count; i++)
        packages->items[i].name = names[i];
    if (!ask_dpkg(packages))
        apt_raise(apt);
    for (size_t i = 0; i < packages->count; i++)
        see_overlay(apt, &packages->items[i]);
}

bool apt_packages_look_again(struct apt_packages *packages)
{
    return ask_dpkg(packages);
}

bool apt_package_present(const struct apt_package *package)
{
    return apt_status_complete(&package->status);
}

/* ---- changes ---- */

static int begin_each(lua_State *L)
{
    struct apt_packages *packages = lua_touserdata(L, 1);
    for (size_t i = 0; i < packages->count; i++) {
        struct apt_package *package = &packages->items[i];
        if (!package->needed)
            continue;
        package->decision = change_begin(L, &package->change);
        package->begun = true;
    }
    return 0;
}

struct ending {
    struct change *change;
    const struct failure *failure;
};

static int fail_one(lua_State *L)
{
    struct ending *ending = lua_touserdata(L, 1);
    return change_fail(L, ending->change, ending->failure);
}

/* [-0, +0, m] change_fail raises; where several changes fail only the last may. */
static void fail_quietly(lua_State *L, struct change *change, const struct failure *failure)
{
    struct ending ending = {change, failure};
    lua_pushcfunction(L, fail_one);
    lua_pushlightuserdata(L, &ending);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)
        lua_pop(L, 1);
}

bool apt_packages_begin(struct apt_packages *packages)
{
    struct apt *apt = packages->apt;
    lua_State *L = apt->L;
    bool applies = false;
    lua_pushcfunction(L, begin_each);
    lua_pushlightuserdata(L, packages);
    bool begun = lua_pcall(L, 1, 0, 0) == LUA_OK;
    if (!begun)
        failure_from_lua(L, -1, &apt->failure);
    for (size_t i = 0; i < packages->count; i++) {
        struct apt_package *package = &packages->items[i];
        bool apply = package->begun && package->decision == CHANGE_APPLY;
        if (apply && !begun)
            fail_quietly(L, &package->change, &apt->failure);
        applies = applies || apply;
    }
    if (!begun)
        lua_error(L);
    return applies;
}

static void describe_failure(struct apt *apt, const struct apt_package *package, const char *kind,
                             const char *hint)
{
    failure_set(&apt->failure, kind, apt->op, "%s: %s", package->name, package->error);
    failure_hint(&apt->failure, "%s", hint);
}

void apt_packages_end(struct apt_packages *packages, const char *kind, const char *hint)
{
    struct apt *apt = packages->apt;
    struct apt_package *failed = NULL;
    for (size_t i = 0; i < packages->count; i++) {
        struct apt_package *package = &packages->items[i];
        if (!package->begun)
            continue;
        if (package->decision != CHANGE_APPLY || !package->error) {
            change_end(apt->L, &package->change);
            continue;
        }
        if (failed) {
            describe_failure(apt, failed, kind, hint);
            fail_quietly(apt->L, &failed->change, &apt->failure);
        }
        failed = package;
    }
    if (failed) {
        describe_failure(apt, failed, kind, hint);
        change_fail(apt->L, &failed->change, &apt->failure);
    }
}

const char *apt_version_json(struct apt *apt, const char *version)
{
    struct json_text json = {0};
    json_open_object(&json);
    json_key(&json, "version");
    json_string(&json, version);
    json_close_object(&json);
    return scratch_take(apt->scratch, &json.out);
}

int apt_packages_result(struct apt_packages *packages)
{
    struct apt *apt = packages->apt;
    bool changed = false;
    const struct change **changes = scratch_zeroed(apt->scratch, packages->count, sizeof *changes);
    for (size_t i = 0; i < packages->count; i++) {
        struct apt_package *package = &packages->items[i];
        changes[i] = &package->change;
        changed = changed || (package->begun && package->decision != CHANGE_DECLINE);
        if (!package->needed)
            change_unneeded(apt->L, apt->op, package->name);
    }
    return change_list_push_result(apt->L, apt->scratch, changes, packages->count, changed);
}

void apt_package_predict(struct apt *apt, const char *name, bool installed, const char *version, bool held)
{
    lua_State *L = apt->L;
    lua_createtable(L, 0, 3);
    lua_pushboolean(L, installed);
    lua_setfield(L, -2, "installed");
    lua_pushboolean(L, held);
    lua_setfield(L, -2, "held");
    lua_pushstring(L, version);
    lua_setfield(L, -2, "version");
    overlay_put(L, apt->host, "package", name);
}

size_t apt_packages_argv(struct apt_packages *packages, const char **argv, size_t at, bool pinned)
{
    for (size_t i = 0; i < packages->count; i++) {
        struct apt_package *package = &packages->items[i];
        if (!package->begun || package->decision != CHANGE_APPLY)
            continue;
        argv[at++] = pinned && package->target
                         ? scratch_format(packages->apt->scratch, "%s=%s", package->name, package->target)
                         : package->name;
    }
    return at;
}

const char *apt_packages_names(struct apt_packages *packages)
{
    struct buffer text = {0};
    for (size_t i = 0; i < packages->count; i++)
        if (packages->items[i].begun && packages->items[i].decision == CHANGE_APPLY)
            buffer_format(&text, "%s%s", text.length ? ", " : "", packages->items[i].name);
    return scratch_take(packages->apt->scratch, &text);
}
