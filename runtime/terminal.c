/* Questions on /dev/tty. */
#include "terminal.h"

#include "fiber.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

struct question {
    uv_poll_t poll;
    struct fiber *fiber;
    int file;
    bool readable;
    struct termios before;
};

bool terminal_present(void)
{
    int file = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (file < 0)
        return false;
    close(file);
    return true;
}

void terminal_forget(void)
{
    int file = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (file < 0)
        return;
    tcflush(file, TCIFLUSH);
    close(file);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct question *question = poll->data;
    question->readable = true;
    fiber_wake(question->fiber);
}

static void on_closed(uv_handle_t *handle)
{
    struct question *question = handle->data;
    close(question->file);
    free(question);
}

/* Reads until the newline. 1 = a line, 0 = end of input. */
static int take(struct question *question, struct buffer *answer)
{
    char piece[256];
    ssize_t length = read(question->file, piece, sizeof piece);
    question->readable = false;
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return -1;
    if (length <= 0)
        return 0;
    char *end = memchr(piece, '\n', (size_t)length);
    buffer_append(answer, piece, end ? (size_t)(end - piece) : (size_t)length);
    explicit_bzero(piece, sizeof piece);
    return end ? 1 : -1;
}

static bool read_answer(struct runtime *runtime, struct question *question, struct buffer *answer,
                        struct failure *failure)
{
    for (;;) {
        enum wait_outcome outcome = fiber_suspend(runtime, FIBER_NO_TIMEOUT);
        if (outcome != WAIT_WOKEN)
            return fiber_wait_failure(failure, outcome, "ask", 0);
        int got = question->readable ? take(question, answer) : -1;
        if (got == 1)
            return true;
        if (got == 0)
            return failure_set(failure, "failed", "ask", "end of input at the question");
    }
}

static void hide_input(const struct question *question)
{
    struct termios hidden = question->before;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    hidden.c_lflag |= ECHONL;
    /* Ctrl-Z and Ctrl-\ would leave the shell without echo; Ctrl-C is dealt with as a cancellation. */
    hidden.c_cc[VSUSP] = hidden.c_cc[VQUIT] = _POSIX_VDISABLE;
    tcsetattr(question->file, TCSAFLUSH, &hidden);
}

/* With the lock held: one question is on the screen at a time. */
static bool ask(struct runtime *runtime, int file, const char *text, bool echo, struct buffer *answer,
                struct failure *failure)
{
    struct question *question = allocate_zeroed(1, sizeof *question);
    question->file = file;
    question->fiber = runtime->current;
    tcgetattr(file, &question->before);
    if (!echo)
        hide_input(question);
    report_question(runtime, text);
    uv_poll_init(&runtime->loop, &question->poll, file);
    question->poll.data = question;
    uv_poll_start(&question->poll, UV_READABLE, on_readable);
    bool done = read_answer(runtime, question, answer, failure);
    if (!echo)
        tcsetattr(file, TCSAFLUSH, &question->before);
    if (!done)
        fputs("\n", stderr); /* the question's line was not ended by an answer */
    uv_close((uv_handle_t *)&question->poll, on_closed);
    report_answered(runtime);
    return done;
}

const struct terminal_line *terminal_leave(struct runtime *runtime)
{
    const struct terminal_line *line = runtime->typed;
    runtime->typed = NULL;
    if (line)
        line->leave(line->context);
    return line;
}

void terminal_back(struct runtime *runtime, const struct terminal_line *line)
{
    if (!line)
        return;
    line->back(line->context);
    runtime->typed = line;
}

void terminal_size(unsigned *columns, unsigned *rows)
{
    struct winsize size = {0};
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    *columns = known && size.ws_col >= 20 ? size.ws_col : 80;
    *rows = known && size.ws_row >= 4 ? size.ws_row : 24;
}

bool terminal_ask(struct runtime *runtime, const char *text, bool echo, struct buffer *answer,
                  struct failure *failure)
{
    int file = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file < 0) {
        failure_set(failure, "usage", "ask", "there is no terminal to ask on");
        failure_hint(failure, "run it from a terminal, or give the answer by an option or parameter");
        return false;
    }
    enum wait_outcome outcome = fiber_lock(runtime, &runtime->terminal);
    if (outcome != WAIT_WOKEN) {
        close(file);
        return fiber_wait_failure(failure, outcome, "ask", 0);
    }
    const struct terminal_line *typed = terminal_leave(runtime);
    bool done = ask(runtime, file, text, echo, answer, failure);
    terminal_back(runtime, typed);
    fiber_unlock(&runtime->terminal);
    return done;
}
