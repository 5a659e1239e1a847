/* The gate: decides, keeps what was there, journals, counts, reports. */
#include "change.h"

#include "fiber.h"
#include "host_lock.h"
#include "journal.h"
#include "json.h"
#include "redact.h"
#include "report.h"
#include "target.h"
#include "terminal.h"

#include <stdio.h>
#include <string.h>

/* ---- the question ---- */

#define MOST_SHOWN 400 /* bytes of a state in the question */

/* One of the change's JSON texts: in a line, its beginning only unless `whole`. */
static void add_state(struct runtime *runtime, struct buffer *out, const char *name, const char *text,
                      bool whole)
{
    struct buffer state = {0};
    if (!text)
        return;
    buffer_append_text(&state, text);
    buffer_format(out, "  %-6s ", name);
    if (whole || state.length <= MOST_SHOWN)
        buffer_append_text(out, text);
    else {
        redacted_head(runtime->redactor, &state, MOST_SHOWN, out);
        buffer_append_text(out, "...");
    }
    buffer_append_text(out, "\n");
    buffer_free(&state);
}

/* What would be done: --step shows the difference at once, a session what is there and what would be. */
static void add_description(struct runtime *runtime, struct buffer *out, const struct change *change,
                            bool whole)
{
    bool diff = change->diff && (whole || !fiber_context(runtime)->session);
    if (fiber_context(runtime)->session)
        buffer_format(out, "%s %s on %s\n", change->kind, change->target, change->host);
    if (diff)
        buffer_format(out, "%s\n", change->diff);
    else if (change->hidden && whole)
        buffer_format(out, "(contents are not shown: %s)\n", change->hidden);
    if (fiber_context(runtime)->session && !(diff && whole)) {
        add_state(runtime, out, "before", change->before, whole);
        add_state(runtime, out, "after", change->after, whole);
    }
    if (fiber_context(runtime)->session)
        buffer_append_text(out, "apply? [y]es, [n]o, [a]ll this session, [d]iff, [q]uit: ");
    else
        buffer_format(out, "%s %s on %s? [y]es, [n]o, [a]ll the rest, [d]iff, [q]uit: ", change->kind,
                      change->target, change->host);
}

/* Of a session every change that its inputs make, of a run those of --step. */
static bool is_asked_for(struct runtime *runtime)
{
    return fiber_context(runtime)->session ? !runtime->options.trusted && !runtime->options.yes
                                           : runtime->options.step;
}

/* The letter of "y" or "yes", 'n' for what is no answer: a line that was meant for the prompt may begin with any letter. */
static char letter_of(const struct buffer *answer)
{
    static const char *const answers[] = {"y", "yes", "a", "all", "d", "diff", "q", "quit"};
    char word[8] = "";
    const char *begin = buffer_text(answer) + strspn(buffer_text(answer), " \t");
    size_t length = strcspn(begin, " \t\r\n");
    if (length < sizeof word && !begin[length + strspn(begin + length, " \t\r\n")])
        memcpy(word, begin, length);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (strcasecmp(word, answers[i]) == 0)
            return *answers[i];
    return 'n';
}

/* The letter of the answer, 'n' for none; 0: it could not be asked. "a" trusts the rest of the run or session. */
static char ask_once(struct runtime *runtime, const struct change *change, bool whole,
                     struct failure *failure)
{
    struct buffer question = {0}, answer = {0};
    add_description(runtime, &question, change, whole);
    if (fiber_context(runtime)->session)
        terminal_forget(); /* typed for the prompt, before this was seen */
    bool asked = terminal_ask(runtime, buffer_text(&question), true, &answer, failure);
    char letter = asked ? letter_of(&answer) : 0;
    if (letter == 'a' && fiber_context(runtime)->session)
        runtime->options.trusted = true;
    else if (letter == 'a')
        runtime->options.step = false;
    buffer_free(&question);
    buffer_free(&answer);
    return letter;
}

/* One question after another: an "all" to the one before answers this too. */
static char ask_in_turn(struct runtime *runtime, const struct change *change, struct failure *failure)
{
    char letter = 'y';
    enum wait_outcome outcome = fiber_lock(runtime, &runtime->stepping);
    if (outcome != WAIT_WOKEN) {
        fiber_wait_failure(failure, outcome, "ask", 0);
        return 0;
    }
    for (bool whole = false; is_asked_for(runtime); whole = true) {
        letter = ask_once(runtime, change, whole, failure);
        if (letter != 'd')
            break;
    }
    fiber_unlock(&runtime->stepping);
    return letter;
}

/* Shows the change and asks. "q" ends the run, or the input of a session. */
static bool asked_to_apply(lua_State *L, const struct change *change)
{
    struct runtime *runtime = runtime_of(L);
    struct failure failure;
    bool session = fiber_context(runtime)->session;
    /* A question belongs to no change, also where another one of the same command has been begun. */
    unsigned shields = fiber_shields(runtime);
    fiber_restore_shields(runtime, 0);
    char letter = ask_in_turn(runtime, change, &failure);
    fiber_restore_shields(runtime, shields);
    if (!letter && session && strcmp(failure.kind, "usage") == 0)
        failure_hint(&failure, "start the session with --yes to trust it, or with --check to look only");
    if (!letter)
        failure_raise(L, &failure);
    if (letter == 'q' && session)
        failure_error(L, "failed", change->kind, "%s: not applied", change->target);
    if (letter == 'q') {
        fiber_cancel_all(runtime);
        fiber_restore_shields(runtime, 0);
        fiber_cancel_due(runtime);
        failure_error(L, "cancelled", change->kind, "%s: stopped by the operator", change->target);
    }
    return letter == 'y' || letter == 'a';
}

/* ---- begin ---- */

/* What stood there goes to the undo folder, the announcement to the disk: only then may anything be touched. */
static void put_on_record(lua_State *L, struct change *change)
{
    struct runtime *runtime = runtime_of(L);
    struct failure failure;
    if (!report_ensure_journal(runtime, &failure))
        failure_raise(L, &failure);
    if (!change->elsewhere && !host_lock(host_current(runtime), journal_run(runtime->journal), &failure))
        failure_raise(L, &failure);
    change->number = journal_next_change(runtime->journal);
    if (change->keep) {
        struct buffer kept = {0};
        bool done = host_keep(host_current(runtime), journal_run(runtime->journal), change->number,
                              change->keep, &kept, &failure);
        snprintf(change->kept, sizeof change->kept, "%s", buffer_text(&kept));
        buffer_free(&kept);
        if (!done)
            failure_raise(L, &failure);
    }
    if (!report_change_announced(runtime, change, &failure))
        failure_raise(L, &failure);
}

enum change_decision change_begin(lua_State *L, struct change *change)
{
    struct runtime *runtime = runtime_of(L);
    struct fiber_context *context = fiber_context(runtime);
    if (fiber_cancel_due(runtime))
        failure_error(L, "cancelled", change->kind, "%s: not begun: interrupted", change->target);
    if (!fiber_may_wait(runtime))
        failure_error(L, "usage", change->kind, "%s: a change inside __gc is refused; use <close>",
                      change->target);
    change->host = host_current(runtime)->name;
    change->step = context->step;
    change->inexact = change->inexact || context->inexact;
    change->started_ms = runtime_now(runtime);
    if (runtime->options.check) {
        change->status = CHANGE_PREDICTED;
        return CHANGE_PREDICT;
    }
    if (is_asked_for(runtime) && !asked_to_apply(L, change)) {
        change->status = CHANGE_DECLINED;
        return CHANGE_DECLINE;
    }
    put_on_record(L, change);
    report_change_start(runtime, change);
    fiber_shield(runtime);
    change->shielded = true;
    change->status = CHANGE_PENDING;
    return CHANGE_APPLY;
}

static void finish(struct runtime *runtime, struct change *change)
{
    if (change->shielded)
        fiber_unshield(runtime);
    change->shielded = false;
    change->took_ms = runtime_now(runtime) - change->started_ms;
    if (change->status == CHANGE_PENDING)
        change->status = CHANGE_CHANGED;
    target_count(runtime, &(struct runtime_counts){
                              .changed = change->status == CHANGE_CHANGED,
                              .predicted = change->status == CHANGE_PREDICTED,
                              .declined = change->status == CHANGE_DECLINED,
                              .failed = change->status == CHANGE_FAILED,
                          });
    report_change(runtime, change);
}

void change_end(lua_State *L, struct change *change)
{
    finish(runtime_of(L), change);
}

void change_failed(lua_State *L, struct change *change, const struct failure *failure)
{
    change->status = CHANGE_FAILED;
    change->error = failure->message;
    finish(runtime_of(L), change);
}

int change_fail(lua_State *L, struct change *change, const struct failure *failure)
{
    change_failed(L, change, failure);
    return failure_raise(L, failure);
}

void change_unneeded(lua_State *L, const char *kind, const char *target)
{
    target_count(runtime_of(L), &(struct runtime_counts){.unchanged = 1});
    report_unneeded(runtime_of(L), kind, target);
}

/* [-0, +1, m] Decodes one of the change's own JSON texts; null for what it has not. */
static void push_state(lua_State *L, const char *text)
{
    char error[128];
    if (!text || !json_decode(L, text, strlen(text), error, sizeof error))
        lua_pushnil(L);
}

int change_push_result(lua_State *L, const struct change *change, bool changed)
{
    lua_createtable(L, 0, 3);
    lua_pushboolean(L, changed);
    lua_setfield(L, -2, "changed");
    push_state(L, change->before);
    lua_setfield(L, -2, "before");
    push_state(L, change->after);
    lua_setfield(L, -2, "after");
    return 1;
}
