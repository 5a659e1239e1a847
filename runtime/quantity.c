/* Durations and sizes as operators write them. */
#include "quantity.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define LARGEST                 ((int64_t)1 << 53)
#define MAXIMUM_FRACTION_DIGITS 9

/* A decimal number as it stands in the text; the fraction is kept apart so that whole numbers stay exact. */
struct decimal {
    int64_t whole;
    double fraction;
    bool has_fraction;
};

/* Reads "12" or "1.5" and moves `text` behind it. */
static bool read_decimal(const char **text, struct decimal *number)
{
    const char *at = *text;
    *number = (struct decimal){0};
    if (!isdigit((unsigned char)*at))
        return false;
    for (; isdigit((unsigned char)*at); at++) {
        number->whole = number->whole * 10 + (*at - '0');
        if (number->whole > LARGEST)
            return false;
    }
    if (*at == '.') {
        double weight = 0.1;
        const char *first = ++at;
        for (; isdigit((unsigned char)*at); at++, weight /= 10)
            number->fraction += (*at - '0') * weight;
        if (at == first || at - first > MAXIMUM_FRACTION_DIGITS)
            return false;
        number->has_fraction = true;
    }
    *text = at;
    return true;
}

/* total += number * unit, refused beyond `largest`. */
static bool add_scaled(int64_t *total, const struct decimal *number, int64_t unit, int64_t largest)
{
    int64_t scaled;
    if (__builtin_mul_overflow(number->whole, unit, &scaled) ||
        __builtin_add_overflow(scaled, (int64_t)(number->fraction * (double)unit + 0.5), &scaled) ||
        __builtin_add_overflow(*total, scaled, total))
        return false;
    return *total <= largest;
}

struct unit {
    const char *name;
    int64_t ms;
};

/* "ms" before "m": the longest name that fits is meant. */
static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000},
};

static const struct unit *read_unit(const char **text)
{
    for (size_t i = 0; i < sizeof duration_units / sizeof *duration_units; i++) {
        size_t length = strlen(duration_units[i].name);
        if (strncmp(*text, duration_units[i].name, length) == 0) {
            *text += length;
            return &duration_units[i];
        }
    }
    return NULL;
}

bool duration_parse(const char *text, int64_t *ms)
{
    int64_t total = 0;
    struct decimal number;
    if (!text || !*text)
        return false;
    for (bool first = true; *text; first = false) {
        if (!read_decimal(&text, &number))
            return false;
        const struct unit *unit = read_unit(&text);
        bool bare = first && !*text;
        if (!unit && !bare)
            return false;
        if (!add_scaled(&total, &number, unit ? unit->ms : 1000, LARGEST))
            return false;
    }
    *ms = total;
    return true;
}

/* "3 h 20 min": a larger unit and, unless zero, the next smaller one. */
static void format_pair(char *out, size_t size, const char *sign, int64_t large, const char *large_name,
                        int64_t small, const char *small_name)
{
    if (small)
        snprintf(out, size, "%s%lld %s %lld %s", sign, (long long)large, large_name, (long long)small,
                 small_name);
    else
        snprintf(out, size, "%s%lld %s", sign, (long long)large, large_name);
}

void duration_format(int64_t ms, char *out, size_t size)
{
    const char *sign = ms < 0 ? "-" : "";
    uint64_t rest = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    int64_t tenths = (int64_t)((rest + 50) / 100); /* rounded first, so that 59.96 s does not become "60 s" */
    int64_t seconds = (int64_t)(rest / 1000);
    if (rest < 1000)
        snprintf(out, size, "%s%d ms", sign, (int)rest);
    else if (tenths < 600 && tenths % 10)
        snprintf(out, size, "%s%d.%d s", sign, (int)(tenths / 10), (int)(tenths % 10));
    else if (tenths < 600)
        snprintf(out, size, "%s%d s", sign, (int)(tenths / 10));
    else if (seconds < 60)
        snprintf(out, size, "%s1 min", sign);
    else if (seconds < 3600)
        format_pair(out, size, sign, seconds / 60, "min", seconds % 60, "s");
    else if (seconds < 86400)
        format_pair(out, size, sign, seconds / 3600, "h", seconds / 60 % 60, "min");
    else
        format_pair(out, size, sign, seconds / 86400, "d", seconds / 3600 % 24, "h");
}

static const char size_letters[] = "KMGTP";

bool size_parse(const char *text, int64_t *bytes)
{
    int64_t unit = 1;
    struct decimal number;
    if (!text || !read_decimal(&text, &number))
        return false;
    const char *letter = *text ? strchr(size_letters, toupper((unsigned char)*text)) : NULL;
    if (letter) {
        unit = (int64_t)1 << (10 * (letter - size_letters + 1));
        text++;
        if (text[0] == 'i' && (text[1] == 'B' || text[1] == 'b'))
            text++;
    }
    if (*text == 'B' || *text == 'b')
        text++;
    /* Half a byte is a slip of the pen, not a size. */
    if (*text || (unit == 1 && number.has_fraction))
        return false;
    int64_t total = 0;
    if (!add_scaled(&total, &number, unit, INT64_MAX))
        return false;
    *bytes = total;
    return true;
}

void size_format(int64_t bytes, char *out, size_t size)
{
    const char *sign = bytes < 0 ? "-" : "";
    double value = bytes < 0 ? -(double)bytes : (double)bytes;
    if (value < 1024) {
        snprintf(out, size, "%s%d B", sign, (int)value);
        return;
    }
    size_t letter = 0;
    value /= 1024;
    /* 1023.96 would print as "1024.0". */
    while (value >= 1023.95 && letter + 1 < sizeof size_letters - 1) {
        value /= 1024;
        letter++;
    }
    char digits[32];
    snprintf(digits, sizeof digits, "%.1f", value);
    size_t length = strlen(digits);
    if (digits[length - 1] == '0')
        digits[length - 2] = '\0';
    snprintf(out, size, "%s%s %ciB", sign, digits, size_letters[letter]);
}
