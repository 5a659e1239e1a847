/* What is wrong with a configuration, in words for whoever has to put it right. */
#include "hcl_parse.h"

#include "utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SHOWN_MOST 120 /* bytes of a line */

void hcl_position(const char *text, size_t at, size_t *line, size_t *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            (*line)++;
            *column = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80 && !(i == 0 && at >= 3 && text[0] == '\xEF')) {
            (*column)++;
        }
    }
}

/* Does nobody see it, or take it for an ordinary blank? */
static bool is_invisible(unsigned code)
{
    return (code >= 0x80 && code <= 0xA0) || code == 0xAD || (code >= 0x2000 && code <= 0x200F) ||
           (code >= 0x2028 && code <= 0x202F) || (code >= 0x205F && code <= 0x206F) || code == 0x3000 ||
           code == 0xFEFF;
}

/* What stands at the place, in a word or two. */
static void name_what_is_there(const char *text, size_t length, size_t at, char *out, size_t size)
{
    size_t step = at < length ? utf8_length(text + at, length - at) : 0;
    unsigned char c = at < length ? (unsigned char)text[at] : 0;
    if (at >= length)
        snprintf(out, size, "the text ends");
    else if (c == '\n' || (c == '\r' && at + 1 < length && text[at + 1] == '\n'))
        snprintf(out, size, "the line ends");
    else if (step == 0 || c < 0x20 || c == 0x7F)
        snprintf(out, size, "there is the byte 0x%02x", c);
    else if (is_invisible(utf8_code(text + at, length - at)))
        snprintf(out, size, "there is the character U+%04X", utf8_code(text + at, length - at));
    else
        snprintf(out, size, "there is '%.*s'", (int)step, text + at);
}

/* A text in a list: the name that says what it is stands lines above. */
static bool is_nameless(const char *line, size_t length)
{
    while (length > 0 && isspace((unsigned char)*line))
        line++, length--;
    return length > 0 && *line == '"' && memchr(line, '=', length) == NULL &&
           memchr(line, ':', length) == NULL;
}

/* Does the line look as if it gave something away? */
static bool looks_secret(const char *line, size_t length)
{
    static const char *const words[] = {"token", "secret", "passw", "encrypt", "key", "credential", NULL};
    if (is_nameless(line, length))
        return true;
    for (size_t i = 0; i < length; i++)
        for (size_t j = 0; words[j] != NULL; j++)
            if (length - i >= strlen(words[j]) && strncasecmp(line + i, words[j], strlen(words[j])) == 0)
                return true;
    return false;
}

/* Stars for whatever follows the first "=", ":" or quote of such a line, but signs of the syntax. `behind`: that sign
 * stands in what is cut off before. */
static void mask(char *line, bool behind)
{
    for (; *line != '\0'; line++) {
        if (behind && !isspace((unsigned char)*line) && strchr("\"{}[],=:", *line) == NULL)
            *line = '*';
        behind = behind || *line == '=' || *line == ':' || *line == '"';
    }
}

/* Does a value begin in there? */
static bool has_value(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (strchr("=:\"", line[i]) != NULL && line[i] != '\0')
            return true;
    return false;
}

/* The line with the place in it, and a caret below: the way to it is filled with blanks, its tabs kept. */
static void show_line(const char *text, size_t length, size_t at, struct failure *failure)
{
    size_t begin = at, end = at;
    while (begin > 0 && text[begin - 1] != '\n')
        begin--;
    while (end < length && text[end] != '\n' && text[end] != '\r')
        end++;
    size_t whole = begin;
    bool secret = looks_secret(text + begin, end - begin);
    if (at - begin > SHOWN_MOST / 2)
        begin = at - SHOWN_MOST / 2;
    while (begin < at && ((unsigned char)text[begin] & 0xC0) == 0x80)
        begin++;
    if (end - begin > SHOWN_MOST)
        end = begin + SHOWN_MOST;
    while (end > at && end < length && ((unsigned char)text[end] & 0xC0) == 0x80)
        end--;
    if (begin == 0 && at >= 3 && text[0] == '\xEF' && text[1] == '\xBB' && text[2] == '\xBF')
        begin = 3;
    char line[SHOWN_MOST + 1], caret[SHOWN_MOST + 1];
    size_t shown = end > begin ? end - begin : 0, width = 0;
    memcpy(line, text + begin, shown);
    line[shown] = '\0';
    utf8_disarm(line, shown);
    for (size_t i = begin; i < at && width < SHOWN_MOST; i++)
        if (text[i] == '\t')
            caret[width++] = '\t';
        else if (((unsigned char)text[i] & 0xC0) != 0x80)
            caret[width++] = ' ';
    caret[width] = '\0';
    if (secret)
        mask(line, has_value(text + whole, begin - whole));
    size_t used = strlen(failure->message);
    snprintf(failure->message + used, sizeof failure->message - used, "\n    %s\n    %s^", line, caret);
}

bool hcl_explain(const char *text, size_t length, const struct hcl_fault *fault, bool show, const char *op,
                 struct failure *failure)
{
    size_t line, column;
    char there[64];
    size_t at = fault->at < length ? fault->at : length;
    hcl_position(text, at, &line, &column);
    name_what_is_there(text, length, at, there, sizeof there);
    failure_set(failure, "invalid", op, "line %zu, column %zu: %s is wanted, %s", line, column, fault->wanted,
                there);
    if (show)
        show_line(text, length, at, failure);
    return false;
}
