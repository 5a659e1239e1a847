/* SHA-256 by OpenSSL's libcrypto. */
#include "digest.h"

#include <openssl/evp.h>
#include <stdio.h>

bool digest_sha256(const void *bytes, size_t length, char hex[DIGEST_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    hex[0] = '\0';
    /* libcrypto takes no NULL, not even for no bytes. */
    if (EVP_Digest(bytes != NULL ? bytes : "", length, digest, &size, EVP_sha256(), NULL) != 1)
        return false;
    for (unsigned int i = 0; i < size && 2 * i + 2 < DIGEST_SIZE; i++)
        snprintf(hex + 2 * (size_t)i, 3, "%02x", digest[i]);
    return true;
}
