/* The lock of a host: one run at a time changes it.
 *
 * A file there, STATE/moonbook/lock, says who: the process on that host that lives as long as the run's work there does (the
 * program itself; elsewhere the login's sshd). Where that process is no more the lock is free: no crash leaves one behind. */
#ifndef MOONBOOK_HOST_LOCK_H
#define MOONBOOK_HOST_LOCK_H

#include "host.h"

/* Takes the lock for the run of that name, unless this run has it; kept until the run's work there ends. "busy" names the run
 * that has it, whose it is, since when, and what to do. */
bool host_lock(struct host *host, const char *run, struct failure *failure);

/* For a transport, between its connection and a command: the lock of a former connection ended with that, so a change that has
 * begun under it takes it anew. "busy" where somebody else has it by now. */
bool host_lock_renew(struct host *host, struct failure *failure);

/* Gives it back before the run ends: a session that waits for its operator keeps nobody off. What cannot be done now
 * happens at the end of the process. */
void host_unlock(struct host *host);

#endif
