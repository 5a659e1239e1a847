/* What the files of the systemd module share: one call, its units as they are or are predicted, acting on them. */
#ifndef MOONBOOK_SYSTEMD_UNIT_H
#define MOONBOOK_SYSTEMD_UNIT_H

#include "binding.h"
#include "change.h"
#include "host.h"
#include "scratch.h"
#include "systemd_show.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct unit {
    char name[UNIT_NAME_SIZE]; /* as asked for, with its type */
    struct unit_state state;
    bool predicted; /* an earlier step would have made the state what it is */
    bool started;   /* ... by starting it: what is really known of its process counts no more */
    bool needed;
    int action; /* the caller's */
    struct change change;
    bool made;        /* the change was made or predicted */
    int64_t since_us; /* what the journal says from then on matters; 0 = nothing was done */
};

/* One call of a function of the module. */
struct systemd {
    lua_State *L;
    struct runtime *runtime;
    struct host *host;
    struct scratch *scratch;
    const char *op;
    bool check;
    struct unit *units;
    size_t count;
    int64_t now_us; /* the host's clock when the units were looked at last */
    struct failure failure;
};

/* [-0, +1, v] Begins a call: the units are the positional arguments of the table at 1 (or a text there); leaves the
 * scratch on the stack. `options` are the names that the table may have. */
void systemd_open(lua_State *L, const char *op, const char *const *options, struct systemd *call);

/* [-0, +0, v] Raises call->failure with the call's op. */
int systemd_raise(struct systemd *call);

/* Asks systemd for the state of all units of the call, in one question. False and call->failure. */
bool systemd_ask(struct systemd *call);

/* [-0, +0, v] Asks, and sees what was predicted. */
void systemd_look(struct systemd *call);

/* [-0, +0, v] Raises "not-found" for a unit that does not exist, "invalid" for one that cannot be loaded; a masked one
 * too, unless `masked`. */
void systemd_require(struct systemd *call, const struct unit *unit, bool masked);

/* Runs `systemctl VERB UNIT`; `prepare` is shell text to run before, with the unit as $2, or NULL; a NULL verb: only that. */
bool systemd_act(struct systemd *call, const struct unit *unit, const char *prepare, const char *verb,
                 uint64_t timeout_ms);

/* [-0, +0, m] Predicts fields of a unit; NULL = as it is. `starts`: it reads its files anew, so those predicted by now
 * ask for no restart later. */
void systemd_predict(struct systemd *call, const struct unit *unit, const char *load, const char *active,
                     const char *enabled, bool starts);

/* [-0, +0, m] Is a file predicted whose prediction the unit's predicted start has not seen yet? */
bool systemd_unseen(struct systemd *call, const struct unit *unit, const char *path);

/* [-0, +0, m] Would an earlier step have changed the unit's file or a drop-in of it? */
bool systemd_unit_file_predicted(struct systemd *call, const struct unit *unit);

/* {"NAME":"VALUE"} pairs as JSON in the scratch; ends with a NULL name, a NULL value is left out. */
const char *systemd_json(struct systemd *call, const char *const (*pairs)[2]);

/* [-0, +1, m] What the state word returns: of one unit its state, of more {name=state}. Counts those unneeded. */
int systemd_result(struct systemd *call);

/* The unit's journal since then (host's clock), each line indented; "" when there is none. */
const char *systemd_journal(struct systemd *call, const struct unit *unit, int64_t since_us);

/* The Lua functions, each in its duty's file. */
int systemd_running(lua_State *L);
int systemd_stopped(lua_State *L);
int systemd_enabled(lua_State *L);
int systemd_disabled(lua_State *L);
int systemd_masked(lua_State *L);
int systemd_follow(lua_State *L);

#endif
