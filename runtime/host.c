/* What all transports share: defaults, errors of commands, the copies that undo needs. */
#include "host.h"

#include "fiber.h"
#include "redact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define READ_LIMIT ((size_t)64 << 20)
#define SAID_MOST  2000 /* bytes of what a command printed, in a message */

struct host *host_current(struct runtime *runtime)
{
    if (runtime->current && fiber_context(runtime)->host)
        return fiber_context(runtime)->host;
    return runtime->local;
}

void host_free(struct host *host)
{
    if (!host)
        return;
    if (host->operations->close)
        host->operations->close(host);
    free(host->name);
    free(host->machine);
    free(host->state);
    free(host);
}

bool host_run(struct host *host, const struct host_command *command, struct process_result *result,
              struct failure *failure)
{
    struct host_command bounded = *command;
    if (!bounded.timeout_ms)
        bounded.timeout_ms = HOST_TIMEOUT_MS;
    return host->operations->run(host, &bounded, result, failure);
}

void host_last_words(const struct host *host, const struct process_result *result, struct buffer *said)
{
    redacted_tail(host->runtime->redactor, &result->error, SAID_MOST, said);
    if (!said->length)
        redacted_tail(host->runtime->redactor, &result->output, SAID_MOST, said);
}

bool host_check(struct host *host, const struct host_command *command, struct buffer *output,
                struct failure *failure)
{
    struct process_result result;
    bool ran = host_run(host, command, &result, failure);
    if (ran && result.status != 0) {
        struct buffer said = {0};
        host_last_words(host, &result, &said);
        if (result.signal)
            failure_set(failure, "exit", command->argv[0], "ended by signal %d (%s)%s%s", result.signal,
                        strsignal(result.signal), said.length ? ": " : "", buffer_text(&said));
        else
            failure_set(failure, "exit", command->argv[0], "exit status %d%s%s", result.status,
                        said.length ? ": " : "", buffer_text(&said));
        buffer_free(&said);
        failure->status = result.status;
        ran = false;
    }
    if (ran && output) {
        buffer_append(output, buffer_text(&result.output), result.output.length);
    }
    process_result_free(&result);
    return ran;
}

bool host_read(struct host *host, const char *path, struct buffer *content, struct failure *failure)
{
    return host->operations->read(host, path, READ_LIMIT, content, failure);
}

bool host_write(struct host *host, const struct host_file *file, struct failure *failure)
{
    return host->operations->write(host, file, failure);
}

bool host_make_directory(struct host *host, const char *path, const struct host_attributes *attributes,
                         struct failure *failure)
{
    return host->operations->make_directory(host, path, attributes, failure);
}

bool host_set_attributes(struct host *host, const char *path, const struct host_stat *found,
                         const struct host_attributes *attributes, struct failure *failure)
{
    return host->operations->set_attributes(host, path, found, attributes, failure);
}

void host_temporary_name(const struct host *host, const char *path, struct buffer *name)
{
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
    unsigned random = 0;
    while (getrandom(&random, sizeof random, 0) < 0 && errno == EINTR)
        ;
    buffer_append(name, path, folder);
    buffer_format(name, ".%.200s.moonbook-%ld-%08x", path + folder, host->pid, random);
}

bool host_forward(struct host *host, const char *address, int port, uint64_t timeout_ms,
                  struct buffer *socket, struct failure *failure)
{
    return host->operations->forward(host, address, port, timeout_ms, socket, failure);
}

bool host_stat(struct host *host, const char *const *paths, size_t count, struct host_stat *stats,
               struct failure *failure)
{
    return host->operations->stat(host, paths, count, stats, failure);
}

bool host_look(struct host *host, const char *path, struct host_stat *stat, struct buffer *content,
               bool *read, struct failure *failure)
{
    *read = false;
    if (host->operations->look)
        return host->operations->look(host, path, stat, content, read, failure);
    return host_stat_one(host, path, stat, failure);
}

bool host_stat_one(struct host *host, const char *path, struct host_stat *stat, struct failure *failure)
{
    return host_stat(host, &path, 1, stat, failure);
}

/* `cp -a` keeps owner, mode, times and links; the folder is the host's own, so nothing secret travels. */
bool host_keep(struct host *host, const char *run, unsigned number, const char *path, struct buffer *kept,
               struct failure *failure)
{
    struct host_stat stat;
    buffer_clear(kept);
    if (!host_stat_one(host, path, &stat, failure))
        return false;
    if (stat.type != 'f' && stat.type != 'l')
        return true; /* nothing there, or a folder: what is below it is none of this change's */
    struct buffer folder = {0};
    buffer_format(&folder, "%s/moonbook/undo/%s", host->state, run);
    buffer_format(kept, "%s/%u", buffer_text(&folder), number);
    static const char script[] = "umask 077 && mkdir -p -- \"$1\" && cp -a -- \"$2\" \"$3\" && "
                                 "{ [ -L \"$3\" ] || sync -- \"$3\"; } && sync -- \"$1\"";
    const char *argv[] = {"sh", "-c", script, "sh", buffer_text(&folder), path, buffer_text(kept), NULL};
    struct host_command command = {.argv = argv, .timeout_ms = 120000};
    bool done = host_check(host, &command, NULL, failure);
    if (!done) {
        buffer_clear(kept);
        failure_hint(failure,
                     "what was there before could not be kept, so nothing was changed: check space and "
                     "rights of %s/moonbook",
                     host->state);
    }
    buffer_free(&folder);
    return done;
}
