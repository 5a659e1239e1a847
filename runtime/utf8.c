/* Characters of UTF-8. */
#include "utf8.h"

#include <stdbool.h>
#include <string.h>

size_t utf8_length(const char *text, size_t left)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char first = bytes[0];
    if (first < 0x80)
        return 1;
    size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || left < length)
        return 0;
    unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (bytes[1] < low || bytes[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

unsigned utf8_code(const char *bytes, size_t left)
{
    size_t length = left > 0 ? utf8_length(bytes, left) : 0;
    if (length == 0)
        return 0xFFFD;
    unsigned code = (unsigned char)bytes[0] & (length == 1 ? 0x7Fu : 0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++)
        code = code << 6 | ((unsigned char)bytes[i] & 0x3Fu);
    return code;
}

/* Does the character steer a terminal, or make text look like other text? */
static bool steers(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    if (length == 1)
        return bytes[0] < 0x20 || bytes[0] == 0x7F;
    if (length == 2)
        return bytes[0] == 0xC2 && bytes[1] < 0xA0; /* C1 */
    if (length == 3 && bytes[0] == 0xE2)            /* U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069 */
        return (bytes[1] == 0x80 && (bytes[2] == 0x8E || bytes[2] == 0x8F)) ||
               (bytes[1] == 0x80 && bytes[2] >= 0xAA && bytes[2] <= 0xAE) ||
               (bytes[1] == 0x81 && bytes[2] >= 0xA6 && bytes[2] <= 0xA9);
    return false;
}

void utf8_disarm(char *text, size_t length)
{
    for (size_t at = 0, step; at < length; at += step) {
        size_t character = utf8_length(text + at, length - at);
        step = character ? character : 1;
        if (text[at] == '\n' || text[at] == '\t')
            continue;
        if (text[at] == '\r' && at + 1 < length && text[at + 1] == '\n')
            text[at] = ' ';
        else if (!character || steers(text + at, step))
            memset(text + at, '?', step);
    }
}
