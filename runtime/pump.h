/* Bytes between a local stream and a connection that a host makes to an address behind it: what forwards and jump hosts
 * are made of. Runs from callbacks alone, waits nowhere. */
#ifndef MOONBOOK_PUMP_H
#define MOONBOOK_PUMP_H

#include "ssh_session.h"

/* Starts one; it ends and releases itself, and the stream, when both sides have ended or the connection is lost. The stream
 * is owned from now on. `told` is called once with NULL when the connection stands, or with the reason why it does not;
 * it may be NULL, and `owner` too. NULL where the session is dead or stuck: then the stream is closed. */
typedef void pump_told(void *owner, const char *refusal);
struct pump *pump_start(struct ssh_session *session, const char *address, int port, uv_stream_t *stream,
                        pump_told *told, void *owner);

/* The same for a channel that is open already; it is owned from now on too. */
void pump_adopt(struct ssh_channel *channel, uv_stream_t *stream);

/* Nothing is told any more. */
void pump_forget(struct pump *pump);

#endif
