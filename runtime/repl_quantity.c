/* What a number is by the name of its field, in the words of Consul, Nomad, Vault and Linux: seconds, nanoseconds, bytes. */
#include "quantity.h"
#include "repl_show.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BILLION    1000000000LL
#define YEAR_2001  978307200LL
#define YEAR_2100  4102444800LL
#define NS_A_MS    1000000LL
#define LEAST_SIZE 1024

/* The parts of a name: "MaxQueryTime", "max_query_time" -> " max query time ". */
static void split_name(const char *name, char *words, size_t size)
{
    size_t used = 0;
    words[used++] = ' ';
    for (size_t i = 0; name[i] && used + 3 < size; i++) {
        bool upper = isupper((unsigned char)name[i]);
        bool begins = upper && i &&
                      (islower((unsigned char)name[i - 1]) ||
                       (isupper((unsigned char)name[i - 1]) && islower((unsigned char)name[i + 1])));
        if (begins && words[used - 1] != ' ')
            words[used++] = ' ';
        if (isalnum((unsigned char)name[i]))
            words[used++] = (char)tolower((unsigned char)name[i]);
        else if (words[used - 1] != ' ')
            words[used++] = ' ';
    }
    if (words[used - 1] != ' ')
        words[used++] = ' ';
    words[used] = '\0';
}

static bool has_word(const char *words, const char *const *wanted)
{
    for (; *wanted; wanted++) {
        const char *at = strstr(words, *wanted);
        if (at && at[-1] == ' ' && at[strlen(*wanted)] == ' ')
            return true;
    }
    return false;
}

static bool add_time(long long seconds, struct buffer *out)
{
    char text[40];
    struct tm local;
    time_t time = (time_t)seconds;
    if (!localtime_r(&time, &local) || !strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local))
        return false;
    buffer_append_text(out, text);
    return true;
}

/* Since 1970, in whatever unit the number can be of this century. */
static bool add_moment(long long number, struct buffer *out)
{
    for (long long unit = BILLION; unit >= 1; unit /= 1000)
        if (number / unit >= YEAR_2001 && number / unit < YEAR_2100)
            return add_time(number / unit, out);
    return false;
}

bool show_quantity(const char *name, long long number, struct buffer *out)
{
    static const char *const moments[] = {"time", "date",  "created", "expiration", "expires", "modified",
                                          "at",   "mtime", "ctime",   "since",      "updated", NULL};
    static const char *const durations[] = {
        "ttl",     "duration", "period",   "interval", "timeout",   "uptime",  "wait",  "age", "delay",
        "elapsed", "grace",    "deadline", "cooldown", "threshold", "backoff", "lease", NULL};
    static const char *const sizes[] = {"bytes", "size",  "memory", "used", "available",
                                        "free",  "total", "rss",    NULL};
    static const char *const mebibytes[] = {"mb", "mib", NULL};
    static const char *const milliseconds[] = {"ms", "millis", "milliseconds", NULL};
    char words[128], text[64];
    if (!name || number <= 0)
        return false;
    split_name(name, words, sizeof words);
    if (has_word(words, mebibytes) && number < (1LL << 40))
        size_format(number << 20, text, sizeof text);
    else if (has_word(words, milliseconds))
        duration_format(number, text, sizeof text);
    else if (has_word(words, durations) && number < YEAR_2001 * 100)
        /* Nomad and Consul count nanoseconds, Vault seconds: nothing waits for a month of the former or a ms of the latter. */
        duration_format(number >= NS_A_MS * 100 && number % 1000 == 0 ? number / NS_A_MS : number * 1000,
                        text, sizeof text);
    else if (has_word(words, moments) || (number > YEAR_2001 * BILLION && number < YEAR_2100 * BILLION))
        return add_moment(number, out);
    else if (has_word(words, sizes) && number >= LEAST_SIZE)
        size_format(number, text, sizeof text);
    else
        return false;
    buffer_append_text(out, text);
    return true;
}
