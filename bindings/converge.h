/* present and absent for what a cluster's servers hold: look, compare as the server would store it, write only what
 * differs, look again.
 *
 *     consul.present("acl policy", "ci", {Rules = "..."})   ->  {changed=, before=, after=}
 *
 * This file knows no kind of thing; consul_kinds.c and its neighbours say for each how it is read, written and removed,
 * by the endpoints of the product's table. */
#ifndef MOONBOOK_CONVERGE_H
#define MOONBOOK_CONVERGE_H

#include "api.h"
#include "change.h"
#include "fields.h"
#include "json.h"

#include <lua.h>
#include <stdbool.h>

#define CONVERGE_PREDICTIONS                                                                                 \
    "convergence" /* what would be there, in the overlay: "vault ADDRESS sys/mounts/kv" */
#define CONVERGE_MADE "convergence (made)" /* which of them no server has yet */

struct convergence;

/* A kind of thing. Functions get the convergence under way and find its values at its stack indexes. */
struct converge_kind {
    const char *name;        /* "acl policy"; scripts may write "-" or "_" for the blank */
    const char *about;       /* one line: what it is called by, what the data are */
    const char *types;       /* of its fields (fields.h) */
    const char *given;       /* fields that the server fills in: never sent back, "ID,CreateIndex"; or NULL */
    const char *group, *row; /* the endpoint whose body lists all its fields, or NULL: it may have any */
    /* [-0, +1, v] Pushes what is there, shaped like `wanted`, or nil; notes what write and remove need. */
    void (*look)(struct convergence *c);
    /* [-0, +0, v] Sends the object at c->sent. */
    void (*write)(struct convergence *c);
    /* [-0, +0, v] NULL: it cannot be absent. */
    void (*remove)(struct convergence *c);
    /* [-0, +0, v] Refuses data that can never be right, before anything is asked; or NULL. */
    void (*check)(struct convergence *c);
    /* [-0, +0, v] Settles types that only the server knows, what was found being known; or NULL. */
    void (*settle)(struct convergence *c);
    /* [-1, +1, m] Of the object on top: what the read at the same URL would answer; NULL: nobody can say. */
    void (*answer)(struct convergence *c);
    /* [-0, +0, -] Appends the JSON that says how a change is undone, in place of the usual; or NULL. */
    void (*undo)(struct convergence *c, struct json_text *json, bool removed);
    /* [-0, +0, v] Asks the server itself whether the object at `found` is what is wanted, where the fields differ; or
     * NULL. */
    bool (*same)(struct convergence *c, int found);
    const char *text; /* data that are text (or a secret) are this field; or NULL: a table is wanted */
    bool secret;      /* its data are secret, also where a script gives them as plain text */
    bool single;      /* there is one: it has no name */
};

struct convergence {
    lua_State *L;
    const struct api_product *product;
    const struct converge_kind *kind;
    struct fields fields;
    const char *verb;  /* "consul.present" */
    char op[600];      /* with what it is about, for errors */
    const char *name;  /* of the thing */
    char target[512];  /* for people: "acl policy ci" */
    int client;        /* stack indexes: the client's userdata, */
    int wanted;        /* the data, */
    int create;        /* what is sent in addition when it is made, or 0, */
    int found;         /* what is there, */
    int sent;          /* what goes out, */
    int options;       /* and the options table, or 0 */
    lua_Integer index; /* for compare-and-set; 0 = it is not there */
    char id[256];      /* of the thing, where the server gives it one */
    bool keeps;        /* a write leaves the fields alone that it does not name: only `wanted` is sent */
    int shape;         /* the kind's own: which of several ways it is, */
    char mount[256];   /* and where its engine is */
    bool verifies;     /* this look is the one after a write */
    struct api_passage passage; /* where it was read, */
    bool listed; /* in a list of others: what is predicted of one is not what the list would be */
    struct buffer types, undo;
    struct buffer account;                     /* the server's own difference, shown in place of ours */
    struct fields_difference difference, left; /* before the write, and what is left behind it */
    struct change change;
    bool predicted; /* what was found is what an earlier step of this check would have left */
    bool unmade;    /* it is in something that only an earlier step of this check would have made */
    bool unknown;   /* its name is something that only a real run can know */
    bool pending;   /* the change was begun and has not ended */
};

/* The Lua functions: present([kind,] name, data [, options]) and absent([kind,] name [, options]). A product whose
 * only kind has no name takes no kind. Upvalue 1: the client, none = the default one. */
int converge_present(lua_State *L, const struct api_product *product);
int converge_absent(lua_State *L, const struct api_product *product);

/* [-arguments, +2, v] Calls an endpoint of the product by its names; a change is sent without another passage of the
 * gate. */
void converge_call(struct convergence *c, const char *group, const char *name, int arguments);

/* [-arguments, +(1|0), v] The same where the server may refuse: pushes the answer, or nothing and returns false for an
 * error that it answered. */
bool converge_try(struct convergence *c, const char *group, const char *name, int arguments);

/* [-arguments, +1, v] The same for a change whose answer must be true: false means that somebody was faster. */
void converge_swap(struct convergence *c, const char *group, const char *name, int arguments);

/* [-0, +1, m] "vault ADDRESS": names what is predicted of a server, and of a namespace of it. */
const char *converge_push_server(struct convergence *c);

/* [-1, +1, -] Replaces the list on top by its element whose `field` is the text, or by nil. */
void converge_pick(lua_State *L, const char *field, const char *text);

/* [-0, +0, -] Copies the text field of the table at `index`; false where it has none. */
bool converge_text(lua_State *L, int index, const char *field, char *out, size_t size);

/* [-0, +0, -] The integer field of the table at `index`, 0 where it has none. */
lua_Integer converge_integer(lua_State *L, int index, const char *field);

/* Appends the usual way back: the fields as they were, or the thing gone again. Nothing where something in them is not
 * written down: then it cannot be undone. */
void converge_undo(struct convergence *c, struct json_text *json);

/* [-0, +0, v] Raises "failed": the thing changed between look and write. */
int converge_conflict(struct convergence *c);

/* [-0, +0, v] Raises for the data, with the usual head. */
int converge_refuse(struct convergence *c, const char *hint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
