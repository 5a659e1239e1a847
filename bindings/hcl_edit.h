/* Edits of a configuration by path. Each changes the lines that it must and no other byte.
 *
 * An edit is one or several splices of the text, which is parsed again after each: what an edit leaves behind can be
 * read, and says what was asked for. Where that fails the text is as it was before. */
#ifndef MOONBOOK_HCL_EDIT_H
#define MOONBOOK_HCL_EDIT_H

#include "hcl_path.h"
#include "hcl_render.h"

#include <stdbool.h>

struct hcl_editor {
    struct buffer text;
    struct buffer arena;
    struct hcl_document document;
    const char *op;          /* for failures; the caller's */
    struct failure *failure; /* where to say what is wrong; the caller's */
};

/* Takes a copy of the text and parses it. hcl_editor_close in every case: it wipes the memory. */
bool hcl_editor_open(struct hcl_editor *editor, const char *text, size_t length, struct hcl_fault *fault);
void hcl_editor_close(struct hcl_editor *editor);

/* The path has this value afterwards; nothing changes where it has an equal one. Missing blocks are made. An object
 * becomes the whole content of a block: what it does not name is removed. */
bool hcl_set(struct hcl_editor *editor, struct hcl_path *path, struct hcl_value value);

/* Nothing is at the path afterwards. */
bool hcl_remove(struct hcl_editor *editor, struct hcl_path *path);

/* One more block: the path's label steps at its end are the labels, `value` is an object. */
bool hcl_add_block(struct hcl_editor *editor, struct hcl_path *path, struct hcl_value value);

/* ---- for the editor's own parts ---- */

/* Replaces bytes of the text and parses it anew; false, with the text as it was, if it cannot be read then. */
bool hcl_splice(struct hcl_editor *editor, size_t begin, size_t end, const struct buffer *bytes);

/* Puts what the steps from `step` on say into a container (hcl_insert.c). */
bool hcl_insert(struct hcl_editor *editor, uint32_t container, const struct hcl_path *path, unsigned step,
                struct hcl_value value);

/* Puts an item into a list behind the item `after`, 0: as the first. */
bool hcl_insert_item(struct hcl_editor *editor, uint32_t list, uint32_t after, struct hcl_value value);

/* Takes a member or an item out (hcl_take.c). */
bool hcl_take(struct hcl_editor *editor, uint32_t node);

/* A pen that writes as the text at `at` is written. The indentation is that of its line. */
struct hcl_pen hcl_pen(const struct hcl_editor *editor, size_t at, struct buffer *out);

#endif
