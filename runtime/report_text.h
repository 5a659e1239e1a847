/* The sink for people: standard error, as a terminal with colour and a live line or as plain lines. */
#ifndef MOONBOOK_REPORT_TEXT_H
#define MOONBOOK_REPORT_TEXT_H

#include "change.h"
#include "failure.h"
#include "runtime.h"

#include <stdbool.h>
#include <stddef.h>

struct target;
struct text_sink;

struct text_sink *text_sink_new(struct runtime *runtime);
void text_sink_free(struct text_sink *sink);

/* The hosts of the run: where there are several, what is said of each is kept until its end. `quiet`: those on which nothing
 * changed are not mentioned. They live as long as the run. */
void text_hosts(struct text_sink *sink, struct target *targets, size_t count, bool quiet);

/* One host of several ended: its line of result, and what was kept; that of a failed one waits for the end. */
void text_host_end(struct text_sink *sink, struct target *target);

/* What `log` says to the person, and what `print` writes as data: with the host's name before each line where there are several. */
void text_log(struct text_sink *sink, struct buffer *text, bool is_print);

void text_run_start(struct text_sink *sink, const char *runbook, const char *about);
void text_run_end(struct text_sink *sink, const char *status, const struct failure *failure, const char *run,
                  uint64_t ms);
void text_step_start(struct text_sink *sink, const char *host, const char *step);
void text_step_end(struct text_sink *sink, const char *host, const char *step, const char *status,
                   uint64_t ms);
void text_change_start(struct text_sink *sink, const struct change *change);
void text_change(struct text_sink *sink, const struct change *change);
void text_unneeded(struct text_sink *sink, const char *kind, const char *target);
void text_warning(struct text_sink *sink, const char *text);
void text_failure(struct text_sink *sink, const struct failure *failure);

/* Replaces the live line. In plain output a line of its own, once a text. */
void text_progress(struct text_sink *sink, const char *text);

/* Takes the live line away, so that something else may be written to the terminal. */
void text_clear(struct text_sink *sink);

/* Text as it is. */
void text_say(struct text_sink *sink, const char *text);

/* A question, with who asks where there are several. Until it is answered what else is said is kept back. */
void text_question(struct text_sink *sink, const char *text);
void text_answered(struct text_sink *sink);

#endif
