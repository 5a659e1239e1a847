/* What could stand at the cursor: names that are there, options of the function that is being called, paths, and what the
 * bindings know of the cluster. Nothing is called to find out but the binding's own source of values. */
#include "failure.h"
#include "fiber.h"
#include "host.h"
#include "repl.h"
#include "repl_commands.h"
#include "runbook.h"
#include "utf8.h"

#include <ctype.h>
#include <dirent.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LIVE_MS    180 /* of the 200 in which a key is to be answered */
#define DEEPEST    64  /* open brackets that are looked at */
#define PATHS_MOST 500
#define NAME_MOST  128

/* ---- where the cursor is ---- */

/* An open bracket. */
struct frame {
    char bracket;
    size_t path, path_end; /* the name before it, "consul.kv.read_key"; empty: none */
    size_t commas;
    size_t item; /* where the present item begins */
};

struct place {
    const char *text;
    size_t cursor;
    char quote;   /* inside a string: its quote; ']' of a long one; else 0 */
    size_t begin; /* of the string's content, or of the word */
    bool comment;
    struct frame frames[DEEPEST];
    size_t depth;
};

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Where the name before `end` begins: letters, digits, dots and colons. */
static size_t name_before(const char *text, size_t end)
{
    size_t begin = end;
    while (begin && (is_name(text[begin - 1]) || text[begin - 1] == '.' || text[begin - 1] == ':'))
        begin--;
    return begin;
}

static size_t skip_blanks_back(const char *text, size_t end)
{
    while (end && isspace((unsigned char)text[end - 1]))
        end--;
    return end;
}

static void open_bracket(struct place *place, size_t at)
{
    size_t end = skip_blanks_back(place->text, at);
    if (place->depth == DEEPEST)
        return;
    place->frames[place->depth++] = (struct frame){
        .bracket = place->text[at], .path = name_before(place->text, end), .path_end = end, .item = at + 1};
}

/* Reads over a string from its quote on. Where it does not end before the cursor, the place is inside. */
static size_t skip_string(struct place *place, size_t at)
{
    char quote = place->text[at++];
    size_t begin = at;
    while (at < place->cursor && place->text[at] != quote)
        at += place->text[at] == '\\' ? 2 : 1;
    if (at >= place->cursor) {
        place->quote = quote;
        place->begin = begin;
    }
    return at + 1;
}

/* The same for [[ ]] and [==[ ]==]; 0: it is none. */
static size_t skip_long(struct place *place, size_t at)
{
    size_t level = place->text[at] == '[' ? strspn(place->text + at + 1, "=") : 0;
    if (place->text[at] != '[' || place->text[at + 1 + level] != '[')
        return 0;
    for (size_t i = at + level + 2; i + level + 1 < place->cursor; i++)
        if (place->text[i] == ']' && strspn(place->text + i + 1, "=") == level &&
            place->text[i + 1 + level] == ']')
            return i + level + 2;
    place->quote = ']';
    place->begin = at + level + 2;
    return place->cursor;
}

static size_t skip_comment(struct place *place, size_t at)
{
    size_t end = skip_long(place, at + 2);
    if (!end)
        end = at + strcspn(place->text + at, "\n");
    place->comment = end >= place->cursor;
    place->quote = 0;
    return end;
}

static void find_place(struct place *place, const char *text, size_t cursor)
{
    *place = (struct place){.text = text, .cursor = cursor};
    for (size_t i = 0; i < cursor && !place->quote && !place->comment;) {
        struct frame *frame = place->depth ? &place->frames[place->depth - 1] : NULL;
        size_t end = text[i] == '[' ? skip_long(place, i) : 0;
        if (end)
            i = end;
        else if (text[i] == '"' || text[i] == '\'')
            i = skip_string(place, i);
        else if (text[i] == '-' && text[i + 1] == '-' && i + 1 < cursor)
            i = skip_comment(place, i);
        else {
            if (strchr("({[", text[i]))
                open_bracket(place, i);
            else if (strchr(")}]", text[i]) && frame)
                place->depth--;
            else if (text[i] == ',' && frame) {
                frame->commas++;
                frame->item = i + 1;
            }
            i++;
        }
    }
    if (!place->quote)
        place->begin = name_before(text, cursor);
}

/* ---- candidates ---- */

static bool begins_with(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

static void add(struct line_candidates *candidates, const char *text, const char *after)
{
    struct buffer whole = {0};
    buffer_format(&whole, "%s%s", text, after);
    candidates->texts = reallocate(candidates->texts, (candidates->count + 1) * sizeof *candidates->texts);
    candidates->texts[candidates->count++] = whole.bytes;
}

static void add_if(struct line_candidates *candidates, const char *text, const char *prefix)
{
    if (begins_with(text, prefix))
        add(candidates, text, "");
}

/* [-0, +0, m] The keys of the table at `index` that are names. */
static void add_keys(lua_State *L, int index, const char *prefix, bool functions,
                     struct line_candidates *candidates)
{
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || (functions && !lua_isfunction(L, -1)))
            continue;
        const char *key = lua_tostring(L, -2);
        bool name = *key && !isdigit((unsigned char)*key);
        for (const char *at = key; *at && name; at++)
            name = is_name(*at);
        if (name && !(key[0] == '_' && key[1] == '_'))
            add_if(candidates, key, prefix);
    }
}

/* The text of a field of the entry at `index`, or "". */
static const char *field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text ? text : ""; /* the table keeps it */
}

/* The next part of a name below `base`: "consul.kv" has read_key of "consul.kv.read_key". */
static void add_part(const char *name, const char *base, const char *prefix,
                     struct line_candidates *candidates)
{
    size_t length = strlen(base);
    if (strncmp(name, base, length) != 0 || (length && name[length] != '.'))
        return;
    struct buffer part = {0};
    const char *begin = name + length + (length != 0);
    buffer_append(&part, begin, strcspn(begin, "."));
    add_if(candidates, buffer_text(&part), prefix);
    buffer_free(&part);
}

/* [-0, +0, m] Names of the reference below `base`. */
static void add_reference(lua_State *L, int reference, const char *base, const char *prefix,
                          struct line_candidates *candidates)
{
    for (lua_Integer i = 1; lua_rawgeti(L, reference, i) != LUA_TNIL; i++, lua_pop(L, 1)) {
        int entry = lua_gettop(L);
        if (strcmp(field(L, entry, "kind"), "thing") == 0 || strcmp(field(L, entry, "name"), "_G") == 0)
            continue;
        add_part(field(L, entry, "name"), base, prefix, candidates);
        add_part(field(L, entry, "short"), base, prefix, candidates);
    }
    lua_pop(L, 1);
}

/* [-0, +0, m] Options of a function: the names before a "=" in its usage. */
static void add_options(lua_State *L, int reference, const char *path, const char *prefix,
                        struct line_candidates *candidates)
{
    for (lua_Integer i = 1; lua_rawgeti(L, reference, i) != LUA_TNIL; i++, lua_pop(L, 1)) {
        int entry = lua_gettop(L);
        if (strcmp(field(L, entry, "name"), path) != 0 && strcmp(field(L, entry, "short"), path) != 0)
            continue;
        const char *usage = field(L, entry, "usage"), *end = strstr(usage, "->");
        size_t length = end ? (size_t)(end - usage) : strlen(usage);
        for (size_t at = 1; at < length; at++) {
            size_t begin = at;
            while (begin && is_name(usage[begin - 1]))
                begin--;
            if (usage[at] != '=' || begin == at)
                continue;
            char name[NAME_MOST];
            snprintf(name, sizeof name, "%.*s", (int)(at - begin), usage + begin);
            if (begins_with(name, prefix))
                add(candidates, name, " = ");
        }
    }
    lua_pop(L, 1);
}

/* ---- names ---- */

/* [-0, +1, m] The value of "a.b.c" by raw access, or nil. */
static void push_value(lua_State *L, const struct repl *repl, const char *path)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, repl->environment);
    for (bool first = true; *path; first = false) {
        size_t length = strcspn(path, ".:");
        if (!lua_istable(L, -1))
            break;
        lua_pushlstring(L, path, length);
        lua_rawget(L, -2);
        if (first && lua_isnil(L, -1)) {
            lua_pop(L, 1);
            repl_push_locals(L, repl);
            if (lua_istable(L, -1)) {
                lua_pushlstring(L, path, length);
                lua_rawget(L, -2);
                lua_remove(L, -2);
            }
        }
        if (first && lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushglobaltable(L);
            lua_pushlstring(L, path, length);
            lua_rawget(L, -2);
            lua_remove(L, -2);
        }
        lua_remove(L, -2);
        path += length;
        if (!*path)
            return;
        path++;
    }
    lua_pop(L, 1);
    lua_pushnil(L);
}

/* [-1, +0, m] Fields and methods of the value on top. */
static void add_fields(lua_State *L, const char *prefix, bool methods, struct line_candidates *candidates)
{
    int value = lua_gettop(L);
    if (lua_istable(L, value))
        add_keys(L, value, prefix, methods, candidates);
    if (luaL_getmetafield(L, value, "__index") == LUA_TTABLE)
        add_keys(L, lua_gettop(L), prefix, methods, candidates);
    lua_settop(L, value - 1);
}

static void add_globals(lua_State *L, const struct repl *repl, int reference, const char *prefix,
                        struct line_candidates *candidates)
{
    static const char *const words[] = {
        "and", "break", "do",  "else", "elseif", "end",    "false",  "for",  "function", "goto",  "if",
        "in",  "local", "nil", "not",  "or",     "repeat", "return", "then", "true",     "until", "while"};
    int top = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, repl->environment);
    add_keys(L, top + 1, prefix, false, candidates);
    lua_pushglobaltable(L);
    add_keys(L, top + 2, prefix, false, candidates);
    repl_push_locals(L, repl);
    if (lua_istable(L, -1))
        add_keys(L, top + 3, prefix, false, candidates);
    lua_settop(L, top);
    (void)reference;
    for (size_t i = 0; *prefix && i < sizeof words / sizeof *words; i++)
        add_if(candidates, words[i], prefix);
}

/* The chain of names before the cursor. */
static void add_names(lua_State *L, const struct repl *repl, const struct place *place, int reference,
                      struct line_candidates *candidates)
{
    char word[NAME_MOST * 2];
    snprintf(word, sizeof word, "%.*s", (int)(place->cursor - place->begin), place->text + place->begin);
    char *dot = strrchr(word, '.'), *colon = strrchr(word, ':');
    char *last = !dot || (colon && colon > dot) ? colon : dot;
    const char *prefix = last ? last + 1 : word;
    candidates->typed = strlen(prefix);
    if (!last) {
        add_globals(L, repl, reference, prefix, candidates);
        return;
    }
    bool methods = *last == ':';
    *last = '\0';
    if (!*word && place->begin && place->text[place->begin - 1] == ')') {
        /* host("c1"). has every module, and what host has itself. */
        add_reference(L, reference, "", prefix, candidates);
        add_reference(L, reference, "host", prefix, candidates);
        return;
    }
    const char *base = *word == '.' && place->begin && place->text[place->begin - 1] == ')' ? word + 1 : word;
    if (!methods)
        add_reference(L, reference, base, prefix, candidates);
    push_value(L, repl, base);
    add_fields(L, prefix, methods, candidates);
}

/* ---- what is called ---- */

/* The call that the place is in: its name, the number of the argument, the option; false: none. */
struct called {
    char path[NAME_MOST];
    int argument;
    char option[NAME_MOST];
};

static void copy_part(char *out, const char *text, size_t begin, size_t end)
{
    snprintf(out, NAME_MOST, "%.*s", (int)(end - begin), text + begin);
    memmove(out, out + (*out == '.'), strlen(out + (*out == '.')) + 1); /* of host("c1").consul... */
}

static bool find_called(const struct place *place, size_t at, struct called *called)
{
    const char *text = place->text;
    *called = (struct called){.argument = 1};
    if (place->quote && place->begin) { /* name"text" */
        size_t end = skip_blanks_back(text, place->begin - 1);
        if (end && is_name(text[end - 1])) {
            copy_part(called->path, text, name_before(text, end), end);
            if (strcmp(called->path, "return") != 0)
                return true;
        }
    }
    if (!place->depth)
        return false;
    const struct frame *frame = &place->frames[place->depth - 1];
    if (frame->bracket == '{') {
        size_t begin = frame->item + strspn(text + frame->item, " \t\n"), end = begin;
        while (end < at && is_name(text[end]))
            end++;
        if (end < at && text[end + strspn(text + end, " \t")] == '=')
            copy_part(called->option, text, begin, end);
        else
            called->argument = (int)frame->commas + 1;
    }
    if (frame->bracket == '{' && frame->path == frame->path_end && place->depth > 1 &&
        frame[-1].bracket == '(') {
        frame--;
        called->argument = (int)frame->commas + 1;
    } else if (frame->bracket == '(')
        called->argument = (int)frame->commas + 1;
    copy_part(called->path, text, frame->path, frame->path_end);
    return *called->path != '\0';
}

/* Is the cursor where the name of an option begins: behind "{" or "," of a table? */
static bool is_option(const struct place *place)
{
    const struct frame *frame = place->depth ? &place->frames[place->depth - 1] : NULL;
    if (!frame || frame->bracket != '{')
        return false;
    return frame->item + strspn(place->text + frame->item, " \t\n") >= place->begin &&
           !memchr(place->text + place->begin, '.', place->cursor - place->begin);
}

/* ---- inside of a string ---- */

static void add_paths(const char *prefix, struct line_candidates *candidates)
{
    const char *slash = strrchr(prefix, '/'), *name = slash ? slash + 1 : prefix;
    struct buffer folder = {0};
    struct dirent *entry;
    buffer_append(&folder, prefix, (size_t)(name - prefix));
    DIR *open = opendir(folder.length ? folder.bytes : ".");
    candidates->typed = strlen(name);
    while (open && (entry = readdir(open)) && candidates->count < PATHS_MOST) {
        bool hidden = entry->d_name[0] == '.' && *name != '.';
        if (hidden || strncmp(entry->d_name, name, strlen(name)) != 0 || strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0)
            continue;
        struct buffer path = {0};
        struct stat found;
        buffer_format(&path, "%s%s", buffer_text(&folder), entry->d_name);
        add(candidates, entry->d_name, stat(path.bytes, &found) == 0 && S_ISDIR(found.st_mode) ? "/" : "");
        buffer_free(&path);
    }
    if (open)
        closedir(open);
    buffer_free(&folder);
}

void repl_forget_look(struct repl *repl)
{
    struct repl_look *look = &repl->look;
    if (!look->fiber)
        return;
    fiber_cancel(look->fiber); /* the session joins it */
    luaL_unref(repl->L, LUA_REGISTRYINDEX, look->list);
    free(look->what);
    *look = (struct repl_look){0};
}

/* [-0, +0, m] Begins to look, where the one before is not for the same. */
static void begin_look(struct repl *repl, lua_State *L, const struct called *called, const char *prefix)
{
    struct runtime *runtime = repl->runtime;
    struct buffer what = {0};
    buffer_format(&what, "%p %s %d %s %s", (const void *)repl->context.host, called->path, called->argument,
                  called->option, prefix);
    if (repl->look.fiber && !fiber_failed(repl->look.fiber) && strcmp(repl->look.what, what.bytes) == 0) {
        buffer_free(&what);
        return;
    }
    repl_forget_look(repl);
    lua_newtable(L);
    lua_pushcfunction(L, runtime->live_values);
    lua_pushstring(L, called->path);
    lua_pushinteger(L, called->argument);
    lua_pushstring(L, *called->option ? called->option : NULL);
    lua_pushstring(L, prefix);
    lua_pushvalue(L, -6);
    struct fiber_context *context = fiber_context(runtime), outer = *context;
    *context = repl->context;
    repl->look.fiber = repl_begin_silent(repl, L, 5);
    *fiber_context(runtime) = outer;
    repl->look.what = what.bytes;
    repl->look.list = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* [-0, +0, v] What the bindings know to stand there; what has come in time. */
static void add_live(struct repl *repl, lua_State *L, const struct called *called, const char *prefix,
                     struct line_candidates *candidates)
{
    struct runtime *runtime = repl->runtime;
    if (!runtime->live_values)
        return;
    begin_look(repl, L, called, prefix);
    struct fiber *fiber = repl->look.fiber;
    fiber_watch(fiber);
    uint64_t end = runtime_now(runtime) + LIVE_MS;
    for (uint64_t now; !fiber_ended(fiber) && (now = runtime_now(runtime)) < end && !runtime->interrupts;)
        if (fiber_suspend(runtime, end - now) == WAIT_CANCELLED)
            break;
    lua_rawgeti(L, LUA_REGISTRYINDEX, repl->look.list);
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++, lua_pop(L, 1))
        if (lua_type(L, -1) == LUA_TSTRING && begins_with(lua_tostring(L, -1), prefix))
            add(candidates, lua_tostring(L, -1), "");
    lua_pop(L, 2);
    if (fiber_ended(fiber) || runtime->interrupts)
        repl_forget_look(repl);
}

/* A text as it is written inside of that quote; NULL: it cannot stand there. `quote` 0: outside of Lua. What comes from servers
 * and folders neither ends the string nor steers the terminal. */
static char *written(const char *text, char quote)
{
    struct buffer out = {0};
    for (const char *at = text; *at; at++) {
        bool steers = (unsigned char)*at < ' ' || *at == '\x7f';
        if (quote != '"' && quote != '\'' && (steers || (quote && *at == ']'))) {
            buffer_free(&out);
            return NULL;
        }
        if (steers)
            buffer_format(&out, "\\%03d", *at);
        else if (quote && (*at == quote || (*at == '\\' && quote != ']')))
            buffer_format(&out, "\\%c", *at);
        else
            buffer_append(&out, at, 1);
    }
    char *whole = copy_text(buffer_text(&out));
    utf8_disarm(whole, strlen(whole));
    bool same = strcmp(whole, buffer_text(&out)) == 0;
    buffer_free(&out);
    if (!same)
        free(whole); /* what is shown otherwise than it is would be another name */
    return same ? whole : NULL;
}

static void write_all(struct line_candidates *candidates, char quote)
{
    size_t kept = 0;
    for (size_t i = 0; i < candidates->count; i++) {
        char *text = written(candidates->texts[i], quote);
        free(candidates->texts[i]);
        if (text)
            candidates->texts[kept++] = text;
    }
    candidates->count = kept;
}

static void add_strings(struct repl *repl, lua_State *L, const struct place *place,
                        struct line_candidates *candidates)
{
    char prefix[4096];
    struct called called;
    snprintf(prefix, sizeof prefix, "%.*s", (int)(place->cursor - place->begin), place->text + place->begin);
    candidates->typed = strlen(prefix);
    bool call = find_called(place, place->begin - 1, &called);
    if (call)
        add_live(repl, L, &called, prefix, candidates);
    bool here = !repl->context.host || repl->context.host == repl->runtime->local;
    bool path = strchr(prefix, '/') ||
                (call && (strncmp(called.path, "file.", 5) == 0 || strncmp(called.path, "io.", 3) == 0 ||
                          strcmp(called.path, "dofile") == 0));
    if (!candidates->count && path && here)
        add_paths(prefix, candidates);
    write_all(candidates, place->quote);
}

/* ---- commands ---- */

/* What :run takes: a runbook's name, or the path of one. */
static void add_runbooks(struct runtime *runtime, const char *word, struct line_candidates *candidates)
{
    size_t count;
    struct runbook *all = runbook_list(runtime, &count);
    for (size_t i = 0; i < count; i++) {
        add_if(candidates, all[i].name, word);
        runbook_free(&all[i]);
    }
    free(all);
    candidates->typed = strlen(word);
    if (!candidates->count)
        add_paths(word, candidates);
}

/* ":he" and ":save PATH"; false: what follows the command is Lua, as for :time. */
static bool add_commands(struct repl *repl, lua_State *L, const char *text, size_t cursor, int reference,
                         struct line_candidates *candidates)
{
    char word[4096], command[32];
    size_t length = strcspn(text + 1, " \t");
    snprintf(command, sizeof command, "%.*s", (int)length, text + 1);
    if (cursor <= length + 1) {
        snprintf(word, sizeof word, "%.*s", (int)(cursor - 1), text + 1);
        candidates->typed = strlen(word);
        for (const struct repl_command *each = repl_commands; each->name; each++)
            if (begins_with(each->name, word))
                add(candidates, each->name, *each->arguments ? " " : "");
        return true;
    }
    size_t begin = cursor;
    while (begin && text[begin - 1] != ' ')
        begin--;
    snprintf(word, sizeof word, "%.*s", (int)(cursor - begin), text + begin);
    bool path = strcmp(command, "save") == 0, book = strcmp(command, "run") == 0;
    if (path || book || strcmp(command, "on") == 0) {
        candidates->typed = strlen(word);
        if (path)
            add_paths(word, candidates);
        else if (book)
            add_runbooks(repl->runtime, word, candidates);
        else
            add_live(repl, L, &(struct called){.path = "host", .argument = 1}, word, candidates);
        write_all(candidates, 0);
        return true;
    }
    if (strcmp(command, "help") != 0)
        return false;
    const char *dot = strrchr(word, '.');
    const char *prefix = dot ? dot + 1 : word;
    char base[NAME_MOST];
    snprintf(base, sizeof base, "%.*s", dot ? (int)(dot - word) : 0, word);
    candidates->typed = strlen(prefix);
    add_reference(L, reference, base, prefix, candidates);
    return true;
}

void repl_complete(void *context, const char *text, size_t cursor, struct line_candidates *candidates)
{
    struct repl *repl = context;
    lua_State *L = repl->L;
    struct place place;
    struct called called;
    int top = lua_gettop(L);
    luaL_checkstack(L, 32, "completion");
    repl_push_reference(repl, L);
    int reference = lua_gettop(L);
    if (*text == ':' && add_commands(repl, L, text, cursor, reference, candidates)) {
        lua_settop(L, top);
        return;
    }
    find_place(&place, text, cursor);
    if (place.quote)
        add_strings(repl, L, &place, candidates);
    else if (!place.comment) {
        if (is_option(&place) && find_called(&place, place.begin, &called)) {
            char prefix[NAME_MOST];
            copy_part(prefix, text, place.begin, cursor);
            add_options(L, reference, called.path, prefix, candidates);
        }
        if (!candidates->count)
            add_names(L, repl, &place, reference, candidates);
        else
            candidates->typed = cursor - place.begin;
    }
    lua_settop(L, top);
}
