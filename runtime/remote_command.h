/* Commands for another machine: the one place where an argument vector becomes a line for a shell.
 *
 * The line is read by the user's login shell there, whichever that is, and only starts `sh -c SCRIPT sh ARGUMENTS...` with
 * everything quoted. The script prints a mark on both outputs when all is in place, with the process group to kill; what
 * came before it (greetings of a login shell, sudo's advice) is thrown away, and without it nothing was run. Then it goes
 * to the directory and becomes the command. The environment, a long argument vector and sudo's password go over standard
 * input: nobody sees them in a list of processes.
 *
 * Standard input: [password LF [mark LF]] [shell text that sets environment and arguments] the command's own input. */
#ifndef MOONBOOK_REMOTE_COMMAND_H
#define MOONBOOK_REMOTE_COMMAND_H

#include "buffer.h"
#include "failure.h"
#include "host.h"

#include <stdbool.h>

/* How a command is to be run with the rights of root. */
struct remote_sudo {
    bool wanted;
    const char *password; /* NULL: none is needed */
};

enum remote_way {
    REMOTE_EXEC,   /* the shell becomes the command: the transport tells status and signal */
    REMOTE_WAIT,   /* the shell waits for it and tells the status: for a transport that cannot */
    REMOTE_STREAM, /* ends when standard input does: for output that is read as it comes, without input */
};

struct remote_line {
    char mark[32];
    struct buffer line;
    struct buffer prefix; /* of standard input; may hold secrets */
};

void remote_line_make(const struct host_command *command, enum remote_way way, const struct remote_sudo *sudo,
                      struct remote_line *made);
void remote_line_free(struct remote_line *made);

/* A line that ends what another one runs: asks, waits up to two seconds, kills. */
void remote_line_kill(const struct remote_sudo *sudo, long leader, long process, struct remote_line *made);

/* What the marks in the outputs say. */
struct remote_progress {
    bool began;           /* the mark came */
    bool error_began;     /* on the errors too */
    long leader, process; /* of the group; of the shell that became the command */
    bool no_folder;       /* the directory could not be entered */
    int not_started;      /* 127: no such program, 126: may not be run; 0 */
    bool ended;           /* REMOTE_WAIT: the command did, with: */
    int status, signal;
};

/* Takes the marks, and what came before them, out of the outputs. To be called again as more comes. */
void remote_progress_look(const char *mark, struct buffer *output, struct buffer *error,
                          struct remote_progress *progress);

/* The same for REMOTE_STREAM, which tells all on standard output. True once it is known whether the command runs. */
bool remote_stream_look(const char *mark, struct buffer *output, struct remote_progress *progress);

/* Where the command was not run (no mark, no program, no folder): fills in why and returns false. */
bool remote_command_started(const char *host, const struct host_command *command,
                            const struct remote_progress *progress, const struct process_result *result,
                            const struct remote_sudo *sudo, struct failure *failure);

/* Appends a word quoted for sh: whatever is in it, it is one word and nothing in it is special. */
void remote_quote(struct buffer *line, const char *word);

#endif
