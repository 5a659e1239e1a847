/* Versions of packages: comparing and choosing. */
#include "apt_version.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Debian's order ---- */

/* Weight of a byte between digits: "~" before the end, the end before letters, letters before the rest. */
static int weight(unsigned char byte)
{
    if (byte == '~')
        return -1;
    if (!byte || isdigit(byte))
        return 0;
    return isalpha(byte) ? byte : byte + 256;
}

static unsigned char byte_at(const char *text, const char *end)
{
    return text < end ? (unsigned char)*text : 0;
}

/* Compares one part (upstream version or revision), by turns what is not digits and numbers. */
static int compare_part(const char *a, const char *a_end, const char *b, const char *b_end)
{
    while (a < a_end || b < b_end) {
        while ((a < a_end && !isdigit((unsigned char)*a)) || (b < b_end && !isdigit((unsigned char)*b))) {
            int order = weight(byte_at(a, a_end)) - weight(byte_at(b, b_end));
            if (order)
                return order;
            a++;
            b++;
        }
        while (byte_at(a, a_end) == '0')
            a++;
        while (byte_at(b, b_end) == '0')
            b++;
        int first = 0;
        while (isdigit(byte_at(a, a_end)) && isdigit(byte_at(b, b_end))) {
            if (!first)
                first = *a - *b;
            a++;
            b++;
        }
        if (isdigit(byte_at(a, a_end)))
            return 1;
        if (isdigit(byte_at(b, b_end)))
            return -1;
        if (first)
            return first;
    }
    return 0;
}

/* A version in its three parts: [epoch:]upstream[-revision]. */
struct parts {
    unsigned long epoch;
    const char *upstream, *upstream_end;
    const char *revision, *revision_end;
};

static struct parts split(const char *version, size_t length)
{
    struct parts parts = {.upstream = version, .upstream_end = version + length};
    const char *colon = memchr(version, ':', length);
    if (colon) {
        parts.epoch = strtoul(version, NULL, 10);
        parts.upstream = colon + 1;
    }
    const char *dash = memrchr(parts.upstream, '-', (size_t)(parts.upstream_end - parts.upstream));
    parts.revision = parts.revision_end = parts.upstream_end;
    if (dash) {
        parts.revision = dash + 1;
        parts.upstream_end = dash;
    }
    return parts;
}

static int compare(struct parts a, struct parts b, bool revisions)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    int order = compare_part(a.upstream, a.upstream_end, b.upstream, b.upstream_end);
    if (order || !revisions)
        return order;
    return compare_part(a.revision, a.revision_end, b.revision, b.revision_end);
}

int apt_version_compare(const char *a, const char *b)
{
    return compare(split(a, strlen(a)), split(b, strlen(b)), true);
}

/* ---- what is wanted ---- */

/* One of the constraints that commas separate. */
struct constraint {
    char operation[3]; /* "" = a version or a glob */
    const char *version;
    size_t length;
};

static bool next_constraint(const char **at, struct constraint *constraint)
{
    const char *text = *at + strspn(*at, " \t,");
    if (!*text)
        return false;
    size_t operation = strspn(text, "<>=!");
    snprintf(constraint->operation, sizeof constraint->operation, "%.*s", (int)operation, text);
    text += operation;
    text += strspn(text, " \t");
    constraint->version = text;
    size_t length = strcspn(text, ",");
    *at = text + length;
    while (length && isblank((unsigned char)text[length - 1]))
        length--;
    constraint->length = operation > 2 ? 0 : length;
    return true;
}

static bool is_operation(const char *operation)
{
    static const char *const known[] = {"", "<", "<<", "<=", "=", "==", "!=", ">=", ">", ">>", NULL};
    for (size_t i = 0; known[i]; i++)
        if (strcmp(operation, known[i]) == 0)
            return true;
    return false;
}

bool apt_wanted_valid(const char *wanted, char *error, size_t error_size)
{
    struct constraint constraint;
    const char *at = wanted;
    size_t count = 0;
    while (next_constraint(&at, &constraint)) {
        count++;
        bool glob = constraint.operation[0] == '\0';
        const char *letters = glob ? "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-~:*?[]"
                                   : "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-~:";
        if (!is_operation(constraint.operation) || !constraint.length ||
            strspn(constraint.version, letters) < constraint.length) {
            snprintf(error, error_size,
                     "\"%s\" is no version: give 1.9.7-1, 1.9.* or constraints such as >= 1.8, < 1.10",
                     wanted);
            return false;
        }
    }
    if (!count)
        snprintf(error, error_size, "the version is empty");
    return count > 0;
}

static bool matches_glob(const char *version, struct constraint constraint)
{
    char pattern[128];
    if (constraint.length >= sizeof pattern)
        return false;
    snprintf(pattern, sizeof pattern, "%.*s", (int)constraint.length, constraint.version);
    return strpbrk(pattern, "*?[") && fnmatch(pattern, version, 0) == 0;
}

static bool fulfils(const char *version, struct constraint constraint)
{
    const char *operation = constraint.operation;
    if (!*operation && matches_glob(version, constraint))
        return true;
    bool revisions = memchr(constraint.version, '-', constraint.length) != NULL;
    int order =
        compare(split(version, strlen(version)), split(constraint.version, constraint.length), revisions);
    switch (*operation) {
    case '<':
        return operation[1] == '=' ? order <= 0 : order < 0;
    case '>':
        return operation[1] == '=' ? order >= 0 : order > 0;
    case '!':
        return order != 0;
    default:
        return order == 0;
    }
}

bool apt_version_satisfies(const char *version, const char *wanted)
{
    struct constraint constraint;
    while (next_constraint(&wanted, &constraint))
        if (!fulfils(version, constraint))
            return false;
    return true;
}
