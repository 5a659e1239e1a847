/* Known host keys, as sshd(8) describes the file. Our own reader: libssh2's stops at the first line that it does not
 * understand, and passes over @revoked, @cert-authority and patterns. */
#ifndef MOONBOOK_SSH_KNOWN_HOSTS_H
#define MOONBOOK_SSH_KNOWN_HOSTS_H

#include "buffer.h"
#include "failure.h"
#include "runtime.h"
#include "ssh_config.h"

#include <stdbool.h>
#include <stddef.h>

struct ssh_known_key {
    char type[48];       /* "ssh-ed25519" */
    unsigned char *blob; /* the public key */
    size_t length;
    enum { SSH_KEY_HOST, SSH_KEY_AUTHORITY, SSH_KEY_REVOKED } what;
};

/* The keys on record for one host. All zeros is none. */
struct ssh_known_keys {
    struct ssh_known_key *items;
    size_t count;
    bool of_other_port; /* they are those of the plain name: another one here may be another machine's */
};

/* Appends the keys that the text of a file has for `name`, with a port other than 22 as "[name]:port" (port 0: the plain
 * name). Lines that are not understood are passed over. */
void ssh_known_keys_parse(const char *text, const char *name, int port, struct ssh_known_keys *keys);

/* Appends those of all the files of the settings; a file that is not there is empty. False for one that cannot be read. */
bool ssh_known_keys_read(struct runtime *runtime, const struct ssh_settings *settings,
                         struct ssh_known_keys *keys, struct failure *failure);

void ssh_known_keys_free(struct ssh_known_keys *keys);

/* Is a key of that type and kind on record? NULL: any type. */
bool ssh_known_keys_have(const struct ssh_known_keys *keys, int what, const char *type);

enum ssh_verdict {
    SSH_KEY_KNOWN,
    SSH_KEY_UNKNOWN, /* nothing is on record */
    SSH_KEY_CHANGED, /* other keys are, of this type or of others */
    SSH_KEY_IS_REVOKED,
};

enum ssh_verdict ssh_known_keys_judge(const struct ssh_known_keys *keys, const unsigned char *blob,
                                      size_t length);

/* The type that a public key begins with; "" where it is none. */
void ssh_key_type(const unsigned char *blob, size_t length, char *type, size_t size);

/* Appends "SHA256:..." as ssh-keygen shows it. */
void ssh_fingerprint(const unsigned char *blob, size_t length, struct buffer *out);

/* Appends base64 to a buffer; decodes it: false where it is none. */
void ssh_base64(const unsigned char *bytes, size_t length, struct buffer *out);
bool ssh_base64_decode(const char *text, size_t length, struct buffer *out);

/* Notes the key in the user's first file, hashed where the configuration says so. */
bool ssh_known_keys_add(const struct ssh_settings *settings, const unsigned char *blob, size_t length,
                        struct failure *failure);

#endif
