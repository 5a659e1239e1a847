/* Targets: their counts and their ends. */
#include "target.h"

#include "fiber.h"

#include <stdlib.h>
#include <string.h>

void target_enter(struct runtime *runtime, struct target *target)
{
    struct fiber_context *context = fiber_context(runtime);
    target->outer = context->target;
    target->state = TARGET_RUNNING;
    target->started_ms = runtime_now(runtime);
    context->target = target;
    context->host = target->host;
}

/* "cancelled" is an interruption where somebody interrupts; else it is an error like any other. */
static bool is_interruption(struct runtime *runtime, const struct failure *failure)
{
    return failure && strcmp(failure->kind, "cancelled") == 0 &&
           (!runtime->current || fiber_is_cancelled(runtime) || runtime->interrupts || runtime->timed_out ||
            runtime->exit_asked);
}

void target_end(struct runtime *runtime, struct target *target, const struct failure *failure)
{
    bool interrupted = is_interruption(runtime, failure);
    target->took_ms = runtime_now(runtime) - target->started_ms;
    target->state = !failure ? TARGET_DONE : interrupted ? TARGET_INTERRUPTED : TARGET_FAILED;
    if (!failure)
        return;
    target->failure = allocate(sizeof *target->failure);
    *target->failure = *failure;
}

static void add(struct runtime_counts *counts, const struct runtime_counts *more)
{
    counts->changed += more->changed;
    counts->predicted += more->predicted;
    counts->failed += more->failed;
    counts->declined += more->declined;
    counts->unchanged += more->unchanged;
}

void target_count(struct runtime *runtime, const struct runtime_counts *more)
{
    add(&runtime->counts, more);
    for (struct target *each = fiber_context(runtime)->target; each; each = each->outer)
        add(&each->counts, more);
}

bool target_predicts(struct runtime *runtime)
{
    const struct target *target = fiber_context(runtime)->target;
    if (!target)
        return runtime->counts.predicted > 0;
    while (target && !target->counts.predicted)
        target = target->outer;
    return target != NULL;
}

const char *target_status(const struct target *target)
{
    static const char *const names[] = {
        [TARGET_WAITING] = "waiting", [TARGET_RUNNING] = "running",         [TARGET_DONE] = "ok",
        [TARGET_FAILED] = "failed",   [TARGET_INTERRUPTED] = "interrupted",
    };
    return names[target->state];
}

void target_clear(struct target *target)
{
    free(target->failure);
    free(target->shown);
    buffer_wipe(&target->said);
    target->failure = NULL;
    target->shown = NULL;
}
