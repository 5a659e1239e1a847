/* The loop's side of HTTP: curl's sockets and its timer, watched by libuv. Callbacks only queue. */
#include "transfer_attempt.h"

#include "fiber.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEPT_CONNECTIONS   256
#define CONNECTIONS_A_HOST 128 /* Consul refuses a client's 201st */

void transfer_wake(const struct transfer *transfer)
{
    if (transfer->fiber) /* nobody waits for a stream between two reads */
        fiber_wake(transfer->fiber);
}

/* Which requests ended? Wakes their fibers; no more, for this runs inside callbacks of the loop. */
static void collect_ended(struct transfers *transfers)
{
    int left;
    const CURLMsg *message;
    while ((message = curl_multi_info_read(transfers->multi, &left))) {
        struct transfer *transfer = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        transfer_end(transfer, message->data.result);
        transfer_wake(transfer);
    }
}

void transfers_drive(struct transfers *transfers, curl_socket_t socket, int events)
{
    int running;
    transfers->turn_ends = uv_hrtime() + TURN_NS;
    curl_multi_socket_action(transfers->multi, socket, events, &running);
    collect_ended(transfers);
}

static void on_ready(uv_poll_t *poll, int status, int events);

/* Makes libuv watch for what curl waits for. 0 where it does. */
static int follow(struct watch *watch)
{
    if (watch->watched == watch->events)
        return 0;
    watch->watched = watch->events;
    return watch->events ? uv_poll_start(&watch->poll, watch->events, on_ready) : uv_poll_stop(&watch->poll);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    int flags = 0;
    if (!watch->events) {
        follow(watch); /* the server ended a kept connection: curl sees it when it takes it again */
        return;
    }
    if (status < 0) { /* libuv has stopped to watch; curl finds the error by reading and writing */
        watch->watched = 0;
        flags = CURL_CSELECT_IN | CURL_CSELECT_OUT;
    }
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    transfers_drive(watch->transfers, watch->socket,
                    flags); /* may close the watch; its memory goes in the next round */
    if (status < 0 && !uv_is_closing((uv_handle_t *)poll))
        follow(watch);
}

static void on_timeout(uv_timer_t *timer)
{
    transfers_drive(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* Goes on with what rests. What curl kept meanwhile may fail here: curl tells nobody else. */
static void on_rested(uv_timer_t *timer)
{
    struct transfers *transfers = timer->data;
    transfers->turn_ends = uv_hrtime() + TURN_NS;
    for (struct transfer *transfer = transfers->active; transfer; transfer = transfer->next) {
        if (!transfer->resting || transfer->done)
            continue;
        transfer->resting = false;
        CURLcode result = curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
        if (result != CURLE_OK) {
            transfer_end(transfer, result);
            transfer_wake(transfer);
        }
    }
    transfers_drive(transfers, CURL_SOCKET_TIMEOUT, 0);
}

void transfers_rest(struct transfers *transfers)
{
    if (!uv_is_closing((uv_handle_t *)&transfers->rest))
        uv_timer_start(&transfers->rest, on_rested, 1, 0); /* with 0 libuv would not leave its timers */
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static struct watch *watch_of(const struct transfers *transfers, curl_socket_t socket)
{
    return (size_t)socket < transfers->watch_count ? transfers->watches[socket] : NULL;
}

static struct watch *watch_open(struct transfers *transfers, curl_socket_t socket)
{
    struct watch *watch = allocate_zeroed(1, sizeof *watch);
    if (uv_poll_init_socket(&transfers->runtime->loop, &watch->poll, socket) != 0) {
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->socket = socket;
    watch->transfers = transfers;
    size_t count = transfers->watch_count;
    if ((size_t)socket >= count) {
        transfers->watch_count = (size_t)socket + 1;
        transfers->watches =
            reallocate(transfers->watches, transfers->watch_count * sizeof *transfers->watches);
        memset(transfers->watches + count, 0, (transfers->watch_count - count) * sizeof *transfers->watches);
    }
    transfers->watches[socket] = watch;
    return watch;
}

static void watch_close(struct transfers *transfers, curl_socket_t socket)
{
    struct watch *watch = watch_of(transfers, socket);
    if (!watch)
        return;
    transfers->watches[socket] = NULL;
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

curl_socket_t transfers_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfers *transfers = user;
    (void)purpose;
    /* Children of the program must not inherit connections. */
    curl_socket_t opened = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    struct watch *watch = opened >= 0 ? watch_open(transfers, opened) : NULL;
    if (watch)
        watch->connection = true;
    return opened;
}

int transfers_close_socket(void *user, curl_socket_t socket)
{
    struct transfers *transfers = user;
    transfers->closed++;
    watch_close(transfers, socket);
    return close(socket);
}

/* curl says which sockets it waits for. This comes during curl_multi_cleanup too. */
static int on_socket(CURL *easy, curl_socket_t socket, int what, void *user, void *assigned)
{
    struct transfers *transfers = user;
    struct watch *watch = watch_of(transfers, socket);
    (void)easy;
    (void)assigned;
    if (what == CURL_POLL_REMOVE) {
        if (watch && watch->connection)
            watch->events = 0;
        else
            watch_close(transfers, socket);
        return 0;
    }
    if (!watch && !(watch = watch_open(transfers, socket)))
        return -1;
    watch->events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return follow(watch) == 0 ? 0 : -1;
}

static int on_timer(CURLM *multi, long ms, void *user)
{
    struct transfers *transfers = user;
    (void)multi;
    if (uv_is_closing((uv_handle_t *)&transfers->timer))
        return 0;
    if (ms < 0)
        uv_timer_stop(&transfers->timer);
    else
        uv_timer_start(&transfers->timer, on_timeout, (uint64_t)ms, 0);
    return 0;
}

/* The first request makes all this: a run without HTTP does not pay for it. */
struct transfers *transfers_of(struct runtime *runtime)
{
    if (runtime->transfers)
        return runtime->transfers;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return NULL;
    struct transfers *transfers = allocate_zeroed(1, sizeof *transfers);
    transfers->runtime = runtime;
    transfers->multi = curl_multi_init();
    if (!transfers->multi) {
        curl_multi_cleanup(transfers->multi);
        free(transfers);
        curl_global_cleanup();
        return NULL;
    }
    uv_timer_init(&runtime->loop, &transfers->timer); /* they cannot fail */
    uv_timer_init(&runtime->loop, &transfers->rest);
    transfers->timer.data = transfers->rest.data = transfers;
    transfers->open_timers = 2;
    curl_multi_setopt(transfers->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(transfers->multi, CURLMOPT_SOCKETDATA, transfers);
    curl_multi_setopt(transfers->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(transfers->multi, CURLMOPT_TIMERDATA, transfers);
    curl_multi_setopt(transfers->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
    curl_multi_setopt(transfers->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)CONNECTIONS_A_HOST);
    runtime->transfers = transfers;
    return transfers;
}

void transfers_unwatch(struct transfers *transfers)
{
    for (size_t socket = 0; socket < transfers->watch_count; socket++)
        watch_close(transfers, (curl_socket_t)socket);
    free(transfers->watches);
    transfers->watches = NULL;
    transfers->watch_count = 0;
}
