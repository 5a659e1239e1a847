/* Ctrl-C, SIGTERM and --timeout: the first cancels at the next safe point, the second also cuts a change short. */
#ifndef MOONBOOK_INTERRUPT_H
#define MOONBOOK_INTERRUPT_H

#include "fiber.h"
#include "runtime.h"

#include <stdbool.h>
#include <stdint.h>

/* From now on SIGINT and SIGTERM cancel `root`; after `timeout_ms` (0 = never) so does the clock, and sets
 * runtime->timed_out. Lua that computes without waiting is stopped too. One runtime of a process at a time. */
void interrupt_watch(struct runtime *runtime, struct fiber *root, uint64_t timeout_ms);

/* What a session does instead of ending at a signal: it goes on. */
struct interrupt_session {
    struct fiber *reader; /* woken by every signal; it finds runtime->interrupts set */
    struct fiber *call;   /* what SIGINT cancels, with all that works for `input`; NULL: nothing runs */
    unsigned input;
    bool ended; /* SIGTERM came */
    struct interrupt_session *outer;
};

/* From now on signals are the session's, until it ends; sessions nest. It lives with its caller. Needs interrupt_watch before. */
void interrupt_begin_session(struct runtime *runtime, struct interrupt_session *session);
void interrupt_end_session(struct runtime *runtime);

/* The default action is back. To be called before `root` is gone for good. */
void interrupt_unwatch(struct runtime *runtime);

#endif
