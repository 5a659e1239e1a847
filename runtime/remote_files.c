/* Files by shell. The scripts get everything as arguments or on standard input; messages are those of the C locale. */
#include "remote_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define FILES_MS (5 * 60 * 1000)

/* What programs say at the end of a line, as errno has it; 0 where it is none of these. */
static int errno_of(const char *line, size_t length)
{
    static const int numbers[] = {ENOENT, ENOTDIR, EACCES, EPERM,        EISDIR, ELOOP,  ENOSPC, EROFS,
                                  EEXIST, EIO,     EDQUOT, ENAMETOOLONG, EBUSY,  EINVAL, ESTALE, ETXTBSY};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const char *text = strerror(numbers[i]);
        size_t size = strlen(text);
        if (length >= size && memcmp(line + length - size, text, size) == 0)
            return numbers[i];
    }
    return 0;
}

static size_t line_length(const char *text)
{
    return strcspn(text, "\n");
}

/* From the last line of what a script said. */
static bool fail_by_words(const struct host *host, const struct process_result *result, const char *op,
                          const char *path, struct failure *failure)
{
    const char *line = buffer_text(&result->error), *next;
    while ((next = strchr(line, '\n')) && next[1])
        line = next + 1;
    size_t length = line_length(line);
    int number = errno_of(line, length);
    if (number == ESTALE)
        return failure_set(failure, "failed", op, "%s: another thing was put there meanwhile", path);
    if (number)
        return failure_errno(failure, number, op, "%s", path);
    if (memmem(line, length, "invalid user", 12))
        return failure_errno(failure, EINVAL, op, "%s: cannot find the owner", path);
    if (memmem(line, length, "invalid group", 13))
        return failure_errno(failure, EINVAL, op, "%s: cannot find the group", path);
    return failure_set(failure, "failed", op, "%s on %s: %.*s", path, host->name, length ? (int)length : 10,
                       length ? line : "no reason");
}

/* Runs a script. False and the failure when it did not end with 0. */
static bool run_script(struct host *host, const struct host_command *command, const char *op,
                       const char *path, struct process_result *result, struct failure *failure)
{
    if (!host_run(host, command, result, failure))
        return false;
    return (result->status == 0 && !result->signal) || fail_by_words(host, result, op, path, failure);
}

/* ---- reading ---- */

bool remote_read(struct host *host, const char *path, size_t limit, struct buffer *content,
                 struct failure *failure)
{
    /* A FIFO without a writer would hang. */
    static const char script[] = "export LC_ALL=C; [ ! -p \"$1\" ] || exit 0; exec head -c \"$2\" -- \"$1\"";
    char most[24];
    struct process_result result;
    snprintf(most, sizeof most, "%zu", limit + 1);
    const char *argv[] = {"sh", "-c", script, "sh", path, most, NULL};
    struct host_command command = {.argv = argv, .timeout_ms = FILES_MS};
    bool done = run_script(host, &command, "read", path, &result, failure);
    if (done && result.output.length > limit)
        done = failure_set(failure, "failed", "read", "%s has more than %zu MiB", path, limit >> 20);
    if (done)
        buffer_append(content, buffer_text(&result.output), result.output.length);
    process_result_free(&result);
    return done;
}

/* ---- stat ---- */

/* Of NUL-terminated fields: numbers, owner, group, path, path with link target. */
#define STAT_FORMAT "%f %u %g %s %i %d %.6Y %.6Z\\0%U\\0%G\\0%n\\0%N\\0"
#define STAT_FIELDS 5

static char type_of(unsigned mode)
{
    return S_ISREG(mode) ? 'f' : S_ISDIR(mode) ? 'd' : S_ISLNK(mode) ? 'l' : 'o';
}

static int64_t microseconds(const char *text, char **end)
{
    int64_t seconds = strtoll(text, end, 10);
    return **end == '.' ? seconds * 1000000 + strtoll(*end + 1, end, 10) : seconds * 1000000;
}

/* stat says "UNKNOWN" where there is no name: the number, as everywhere. */
static void take_name(const char *name, unsigned number, char *out, size_t size)
{
    if (strcmp(name, "UNKNOWN") == 0)
        snprintf(out, size, "%u", number);
    else
        snprintf(out, size, "%s", name);
}

static void take_stat(const char *const fields[STAT_FIELDS], struct host_stat *stat)
{
    char *at;
    *stat = (struct host_stat){.exists = true};
    unsigned mode = (unsigned)strtoul(fields[0], &at, 16);
    stat->type = type_of(mode);
    stat->mode = mode & 07777;
    stat->uid = (uid_t)strtoul(at, &at, 10);
    stat->gid = (gid_t)strtoul(at, &at, 10);
    stat->size = strtoull(at, &at, 10);
    stat->inode = strtoull(at, &at, 10);
    stat->device = strtoull(at, &at, 10);
    stat->mtime_us = microseconds(at, &at);
    stat->ctime_us = microseconds(at, &at);
    take_name(fields[1], stat->uid, stat->owner, sizeof stat->owner);
    take_name(fields[2], stat->gid, stat->group, sizeof stat->group);
    size_t name = strlen(fields[3]);
    if (stat->type == 'l' && strlen(fields[4]) > name + 4)
        snprintf(stat->target, sizeof stat->target, "%s", fields[4] + name + 4);
}

/* The records come in the order of the paths, without those that are not there. */
static void take_stats(const struct buffer *output, const char *const *paths, size_t count,
                       struct host_stat *stats)
{
    const char *at = buffer_text(output), *end = at + output->length;
    size_t i = 0;
    while (at < end && i < count) {
        const char *fields[STAT_FIELDS];
        for (size_t field = 0; field < STAT_FIELDS; field++) {
            fields[field] = at < end ? at : "";
            at += at < end ? strlen(at) + 1 : 0;
        }
        while (i < count && strcmp(paths[i], fields[3]) != 0)
            i++;
        if (i < count)
            take_stat(fields, &stats[i++]);
    }
}

/* A path that is not there is no failure; another error is. */
static bool judge_errors(const struct buffer *error, struct failure *failure)
{
    for (const char *line = buffer_text(error); *line;) {
        size_t length = line_length(line);
        int number = errno_of(line, length);
        if (number != ENOENT && number != ENOTDIR) {
            const char *text = length > 6 && strncmp(line, "stat: ", 6) == 0 ? line + 6 : line;
            return failure_set(failure, number == EACCES || number == EPERM ? "permission" : "failed", "stat",
                               "%.*s", (int)(length - (size_t)(text - line)), text);
        }
        line += length + (line[length] == '\n');
    }
    return true;
}

bool remote_stat(struct host *host, const char *const *paths, size_t count, struct host_stat *stats,
                 struct failure *failure)
{
    static const char script[] = "export LC_ALL=C QUOTING_STYLE=literal\n"
                                 "exec xargs -0r stat --printf='" STAT_FORMAT "' --";
    const char *argv[] = {"sh", "-c", script, NULL};
    struct buffer input = {0};
    struct process_result result;
    for (size_t i = 0; i < count; i++) {
        stats[i] = (struct host_stat){0};
        buffer_append(&input, paths[i], strlen(paths[i]) + 1);
    }
    struct host_command command = {
        .argv = argv, .input = buffer_text(&input), .input_length = input.length, .timeout_ms = FILES_MS};
    bool done = host_run(host, &command, &result, failure);
    if (done && result.status != 0 && result.status != 123) /* 123: stat failed for one of them */
        done = fail_by_words(host, &result, "stat", count ? paths[0] : "", failure);
    done = done && judge_errors(&result.error, failure);
    if (done)
        take_stats(&result.output, paths, count, stats);
    process_result_free(&result);
    buffer_free(&input);
    return done;
}

/* ---- both ---- */

#define LOOK_LIMIT ((size_t)256 << 10) /* what is larger is read only where it must be */

/* The record of stat, then the content; 3: the content was not read. */
static const char look_script[] = "export LC_ALL=C QUOTING_STYLE=literal\n"
                                  "stat --printf='" STAT_FORMAT "' -- \"$1\" || exit 4\n"
                                  "[ -f \"$1\" ] && [ ! -h \"$1\" ] || exit 3\n"
                                  "head -c \"$2\" -- \"$1\" 2>/dev/null || exit 3\n";

/* Where the record ends; NULL where it is none. */
static const char *end_of_record(const struct buffer *output)
{
    const char *at = output->bytes, *end = at + output->length;
    for (size_t field = 0; field < STAT_FIELDS && at; field++) {
        at = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
        at = at ? at + 1 : NULL;
    }
    return at;
}

bool remote_look(struct host *host, const char *path, struct host_stat *stat, struct buffer *content,
                 bool *read, struct failure *failure)
{
    char most[24];
    struct process_result result;
    snprintf(most, sizeof most, "%zu", LOOK_LIMIT + 1);
    const char *argv[] = {"sh", "-c", look_script, "sh", path, most, NULL};
    struct host_command command = {.argv = argv, .timeout_ms = FILES_MS};
    *stat = (struct host_stat){0};
    bool done = host_run(host, &command, &result, failure);
    if (done && result.status != 0 && result.status != 3 && result.status != 4)
        done = fail_by_words(host, &result, "stat", path, failure);
    done = done && judge_errors(&result.error, failure);
    const char *rest = done && result.status != 4 ? end_of_record(&result.output) : NULL;
    if (rest)
        take_stats(&result.output, &path, 1, stat);
    size_t length = rest ? result.output.length - (size_t)(rest - result.output.bytes) : 0;
    *read = rest && result.status == 0 && length <= LOOK_LIMIT;
    if (*read)
        buffer_append(content, rest, length);
    process_result_free(&result);
    return done;
}

/* ---- writing ---- */

/* $folder ends with "/" or is "", $name is the last piece. Removes what killed processes left beside, and makes the name of a
 * new one, $new. The number is this shell's: it tells others that its file is not left over. */
#define BESIDE                                                                                               \
    "beside() {\n"                                                                                           \
    "  name=${1##*/} folder=${1%\"${1##*/}\"}\n"                                                             \
    "  for left in \"$folder.$name\".moonbook-* \"$folder..$name\".moonbook-*; do\n"                         \
    "    pid=${left##*.moonbook-}; pid=${pid%%-*}\n"                                                         \
    "    case $pid in ''|*[!0-9]*) continue;; esac\n"                                                        \
    "    [ -d \"/proc/$pid\" ] || rm -f -- \"$left\" 2>/dev/null || rmdir -- \"$left\" 2>/dev/null\n"        \
    "  done\n"                                                                                               \
    "  short=$(printf %.200s \"$name\"); new=$folder.$short.moonbook-$$-$random\n"                           \
    "}\n"

/* Through its open descriptor: whoever may write to the folder may put a link in place of the name at any time, and what a
 * link leads to is not theirs to be given (nor is a device: the shell opens one that is there, noclobber or not). The owner
 * first, and only the owner may read until it has its mode; whole, synced, then renamed. What is cut short (the connection
 * was lost) is not put in place. */
static const char write_script[] =
    "export LC_ALL=C; umask 077\n"
    "path=$1 mode=$2 owner=$3 group=$4 size=$5 random=$6\n" BESIDE
    "target=$(readlink -fv -- \"$path\" && echo .) || exit 1\n"
    "target=${target%??}\n" /* the newline and the dot, which kept those that end the name */
    "old=\n"
    "if [ -d \"$target\" ]; then echo \"write: Is a directory\" >&2; exit 1; fi\n"
    "if [ -e \"$target\" ]; then\n"
    "  [ -f \"$target\" ] || { echo \"write: Invalid argument\" >&2; exit 1; }\n"
    "  old=$(stat -c '%u %g %a' -- \"$target\") || exit 1\n"
    "  set -- $old; : \"${owner:=$1}\" \"${group:=$2}\"; [ \"$mode\" != - ] || mode=$3\n"
    "fi\n"
    "[ \"$mode\" != - ] || mode=644\n"
    "beside \"$target\"\n"
    "trap 'rm -f -- \"$new\"' EXIT; trap 'exit 1' HUP INT TERM PIPE\n"
    "set -C; exec 9>\"$new\" || exit 1; set +C; made=/proc/self/fd/9\n"
    "[ -f $made ] || { echo \"write: File exists\" >&2; exit 1; }\n"
    "if [ -n \"$owner$group\" ]; then chown -- \"$owner:$group\" $made || exit 1; fi\n"
    "chmod -- \"$mode\" $made && cat >&9 || exit 1\n"
    "[ \"$(stat -L -c %s $made)\" = \"$size\" ] || { echo \"write: it came in part only\" >&2; exit 1; }\n"
    "sync $made && exec 9>&- && mv -fT -- \"$new\" \"$target\" || exit 1\n"
    "trap - EXIT; sync -- \"${folder:-.}\" 2>/dev/null; exit 0\n";

static void random_text(char *out, size_t size)
{
    unsigned random = 0;
    while (getrandom(&random, sizeof random, 0) < 0 && errno == EINTR)
        ;
    snprintf(out, size, "%08x", random);
}

/* Five digits: chmod then also takes away what a set-group-ID folder handed on. "-" = as it is. */
static void mode_text(int mode, char *out, size_t size)
{
    if (mode < 0)
        snprintf(out, size, "-");
    else
        snprintf(out, size, "%05o", (unsigned)mode);
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

bool remote_write(struct host *host, const struct host_file *file, struct failure *failure)
{
    char mode[16], size[24], random[16];
    struct process_result result;
    mode_text(file->mode, mode, sizeof mode);
    snprintf(size, sizeof size, "%zu", file->length);
    random_text(random, sizeof random);
    const char *argv[] = {
        "sh", "-c",   write_script, "sh", file->path, mode, or_empty(file->owner), or_empty(file->group),
        size, random, NULL};
    struct host_command command = {.argv = argv,
                                   .input = file->length ? file->bytes : NULL,
                                   .input_length = file->length,
                                   .timeout_ms = FILES_MS};
    bool done = run_script(host, &command, "write", file->path, &result, failure);
    process_result_free(&result);
    return done;
}

/* ---- directories and attributes ---- */

/* A new folder gets its owner and mode from within: its name may lead elsewhere at any time where somebody else may write
 * to the folder it is in. Within is where it was made, if the folder above is that one and nothing is in it. */
static const char directory_script[] =
    "export LC_ALL=C; umask 022\n"
    "path=$1 mode=$2 owner=$3 random=$4\n" BESIDE "place() { stat -L -c '%d %i' -- \"$1\"; }\n"
    "become() {\n"
    "  cd -P -- \"$new\" || return 1\n"
    "  if [ \"$(place ..)\" != \"$(place \"$folder\")\" ] || [ ! -O . ] || [ -n \"$(ls -A)\" ]; then\n"
    "    echo 'mkdir: Stale file handle' >&2; return 1\n"
    "  fi\n"
    "  if [ -n \"$2\" ]; then chown -- \"$2\" . || return 1; fi\n"
    "  [ \"$1\" = - ] || chmod -- \"$1\" .\n"
    "}\n"
    "make() {\n"
    "  beside \"$1\"; mkdir -m 0700 -- \"$new\" || return 1\n"
    "  if (become \"$2\" \"$3\") && mv -nT -- \"$new\" \"$1\" && [ ! -e \"$new\" ]; then return 0; fi\n"
    "  rmdir -- \"$new\" && [ ! -e \"$1\" ] || echo 'mkdir: File exists' >&2\n"
    "  return 1\n"
    "}\n"
    "done= rest=${path#/}\n"
    "while [ \"$rest\" != \"${rest#*/}\" ]; do\n"
    "  done=$done/${rest%%/*} rest=${rest#*/}\n"
    "  if [ -d \"$done\" ]; then continue; fi\n"
    "  if [ -e \"$done\" ] || [ -h \"$done\" ]; then echo 'mkdir: Not a directory' >&2; exit 1; fi\n"
    "  make \"$done\" 755 '' || [ -d \"$done\" ] || exit 1\n"
    "done\n"
    "if [ -e \"$path\" ] || [ -h \"$path\" ]; then echo 'mkdir: File exists' >&2; exit 1; fi\n"
    "make \"$path\" \"$mode\" \"$owner\"\n";

/* "owner:group", "owner", ":group" or "". */
static void owner_text(const struct host_attributes *attributes, struct buffer *out)
{
    buffer_append_text(out, or_empty(attributes->owner));
    if (attributes->group)
        buffer_format(out, ":%s", attributes->group);
}

bool remote_make_directory(struct host *host, const char *path, const struct host_attributes *attributes,
                           struct failure *failure)
{
    char mode[16], random[16];
    struct buffer owner = {0};
    struct process_result result;
    mode_text(attributes->mode, mode, sizeof mode);
    random_text(random, sizeof random);
    owner_text(attributes, &owner);
    const char *argv[] = {"sh", "-c", directory_script, "sh", path, mode, buffer_text(&owner), random, NULL};
    struct host_command command = {.argv = argv, .timeout_ms = FILES_MS};
    bool done = run_script(host, &command, "write", path, &result, failure);
    process_result_free(&result);
    buffer_free(&owner);
    return done;
}

/* Through an open descriptor where it can be had, so that it is the thing that was looked at, wherever its name leads now.
 * Where it cannot (a FIFO, a socket, a device, a file that its owner may not read) it goes by name, from within its folder;
 * root does so only where nobody else may put another thing there. The owner first: changing it takes set-user-ID bits
 * away. */
static const char attributes_script[] =
    "export LC_ALL=C\n"
    "path=$1 found=$2 mode=$3 owner=$4\n"
    "stale() { echo 'change: Stale file handle' >&2; exit 1; }\n"
    "is_found() { [ ! -h \"$1\" ] && [ \"$(stat -c '%i %d' -- \"$1\")\" = \"$found\" ]; }\n"
    "change() {\n"
    "  if [ -n \"$owner\" ]; then chown $2 -- \"$owner\" \"$1\" || exit 1; fi\n"
    "  if [ \"$mode\" != - ]; then chmod -- \"$mode\" \"$1\" || exit 1; fi\n"
    "}\n"
    "is_found \"$path\" || stale\n"
    "if [ ! -r \"$path\" ] || { [ ! -f \"$path\" ] && [ ! -d \"$path\" ]; }; then\n"
    "  folder=${path%\"${path##*/}\"}; cd -P -- \"${folder:-.}\" || exit 1\n"
    "  if [ \"$(id -u)\" = 0 ] && [ -z \"$(find . -maxdepth 0 -uid 0 ! -perm /022)\" ]; then\n"
    "    echo 'change: others may write to its folder: Operation not permitted' >&2; exit 1\n"
    "  fi\n"
    "  is_found \"./${path##*/}\" || stale\n"
    "  change \"./${path##*/}\" -h; exit 0\n"
    "fi\n"
    "exec 3<\"$path\"\n"
    "[ \"$(stat -L -c '%i %d' -- /proc/self/fd/3)\" = \"$found\" ] || stale\n"
    "change /proc/self/fd/3\n";

bool remote_set_attributes(struct host *host, const char *path, const struct host_stat *found,
                           const struct host_attributes *attributes, struct failure *failure)
{
    char mode[16], identity[64];
    struct buffer owner = {0};
    struct process_result result;
    mode_text(attributes->mode, mode, sizeof mode);
    snprintf(identity, sizeof identity, "%llu %llu", (unsigned long long)found->inode,
             (unsigned long long)found->device);
    owner_text(attributes, &owner);
    const char *argv[] = {"sh",     "-c", attributes_script,   "sh", path,
                          identity, mode, buffer_text(&owner), NULL};
    struct host_command command = {.argv = argv, .timeout_ms = FILES_MS};
    bool done = run_script(host, &command, "write", path, &result, failure);
    process_result_free(&result);
    buffer_free(&owner);
    return done;
}
