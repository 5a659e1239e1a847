/* A target: what a run does on one of its hosts. Fibers inherit it; the gate counts for it, the reporter tells its end. */
#ifndef MOONBOOK_TARGET_H
#define MOONBOOK_TARGET_H

#include "buffer.h"
#include "failure.h"
#include "runtime.h"

#include <stdint.h>

enum target_state {
    TARGET_WAITING, /* not begun */
    TARGET_RUNNING,
    TARGET_DONE,
    TARGET_FAILED,
    TARGET_INTERRUPTED,
};

struct target {
    struct target *outer; /* of the fiber that began this one, or NULL: what counts here counts there too */
    struct host *host;
    enum target_state state;
    struct runtime_counts counts;
    struct failure *failure; /* owned; why it failed */
    uint64_t started_ms, took_ms;
    struct buffer said; /* what a person is told of it, kept back while others run at the same time */
    char *shown;        /* "host\nstep" whose header was written last */
};

/* The fiber that runs works for this target from now on; it takes the place of what was there. */
void target_enter(struct runtime *runtime, struct target *target);

/* Its end; `failure` NULL: it is done. */
void target_end(struct runtime *runtime, struct target *target, const struct failure *failure);

/* Adds to the counts of the fiber's target, of those around it and of the run. */
void target_count(struct runtime *runtime, const struct runtime_counts *more);

/* Was a change predicted that the fiber may depend on: on its target, or by those around it? */
bool target_predicts(struct runtime *runtime);

/* "ok", "failed", "interrupted", as events have it; "waiting" and "running" before. */
const char *target_status(const struct target *target);

/* Releases what it holds. */
void target_clear(struct target *target);

#endif
