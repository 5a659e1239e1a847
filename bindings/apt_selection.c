/* apt.absent and apt.held: packages that are to go, packages that are to stay as they are. */
#include "apt_package.h"
#include "json.h"
#include "report.h"

#include <stdio.h>
#include <string.h>

/* ---- apt.absent ---- */

static bool is_there(const struct apt_package *package, bool purge)
{
    return package->status.present != 'n' && (purge || package->status.present != 'c');
}

static const char *undo_of_removal(struct apt *apt, const struct apt_package *package)
{
    if (!apt_package_present(package))
        return NULL;
    struct json_text json = {0};
    json_open_object(&json);
    json_key(&json, "op");
    json_string(&json, "package.install");
    json_key(&json, "package");
    json_string(&json, package->name);
    json_key(&json, "version");
    json_string(&json, package->status.version);
    json_close_object(&json);
    return scratch_take(apt->scratch, &json.out);
}

static void describe_removal(struct apt *apt, struct apt_package *package, bool purge)
{
    bool there = is_there(package, purge);
    package->needed = there;
    package->change = (struct change){
        .kind = "apt.absent",
        .target = package->name,
        .before = apt_version_json(apt, there && !package->version_unknown ? package->status.version : NULL),
        .after = apt_version_json(apt, NULL),
        .undo = there && !purge ? undo_of_removal(apt, package) : NULL,
    };
}

/* [-0, +0, v] */
static void remove_packages(struct apt_packages *packages, bool purge)
{
    struct apt *apt = packages->apt;
    const char **argv = scratch_zeroed(apt->scratch, packages->count + 4, sizeof *argv);
    int status = 0;
    const char *said = "", *kind = "failed", *hint = "", *why = "";
    argv[0] = "allow"; /* services that go have to be stopped */
    argv[1] = purge ? "purge" : "remove";
    apt_packages_argv(packages, argv, 2, false);
    report_progress(apt->L, "apt: removing %s", apt_packages_names(packages));
    if (!apt_script(apt, APT_LOCKS_PACKAGES, apt_package_script, argv, &status, &said)) {
        why = scratch_format(apt->scratch, ": %s", apt->failure.message);
        kind = scratch_text(apt->scratch, apt->failure.kind);
        hint = scratch_text(apt->scratch, apt->failure.hint);
    } else if (status != 0) {
        why =
            scratch_format(apt->scratch, ": apt-get ended with status %d%s", status, apt_because(apt, said));
    }
    bool known = apt_packages_look_again(packages);
    for (size_t i = 0; i < packages->count; i++)
        if (!known || is_there(&packages->items[i], purge))
            packages->items[i].error = scratch_format(apt->scratch, "it is still installed%s", why);
    apt_packages_end(packages, kind, hint);
}

int apt_absent(lua_State *L)
{
    static const char *const names[] = {"purge", "lock_timeout", NULL};
    struct apt apt;
    struct apt_packages packages;
    apt_open(L, "apt.absent", &apt);
    argument_table(L, 1, apt.op, names);
    const char *const *wanted = apt_names(&apt);
    bool purge = argument_boolean(L, 1, apt.op, "purge", false);
    apt.lock_timeout_ms = (uint64_t)argument_duration(L, 1, apt.op, "lock_timeout", APT_LOCK_TIMEOUT_MS);
    apt_packages_look(&apt, wanted, &packages);
    for (size_t i = 0; i < packages.count; i++)
        describe_removal(&apt, &packages.items[i], purge);
    if (apt_packages_begin(&packages)) {
        remove_packages(&packages, purge);
        return apt_packages_result(&packages);
    }
    for (size_t i = 0; i < packages.count; i++)
        if (packages.items[i].begun && packages.items[i].decision == CHANGE_PREDICT)
            apt_package_predict(&apt, packages.items[i].name, false, NULL, false);
    apt_packages_end(&packages, "failed", "");
    return apt_packages_result(&packages);
}

/* ---- apt.held ---- */

static const char hold_script[] = "apt-mark hold \"$@\" </dev/null >/dev/null\n";

static void describe_hold(struct apt *apt, struct apt_package *package)
{
    bool held = package->status.wanted == 'h';
    package->needed = !held;
    package->change = (struct change){
        .kind = "apt.held",
        .target = package->name,
        .before = held ? "{\"held\":true}" : "{\"held\":false}",
        .after = "{\"held\":true}",
        .undo = held ? NULL
                     : scratch_format(apt->scratch, "{\"op\":\"package.unhold\",\"package\":\"%s\"}",
                                      package->name),
    };
}

/* [-0, +0, v] */
static void hold(struct apt_packages *packages)
{
    struct apt *apt = packages->apt;
    const char **argv = scratch_zeroed(apt->scratch, packages->count + 1, sizeof *argv);
    int status = 0;
    const char *said = "", *kind = "failed", *hint = "", *why = "";
    apt_packages_argv(packages, argv, 0, false);
    if (!apt_script(apt, APT_LOCKS_PACKAGES, hold_script, argv, &status, &said)) {
        why = scratch_format(apt->scratch, ": %s", apt->failure.message);
        kind = scratch_text(apt->scratch, apt->failure.kind);
        hint = scratch_text(apt->scratch, apt->failure.hint);
    } else if (status != 0) {
        why = apt_because(apt, said);
    }
    bool known = apt_packages_look_again(packages);
    for (size_t i = 0; i < packages->count; i++)
        if (!known || packages->items[i].status.wanted != 'h')
            packages->items[i].error = scratch_format(apt->scratch, "it is not held%s", why);
    apt_packages_end(packages, kind, hint);
}

int apt_held(lua_State *L)
{
    static const char *const names[] = {"lock_timeout", NULL};
    struct apt apt;
    struct apt_packages packages;
    apt_open(L, "apt.held", &apt);
    argument_table(L, 1, apt.op, names);
    const char *const *wanted = apt_names(&apt);
    apt.lock_timeout_ms = (uint64_t)argument_duration(L, 1, apt.op, "lock_timeout", APT_LOCK_TIMEOUT_MS);
    apt_packages_look(&apt, wanted, &packages);
    for (size_t i = 0; i < packages.count; i++) {
        struct apt_package *package = &packages.items[i];
        if (!apt_package_present(package))
            failure_advise(L, "not-found", apt.op, "install it first, with apt.installed",
                           "%s is not installed", package->name);
        describe_hold(&apt, package);
    }
    if (apt_packages_begin(&packages)) {
        hold(&packages);
        return apt_packages_result(&packages);
    }
    for (size_t i = 0; i < packages.count; i++) {
        struct apt_package *package = &packages.items[i];
        if (package->begun && package->decision == CHANGE_PREDICT)
            apt_package_predict(&apt, package->name, true,
                                package->version_unknown ? NULL : package->status.version, true);
    }
    apt_packages_end(&packages, "failed", "");
    return apt_packages_result(&packages);
}
