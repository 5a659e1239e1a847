/* HTTP exchanges: one request, one answer, waited for in the fiber.
 *
 * libcurl's multi-socket interface runs on the runtime's loop. Its callbacks only note what came and wake the fiber;
 * a request that times out or is cancelled is taken out of curl before transfer_perform returns, so nothing late can
 * touch what the caller owns. Connections are kept and used again. Redirects are never followed here. */
#ifndef MOONBOOK_TRANSFER_H
#define MOONBOOK_TRANSFER_H

#include "buffer.h"
#include "failure.h"
#include "redact.h"
#include "runtime.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRANSFER_TIMEOUT_MS         60000
#define TRANSFER_CONNECT_TIMEOUT_MS 10000
#define TRANSFER_ANSWER_LIMIT       ((size_t)64 << 20)

struct transfer_header {
    const char *name;
    const char *value;
    bool secret; /* goes to the host it is meant for and to no other */
};

/* Where and how to connect. Strings belong to the caller; NULL = not given. */
struct transfer_target {
    const char *unix_socket; /* path; the URL's host is then a name only */
    const char *behind;      /* what the socket leads to, if to elsewhere: "127.0.0.1:4646 (as c2 sees it)" */
    const char *ca;          /* file with the authorities to trust instead of the system's */
    const char *ca_path;     /* folder of them */
    const char *cert;        /* client certificate and its key, PEM */
    const char *key;
    const char *server_name; /* the name that the certificate must have, where it is not the URL's host */
    const char *user;        /* HTTP basic authentication */
    const char *password;
    bool insecure; /* do not verify the server's certificate */
};

/* Start from TRANSFER_REQUEST: descriptors are -1 there. Strings and bytes belong to the caller and live until
 * transfer_perform returns. */
struct transfer_request {
    const char *op;     /* what is being done, for failures: "http.get http://..." */
    const char *method; /* "GET", "LIST", ... */
    const char *url;    /* http or https; escaped; sent as it is, ".." included */
    struct transfer_target target;
    const struct transfer_header *headers;
    size_t header_count;
    const char *body; /* NULL = none */
    size_t body_length;
    int body_file;       /* a regular file to send instead, from its beginning */
    int answer_file;     /* write the body of an answer below 300 there instead of to memory */
    size_t answer_limit; /* bytes of body that are accepted at most; 0 = TRANSFER_ANSWER_LIMIT. The body
                                  * of an error, a status from 300 that is not in `answers`, is cut at 1 MiB */
    uint64_t timeout_ms; /* for everything, retries included; 0 = TRANSFER_TIMEOUT_MS */
    uint64_t connect_timeout_ms; /* 0 = TRANSFER_CONNECT_TIMEOUT_MS */
    bool reads;                  /* changes nothing on the server: all else is refused under --check, here */
    bool once;          /* must not reach the server twice: curl may repeat a request on a connection that it
                            * found closed, so this one gets a new connection */
    unsigned retries;   /* of reads: after refused connections, 429 and 502-504 */
    const int *answers; /* statuses that are data, never retried; ends with 0; may be NULL */
};

#define TRANSFER_REQUEST                                                                                     \
    {                                                                                                        \
        .body_file = -1, .answer_file = -1                                                                   \
    }

struct transfer_answer {
    int status;
    struct buffer body;
    struct transfer_header *headers; /* as they came, trailers too, but names in lower case */
    size_t header_count;
};

/* Sends the request and waits for the whole answer. True when one came, whatever its status. False:
 *   "usage"       the URL or a header cannot be sent
 *   "unreachable" no answer: refused, cannot resolve, certificate does not verify, connection lost
 *   "timeout", "cancelled"
 *   "invalid"     the answer is not HTTP, contradicts itself, is encoded or larger than the limit
 * transfer_answer_free in every case; `answer` is overwritten. */
bool transfer_perform(struct runtime *runtime, const struct transfer_request *request,
                      struct transfer_answer *answer, struct failure *failure);

void transfer_answer_free(struct transfer_answer *answer);

/* The value of a header, by name in any case; NULL where the answer does not have it. */
const char *transfer_answer_header(const struct transfer_answer *answer, const char *name);

/* An answer that is read piece by piece, however long it is and however long it takes: logs, events. What the reader
 * does not take stays at the sender (back-pressure). */
struct transfer_stream;

/* Sends the request and waits for the head of the answer. NULL and a failure as transfer_perform's where none came, or
 * where timeout_ms, if it is not 0, went by. Nothing of the request is needed afterwards. Where the status is 300 or
 * higher, the whole answer is in transfer_stream_answer, and there is nothing to read. */
struct transfer_stream *transfer_stream_open(struct runtime *runtime, const struct transfer_request *request,
                                             struct failure *failure);
const struct transfer_answer *transfer_stream_answer(const struct transfer_stream *stream);

/* Moves the answer out of it: the caller frees it. */
struct transfer_answer transfer_stream_take_answer(struct transfer_stream *stream);

enum transfer_piece { TRANSFER_PIECE, TRANSFER_END, TRANSFER_FAILED };

/* Waits for more of the body and appends it to `out`. "timeout" when nothing came for `silence_ms` (0: waits on). */
enum transfer_piece transfer_stream_read(struct transfer_stream *stream, uint64_t silence_ms,
                                         struct buffer *out, struct failure *failure);

/* Ends it, wherever it is. NULL is fine. */
void transfer_stream_close(struct transfer_stream *stream);

/* A password in the URL is a secret from now on. */
void transfer_hide_password(struct redactor *redactor, const char *url);

/* Appends the URL as it may be shown: without user and password. What is no URL becomes "(not a URL)". */
void transfer_show_url(const char *url, struct buffer *out);

/* Closes all connections and releases curl. What still waits fails. Called by runtime_free, which runs the loop
 * once more afterwards so that libuv can close the handles. */
void transfers_free(struct runtime *runtime);

#endif
