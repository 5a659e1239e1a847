/* Ctrl-C and SIGTERM: the first cancels at the next safe point, the second also cuts a change short. */
#ifndef MOONBOOK_INTERRUPT_H
#define MOONBOOK_INTERRUPT_H

#include "fiber.h"
#include "runtime.h"

/* From now on SIGINT and SIGTERM cancel `root`. One runtime of a process at a time. */
void interrupt_watch(struct runtime *runtime, struct fiber *root);

/* The default action is back. */
void interrupt_unwatch(struct runtime *runtime);

#endif
