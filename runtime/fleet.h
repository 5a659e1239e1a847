/* Fleets: one function on many hosts, so many at a time, in batches, until too many have failed. */
#ifndef MOONBOOK_FLEET_H
#define MOONBOOK_FLEET_H

#include "target.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define FLEET_FORKS 32 /* hosts at the same time, where nothing is said */

struct fleet_plan {
    size_t forks; /* hosts at the same time; 0 = FLEET_FORKS */
    size_t batch; /* the next so many begin when the last so many have ended; 0 = no batches */
    long
        most_failures; /* when more have failed, no further host is begun; -1 = all are begun, with batches: until all hosts
                           of one have failed */
};

struct fleet {
    struct fleet_plan plan;
    struct target *targets;
    size_t count;
    void *context;

    /* [-0, +(n + 1), v] Pushes what is to be called for the target of that index, and its n arguments; returns n. */
    int (*begin)(lua_State *L, void *context, size_t index);

    /* [-0, +0, e] The target has ended, its state says how; its results are on top, none where it failed. */
    void (*end)(lua_State *L, void *context, size_t index, int results);
};

/* Reads a batch: "5", or "25%" of the count, at least one. */
bool fleet_parse_batch(const char *text, size_t count, size_t *batch);

/* [-0, +0, v] Runs it; every host that was begun has ended when it returns or raises. How many failed. */
size_t fleet_run(lua_State *L, const struct fleet *fleet);

/* Appends why hosts were not begun: "2 hosts failed, --max-failures is 1". Nothing where all were. */
void fleet_explain(const struct fleet *fleet, struct buffer *why);

#endif
