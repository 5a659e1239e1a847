/* Expansion of ranges: the first bracket is replaced by each of its numbers, the rest expands in turn. */
#include "host_range.h"

#include "buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BRACKETS_MOST 16

struct expansion {
    const char *word; /* for messages */
    host_range_visit *visit;
    void *context;
    struct failure *failure;
    size_t count;
    unsigned brackets; /* open at the moment, one within the other's names */
    bool ended;        /* by the visitor */
};

static bool refuse(struct expansion *expansion, const char *why)
{
    failure_set(expansion->failure, "usage", "hosts", "\"%.200s%s\": %s", expansion->word,
                strlen(expansion->word) > 200 ? "..." : "", why);
    failure_hint(expansion->failure, "a range is written builder[01-40] or builder[1,4-6]");
    return false;
}

/* Reads "07" or "07-12" at *text and moves behind it. */
static bool take_numbers(const char **text, unsigned long *from, unsigned long *to, int *width)
{
    char *end;
    size_t digits = strspn(*text, "0123456789");
    if (!digits || digits > 9)
        return false;
    *width = (int)digits;
    *from = *to = strtoul(*text, &end, 10);
    if (*end == '-') {
        digits = strspn(end + 1, "0123456789");
        if (!digits || digits > 9)
            return false;
        *to = strtoul(end + 1, &end, 10);
    }
    *text = end;
    return true;
}

static bool expand(struct expansion *expansion, const char *done, const char *rest);

static bool expand_numbers(struct expansion *expansion, const char *done, const char *numbers,
                           const char *after)
{
    unsigned long from, to;
    int width;
    for (;; numbers++) {
        if (!take_numbers(&numbers, &from, &to, &width) || (*numbers != ',' && *numbers != ']'))
            return refuse(expansion, "what is in the brackets is no range of numbers");
        if (from > to)
            return refuse(expansion, "the range runs backwards");
        if (to - from >= HOST_RANGE_MOST)
            return refuse(expansion, "these are more than 10000 hosts");
        for (unsigned long number = from; number <= to; number++) {
            struct buffer name = {0};
            buffer_format(&name, "%s%0*lu", done, width, number);
            bool going = expand(expansion, name.bytes, after);
            buffer_free(&name);
            if (!going)
                return false;
        }
        if (*numbers == ']')
            return true;
    }
}

/* A bracket, its numbers or NULL, then what is behind it. */
static bool expand_in_turn(struct expansion *expansion, const char *done, const char *numbers,
                           const char *after)
{
    if (expansion->brackets == BRACKETS_MOST)
        return refuse(expansion, "these are more brackets than 16");
    expansion->brackets++;
    bool going = numbers ? expand_numbers(expansion, done, numbers, after) : expand(expansion, done, after);
    expansion->brackets--;
    return going;
}

static bool expand(struct expansion *expansion, const char *done, const char *rest)
{
    struct buffer name = {0};
    size_t plain = strcspn(rest, "[]");
    bool going = true;
    buffer_format(&name, "%s%.*s", done, (int)plain, rest);
    rest += plain;
    const char *end = *rest == '[' ? strchr(rest, ']') : NULL;
    if (*rest == '[' && end && memchr(rest, ':', (size_t)(end - rest))) { /* an address stays as it is */
        buffer_append(&name, rest, (size_t)(end + 1 - rest));
        going = expand_in_turn(expansion, buffer_text(&name), NULL, end + 1);
    } else if (*rest == '[' && end) {
        going = expand_in_turn(expansion, buffer_text(&name), rest + 1, end + 1);
    } else if (*rest) {
        going = refuse(expansion,
                       *rest == '[' ? "a bracket is not closed" : "a bracket is closed that was not opened");
    } else if (++expansion->count > HOST_RANGE_MOST) {
        going = refuse(expansion, "these are more than 10000 hosts");
    } else {
        going = expansion->visit(expansion->context, buffer_text(&name));
        expansion->ended = !going;
    }
    buffer_free(&name);
    return going;
}

bool host_range_expand(const char *word, host_range_visit *visit, void *context, struct failure *failure)
{
    struct expansion expansion = {.word = word, .visit = visit, .context = context, .failure = failure};
    return expand(&expansion, "", word) || expansion.ended;
}
