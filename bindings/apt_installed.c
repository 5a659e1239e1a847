/* apt.installed: packages are there, in a version that satisfies; what they bring is predicted and verified. */
#include "apt_package.h"
#include "apt_version.h"
#include "json.h"
#include "overlay.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OP           "apt.installed"
#define CHOICES_MOST 400

/* What the call asks for. */
struct wanted {
    const char *version;   /* or NULL: any */
    bool recommends_given; /* else as apt is configured */
    bool recommends;
    const char **users, **groups, **units, **enabled, **files; /* brings */
};

/* ---- options ---- */

/* [-0, +?, v] `brings`: the lists stay on the stack, as their vectors live there. */
static void read_brings(lua_State *L, struct wanted *wanted)
{
    static const char *const names[] = {"users", "groups", "units", "enabled", "files", NULL};
    lua_getfield(L, 1, "brings");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    argument_table(L, -1, OP, names);
    int table = lua_gettop(L);
    wanted->users = argument_list(L, table, OP, "users");
    wanted->groups = argument_list(L, table, OP, "groups");
    wanted->units = argument_list(L, table, OP, "units");
    wanted->enabled = argument_list(L, table, OP, "enabled");
    wanted->files = argument_list(L, table, OP, "files");
}

/* [-0, +?, v] */
static const char *const *read_options(struct apt *apt, struct wanted *wanted)
{
    static const char *const names[] = {"version", "brings", "recommends", "lock_timeout", NULL};
    lua_State *L = apt->L;
    *wanted = (struct wanted){0};
    argument_table(L, 1, OP, names);
    const char *const *packages = apt_names(apt);
    wanted->version = argument_string(L, 1, OP, "version", NULL);
    wanted->recommends = argument_boolean(L, 1, OP, "recommends", true);
    wanted->recommends_given = lua_getfield(L, 1, "recommends") != LUA_TNIL;
    lua_pop(L, 1);
    apt->lock_timeout_ms = (uint64_t)argument_duration(L, 1, OP, "lock_timeout", APT_LOCK_TIMEOUT_MS);
    read_brings(L, wanted);
    char error[256];
    if (wanted->version && packages[1])
        failure_error(L, "usage", OP, "version= is for one package; give each a call of its own");
    if (wanted->version && !apt_wanted_valid(wanted->version, error, sizeof error))
        failure_error(L, "usage", OP, "%s", error);
    return packages;
}

/* ---- choosing versions ---- */

/* Did an earlier step predict a repository? Then nobody can say what it has. */
static bool repository_predicted(struct apt *apt)
{
    overlay_all(apt->L, apt->host, "repository");
    bool predicted = lua_istable(apt->L, -1);
    lua_pop(apt->L, 1);
    return predicted;
}

/* The name that was most likely meant, among those that apt knows with the same first letter. */
static const char *suggest(struct apt *apt, const char *name)
{
    const char *first = scratch_format(apt->scratch, "%c", name[0]);
    const char *argv[] = {"apt-cache", "pkgnames", first, NULL};
    char *output = apt_ask(apt, argv, 0);
    if (!output)
        return NULL;
    size_t count = 0;
    for (const char *at = output; *at; at++)
        count += *at == '\n';
    const char **names = scratch_zeroed(apt->scratch, count + 2, sizeof *names);
    char *rest = output;
    for (size_t i = 0; i <= count;) {
        char *line = strsep(&rest, "\n");
        if (!line)
            break;
        if (*line)
            names[i++] = line;
    }
    return nearest_name(name, names);
}

static int refuse_unknown(struct apt *apt, const char *name)
{
    const char *meant = suggest(apt, name);
    failure_set(&apt->failure, "not-found", OP, "there is no package %s in the repositories of %s", name,
                apt->host->name);
    failure_hint(
        &apt->failure,
        "%s%s%scheck that its repository is there (apt.repository) and the lists are new (apt.updated)",
        meant ? "did you mean " : "", meant ? meant : "", meant ? "? Else " : "");
    return apt_raise(apt);
}

static int refuse_version(struct apt *apt, const char *name, const char *wanted,
                          const struct apt_choice *choices, size_t count)
{
    struct buffer *known = scratch_buffer(apt->scratch);
    for (size_t i = 0; i < count && i < 12; i++)
        buffer_format(known, "%s%s", i ? ", " : "", choices[i].version);
    failure_set(&apt->failure, "not-found", OP, "no version of %s is %s; there %s %s", name, wanted,
                count == 1 ? "is" : "are", count ? buffer_text(known) : "none");
    failure_hint(&apt->failure, "choose one of those, or see that the lists are new (apt.updated)");
    return apt_raise(apt);
}

/* The newest version that satisfies; priority below 0 means that an administrator pinned it away. */
static const struct apt_choice *newest(const struct apt_choice *choices, size_t count, const char *wanted)
{
    const struct apt_choice *best = NULL;
    for (size_t i = 0; i < count; i++)
        if (choices[i].downloadable && choices[i].priority >= 0 &&
            apt_version_satisfies(choices[i].version, wanted) &&
            (!best || apt_version_compare(choices[i].version, best->version) > 0))
            best = &choices[i];
    return best;
}

/* [-0, +0, v] */
static void choose(struct apt *apt, struct apt_package *package, const char *policy, const char *wanted)
{
    char candidate[APT_VERSION_SIZE];
    struct apt_choice *choices = scratch_zeroed(apt->scratch, CHOICES_MOST, sizeof *choices);
    size_t count = apt_policy_find(policy, package->name, candidate, choices, CHOICES_MOST);
    const struct apt_choice *chosen = wanted ? newest(choices, count, wanted) : NULL;
    if (wanted && !chosen && count)
        refuse_version(apt, package->name, wanted, choices, count);
    if (!chosen && !*candidate)
        refuse_unknown(apt, package->name);
    package->target = scratch_text(apt->scratch, chosen ? chosen->version : candidate);
}

/* [-0, +0, v] Finds what each needed package would become. */
static void choose_all(struct apt_packages *packages, const struct wanted *wanted)
{
    struct apt *apt = packages->apt;
    bool unknowable = repository_predicted(apt);
    const char **argv = scratch_zeroed(apt->scratch, packages->count + 10, sizeof *argv);
    size_t at = 0;
    argv[at++] = "apt-cache";
    if (apt->check) { /* apt-cache as root would write its cache anew */
        argv[at++] = "-oDir::Cache::pkgcache=";
        argv[at++] = "-oDir::Cache::srcpkgcache=";
    }
    argv[at++] = "policy";
    for (size_t i = 0; i < packages->count; i++)
        if (packages->items[i].needed)
            argv[at++] = packages->items[i].name;
    const char *policy = unknowable ? "" : apt_ask(apt, argv, 0);
    if (!policy)
        apt_raise(apt);
    for (size_t i = 0; i < packages->count; i++) {
        struct apt_package *package = &packages->items[i];
        if (package->needed && !unknowable)
            choose(apt, package, policy, wanted->version);
        package->change.inexact = package->needed && unknowable;
    }
}

/* ---- describing ---- */

static bool is_satisfied(const struct apt_package *package, const struct wanted *wanted)
{
    if (!apt_package_present(package))
        return false;
    return !wanted->version || package->version_unknown ||
           apt_version_satisfies(package->status.version, wanted->version);
}

static const char *describe_undo(struct apt *apt, const struct apt_package *package)
{
    struct json_text json = {0};
    bool replaces = apt_package_present(package);
    json_open_object(&json);
    json_key(&json, "op");
    json_string(&json, replaces ? "package.install" : "package.remove");
    json_key(&json, "package");
    json_string(&json, package->name);
    if (replaces) {
        json_key(&json, "version");
        json_string(&json, package->status.version);
    }
    json_close_object(&json);
    return scratch_take(apt->scratch, &json.out);
}

static void describe(struct apt *apt, struct apt_package *package)
{
    bool present = apt_package_present(package) && !package->version_unknown;
    package->change.kind = OP;
    package->change.target = package->name;
    package->change.before = apt_version_json(apt, present ? package->status.version : NULL);
    package->change.after = package->needed ? apt_version_json(apt, package->target) : package->change.before;
    package->change.undo = package->needed ? describe_undo(apt, package) : NULL;
}

/* [-0, +0, v] */
static void refuse_held(struct apt *apt, const struct apt_package *package, const struct wanted *wanted)
{
    if (package->status.wanted == 'h' && apt_package_present(package))
        failure_advise(apt->L, "failed", OP, "release it with apt-mark unhold first, or change version=",
                       "%s is held at %s, which is not %s", package->name, package->status.version,
                       wanted->version);
}

/* ---- what packages bring ---- */

static const char *unit_name(struct apt *apt, const char *name)
{
    return strchr(name, '.') ? name : scratch_format(apt->scratch, "%s.service", name);
}

/* [-0, +0, m] Predicts one thing of each name: {exists=true, by=}. */
static void predict_names(struct apt *apt, const char **names, const char *kind, const char *by)
{
    for (; names && *names; names++) {
        lua_createtable(apt->L, 0, 2);
        lua_pushboolean(apt->L, true);
        lua_setfield(apt->L, -2, "exists");
        lua_pushstring(apt->L, by);
        lua_setfield(apt->L, -2, "by");
        overlay_put(apt->L, apt->host, kind, *names);
    }
}

/* [-0, +0, m] A package enables its unit or not, but policy-rc.d keeps it from starting. */
static void predict_units(struct apt *apt, const char **names, const char *enabled, const char *by)
{
    for (; names && *names; names++) {
        lua_createtable(apt->L, 0, 4);
        lua_pushstring(apt->L, "loaded");
        lua_setfield(apt->L, -2, "load");
        lua_pushstring(apt->L, "inactive");
        lua_setfield(apt->L, -2, "active");
        lua_pushstring(apt->L, enabled);
        lua_setfield(apt->L, -2, "enabled");
        lua_pushstring(apt->L, by);
        lua_setfield(apt->L, -2, "by");
        overlay_put(apt->L, apt->host, "unit", unit_name(apt, *names));
    }
}

/* [-0, +0, v] Files that are there already stay what they are: dpkg keeps configuration files. */
static void predict_files(struct apt *apt, const char **files, const char *by)
{
    for (; files && *files; files++) {
        struct host_stat stat;
        if (!host_stat_one(apt->host, *files, &stat, &apt->failure))
            apt_raise(apt);
        if (stat.exists)
            continue;
        if (overlay_get(apt->L, apt->host, "file", *files)) {
            lua_pop(apt->L, 1);
            continue;
        }
        lua_createtable(apt->L, 0, 3);
        lua_pushboolean(apt->L, true);
        lua_setfield(apt->L, -2, "exists");
        lua_pushstring(apt->L, "file");
        lua_setfield(apt->L, -2, "type");
        lua_pushstring(apt->L, by);
        lua_setfield(apt->L, -2, "by");
        overlay_put(apt->L, apt->host, "file", *files);
    }
}

/* [-0, +0, v] */
static void predict(struct apt_packages *packages, const struct wanted *wanted)
{
    struct apt *apt = packages->apt;
    const char *by = NULL;
    for (size_t i = 0; i < packages->count; i++) {
        struct apt_package *package = &packages->items[i];
        if (!package->begun || package->decision != CHANGE_PREDICT)
            continue;
        by = by ? by : package->name;
        apt_package_predict(apt, package->name, true, package->target, package->status.wanted == 'h');
    }
    if (!by)
        return;
    predict_names(apt, wanted->users, "user", by);
    predict_names(apt, wanted->groups, "group", by);
    predict_units(apt, wanted->units, "disabled", by);
    predict_units(apt, wanted->enabled, "enabled", by);
    predict_files(apt, wanted->files, by);
}

/* Prints "user consul", ... for what is not there; the arguments come in pairs. */
static const char verify_script[] =
    "while [ $# -gt 1 ]; do\n"
    "  case $1 in\n"
    "    user) getent passwd -- \"$2\" ;;\n"
    "    group) getent group -- \"$2\" ;;\n"
    "    unit) [ -e \"/lib/systemd/system/$2\" ] || [ -e \"/usr/lib/systemd/system/$2\" ] ||\n"
    "      [ -e \"/etc/systemd/system/$2\" ] || [ -e \"/etc/init.d/${2%.service}\" ] ||\n"
    "      [ \"$(systemctl show -p LoadState --value -- \"$2\" 2>/dev/null)\" = loaded ] ;;\n"
    "    file) [ -e \"$2\" ] || [ -L \"$2\" ] ;;\n"
    "  esac >/dev/null || echo \"$1 $2\"\n"
    "  shift 2\n"
    "done\n";

static size_t add_pairs(struct apt *apt, const char **argv, size_t at, const char *what, const char **names)
{
    bool is_unit = strcmp(what, "unit") == 0;
    for (; names && *names; names++) {
        argv[at++] = what;
        argv[at++] = is_unit ? unit_name(apt, *names) : *names;
    }
    return at;
}

static size_t length_of(const char **names)
{
    size_t count = 0;
    while (names && names[count])
        count++;
    return count;
}

/* Does passwd(5) or group(5), as a file, have all of the names? */
static bool are_listed(struct apt *apt, const char *path, const char **names)
{
    struct failure ignored;
    if (!names || !*names)
        return true;
    struct buffer *text = scratch_buffer(apt->scratch);
    buffer_append_text(text, "\n");
    if (!host_read(apt->host, path, text, &ignored))
        return false;
    bool found = true;
    for (; found && *names; names++)
        found = strstr(buffer_text(text), scratch_format(apt->scratch, "\n%s:", *names)) != NULL;
    return found;
}

static bool have_unit_files(struct apt *apt, const char **names)
{
    static const char *const folders[] = {"/lib/systemd/system", "/usr/lib/systemd/system",
                                          "/etc/systemd/system"};
    enum { FOLDERS = sizeof folders / sizeof *folders };
    struct failure ignored;
    struct host_stat *stats = scratch_zeroed(apt->scratch, FOLDERS, sizeof *stats);
    bool found = true;
    for (; found && names && *names; names++) {
        const char *paths[FOLDERS];
        for (size_t i = 0; i < FOLDERS; i++)
            paths[i] = scratch_format(apt->scratch, "%s/%s", folders[i], unit_name(apt, *names));
        found = host_stat(apt->host, paths, FOLDERS, stats, &ignored) &&
                (stats[0].exists || stats[1].exists || stats[2].exists);
    }
    return found;
}

/* Is all that `brings` says plain to see, in files? So a run that has nothing to do starts no process for it. */
static bool is_plain(struct apt *apt, const struct wanted *wanted)
{
    struct failure ignored;
    struct host_stat stat;
    bool found = are_listed(apt, "/etc/passwd", wanted->users) &&
                 are_listed(apt, "/etc/group", wanted->groups) && have_unit_files(apt, wanted->units) &&
                 have_unit_files(apt, wanted->enabled);
    for (const char **file = wanted->files; found && file && *file; file++)
        found = host_stat_one(apt->host, *file, &stat, &ignored) && stat.exists;
    return found;
}

/* [-0, +0, v] Is it true what `brings` says? Else --check would go on to predict from a lie. */
static void verify(struct apt *apt, const struct wanted *wanted)
{
    size_t count = length_of(wanted->users) + length_of(wanted->groups) + length_of(wanted->units) +
                   length_of(wanted->enabled) + length_of(wanted->files);
    if (!count || is_plain(apt, wanted))
        return;
    const char **argv = scratch_zeroed(apt->scratch, 2 * count + 6, sizeof *argv);
    size_t at = 0;
    argv[at++] = "sh";
    argv[at++] = "-c";
    argv[at++] = verify_script;
    argv[at++] = "sh";
    at = add_pairs(apt, argv, at, "user", wanted->users);
    at = add_pairs(apt, argv, at, "group", wanted->groups);
    at = add_pairs(apt, argv, at, "unit", wanted->units);
    at = add_pairs(apt, argv, at, "unit", wanted->enabled);
    add_pairs(apt, argv, at, "file", wanted->files);
    char *missing = apt_ask(apt, argv, 0);
    if (!missing)
        apt_raise(apt);
    size_t length = strlen(missing);
    if (!length)
        return;
    missing[length - 1] = '\0';
    for (char *at_line = missing; (at_line = strchr(at_line, '\n'));)
        *at_line = ',';
    failure_set(&apt->failure, "failed", OP, "the packages did not bring what brings= says: %s", missing);
    failure_hint(&apt->failure, "correct brings=, as --check relies on it");
    apt_raise(apt);
}

/* ---- making it so ---- */

static bool downgrades(const struct apt_packages *packages)
{
    for (size_t i = 0; i < packages->count; i++) {
        const struct apt_package *package = &packages->items[i];
        if (package->begun && apt_package_present(package) && package->target &&
            apt_version_compare(package->target, package->status.version) < 0)
            return true;
    }
    return false;
}

static bool run(struct apt_packages *packages, const struct wanted *wanted, int *status, const char **said)
{
    struct apt *apt = packages->apt;
    const char **argv = scratch_zeroed(apt->scratch, packages->count + 10, sizeof *argv);
    size_t at = 0;
    argv[at++] = "deny";
    argv[at++] = "--no-remove"; /* what goes must be on the record too: that is apt.absent's */
    if (downgrades(packages))
        argv[at++] = "--allow-downgrades";
    if (wanted->recommends_given)
        argv[at++] = wanted->recommends ? "--install-recommends" : "--no-install-recommends";
    argv[at++] = "install";
    apt_packages_argv(packages, argv, at, wanted->version != NULL);
    return apt_script(apt, APT_LOCKS_PACKAGES, apt_package_script, argv, status, said);
}

/* Compares dpkg's state with what was wanted: that, and not what was printed, is the judge. */
static void judge(struct apt_packages *packages, const struct wanted *wanted, const char *why)
{
    struct apt *apt = packages->apt;
    bool known = apt_packages_look_again(packages);
    for (size_t i = 0; i < packages->count; i++) {
        struct apt_package *package = &packages->items[i];
        if (!package->begun || package->decision != CHANGE_APPLY)
            continue;
        if (known && is_satisfied(package, wanted)) {
            package->change.after = apt_version_json(apt, package->status.version);
            continue;
        }
        const char *found = !known                           ? "its state is not known"
                            : package->status.present == 'n' ? "it is not installed"
                            : !apt_package_present(package)  ? "it is half installed"
                                                             : "it has the wrong version";
        package->error = scratch_format(apt->scratch, "%s%s", found, why);
    }
}

/* [-0, +0, v] */
static void apply(struct apt_packages *packages, const struct wanted *wanted)
{
    struct apt *apt = packages->apt;
    int status = 0;
    const char *said = "", *hint = "", *kind = "failed";
    report_progress(apt->L, "apt: installing %s", apt_packages_names(packages));
    bool ran = run(packages, wanted, &status, &said);
    const char *why = "";
    if (!ran) {
        why = scratch_format(apt->scratch, ": %s", apt->failure.message);
        kind = scratch_text(apt->scratch, apt->failure.kind);
        hint = scratch_text(apt->scratch, apt->failure.hint);
    } else if (status != 0) {
        why =
            scratch_format(apt->scratch, ": apt-get ended with status %d%s", status, apt_because(apt, said));
        hint = "see /var/log/apt/term.log on the host; the next run goes on where this one stopped";
    }
    judge(packages, wanted, why);
    apt_packages_end(packages, kind, hint);
    verify(apt, wanted);
}

int apt_installed(lua_State *L)
{
    struct apt apt;
    struct wanted wanted;
    struct apt_packages packages;
    apt_open(L, OP, &apt);
    const char *const *names = read_options(&apt, &wanted);
    apt_packages_look(&apt, names, &packages);
    bool any = false;
    for (size_t i = 0; i < packages.count; i++) {
        packages.items[i].needed = !is_satisfied(&packages.items[i], &wanted);
        if (packages.items[i].needed)
            refuse_held(&apt, &packages.items[i], &wanted);
        any = any || packages.items[i].needed;
    }
    if (any)
        choose_all(&packages, &wanted);
    for (size_t i = 0; i < packages.count; i++)
        describe(&apt, &packages.items[i]);
    if (any && apt_packages_begin(&packages)) {
        apply(&packages, &wanted);
    } else if (any) {
        predict(&packages, &wanted);
        apt_packages_end(&packages, "failed", "");
    } else if (!apt.check) {
        verify(&apt, &wanted);
    }
    return apt_packages_result(&packages);
}
