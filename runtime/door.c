/* Doors. */
#include "door.h"

#include <stddef.h>

/* On the stack of the fiber that waits. */
struct door_waiter {
    struct fiber *fiber;
    bool in; /* the place was handed over, and this taken off the list */
    struct door_waiter *next;
};

enum wait_outcome door_enter(struct runtime *runtime, struct door *door, unsigned most)
{
    if (door->inside < most) {
        door->inside++;
        return WAIT_WOKEN;
    }
    struct door_waiter waiter = {.fiber = runtime->current}, **at = &door->first;
    while (*at)
        at = &(*at)->next;
    *at = &waiter;
    enum wait_outcome outcome = WAIT_WOKEN;
    while (!waiter.in && outcome == WAIT_WOKEN)
        outcome = fiber_suspend(runtime, FIBER_NO_TIMEOUT);
    if (waiter.in)
        return WAIT_WOKEN;
    for (at = &door->first; *at != &waiter; at = &(*at)->next)
        ;
    *at = waiter.next;
    return outcome;
}

void door_leave(struct door *door)
{
    struct door_waiter *next = door->first;
    if (!next) {
        door->inside--;
        return;
    }
    door->first = next->next;
    next->in = true;
    fiber_wake(next->fiber);
}
