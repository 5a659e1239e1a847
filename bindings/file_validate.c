/* Outside checkers, run on a candidate. */
#include "file_validate.h"

#include "report.h"
#include "unknown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool file_validate_needs_file(const struct file_target *target)
{
    for (const char **word = target->validate; word != NULL && *word != NULL; word++)
        if (strstr(*word, "%s") != NULL)
            return true;
    return false;
}

static bool has_unknown(const struct file_target *target)
{
    for (const char **word = target->validate; *word != NULL; word++)
        if (strcmp(*word, UNKNOWN_TEXT) == 0)
            return true;
    return false;
}

static void refusal(const struct host *host, const struct process_result *result, const char *program,
                    struct failure *failure)
{
    struct buffer said = {0};
    host_last_words(host, result, &said);
    failure_set(failure, "invalid", program, "%s refuses the new content (%s %d)%s%s", program,
                result->signal != 0 ? "signal" : "exit status",
                result->signal != 0 ? result->signal : result->status, said.length > 0 ? ": " : "",
                buffer_text(&said) + strspn(buffer_text(&said), "\r\n "));
    failure->status = result->status;
    buffer_free(&said);
}

/* The checker named the candidate, which is gone when a person reads it: the file to correct is another. */
static void name_culprit(const struct file_target *target, const char *candidate, struct failure *failure)
{
    if (strcmp(failure->kind, "invalid") != 0)
        return;
    const char *name = target->source != NULL ? target->source : target->path;
    struct buffer message = {0};
    const char *rest = failure->message;
    for (const char *place; candidate && (place = strstr(rest, candidate)) != NULL;
         rest = place + strlen(candidate)) {
        buffer_append(&message, rest, (size_t)(place - rest));
        buffer_append_text(&message, name);
    }
    buffer_append_text(&message, rest);
    snprintf(failure->message, sizeof failure->message, "%s", buffer_text(&message));
    buffer_free(&message);
    failure_hint(failure, "%s was left as it was; correct %s", target->path,
                 target->source != NULL                      ? target->source
                 : strcmp(target->kind, "file.present") == 0 ? "the content"
                                                             : "the file, or what was to be put into it");
}

enum verdict { VERDICT_GOOD, VERDICT_BAD, VERDICT_NO_PROGRAM };

/* Runs a checker. A shell or ssh says with 127 that there is no such program. */
static enum verdict run_checker(struct host *host, const struct host_command *command,
                                struct failure *failure)
{
    struct process_result result = {0};
    enum verdict verdict = VERDICT_BAD;
    const char *program = command->argv[0];
    if (!host_run(host, command, &result, failure)) {
        if (strcmp(failure->kind, "not-found") == 0)
            verdict = VERDICT_NO_PROGRAM;
    } else if (result.status == 0 && result.signal == 0) {
        verdict = VERDICT_GOOD;
    } else {
        refusal(host, &result, program, failure);
        if (result.status == 127)
            verdict = VERDICT_NO_PROGRAM;
    }
    if (verdict == VERDICT_NO_PROGRAM) {
        failure_set(failure, "not-found", program, "there is no program '%s' on %s to check the content with",
                    program, host->name);
        failure_hint(failure, "install it first, or leave validate out; the file was left as it is");
    }
    process_result_free(&result);
    return verdict;
}

void file_validate_input(lua_State *L, struct file_target *target)
{
    bool check = target->host->runtime->options.check;
    if (target->validate == NULL)
        return;
    bool needs_file = file_validate_needs_file(target);
    if (needs_file && !check)
        return; /* its turn comes inside the gate */
    if (needs_file || target->content_unknown || has_unknown(target)) {
        report_warning(L, "%s: %s was not run: %s", target->op, target->validate[0],
                       needs_file ? "it reads a file, and --check writes none"
                                  : "only a real run knows its input");
        return;
    }
    struct failure failure;
    struct host_command command = {.argv = target->validate,
                                   .input = buffer_text(&target->new_content),
                                   .input_length = target->new_content.length};
    enum verdict verdict = run_checker(target->host, &command, &failure);
    if (verdict == VERDICT_NO_PROGRAM && check)
        report_warning(L, "%s: %s was not run: it is not installed yet", target->op, target->validate[0]);
    else if (verdict != VERDICT_GOOD) {
        name_culprit(target, NULL, &failure);
        file_target_raise(L, target, &failure);
    }
}

bool file_target_write(struct file_target *target, const char *path, struct failure *failure)
{
    const struct file_state *wanted = &target->wanted;
    struct host_file file = {.path = path,
                             .bytes = buffer_text(&target->new_content),
                             .length = target->new_content.length,
                             .mode = wanted->mode_known ? (int)wanted->stat.mode : -1,
                             .owner = target->owner,
                             .group = target->group};
    return host_write(target->host, &file, failure);
}

/* Replaces each "%s" in a word by the path. */
static char *fill_in(const char *word, const char *path)
{
    struct buffer out = {0};
    for (const char *place; (place = strstr(word, "%s")) != NULL; word = place + 2) {
        buffer_append(&out, word, (size_t)(place - word));
        buffer_append_text(&out, path);
    }
    buffer_append_text(&out, word);
    return out.bytes != NULL ? out.bytes : copy_text("");
}

static bool check_candidate(struct file_target *target, const char *path, struct failure *failure)
{
    size_t count = 0;
    while (target->validate[count] != NULL)
        count++;
    char **argv = allocate_zeroed(count + 1, sizeof *argv);
    for (size_t i = 0; i < count; i++)
        argv[i] = fill_in(target->validate[i], path);
    struct host_command command = {.argv = (const char *const *)argv};
    enum verdict verdict = run_checker(target->host, &command, failure);
    for (size_t i = 0; i < count; i++)
        free(argv[i]);
    free(argv);
    return verdict == VERDICT_GOOD;
}

/* The owner that the file keeps is the candidate's too: the checker may read it with the rights of that user. */
static bool write_candidate(struct file_target *target, const char *path, struct failure *failure)
{
    const struct file_state *found = &target->found;
    const char *owner = target->owner, *group = target->group;
    if (found->stat.exists && target->owner == NULL)
        target->owner = found->stat.owner;
    if (found->stat.exists && target->group == NULL)
        target->group = found->stat.group;
    bool written = file_target_write(target, path, failure);
    target->owner = owner;
    target->group = group;
    return written;
}

bool file_validate_candidate(struct file_target *target, struct failure *failure)
{
    struct buffer candidate = {0};
    struct failure ignored;
    host_temporary_name(target->host, target->found.path, &candidate);
    const char *path = buffer_text(&candidate);
    bool good = write_candidate(target, path, failure) && check_candidate(target, path, failure);
    if (!good)
        name_culprit(target, path, failure);
    const char *argv[] = {"rm", "-f", "--", path, NULL};
    bool removed = file_target_run(target, argv, good ? failure : &ignored);
    buffer_free(&candidate);
    return good && removed;
}
