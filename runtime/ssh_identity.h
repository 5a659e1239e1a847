/* Files of private keys, as far as can be told without their passphrase. */
#ifndef MOONBOOK_SSH_IDENTITY_H
#define MOONBOOK_SSH_IDENTITY_H

#include "buffer.h"
#include "runtime.h"

#include <stdbool.h>

struct ssh_identity {
    const char *path;
    bool exists;     /* the private key; else perhaps only its public part: the agent may have it */
    bool has_public; /* PATH.pub is there */
    bool encrypted;
    char type[48];      /* "ssh-ed25519", "" unknown */
    struct buffer blob; /* the public key; empty where it cannot be told */
};

/* Looks at the file and at its .pub. `path` is kept. */
void ssh_identity_look(struct runtime *runtime, const char *path, struct ssh_identity *identity);
void ssh_identity_free(struct ssh_identity *identity);

/* The same for the text of a private key file. */
void ssh_identity_parse(const char *text, size_t length, struct ssh_identity *identity);

#endif
