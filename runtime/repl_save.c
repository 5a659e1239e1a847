/* :save - the inputs that succeeded as a runbook: a step each, what they left for each other as variables of its function, the
 * literals that were chosen as parameters. */
#include "failure.h"
#include "fiber.h"
#include "host.h"
#include "redact.h"
#include "repl.h"
#include "report.h"
#include "terminal.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Lua, piece by piece ---- */

enum piece_kind { PIECE_NAME, PIECE_NUMBER, PIECE_STRING, PIECE_OTHER, PIECE_END };

struct piece {
    enum piece_kind kind;
    const char *begin;
    size_t length;
};

static size_t bracket_length(const char *text)
{
    size_t level = *text == '[' ? strspn(text + 1, "=") : 0;
    if (*text != '[' || text[1 + level] != '[')
        return 0;
    for (const char *at = text + level + 2; *at; at++)
        if (*at == ']' && strspn(at + 1, "=") == level && at[1 + level] == ']')
            return (size_t)(at - text) + level + 2;
    return strlen(text);
}

static size_t quoted_length(const char *text)
{
    size_t i = 1;
    while (text[i] && text[i] != *text)
        i += text[i] == '\\' && text[i + 1] ? 2 : 1;
    return i + (text[i] != '\0');
}

static const char *skip_blanks(const char *text)
{
    for (;;) {
        text += strspn(text, " \t\n");
        if (text[0] != '-' || text[1] != '-')
            return text;
        size_t length = bracket_length(text + 2);
        text += length ? length + 2 : strcspn(text, "\n");
    }
}

static struct piece next_piece(const char *text)
{
    text = skip_blanks(text);
    struct piece piece = {PIECE_OTHER, text, 1};
    size_t bracket = bracket_length(text);
    if (!*text)
        piece = (struct piece){PIECE_END, text, 0};
    else if (bracket)
        piece = (struct piece){PIECE_STRING, text, bracket};
    else if (*text == '"' || *text == '\'')
        piece = (struct piece){PIECE_STRING, text, quoted_length(text)};
    else if (isdigit((unsigned char)*text) || (*text == '.' && isdigit((unsigned char)text[1]))) {
        piece.kind = PIECE_NUMBER;
        while (isalnum((unsigned char)text[piece.length]) || text[piece.length] == '.')
            piece.length++;
    } else if (isalpha((unsigned char)*text) || *text == '_') {
        piece.kind = PIECE_NAME;
        while (isalnum((unsigned char)text[piece.length]) || text[piece.length] == '_')
            piece.length++;
    }
    return piece;
}

static bool is_word(const struct piece *piece, const char *word)
{
    return piece->length == strlen(word) && strncmp(piece->begin, word, piece->length) == 0;
}

/* ---- parameters ---- */

struct parameter {
    char *name;
    char *text;  /* what stands for it in the inputs: the content of a string, or a number */
    bool quoted; /* a string */
    bool found;
};

struct saving {
    struct repl *repl;
    struct parameter *parameters;
    size_t count;
    bool last;        /* an input asks for the last value, _ */
    const char *host; /* of all inputs: then it is a parameter of what is written */
    bool hosts;       /* some input acts on another host */
    struct buffer out;
};

static void add_parameter(struct saving *saving, const char *name, size_t name_length, const char *text,
                          size_t length)
{
    struct buffer left = {0}, right = {0};
    buffer_append(&left, name, name_length);
    buffer_append(&right, text, length);
    saving->parameters = reallocate(saving->parameters, (saving->count + 1) * sizeof *saving->parameters);
    saving->parameters[saving->count++] =
        (struct parameter){copy_text(buffer_text(&left)), copy_text(buffer_text(&right)), false, false};
    buffer_free(&left);
    buffer_free(&right);
}

/* The content of a string literal without escapes; false: others are not offered. */
static bool content_of(const struct piece *piece, const char **text, size_t *length)
{
    bool quoted = piece->kind == PIECE_STRING && *piece->begin != '[';
    *text = piece->begin + quoted;
    *length = piece->length - (quoted ? 2 : 0);
    return (quoted || piece->kind == PIECE_NUMBER) && *length && !memchr(*text, '\\', *length);
}

static struct parameter *find_parameter(struct saving *saving, const struct piece *piece)
{
    const char *text;
    size_t length;
    if (!content_of(piece, &text, &length))
        return NULL;
    for (size_t i = 0; i < saving->count; i++)
        if ((!saving->parameters[i].found ||
             saving->parameters[i].quoted == (piece->kind == PIECE_STRING)) && /* 7 is not "7" */
            strlen(saving->parameters[i].text) == length &&
            strncmp(saving->parameters[i].text, text, length) == 0)
            return &saving->parameters[i];
    return NULL;
}

static bool is_identifier(const char *name)
{
    static const char *const words[] = {
        "and", "break", "do",  "else", "elseif", "end",    "false",  "for",  "function", "goto",  "if",
        "in",  "local", "nil", "not",  "or",     "repeat", "return", "then", "true",     "until", "while"};
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(name, words[i]) == 0)
            return false;
    return *name && !isdigit((unsigned char)*name) && !name[length];
}

/* NAME=LITERAL ..., where a literal may stand in quotes. */
static void take_parameters(lua_State *L, struct saving *saving, const char *text)
{
    while (*(text += strspn(text, " \t"))) {
        size_t name = strcspn(text, "= \t");
        const char *value = text + name + (text[name] == '=');
        char quote = *value == '"' || *value == '\'' ? *value : '\0';
        size_t length = quote ? strcspn(value + 1, (char[]){quote, '\0'}) : strcspn(value, " \t");
        if (text[name] != '=' || !name || !length)
            failure_error(L, "usage", ":save", "a parameter is NAME=LITERAL, as node=web1, not \"%s\"", text);
        add_parameter(saving, text, name, value + (quote != '\0'), length);
        if (!is_identifier(saving->parameters[saving->count - 1].name))
            failure_error(L, "usage", ":save", "\"%s\" is no name for a parameter",
                          saving->parameters[saving->count - 1].name);
        text = value + (quote != '\0') + length;
        text += quote && *text == quote;
    }
}

/* Is the piece a key of a table or a name behind a dot: no value that could be another? */
static bool is_literal(const struct piece *piece)
{
    return piece->kind == PIECE_STRING || piece->kind == PIECE_NUMBER;
}

/* [-0, +0, v] On a terminal: asks for each literal whether it is to be a parameter. */
static void ask_for_parameters(lua_State *L, struct saving *saving)
{
    struct repl *repl = saving->repl;
    for (size_t i = 0; i < repl->input_count; i++) {
        struct piece piece = next_piece(repl->inputs[i].text);
        for (; piece.kind != PIECE_END; piece = next_piece(piece.begin + piece.length)) {
            struct buffer question = {0}, answer = {0};
            struct failure failure;
            const char *text;
            size_t length;
            if (!is_literal(&piece) || !content_of(&piece, &text, &length) || find_parameter(saving, &piece))
                continue;
            buffer_format(&question, "name of a parameter for %.*s (empty: it stays): ", (int)piece.length,
                          piece.begin);
            bool asked = terminal_ask(repl->runtime, buffer_text(&question), true, &answer, &failure);
            bool wanted = asked && answer.length && is_identifier(answer.bytes);
            add_parameter(saving, buffer_text(&answer), wanted ? answer.length : 0, text, length);
            buffer_free(&question);
            buffer_free(&answer);
            if (!asked)
                failure_raise(L, &failure);
        }
    }
}

/* ---- the text ---- */

/* Where a value is shared between inputs: every name of the session that is used in one of them. */
static void add_variables(lua_State *L, struct saving *saving)
{
    const struct repl *repl = saving->repl;
    bool some = false;
    lua_newtable(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, repl->environment);
    for (size_t i = 0; i < repl->input_count; i++) {
        struct piece piece = next_piece(repl->inputs[i].text);
        for (; piece.kind != PIECE_END; piece = next_piece(piece.begin + piece.length)) {
            saving->last = saving->last || (piece.kind == PIECE_NAME && is_word(&piece, "_"));
            if (piece.kind != PIECE_NAME || is_word(&piece, "task"))
                continue;
            lua_pushlstring(L, piece.begin, piece.length);
            lua_pushvalue(L, -1);
            bool ours = lua_rawget(L, -3) != LUA_TNIL;
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            bool there = lua_rawget(L, -4) != LUA_TNIL;
            lua_pop(L, 1);
            if (ours && !there) {
                buffer_format(&saving->out, "%s%s", some ? ", " : "    local ", lua_tostring(L, -1));
                some = true;
                lua_pushboolean(L, true);
                lua_rawset(L, -4);
            } else
                lua_pop(L, 1);
        }
    }
    buffer_append_text(&saving->out, some ? "\n" : "");
    lua_pop(L, 2);
}

/* Blocks that a word opens or closes. */
static int depth_of(const struct piece *piece)
{
    static const char *const opening[] = {"function", "do", "then", "repeat"};
    if (piece->kind == PIECE_OTHER)
        return strchr("({[", *piece->begin) ? 1 : strchr(")}]", *piece->begin) ? -1 : 0;
    if (piece->kind != PIECE_NAME)
        return 0;
    for (size_t i = 0; i < sizeof opening / sizeof *opening; i++)
        if (is_word(piece, opening[i]))
            return 1;
    return is_word(piece, "end") || is_word(piece, "until") || is_word(piece, "elseif") ||
                   is_word(piece, "else")
               ? is_word(piece, "else") ? 0 : -1
               : 0;
}

/* Of "local a, b" without "=": it still has to make them nil. */
static bool is_bare_local(const char *after)
{
    struct piece piece = next_piece(after);
    while (piece.kind == PIECE_NAME) {
        piece = next_piece(piece.begin + piece.length);
        if (!is_word(&piece, ","))
            break;
        piece = next_piece(piece.begin + 1);
    }
    return !is_word(&piece, "=");
}

/* Behind it a text would be an argument, as in apt.installed "nginx": a name there is none without parentheses. */
static bool may_be_called(const struct piece *piece)
{
    return piece->kind == PIECE_NAME || piece->kind == PIECE_STRING || is_word(piece, ")") ||
           is_word(piece, "]");
}

/* An input with its parameters put in, and its outermost locals made variables of the runbook. */
static void add_input(struct saving *saving, const char *text, struct buffer *out)
{
    int depth = 0;
    const char *from = text;
    struct piece before = {PIECE_OTHER, "", 0};
    for (struct piece piece = next_piece(text), next; piece.kind != PIECE_END;
         before = piece, piece = next_piece(piece.begin + piece.length)) {
        struct parameter *parameter = is_literal(&piece) ? find_parameter(saving, &piece) : NULL;
        depth += depth_of(&piece);
        bool local = depth == 0 && piece.kind == PIECE_NAME && is_word(&piece, "local");
        next = local ? next_piece(piece.begin + piece.length) : piece;
        local = local && (is_word(&next, "function") || !is_bare_local(next.begin));
        if (!local && (!parameter || !*parameter->name))
            continue;
        buffer_append(out, from, (size_t)(piece.begin - from));
        from = piece.begin + piece.length;
        if (local)
            from = skip_blanks(from);
        else {
            parameter->found = true;
            parameter->quoted = piece.kind == PIECE_STRING;
            buffer_format(out, may_be_called(&before) ? "(p.%s)" : "p.%s", parameter->name);
        }
    }
    buffer_append_text(out, from);
}

/* A text as a Lua string. */
static void add_quoted(struct buffer *out, const char *text, size_t most)
{
    buffer_append_text(out, "\"");
    for (size_t i = 0; text[i] && i < most; i++)
        if (text[i] == '"' || text[i] == '\\')
            buffer_format(out, "\\%c", text[i]);
        else if ((unsigned char)text[i] < ' ')
            buffer_append_text(out, " ");
        else
            buffer_append(out, text + i, 1);
    buffer_append_text(out, "\"");
}

static bool compiles(lua_State *L, const char *text)
{
    bool done = luaL_loadbufferx(L, text, strlen(text), "=input", "t") == LUA_OK;
    lua_pop(L, 1);
    return done;
}

/* [-0, +0, m] Is it one: what follows "return"? */
static bool is_expression(lua_State *L, const char *text)
{
    const char *whole = lua_pushfstring(L, "return %s", text);
    bool done = compiles(L, whole);
    lua_pop(L, 1);
    return done;
}

/* The input's text in its step. What is no statement is printed, as it was shown; where `_` is asked for, it is set. */
static void add_body(lua_State *L, struct saving *saving, const struct repl_input *input,
                     const struct buffer *text)
{
    struct buffer *out = &saving->out;
    bool statement = compiles(L, buffer_text(text));
    bool kept = saving->last && is_expression(L, buffer_text(text));
    buffer_append_text(out, kept ? "      _ = " : "      ");
    if (!kept && !statement)
        buffer_append_text(out, input->table ? "print(json.encode(" : "print(");
    buffer_append(out, buffer_text(text), text->length);
    if (!kept && !statement) {
        bool comment = text->length && strstr(text->bytes, "--");
        buffer_append_text(out, comment ? "\n      " : ""); /* the bracket is not part of it */
        buffer_append_text(out, input->table ? "))" : ")");
    }
    if (kept && !statement)
        buffer_append_text(out, input->table ? "\n      print(json.encode(_))" : "\n      print(_)");
    buffer_append_text(out, "\n");
}

/* A step. */
static void add_step(lua_State *L, struct saving *saving, const struct repl_input *input)
{
    struct buffer text = {0}, name = {0};
    const char *typed = input->text + strspn(input->text, " \t\n");
    typed += *typed == '=';
    add_input(saving, typed, &text);
    buffer_append(&name, typed, strcspn(typed, "\n"));
    redact(saving->repl->runtime->redactor, &name);
    buffer_append_text(&saving->out, "    step(");
    add_quoted(&saving->out, buffer_text(&name), 60);
    buffer_append_text(&saving->out, ", function()\n");
    if (input->host) {
        buffer_append_text(&saving->out, "      fleet(");
        if (saving->host)
            buffer_append_text(&saving->out, "p.hosts");
        else
            add_quoted(&saving->out, input->host, 200);
        buffer_append_text(&saving->out, ", function()\n");
    }
    add_body(L, saving, input, &text);
    buffer_append_text(&saving->out, input->host ? "      end)\n    end)\n" : "    end)\n");
    buffer_free(&text);
    buffer_free(&name);
}

static void add_parameters(struct saving *saving, struct buffer *out)
{
    bool some = saving->host != NULL;
    if (saving->host) {
        buffer_append_text(out, "  params = {\n    { \"hosts\", \"string\", default = ");
        add_quoted(out, saving->host, strlen(saving->host));
        buffer_append_text(out, ", about = \"where, as for --on\" },\n");
    }
    for (size_t i = 0; i < saving->count; i++) {
        const struct parameter *parameter = &saving->parameters[i];
        bool again = false;
        for (size_t j = 0; j < i; j++)
            again = again || strcmp(saving->parameters[j].name, parameter->name) == 0;
        if (!parameter->found || again)
            continue;
        buffer_append_text(out, some ? "" : "  params = {\n");
        some = true;
        buffer_format(out, "    { \"%s\", \"%s\", default = ", parameter->name,
                      parameter->quoted                   ? "string"
                      : strpbrk(parameter->text, ".eExX") ? "number"
                                                          : "integer");
        if (parameter->quoted)
            add_quoted(out, parameter->text, strlen(parameter->text));
        else
            buffer_append_text(out, parameter->text);
        buffer_append_text(out, " },\n");
    }
    buffer_append_text(out, some ? "  },\n" : "");
}

/* ---- the command ---- */

static int free_saving(lua_State *L)
{
    struct saving *saving = lua_touserdata(L, 1);
    for (size_t i = 0; i < saving->count; i++) {
        free(saving->parameters[i].name);
        free(saving->parameters[i].text);
    }
    free(saving->parameters);
    buffer_wipe(&saving->out);
    *saving = (struct saving){0};
    return 0;
}

/* [-0, +1, m] */
static struct saving *push_saving(lua_State *L, struct repl *repl)
{
    struct saving *saving = lua_newuserdatauv(L, sizeof *saving, 0);
    *saving = (struct saving){.repl = repl};
    if (luaL_newmetatable(L, "moonbook.saving")) {
        lua_pushcfunction(L, free_saving);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return saving;
}

/* Where the session acted: on one host all the time, or on which else its steps say. */
static void find_hosts(struct saving *saving)
{
    const struct repl *repl = saving->repl;
    bool same = true;
    for (size_t i = 0; i < repl->input_count; i++) {
        saving->hosts = saving->hosts || repl->inputs[i].host;
        same = same && repl->inputs[i].host && strcmp(repl->inputs[i].host, repl->inputs[0].host) == 0;
    }
    for (size_t i = 0; i < saving->count; i++)
        same = same && strcmp(saving->parameters[i].name, "hosts") != 0; /* taken */
    saving->host = same && repl->input_count ? repl->inputs[0].host : NULL;
}

/* What has its hosts in itself acts on them once, not once for each of --on, which would be told "ok" unseen. */
static void add_guard(const struct saving *saving, struct buffer *out)
{
    if (saving->hosts)
        buffer_format(out,
                      "    if host.name ~= host(\"local\").name then\n"
                      "      error { message = \"this runbook says itself on which hosts it acts\",\n"
                      "              hint = \"%s instead of --on\" }\n"
                      "    end\n",
                      saving->host ? "give --set hosts=c[1-3],@rack7" : "change the names in it");
}

/* The whole file; the steps are made first, since they tell which parameters are used. */
static void make_text(lua_State *L, struct saving *saving, struct buffer *whole)
{
    char when[32];
    struct tm local;
    time_t now = time(NULL);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M", localtime_r(&now, &local));
    add_variables(L, saving);
    find_hosts(saving);
    for (size_t i = 0; i < saving->repl->input_count; i++)
        add_step(L, saving, &saving->repl->inputs[i]);
    buffer_format(whole, "return {\n  about = \"what was typed in a session on %s\",\n", when);
    size_t before = whole->length;
    add_parameters(saving, whole);
    bool parameters = whole->length > before;
    buffer_format(whole, "  run = function(%s)\n", parameters ? "p" : "");
    add_guard(saving, whole);
    buffer_append(whole, buffer_text(&saving->out), saving->out.length);
    buffer_append_text(whole, "  end,\n}\n");
}

static void warn_of_secrets(lua_State *L, const char *path, bool known, bool likely)
{
    if (known)
        report_warning(
            L, "a secret was typed: in %s it stands as <secret>, write secret.pass or another source there",
            path);
    else if (likely)
        report_warning(
            L,
            "%s holds what looks like a secret: only you may read it; write secret.pass or another "
            "source there",
            path);
}

/* In a fiber: the session, "FILE NAME=LITERAL ...". The operator has asked for the file by its name; --check changes nothing all
 * the same. */
static int save(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, 1);
    const char *text = lua_tostring(L, 2);
    size_t length = strcspn(text, " \t");
    struct failure failure;
    struct host_stat found;
    struct saving *saving = push_saving(L, repl);
    const char *path =
        lua_pushfstring(L, "%s%s", lua_pushlstring(L, text, length),
                        length > 4 && strncmp(text + length - 4, ".lua", 4) == 0 ? "" : ".lua");
    if (!repl->input_count)
        failure_error(L, "usage", ":save", "nothing has succeeded yet");
    take_parameters(L, saving, text + length);
    if (!saving->count && line_is_typed(repl->reader))
        ask_for_parameters(L, saving);
    if (!host_stat(repl->runtime->local, &path, 1, &found, &failure))
        return failure_raise(L, &failure);
    if (found.exists)
        return failure_advise(L, "usage", ":save", "take another name, or remove it first",
                              "%s is there already", path);
    struct buffer whole = {0};
    make_text(L, saving, &whole);
    if (!compiles(L, buffer_text(&whole))) {
        buffer_wipe(&whole);
        failure_error(L, "failed", ":save",
                      "%s: the inputs make no runbook that can be loaded; nothing is written", path);
    }
    bool secret = redact(repl->runtime->redactor, &whole), typed = false;
    for (size_t i = 0; i < repl->input_count && !typed; i++)
        typed = repl_is_secret(repl, repl->inputs[i].text);
    for (size_t i = 0; i < saving->count && !secret; i++)
        if (*saving->parameters[i].name && !saving->parameters[i].found)
            report_warning(L, "%s=%s: no input has that literal", saving->parameters[i].name,
                           saving->parameters[i].text);
    struct host_file file = {
        .path = path, .bytes = buffer_text(&whole), .length = whole.length, .mode = typed ? 0600 : 0644};
    bool check = repl->runtime->options.check;
    bool written = check || host_write(repl->runtime->local, &file, &failure);
    if (check) {
        buffer_append(&repl->shown, whole.bytes, whole.length);
        buffer_format(&repl->shown, "--check: %s is not written; it would have %zu steps\n", path,
                      repl->input_count);
    }
    buffer_wipe(&whole);
    if (!written)
        return failure_raise(L, &failure);
    warn_of_secrets(L, path, secret, typed);
    if (repl->declined)
        report_warning(L, "left out of %s: %zu inputs with a change that was declined", path, repl->declined);
    if (!check)
        buffer_format(&repl->shown, "%s: %zu steps; moonbook run %s%s\n", path, repl->input_count,
                      strchr(path, '/') ? "" : "./", path);
    return 0;
}

void repl_save(struct repl *repl, const char *arguments)
{
    lua_pushcfunction(repl->L, save);
    lua_pushlightuserdata(repl->L, repl);
    lua_pushstring(repl->L, arguments);
    if (repl_call(repl, 2, NULL))
        repl_print(repl, &repl->shown);
    buffer_clear(&repl->shown);
}
