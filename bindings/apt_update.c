/* Package lists: apt.updated, and the update that a new repository needs.
 *
 * apt leaves the modification time of a list as the server gave it, but renames or touches the release file on every
 * update, also when nothing was new: its ctime is the time of the last one. */
#include "apt_update.h"

#include "apt_source.h"
#include "json.h"
#include "overlay.h"
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define UPDATED        "apt.updated"
#define DEFAULT_AGE_MS (60 * 60 * 1000)

static const char update_script[] = "apt \"$@\"\n";

/* ctime of the suite's release file in the lists; 0 where there is none. False and apt->failure. */
static bool listed_at(struct apt *apt, const char *uri, const char *suite, int64_t *time_us)
{
    static const char *const files[] = {"InRelease", "Release"};
    const char *paths[2];
    struct host_stat stats[2];
    for (size_t i = 0; i < 2; i++) {
        struct buffer url = {0}, path = {0};
        apt_release_url(uri, suite, files[i], &url);
        buffer_append_text(&path, APT_LISTS "/");
        apt_list_name(buffer_text(&url), &path);
        buffer_free(&url);
        paths[i] = scratch_take(apt->scratch, &path);
    }
    if (!host_stat(apt->host, paths, 2, stats, &apt->failure))
        return false;
    *time_us = 0;
    for (size_t i = 0; i < 2; i++)
        if (stats[i].exists && stats[i].ctime_us > *time_us)
            *time_us = stats[i].ctime_us;
    return true;
}

/* [-0, +0, -] Did an earlier step predict the update of that suite? */
static bool is_predicted(struct apt *apt, const char *uri, const char *suite)
{
    lua_State *L = apt->L;
    if (!overlay_get(L, apt->host, "repository", uri))
        return false;
    bool same = lua_getfield(L, -1, "suite") == LUA_TSTRING && strcmp(lua_tostring(L, -1), suite) == 0;
    lua_pop(L, 2);
    return same;
}

bool apt_lists_current(struct apt *apt, const char *uri, const char *suite, int64_t since_us)
{
    int64_t listed_us;
    if (is_predicted(apt, uri, suite))
        return true;
    if (!listed_at(apt, uri, suite, &listed_us))
        apt_raise(apt);
    return listed_us > since_us;
}

/* Updates, and judges by the lists: apt-get update ends with 0 when a source could not be read. */
static bool update_one(struct apt *apt, const char *uri, const char *suite, const char *sources_path)
{
    int64_t before_us, after_us;
    int status = 0;
    const char *said = "", *shown = apt_shown_uri(apt, uri);
    const char *arguments[] = {scratch_format(apt->scratch, "-oDir::Etc::sourcelist=%s", sources_path),
                               "-oDir::Etc::sourceparts=-",
                               "-oAPT::Get::List-Cleanup=0",
                               "-oAPT::Update::Error-Mode=any",
                               "update",
                               NULL};
    report_progress(apt->L, "apt: reading %s %s", shown, suite);
    if (!listed_at(apt, uri, suite, &before_us) ||
        !apt_script(apt, APT_LOCKS_LISTS, update_script, arguments, &status, &said) ||
        !listed_at(apt, uri, suite, &after_us))
        return false;
    if (status == 0 && after_us > before_us)
        return true;
    failure_set(&apt->failure, "failed", apt->op, "apt-get update cannot use %s %s%s", shown, suite,
                apt_because(apt, said));
    failure_hint(&apt->failure,
                 "see that the host reaches the repository, and that `key` is the one that signs it");
    return false;
}

bool apt_update_source(struct apt *apt, const char *uri, const char *suite, const char *sources_path)
{
    lua_State *L = apt->L;
    const char *shown = apt_shown_uri(apt, uri);
    struct change change = {
        .kind = UPDATED,
        .target = scratch_format(apt->scratch, "%s %s", shown, suite),
        .before = "{\"current\":false}",
        .after = "{\"current\":true}",
    };
    enum change_decision decision = change_begin(L, &change);
    if (decision == CHANGE_APPLY && !update_one(apt, uri, suite, sources_path)) {
        snprintf(apt->failure.op, sizeof apt->failure.op, "%s %.100s", UPDATED, shown);
        change_fail(L, &change, &apt->failure);
    }
    if (decision == CHANGE_PREDICT) {
        lua_createtable(L, 0, 1);
        lua_pushstring(L, suite);
        lua_setfield(L, -2, "suite");
        overlay_put(L, apt->host, "repository", uri);
    }
    change_end(L, &change);
    return decision != CHANGE_DECLINE;
}

/* ---- apt.updated ---- */

/* What the host says in one go, in microseconds: now, ctime of the oldest release file, of the newest source file. */
static const char age_script[] =
    "us() { sed 's/\\.\\(......\\).*/\\1/'; }\n"
    "lists=$(find /var/lib/apt/lists -maxdepth 1 -name '*Release' -type f -printf '%C@\\n' | sort -n | head "
    "-n 1 | us)\n"
    "sources=$(find /etc/apt/sources.list /etc/apt/sources.list.d -type f -printf '%C@\\n' 2>/dev/null |\n"
    "  sort -n | tail -n 1 | us)\n"
    "echo \"$(date +%s%6N) ${lists:-0} ${sources:-0}\"\n";

struct age {
    int64_t now_us, lists_us, sources_us; /* 0 where there is none */
};

static bool ask_age(struct apt *apt, struct age *age)
{
    const char *argv[] = {"sh", "-c", age_script, NULL};
    const char *answer = apt_ask(apt, argv, 0);
    if (!answer)
        return false;
    if (sscanf(answer, "%" SCNd64 " %" SCNd64 " %" SCNd64, &age->now_us, &age->lists_us, &age->sources_us) ==
        3)
        return true;
    return failure_set(&apt->failure, "failed", apt->op, "cannot find out how old the package lists are");
}

static bool update_all(struct apt *apt, const struct age *before)
{
    static const char *const arguments[] = {"-oAPT::Update::Error-Mode=any", "update", NULL};
    struct age after;
    int status = 0;
    const char *said = "";
    report_progress(apt->L, "apt: updating the package lists");
    if (!apt_script(apt, APT_LOCKS_LISTS, update_script, arguments, &status, &said) || !ask_age(apt, &after))
        return false;
    if (status == 0 && after.lists_us > before->lists_us)
        return true;
    failure_set(&apt->failure, "failed", apt->op, "apt-get update ended with status %d%s", status,
                apt_because(apt, said));
    failure_hint(&apt->failure,
                 "see that the host reaches its repositories, or take out those that are gone");
    return false;
}

static bool visit_sources(lua_State *L, const char *path, void *context)
{
    (void)context;
    if (strncmp(path, "/etc/apt/sources.list", 21) != 0 || !lua_istable(L, -1))
        return false;
    lua_getfield(L, -1, "exists");
    bool exists = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return exists;
}

/* [-0, +0, m] Would an earlier step have written a source file? */
static bool sources_predicted(struct apt *apt)
{
    return overlay_each(apt->L, apt->host, "file", visit_sources, NULL);
}

/* [-0, +0, m] */
static bool all_current(struct apt *apt, const struct age *age, int64_t most_us)
{
    if (overlay_get(apt->L, apt->host, "lists", "all")) {
        lua_pop(apt->L, 1);
        return true;
    }
    return age->lists_us && age->now_us - age->lists_us <= most_us && age->lists_us > age->sources_us &&
           !sources_predicted(apt);
}

static const char *describe_age(struct apt *apt, int64_t age_us)
{
    return age_us < 0 ? "{\"age\":null}"
                      : scratch_format(apt->scratch, "{\"age\":%" PRId64 "}", age_us / 1000000);
}

int apt_updated(lua_State *L)
{
    static const char *const names[] = {"max_age", "lock_timeout", NULL};
    struct apt apt;
    struct age age;
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    apt_open(L, UPDATED, &apt);
    argument_table(L, 1, apt.op, names);
    int64_t most_us = argument_duration(L, 1, apt.op, "max_age", DEFAULT_AGE_MS) * 1000;
    apt.lock_timeout_ms = (uint64_t)argument_duration(L, 1, apt.op, "lock_timeout", APT_LOCK_TIMEOUT_MS);
    if (!ask_age(&apt, &age))
        apt_raise(&apt);
    int64_t age_us = age.lists_us ? age.now_us - age.lists_us : -1;
    struct change change = {
        .kind = UPDATED,
        .target = "all sources",
        .before = describe_age(&apt, age_us),
        .after = "{\"age\":0}",
    };
    if (all_current(&apt, &age, most_us)) {
        change.after = change.before;
        change_unneeded(L, change.kind, change.target);
        return change_push_result(L, &change, false);
    }
    enum change_decision decision = change_begin(L, &change);
    if (decision == CHANGE_APPLY && !update_all(&apt, &age))
        change_fail(L, &change, &apt.failure);
    if (decision == CHANGE_PREDICT) {
        lua_pushboolean(L, true);
        overlay_put(L, apt.host, "lists", "all");
    }
    change_end(L, &change);
    return change_push_result(L, &change, decision != CHANGE_DECLINE);
}
