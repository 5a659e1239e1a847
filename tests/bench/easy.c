/* Purpose: the rival of reads one after the other: libcurl's easy interface, one handle, one kept connection; each body
 * goes to memory and is not looked at.
 *   easy URL COUNT */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct body {
    char bytes[65536];
    size_t length;
};

static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    struct body *body = user;
    size_t length = size * count;
    if (length > sizeof body->bytes - body->length)
        return 0;
    memcpy(body->bytes + body->length, bytes, length);
    body->length += length;
    return length;
}

int main(int argc, char **argv)
{
    static struct body body;
    CURL *easy = curl_easy_init();
    if (argc != 3 || !easy)
        return 64;
    curl_easy_setopt(easy, CURLOPT_URL, argv[1]);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body);
    for (long left = strtol(argv[2], NULL, 10); left > 0; left--) {
        long status = 0;
        body.length = 0;
        CURLcode result = curl_easy_perform(easy);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        if (result != CURLE_OK || status != 200 || body.length == 0) {
            fprintf(stderr, "easy: %s, status %ld\n", curl_easy_strerror(result), status);
            return 1;
        }
    }
    curl_easy_cleanup(easy);
    return 0;
}
