/* What a run on many hosts looks like to a person: a live line of how far it is, one line of result a host with what was
 * changed below it, those that failed last. */
#include "fiber.h"
#include "host.h"
#include "quantity.h"
#include "redact.h"
#include "report_text_parts.h"
#include "terminal.h"
#include "utf8.h"

#include <stdio.h>
#include <string.h>

#define NAMES_SHOWN 4 /* of failed hosts, in the live line */

void text_hosts(struct text_sink *sink, struct target *targets, size_t count, bool quiet)
{
    sink->targets = targets;
    sink->target_count = count;
    sink->quiet = quiet;
}

static size_t count_in(const struct text_sink *sink, enum target_state state)
{
    size_t count = 0;
    for (size_t i = 0; i < sink->target_count; i++)
        count += sink->targets[i].state == state;
    return count;
}

static void add_names(const struct text_sink *sink, struct buffer *out, enum target_state state, size_t most)
{
    size_t shown = 0;
    for (size_t i = 0; i < sink->target_count && shown <= most; i++)
        if (sink->targets[i].state == state) {
            buffer_append_text(out, shown == 0 ? "" : ", ");
            buffer_append_text(out, shown == most ? "..." : sink->targets[i].host->name);
            shown++;
        }
}

void text_add_hosts(struct text_sink *sink, struct buffer *out)
{
    size_t failed = count_in(sink, TARGET_FAILED);
    const struct target *target = text_target(sink);
    buffer_format(out, "%zu of %zu done", count_in(sink, TARGET_DONE), sink->target_count);
    if (failed) {
        buffer_format(out, ", %zu failed: ", failed);
        add_names(sink, out, TARGET_FAILED, NAMES_SHOWN);
    }
    if (target)
        buffer_format(out, " - %s: ", target->host->name);
}

/* "c1     changed: 3, unchanged: 2  (1.2 s)" and what was kept. */
static void add_result(struct text_sink *sink, struct buffer *out, struct target *target)
{
    const struct runtime_counts *counts = &target->counts;
    bool failed = target->state != TARGET_DONE, changed = counts->changed || counts->predicted;
    text_add_styled(sink, out,
                    failed    ? BAD
                    : changed ? CHANGED
                              : GOOD,
                    failed ? text_mark(sink, "✗", target_status(target))
                    : changed
                        ? text_mark(sink, "●", sink->runtime->options.check ? "would change" : "changed")
                        : text_mark(sink, "✓", "ok     "));
    buffer_append_text(out, " ");
    text_add_styled(sink, out, STRONG, target->host->name);
    buffer_append_text(out, "  ");
    text_add_counts(sink, out, counts);
    text_add_time(sink, out, target->took_ms);
    buffer_append_text(out, "\n");
    buffer_append(out, buffer_text(&target->said), target->said.length);
    if (target->failure)
        text_add_failure(sink, out, target->failure);
    buffer_wipe(&target->said);
}

/* Not to be lost among hundreds: what nothing was done on, in a chunk or script. */
static bool is_mentioned(const struct text_sink *sink, const struct target *target)
{
    const struct runtime_counts *counts = &target->counts;
    return !sink->quiet || counts->changed || counts->predicted || counts->declined || target->said.length;
}

void text_host_end(struct text_sink *sink, struct target *target)
{
    struct buffer out = {0};
    if (!text_is_grouped(sink))
        return;
    if (target->state == TARGET_DONE && is_mentioned(sink, target)) {
        add_result(sink, &out, target);
        text_emit_now(sink, &out);
    } else if (target->state != TARGET_DONE && !sink->terminal) {
        buffer_format(&out, "      ... %s %s\n", target->host->name, target_status(target));
        text_emit_now(sink, &out);
    }
    if (sink->terminal)
        text_progress(sink, "");
}

void text_add_end_of_hosts(struct text_sink *sink, struct buffer *out)
{
    size_t done = count_in(sink, TARGET_DONE), waiting = count_in(sink, TARGET_WAITING);
    for (size_t i = 0; i < sink->target_count; i++)
        if (sink->targets[i].state == TARGET_INTERRUPTED || sink->targets[i].state == TARGET_FAILED)
            add_result(sink, out, &sink->targets[i]);
    buffer_format(out, "\n%zu of %zu hosts done", done, sink->target_count);
    for (enum target_state state = TARGET_FAILED; state <= TARGET_INTERRUPTED; state++)
        if (count_in(sink, state)) {
            buffer_format(out, ", %zu %s: ", count_in(sink, state),
                          state == TARGET_FAILED ? "failed" : "interrupted");
            add_names(sink, out, state, sink->target_count);
        }
    if (waiting) {
        buffer_format(out, ", %zu not begun: ", waiting);
        add_names(sink, out, TARGET_WAITING, sink->target_count);
    }
    buffer_append_text(out, "\n");
}

/* Each line after the name of its host. */
static void add_lines(struct buffer *out, const char *host, const struct buffer *text)
{
    const char *at = buffer_text(text), *end = at + text->length;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((newline ? newline + 1 : end) - at);
        buffer_format(out, "%s: ", host);
        buffer_append(out, at, length);
        at += length;
    }
}

void text_log(struct text_sink *sink, struct buffer *text, bool is_print)
{
    const struct target *target = text_is_grouped(sink) ? text_target(sink) : NULL;
    redact(sink->runtime->redactor, text);
    if (!is_print || sink->screen) /* data is what the script made it, but where it is read on a terminal */
        utf8_disarm(text->bytes, text->length);
    if (!is_print) {
        text_emit(sink, text);
        return;
    }
    struct buffer out = {0};
    if (target)
        add_lines(&out, target->host->name, text);
    else
        buffer_append(&out, buffer_text(text), text->length);
    text_clear(sink);
    const struct terminal_line *typed = terminal_leave(sink->runtime);
    fwrite(buffer_text(&out), 1, out.length, stdout);
    fflush(stdout);
    terminal_back(sink->runtime, typed);
    buffer_free(&out);
    buffer_free(text);
}
