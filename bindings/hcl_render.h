/* New text: values, members and blocks as they are written into a configuration. */
#ifndef MOONBOOK_HCL_RENDER_H
#define MOONBOOK_HCL_RENDER_H

#include "hcl_path.h"

/* A value in its own document. */
struct hcl_value {
    const struct hcl_document *document;
    uint32_t node;
};

struct hcl_pen {
    struct buffer *out;
    bool json;
    bool one_line;            /* nothing may begin a line */
    struct text_span newline; /* how lines end */
    struct text_span unit;    /* one level of indentation */
    struct buffer indent;     /* of the line that is being written; the caller frees it */
    bool aligned;             /* "=" stand below each other */
    const char *colon;        /* between name and value in JSON: ": " */
};

void hcl_render_value(struct hcl_pen *pen, struct hcl_value value);

/* The name of a member, quoted where it must be. */
void hcl_render_name(struct hcl_pen *pen, const char *bytes, size_t length);

/* What the steps of the path from `step` on say, with the value at their end: `reserved { cpu = 4 }`. In an object
 * (`in_object`: between the braces of a value, not of a block) and in JSON it has the form `reserved = { cpu = 4 }`.
 * `equals` is what stands between name and value of a plain attribute, NULL for " = ". */
void hcl_render_steps(struct hcl_pen *pen, const struct hcl_path *path, unsigned step, struct hcl_value value,
                      bool in_object, const char *equals);

/* Will hcl_render_steps write a block or an object, something that has lines of its own? */
bool hcl_renders_lines(const struct hcl_path *path, unsigned step, struct hcl_value value);

#endif
