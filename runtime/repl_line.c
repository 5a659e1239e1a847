/* Reading lines. libedit runs in the session's fiber: where it asks for a character, the fiber waits and others go on. */
#include "repl_line.h"

#include "fiber.h"
#include "repl_show.h"
#include "terminal.h"
#include "utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#define HISTORY_MOST 2000
#define ESCAPE_MS    25 /* a key's bytes come together; Escape alone is followed by nothing */

static const char paste_begins[] = "\033[200~", paste_ends[] = "\033[201~";

struct line_reader {
    struct runtime *runtime;
    line_completer *complete;
    void *context;
    struct fiber *fiber; /* who waits for input */
    uv_poll_t poll;
    bool polled;      /* poll was made: files of disks cannot be */
    int file;         /* an open file of our own: that others share standard input's must not matter */
    bool typed;       /* a terminal */
    bool readable;    /* of poll */
    bool ended;       /* no more input */
    bool interrupted; /* of the line that is read */
    struct buffer input;
    size_t taken;   /* of input */
    EditLine *edit; /* NULL: the terminal's own editing, or no terminal */
    History *history;
    const char *prompt;
    uv_signal_t resized, continued;
    struct terminal_line on_screen;
};

/* ---- input ---- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct line_reader *reader = poll->data;
    (void)status;
    (void)events;
    reader->readable = true;
    uv_poll_stop(poll);
    if (reader->fiber)
        fiber_wake(reader->fiber);
}

/* What has come, into the buffer. False: nothing yet. */
static bool take_input(struct line_reader *reader)
{
    char piece[4096];
    ssize_t length;
    if (reader->taken == reader->input.length) {
        buffer_clear(&reader->input);
        reader->taken = 0;
    }
    do
        length = read(reader->file, piece, sizeof piece);
    while (length < 0 && errno == EINTR);
    if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (length <= 0)
        reader->ended = true;
    else
        buffer_append(&reader->input, piece, (size_t)length);
    return true;
}

enum input { INPUT_CAME, INPUT_TIMEOUT, INPUT_STOPPED };

/* Waits for more input. INPUT_STOPPED: Ctrl-C, or the end of it. */
static enum input await_input(struct line_reader *reader, uint64_t ms)
{
    struct runtime *runtime = reader->runtime;
    uint64_t end = ms == FIBER_NO_TIMEOUT ? ms : runtime_now(runtime) + ms;
    reader->fiber = runtime->current;
    for (;;) {
        if (reader->ended || runtime->exit_asked)
            return INPUT_STOPPED;
        if (runtime->interrupts) {
            reader->interrupted = true;
            return INPUT_STOPPED;
        }
        if (!reader->polled || reader->readable) {
            reader->readable = false;
            if (take_input(reader))
                return reader->ended ? INPUT_STOPPED : INPUT_CAME;
        }
        uint64_t now = runtime_now(runtime);
        if (now >= end)
            return INPUT_TIMEOUT;
        uv_poll_start(&reader->poll, UV_READABLE, on_readable);
        enum wait_outcome outcome = fiber_suspend(runtime, end == FIBER_NO_TIMEOUT ? end : end - now);
        if (outcome == WAIT_CANCELLED || outcome == WAIT_REFUSED)
            reader->ended = true;
    }
}

static size_t left(const struct line_reader *reader)
{
    return reader->input.length - reader->taken;
}

static const char *next_bytes(const struct line_reader *reader)
{
    return reader->input.bytes + reader->taken;
}

/* ---- the line on the screen ---- */

/* The row of the cursor, counted from the prompt's. */
static unsigned cursor_row(const struct line_reader *reader)
{
    unsigned columns, rows, row = 0, column = (unsigned)strlen(reader->prompt);
    const LineInfoW *line = el_wline(reader->edit);
    terminal_size(&columns, &rows);
    for (const wchar_t *at = line->buffer; at < line->cursor; at++) {
        int width = wcwidth(*at);
        if (*at == L'\n') {
            row++;
            column = 0;
        } else
            column += width < 0 ? 2 : (unsigned)width; /* a control character shows as ^X */
        if (column >= columns) {
            row++;
            column -= columns;
        }
    }
    return row;
}

static void leave_screen(void *context)
{
    struct line_reader *reader = context;
    if (!reader->edit) {
        putchar('\n');
        fflush(stdout);
        uv_poll_stop(&reader->poll);
        return;
    }
    unsigned row = cursor_row(reader);
    if (row)
        printf("\033[%uA", row);
    fputs("\r\033[J\033[?2004l", stdout);
    fflush(stdout);
    uv_poll_stop(&reader->poll);
    el_set(reader->edit, EL_PREP_TERM, 0);
}

static void back_on_screen(void *context)
{
    struct line_reader *reader = context;
    if (!reader->edit)
        fputs(reader->prompt, stdout);
    else {
        el_set(reader->edit, EL_PREP_TERM, 1);
        fputs("\033[?2004h", stdout);
        fflush(stdout);
        el_set(reader->edit, EL_REFRESH);
    }
    fflush(stdout);
    uv_poll_start(&reader->poll, UV_READABLE, on_readable);
}

/* ---- libedit ---- */

static struct line_reader *reader_of(EditLine *edit)
{
    void *reader = NULL;
    el_get(edit, EL_CLIENTDATA, &reader);
    return reader;
}

static char *give_prompt(EditLine *edit)
{
    return (char *)(uintptr_t)reader_of(edit)->prompt;
}

/* Inserts a text at the cursor as it is. */
static void insert(EditLine *edit, const char *text, size_t length)
{
    char *copy = allocate(length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    el_insertstr(edit, copy);
    free(copy);
}

/* Pasted: what stands between the marks is no key, its newlines end no line. */
static bool take_paste(struct line_reader *reader)
{
    const char *end;
    reader->taken += sizeof paste_begins - 1;
    while (!(end = memmem(next_bytes(reader), left(reader), paste_ends, sizeof paste_ends - 1)))
        if (await_input(reader, FIBER_NO_TIMEOUT) != INPUT_CAME)
            return false;
    struct buffer text = {0};
    const char *begin = next_bytes(reader);
    for (const char *at = begin; at < end; at++) {
        bool both = *at == '\r' && at + 1 < end && at[1] == '\n';
        if (!both)
            buffer_append(&text, *at == '\r' ? "\n" : at, 1);
    }
    reader->taken += (size_t)(end - begin) + sizeof paste_ends - 1;
    while (text.length && text.bytes[text.length - 1] == '\n')
        text.length--;
    utf8_disarm(text.bytes, text.length);
    insert(reader->edit, buffer_text(&text), text.length);
    buffer_free(&text);
    el_set(reader->edit, EL_REFRESH);
    return true;
}

/* Could these bytes be the beginning of that mark, and more is to come? */
static bool may_become(const struct line_reader *reader, const char *mark)
{
    size_t length = left(reader);
    return length && length < strlen(mark) && memcmp(next_bytes(reader), mark, length) == 0;
}

/* libedit wants a character: 1 = one, 0 = the end, -1 = interrupted. */
static int next_character(EditLine *edit, wchar_t *character)
{
    struct line_reader *reader = reader_of(edit);
    for (;;) {
        if (!left(reader) && await_input(reader, FIBER_NO_TIMEOUT) != INPUT_CAME)
            break;
        while (may_become(reader, paste_begins) && await_input(reader, ESCAPE_MS) == INPUT_CAME)
            ;
        if (left(reader) >= sizeof paste_begins - 1 &&
            memcmp(next_bytes(reader), paste_begins, sizeof paste_begins - 1) == 0) {
            if (!take_paste(reader))
                break;
            continue;
        }
        mbstate_t state = {0};
        size_t length = mbrtowc(character, next_bytes(reader), left(reader), &state);
        if (length == (size_t)-2 && await_input(reader, ESCAPE_MS) == INPUT_CAME)
            continue;
        if (length == (size_t)-1 ||
            length == (size_t)-2) { /* no character of this locale: the byte as it is */
            *character = (unsigned char)*next_bytes(reader);
            length = 1;
        }
        reader->taken += length ? length : 1;
        /* Ctrl-D that was typed before there was a prompt: the terminal keeps it as a zero. */
        const LineInfoW *line = el_wline(edit);
        if (!*character && line->lastchar == line->buffer)
            *character = 4;
        return 1;
    }
    errno = EINTR;
    return reader->interrupted ? -1 : 0;
}

/* ---- completion ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void line_candidates_sort(struct line_candidates *candidates)
{
    size_t kept = 0;
    if (candidates->count)
        qsort(candidates->texts, candidates->count, sizeof *candidates->texts, compare);
    for (size_t i = 0; i < candidates->count; i++) {
        if (kept && strcmp(candidates->texts[kept - 1], candidates->texts[i]) == 0)
            free(candidates->texts[i]);
        else
            candidates->texts[kept++] = candidates->texts[i];
    }
    candidates->count = kept;
}

void line_candidates_free(struct line_candidates *candidates)
{
    for (size_t i = 0; i < candidates->count; i++)
        free(candidates->texts[i]);
    free(candidates->texts);
    *candidates = (struct line_candidates){0};
}

/* How many bytes all of them begin with. */
static size_t common_length(const struct line_candidates *candidates)
{
    size_t length = strlen(candidates->texts[0]);
    for (size_t i = 1; i < candidates->count; i++) {
        size_t same = 0;
        while (same < length && candidates->texts[i][same] == candidates->texts[0][same])
            same++;
        length = same;
    }
    while (length && (candidates->texts[0][length] & 0xc0) == 0x80) /* not inside a character */
        length--;
    return length;
}

/* In columns, below the line, which is drawn again afterwards. */
static void list_candidates(struct line_reader *reader, const struct line_candidates *candidates)
{
    unsigned columns, rows;
    size_t widest = 0;
    terminal_size(&columns, &rows);
    for (size_t i = 0; i < candidates->count; i++) {
        size_t width = show_width(candidates->texts[i], strlen(candidates->texts[i]));
        widest = width > widest ? width : widest;
    }
    size_t across = columns / (widest + 2), shown = candidates->count;
    across = across ? across : 1;
    if (shown > across * (rows - 2))
        shown = across * (rows - 2);
    size_t lines = (shown + across - 1) / across;
    struct buffer out = {0};
    for (size_t line = 0; line < lines; line++) {
        for (size_t i = line; i < shown; i += lines) {
            const char *text = candidates->texts[i];
            size_t gap = i + lines < shown ? widest + 2 - show_width(text, strlen(text)) : 0;
            buffer_format(&out, "%s%*s", text, (int)gap, "");
        }
        buffer_append_text(&out, "\n");
    }
    if (shown < candidates->count)
        buffer_format(&out, "... and %zu more\n", candidates->count - shown);
    const struct terminal_line *typed = terminal_leave(reader->runtime);
    const LineInfo *line_now = el_line(reader->edit);
    printf("%s%.*s\n", reader->prompt, (int)(line_now->lastchar - line_now->buffer), line_now->buffer);
    fwrite(buffer_text(&out), 1, out.length, stdout);
    terminal_back(reader->runtime, typed);
    buffer_free(&out);
}

static unsigned char on_tab(EditLine *edit, int key)
{
    struct line_reader *reader = reader_of(edit);
    struct line_candidates candidates = {0};
    const LineInfo *line = el_line(edit);
    (void)key;
    char *text = allocate((size_t)(line->lastchar - line->buffer) + 1);
    size_t cursor = (size_t)(line->cursor - line->buffer), before = cursor;
    memcpy(text, line->buffer, (size_t)(line->lastchar - line->buffer));
    text[line->lastchar - line->buffer] = '\0';
    while (before && (text[before - 1] == ' ' || text[before - 1] == '\n'))
        before--;
    if (!before) { /* nothing before it: indentation */
        free(text);
        insert(edit, "  ", 2);
        return CC_REFRESH;
    }
    if (reader->complete)
        reader->complete(reader->context, text, cursor, &candidates);
    line_candidates_sort(&candidates);
    size_t common = candidates.count ? common_length(&candidates) : 0;
    unsigned char outcome = candidates.count ? CC_REFRESH : CC_REFRESH_BEEP;
    if (candidates.count > 1 && common <= candidates.typed)
        list_candidates(reader, &candidates);
    else if (candidates.count && candidates.typed <= common) {
        /* What is typed may differ from it: upper and lower case, an id's beginning. */
        char *typed = text + cursor - candidates.typed;
        typed[candidates.typed] = '\0';
        size_t characters = mbstowcs(NULL, typed, 0);
        el_deletestr(edit, characters == (size_t)-1 ? (int)candidates.typed : (int)characters);
        insert(edit, candidates.texts[0], common);
    }
    line_candidates_free(&candidates);
    free(text);
    return outcome;
}

/* ---- signals of the terminal ---- */

static void on_resized(uv_signal_t *signal, int number)
{
    const struct line_reader *reader = signal->data;
    (void)number;
    el_resize(reader->edit);
}

/* Back from Ctrl-Z: the shell has set the terminal as it likes it. */
static void on_continued(uv_signal_t *signal, int number)
{
    struct line_reader *reader = signal->data;
    (void)number;
    if (reader->runtime->typed)
        back_on_screen(reader);
}

static void watch_terminal(struct line_reader *reader)
{
    uv_signal_init(&reader->runtime->loop, &reader->resized);
    uv_signal_init(&reader->runtime->loop, &reader->continued);
    reader->resized.data = reader->continued.data = reader;
    uv_signal_start(&reader->resized, on_resized, SIGWINCH);
    uv_signal_start(&reader->continued, on_continued, SIGCONT);
    uv_unref((uv_handle_t *)&reader->resized);
    uv_unref((uv_handle_t *)&reader->continued);
}

/* ---- life ---- */

static void open_editor(struct line_reader *reader)
{
    HistEvent event;
    reader->edit = el_init("moonbook", stdin, stdout, stderr);
    if (!reader->edit)
        return;
    reader->history = history_init();
    history(reader->history, &event, H_SETSIZE, HISTORY_MOST);
    history(reader->history, &event, H_SETUNIQUE, 1);
    el_set(reader->edit, EL_CLIENTDATA, reader);
    el_set(reader->edit, EL_PROMPT, give_prompt);
    el_set(reader->edit, EL_EDITOR, "emacs");
    el_set(reader->edit, EL_SIGNAL, 0);
    el_set(reader->edit, EL_HIST, history, reader->history);
    el_set(reader->edit, EL_GETCFN, next_character);
    /* The wide one: the narrow el_set leaks its copies of both texts. */
    el_wset(reader->edit, EL_ADDFN, L"moonbook-complete", L"what could stand here", on_tab);
    el_set(reader->edit, EL_BIND, "^I", "moonbook-complete", NULL);
    el_set(reader->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(reader->edit, NULL); /* the user's own keys */
    watch_terminal(reader);
}

/* A file of our own: what we set on it is nobody else's matter. */
static int open_input(bool typed)
{
    int file = open(typed ? "/dev/tty" : "/proc/self/fd/0", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return file < 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : file;
}

static struct line_reader *make_reader(struct runtime *runtime)
{
    const char *term = getenv("TERM");
    struct line_reader *reader = allocate_zeroed(1, sizeof *reader);
    reader->runtime = runtime;
    reader->typed = isatty(STDIN_FILENO);
    reader->file = open_input(reader->typed);
    reader->prompt = "";
    reader->polled = uv_poll_init(&runtime->loop, &reader->poll, reader->file) == 0;
    reader->poll.data = reader;
    reader->on_screen = (struct terminal_line){leave_screen, back_on_screen, reader};
    if (reader->typed && isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0)
        open_editor(reader);
    return reader;
}

struct line_reader *line_reader_of(struct runtime *runtime, line_completer *complete, void *context,
                                   bool *is_new)
{
    *is_new = !runtime->reader;
    if (*is_new)
        runtime->reader = make_reader(runtime);
    runtime->reader->complete = complete;
    runtime->reader->context = context;
    return runtime->reader;
}

/* The handles are part of the reader: it lives until the loop has closed the last of them. */
static void on_closed(uv_handle_t *handle)
{
    struct line_reader *reader = handle->data;
    handle->data = NULL;
    if (reader->poll.data || (reader->edit && (reader->resized.data || reader->continued.data)))
        return;
    if (reader->edit) {
        el_end(reader->edit);
        history_end(reader->history);
    }
    close(reader->file);
    buffer_wipe(&reader->input);
    free(reader);
}

void line_reader_free(struct line_reader *reader)
{
    if (!reader)
        return;
    if (reader->edit) {
        uv_close((uv_handle_t *)&reader->resized, on_closed);
        uv_close((uv_handle_t *)&reader->continued, on_closed);
    }
    if (reader->polled)
        uv_close((uv_handle_t *)&reader->poll, on_closed);
    else {
        close(reader->file);
        buffer_wipe(&reader->input);
        free(reader);
    }
}

bool line_is_typed(const struct line_reader *reader)
{
    return reader->typed;
}

bool line_is_edited(const struct line_reader *reader)
{
    return reader->edit != NULL;
}

void line_remember(struct line_reader *reader, const char *text)
{
    HistEvent event;
    if (reader->history)
        history(reader->history, &event, H_ENTER, text);
}

/* ---- reading ---- */

static enum line_outcome read_edited(struct line_reader *reader, struct buffer *line)
{
    int count = 0;
    el_set(reader->edit, EL_PREP_TERM,
           1); /* before the prompt: what is typed at its sight is a key already */
    fputs("\033[?2004h", stdout);
    fflush(stdout);
    const char *text = el_gets(reader->edit, &count);
    fputs("\033[?2004l", stdout);
    fflush(stdout);
    if (reader->interrupted)
        return LINE_INTERRUPTED;
    if (!text || count <= 0)
        return LINE_END;
    buffer_append_text(line, text);
    if (line->length && line->bytes[line->length - 1] == '\n')
        line->bytes[--line->length] = '\0';
    return LINE_READ;
}

static enum line_outcome read_plain(struct line_reader *reader, struct buffer *line)
{
    if (reader->typed) {
        fputs(reader->prompt, stdout);
        fflush(stdout);
    }
    for (;;) {
        const char *end = left(reader) ? memchr(next_bytes(reader), '\n', left(reader)) : NULL;
        size_t length = end ? (size_t)(end - next_bytes(reader)) : left(reader);
        if (length)
            buffer_append(line, next_bytes(reader), length);
        reader->taken += length + (end != NULL);
        if (end)
            return LINE_READ;
        if (await_input(reader, FIBER_NO_TIMEOUT) == INPUT_CAME)
            continue;
        if (reader->interrupted)
            return LINE_INTERRUPTED;
        return line->length ? LINE_READ : LINE_END;
    }
}

enum line_outcome line_read(struct line_reader *reader, const char *prompt, struct buffer *line)
{
    struct runtime *runtime = reader->runtime;
    buffer_clear(line);
    reader->prompt = prompt;
    reader->interrupted = false;
    reader->ended = reader->ended && !reader->typed;           /* Ctrl-D ends one session */
    if (fiber_lock(runtime, &runtime->terminal) != WAIT_WOKEN) /* somebody asks: the question comes first */
        return LINE_END;
    fiber_unlock(&runtime->terminal);
    if (reader->typed)
        runtime->typed = &reader->on_screen;
    enum line_outcome outcome = reader->edit ? read_edited(reader, line) : read_plain(reader, line);
    if (runtime->typed == &reader->on_screen)
        runtime->typed = NULL;
    if (reader->typed && outcome != LINE_READ)
        puts(outcome == LINE_INTERRUPTED && reader->edit ? "^C" : "");
    if (line->length && line->bytes[line->length - 1] == '\r')
        line->bytes[--line->length] = '\0';
    return outcome;
}

bool line_wait_for_key(struct line_reader *reader, uint64_t ms)
{
    struct termios before, raw;
    bool set = reader->typed && tcgetattr(reader->file, &before) == 0;
    if (set) {
        raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(reader->file, TCSADRAIN, &raw);
    }
    reader->interrupted = false;
    bool pressed = left(reader) || await_input(reader, ms) != INPUT_TIMEOUT;
    if (pressed && reader->typed)
        reader->taken = reader->input.length;
    if (set)
        tcsetattr(reader->file, TCSADRAIN, &before);
    return pressed;
}
