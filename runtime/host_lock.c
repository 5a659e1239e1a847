/* The lock of a host, by one command there: flock(1) for the moment in which the file is read and written. */
#include "host_lock.h"

#include "fiber.h"
#include "journal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOCK_TIMEOUT_MS 60000

/* Arguments: the folder, the process, its text, the run. A process is itself where it began when it did: numbers are used again
 * (fields 4 and 22 of proc_pid_stat(5); a name in brackets may hold anything); one that has ended and that its parent has not
 * looked at yet (3) does nothing any more. A run that was begun by the one that holds the lock works for it. Prints what the holder wrote, and ends with 75, where another lives. */
static const char script[] =
    "field() { sed 's/.*) //' \"/proc/$1/stat\" 2>/dev/null | cut -d ' ' -f \"$2\"; }\n"
    "descends() { p=$1; while [ \"${p:-0}\" -gt 1 ]; do p=$(field \"$p\" 2); [ \"$p\" = \"$2\" ] && return; "
    "done; false; }\n"
    "lives() { [ \"$(field \"$1\" 20)\" = \"$2\" ] && case $(field \"$1\" 1) in [ZX]) false ;; esac; }\n"
    "umask 077\n"
    "mkdir -p -- \"$1\" && exec 9<>\"$1/lock\" && flock -w 30 9 || exit 1\n"
    "if { read -r pid start && read -r text; } <&9 && [ \"$pid\" != \"$2\" ] && [ -n \"$start\" ] &&\n"
    "    lives \"$pid\" \"$start\" && [ \"${text#\"run $4 \"}\" = \"$text\" ]; then\n"
    "    descends $$ \"$pid\" && exit\n"
    "    printf '%s %s\\n' \"$pid\" \"$text\"\n"
    "    exit 75\n"
    "fi\n"
    "printf '%s %s\\n%s\\n' \"$2\" \"$(field \"$2\" 20)\" \"$3\" >\"$1/lock\"\n";

/* Arguments: the folder, the process. */
static const char unlock_script[] = "exec 9<>\"$1/lock\" && flock -w 30 9 && read -r pid start <&9 && [ "
                                    "\"$pid\" = \"$2\" ] && : >\"$1/lock\"\n";

/* "run 20261122-104601-3fa2 of root@ops1 since 10:46:01" */
static void describe_holder(const struct host *host, const char *run, struct buffer *text)
{
    const char *user = getenv("SUDO_USER");
    char when[32];
    struct tm local;
    time_t now = time(NULL);
    user = user && *user ? user : getenv("USER");
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&now, &local));
    buffer_format(text, "run %s of %s@%s since %s", run, user && *user ? user : "root",
                  host->runtime->local->name, when);
}

static bool refuse(const struct host *host, const char *said, struct failure *failure)
{
    char *end;
    long pid = strtol(said, &end, 10);
    failure_set(failure, "busy", "lock", "%s is being changed by %.*s", host->name,
                (int)strcspn(end + (*end == ' '), "\n"), end + (*end == ' '));
    failure_hint(failure, "wait for its end, then run this again; if it hangs, `kill %ld` on %s ends it", pid,
                 host->name);
    return false;
}

/* A lock ends with its connection: whoever comes next may have it, also while this run goes on by another connection. */
static bool is_held(struct host *host)
{
    bool connected = !host->operations->is_connected || host->operations->is_connected(host);
    return host->locked && host->locked == host->pid && connected;
}

/* In its turn. Where the lock was lost and cannot be had again, it stays lost: no change that began under it goes on. */
static bool take(struct host *host, const char *run, struct failure *failure)
{
    struct buffer folder = {0}, process = {0}, holder = {0};
    struct process_result result;
    struct host_command reach = {.argv = (const char *const[]){"true", NULL}, .timeout_ms = LOCK_TIMEOUT_MS};
    /* Who one is there is known after the first command, anew after a connection was lost. */
    bool known = (host->pid && !host->locked) || host_check(host, &reach, NULL, failure);
    buffer_format(&folder, "%s/moonbook", host->state);
    long pid = host->pid;
    buffer_format(&process, "%ld", pid);
    describe_holder(host, run, &holder);
    const char *argv[] = {"sh", "-c", script, "sh", folder.bytes, process.bytes, holder.bytes, run, NULL};
    struct host_command command = {.argv = argv, .timeout_ms = LOCK_TIMEOUT_MS};
    bool ran = known && host_run(host, &command, &result, failure);
    bool taken = ran && result.status == 0;
    host->locked = taken ? pid : host->locked;
    if (ran && result.status == 75) {
        refuse(host, buffer_text(&result.output), failure);
    } else if (ran && !taken) {
        struct buffer said = {0};
        host_last_words(host, &result, &said);
        failure_set(failure, "failed", "lock", "%s/lock cannot be taken: %s", folder.bytes,
                    buffer_text(&said));
        failure_hint(
            failure,
            "let the folder be writable for who changes %s, or use --sudo; flock(1) has to be there, "
            "of util-linux or busybox",
            host->name);
        buffer_free(&said);
    }
    if (known)
        process_result_free(&result);
    buffer_free(&folder);
    buffer_free(&process);
    buffer_free(&holder);
    return taken;
}

bool host_lock(struct host *host, const char *run, struct failure *failure)
{
    if (is_held(host))
        return true;
    enum wait_outcome outcome = fiber_lock(host->runtime, &host->locking);
    if (outcome != WAIT_WOKEN)
        return fiber_wait_failure(failure, outcome, "lock", 0);
    bool taken = is_held(host) || take(host, run, failure);
    fiber_unlock(&host->locking);
    return taken;
}

bool host_lock_renew(struct host *host, struct failure *failure)
{
    bool taking = host->locking.holder && host->locking.holder == host->runtime->current;
    if (!host->locked || host->locked == host->pid || !fiber_shields(host->runtime) || taking)
        return true;
    return host_lock(host, journal_run(host->runtime->journal), failure);
}

void host_unlock(struct host *host)
{
    struct buffer folder = {0}, process = {0};
    struct process_result result;
    struct failure failure;
    if (!host->locked)
        return;
    buffer_format(&folder, "%s/moonbook", host->state);
    buffer_format(&process, "%ld", host->pid);
    const char *argv[] = {"sh", "-c", unlock_script, "sh", folder.bytes, process.bytes, NULL};
    struct host_command command = {.argv = argv, .timeout_ms = LOCK_TIMEOUT_MS};
    host_run(host, &command, &result, &failure);
    process_result_free(&result);
    host->locked = false;
    buffer_free(&folder);
    buffer_free(&process);
}
