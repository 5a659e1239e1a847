/* What the parts of transfer.c share: one attempt of an exchange, and the sockets that curl has open. */
#ifndef MOONBOOK_TRANSFER_ATTEMPT_H
#define MOONBOOK_TRANSFER_ATTEMPT_H

#include "fiber.h"
#include "transfer.h"

#include <curl/curl.h>
#include <stdint.h>

#define SPARE_HANDLES 16       /* easy handles kept for the next request */
#define TURN_NS       10000000 /* how long one connection may keep the loop busy, and about that much more */

/* A socket of curl's that libuv watches. A connection stays watched while it is kept for the next request: to stop and
 * begin again would be four system calls for each. */
struct watch {
    uv_poll_t poll;
    curl_socket_t socket;
    bool connection; /* opened by transfers_open_socket, closed by transfers_close_socket */
    int events;      /* what curl waits for; 0: nothing */
    int watched;     /* what libuv watches for */
    struct transfers *transfers;
};

struct transfers {
    struct runtime *runtime;
    CURLM *multi;
    uv_timer_t timer; /* curl's */
    uv_timer_t rest;  /* goes on with what rests */
    int open_timers;
    uint64_t turn_ends;     /* of what curl does now, by uv_hrtime */
    struct watch **watches; /* by socket; NULL where there is none */
    size_t watch_count;
    unsigned closed; /* connections, in all */
    struct transfer *active;
    CURL *spare[SPARE_HANDLES];
    unsigned spare_count;
};

/* One attempt. On the heap: what is left of it when the program ends is found through `active`. */
struct transfer {
    CURL *easy;
    struct transfers *transfers;
    struct fiber *fiber;
    const struct transfer_request *request;
    struct transfer_answer *answer;
    struct curl_slist *headers, *connect_to;
    CURLU *url; /* server_name may stand in the place of the host */
    size_t header_bytes, body_bytes, body_sent;
    size_t length;      /* that the head announced, where has_length */
    bool has_head;      /* the head of the final answer is whole */
    bool has_length;    /* it said a Content-Length */
    bool has_body;      /* a piece of it came */
    bool cut;           /* the body of an error was long enough */
    bool too_large;     /* the body passed the limit */
    bool resting;       /* its turn is over */
    bool connects_only; /* no answer is wanted */
    bool done;
    bool plain;                     /* its handle can be used again as it is */
    unsigned closed_before;         /* connections, when it began */
    const char *refusal;            /* what is wrong with the answer, or NULL */
    struct transfer_stream *stream; /* whose body it is, or NULL */
    int write_error;
    CURLcode result;
    char error[CURL_ERROR_SIZE];
    struct transfer *next, **link;
};

/* Who reads an answer piece by piece. It may outlive its transfer, when the program ends. */
struct transfer_stream {
    struct transfers *transfers;
    struct transfer *transfer; /* NULL: closed */
    struct transfer_request request;
    struct transfer_answer answer;
    struct buffer pending; /* what came and was not read yet */
    bool paused;
    uint64_t turn_ends; /* of the reader, by uv_hrtime; 0: it waited since */
};

/* Wakes the fiber that waits for it, if one does. */
void transfer_wake(const struct transfer *transfer);

/* Lets curl act on a socket and wakes whose exchange ended; callable from any fiber or callback of the loop. */
void transfers_drive(struct transfers *transfers, curl_socket_t socket, int events);

/* What curl opens and closes its connections with; `user` is the transfers. */
curl_socket_t transfers_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address);
int transfers_close_socket(void *user, curl_socket_t socket);

/* Ends the watch of every socket. */
void transfers_unwatch(struct transfers *transfers);

/* The runtime's transfers, made at the first request. */
struct transfers *transfers_of(struct runtime *runtime);

/* A part of a URL; curl_free it. NULL where it has none. */
char *transfer_url_part(CURLU *url, CURLUPart part);

/* The request's URL; NULL and a failure where it is none for http or https. */
CURLU *transfer_parse_url(const struct transfer_request *request, struct failure *failure);

/* Is the URL's host this machine by number or name (127.0.0.0/8, ::1, localhost)? */
bool transfer_is_loopback(CURLU *url);

/* "host:port" of a request, for messages. */
void transfer_show_peer(const struct transfer_request *request, char *out, size_t size);

/* Makes curl connect to the request's host but speak to server_name. */
void transfer_name_server(struct transfer *transfer);

/* The part of setting up that is for what comes. */
void transfer_set_up_receiving(struct transfer *transfer);

/* curl says that it ended. */
void transfer_end(struct transfer *transfer, CURLcode result);

/* Is the status data for the request, whatever its number? */
bool transfer_is_answer(const struct transfer_request *request, int status);

/* Transfers that rest go on when the loop came round. */
void transfers_rest(struct transfers *transfers);

/* A new attempt: curl is told all that the request asks for. NULL and a failure where that cannot be. */
struct transfer *transfer_new(struct transfers *transfers, const struct transfer_request *request,
                              struct transfer_answer *answer, struct failure *failure);

/* Takes it off the multi handle; no callback finds it afterwards. */
void transfer_free(struct transfers *transfers, struct transfer *transfer);

/* Waits until the attempt is done or the deadline (milliseconds of the clock) has passed. */
enum wait_outcome transfer_run(struct transfers *transfers, struct transfer *transfer, uint64_t deadline);

/* Describes a timeout. Returns false. */
bool transfer_fail_timeout(const struct transfer_request *request, bool connected, uint64_t waited_ms,
                           struct failure *failure);

/* Describes a stream that is quiet for too long. Returns false. */
bool transfer_fail_silence(const struct transfer_request *request, uint64_t silence_ms,
                           struct failure *failure);

/* Describes why the attempt ended without an answer, by the deadline (0: none) at the latest. Returns false. */
bool transfer_fail_result(const struct transfer *transfer, uint64_t waited_ms, uint64_t deadline,
                          struct failure *failure);

#endif
