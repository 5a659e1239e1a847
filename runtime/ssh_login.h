/* Logging in: the agent's keys, key files, a person's answers. */
#ifndef MOONBOOK_SSH_LOGIN_H
#define MOONBOOK_SSH_LOGIN_H

#include "failure.h"
#include "ssh_config.h"
#include "ssh_session.h"

#include <stdbool.h>

/* Passphrases that were asked for: once a run. All zeros is none. */
struct ssh_passphrases {
    struct ssh_passphrase *first;
    struct fiber_lock asking;
};

void ssh_passphrases_free(struct ssh_passphrases *passphrases);

/* Logs the settings' user in on a session whose host key was checked. Waits. On failure `elsewhere` tells that the ssh
 * program may know a way that libssh2 does not, and says which ("the RSA key ~/.ssh/id_rsa"); "" where there is none. A
 * person is asked for a password where there is none, or where it `stays` with libssh2. */
bool ssh_login(struct runtime *runtime, struct ssh_session *session, const struct ssh_settings *settings,
               struct ssh_passphrases *passphrases, bool stays, struct buffer *elsewhere,
               struct failure *failure);

/* Does libssh2 sign with RSA keys, and check RSA host keys, as today's servers want it? */
bool ssh_knows_rsa(void);

#endif
