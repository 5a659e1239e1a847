/* The SSH agent (draft-miller-ssh-agent): which keys it has, signatures by them. libssh2's own client blocks the process
 * while a person is asked to touch or confirm. */
#ifndef MOONBOOK_SSH_AGENT_H
#define MOONBOOK_SSH_AGENT_H

#include "buffer.h"
#include "failure.h"
#include "runtime.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssh_agent;

struct ssh_agent_key {
    unsigned char *blob;
    size_t length;
    char type[48];
    char *comment;
};

/* Connects. NULL and a failure where there is none. Waits. */
struct ssh_agent *ssh_agent_open(struct runtime *runtime, const char *path, struct failure *failure);
void ssh_agent_close(struct ssh_agent *agent);

/* The keys; they belong to the agent object. */
bool ssh_agent_list(struct ssh_agent *agent, const struct ssh_agent_key **keys, size_t *count,
                    struct failure *failure);

/* The signature of the bytes, without the name of its format. Waits for as long as a person takes to confirm, up to
 * `until`. */
bool ssh_agent_sign(struct ssh_agent *agent, const struct ssh_agent_key *key, const unsigned char *bytes,
                    size_t length, uint64_t until, struct buffer *signature, struct failure *failure);

#endif
