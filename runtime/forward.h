/* A forward: a Unix socket here, for curl, that leads to an address as a host sees it.
 *
 * It lies in a folder that only this user may enter, and takes connections of this very process only. The bytes of each go
 * through a channel of the host's connection (or, with the ssh program, through one `ssh -W`). */
#ifndef MOONBOOK_FORWARD_H
#define MOONBOOK_FORWARD_H

#include "buffer.h"
#include "failure.h"
#include "runtime.h"

#include <stdbool.h>

struct forward;

/* Called from the loop for each connection; owns the stream from then on. */
typedef void forward_accepted(void *owner, struct forward *forward, uv_stream_t *stream);

/* Listens. The forward is put in front of `*list`. NULL and a failure where it cannot. */
struct forward *forward_open(struct runtime *runtime, struct forward **list, const char *address, int port,
                             forward_accepted *accepted, void *owner, struct failure *failure);

/* The one of the list that leads there, or NULL. */
struct forward *forward_find(struct forward *list, const char *address, int port);

const char *forward_socket(const struct forward *forward);

/* Where it leads. */
const char *forward_address(const struct forward *forward);
int forward_port(const struct forward *forward);

/* A way there that was opened in advance, for the next connection; `discard` is for one that nobody takes. */
typedef void forward_discard(void *way);
void forward_offer(struct forward *forward, void *way, forward_discard *discard);
void *forward_take(struct forward *forward);

/* Was one ever offered: is it known that the address answers? */
bool forward_is_tried(const struct forward *forward);

/* Closes all of the list and removes their sockets. */
void forward_close_all(struct forward **list);

#endif
