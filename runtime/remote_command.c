/* Lines for a remote shell, and what their marks tell. */
#include "remote_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Of arguments: what is longer goes over the input. libssh2 sends no request above 34 KiB, of which the scripts and the
 * folder take some; the kernel would take 128 KiB. */
#define LINE_MOST ((size_t)24 << 10)

/* $1 mark, $2 leader of the process group or "", $3 bytes of shell text on standard input, $4 directory or "", then the
 * command. The names are such as no environment has: they would be handed on. */
#define BEGIN_1 "mb_mark=$1 mb_leader=${2:-$$} mb_bytes=$3 mb_folder=$4; shift 4\n"
#define SKIP    "while IFS= read -r mb_line && [ \"$mb_line\" != \"$mb_mark\" ]; do :; done\n"
#define BEGIN_2                                                                                              \
    "printf '%s %s %s\\n' \"$mb_mark\" \"$mb_leader\" \"$$\"\n"                                              \
    "[ \"$mb_bytes\" = 0 ] || eval \"$(head -c \"$mb_bytes\")\"\n"
#define READY "printf '%s\\n' \"$mb_mark\" >&2\n"
#define BECOME                                                                                               \
    "trap 'printf \"%s %s %s\\n\" \"$mb_mark\" \"$mb_at\" \"$?\" >&2' EXIT\n"                                \
    "mb_at=cd; [ -z \"$mb_folder\" ] || cd -- \"$mb_folder\" || exit\n"                                      \
    "mb_at=exec; exec \"$@\"\n"

/* The shell's own word on how a command ended ("Killed") is not for the reader. */
static const char exec_script[] = READY BECOME;
static const char wait_script[] = READY "exec 8>&2 2>/dev/null\n"
                                        "( exec 2>&8 8>&-\n" BECOME ")\n"
                                        "printf '%s end %s\\n' \"$mb_mark\" \"$?\" >&8\n";
static const char stream_script[] =
    "[ -z \"$mb_folder\" ] || cd -- \"$mb_folder\" || { printf '%s cd 2\\n' \"$mb_mark\"; exit; }\n"
    "command -v \"$1\" >/dev/null || { printf '%s exec 127\\n' \"$mb_mark\"; exit; }\n"
    "printf '%s ready 0\\n' \"$mb_mark\"; exec 7<&0 </dev/null\n"
    "\"$@\" 7<&- & mb_child=$!\n"
    "( cat <&7; kill -TERM $mb_child; sleep 2; kill -KILL $mb_child ) >/dev/null 2>&1 & mb_watch=$!\n"
    "wait $mb_child; mb_at=$?; kill $mb_watch; exit $mb_at\n";

/* Between the login shell and the script: sudo, told the number of the process that it will be. */
#define OUTER                                                                                                \
    "mb_script=$1 mb_mark=$2; shift 3; exec sudo %s -- sh -c \"$mb_script\" sh \"$mb_mark\" \"$$\" \"$@\""

void remote_quote(struct buffer *line, const char *word)
{
    buffer_append_text(line, "'");
    for (const char *quote; (quote = strchr(word, '\'')); word = quote + 1) {
        buffer_append(line, word, (size_t)(quote - word));
        buffer_append_text(line, "'\\''");
    }
    buffer_append_text(line, word);
    buffer_append_text(line, "'");
}

static void append_word(struct buffer *line, const char *word)
{
    buffer_append_text(line, " ");
    remote_quote(line, word);
}

static void make_mark(char *mark, size_t size)
{
    unsigned long long random = 0;
    while (getrandom(&random, sizeof random, 0) < 0 && errno == EINTR)
        ;
    snprintf(mark, size, "moonbook-%016llx", random);
}

static bool is_variable(const char *name, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return length && strspn(name, letters) >= length && !(*name >= '0' && *name <= '9');
}

/* Shell text that sets the environment and, where they are too long for a line, the arguments. */
static void make_header(const struct host_command *command, bool with_arguments, struct buffer *header)
{
    for (const char *const *entry = command->environment; entry && *entry; entry++) {
        size_t name = strcspn(*entry, "=");
        if (!is_variable(*entry, name))
            continue; /* no shell would take it, and it would be read as shell text */
        buffer_append_text(header, "export ");
        buffer_append(header, *entry, name);
        buffer_append_text(header, "=");
        remote_quote(header, (*entry)[name] ? *entry + name + 1 : "");
        buffer_append_text(header, "\n");
    }
    if (!with_arguments)
        return;
    buffer_append_text(header, "set --");
    for (const char *const *word = command->argv; *word; word++)
        append_word(header, *word);
    buffer_append_text(header, "\n");
}

void remote_line_make(const struct host_command *command, enum remote_way way, const struct remote_sudo *sudo,
                      struct remote_line *made)
{
    struct buffer script = {0}, header = {0};
    size_t length = 0;
    char number[24];
    bool asks = sudo->wanted && sudo->password;
    *made = (struct remote_line){0};
    make_mark(made->mark, sizeof made->mark);
    for (const char *const *word = command->argv; *word; word++) {
        length += strlen(*word) + 3;
        for (const char *quote = *word; (quote = strchr(quote, '\'')); quote++)
            length += 3;
    }
    make_header(command, length > LINE_MOST, &header);
    snprintf(number, sizeof number, "%zu", header.length);
    buffer_format(&script, "%s%s%s%s", BEGIN_1, asks ? SKIP : "", BEGIN_2,
                  way == REMOTE_EXEC   ? exec_script
                  : way == REMOTE_WAIT ? wait_script
                                       : stream_script);
    buffer_append_text(&made->line, "exec sh -c");
    if (sudo->wanted) {
        struct buffer outer = {0};
        buffer_format(&outer, OUTER, asks ? "-S -p ''" : "-n");
        append_word(&made->line, buffer_text(&outer));
        buffer_append_text(&made->line, " sh");
        buffer_free(&outer);
    }
    append_word(&made->line, buffer_text(&script));
    if (!sudo->wanted)
        buffer_append_text(&made->line, " sh");
    const char *parameters[] = {made->mark, "", number, command->directory ? command->directory : ""};
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        append_word(&made->line, parameters[i]);
    for (const char *const *word = command->argv; *word && length <= LINE_MOST; word++)
        append_word(&made->line, *word);
    /* Where nothing follows that would have to be told from it, the password is all: sudo would take the mark for another try
     * after a wrong one. */
    bool alone = way != REMOTE_STREAM && !header.length && !command->input_length;
    if (asks)
        buffer_format(&made->prefix, "%s\n", sudo->password);
    if (asks && !alone)
        buffer_format(&made->prefix, "%s\n", made->mark);
    buffer_append(&made->prefix, buffer_text(&header), header.length);
    buffer_free(&script);
    buffer_wipe(&header);
}

void remote_line_free(struct remote_line *made)
{
    buffer_free(&made->line);
    buffer_wipe(&made->prefix);
}

void remote_line_kill(const struct remote_sudo *sudo, long leader, long process, struct remote_line *made)
{
    char group[24], child[24];
    snprintf(group, sizeof group, "-%ld", leader);
    snprintf(child, sizeof child, "%ld", process);
    static const char script[] =
        "kill -TERM \"$1\" \"$2\" 2>/dev/null; n=0\n"
        "while [ $n -lt 20 ] && kill -0 \"$1\" 2>/dev/null; do sleep 0.1; n=$((n + 1)); done\n"
        "kill -KILL \"$1\" \"$2\" 2>/dev/null; exit 0";
    const char *argv[] = {"sh", "-c", script, "sh", group, child, NULL};
    remote_line_make(&(struct host_command){.argv = argv}, REMOTE_EXEC, sudo, made);
}

/* ---- marks ---- */

static void cut(struct buffer *text, char *from, size_t length)
{
    size_t after = (size_t)(from - text->bytes) + length;
    memmove(from, text->bytes + after, text->length - after + 1);
    text->length -= length;
}

/* Where a whole line that begins with the mark is, and its length with the newline. */
static char *find_line(const char *mark, const struct buffer *text, size_t *length)
{
    char *found = text->length ? memmem(text->bytes, text->length, mark, strlen(mark)) : NULL;
    char *end = found ? memchr(found, '\n', text->length - (size_t)(found - text->bytes)) : NULL;
    *length = end ? (size_t)(end - found) + 1 : 0;
    return end ? found : NULL;
}

static void look_at_output(const char *mark, struct buffer *output, struct remote_progress *progress)
{
    size_t length;
    char *line = find_line(mark, output, &length);
    if (!line)
        return;
    progress->began = sscanf(line + strlen(mark), "%ld %ld", &progress->leader, &progress->process) == 2;
    cut(output, output->bytes, (size_t)(line - output->bytes) + length);
}

static void take_word(struct remote_progress *progress, const char *word)
{
    char what[8] = "";
    int number = 0;
    if (sscanf(word, "%7s %d", what, &number) != 2)
        return;
    if (strcmp(what, "cd") == 0) {
        progress->no_folder = true;
    } else if (strcmp(what, "exec") == 0) {
        progress->not_started = number;
    } else if (strcmp(what, "ready") == 0) {
        progress->error_began = true;
    } else {
        progress->ended = true;
        /* A shell gives a signal as 128 more; programs that end with such a number mean the same by it. */
        bool signalled = number > 128 && number <= 128 + 64;
        progress->status = signalled ? -1 : number;
        progress->signal = signalled ? number - 128 : 0;
    }
}

void remote_progress_look(const char *mark, struct buffer *output, struct buffer *error,
                          struct remote_progress *progress)
{
    size_t length;
    char *line;
    if (!progress->began)
        look_at_output(mark, output, progress);
    while ((line = find_line(mark, error, &length))) {
        if (!progress->error_began) {
            progress->error_began = true;
            cut(error, error->bytes, (size_t)(line - error->bytes) + length);
        } else {
            take_word(progress, line + strlen(mark));
            cut(error, line, length);
        }
    }
}

bool remote_stream_look(const char *mark, struct buffer *output, struct remote_progress *progress)
{
    size_t length;
    if (!progress->began)
        look_at_output(mark, output, progress);
    char *line = progress->began ? find_line(mark, output, &length) : NULL;
    if (line) {
        take_word(progress, line + strlen(mark));
        cut(output, line, length);
    }
    return line != NULL;
}

/* ---- what was not run ---- */

static bool not_run(const char *host, const struct process_result *result, const struct remote_sudo *sudo,
                    struct failure *failure)
{
    struct buffer said = {0};
    const struct buffer *from = result->error.length ? &result->error : &result->output;
    size_t length = from->length < 600 ? from->length : 600;
    buffer_append(&said, buffer_text(from) + from->length - length, length);
    while (said.length && strchr(" \r\n", said.bytes[said.length - 1]))
        said.bytes[--said.length] = '\0';
    if (sudo->wanted) {
        failure_set(failure, "permission", "sudo", "sudo on %s refuses: %s", host, buffer_text(&said));
        bool missing = strstr(buffer_text(&said), "not found") != NULL;
        failure_hint(
            failure,
            missing ? "there is no sudo: install it there, or log in as root"
            : sudo->password
                ? "check the password and that this user may use sudo there"
                : "let this user run sudo without a password there, or give the password: "
                  "--sudo-password prompt, in Lua host{..., sudo = secret.prompt \"sudo password\"}");
    } else {
        failure_set(failure, "failed", "run", "%s runs no commands for this user%s%s", host,
                    said.length ? "; it says: " : "", buffer_text(&said));
        failure_hint(failure, "see the user's login shell there and a command= in authorized_keys");
    }
    buffer_free(&said);
    return false;
}

bool remote_command_started(const char *host, const struct host_command *command,
                            const struct remote_progress *progress, const struct process_result *result,
                            const struct remote_sudo *sudo, struct failure *failure)
{
    const char *program = command->argv[0];
    if (!progress->began)
        return not_run(host, result, sudo, failure);
    if (progress->no_folder)
        return failure_errno(failure, ENOENT, "run", "%s cannot be started in the folder %s", program,
                             command->directory);
    if (progress->not_started == 126)
        return failure_errno(failure, EACCES, "run", "%s cannot be started", program);
    if (progress->not_started) {
        failure_errno(failure, ENOENT, "run", "%s cannot be started", program);
        failure_hint(failure, "install what brings %s", program);
        return false;
    }
    return true;
}
