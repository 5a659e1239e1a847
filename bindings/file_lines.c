/* file.line and file.block: the arguments, the Lua patterns, and the edit between them. */
#include "file_lines.h"

#include "binding.h"
#include "file_edit.h"
#include "file_write.h"
#include "secret.h"
#include "unknown.h"

#include <stdio.h>
#include <string.h>

#define MOST_LINES 1000000

/* The lines of the file that is edited, and where new ones go. */
struct text {
    const char *bytes;
    size_t length;
    struct text_span *lines; /* owned by a userdata */
    size_t count;
};

/* [-0, +1, v] Splits the old content. */
static struct text split_old(lua_State *L, struct file_target *target)
{
    struct text text = {.bytes = buffer_text(&target->old_content), .length = target->old_content.length};
    text.count = text_count_lines(text.bytes, text.length);
    if (text.count > MOST_LINES)
        file_target_error(L, target, "failed", "write it whole with file.present",
                          "it has more than %d lines", MOST_LINES);
    text.lines = lua_newuserdatauv(L, (text.count + 1) * sizeof *text.lines, 0);
    text_split(text.bytes, text.length, text.lines);
    return text;
}

/* [-0, +1, v] Which lines a Lua pattern matches: flags in a userdata. `which` is the option that gave the pattern. */
static bool *match_lines(lua_State *L, struct file_target *target, const struct text *text, const char *which,
                         const char *pattern)
{
    bool *flags = lua_newuserdatauv(L, text->count + 1, 0);
    /* Not the global: a script may have put something else there. */
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "string");
    lua_getfield(L, -1, "find");
    /* An empty text comes last, so that a malformed pattern shows on a file without lines. */
    for (size_t i = 0; i <= text->count; i++) {
        lua_pushvalue(L, -1);
        lua_pushlstring(L, i < text->count ? text->lines[i].bytes : "",
                        i < text->count ? text->lines[i].length : 0);
        lua_pushstring(L, pattern);
        if (lua_pcall(L, 2, 1, 0) != LUA_OK)
            file_target_error(L, target, "usage", "see 'Patterns' in Lua's manual, 6.4.1",
                              "%s = \"%s\" is no Lua pattern: %s", which, pattern, lua_tostring(L, -1));
        flags[i] = !lua_isnil(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 3);
    return flags;
}

/* [-0, +0, v] The line that new ones go before, by the options `after` (behind its last match) and `before` (ahead of
 * its first match); the end where neither is given or matches. */
static size_t find_place(lua_State *L, struct file_target *target, const struct text *text)
{
    const char *after = argument_string(L, 1, target->kind, "after", NULL);
    const char *before = argument_string(L, 1, target->kind, "before", NULL);
    size_t place = text->count;
    if (after != NULL && before != NULL)
        file_target_error(L, target, "usage", "leave one of them out", "after and before are both given");
    if (after == NULL && before == NULL)
        return place;
    const bool *flags =
        match_lines(L, target, text, after != NULL ? "after" : "before", after != NULL ? after : before);
    for (size_t i = text->count; i > 0; i--) {
        if (!flags[i - 1])
            continue;
        place = after != NULL ? i : i - 1;
        if (after != NULL)
            break;
    }
    lua_pop(L, 1);
    return place;
}

/* [-0, +0, v] The line on top of the stack, which the options table keeps alive. */
static struct text_span wanted_line(lua_State *L, struct file_target *target)
{
    struct text_span line = {"", 0};
    bool secret = false;
    if (unknown_is(L, -1)) {
        unknown_used(L);
        target->content_unknown = true;
        return line;
    }
    if (lua_type(L, -1) == LUA_TNUMBER)
        file_target_error(L, target, "usage", "write it as text", "a line is a number");
    line.bytes = secret_or_text(L, -1, target->op, &line.length, &secret);
    target->secret = target->secret || secret;
    if (memchr(line.bytes, '\n', line.length) != NULL || memchr(line.bytes, '\r', line.length) != NULL)
        file_target_error(L, target, "usage", "give a list of lines, or use file.block",
                          "a line has a line break in it");
    return line;
}

/* [-0, +1, v] The option `line`: one or a list. */
static struct text_span *wanted_lines(lua_State *L, struct file_target *target, size_t *count)
{
    int type = lua_getfield(L, 1, "line");
    bool list = type == LUA_TTABLE && !secret_is(L, -1) && !unknown_is(L, -1);
    if (type == LUA_TNIL)
        file_target_error(L, target, "usage", "line = \"...\" or a list of lines", "line is missing");
    *count = list ? lua_rawlen(L, -1) : 1;
    if (*count > MOST_LINES)
        file_target_error(L, target, "usage", "", "line has more than %d lines", MOST_LINES);
    struct text_span *lines = lua_newuserdatauv(L, (*count + 1) * sizeof *lines, 0);
    lua_insert(L, -2);
    for (size_t i = 0; i < *count; i++) {
        if (list)
            lua_rawgeti(L, -1, (lua_Integer)i + 1);
        lines[i] = wanted_line(L, target);
        if (list)
            lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return lines;
}

int file_line(lua_State *L)
{
    static const char *const options[] = {"line", "matching", "after", "before",   "create",
                                          "mode", "owner",    "group", "validate", NULL};
    argument_table(L, 1, "file.line", options);
    lua_settop(L, 1);
    struct file_target *target = file_target_new(L, "file.line");
    if (target->path_unknown)
        return file_target_unknown(L, target);
    struct line_edit edit = {0};
    const char *matching = argument_string(L, 1, target->kind, "matching", NULL);
    edit.wanted = wanted_lines(L, target, &edit.wanted_count);
    if (edit.wanted_count == 0 && matching == NULL)
        file_target_error(L, target, "usage", "give at least one line, or matching to remove what matches",
                          "line is an empty list");
    if (matching != NULL && strcmp(matching, UNKNOWN_TEXT) == 0)
        target->content_unknown = true;
    if (file_target_read_text(L, target)) {
        struct text text = split_old(L, target);
        edit.place = find_place(L, target, &text);
        if (matching != NULL)
            edit.matching = match_lines(L, target, &text, "matching", matching);
        edit_lines(text.bytes, text.length, &edit, &target->new_content);
    }
    return file_converge(L, target);
}

/* [-0, +1, v] "# BEGIN marker": one of the lines around a block. */
static struct text_span marker_line(lua_State *L, struct file_target *target, const char *word)
{
    struct text_span line;
    const char *comment = argument_string(L, 1, target->kind, "comment", "#");
    const char *marker = argument_string(L, 1, target->kind, "marker", "moonbook");
    if (strpbrk(marker, "\r\n") != NULL || strpbrk(comment, "\r\n") != NULL || marker[0] == '\0')
        file_target_error(L, target, "usage", "",
                          "marker and comment are one line each, marker is not empty");
    lua_pushfstring(L, "%s%s%s %s", comment, comment[0] != '\0' ? " " : "", word, marker);
    line.bytes = lua_tolstring(L, -1, &line.length);
    return line;
}

static void refuse_block(lua_State *L, struct file_target *target, enum block_result result,
                         const struct block_edit *edit)
{
    const char *begin = edit->begin.bytes, *end = edit->end.bytes; /* Lua strings end in NUL */
    switch (result) {
    case BLOCK_UNCLOSED:
        file_target_error(L, target, "invalid", "put the markers right by hand",
                          "%s has only one of the lines '%s' and '%s', or not in this order",
                          target->found.path, begin, end);
        break;
    case BLOCK_REPEATED:
        file_target_error(L, target, "invalid", "remove one of them by hand, or use another marker",
                          "%s has the block '%s' more than once", target->found.path, begin);
        break;
    case BLOCK_NESTED:
        file_target_error(L, target, "usage", "use another marker", "the content has the line '%s' or '%s'",
                          begin, end);
        break;
    case BLOCK_EDITED:
        break;
    }
}

int file_block(lua_State *L)
{
    static const char *const options[] = {"content", "marker", "comment", "after",    "before", "create",
                                          "mode",    "owner",  "group",   "validate", NULL};
    argument_table(L, 1, "file.block", options);
    lua_settop(L, 1);
    struct file_target *target = file_target_new(L, "file.block");
    if (target->path_unknown)
        return file_target_unknown(L, target);
    struct block_edit edit = {0};
    edit.begin = marker_line(L, target, "BEGIN");
    edit.end = marker_line(L, target, "END");
    if (lua_getfield(L, 1, "content") == LUA_TNIL)
        file_target_error(L, target, "usage", "content = \"...\"; \"\" removes the block",
                          "content is missing");
    if (unknown_is(L, -1)) {
        unknown_used(L);
        target->content_unknown = true;
    } else {
        edit.content.bytes = secret_or_text(L, -1, target->op, &edit.content.length, &target->secret);
    }
    if (file_target_read_text(L, target)) {
        struct text text = split_old(L, target);
        edit.place = find_place(L, target, &text);
        refuse_block(L, target, edit_block(text.bytes, text.length, &edit, &target->new_content), &edit);
    }
    return file_converge(L, target);
}
