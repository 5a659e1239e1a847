/* Objects of an API, compared field by field as the server would store them, for present and absent.
 *
 * `wanted` is what a script says, `found` what the server answers. Only the fields that are named in `wanted` count, at
 * every depth; a field that is null in `wanted` shall not be there. Nothing, null, "", 0, false and an empty list are
 * one, because Go's servers leave out what is empty. */
#ifndef MOONBOOK_FIELDS_H
#define MOONBOOK_FIELDS_H

#include "buffer.h"

#include <lua.h>
#include <stdbool.h>

/* What a field holds. Fields without a type are compared as JSON is. */
enum field_type {
    FIELD_PLAIN,
    FIELD_SECONDS,     /* a duration; the server keeps a number of seconds */
    FIELD_NANOSECONDS, /* a duration; the server keeps a number of nanoseconds, and so are numbers of scripts */
    FIELD_DURATION,    /* a duration; the server keeps text as Go writes it, "1m30s" */
    FIELD_SET,         /* a list whose order has no meaning */
    FIELD_LINKS,       /* a set of {ID=, Name=}; a text is a Name */
    FIELD_NAMED,       /* a list of objects that are told apart by Name */
    FIELD_VERBATIM,    /* whatever is in it is compared as it is: texts of people, keys of theirs */
    FIELD_UNREADABLE, /* the server takes it and never gives it back */
};

/* How the objects of one kind are compared. */
struct fields {
    const char *types; /* "TTL:duration,Tags:set": by the name of the field, at any depth */
    bool sets;         /* lists without a type are sets */
    bool secret;       /* all that is in them is: it is compared and sent, and never shown */
    bool weak;         /* the server takes texts for numbers, and "a,b" for lists */
};

/* The type that the list says for a name; FIELD_PLAIN, or FIELD_SET where lists are, when it says nothing. */
enum field_type fields_type(const struct fields *fields, const char *name);

/* [-0, +0, v] Does the server hold what is wanted, in a field of this type (FIELD_PLAIN for a whole object)? An unknown
 * value equals nothing. */
bool fields_equal(lua_State *L, const struct fields *fields, enum field_type type, int wanted, int found);

/* [-0, +0, v] The same for an element of a list of this type. */
bool fields_equal_element(lua_State *L, const struct fields *fields, enum field_type type, int wanted,
                          int found);

/* [-0, +1, v] What to send: `wanted` with durations in the form that every version takes. */
void fields_push_sent(lua_State *L, const struct fields *fields, enum field_type type, int wanted, int found);

/* [-0, +1, v] The same laid over a copy of `found`: for servers that replace the whole object. */
void fields_push_merged(lua_State *L, const struct fields *fields, int wanted, int found);

/* The difference by field, for people ("-token_period: 0\n+token_period: 86400 (1 d)\n") and as JSON objects of the
 * fields that differ. Secrets are in none of them, nor what was there in the place of one. */
struct fields_difference {
    struct buffer lines;
    struct buffer before, after; /* JSON; empty where there is nothing */
    bool hidden;                 /* `before` does not say all that there was: a secret, bytes */
    struct buffer path;          /* of the field that is being described */
};

/* [-0, +0, v] `found` may be nil. The caller frees the buffers, also when it raises. */
void fields_describe(lua_State *L, const struct fields *fields, int wanted, int found,
                     struct fields_difference *difference);

/* Wipes and releases its buffers. */
void fields_difference_free(struct fields_difference *difference);

/* [-0, +1, v] JSON text of the value with secrets and unknown values as "<secret>" and "<unknown>". `fields` may be NULL. */
void fields_push_shown(lua_State *L, const struct fields *fields, int index);

/* [-0, +1, v] A deep copy of a decoded value. Raises where it is deeper than JSON may be, or has no end. */
void fields_push_copy(lua_State *L, int index);

/* Is it nil or null? */
bool fields_is_nothing(lua_State *L, int index);

/* Is there something in it that is not written down: a secret, bytes that JSON cannot hold? */
bool fields_has_unwritable(lua_State *L, int index);

/* Is there a secret in it? */
bool fields_has_secret(lua_State *L, int index);

/* [-0, +1, v] The elements of a set of plain values as keys of a table. False, and nil, where it is none. */
bool fields_push_members(lua_State *L, const struct fields *fields, enum field_type type, int list);

/* Nothing, or empty as Go has it. */
bool fields_is_empty(lua_State *L, int index);

#endif
