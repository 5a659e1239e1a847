/* Durations and sizes as operators write them: "1d", "90s", "1h30m", 250ms; "512M", "10GiB". */
#ifndef MOONBOOK_QUANTITY_H
#define MOONBOOK_QUANTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads a duration into milliseconds: a sum of numbers with ms, s, m, h, d, w ("1h30m", "1.5h"); a bare number is
 * seconds. False for anything else, for negative ones and for more than 2^53 ms. */
bool duration_parse(const char *text, int64_t *ms);

/* Writes it as people read it: "250 ms", "1.5 s", "2 min 5 s", "3 h 20 min", "4 d 2 h". */
void duration_format(int64_t ms, char *out, size_t size);

/* Reads a size into bytes: a number with B, K, M, G, T, P; KB = KiB = K = 1024 as operators mean it, kB too. A
 * bare number is bytes. */
bool size_parse(const char *text, int64_t *bytes);

/* Writes it as people read it: "512 B", "1.5 MiB". */
void size_format(int64_t bytes, char *out, size_t size);

#endif
