/* The editor and the pager: children on the terminal, waited for by a thread of the pool. */
#include "foreground.h"

#include "fiber.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct foreground {
    const char *program, *argument;
    const struct buffer *input;
    int status; /* as waitpid has it, -1: it did not run */
};

/* SIGINT and SIGPIPE are the child's own matter: it begins with the system's default. */
static pid_t start(const struct foreground *work, int input)
{
    pid_t child;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    char script[] = "eval \"$1\" ${2:+'\"$2\"'}";
    char *argv[] = {
        "sh", "-c", script, "sh", (char *)(uintptr_t)work->program, (char *)(uintptr_t)work->argument, NULL};
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_init(&actions);
    if (input >= 0)
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (posix_spawnp(&child, "sh", &actions, &attributes, argv, environ) != 0)
        child = -1;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return child;
}

static void feed(int file, const struct buffer *input)
{
    size_t written = 0;
    while (written < input->length) {
        ssize_t length = write(file, input->bytes + written, input->length - written);
        if (length < 0 && errno != EINTR)
            break; /* it has seen enough */
        written += length > 0 ? (size_t)length : 0;
    }
}

/* On a thread of the pool. */
static void work(void *argument)
{
    struct foreground *work = argument;
    int ends[2] = {-1, -1};
    if (work->input && pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t child = start(work, ends[0]);
    if (ends[0] >= 0)
        close(ends[0]);
    if (child > 0 && work->input)
        feed(ends[1], work->input);
    if (ends[1] >= 0)
        close(ends[1]);
    while (child > 0 && waitpid(child, &work->status, 0) < 0 && errno == EINTR)
        ;
}

const char *foreground_editor(void)
{
    const char *editor = getenv("VISUAL");
    if (!editor || !*editor)
        editor = getenv("EDITOR");
    return editor && *editor ? editor : NULL;
}

/* How it ended, as waitpid has it; -1: it did not run. */
static int run(struct runtime *runtime, const char *program, const char *argument, const struct buffer *input)
{
    struct foreground foreground = {.program = program, .argument = argument, .input = input, .status = -1};
    if (!runtime->current || !fiber_offload(runtime, work, &foreground))
        work(&foreground);
    return foreground.status;
}

bool foreground_run(struct runtime *runtime, const char *program, const char *argument,
                    const struct buffer *input)
{
    int status = run(runtime, program, argument, input);
    return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A pager that was left by Ctrl-C or says that it failed has shown what was wanted; the shell's 126 and 127 are of none. */
bool foreground_page(struct runtime *runtime, const struct buffer *text)
{
    const char *pager = getenv("PAGER");
    if (pager && !*pager)
        return false;
    int status = run(runtime, pager ? pager : "command -v less >/dev/null || exit 127; LESS=${LESS-FRX} less",
                     NULL, text);
    return status != -1 && !(WIFEXITED(status) && WEXITSTATUS(status) >= 126);
}
