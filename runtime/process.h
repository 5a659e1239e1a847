/* Child processes on the event loop: argv, never a shell; a process group of their own; a timeout always. */
#ifndef MOONBOOK_PROCESS_H
#define MOONBOOK_PROCESS_H

#include "buffer.h"
#include "failure.h"
#include "runtime.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_options {
    const char *const *argv;        /* NULL-terminated; argv[0] is looked up in PATH */
    const char *const *environment; /* NAME=VALUE to add or replace, NULL-terminated; may be NULL */
    const char *directory;          /* working directory, or NULL */
    const char *input;              /* bytes for standard input, or NULL: /dev/null */
    size_t input_length;
    const int *descriptors; /* handed to the child as 3, 4, ...; may be NULL */
    size_t descriptor_count;
    uint64_t
        timeout_ms; /* then the group gets SIGTERM; what is left of it SIGKILL, when the command ends or two
                          * seconds later */
    /* May tell from the errors so far that the command is over though the process is not: it is ended then. */
    bool (*is_over)(void *context, const struct buffer *error);
    void *context;
    size_t output_limit; /* bytes kept of each output, 0 = 64 MiB; more ends the command */
};

struct process_result {
    int status; /* exit status, or -1 where a signal ended it */
    int signal; /* the signal, or 0 */
    struct buffer output, error;
};

/* Runs a command to its end and collects both outputs. True when it ran, whatever its status. False when it could
 * not be started ("not-found", "permission"), timed out or was cancelled (the group is killed; the
 * result then holds what came). process_result_free in every case. A background child that keeps an output open
 * delays the return by one second at most. */
bool process_run(struct runtime *runtime, const struct process_options *options,
                 struct process_result *result, struct failure *failure);

void process_result_free(struct process_result *result);

/* A command whose output is read while it runs. */
struct process_stream;

/* Starts a command; NULL and `failure` when it cannot be. `timeout_ms` of the options is not used. */
struct process_stream *process_open(struct runtime *runtime, const struct process_options *options,
                                    struct failure *failure);

/* Next line of its standard output, without the newline, into `line` (cleared first). 1 = a line, 0 = it ended,
 * -1 = failure (timeout, cancelled). Reading stops while nobody asks: the pipe fills and the child waits. */
int process_read_line(struct process_stream *stream, struct buffer *line, uint64_t timeout_ms,
                      struct failure *failure);

/* Ends the group (SIGTERM, then SIGKILL after two seconds) and releases everything. Never waits. NULL is fine. */
void process_close(struct process_stream *stream);

#endif
