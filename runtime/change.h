/* The gate: every change of anything passes here, and nowhere else is decided whether it is made.
 *
 *     struct change change = {.kind = "file.present", .target = path, .before = json, .after = json, ...};
 *     switch (change_begin(L, &change)) {
 *     case CHANGE_APPLY:   if (!do_it(&failure)) change_fail(L, &change, &failure);  // raises
 *                          break;
 *     case CHANGE_PREDICT: overlay_put(...); break;
 *     case CHANGE_DECLINE: break;
 *     }
 *     change_end(L, &change);
 *
 * Check mode, journal, --step, diff, counting and progress live behind these calls once. Between begin(APPLY)
 * and end/fail the fiber is shielded: an interrupt waits for the change to be whole. */
#ifndef MOONBOOK_CHANGE_H
#define MOONBOOK_CHANGE_H

#include "failure.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

enum change_decision { CHANGE_APPLY, CHANGE_PREDICT, CHANGE_DECLINE };
enum change_status { CHANGE_PENDING, CHANGE_CHANGED, CHANGE_PREDICTED, CHANGE_FAILED, CHANGE_DECLINED };

/* Strings belong to the caller and live until end or fail. No secret may be in them: contents of files that not
 * everybody may read go in as their SHA-256 (the redactor runs over them all the same). */
struct change {
    const char *kind;   /* the Lua name: "apt.installed" */
    const char *target; /* path, unit, package, URL */
    const char *before; /* JSON text of the state found, or NULL */
    const char *after;  /* JSON text of the state wanted, or NULL */
    const char *undo;   /* JSON text that says how to undo it, or NULL: it cannot be undone */
    const char *diff;   /* unified difference for people, or NULL */
    const char *hidden; /* why there is none although contents differ, or NULL */
    const char *keep;   /* a path whose content is copied to the undo folder before the change, or NULL */
    bool elsewhere; /* it is made by a server's API, not on the host: others may change things there too */
    bool inexact;   /* predicted from what only a real run can know */

    /* the gate's own */
    const char *host;
    const char *step;
    enum change_status status;
    unsigned number;
    uint64_t started_ms;
    uint64_t took_ms;
    bool shielded;
    char kept[256];    /* where `keep` was copied to, on the host */
    const char *error; /* of a failed one */
};

/* Announces a change: decides by --check and --step, keeps what was there, journals and syncs. Raises "cancelled"
 * after an interrupt, "failed" when the journal or the undo copy cannot be written: then nothing was touched. */
enum change_decision change_begin(lua_State *L, struct change *change);

/* The change was made, predicted or declined, by what begin decided. */
void change_end(lua_State *L, struct change *change);

/* The change failed: on the record. For those whose error is raised already. */
void change_failed(lua_State *L, struct change *change, const struct failure *failure);

/* The same, and raises it. */
int change_fail(lua_State *L, struct change *change, const struct failure *failure);

/* Counts a thing that was found as wanted. */
void change_unneeded(lua_State *L, const char *kind, const char *target);

/* [-0, +1, m] What a state word returns: {changed=, before=, after=}, decoded from the change's JSON. */
int change_push_result(lua_State *L, const struct change *change, bool changed);

#endif
