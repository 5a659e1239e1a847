/* The reporter: each event once, to the journal, to --json, to people. */
#include "report.h"

#include "fiber.h"
#include "host.h"
#include "journal.h"
#include "json.h"
#include "redact.h"
#include "report_text.h"
#include "target.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct reporter {
    struct text_sink *text;
    bool started;    /* a run was started */
    bool unrecorded; /* the journal could not be written, and that was said */
    bool quiet;      /* of a chunk: the journal waits for a change, no line of counts without one */
    char *runbook;
    char *params;
    struct target *targets; /* the run's hosts */
    size_t target_count;
    uint64_t started_ms;
};

struct reporter *reporter_new(struct runtime *runtime)
{
    struct reporter *reporter = allocate_zeroed(1, sizeof *reporter);
    reporter->text = text_sink_new(runtime);
    return reporter;
}

void reporter_free(struct reporter *reporter)
{
    if (!reporter)
        return;
    text_sink_free(reporter->text);
    free(reporter->runbook);
    free(reporter->params);
    free(reporter);
}

/* ---- events ---- */

static void add_time(struct json_text *event)
{
    int64_t now = wall_clock_us();
    time_t seconds = (time_t)(now / 1000000);
    struct tm utc;
    char text[48], whole[64];
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(whole, sizeof whole, "%s.%06dZ", text, (int)(now % 1000000));
    json_key(event, "time");
    json_string(event, whole);
}

static void event_begin(struct runtime *runtime, struct json_text *event, const char *name, const char *host,
                        const char *step)
{
    *event = (struct json_text){0};
    json_open_object(event);
    json_key(event, "v");
    json_integer(event, 1);
    json_key(event, "run");
    json_string(event, runtime->journal ? journal_run(runtime->journal) : NULL);
    add_time(event);
    json_key(event, "event");
    json_string(event, name);
    if (host) {
        json_key(event, "host");
        json_string(event, host);
    }
    if (step) {
        json_key(event, "step");
        json_string(event, step);
    }
}

static void write_out(const struct buffer *line)
{
    /* One write a line: readers of the pipe never see half of one that fits the pipe. */
    struct buffer whole = {0};
    buffer_append(&whole, buffer_text(line), line->length);
    buffer_append(&whole, "\n", 1);
    fwrite(whole.bytes, 1, whole.length, stdout);
    fflush(stdout);
    buffer_free(&whole);
}

/* Closes the object and sends it on; frees it. Without `failure` a journal that cannot be written is only warned of:
 * the change that it reports has been made already. */
static bool event_end(struct runtime *runtime, struct json_text *event, bool to_output, bool sync,
                      struct failure *failure)
{
    struct failure own;
    json_close_object(event);
    redact(runtime->redactor, &event->out);
    if (to_output && runtime->options.json)
        write_out(&event->out);
    bool done = !runtime->journal || journal_write(runtime->journal, buffer_text(&event->out),
                                                   event->out.length, sync, failure ? failure : &own);
    if (!done && !failure && !runtime->reporter->unrecorded) {
        runtime->reporter->unrecorded = true; /* once is enough */
        text_warning(runtime->reporter->text, own.message);
    }
    buffer_free(&event->out);
    return done;
}

static const char *status_name(enum change_status status)
{
    static const char *const names[] = {
        [CHANGE_PENDING] = "pending", [CHANGE_CHANGED] = "changed",   [CHANGE_PREDICTED] = "predicted",
        [CHANGE_FAILED] = "failed",   [CHANGE_DECLINED] = "declined",
    };
    return names[status];
}

static void add_change(struct json_text *event, const struct change *change)
{
    if (change->number) {
        json_key(event, "number");
        json_integer(event, change->number);
    }
    json_key(event, "kind");
    json_string(event, change->kind);
    json_key(event, "target");
    json_string(event, change->target);
    json_key(event, "exact");
    json_boolean(event, !change->inexact);
    json_key(event, "before");
    json_raw(event, change->before);
    json_key(event, "after");
    json_raw(event, change->after);
    json_key(event, "diff");
    json_string(event, change->diff);
}

/* ---- runs ---- */

static const char *folder_name(char *out, size_t size)
{
    return getcwd(out, size) ? out : "";
}

static bool announce_run(struct runtime *runtime, struct failure *failure)
{
    struct reporter *reporter = runtime->reporter;
    struct json_text event;
    char folder[4096];
    event_begin(runtime, &event, "run.start", NULL, NULL);
    json_key(&event, "runbook");
    json_string(&event, reporter->runbook);
    json_key(&event, "hosts");
    json_open_array(&event);
    for (size_t i = 0; i < reporter->target_count; i++)
        json_string(&event, reporter->targets[i].host->name);
    json_close_array(&event);
    json_key(&event, "check");
    json_boolean(&event, runtime->options.check);
    json_key(&event, "params");
    json_raw(&event, reporter->params);
    json_key(&event, "version");
    json_string(&event, MOONBOOK_VERSION);
    json_key(&event, "folder");
    json_string(&event, folder_name(folder, sizeof folder));
    return event_end(runtime, &event, true, true, failure);
}

bool report_ensure_journal(struct runtime *runtime, struct failure *failure)
{
    if (runtime->journal)
        return true;
    runtime->journal = journal_open(runtime, failure);
    return runtime->journal && announce_run(runtime, failure);
}

bool report_run_start(struct runtime *runtime, const struct report_run *run, struct failure *failure)
{
    struct reporter *reporter = runtime->reporter;
    reporter->started = true;
    reporter->quiet = run->quiet;
    reporter->runbook = copy_text(run->runbook);
    reporter->params = run->params ? copy_text(run->params) : NULL;
    reporter->targets = run->targets;
    reporter->target_count = run->target_count;
    reporter->started_ms = runtime_now(runtime);
    text_hosts(reporter->text, run->targets, run->target_count, run->quiet);
    if (run->quiet && !runtime->options.json)
        return true;
    if (!report_ensure_journal(runtime, failure))
        return false;
    if (!run->quiet && !runtime->options.json)
        text_run_start(reporter->text, run->runbook, run->about);
    return true;
}

static void add_counts(struct json_text *event, const struct runtime_counts *counts)
{
    const struct {
        const char *name;
        unsigned count;
    } fields[] = {{"changed", counts->changed},
                  {"predicted", counts->predicted},
                  {"declined", counts->declined},
                  {"failed", counts->failed},
                  {"unchanged", counts->unchanged}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        json_key(event, fields[i].name);
        json_integer(event, fields[i].count);
    }
    if (counts->round_trips) {
        json_key(event, "round_trips");
        json_integer(event, counts->round_trips);
    }
}

static void add_error(struct json_text *event, const struct failure *failure)
{
    if (!failure)
        return;
    json_key(event, "error");
    json_open_object(event);
    const char *const parts[][2] = {{"kind", failure->kind},       {"op", failure->op},
                                    {"host", failure->host},       {"step", failure->step},
                                    {"message", failure->message}, {"hint", failure->hint}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        json_key(event, parts[i][0]);
        json_string(event, parts[i][1]);
    }
    json_close_object(event);
}

static void add_ms(struct json_text *event, uint64_t ms)
{
    json_key(event, "ms");
    json_integer(event, (long long)ms);
}

/* A chunk or script that changed nothing and had no host fail leaves no line of counts. */
static bool nothing_to_tell(const struct runtime *runtime, const struct failure *failure)
{
    const struct reporter *reporter = runtime->reporter;
    bool failed = false;
    for (size_t i = 0; i < reporter->target_count && reporter->target_count > 1; i++)
        failed = failed || reporter->targets[i].state != TARGET_DONE;
    return !failed && (!failure || reporter->target_count < 2) && !runtime->journal &&
           !runtime->counts.predicted && !runtime->counts.declined;
}

void report_run_end(struct runtime *runtime, const char *status, const struct failure *failure)
{
    struct reporter *reporter = runtime->reporter;
    uint64_t ms = runtime_now(runtime) - reporter->started_ms;
    if (reporter->quiet && nothing_to_tell(runtime, failure)) {
        if (failure)
            text_failure(reporter->text, failure);
        return;
    }
    struct json_text event;
    event_begin(runtime, &event, "run.end", NULL, NULL);
    json_key(&event, "status");
    json_string(&event, status);
    add_counts(&event, &runtime->counts);
    add_ms(&event, ms);
    add_error(&event, failure);
    event_end(runtime, &event, true, true, NULL);
    if (!runtime->options.json)
        text_run_end(reporter->text, status, failure, runtime->journal ? journal_run(runtime->journal) : NULL,
                     ms);
    else if (failure)
        text_failure(reporter->text, failure);
}

static void host_start(struct runtime *runtime, const struct target *target, const char *step,
                       const char *params)
{
    struct json_text event;
    if (!runtime->journal)
        return;
    event_begin(runtime, &event, "host.start", target->host->name, step);
    json_key(&event, "params");
    json_raw(&event, params);
    event_end(runtime, &event, true, false, NULL);
}

static void host_end(struct runtime *runtime, const struct target *target, const char *step)
{
    struct json_text event;
    if (!runtime->journal)
        return;
    event_begin(runtime, &event, "host.end", target->host->name, step);
    json_key(&event, "status");
    json_string(&event, target_status(target));
    add_counts(&event, &target->counts);
    add_ms(&event, target->took_ms);
    add_error(&event, target->failure);
    event_end(runtime, &event, true, false, NULL);
}

void report_host_start(struct runtime *runtime, const struct target *target, const char *params)
{
    host_start(runtime, target, NULL, params);
}

void report_host_end(struct runtime *runtime, struct target *target)
{
    host_end(runtime, target, NULL);
    if (!runtime->options.json)
        text_host_end(runtime->reporter->text, target);
}

void report_fleet_start(struct runtime *runtime, const struct target *target)
{
    host_start(runtime, target, fiber_context(runtime)->step, NULL);
}

void report_fleet_end(struct runtime *runtime, const struct target *target)
{
    host_end(runtime, target, fiber_context(runtime)->step);
}

/* ---- steps and changes ---- */

void report_step_start(struct runtime *runtime, const char *host, const char *step)
{
    struct json_text event;
    if (runtime->journal) {
        event_begin(runtime, &event, "step.start", host, step);
        event_end(runtime, &event, true, false, NULL);
    }
    if (!runtime->options.json)
        text_step_start(runtime->reporter->text, host, step);
}

void report_step_end(struct runtime *runtime, const char *host, const char *step, const char *status,
                     uint64_t ms)
{
    struct json_text event;
    if (runtime->journal) {
        event_begin(runtime, &event, "step.end", host, step);
        json_key(&event, "status");
        json_string(&event, status);
        json_key(&event, "ms");
        json_integer(&event, (long long)ms);
        event_end(runtime, &event, true, false, NULL);
    }
    if (!runtime->options.json)
        text_step_end(runtime->reporter->text, host, step, status, ms);
}

bool report_change_announced(struct runtime *runtime, const struct change *change, struct failure *failure)
{
    struct json_text event;
    event_begin(runtime, &event, "change.start", change->host, change->step);
    add_change(&event, change);
    json_key(&event, "undo");
    json_raw(&event, change->undo);
    json_key(&event, "kept");
    json_string(&event, change->kept[0] ? change->kept : NULL);
    return event_end(runtime, &event, false, true, failure);
}

void report_change_start(struct runtime *runtime, const struct change *change)
{
    if (!runtime->options.json)
        text_change_start(runtime->reporter->text, change);
}

void report_change(struct runtime *runtime, const struct change *change)
{
    struct json_text event;
    if (runtime->journal) {
        event_begin(runtime, &event, "change", change->host, change->step);
        add_change(&event, change);
        json_key(&event, "status");
        json_string(&event, status_name(change->status));
        json_key(&event, "undo");
        json_boolean(&event, change->undo != NULL);
        json_key(&event, "ms");
        json_integer(&event, (long long)change->took_ms);
        if (change->error) {
            json_key(&event, "error");
            json_string(&event, change->error);
        }
        event_end(runtime, &event, true, false, NULL);
    }
    if (!runtime->options.json)
        text_change(runtime->reporter->text, change);
}

void report_unneeded(struct runtime *runtime, const char *kind, const char *target)
{
    if (runtime->options.verbose && !runtime->options.json)
        text_unneeded(runtime->reporter->text, kind, target);
}

/* ---- talk ---- */

static void text_event(struct runtime *runtime, const char *name, const char *text, size_t length)
{
    struct json_text event;
    if (!runtime->journal)
        return;
    const char *step = runtime->current ? fiber_context(runtime)->step : NULL;
    event_begin(runtime, &event, name, host_current(runtime)->name, step);
    json_key(&event, "message");
    json_bytes(&event, text, length);
    event_end(runtime, &event, true, false, NULL);
}

static void format_into(struct buffer *text, const char *format, va_list arguments)
{
    char *made = NULL;
    if (vasprintf(&made, format, arguments) >= 0)
        buffer_append_text(text, made);
    free(made);
}

void report_warning(lua_State *L, const char *format, ...)
{
    struct runtime *runtime = runtime_of(L);
    struct buffer text = {0};
    va_list arguments;
    va_start(arguments, format);
    format_into(&text, format, arguments);
    va_end(arguments);
    text_event(runtime, "warning", buffer_text(&text), text.length);
    if (!runtime->options.json)
        text_warning(runtime->reporter->text, buffer_text(&text));
    buffer_free(&text);
}

void report_progress(lua_State *L, const char *format, ...)
{
    struct runtime *runtime = runtime_of(L);
    struct buffer text = {0};
    va_list arguments;
    va_start(arguments, format);
    format_into(&text, format, arguments);
    va_end(arguments);
    if (!runtime->options.json)
        text_progress(runtime->reporter->text, buffer_text(&text));
    buffer_free(&text);
}

void report_log(struct runtime *runtime, const char *bytes, size_t length, bool is_print)
{
    text_event(runtime, "log", bytes, length);
    if (runtime->options.json)
        return;
    struct buffer text = {0};
    buffer_append(&text, bytes, length);
    buffer_append(&text, "\n", 1);
    text_log(runtime->reporter->text, &text, is_print);
}

void report_output(struct runtime *runtime, const char *bytes, size_t length)
{
    struct buffer text = {0};
    buffer_append(&text, bytes, length);
    redact(runtime->redactor, &text);
    fwrite(buffer_text(&text), 1, text.length, stdout);
    buffer_free(&text);
}

void report_error(struct runtime *runtime, const struct failure *failure)
{
    text_failure(runtime->reporter->text, failure);
}

void report_say(struct runtime *runtime, const char *format, ...)
{
    struct buffer text = {0};
    va_list arguments;
    va_start(arguments, format);
    format_into(&text, format, arguments);
    va_end(arguments);
    text_say(runtime->reporter->text, buffer_text(&text));
    buffer_free(&text);
}

void report_forget_hosts(struct runtime *runtime)
{
    struct reporter *reporter = runtime->reporter;
    reporter->targets = NULL;
    reporter->target_count = 0;
    text_hosts(reporter->text, NULL, 0, reporter->quiet);
}

void report_question(struct runtime *runtime, const char *text)
{
    text_question(runtime->reporter->text, text);
}

void report_answered(struct runtime *runtime)
{
    text_answered(runtime->reporter->text);
}
