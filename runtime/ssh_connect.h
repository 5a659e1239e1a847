/* From settings to a session on which commands can be run: the way there, the host key, the login. */
#ifndef MOONBOOK_SSH_CONNECT_H
#define MOONBOOK_SSH_CONNECT_H

#include "door.h"
#include "ssh_login.h"

#define SSH_LOGINS_MOST 8 /* at a time and server: sshd drops connections from the tenth on (MaxStartups) */

#define SSH_TRIES_MOST  6   /* where the server has no place: */
#define SSH_FIRST_PAUSE 200 /* ms, then twice as long each time */

struct ssh_journey {
    struct runtime *runtime;
    const struct ssh_settings *settings;
    struct ssh_session *via; /* the jump host's session, NULL = straight */
    struct door *door;       /* the server's: those who are not logged in yet */
    struct ssh_passphrases *passphrases;
    struct fiber_lock *noting; /* who adds to the known hosts: others look again */
    bool stays;                /* with libssh2: the operator wants it so */
    bool busy; /* after a failure: the jump host's connection was stuck, another one serves better */
    struct buffer elsewhere; /* after a failure: what the ssh program could do and libssh2 cannot, "" */
};

/* Connects, checks the host key, logs in; tries again where the server had no place for one more. NULL and a failure:
 *   "unreachable"  no way there, or it was closed
 *   "timeout"      silent
 *   "permission"   the login was refused; the host key is unknown, changed or revoked ("invalid") */
struct ssh_session *ssh_connect(struct ssh_journey *journey, struct failure *failure);

/* Waits for about `pause` ms, so that many do not come back at the same moment. WAIT_TIMEOUT: it is over. */
enum wait_outcome ssh_pause(struct runtime *runtime, uint64_t pause);

#endif
