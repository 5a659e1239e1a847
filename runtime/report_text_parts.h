/* What the files that write for people share: report_text.c (one host at a time), report_hosts.c (many). */
#ifndef MOONBOOK_REPORT_TEXT_PARTS_H
#define MOONBOOK_REPORT_TEXT_PARTS_H

#include "buffer.h"
#include "report_text.h"
#include "target.h"

struct text_sink {
    struct runtime *runtime;
    bool terminal; /* a live line is possible */
    bool colour;
    bool screen;            /* standard output is a terminal */
    bool symbols;           /* UTF-8 */
    bool live;              /* a live line stands on the screen */
    bool asking;            /* a question stands on the screen */
    struct buffer held;     /* what was said meanwhile */
    bool quiet;             /* of a chunk: hosts on which nothing changed are not mentioned */
    char *said;             /* last progress text of plain output */
    struct target *targets; /* of the run; what is said of each is kept back where there are several */
    size_t target_count;
    struct target outside; /* whose header was shown last where there is no target */
};

enum style { PLAIN, GOOD, CHANGED, BAD, DIM, STRONG };

/* Redacts the text, writes it in one go and frees it: to the screen, or to what is kept of the fiber's target. */
void text_emit(struct text_sink *sink, struct buffer *text);

/* The same, always to the screen. */
void text_emit_now(struct text_sink *sink, struct buffer *text);

/* Text of commands and servers: what would steer the terminal shows as "?". */
void text_add_foreign(const struct text_sink *sink, struct buffer *out, const char *text);

void text_add_styled(struct text_sink *sink, struct buffer *out, enum style style, const char *text);

/* The symbol where the terminal can show it, else the word. */
const char *text_mark(const struct text_sink *sink, const char *symbol, const char *word);

/* "  (1.2 s)" for what took noticeably long. */
void text_add_time(struct text_sink *sink, struct buffer *out, uint64_t ms);

/* "changed: 3, unchanged: 2, failed: 1"; "would change: 3" under --check. */
void text_add_counts(struct text_sink *sink, struct buffer *out, const struct runtime_counts *counts);

/* An error as it is shown, appended. */
void text_add_failure(struct text_sink *sink, struct buffer *out, const struct failure *failure);

/* Of many hosts: where the run stands ("3 of 12 done, 1 failed: c7 - c2: "), for the live line; and their results at the end
 * (report_hosts.c). */
void text_add_hosts(struct text_sink *sink, struct buffer *out);
void text_add_end_of_hosts(struct text_sink *sink, struct buffer *out);

/* Do several hosts run at the same time? */
static inline bool text_is_grouped(const struct text_sink *sink)
{
    return sink->target_count > 1;
}

/* The run's target that the fiber works for: the outermost; NULL where there is none. */
struct target *text_target(const struct text_sink *sink);

#endif
