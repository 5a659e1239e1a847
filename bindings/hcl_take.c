/* Taking members and items out, with what stands around them. */
#include "hcl_edit.h"
#include "hcl_layout.h"

#include <string.h>

/* JSON has no comma behind the last element. */
static bool must_cut_comma(const struct hcl_document *document, uint32_t node, uint32_t previous)
{
    return document->json && hcl_at(document, node)->next == 0 && previous != 0;
}

/* Does nothing but the end, an empty line or a closing brace come at `at`? */
static bool ends_or_blank(const struct hcl_document *document, size_t at)
{
    at += strspn(document->text + at, " \t\r");
    return at >= document->length || document->text[at] == '\n' || document->text[at] == '}';
}

/* It has its lines for itself: they go. */
static bool take_lines(struct hcl_editor *editor, uint32_t node, const struct hcl_lines *lines)
{
    const struct hcl_document *document = &editor->document;
    size_t begin = lines->begin, end = lines->next, blank;
    uint32_t previous = hcl_before(document, node);
    struct buffer kept = {0};
    if (hcl_has_lines(document, node) && hcl_blank_before(document, begin, &blank) &&
        ends_or_blank(document, end))
        begin = blank; /* of the two empty lines around a block one is left */
    bool unended = end == document->length && (end == 0 || document->text[end - 1] != '\n');
    if (unended && begin > 0 && document->text[begin - 1] == '\n') {
        begin--;
        begin -= begin > 0 && document->text[begin - 1] == '\r';
    }
    if (must_cut_comma(document, node, previous)) {
        size_t comma = hcl_lines(document, previous).comma;
        buffer_append(&kept, document->text + comma + 1, begin - comma - 1);
        begin = comma;
    }
    bool done = hcl_splice(editor, begin, end, &kept);
    buffer_wipe(&kept);
    return done;
}

/* It shares its line: it goes with one of the commas beside it, and with the blanks of its own. */
static bool take_part(struct hcl_editor *editor, uint32_t node, const struct hcl_lines *lines)
{
    const struct hcl_document *document = &editor->document;
    const struct hcl_node *at = hcl_at(document, node);
    uint32_t previous = hcl_before(document, node);
    size_t begin = at->begin, end = lines->comma != 0 ? lines->comma + 1 : at->end;
    struct buffer kept = {0};
    size_t comma = previous != 0 ? hcl_lines(document, previous).comma : 0;
    if (at->next == 0 && comma != 0 && lines->comma == 0) {
        /* The comma before it, but no comment behind that. */
        buffer_append(&kept, document->text + comma + 1, begin - comma - 1);
        while (kept.length > 0 && (kept.bytes[kept.length - 1] == ' ' || kept.bytes[kept.length - 1] == '\t'))
            kept.length--;
        begin = comma;
    } else {
        while (end < document->length && (document->text[end] == ' ' || document->text[end] == '\t'))
            end++;
        /* At the end of a line the blanks that were before it would be left there. */
        while (lines->ends_line && !lines->starts_line && lines->rest == end && begin > 0 &&
               (document->text[begin - 1] == ' ' || document->text[begin - 1] == '\t'))
            begin--;
    }
    bool done = hcl_splice(editor, begin, end, &kept);
    buffer_wipe(&kept);
    return done;
}

bool hcl_take(struct hcl_editor *editor, uint32_t node)
{
    struct hcl_lines lines = hcl_lines(&editor->document, node);
    if (lines.starts_line && lines.ends_line)
        return take_lines(editor, node, &lines);
    return take_part(editor, node, &lines);
}
