/* A configuration as a tree over its own text: HCL1, HCL2 and the JSON that stands for them.
 *
 * Nodes are spans of the text and indices of each other; they keep nothing of it, so that an edit is a splice of the
 * text and whatever it does not touch stays as it is, to the byte. A text whose first sign is "{" is JSON. */
#ifndef MOONBOOK_HCL_PARSE_H
#define MOONBOOK_HCL_PARSE_H

#include "buffer.h"
#include "failure.h"
#include "file_edit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HCL_LARGEST ((size_t)8 << 20) /* bytes of a text */

enum hcl_kind {
    HCL_ROOT,   /* the file: members */
    HCL_MEMBER, /* first: its keys; value: what it is */
    HCL_KEY,    /* a name or a label */
    HCL_OBJECT, /* { members } */
    HCL_LIST,   /* [ values ] */
    HCL_STRING,
    HCL_HEREDOC,
    HCL_NUMBER,
    HCL_BOOLEAN,
    HCL_NULL,
    HCL_EXPRESSION, /* what is kept as it is written: HCL2's references, calls, conditions, loops */
};

/* Indices; 0, which is the root, means none. */
struct hcl_node {
    enum hcl_kind kind;
    bool assigned;       /* of a member: with "=" or ":", no block */
    uint32_t begin, end; /* bytes of the text; an object's and a list's with their brackets */
    uint32_t parent, first, last, next, value;
    uint32_t sign; /* of an assigned member: where its "=" or ":" stands */
};

struct hcl_document {
    const char *text;
    size_t length;
    bool json;
    uint32_t root;        /* an HCL_ROOT; of JSON the HCL_OBJECT */
    struct buffer *arena; /* the nodes; the caller's */
    uint32_t count;
};

/* What is wrong with a text, and where. */
struct hcl_fault {
    size_t at;
    const char *wanted; /* what should have been there */
};

/* Parses a text, which stays the caller's and must live as long as the document. The nodes go into `arena`. */
bool hcl_parse(const char *text, size_t length, struct buffer *arena, struct hcl_document *document,
               struct hcl_fault *fault);

/* The same for one value: 4, "text", [ ... ], { ... }. The document's root is that value. */
bool hcl_parse_value(const char *text, size_t length, struct buffer *arena, struct hcl_document *document,
                     struct hcl_fault *fault);

static inline const struct hcl_node *hcl_at(const struct hcl_document *document, uint32_t index)
{
    return (const struct hcl_node *)(const void *)document->arena->bytes + index;
}

/* Line and column of a byte, both from 1; columns count characters. */
void hcl_position(const char *text, size_t at, size_t *line, size_t *column);

/* Puts a fault into words: line, column, what was wanted, what is there and, with `show`, the line itself with a caret
 * under the place. Kind "invalid". Returns false. */
bool hcl_explain(const char *text, size_t length, const struct hcl_fault *fault, bool show, const char *op,
                 struct failure *failure);

/* ---- for the parser's own parts ---- */

struct hcl_scan;

struct hcl_parser {
    struct hcl_scan *scan;
    struct hcl_document *document;
};

struct hcl_node *hcl_node(struct hcl_document *document, uint32_t index);
uint32_t hcl_add(struct hcl_parser *parser, enum hcl_kind kind, uint32_t parent);

/* JSON: a value, a child of `parent`; the index of the new node, 0 where it is wrong. */
uint32_t hcl_parse_json(struct hcl_parser *parser, uint32_t parent);

#endif
