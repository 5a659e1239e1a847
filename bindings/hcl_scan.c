/* The words of HCL. */
#include "hcl_scan.h"

#include "utf8.h"

#include <string.h>

bool hcl_wrong(struct hcl_scan *scan, size_t at, const char *wanted)
{
    if (scan->wanted == NULL) {
        scan->wrong_at = at;
        scan->wanted = wanted;
    }
    return false;
}

bool hcl_deeper(struct hcl_scan *scan)
{
    if (++scan->depth <= HCL_DEPTH_MOST)
        return true;
    return hcl_wrong(scan, scan->at, "at most 100 levels of nesting");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* What neither HCL1 nor HCL2 takes for a letter: blanks, quotes, dashes and signs, as wiki pages leave them in a text, and the
 * byte order mark. */
static bool is_sign(unsigned code)
{
    static const unsigned ranges[][2] = {
        {0x80, 0xA9},     {0xAB, 0xB4},      {0xB6, 0xB9},     {0xBB, 0xBF},     {0xD7, 0xD7},
        {0xF7, 0xF7},     {0x2000, 0x2070},  {0x20A0, 0x20CF}, {0x2190, 0x2BFF}, {0x3000, 0x3004},
        {0x3008, 0x3020}, {0xE000, 0xF8FF},  {0xFEFF, 0xFEFF}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF20},
        {0xFFF0, 0xFFFF}, {0x1F000, 0x1FAFF}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i][0] && code <= ranges[i][1])
            return true;
    return false;
}

/* Is it a letter, or a further byte of one? The text is valid UTF-8. */
static bool letter_at(const struct hcl_scan *scan, size_t ahead)
{
    char c = hcl_peek(scan, ahead);
    if ((unsigned char)c < 0xC0)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
    return !is_sign(utf8_code(scan->text + scan->at + ahead, scan->length - scan->at - ahead));
}

bool hcl_at_letter(const struct hcl_scan *scan)
{
    return letter_at(scan, 0);
}

static bool skip_comment(struct hcl_scan *scan)
{
    size_t begin = scan->at;
    if (hcl_peek(scan, 0) == '/' && hcl_peek(scan, 1) == '*') {
        const char *end = memmem(scan->text + begin + 2, scan->length - begin - 2, "*/", 2);
        if (end == NULL)
            return hcl_wrong(scan, begin, "\"*/\" at the end of this comment");
        scan->at = (size_t)(end - scan->text) + 2;
        return true;
    }
    const char *newline = memchr(scan->text + begin, '\n', scan->length - begin);
    scan->at = newline != NULL ? (size_t)(newline - scan->text) : scan->length;
    if (newline != NULL && newline[-1] == '\r')
        scan->at--;
    return true;
}

static bool at_comment(const struct hcl_scan *scan)
{
    char next = hcl_peek(scan, 1);
    return hcl_peek(scan, 0) == '#' || (hcl_peek(scan, 0) == '/' && (next == '/' || next == '*'));
}

bool hcl_skip(struct hcl_scan *scan, bool lines)
{
    for (;;) {
        char c = hcl_peek(scan, 0);
        bool ending = c == '\r' && hcl_peek(scan, 1) == '\n';
        if (c == ' ' || c == '\t' || (c == '\r' && !ending) || (lines && (c == '\n' || ending)))
            scan->at++;
        else if (!at_comment(scan))
            return true;
        else if (!skip_comment(scan))
            return false;
    }
}

/* Reads up to `most` digits of the base; the count of them. */
static size_t read_digits(const char *text, size_t left, size_t most, unsigned base, unsigned *value)
{
    size_t count = 0;
    *value = 0;
    for (; count < most && count < left; count++) {
        char c = text[count];
        unsigned digit = is_digit(c) ? (unsigned)(c - '0') : is_hex(c) ? (unsigned)((c | 32) - 'a') + 10 : 99;
        if (digit >= base)
            break;
        *value = *value * base + digit;
    }
    return count;
}

size_t hcl_escape(const char *text, size_t left, unsigned *code, bool *is_byte)
{
    static const char letters[] = "nrt\"\\abfv/", meaning[] = "\n\r\t\"\\\a\b\f\v/";
    *is_byte = false;
    if (left < 2 || text[1] == '\0')
        return 0;
    const char *letter = strchr(letters, text[1]);
    if (letter != NULL) {
        *code = (unsigned char)meaning[letter - letters];
        return 2;
    }
    size_t wanted = text[1] == 'u' ? 4 : text[1] == 'U' ? 8 : text[1] == 'x' ? 2 : 0;
    if (wanted > 0) {
        *is_byte = wanted == 2;
        if (read_digits(text + 2, left - 2, wanted, 16, code) != wanted)
            return 0;
        return *code < 0x110000 ? wanted + 2 : 0;
    }
    *is_byte = true;
    return read_digits(text + 1, left - 1, 3, 8, code) == 3 && *code < 256 ? 4 : 0;
}

static bool scan_escape(struct hcl_scan *scan)
{
    unsigned code;
    bool is_byte;
    size_t length = hcl_escape(scan->text + scan->at, scan->length - scan->at, &code, &is_byte);
    if (length == 0)
        return hcl_wrong(scan, scan->at,
                         "an escape such as \\n, \\\" or \\u00e9 (a backslash itself is \\\\)");
    scan->at += length;
    return true;
}

static bool at_template(const struct hcl_scan *scan)
{
    char c = hcl_peek(scan, 0);
    return (c == '$' || c == '%') && hcl_peek(scan, 1) == '{';
}

/* "$${" and "%%{" stand for the two characters without the first. */
static bool at_escaped_template(const struct hcl_scan *scan)
{
    char c = hcl_peek(scan, 0);
    return (c == '$' || c == '%') && hcl_peek(scan, 1) == c && hcl_peek(scan, 2) == '{';
}

bool hcl_scan_template(struct hcl_scan *scan)
{
    size_t begin = scan->at;
    unsigned braces = 1;
    if (!hcl_deeper(scan))
        return false;
    scan->at += 2;
    while (braces > 0) {
        char c = hcl_peek(scan, 0);
        if (c == '\0')
            return hcl_wrong(scan, begin, "\"}\" at the end of this template");
        if (c == '"') {
            if (!hcl_scan_string(scan))
                return false;
            continue;
        }
        braces += c == '{';
        braces -= c == '}';
        scan->at += c == '\\' && hcl_peek(scan, 1) != '\0'; /* HCL1 has \" in it, HCL2 no backslash */
        scan->at++;
    }
    scan->depth--;
    return true;
}

bool hcl_scan_string(struct hcl_scan *scan)
{
    size_t begin = scan->at++;
    for (;;) {
        char c = hcl_peek(scan, 0);
        if (c == '\0' || c == '\n')
            return hcl_wrong(scan, begin, "a quote at the end of this text");
        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c == '\\') {
            if (!scan_escape(scan))
                return false;
        } else if (at_escaped_template(scan)) {
            scan->at += 3;
        } else if (at_template(scan)) {
            if (!hcl_scan_template(scan))
                return false;
        } else {
            scan->at++;
        }
    }
}

/* Is the line from `at` to `end` the heredoc's closing word, maybe indented? `stop` is behind the word. */
static bool closes(const struct hcl_scan *scan, size_t at, size_t end, const char *word, size_t length,
                   size_t *stop)
{
    while (at < end && (scan->text[at] == ' ' || scan->text[at] == '\t'))
        at++;
    *stop = at + length;
    if (end - at < length || memcmp(scan->text + at, word, length) != 0)
        return false;
    return *stop == end || (*stop + 1 == end && end < scan->length && scan->text[*stop] == '\r');
}

bool hcl_scan_heredoc(struct hcl_scan *scan)
{
    size_t begin = scan->at;
    scan->at += 2;
    scan->at += hcl_peek(scan, 0) == '-';
    const char *word = scan->text + scan->at;
    size_t length = 0;
    while (letter_at(scan, length) || is_digit(hcl_peek(scan, length)) ||
           (length > 0 && hcl_peek(scan, length) == '-'))
        length++;
    scan->at += length;
    scan->at += hcl_peek(scan, 0) == '\r';
    if (length == 0 || hcl_peek(scan, 0) != '\n')
        return hcl_wrong(scan, scan->at, "a word and the end of the line after \"<<\"");
    for (size_t line = scan->at + 1; line <= scan->length;) {
        const char *newline = memchr(scan->text + line, '\n', scan->length - line);
        size_t end = newline != NULL ? (size_t)(newline - scan->text) : scan->length;
        if (closes(scan, line, end, word, length, &scan->at))
            return true;
        line = end + 1;
    }
    return hcl_wrong(scan, begin, "a line with the closing word of this heredoc");
}

static size_t count_digits(const struct hcl_scan *scan, bool hex)
{
    size_t count = 0;
    while (hex ? is_hex(hcl_peek(scan, count)) : is_digit(hcl_peek(scan, count)))
        count++;
    return count;
}

bool hcl_scan_number(struct hcl_scan *scan)
{
    size_t begin = scan->at, digits;
    scan->at += hcl_peek(scan, 0) == '-';
    bool hex = hcl_peek(scan, 0) == '0' && (hcl_peek(scan, 1) == 'x' || hcl_peek(scan, 1) == 'X');
    scan->at += hex ? 2 : 0;
    scan->at += digits = count_digits(scan, hex);
    if (!hex && hcl_peek(scan, 0) == '.' && is_digit(hcl_peek(scan, 1))) {
        scan->at++;
        scan->at += count_digits(scan, false);
    }
    char c = hcl_peek(scan, 0), next = hcl_peek(scan, 1);
    bool sign = next == '-' || next == '+';
    if (!hex && (c == 'e' || c == 'E') && is_digit(sign ? hcl_peek(scan, 2) : next)) {
        scan->at += sign ? 2 : 1;
        scan->at += count_digits(scan, false);
    }
    c = hcl_peek(scan, 0);
    if (digits == 0 || letter_at(scan, 0) || is_digit(c) || (c == '.' && hcl_peek(scan, 1) != '.'))
        return hcl_wrong(scan, begin, "a number, or a text in quotes");
    return true;
}

bool hcl_scan_name(struct hcl_scan *scan, bool dots)
{
    if (!letter_at(scan, 0))
        return hcl_wrong(scan, scan->at, "a name");
    for (;;) {
        char c = hcl_peek(scan, 0);
        if (!letter_at(scan, 0) && !is_digit(c) && c != '-' && !(dots && c == '.'))
            return true;
        scan->at++;
    }
}

bool hcl_goes_on(const struct hcl_scan *scan)
{
    char c = hcl_peek(scan, 0), next = hcl_peek(scan, 1);
    if (c == '/')
        return next != '/' && next != '*';
    if (c == '=' || c == '!')
        return next == '=';
    return c != '\0' && strchr("+-*%<>&|?.[(", c) != NULL;
}

/* One word of an expression that is no bracket. `operand`: the one before it was a value. */
static bool scan_word(struct hcl_scan *scan, bool inside, bool *operand)
{
    char c = hcl_peek(scan, 0);
    bool letter = letter_at(scan, 0), is_operand = c == '"' || letter || is_digit(c);
    bool heredoc = c == '<' && hcl_peek(scan, 1) == '<';
    if ((is_operand || heredoc) && *operand && !inside)
        return hcl_wrong(scan, scan->at, "an operator or the end of the line");
    *operand = is_operand || heredoc;
    if (c == '"')
        return hcl_scan_string(scan);
    if (heredoc)
        return hcl_scan_heredoc(scan);
    if (letter)
        return hcl_scan_name(scan, false);
    if (is_digit(c) && scan->at > 0 && scan->text[scan->at - 1] == '.') { /* list.0.name */
        scan->at += count_digits(scan, false);
        return true;
    }
    if (is_digit(c))
        return hcl_scan_number(scan);
    if (c == '=' && !inside && hcl_peek(scan, 1) != '=' && hcl_peek(scan, 1) != '>')
        return hcl_wrong(scan, scan->at, "the end of the line");
    if (c == '\0' || strchr("+-*/%<>=!&|?:.,", c) == NULL || scan->at == 0)
        return hcl_wrong(scan, scan->at, "an expression");
    *operand = c == '*' && scan->text[scan->at - 1] == '.'; /* list.*.name */
    scan->at++;
    char next = hcl_peek(scan, 0);
    if ((strchr("=!<>", c) != NULL && next == '=') || (c == '=' && next == '>'))
        scan->at++;
    return true;
}

/* Brackets that are open: one character each. */
struct brackets {
    char open[HCL_DEPTH_MOST];
    size_t at[HCL_DEPTH_MOST];
    unsigned count;
};

static bool open_bracket(struct hcl_scan *scan, struct brackets *brackets)
{
    if (brackets->count + scan->depth >= HCL_DEPTH_MOST)
        return hcl_wrong(scan, scan->at, "at most 100 levels of nesting");
    brackets->at[brackets->count] = scan->at;
    brackets->open[brackets->count++] = hcl_peek(scan, 0);
    scan->at++;
    return true;
}

static bool close_bracket(struct hcl_scan *scan, struct brackets *brackets)
{
    char c = hcl_peek(scan, 0), open = brackets->open[brackets->count - 1];
    if (open == '(' && c != ')')
        return hcl_wrong(scan, scan->at, "\")\"");
    if (open == '[' && c != ']')
        return hcl_wrong(scan, scan->at, "\"]\"");
    if (open == '{' && c != '}')
        return hcl_wrong(scan, scan->at, "\"}\"");
    brackets->count--;
    scan->at++;
    return true;
}

static bool unclosed(struct hcl_scan *scan, const struct brackets *brackets)
{
    char open = brackets->open[brackets->count - 1];
    return hcl_wrong(scan, brackets->at[brackets->count - 1],
                     open == '('   ? "\")\" for this bracket"
                     : open == '[' ? "\"]\" for this bracket"
                                   : "\"}\" for this bracket");
}

/* Is it where the expression ends? */
static bool at_end(char c, bool inside)
{
    return c == '\0' || (!inside && (c == '\n' || c == '\r' || c == ',' || c == ')' || c == ']' || c == '}'));
}

bool hcl_scan_expression(struct hcl_scan *scan, bool lines)
{
    struct brackets brackets = {.count = 0};
    size_t begin = scan->at, last = scan->at;
    bool operand = false;
    for (;;) {
        if (!hcl_skip(scan, lines || brackets.count > 0))
            return false;
        char c = hcl_peek(scan, 0);
        if (at_end(c, brackets.count > 0))
            break;
        bool read;
        if (c == '(' || c == '[' || c == '{') {
            operand = false;
            read = open_bracket(scan, &brackets);
        } else if (c == ')' || c == ']' || c == '}') {
            operand = true;
            read = close_bracket(scan, &brackets);
        } else {
            read = scan_word(scan, brackets.count > 0, &operand);
        }
        if (!read)
            return false;
        last = scan->at;
    }
    if (brackets.count > 0)
        return unclosed(scan, &brackets);
    if (last == begin || !operand)
        return hcl_wrong(scan, scan->at, "a value");
    scan->at = last;
    return true;
}
