/* OpenPGP public keys: armor and packets (RFC 4880, RFC 9580), no more than a package repository's key needs.
 *
 * Pure functions; the input may be hostile. Nothing is verified cryptographically here, apt does that: these
 * functions say which keys a text holds and who claims to have signed another. */
#ifndef MOONBOOK_OPENPGP_H
#define MOONBOOK_OPENPGP_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPENPGP_FINGERPRINT_SIZE 65 /* version 4 has 40 digits, 5 and 6 have 64; and the NUL */
#define OPENPGP_KEYS_LIMIT       256

struct openpgp_key {
    char fingerprint[OPENPGP_FINGERPRINT_SIZE]; /* upper case hexadecimal */
    uint64_t id;                                /* what signatures name */
    bool primary;                               /* not a subkey */
    int64_t created;                            /* seconds since 1970 */
    int64_t expires;                            /* by the key's own newest self-signature; 0 = never */
};

/* Does it look like ASCII armor? */
bool openpgp_is_armored(const char *bytes, size_t length);

/* Appends the binary packets of a public key to `binary`: of every public key block when the text is armored, else
 * the bytes as they are. False and a message when there is none or the armor is damaged. */
bool openpgp_dearmour(const char *bytes, size_t length, struct buffer *binary, char *error,
                      size_t error_size);

/* Lists the keys (primary ones and subkeys, in order) of a binary keyring. False and a message for anything but
 * well-formed public keys: a secret key, a keybox file, trailing garbage. */
bool openpgp_keys(const char *bytes, size_t length, struct openpgp_key *keys, size_t room, size_t *count,
                  char *error, size_t error_size);

/* Appends the keys whose primary fingerprint is one of `wanted` (NULL-terminated, in the form of openpgp_key) to `out`,
 * each with all that belongs to it. The input is one that openpgp_keys accepts. */
void openpgp_select(const char *bytes, size_t length, const char *const *wanted, struct buffer *out);

/* Key ids that claim to have signed a clear-signed text (InRelease). Returns how many, at most `room`. */
size_t openpgp_signers(const char *text, size_t length, uint64_t *ids, size_t room);

/* Brings a fingerprint as people write it (spaces, colons, 0x, lower case) into the form of openpgp_key. False when
 * it is not 40 or 64 hexadecimal digits. */
bool openpgp_fingerprint(const char *text, char out[OPENPGP_FINGERPRINT_SIZE]);

#endif
