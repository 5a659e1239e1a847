/* Versions and constraints, by the rules of hashicorp/go-version. */
#include "version.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_DIGITS 18

/* ---- reading ---- */

/* "1.8.4": moves `text` behind it. */
static bool read_segments(const char **text, struct version *version)
{
    const char *at = *text;
    for (;;) {
        size_t digits = strspn(at, "0123456789");
        if (digits == 0 || digits > MOST_DIGITS || version->given == VERSION_SEGMENTS)
            return false;
        version->segments[version->given++] = strtoull(at, NULL, 10);
        at += digits;
        if (*at != '.' || !isdigit((unsigned char)at[1]))
            break;
        at++;
    }
    *text = at;
    return true;
}

/* Words of letters, digits, "-" and "~" with dots between them: the length, 0 where there are none. */
static size_t words_length(const char *text)
{
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) || (text[length] && strchr("-~", text[length])) ||
           (text[length] == '.' && length > 0 && text[length - 1] != '.'))
        length++;
    return length > 0 && text[length - 1] == '.' ? 0 : length;
}

bool version_parse(const char *text, struct version *version)
{
    *version = (struct version){0};
    text += *text == 'v';
    if (!read_segments(&text, version))
        return false;
    if (*text == '-' || *text == '~' || isalpha((unsigned char)*text)) { /* "1.8.0beta1" too */
        text += *text == '-';
        size_t length = words_length(text);
        if (length == 0 || length >= sizeof version->pre)
            return false;
        memcpy(version->pre, text, length);
        text += length;
    }
    if (*text == '+')
        text += 1 + words_length(text + 1);
    return !*text && text[-1] != '+';
}

/* ---- order ---- */

/* Is the part a number? */
static bool is_number(const char *part, size_t length, uint64_t *number)
{
    if (length == 0 || length > MOST_DIGITS || strspn(part, "0123456789") < length)
        return false;
    *number = strtoull(part, NULL, 10);
    return true;
}

/* Parts of a pre-release: numbers come before words. Where one has no more parts, the other's decides. */
static int compare_parts(const char *one, size_t one_length, const char *other, size_t other_length)
{
    uint64_t one_value = 0, other_value = 0;
    bool one_numeric = is_number(one, one_length, &one_value);
    bool other_numeric = is_number(other, other_length, &other_value);
    if (one_length == 0)
        return other_numeric ? -1 : 1;
    if (other_length == 0)
        return one_numeric ? 1 : -1;
    if (one_numeric != other_numeric)
        return one_numeric ? -1 : 1;
    if (one_numeric)
        return one_value > other_value ? 1 : one_value < other_value ? -1 : 0;
    size_t shorter = one_length < other_length ? one_length : other_length;
    int order = strncmp(one, other, shorter);
    return order ? order : one_length > other_length ? 1 : -1;
}

static int compare_pre(const char *one, const char *other)
{
    if (!*one || !*other)
        return !*one - !*other; /* a release comes after its pre-releases */
    while (*one || *other) {
        size_t one_length = strcspn(one, "."), other_length = strcspn(other, ".");
        if (one_length != other_length || strncmp(one, other, one_length) != 0) {
            int order = compare_parts(one, one_length, other, other_length);
            if (order)
                return order;
        }
        one += one_length + (one[one_length] == '.');
        other += other_length + (other[other_length] == '.');
    }
    return 0;
}

static int compare_segments(const struct version *one, const struct version *other)
{
    for (size_t i = 0; i < VERSION_SEGMENTS; i++)
        if (one->segments[i] != other->segments[i])
            return one->segments[i] > other->segments[i] ? 1 : -1;
    return 0;
}

int version_compare(const struct version *one, const struct version *other)
{
    int order = compare_segments(one, other);
    return order ? order : compare_pre(one->pre, other->pre);
}

/* ---- constraints ---- */

enum relation { AT_LEAST, AT_MOST, OTHER_THAN, NEAR, ABOVE, BELOW, EQUAL };

/* The longer ones first. */
static const char *const relations[] = {
    [AT_LEAST] = ">=", [AT_MOST] = "<=", [OTHER_THAN] = "!=", [NEAR] = "~>",
    [ABOVE] = ">",     [BELOW] = "<",    [EQUAL] = "=",
};

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/* Reads one term, up to the comma or the end, and moves `text` there. */
static bool read_term(const char **text, enum relation *relation, struct version *bound)
{
    const char *at = skip_blanks(*text);
    char word[128];
    *relation = EQUAL;
    for (size_t i = 0; i < sizeof relations / sizeof *relations; i++)
        if (strncmp(at, relations[i], strlen(relations[i])) == 0) {
            *relation = (enum relation)i;
            at = skip_blanks(at + strlen(relations[i]));
            break;
        }
    size_t length = strcspn(at, ", \t");
    if (length >= sizeof word)
        return false;
    snprintf(word, sizeof word, "%.*s", (int)length, at);
    *text = skip_blanks(at + length);
    return (!**text || **text == ',') && version_parse(word, bound);
}

static bool holds(const struct version *version, enum relation relation, const struct version *bound)
{
    int order = version_compare(version, bound);
    switch (relation) {
    case AT_LEAST:
        return order >= 0;
    case AT_MOST:
        return order <= 0;
    case OTHER_THAN:
        return order != 0;
    case ABOVE:
        return order > 0;
    case BELOW:
        return order < 0 && (!version->pre[0] || bound->pre[0] || compare_segments(version, bound) != 0);
    case NEAR:
        for (size_t i = 0; i + 1 < bound->given; i++)
            if (version->segments[i] != bound->segments[i])
                return false;
        return order >= 0;
    default:
        return order == 0;
    }
}

/* Goes through the terms; a NULL version fits them all. */
static bool each_term_holds(const struct version *version, const char *constraint)
{
    enum relation relation;
    struct version bound;
    for (;; constraint++) {
        if (!read_term(&constraint, &relation, &bound) || (version && !holds(version, relation, &bound)))
            return false;
        if (!*constraint)
            return true;
    }
}

bool version_constraint_valid(const char *constraint)
{
    return each_term_holds(NULL, constraint);
}

bool version_fits(const struct version *version, const char *constraint)
{
    return each_term_holds(version, constraint);
}
