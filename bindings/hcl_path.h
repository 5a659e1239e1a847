/* Paths into a configuration: client.host_volume["name"].path, server.retry_join[2], service[1].port.
 *
 * .name      what has that name in a block, an object or the file
 * ["label"]  of a block with labels the one with that label; of an object or a block without, what has that name
 * [2]        the second of several of one name, in the order of the file, or of a list */
#ifndef MOONBOOK_HCL_PATH_H
#define MOONBOOK_HCL_PATH_H

#include "hcl_parse.h"

#include <stdbool.h>

#define HCL_STEPS_MOST 32

enum hcl_step_kind { HCL_STEP_NAME, HCL_STEP_LABEL, HCL_STEP_NUMBER };

struct hcl_step {
    enum hcl_step_kind kind;
    size_t begin, length; /* of the name or label in the path's `names` */
    unsigned number;      /* from 1 */
    size_t end;           /* how much of the path's source is read with this step */
};

struct hcl_path {
    const char *source; /* the caller's */
    struct buffer names;
    struct hcl_step steps[HCL_STEPS_MOST];
    unsigned count;
};

/* Reads a path; "usage" where it is none. hcl_path_free in every case. */
bool hcl_path_read(const char *source, size_t length, struct hcl_path *path, struct failure *failure);
void hcl_path_free(struct hcl_path *path);

static inline const char *hcl_step_text(const struct hcl_path *path, unsigned step)
{
    return buffer_text(&path->names) + path->steps[step].begin;
}

/* Appends ["label"] as a path has it. */
void hcl_path_label(const char *label, size_t length, struct buffer *out);

enum hcl_outcome {
    HCL_FOUND,     /* one thing, all of the path */
    HCL_SEVERAL,   /* more than one thing has the name, and the path does not say which */
    HCL_MISSING,   /* the container does not have what step `step` says */
    HCL_NO_NUMBER, /* there are less of them than the number in step `step` - 1 asks for */
    HCL_NO_BLOCK,  /* what the steps before `step` lead to cannot hold anything: it is a plain value */
};

/* Where a path leads. */
struct hcl_place {
    enum hcl_outcome outcome;
    uint32_t container; /* the root, object or list that was looked in last */
    uint32_t member;    /* FOUND: the member, or 0 for an item of a list; SEVERAL: the first of them */
    uint32_t value;     /* FOUND: its value; NO_BLOCK: the plain value */
    unsigned step;   /* the first step that was not taken; SEVERAL: the one behind the name and its labels */
    unsigned labels; /* how many labels of the member the path named */
    unsigned count;  /* SEVERAL, NO_NUMBER: how many there are */
};

struct hcl_place hcl_find(const struct hcl_document *document, const struct hcl_path *path);

/* The next member of `container` behind `after` (0: the first) with the name of step `name` and the labels of the
 * `labels` steps behind it; 0 where there is none. */
uint32_t hcl_find_next(const struct hcl_document *document, const struct hcl_path *path, uint32_t container,
                       uint32_t after, unsigned name, unsigned labels);

/* Why a place cannot be used: SEVERAL ("usage": how many, on which lines, how to pick one), NO_NUMBER, NO_BLOCK.
 * Returns false. */
bool hcl_refuse(const struct hcl_document *document, const struct hcl_path *path,
                const struct hcl_place *place, const char *op, struct failure *failure);

#endif
