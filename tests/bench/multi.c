/* Purpose: the rival of reads by many fibers: libcurl's multi interface with TRANSFERS in flight over as many kept
 * connections; each body goes to memory and is not looked at. A handle that is done begins the next read.
 *   multi URL COUNT TRANSFERS */
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

static void add_handle(CURLM *multi, const char *url, struct body *body)
{
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, body);
    curl_multi_add_handle(multi, easy);
}

/* Ends the process where a read went wrong; else the handle reads again, if it is to. */
static void finish(CURLM *multi, const CURLMsg *message, int again)
{
    CURL *easy = message->easy_handle;
    CURLcode result = message->data.result;
    struct body *body = NULL;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&body);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK || status != 200 || body->length == 0) {
        fprintf(stderr, "multi: %s, status %ld\n", curl_easy_strerror(result), status);
        exit(1);
    }
    body->length = 0;
    curl_multi_remove_handle(multi, easy);
    if (again)
        curl_multi_add_handle(multi, easy);
    else
        curl_easy_cleanup(easy);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 64;
    long count = strtol(argv[2], NULL, 10), transfers = strtol(argv[3], NULL, 10), begun = 0, ended = 0;
    struct body *bodies = calloc((size_t)transfers, sizeof *bodies);
    CURLM *multi = curl_multi_init();
    if (!bodies || !multi)
        return 64;
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, transfers);
    for (; begun < transfers && begun < count; begun++)
        add_handle(multi, argv[1], &bodies[begun]);
    while (ended < count) {
        int running, left;
        CURLMsg *message;
        curl_multi_perform(multi, &running);
        for (; (message = curl_multi_info_read(multi, &left)); ended++) {
            finish(multi, message, begun < count);
            begun += begun < count;
        }
        if (ended < count)
            curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }
    curl_multi_cleanup(multi);
    free(bodies);
    return 0;
}
