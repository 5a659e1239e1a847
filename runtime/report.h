/* The reporter: what a run says, to the person (terminal or plain text on standard error), to a program (--json, one
 * event a line on standard output) and to the journal. One event goes to all of them; everything is redacted. */
#ifndef MOONBOOK_REPORT_H
#define MOONBOOK_REPORT_H

#include "buffer.h"
#include "change.h"
#include "failure.h"
#include "runtime.h"

#include <lua.h>
#include <stdbool.h>

struct reporter;

/* The reporter of a runtime; colour, width and live lines as standard error allows. */
struct reporter *reporter_new(struct runtime *runtime);
void reporter_free(struct reporter *reporter);

/* Opens the run's journal unless it is open, and writes its run.start: the first change or the start of `run`. */
bool report_ensure_journal(struct runtime *runtime, struct failure *failure);

/* Writes the announcement of a change to the journal and syncs it: {"event":"change.start"}; the gate calls it. */
bool report_change_announced(struct runtime *runtime, const struct change *change, struct failure *failure);

struct target;

/* What begins. */
struct report_run {
    const char *runbook; /* its name */
    const char *about;   /* its line, or NULL */
    const char *params;  /* JSON, secrets as "<secret>"; or NULL */
    bool quiet;          /* a chunk or script: nothing is said and the journal waits for the first change */
    struct target *targets; /* its hosts; they live until the run has ended */
    size_t target_count;
};

/* A run begins. */
bool report_run_start(struct runtime *runtime, const struct report_run *run, struct failure *failure);

/* A run ended; `status` is "ok", "failed" or "interrupted". `failure` may be NULL. */
void report_run_end(struct runtime *runtime, const char *status, const struct failure *failure);

/* A host of several begins; `params` is JSON as above, what it computed for itself with it. */
void report_host_start(struct runtime *runtime, const struct target *target, const char *params);

/* A host ended (target_end). */
void report_host_end(struct runtime *runtime, struct target *target);

/* The same of a host of a fleet that the run's Lua began: events, in which `step` is that of who began it. */
void report_fleet_start(struct runtime *runtime, const struct target *target);
void report_fleet_end(struct runtime *runtime, const struct target *target);

void report_step_start(struct runtime *runtime, const char *host, const char *step);

/* `status` is "ok", "failed" or "interrupted". */
void report_step_end(struct runtime *runtime, const char *host, const char *step, const char *status,
                     uint64_t ms);

/* A change ended (changed, predicted, failed, declined). The gate calls it. */
void report_change(struct runtime *runtime, const struct change *change);

/* A change is about to be made: a live line on the terminal. The gate calls it. */
void report_change_start(struct runtime *runtime, const struct change *change);

/* A thing was found as wanted; said with -v only. */
void report_unneeded(struct runtime *runtime, const char *kind, const char *target);

/* Something the operator should know; goes to all sinks. */
void report_warning(lua_State *L, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What is being waited for ("apt: waiting for unattended-upgr (pid 812)"): the live line of a terminal; in plain
 * output a line when the text changes; not an event. */
void report_progress(lua_State *L, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `print` and `log`: data of the script. `print` goes to standard output, or becomes a log event under --json. */
void report_log(struct runtime *runtime, const char *text, size_t length, bool is_print);

/* Data of a command (list, history) for standard output, redacted. */
void report_output(struct runtime *runtime, const char *text, size_t length);

/* An error outside a run: one readable line on standard error. */
void report_error(struct runtime *runtime, const struct failure *failure);

/* The run's hosts are no more; finalizers may still say something. */
void report_forget_hosts(struct runtime *runtime);

/* Text for standard error, redacted: warnings before a run. */
void report_say(struct runtime *runtime, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A question, and that it was answered: between them nothing else is written over it. */
void report_question(struct runtime *runtime, const char *text);
void report_answered(struct runtime *runtime);

#endif
