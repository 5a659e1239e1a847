/* Ctrl-C, SIGTERM and --timeout: the first cancels at the next safe point, the second also cuts a change short. */
#ifndef MOONBOOK_INTERRUPT_H
#define MOONBOOK_INTERRUPT_H

#include "fiber.h"
#include "runtime.h"

#include <stdint.h>

/* From now on SIGINT and SIGTERM cancel `root`; after `timeout_ms` (0 = never) so does the clock, and sets
 * runtime->timed_out. Lua that computes without waiting is stopped too. One runtime of a process at a time. */
void interrupt_watch(struct runtime *runtime, struct fiber *root, uint64_t timeout_ms);

/* The default action is back. To be called before `root` is gone for good. */
void interrupt_unwatch(struct runtime *runtime);

#endif
