/* Edits of text by lines and blocks. */
#include "file_edit.h"

#include <stdlib.h>
#include <string.h>

#define NOT_WANTED ((size_t)-1)

/* Takes the first line off `rest`: its text and, after it, its ending ("" for a last line without newline). */
static struct text_span take_line(struct text_span *rest, struct text_span *ending)
{
    const char *newline = memchr(rest->bytes, '\n', rest->length);
    size_t whole = newline != NULL ? (size_t)(newline - rest->bytes) + 1 : rest->length;
    size_t length = newline != NULL ? whole - 1 : whole;
    if (newline != NULL && length > 0 && rest->bytes[length - 1] == '\r')
        length--;
    struct text_span line = {rest->bytes, length};
    *ending = (struct text_span){rest->bytes + length, whole - length};
    *rest = (struct text_span){rest->bytes + whole, rest->length - whole};
    return line;
}

size_t text_count_lines(const char *bytes, size_t length)
{
    size_t count = 0;
    struct text_span rest = {bytes, length}, ending;
    for (; rest.length > 0; count++)
        take_line(&rest, &ending);
    return count;
}

void text_split(const char *bytes, size_t length, struct text_span *lines)
{
    struct text_span rest = {bytes, length}, ending;
    for (size_t i = 0; rest.length > 0; i++)
        lines[i] = take_line(&rest, &ending);
}

bool text_span_equal(struct text_span a, struct text_span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

/* Writes lines one after the other in the manner of the text they come from. */
struct line_writer {
    struct buffer *out;
    struct text_span newline; /* how a new line ends */
    bool unfinished;          /* the line written last has no ending yet */
    bool final_newline;       /* the result ends with one */
    size_t start;             /* where in `out` the result begins */
};

static struct line_writer writer_for(const char *bytes, size_t length, struct buffer *out)
{
    struct line_writer writer = {out, {"\n", 1}, false, true, out->length};
    if (length == 0)
        return writer;
    struct text_span rest = {bytes, length}, ending;
    take_line(&rest, &ending);
    if (ending.length > 0)
        writer.newline = ending;
    writer.final_newline = bytes[length - 1] == '\n';
    return writer;
}

static void write_ended(struct line_writer *writer, struct text_span line, struct text_span ending)
{
    if (writer->unfinished)
        buffer_append(writer->out, writer->newline.bytes, writer->newline.length);
    buffer_append(writer->out, line.bytes, line.length);
    buffer_append(writer->out, ending.bytes, ending.length);
    writer->unfinished = ending.length == 0;
}

static void write_new(struct line_writer *writer, struct text_span line)
{
    write_ended(writer, line, writer->newline);
}

static void write_finish(struct line_writer *writer)
{
    struct buffer *out = writer->out;
    if (writer->final_newline && writer->unfinished)
        buffer_append(out, writer->newline.bytes, writer->newline.length);
    if (writer->final_newline || writer->unfinished || out->length == writer->start)
        return;
    out->length--; /* the LF that write_ended put */
    if (out->length > writer->start && out->bytes[out->length - 1] == '\r')
        out->length--;
    out->bytes[out->length] = '\0';
}

/* The edit of lines while it runs. */
struct line_pass {
    const struct line_edit *edit;
    bool *present;     /* for each wanted line: the text has it, or it was written */
    bool *kept;        /* for each wanted line: its first occurrence went by */
    size_t last_match; /* the last line of the set, or NOT_WANTED */
    size_t next;       /* the first wanted line that may be missing */
};

static size_t find_wanted(const struct line_edit *edit, struct text_span line)
{
    for (size_t i = 0; i < edit->wanted_count; i++)
        if (text_span_equal(edit->wanted[i], line))
            return i; /* a repeated one is found at its first place only */
    return NOT_WANTED;
}

static void survey(struct line_pass *pass, const char *bytes, size_t length)
{
    const struct line_edit *edit = pass->edit;
    struct text_span rest = {bytes, length}, ending;
    for (size_t i = 0; i < edit->wanted_count; i++)
        pass->present[i] = find_wanted(edit, edit->wanted[i]) != i;
    for (size_t i = 0; rest.length > 0; i++) {
        size_t wanted = find_wanted(edit, take_line(&rest, &ending));
        if (wanted != NOT_WANTED)
            pass->present[wanted] = true;
        if (edit->matching != NULL && (wanted != NOT_WANTED || edit->matching[i]))
            pass->last_match = i;
    }
}

/* The next wanted line that the text lacks, in the order given. */
static bool next_missing(struct line_pass *pass, struct text_span *line)
{
    for (; pass->next < pass->edit->wanted_count; pass->next++) {
        if (pass->present[pass->next])
            continue;
        *line = pass->edit->wanted[pass->next++];
        return true;
    }
    return false;
}

static void write_missing(struct line_pass *pass, struct line_writer *writer)
{
    struct text_span line;
    while (next_missing(pass, &line))
        write_new(writer, line);
}

/* Writes, replaces or drops the line number `i`. */
static void pass_line(struct line_pass *pass, struct line_writer *writer, size_t i, struct text_span line,
                      struct text_span ending)
{
    bool matches = pass->edit->matching != NULL && pass->edit->matching[i];
    size_t wanted = find_wanted(pass->edit, line);
    if (wanted != NOT_WANTED) {
        if (!matches || !pass->kept[wanted])
            write_ended(writer, line, ending);
        pass->kept[wanted] = true;
        return;
    }
    if (!matches || next_missing(pass, &line))
        write_ended(writer, line, ending);
}

void edit_lines(const char *bytes, size_t length, const struct line_edit *edit, struct buffer *out)
{
    struct line_writer writer = writer_for(bytes, length, out);
    struct line_pass pass = {edit, allocate_zeroed(edit->wanted_count + 1, sizeof(bool)),
                             allocate_zeroed(edit->wanted_count + 1, sizeof(bool)), NOT_WANTED, 0};
    survey(&pass, bytes, length);
    struct text_span rest = {bytes, length}, ending;
    for (size_t i = 0; rest.length > 0; i++) {
        struct text_span line = take_line(&rest, &ending);
        if (pass.last_match == NOT_WANTED && i == edit->place)
            write_missing(&pass, &writer);
        pass_line(&pass, &writer, i, line, ending);
        if (i == pass.last_match)
            write_missing(&pass, &writer);
    }
    write_missing(&pass, &writer);
    write_finish(&writer);
    free(pass.present);
    free(pass.kept);
}

/* Where the block is: the lines of its markers, or NOT_WANTED twice. */
static enum block_result find_block(struct text_span rest, const struct block_edit *edit, size_t *first,
                                    size_t *last)
{
    struct text_span ending;
    *first = *last = NOT_WANTED;
    for (size_t i = 0; rest.length > 0; i++) {
        struct text_span line = take_line(&rest, &ending);
        if (text_span_equal(line, edit->begin)) {
            if (*first != NOT_WANTED)
                return *last == NOT_WANTED ? BLOCK_UNCLOSED : BLOCK_REPEATED;
            *first = i;
        } else if (text_span_equal(line, edit->end)) {
            if (*first == NOT_WANTED || *last != NOT_WANTED)
                return BLOCK_UNCLOSED;
            *last = i;
        }
    }
    return *first != NOT_WANTED && *last == NOT_WANTED ? BLOCK_UNCLOSED : BLOCK_EDITED;
}

static void write_block(struct line_writer *writer, const struct block_edit *edit)
{
    struct text_span rest = edit->content, ending;
    if (rest.length == 0)
        return;
    write_new(writer, edit->begin);
    while (rest.length > 0)
        write_new(writer, take_line(&rest, &ending));
    write_new(writer, edit->end);
}

enum block_result edit_block(const char *bytes, size_t length, const struct block_edit *edit,
                             struct buffer *out)
{
    size_t first, last;
    struct text_span rest = {bytes, length}, ending;
    if (find_block(edit->content, edit, &first, &last) != BLOCK_EDITED || first != NOT_WANTED)
        return BLOCK_NESTED;
    enum block_result result = find_block(rest, edit, &first, &last);
    if (result != BLOCK_EDITED)
        return result;
    struct line_writer writer = writer_for(bytes, length, out);
    bool is_new = first == NOT_WANTED;
    size_t place = is_new ? edit->place : first;
    bool written = false;
    for (size_t i = 0; rest.length > 0; i++) {
        struct text_span line = take_line(&rest, &ending);
        if (i == place) {
            write_block(&writer, edit);
            written = true;
        }
        if (is_new || i < first || i > last)
            write_ended(&writer, line, ending);
    }
    if (!written)
        write_block(&writer, edit);
    write_finish(&writer);
    return BLOCK_EDITED;
}
