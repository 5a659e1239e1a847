/* What a run looks like to a person: a line a step, its changes below it, a line of counts at the end. */
#include "fiber.h"
#include "host.h"
#include "quantity.h"
#include "redact.h"
#include "report_text_parts.h"
#include "terminal.h"
#include "utf8.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *const colours[] = {"", "\033[32m", "\033[33m", "\033[31m", "\033[2m", "\033[1m"};

struct text_sink *text_sink_new(struct runtime *runtime)
{
    struct text_sink *sink = allocate_zeroed(1, sizeof *sink);
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool dumb = !term || !*term || strcmp(term, "dumb") == 0;
    sink->runtime = runtime;
    sink->terminal = isatty(STDERR_FILENO) && !dumb;
    sink->colour = sink->terminal && !(no_color && *no_color);
    sink->screen = isatty(STDOUT_FILENO);
    setlocale(LC_CTYPE, "");
    sink->symbols = sink->terminal && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (MB_CUR_MAX == 1 && strcmp(nl_langinfo(CODESET), "ANSI_X3.4-1968") == 0)
        setlocale(LC_CTYPE, "C.UTF-8"); /* none is set: what is typed and pasted is UTF-8 all the same */
    return sink;
}

void text_sink_free(struct text_sink *sink)
{
    text_answered(sink);
    text_clear(sink);
    free(sink->said);
    target_clear(&sink->outside);
    free(sink);
}

static unsigned width_of_terminal(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
        return size.ws_col;
    return 80;
}

struct target *text_target(const struct text_sink *sink)
{
    struct target *target = fiber_context(sink->runtime)->target;
    while (target && target->outer)
        target = target->outer;
    return target;
}

/* Everything for people leaves here, in one write. */
void text_emit_now(struct text_sink *sink, struct buffer *text)
{
    redact(sink->runtime->redactor, text);
    if (sink->asking) {
        buffer_append(&sink->held, buffer_text(text), text->length);
        buffer_free(text);
        return;
    }
    text_clear(sink);
    const struct terminal_line *typed = terminal_leave(sink->runtime);
    fwrite(buffer_text(text), 1, text->length, stderr);
    fflush(stderr);
    terminal_back(sink->runtime, typed);
    buffer_free(text);
}

void text_emit(struct text_sink *sink, struct buffer *text)
{
    struct target *target = text_is_grouped(sink) ? text_target(sink) : NULL;
    if (!target) {
        text_emit_now(sink, text);
        return;
    }
    redact(sink->runtime->redactor, text);
    buffer_append(&target->said, buffer_text(text), text->length);
    buffer_free(text);
}

/* Whose headers are shown apart from those of others. */
static struct target *shown_in(struct text_sink *sink)
{
    struct target *target = text_is_grouped(sink) ? text_target(sink) : NULL;
    return target ? target : &sink->outside;
}

static void forget_header(struct text_sink *sink)
{
    struct target *target = shown_in(sink);
    free(target->shown);
    target->shown = NULL;
}

/* Text of commands and servers: what would steer the terminal shows as "?". Secrets go first: they may hold such. */
void text_add_foreign(const struct text_sink *sink, struct buffer *out, const char *text)
{
    struct buffer clean = {0};
    buffer_append_text(&clean, text);
    redact(sink->runtime->redactor, &clean);
    utf8_disarm(clean.bytes, clean.length);
    buffer_append(out, clean.bytes, clean.length);
    buffer_free(&clean);
}

void text_add_styled(struct text_sink *sink, struct buffer *out, enum style style, const char *text)
{
    if (sink->colour && style != PLAIN)
        buffer_format(out, "%s%s\033[0m", colours[style], text);
    else
        buffer_append_text(out, text);
}

const char *text_mark(const struct text_sink *sink, const char *symbol, const char *word)
{
    return sink->symbols ? symbol : word;
}

void text_clear(struct text_sink *sink)
{
    if (!sink->live)
        return;
    sink->live = false;
    fputs("\r\033[K", stderr);
    fflush(stderr);
}

void text_say(struct text_sink *sink, const char *text)
{
    struct buffer out = {0};
    buffer_append_text(&out, text);
    text_emit_now(sink, &out);
}

void text_question(struct text_sink *sink, const char *text)
{
    struct buffer out = {0};
    struct target *target = text_is_grouped(sink) ? text_target(sink) : NULL;
    if (target) /* several ask: who it is */
        buffer_format(&out, "%s: ", target->host->name);
    buffer_append_text(&out, text);
    utf8_disarm(out.bytes, out.length); /* paths and contents are as others made them */
    text_emit_now(sink, &out);
    sink->asking = true;
}

void text_answered(struct text_sink *sink)
{
    struct buffer held = sink->held;
    sink->held = (struct buffer){0};
    sink->asking = false;
    if (held.length)
        text_emit_now(sink, &held);
}

void text_progress(struct text_sink *sink, const char *text)
{
    struct buffer line = {0};
    if (sink->asking)
        return;
    if (text_is_grouped(sink)) {
        if (!sink->terminal && text_target(sink))
            return; /* lines of many hosts would bury what matters */
        text_add_hosts(sink, &line);
    }
    text_add_foreign(sink, &line, text);
    redact(sink->runtime->redactor, &line);
    if (!sink->terminal) {
        if (!sink->said || strcmp(sink->said, buffer_text(&line)) != 0) {
            free(sink->said);
            sink->said = copy_text(buffer_text(&line));
            fprintf(stderr, "      ... %s\n", buffer_text(&line));
            fflush(stderr);
        }
        buffer_free(&line);
        return;
    }
    if (sink->runtime->typed) { /* somebody types: there is no place for a live line */
        buffer_free(&line);
        return;
    }
    size_t most = width_of_terminal() - 6;
    if (line.length > most) { /* cut at a character, not inside one */
        while (most && (line.bytes[most] & 0xc0) == 0x80)
            most--;
        line.bytes[line.length = most] = '\0';
    }
    fprintf(stderr, "\r\033[K%s    %s%s", sink->colour ? colours[DIM] : "", buffer_text(&line),
            sink->colour ? "\033[0m" : "");
    fflush(stderr);
    sink->live = true;
    buffer_free(&line);
}

/* "on c1", "on 12 hosts"; nothing for the operator's machine. */
static void add_hosts(const struct text_sink *sink, struct buffer *out)
{
    if (text_is_grouped(sink))
        buffer_format(out, " on %zu hosts", sink->target_count);
    else if (sink->target_count && sink->targets->host != sink->runtime->local)
        buffer_format(out, " on %s", sink->targets->host->name);
}

void text_run_start(struct text_sink *sink, const char *runbook, const char *about)
{
    struct runtime *runtime = sink->runtime;
    struct buffer out = {0};
    text_add_styled(sink, &out, STRONG, runbook);
    add_hosts(sink, &out);
    if (runtime->options.check)
        buffer_append_text(&out, " (check: nothing is changed)");
    buffer_append_text(&out, "\n");
    if (about && *about) {
        text_add_styled(sink, &out, DIM, about);
        buffer_append_text(&out, "\n");
    }
    buffer_append_text(&out, "\n");
    text_emit_now(sink, &out);
}

/* "(1.2 s)" for what took noticeably long. */
void text_add_time(struct text_sink *sink, struct buffer *out, uint64_t ms)
{
    if (ms < 100)
        return;
    char text[48], whole[64];
    duration_format((int64_t)ms, text, sizeof text);
    snprintf(whole, sizeof whole, "  (%s)", text);
    text_add_styled(sink, out, DIM, whole);
}

static void add_where(struct text_sink *sink, struct buffer *out, const char *host, const char *step)
{
    const struct target *target = text_target(sink);
    const struct host *usual = target ? target->host : sink->runtime->local;
    if (strcmp(host, usual->name) != 0)
        buffer_format(out, "%s: ", host);
    text_add_foreign(sink, out, step ? step : "(outside any step)");
}

static bool is_shown(struct text_sink *sink, const char *host, const char *step)
{
    size_t length = strlen(host);
    const char *shown = shown_in(sink)->shown;
    return shown && strncmp(shown, host, length) == 0 && shown[length] == '\n' &&
           strcmp(shown + length + 1, step ? step : "") == 0;
}

/* The header of a step is written when its first change, warning or end comes: what it is is known only then. */
static void add_header(struct text_sink *sink, struct buffer *out, enum style style, const char *sign,
                       const char *host, const char *step)
{
    if (is_shown(sink, host, step))
        return;
    struct buffer shown = {0};
    buffer_format(&shown, "%s\n%s", host, step ? step : "");
    forget_header(sink);
    shown_in(sink)->shown = shown.bytes;
    buffer_append_text(out, "  ");
    text_add_styled(sink, out, style, sign);
    buffer_append_text(out, " ");
    add_where(sink, out, host, step);
}

void text_step_start(struct text_sink *sink, const char *host, const char *step)
{
    forget_header(sink);
    if (!sink->terminal)
        return;
    struct buffer line = {0};
    add_where(sink, &line, host, step);
    text_progress(sink, buffer_text(&line));
    buffer_free(&line);
}

void text_step_end(struct text_sink *sink, const char *host, const char *step, const char *status,
                   uint64_t ms)
{
    struct buffer out = {0};
    bool good = strcmp(status, "ok") == 0;
    bool shown = is_shown(sink, host, step);
    if (good && !shown && text_is_grouped(sink) && !sink->runtime->options.verbose) {
        forget_header(sink);
        return;
    }
    if (good && !shown) {
        add_header(sink, &out, GOOD, text_mark(sink, "✓", "ok     "), host, step);
        text_add_time(sink, &out, ms);
        buffer_append_text(&out, "\n");
    } else if (!good) {
        forget_header(sink);
        add_header(sink, &out, BAD, text_mark(sink, "✗", status), host, step);
        text_add_time(sink, &out, ms);
        buffer_append_text(&out, "\n");
    }
    forget_header(sink);
    text_emit(sink, &out);
}

void text_change_start(struct text_sink *sink, const struct change *change)
{
    if (!sink->terminal)
        return;
    struct buffer line = {0};
    buffer_format(&line, "%s %s ...", change->kind, change->target);
    text_progress(sink, buffer_text(&line));
    buffer_free(&line);
}

static void add_diff(struct text_sink *sink, struct buffer *out, const char *diff)
{
    while (*diff) {
        size_t length = strcspn(diff, "\n");
        enum style style = *diff == '+' ? GOOD : *diff == '-' ? BAD : DIM;
        struct buffer line = {0}, shown = {0};
        buffer_append(&line, diff, length);
        text_add_foreign(sink, &shown, buffer_text(&line));
        buffer_append_text(out, "        ");
        text_add_styled(sink, out, style, buffer_text(&shown));
        buffer_append_text(out, "\n");
        buffer_free(&line);
        buffer_free(&shown);
        diff += length + (diff[length] == '\n');
    }
}

void text_change(struct text_sink *sink, const struct change *change)
{
    struct buffer out = {0};
    bool failed = change->status == CHANGE_FAILED, predicted = change->status == CHANGE_PREDICTED;
    const char *word = failed                              ? "failed"
                       : predicted                         ? "would change"
                       : change->status == CHANGE_DECLINED ? "declined"
                                                           : "changed";
    const char *symbol = failed ? "✗" : predicted ? "~" : change->status == CHANGE_DECLINED ? "-" : "+";
    if (change->step && !is_shown(sink, change->host, change->step)) {
        add_header(sink, &out, CHANGED, text_mark(sink, "●", predicted ? "would change" : "changed"),
                   change->host, change->step);
        buffer_append_text(&out, "\n");
    }
    buffer_append_text(&out, "      ");
    text_add_styled(sink, &out, failed ? BAD : CHANGED, text_mark(sink, symbol, word));
    buffer_format(&out, " %s ", change->kind);
    text_add_foreign(sink, &out, change->target);
    if (predicted && change->inexact)
        text_add_styled(sink, &out, DIM, "  (depends on the real run)");
    if (!predicted)
        text_add_time(sink, &out, change->took_ms);
    buffer_append_text(&out, "\n");
    if (change->diff && sink->runtime->options.diff)
        add_diff(sink, &out, change->diff);
    if (change->hidden && sink->runtime->options.diff) {
        buffer_append_text(&out, "        ");
        text_add_styled(sink, &out, DIM, "(contents are not shown: ");
        text_add_styled(sink, &out, DIM, change->hidden);
        text_add_styled(sink, &out, DIM, ")");
        buffer_append_text(&out, "\n");
    }
    text_emit(sink, &out);
}

void text_unneeded(struct text_sink *sink, const char *kind, const char *target)
{
    struct buffer out = {0}, line = {0};
    buffer_format(&line, "      %s %s ", text_mark(sink, "=", "as wanted"), kind);
    text_add_foreign(sink, &line, target);
    text_add_styled(sink, &out, DIM, buffer_text(&line));
    buffer_append_text(&out, "\n");
    buffer_free(&line);
    text_emit(sink, &out);
}

void text_warning(struct text_sink *sink, const char *text)
{
    struct buffer out = {0};
    text_add_styled(sink, &out, CHANGED, "warning:");
    buffer_append_text(&out, " ");
    text_add_foreign(sink, &out, text);
    buffer_append_text(&out, "\n");
    text_emit(sink, &out);
}

void text_add_failure(struct text_sink *sink, struct buffer *out, const struct failure *failure)
{
    text_add_styled(sink, out, BAD, strcmp(failure->kind, "cancelled") == 0 ? "stopped:" : "error:");
    if (failure->host[0])
        buffer_format(out, " %s:", failure->host);
    if (failure->step[0]) {
        buffer_append_text(out, " step \"");
        text_add_foreign(sink, out, failure->step);
        buffer_append_text(out, "\":");
    }
    if (failure->op[0]) {
        buffer_append_text(out, " ");
        text_add_foreign(sink, out, failure->op);
        buffer_append_text(out, ":");
    }
    buffer_append_text(out, " ");
    text_add_foreign(sink, out, failure->message);
    if (failure->hint[0]) {
        buffer_append_text(out, "\n");
        text_add_styled(sink, out, STRONG, "  what to do:");
        buffer_append_text(out, " ");
        text_add_foreign(sink, out, failure->hint);
    }
    buffer_append_text(out, "\n");
}

void text_failure(struct text_sink *sink, const struct failure *failure)
{
    struct buffer out = {0};
    text_add_failure(sink, &out, failure);
    text_emit(sink, &out);
}

static void add_count(struct text_sink *sink, struct buffer *out, enum style style, const char *name,
                      unsigned count)
{
    char text[64];
    snprintf(text, sizeof text, "%s: %u", name, count);
    text_add_styled(sink, out, count ? style : PLAIN, text);
}

void text_add_counts(struct text_sink *sink, struct buffer *out, const struct runtime_counts *counts)
{
    if (sink->runtime->options.check)
        add_count(sink, out, CHANGED, "would change", counts->predicted);
    else
        add_count(sink, out, CHANGED, "changed", counts->changed);
    buffer_append_text(out, ", ");
    add_count(sink, out, GOOD, "unchanged", counts->unchanged);
    if (counts->declined) {
        buffer_append_text(out, ", ");
        add_count(sink, out, CHANGED, "declined", counts->declined);
    }
    buffer_append_text(out, ", ");
    add_count(sink, out, BAD, "failed", counts->failed);
}

void text_run_end(struct text_sink *sink, const char *status, const struct failure *failure, const char *run,
                  uint64_t ms)
{
    struct buffer out = {0};
    if (!text_is_grouped(sink))
        buffer_append_text(&out, "\n");
    else
        text_add_end_of_hosts(sink, &out);
    if (failure)
        text_add_failure(sink, &out, failure);
    if (strcmp(status, "ok") != 0) {
        buffer_append_text(&out, "the run was ");
        text_add_styled(sink, &out, BAD, strcmp(status, "failed") == 0 ? "not finished" : status);
        buffer_append_text(&out, ". ");
    }
    text_add_counts(sink, &out, &sink->runtime->counts);
    if (sink->runtime->options.verbose && sink->runtime->counts.round_trips)
        buffer_format(&out, ", round trips: %u", sink->runtime->counts.round_trips);
    char time[48];
    duration_format((int64_t)ms, time, sizeof time);
    buffer_format(&out, "  (%s%s%s)\n", time, run ? ", run " : "", run ? run : "");
    text_emit_now(sink, &out);
}
