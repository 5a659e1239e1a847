/* The journal of a run: journal.jsonl in its folder, synced before each change that it announces. */
#ifndef MOONBOOK_JOURNAL_H
#define MOONBOOK_JOURNAL_H

#include "buffer.h"
#include "failure.h"
#include "runtime.h"

#include <stdbool.h>
#include <stddef.h>

struct journal;

/* The folder of all runs: moonbook/runs in the state folder of the operator's machine, that is $XDG_STATE_HOME, for root
 * without it /var/lib, else ~/.local/state. */
void journal_folder(struct runtime *runtime, struct buffer *path);

/* Makes a run's folder (0700) and opens its journal. The run's name is its local time and the part of the second:
 * "20261122-104601-3fa2". NULL and `failure` when it cannot be written: then the run must not start. */
struct journal *journal_open(struct runtime *runtime, struct failure *failure);
void journal_close(struct journal *journal);

/* Name of the run. */
const char *journal_run(const struct journal *journal);

/* Number for the next change of the run: 1, 2, ... */
unsigned journal_next_change(struct journal *journal);

/* Appends one line (already redacted, without newline). With `sync` it is on the disk when this returns true. */
bool journal_write(struct journal *journal, const char *line, size_t length, bool sync,
                   struct failure *failure);

#endif
