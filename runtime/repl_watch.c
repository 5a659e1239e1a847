/* :watch - an expression again and again, what changed since the last time marked; until a key is pressed. */
#include "quantity.h"
#include "repl.h"
#include "repl_commands.h"
#include "repl_show.h"
#include "report.h"
#include "terminal.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* In a fiber: the session, an expression. */
static int show_now(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, 1);
    unsigned columns, rows;
    terminal_size(&columns, &rows);
    repl_value(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, repl->environment);
    lua_getfield(L, -1, "_");
    show_value(L, -1, columns > 2 ? columns - 2 : columns, &repl->shown);
    return 0;
}

/* The line of `before` with the same number, or "". */
static const char *line_of(const char *text, size_t number, size_t *length)
{
    while (number-- && *text) {
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    *length = strcspn(text, "\n");
    return text;
}

/* A line with the words that differ from the old one's at the same place in reverse; on a dumb terminal a star before it. */
static void add_marked(struct buffer *out, const char *line, size_t length, const char *old,
                       size_t old_length, bool marks)
{
    bool same = length == old_length && memcmp(line, old, length) == 0;
    buffer_append_text(out, same ? "  " : "* ");
    if (!marks || same) {
        buffer_append(out, line, length);
        buffer_append_text(out, "\n");
        return;
    }
    for (size_t i = 0; i < length;) {
        size_t end = i;
        bool blank = line[i] == ' ';
        while (end < length && (line[end] == ' ') == blank)
            end++;
        bool changed = !blank && (end > old_length || memcmp(line + i, old + i, end - i) != 0 ||
                                  (end < old_length && end < length && old[end] != ' '));
        buffer_append_text(out, changed ? "\033[7m" : "");
        buffer_append(out, line + i, end - i);
        buffer_append_text(out, changed ? "\033[0m" : "");
        i = end;
    }
    buffer_append_text(out, "\n");
}

static void add_all(struct buffer *out, const struct buffer *now, const struct buffer *before, bool marks,
                    unsigned rows)
{
    const char *line = buffer_text(now);
    for (size_t number = 0; *line && (!marks || number + 3 < rows); number++) {
        size_t length = strcspn(line, "\n"), old_length;
        const char *old = line_of(buffer_text(before), number, &old_length);
        if (before->length)
            add_marked(out, line, length, old, old_length, marks);
        else
            buffer_format(out, "  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    if (*line)
        buffer_append_text(out, "  ...\n");
}

/* One look: true while it is to go on. A server that goes away for a while is what is watched for: only the first look has to
 * succeed. */
static bool look(struct repl *repl, const char *expression, const char *every, struct buffer *before)
{
    unsigned columns, rows;
    char when[32];
    time_t now = time(NULL);
    struct tm local;
    struct buffer out = {0};
    bool edited = line_is_edited(repl->reader);
    buffer_clear(&repl->shown);
    lua_pushcfunction(repl->L, show_now);
    lua_pushlightuserdata(repl->L, repl);
    lua_pushstring(repl->L, expression);
    if (!repl_call(repl, 2, NULL)) {
        buffer_clear(&repl->shown);
        return before->length && !repl->interrupted && !repl->signals.ended;
    }
    terminal_size(&columns, &rows);
    strftime(when, sizeof when, "%H:%M:%S", localtime_r(&now, &local));
    buffer_append_text(&out, edited ? "\033[H\033[2J" : "");
    buffer_format(&out, "%s  every %s; a key ends it: %.*s\n", when, every,
                  (int)(columns > 50 ? columns - 48 : 10), expression);
    add_all(&out, &repl->shown, before, edited, rows);
    report_output(repl->runtime, buffer_text(&out), out.length);
    fflush(stdout);
    buffer_free(&out);
    buffer_free(before);
    *before = repl->shown;
    repl->shown = (struct buffer){0};
    return true;
}

void repl_watch(struct repl *repl, const char *arguments)
{
    size_t length = strcspn(arguments, " \t");
    const char *expression = arguments + length + strspn(arguments + length, " \t");
    int64_t ms = 0;
    char word[32], every[48];
    struct buffer before = {0};
    snprintf(word, sizeof word, "%.*s", (int)length, arguments);
    if (!duration_parse(word, &ms) || ms < 100 || !*expression) {
        report_say(repl->runtime,
                   "it is :watch SECONDS EXPRESSION, such as :watch 2 nomad.nodes.list_nodes()\n");
        repl->failed = true;
        return;
    }
    if (!line_is_typed(repl->reader)) {
        report_say(repl->runtime, ":watch goes on until a key is pressed: it needs a terminal\n");
        repl->failed = true;
        return;
    }
    duration_format(ms, every, sizeof every);
    while (look(repl, expression, every, &before) && !line_wait_for_key(repl->reader, (uint64_t)ms))
        ;
    buffer_free(&before);
}
