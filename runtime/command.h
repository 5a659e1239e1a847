/* The commands of the command line: one file each, a const struct that says what it is, execute below. */
#ifndef MOONBOOK_COMMAND_H
#define MOONBOOK_COMMAND_H

#include "runbook.h"
#include "runtime.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_CHANGED = 2, EXIT_USAGE_ERROR = 64, EXIT_INTERRUPTED = 130 };

/* What was typed. Strings belong to argv; the arrays are owned. */
struct command_line {
    const struct command *command; /* NULL: a script or a chunk */
    const char *chunk;             /* -e */
    char **words;                  /* what is no option: RUNBOOK, RUN, or FILE.lua and its arguments */
    size_t word_count;
    struct runbook_setting *settings;
    size_t setting_count;
    const char *vars;
    const char *on, *except; /* --on, --except: hosts */
    const char *batch;       /* --batch: "5" or "25%" */
    size_t forks;            /* --forks, 0 = not given */
    long most_failures;      /* --max-failures, -1 = not given */
    const char *sudo_source; /* --sudo-password: where it is */
    uint64_t timeout_ms;     /* of the whole run, 0 = none */
    int only_tells;          /* --help or --version */
};

/* Which options a command takes. */
enum {
    TAKES_JSON = 1,
    TAKES_RUN = 2,      /* what a run takes: --check --diff --step --yes --timeout --sudo ... */
    TAKES_SET = 4,      /* --set --vars */
    TAKES_HOSTS = 8,    /* --except */
    TAKES_SESSION = 16, /* what a session takes: --check --yes --on --sudo ... */
};

struct command {
    const char *name;
    const char *arguments; /* "RUNBOOK|FILE [options]" */
    const char *about;     /* one line for --help */
    unsigned takes;
    size_t least_words, most_words;
    /* Runs in a fiber's place: may drive fibers. Returns the exit status. */
    int (*execute)(struct runtime *runtime, const struct command_line *line);
};

extern const struct command command_list, command_show, command_run, command_hosts, command_edit,
    command_history, command_api, command_repl;

/* A script or a chunk. */
int command_script(struct runtime *runtime, const struct command_line *line);

/* Runs `function` in a fiber with `line` as its light userdata argument. Returns EXIT_DONE, or the error's
 * exit status after saying it. */
int command_drive(struct runtime *runtime, lua_CFunction function, const struct command_line *line);

/* [-0, +0, v] --sudo-password: read once, kept for as long as the program runs. */
void command_take_sudo_password(lua_State *L, const char *text);

/* [-0, +0, m] Appends what the reference at `all`, a list as runtime->reference gives it, says of that name. */
bool command_api_describe(lua_State *L, int all, const char *wanted, struct buffer *out);

/* EXIT_USAGE_ERROR for "usage", EXIT_INTERRUPTED for "cancelled", else EXIT_FAILED. */
int command_exit_status(const struct failure *failure);

#endif
