/* A door that lets so many fibers in at a time, first come first served. All zeros is an empty place. */
#ifndef MOONBOOK_DOOR_H
#define MOONBOOK_DOOR_H

#include "fiber.h"

struct door {
    unsigned inside;
    struct door_waiter *first; /* they wait for a place */
};

/* Waits until fewer than `most` are inside. Anything but WAIT_WOKEN means that one did not get in. */
enum wait_outcome door_enter(struct runtime *runtime, struct door *door, unsigned most);
void door_leave(struct door *door);

#endif
