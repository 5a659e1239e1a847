/* apt's locks: who holds them, waiting for them, and running scripts that take them.
 *
 * They are fcntl locks of other processes, perhaps on another machine: nothing can wait for those but a look at
 * /proc/locks now and then. They are never deleted. */
#include "apt.h"
#include "fiber.h"
#include "report.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#define LOOK_AGAIN_MS     500
#define SCRIPT_TIMEOUT_MS (60 * 60 * 1000) /* of one apt-get, which may download much */

/* Exit statuses of our own scripts. */
#define STATUS_NOT_ROOT 77
#define STATUS_BUSY     75

static const char *const list_locks[] = {APT_LISTS "/lock", NULL};
static const char *const package_locks[] = {"/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock",
                                            "/var/cache/apt/archives/lock", NULL};

#define LOCKS_MOST 4

bool apt_lock_holder(const char *locks, uint64_t device, uint64_t inode, bool any_device, long *pid)
{
    for (const char *line = locks; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        char type[16] = "";
        long holder;
        unsigned high, low;
        unsigned long long number;
        /* "1: POSIX  ADVISORY  WRITE 812 08:01:131077 0 EOF"; one that waits has "->" after the colon. */
        if (sscanf(line, "%*d: %15s %*s %*s %ld %x:%x:%llu", type, &holder, &high, &low, &number) != 5)
            continue;
        if ((strcmp(type, "POSIX") != 0 && strcmp(type, "OFDLCK") != 0) || number != inode)
            continue;
        if (!any_device && (high != major(device) || low != minor(device)))
            continue;
        *pid = holder > 0 ? holder : -1;
        return true;
    }
    return false;
}

/* "unattended-upgr (pid 812, /usr/bin/python3 ...)": by what the kernel says of the process. */
static const char *name_holder(struct apt *apt, long pid)
{
    if (pid < 0)
        return "another process";
    struct failure ignored;
    struct buffer *name = scratch_buffer(apt->scratch), *line = scratch_buffer(apt->scratch);
    host_read(apt->host, scratch_format(apt->scratch, "/proc/%ld/comm", pid), name, &ignored);
    host_read(apt->host, scratch_format(apt->scratch, "/proc/%ld/cmdline", pid), line, &ignored);
    while (name->length && isspace((unsigned char)name->bytes[name->length - 1]))
        name->bytes[--name->length] = '\0';
    for (size_t i = 0; i + 1 < line->length; i++)
        if (!line->bytes[i])
            line->bytes[i] = ' ';
    return scratch_format(apt->scratch, "%s (pid %ld%s%.120s)", name->length ? name->bytes : "a process", pid,
                          line->length ? ": " : "", buffer_text(line));
}

/* Where file systems are stacked, stat and /proc/locks may name different devices: then an open descriptor of the
 * process on the very path has to prove it. */
static bool has_open(struct apt *apt, long pid, const char *path)
{
    static const char script[] =
        "for f in /proc/\"$1\"/fd/*; do [ \"$(readlink \"$f\")\" = \"$2\" ] && exit 0; done; exit 1";
    const char *number = scratch_format(apt->scratch, "%ld", pid);
    const char *argv[] = {"sh", "-c", script, "sh", number, path, NULL};
    struct host_command command = {.argv = argv, .timeout_ms = 10000};
    struct process_result result;
    struct failure ignored;
    bool open = host_run(apt->host, &command, &result, &ignored) && result.status == 0;
    process_result_free(&result);
    return open;
}

/* Looks who holds one of the locks. False and apt->failure when that cannot be found out. */
static bool look(struct apt *apt, const char *const *paths, const char **holder, const char **held)
{
    struct host_stat stats[LOCKS_MOST];
    struct buffer *locks = scratch_buffer(apt->scratch);
    size_t count = 0;
    while (paths[count])
        count++;
    *holder = NULL;
    if (!host_stat(apt->host, paths, count, stats, &apt->failure))
        return false;
    if (!host_read(apt->host, "/proc/locks", locks, &apt->failure))
        return strcmp(apt->failure.kind, "cancelled") !=
               0; /* without /proc/locks apt itself says what it misses */
    for (size_t i = 0; i < count && !*holder; i++) {
        long pid;
        if (!stats[i].exists)
            continue;
        if (apt_lock_holder(buffer_text(locks), stats[i].device, stats[i].inode, false, &pid) ||
            (apt_lock_holder(buffer_text(locks), stats[i].device, stats[i].inode, true, &pid) && pid > 0 &&
             has_open(apt, pid, paths[i]))) {
            *holder = name_holder(apt, pid);
            *held = paths[i];
        }
    }
    return true;
}

/* Waits until nobody holds the locks; at the deadline fails with "timeout", naming the holder. */
static bool wait_for_locks(struct apt *apt, const char *const *paths, uint64_t deadline)
{
    for (;;) {
        const char *holder, *held = "";
        if (!look(apt, paths, &holder, &held))
            return false;
        if (!holder)
            return true;
        if (runtime_now(apt->runtime) >= deadline) {
            failure_set(&apt->failure, "timeout", apt->op, "%s still holds %s after %.0f s", holder, held,
                        (double)apt->lock_timeout_ms / 1000);
            failure_hint(&apt->failure,
                         "wait for it to end or stop it, never delete the lock; lock_timeout= waits longer");
            return false;
        }
        report_progress(apt->L, "apt: waiting for %s", holder);
        enum wait_outcome outcome = fiber_sleep(apt->runtime, LOOK_AGAIN_MS);
        if (outcome != WAIT_TIMEOUT)
            return fiber_wait_failure(&apt->failure, outcome, apt->op, apt->lock_timeout_ms);
    }
}

/* What every script begins with. sudo and sshd give a poor PATH, dpkg needs the sbin folders. */
static const char prelude[] =
    "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    "export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_SUSPEND=1\n"
    "umask 022\n"
    "[ \"$(id -u)\" = 0 ] || { echo 'this needs root' >&2; exit 77; }\n"
    "wait=$1; shift\n"
    "apt() {\n"
    "  apt-get -y -q -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \\\n"
    "    -o DPkg::Lock::Timeout=\"$wait\" -o Dpkg::Use-Pty=0 \"$@\" </dev/null 9>&-\n"
    "}\n";

static bool lost_a_race(const struct process_result *result)
{
    const char *said = buffer_text(&result->error);
    return result->status == STATUS_BUSY || strstr(said, "Could not get lock") ||
           strstr(said, "locked by another process") || strstr(said, "is held by process");
}

static const char *last_words(struct apt *apt, const struct process_result *result)
{
    struct buffer *said = scratch_buffer(apt->scratch);
    host_last_words(apt->host, result, said);
    return buffer_text(said);
}

static bool refused_as_no_root(struct apt *apt)
{
    failure_set(&apt->failure, "permission", apt->op, "this needs root on %s", apt->host->name);
    failure_hint(&apt->failure, "run with --sudo or connect as root");
    return false;
}

bool apt_script(struct apt *apt, enum apt_locks locks, const char *script, const char *const *arguments,
                int *status, const char **said)
{
    const char *const *paths = locks == APT_LOCKS_LISTS ? list_locks : package_locks;
    uint64_t deadline = runtime_now(apt->runtime) + apt->lock_timeout_ms;
    size_t count = 0;
    while (arguments[count])
        count++;
    const char **argv = scratch_zeroed(apt->scratch, count + 6, sizeof *argv);
    argv[0] = "sh";
    argv[1] = "-c";
    argv[2] = scratch_format(apt->scratch, "%s%s", prelude, script);
    argv[3] = "moonbook-apt";
    memcpy(argv + 5, arguments, count * sizeof *argv);
    struct host_command command = {.argv = argv, .timeout_ms = SCRIPT_TIMEOUT_MS};
    for (;;) {
        if (!wait_for_locks(apt, paths, deadline))
            return false;
        uint64_t now = runtime_now(apt->runtime);
        argv[4] = scratch_format(apt->scratch, "%" PRIu64, now < deadline ? (deadline - now) / 1000 + 1 : 1);
        struct process_result result;
        bool ran = host_run(apt->host, &command, &result, &apt->failure);
        bool again =
            ran && result.status != 0 && lost_a_race(&result) && runtime_now(apt->runtime) < deadline;
        *status = ran ? result.status : -1;
        *said = ran ? last_words(apt, &result) : "";
        process_result_free(&result);
        if (!ran)
            return false;
        if (!again)
            return *status != STATUS_NOT_ROOT || refused_as_no_root(apt);
        enum wait_outcome outcome = fiber_sleep(apt->runtime, LOOK_AGAIN_MS);
        if (outcome != WAIT_TIMEOUT)
            return fiber_wait_failure(&apt->failure, outcome, apt->op, apt->lock_timeout_ms);
    }
}

const char *apt_because(struct apt *apt, const char *said)
{
    return *said ? scratch_format(apt->scratch, ": %s", said) : "";
}
