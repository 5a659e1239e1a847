/* HTTP exchanges on the event loop: libcurl's multi-socket interface, libuv underneath, fibers above. */
#include "transfer_attempt.h"

#include "fiber.h"
#include "report.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FIRST_BACKOFF_MS   250
#define LONGEST_BACKOFF_MS 5000

/* --- setting up an attempt ----------------------------------------------------------------------------------- */

static size_t on_send(char *bytes, size_t size, size_t count, void *user)
{
    struct transfer *transfer = user;
    ssize_t got;
    do
        got = pread(transfer->request->body_file, bytes, size * count, (off_t)transfer->body_sent);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return CURL_READFUNC_ABORT;
    transfer->body_sent += (size_t)got;
    return (size_t)got;
}

static int on_seek(void *user, curl_off_t offset, int origin)
{
    struct transfer *transfer = user;
    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    transfer->body_sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static bool has_header(const struct transfer_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strcasecmp(request->headers[i].name, name) == 0)
            return true;
    return false;
}

/* Also an empty one. */
static bool sends_body(const struct transfer_request *request)
{
    return request->body || request->body_file >= 0 || strcmp(request->method, "PUT") == 0 ||
           strcmp(request->method, "POST") == 0;
}

/* Does it set nothing on its handle but what every request sets? */
static bool is_plain(const struct transfer_request *request)
{
    const struct transfer_target *target = &request->target;
    return !sends_body(request) && strcmp(request->method, "HEAD") != 0 && !target->unix_socket &&
           !target->ca && !target->ca_path && !target->cert && !target->key && !target->user;
}

static void add_headers(struct transfer *transfer)
{
    const struct transfer_request *request = transfer->request;
    struct buffer line = {0};
    for (size_t i = 0; i < request->header_count; i++) {
        buffer_clear(&line);
        /* A header without a value needs the semicolon, or curl takes it for "do not send". */
        buffer_format(&line, request->headers[i].value[0] ? "%s: %s" : "%s;%s", request->headers[i].name,
                      request->headers[i].value);
        transfer->headers = curl_slist_append(transfer->headers, buffer_text(&line));
    }
    buffer_wipe(&line);
    if (sends_body(request)) {
        if (!has_header(request, "Content-Type")) /* curl would say that the body is a form */
            transfer->headers = curl_slist_append(transfer->headers, "Content-Type:");
        transfer->headers = curl_slist_append(transfer->headers, "Expect:"); /* or large ones wait a second */
    }
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
}

/* The environment's proxies are honoured by curl (http_proxy, https_proxy, HTTPS_PROXY, no_proxy), but never on the way
 * to this machine itself. HTTP_PROXY too, as the products' own command lines do: curl leaves it out, for in a CGI
 * program it would be a header of the request. */
static void set_proxy(CURL *easy, const struct transfer_request *request, bool loopback)
{
    const char *proxy = NULL; /* curl looks for it */
    bool none = request->target.unix_socket || loopback;
    curl_easy_setopt(easy, CURLOPT_NOPROXY,
                     none ? "*" : NULL); /* then curl does not ask the environment either */
    if (!none && strncasecmp(request->url, "http:", 5) == 0 && !getenv("http_proxy") &&
        !getenv("REQUEST_METHOD"))
        proxy = getenv("HTTP_PROXY");
    curl_easy_setopt(easy, CURLOPT_PROXY, proxy);
}

static void set_target(CURL *easy, const struct transfer_target *target)
{
    if (target->unix_socket)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, target->unix_socket);
    if (target->ca)
        curl_easy_setopt(easy, CURLOPT_CAINFO, target->ca);
    if (target->ca_path)
        curl_easy_setopt(easy, CURLOPT_CAPATH, target->ca_path);
    if (target->ca_path && !target->ca)
        curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    if (target->ca && !target->ca_path)
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    if (target->cert)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, target->cert);
    if (target->key)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, target->key);
    if (target->user) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(easy, CURLOPT_USERNAME, target->user);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, target->password ? target->password : "");
    }
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, target->insecure ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, target->insecure ? 0L : 2L);
}

static void set_method(struct transfer *transfer)
{
    const struct transfer_request *request = transfer->request;
    CURL *easy = transfer->easy;
    if (request->body_file >= 0) {
        struct stat file;
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        if (fstat(request->body_file, &file) == 0)
            curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)file.st_size);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
    } else if (sends_body(request)) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                         (curl_off_t)(request->body ? request->body_length : 0));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
    } else if (strcmp(request->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static void set_common(CURL *easy, uint64_t connect_timeout_ms)
{
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* or giving up waits for a resolver thread */
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "moonbook/" MOONBOOK_VERSION);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(connect_timeout_ms ? connect_timeout_ms : TRANSFER_CONNECT_TIMEOUT_MS));
}

static void set_up(struct transfer *transfer)
{
    const struct transfer_request *request = transfer->request;
    CURL *easy = transfer->easy;
    set_common(easy, request->connect_timeout_ms);
    set_target(easy, &request->target);
    set_proxy(easy, request, transfer_is_loopback(transfer->url));
    if (request->target.server_name)
        transfer_name_server(transfer);
    curl_easy_setopt(easy, CURLOPT_CURLU, transfer->url);
    add_headers(transfer);
    set_method(transfer);
    curl_easy_setopt(easy, CURLOPT_CONNECT_TO, transfer->connect_to);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request->once ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    transfer_set_up_receiving(transfer);
}

/* --- the life of an attempt ---------------------------------------------------------------------------------- */

struct transfer *transfer_new(struct transfers *transfers, const struct transfer_request *request,
                              struct transfer_answer *answer, struct failure *failure)
{
    CURLU *url = transfer_parse_url(request, failure);
    if (!url)
        return NULL;
    CURL *easy = transfers->spare_count > 0 ? transfers->spare[--transfers->spare_count] : curl_easy_init();
    if (!easy) {
        curl_url_cleanup(url);
        failure_set(failure, "failed", request->op, "curl cannot make a handle");
        return NULL;
    }
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, transfers_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfers);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, transfers_close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfers);
    struct transfer *transfer = allocate_zeroed(1, sizeof *transfer);
    transfer->easy = easy;
    transfer->transfers = transfers;
    transfer->url = url;
    transfer->request = request;
    transfer->answer = answer;
    transfer->plain = is_plain(request);
    transfer->closed_before = transfers->closed;
    transfer->next = transfers->active;
    transfer->link = &transfers->active;
    if (transfer->next)
        transfer->next->link = &transfer->next;
    transfers->active = transfer;
    set_up(transfer);
    return transfer;
}

/* Headers hold tokens: they are overwritten before their memory goes back. */
static void free_headers(struct curl_slist *headers)
{
    for (struct curl_slist *line = headers; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(headers);
}

/* Can another request set all anew that this one left on the handle? Before 8.17 curl counts how often a kept connection
 * was lost under a request, and only a reset clears that: after five times it would give up. */
static bool is_reusable(const struct transfer *transfer)
{
    return transfer->plain && transfer->done && transfer->result == CURLE_OK && !transfer->stream &&
           transfer->closed_before == transfer->transfers->closed;
}

/* Keeps the handle for another request. To reset a plain one too would be a tenth of a request's work. */
static void keep_handle(struct transfers *transfers, const struct transfer *transfer)
{
    CURL *easy = transfer->easy;
    if (transfers->spare_count == SPARE_HANDLES) {
        curl_easy_cleanup(easy);
        return;
    }
    if (is_reusable(transfer)) {
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    } else
        curl_easy_reset(easy);
    transfers->spare[transfers->spare_count++] = easy;
}

void transfer_free(struct transfers *transfers, struct transfer *transfer)
{
    curl_multi_remove_handle(transfers->multi, transfer->easy);
    keep_handle(transfers, transfer);
    free_headers(transfer->headers);
    curl_slist_free_all(transfer->connect_to);
    curl_url_cleanup(transfer->url);
    if (transfer->stream)
        transfer->stream->transfer = NULL;
    *transfer->link = transfer->next;
    if (transfer->next)
        transfer->next->link = transfer->link;
    free(transfer);
}

/* Starts it and waits for its end. Anything but WAIT_WOKEN: it did not end. */
enum wait_outcome transfer_run(struct transfers *transfers, struct transfer *transfer, uint64_t deadline)
{
    struct runtime *runtime = transfers->runtime;
    transfer->fiber = runtime->current;
    if (curl_multi_add_handle(transfers->multi, transfer->easy) != CURLM_OK) {
        transfer_end(transfer, CURLE_FAILED_INIT);
        return WAIT_WOKEN;
    }
    transfers_drive(transfers, CURL_SOCKET_TIMEOUT, 0); /* begin now, not in the loop's next round */
    while (!transfer->done) {
        uint64_t now = runtime_now(runtime);
        enum wait_outcome outcome = now < deadline ? fiber_suspend(runtime, deadline - now) : WAIT_TIMEOUT;
        if (outcome != WAIT_WOKEN && !transfer->done)
            return outcome;
    }
    return WAIT_WOKEN;
}

/* --- the exchange: attempts, with pauses between them --------------------------------------------------------- */

/* Control characters in a header would begin another one. */
static bool check_headers(const struct transfer_request *request, struct failure *failure)
{
    for (size_t i = 0; i < request->header_count; i++) {
        const struct transfer_header *header = &request->headers[i];
        if (strpbrk(header->value, "\r\n") || !header->name[0] || strpbrk(header->name, "\r\n: \t;"))
            return failure_set(failure, "usage", request->op,
                               "a header cannot be sent: its name or value holds a line break, or the name a "
                               "colon or blank");
    }
    return true;
}

/* How long a 429 or 503 asks to wait: seconds or a date; -1 where it does not say. */
static int64_t retry_after_ms(const struct transfer_answer *answer)
{
    const char *text = transfer_answer_header(answer, "Retry-After");
    if (!text || !*text)
        return -1;
    if (strspn(text, "0123456789") == strlen(text)) {
        long long seconds = strtoll(text, NULL, 10);
        return (int64_t)(seconds < INT32_MAX ? seconds : INT32_MAX) * 1000;
    }
    time_t when = curl_getdate(text, NULL), now = time(NULL);
    if (when == (time_t)-1)
        return -1;
    return when > now ? (int64_t)(when - now) * 1000 : 0;
}

enum attempt { ATTEMPT_ANSWERED, ATTEMPT_FAILED, ATTEMPT_AGAIN };

static enum attempt attempt(struct transfers *transfers, const struct transfer_request *request,
                            uint64_t deadline, struct transfer_answer *answer, struct failure *failure)
{
    uint64_t started = runtime_now(transfers->runtime);
    enum attempt ended = ATTEMPT_FAILED;
    struct transfer *transfer = transfer_new(transfers, request, answer, failure);
    if (!transfer)
        return ATTEMPT_FAILED;
    enum wait_outcome outcome = transfer_run(transfers, transfer, deadline);
    uint64_t waited = runtime_now(transfers->runtime) - started;
    if (outcome == WAIT_TIMEOUT) {
        curl_off_t connected = 0;
        curl_easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
        transfer_fail_timeout(request, connected > 0, waited, failure);
    } else if (outcome != WAIT_WOKEN)
        fiber_wait_failure(failure, outcome, request->op, waited);
    else if (transfer->result != CURLE_OK) {
        transfer_fail_result(transfer, waited, deadline, failure);
        ended = transfer->result == CURLE_COULDNT_CONNECT ? ATTEMPT_AGAIN : ATTEMPT_FAILED;
    } else {
        int status = answer->status;
        bool busy =
            (status == 429 || (status >= 502 && status <= 504)) && !transfer_is_answer(request, status);
        ended = busy ? ATTEMPT_AGAIN : ATTEMPT_ANSWERED;
    }
    transfer_free(transfers, transfer);
    return ended;
}

/* The pause before the next attempt; -1 when there will be none: nothing left to try, or no time for it. */
static int64_t pause_before_retry(struct runtime *runtime, const struct transfer_request *request,
                                  unsigned tried, const struct transfer_answer *answer, uint64_t deadline)
{
    if (!request->reads || tried >= request->retries || request->answer_file >= 0)
        return -1;
    int64_t pause = answer->status ? retry_after_ms(answer) : -1;
    if (pause < 0) {
        pause = (int64_t)FIRST_BACKOFF_MS << (tried < 10 ? tried : 10);
        if (pause > LONGEST_BACKOFF_MS)
            pause = LONGEST_BACKOFF_MS;
    }
    return runtime_now(runtime) + (uint64_t)pause < deadline ? pause : -1;
}

/* May the request go out at all? */
static bool admit(struct runtime *runtime, const struct transfer_request *request, struct failure *failure)
{
    if (!runtime->current || lua_gc(runtime->L, LUA_GCCOUNT) < 0) /* __gc: do not even begin */
        return fiber_wait_failure(failure, WAIT_REFUSED, request->op, 0);
    if (runtime->options.check && !request->reads)
        return failure_set(failure, "failed", request->op,
                           "bug: a request that is no read would be sent under --check");
    if (!check_headers(request, failure))
        return false;
    if (!transfers_of(runtime))
        return failure_set(failure, "failed", request->op, "curl cannot be set up");
    return true;
}

#define BODY_SHOWN 400 /* bytes of a request's body */

/* :http of a session: what was asked and what came. Headers are left out: they hold tokens. */
static void show_request(struct runtime *runtime, const struct transfer_request *request, int status,
                         size_t length, uint64_t started)
{
    struct buffer line = {0}, body = {0};
    if (!runtime->options.requests)
        return;
    buffer_format(&line, "%s ", request->method);
    transfer_show_url(request->url, &line);
    if (status)
        buffer_format(&line, " -> %d, %zu bytes, %llu ms\n", status, length,
                      (unsigned long long)(runtime_now(runtime) - started));
    else
        buffer_format(&line, " -> no answer, %llu ms\n",
                      (unsigned long long)(runtime_now(runtime) - started));
    if (request->body) {
        buffer_append(&body, request->body, request->body_length);
        buffer_append_text(&line, "  ");
        redacted_head(runtime->redactor, &body, BODY_SHOWN, &line);
        buffer_append_text(&line, body.length > BODY_SHOWN ? "...\n" : "\n");
        buffer_wipe(&body);
    }
    report_log(runtime, line.bytes, line.length - 1, false);
    buffer_wipe(&line);
}

static bool perform(struct runtime *runtime, const struct transfer_request *request,
                    struct transfer_answer *answer, struct failure *failure);

bool transfer_perform(struct runtime *runtime, const struct transfer_request *request,
                      struct transfer_answer *answer, struct failure *failure)
{
    uint64_t started = runtime_now(runtime);
    bool came = perform(runtime, request, answer, failure);
    show_request(runtime, request, came ? answer->status : 0, came ? answer->body.length : 0, started);
    return came;
}

static bool perform(struct runtime *runtime, const struct transfer_request *request,
                    struct transfer_answer *answer, struct failure *failure)
{
    memset(answer, 0, sizeof *answer);
    if (!admit(runtime, request, failure))
        return false;
    uint64_t deadline =
        runtime_now(runtime) + (request->timeout_ms ? request->timeout_ms : TRANSFER_TIMEOUT_MS);
    for (unsigned tried = 0;; tried++) {
        enum attempt ended = attempt(runtime->transfers, request, deadline, answer, failure);
        if (ended != ATTEMPT_AGAIN)
            return ended == ATTEMPT_ANSWERED;
        int64_t pause = pause_before_retry(runtime, request, tried, answer, deadline);
        if (pause < 0)
            return answer->status != 0; /* 429 or 503: the caller's to judge; else why it could not connect */
        enum wait_outcome outcome = fiber_sleep(runtime, (uint64_t)pause);
        if (outcome != WAIT_TIMEOUT)
            return fiber_wait_failure(failure, outcome, request->op, (uint64_t)pause);
        transfer_answer_free(answer);
    }
}

/* --- streams ---------------------------------------------------------------------------------------------------- */

/* What is asked after the caller's request is gone: who it was that broke off. */
static void keep_request(struct transfer_stream *stream, const struct transfer_request *request)
{
    struct transfer_request *kept = &stream->request;
    const struct transfer_target *from = &request->target;
    *kept = *request;
    kept->op = copy_text(request->op);
    kept->url = copy_text(request->url);
    kept->target =
        (struct transfer_target){.unix_socket = from->unix_socket ? copy_text(from->unix_socket) : NULL,
                                 .behind = from->behind ? copy_text(from->behind) : NULL,
                                 .ca = from->ca ? copy_text(from->ca) : NULL,
                                 .ca_path = from->ca_path ? copy_text(from->ca_path) : NULL,
                                 .cert = from->cert ? copy_text(from->cert) : NULL,
                                 .key = from->key ? copy_text(from->key) : NULL,
                                 .server_name = from->server_name ? copy_text(from->server_name) : NULL,
                                 .insecure = from->insecure};
    kept->headers = NULL;
    kept->header_count = 0;
    kept->body = NULL;
    kept->answers = NULL;
}

/* Suspends the fiber that runs until something happened to the stream. */
static enum wait_outcome stream_wait(struct transfer_stream *stream, uint64_t deadline)
{
    struct runtime *runtime = stream->transfers->runtime;
    uint64_t now = runtime_now(runtime);
    if (deadline && now >= deadline)
        return WAIT_TIMEOUT;
    stream->transfer->fiber = runtime->current;
    stream->turn_ends = 0;
    enum wait_outcome outcome = fiber_suspend(runtime, deadline ? deadline - now : FIBER_NO_TIMEOUT);
    if (stream->transfer)
        stream->transfer->fiber = NULL;
    return outcome;
}

/* Waits for the head, and where it is an error for the rest of the answer. */
static bool await_head(struct transfer_stream *stream, uint64_t deadline, struct failure *failure)
{
    struct transfer *transfer = stream->transfer;
    uint64_t started = runtime_now(stream->transfers->runtime);
    while (!transfer->done && !(transfer->has_head && stream->answer.status < 300)) {
        if (transfer->has_head && !deadline) /* an error's body is not for ever */
            deadline = runtime_now(stream->transfers->runtime) + TRANSFER_TIMEOUT_MS;
        enum wait_outcome outcome = stream_wait(stream, deadline);
        uint64_t waited = runtime_now(stream->transfers->runtime) - started;
        if (outcome == WAIT_TIMEOUT)
            return transfer_fail_timeout(&stream->request, true, waited, failure);
        if (outcome != WAIT_WOKEN)
            return fiber_wait_failure(failure, outcome, stream->request.op, waited);
    }
    bool to_read = transfer->has_head && stream->answer.status < 300; /* what broke off later is told then */
    return to_read || transfer->result == CURLE_OK ||
           transfer_fail_result(transfer, runtime_now(stream->transfers->runtime) - started, deadline,
                                failure);
}

struct transfer_stream *transfer_stream_open(struct runtime *runtime, const struct transfer_request *request,
                                             struct failure *failure)
{
    if (!admit(runtime, request, failure))
        return NULL;
    struct transfers *transfers = runtime->transfers;
    struct transfer_stream *stream = allocate_zeroed(1, sizeof *stream);
    struct transfer *transfer = transfer_new(transfers, request, &stream->answer, failure);
    if (!transfer) {
        free(stream);
        return NULL;
    }
    stream->transfers = transfers;
    stream->transfer = transfer;
    transfer->stream = stream;
    keep_request(stream, request);
    transfer->request = &stream->request;
    if (curl_multi_add_handle(transfers->multi, transfer->easy) != CURLM_OK) {
        transfer_end(transfer, CURLE_FAILED_INIT);
    } else
        transfers_drive(transfers, CURL_SOCKET_TIMEOUT, 0);
    uint64_t started = runtime_now(runtime),
             deadline = request->timeout_ms ? started + request->timeout_ms : 0;
    bool came = await_head(stream, deadline, failure);
    show_request(runtime, request, came ? stream->answer.status : 0, stream->answer.body.length, started);
    if (came)
        return stream;
    transfer_stream_close(stream);
    return NULL;
}

const struct transfer_answer *transfer_stream_answer(const struct transfer_stream *stream)
{
    return &stream->answer;
}

struct transfer_answer transfer_stream_take_answer(struct transfer_stream *stream)
{
    struct transfer_answer answer = stream->answer;
    stream->answer = (struct transfer_answer){0};
    return answer;
}

/* A reader of a stream that always has more never waits: after its turn it lets the others go on. */
static enum wait_outcome stream_take_turns(struct transfer_stream *stream)
{
    uint64_t now = uv_hrtime();
    if (!stream->turn_ends)
        stream->turn_ends = now + TURN_NS;
    if (now < stream->turn_ends)
        return WAIT_TIMEOUT;
    stream->turn_ends = 0;
    return fiber_sleep(stream->transfers->runtime, 0);
}

enum transfer_piece transfer_stream_read(struct transfer_stream *stream, uint64_t silence_ms,
                                         struct buffer *out, struct failure *failure)
{
    const char *op = stream->request.op;
    uint64_t deadline = 0, started = 0;
    enum wait_outcome turn = stream->transfer ? stream_take_turns(stream) : WAIT_TIMEOUT;
    if (turn != WAIT_TIMEOUT) {
        fiber_wait_failure(failure, turn, op, 0);
        return TRANSFER_FAILED;
    }
    while (stream->transfer && stream->pending.length == 0) {
        struct transfer *transfer = stream->transfer;
        struct runtime *runtime = stream->transfers->runtime;
        if (!started && (started = runtime_now(runtime)) && silence_ms)
            deadline = started + silence_ms;
        if (stream->paused) {
            stream->paused = false;
            curl_easy_pause(transfer->easy, CURLPAUSE_CONT); /* may deliver at once */
            transfers_drive(stream->transfers, CURL_SOCKET_TIMEOUT, 0);
        } else if (transfer->done) {
            if (transfer->result == CURLE_OK)
                return TRANSFER_END;
            transfer_fail_result(transfer, runtime_now(runtime) - started, deadline, failure);
            return TRANSFER_FAILED;
        } else if (transfer->fiber) {
            failure_set(failure, "usage", op, "another fiber reads this stream");
            return TRANSFER_FAILED;
        } else {
            enum wait_outcome outcome = stream_wait(stream, deadline);
            if (outcome == WAIT_WOKEN)
                continue;
            if (outcome == WAIT_TIMEOUT)
                transfer_fail_silence(&stream->request, silence_ms, failure);
            else
                fiber_wait_failure(failure, outcome, op, silence_ms);
            return TRANSFER_FAILED;
        }
    }
    if (stream->pending.length == 0) {
        failure_set(failure, "usage", op, "the stream is closed");
        return TRANSFER_FAILED;
    }
    buffer_append(out, stream->pending.bytes, stream->pending.length);
    buffer_clear(&stream->pending);
    return TRANSFER_PIECE;
}

void transfer_stream_close(struct transfer_stream *stream)
{
    if (!stream)
        return;
    if (stream->transfer)
        transfer_free(stream->transfers, stream->transfer);
    const struct transfer_target *target = &stream->request.target;
    const char *const texts[] = {stream->request.op, stream->request.url, target->unix_socket,
                                 target->behind,     target->ca,          target->ca_path,
                                 target->cert,       target->key,         target->server_name};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free((char *)(uintptr_t)texts[i]);
    transfer_answer_free(&stream->answer);
    buffer_wipe(&stream->pending);
    free(stream);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct transfers *transfers = handle->data;
    if (--transfers->open_timers == 0)
        free(transfers);
}

void transfers_free(struct runtime *runtime)
{
    struct transfers *transfers = runtime->transfers;
    if (!transfers)
        return;
    runtime->transfers = NULL;
    while (transfers->active) /* fibers that did not end in time: their stacks are gone or going */
        transfer_free(transfers, transfers->active);
    while (transfers->spare_count > 0)
        curl_easy_cleanup(transfers->spare[--transfers->spare_count]);
    curl_multi_cleanup(transfers->multi); /* calls on_socket and on_timer */
    transfers_unwatch(transfers);
    uv_close((uv_handle_t *)&transfers->timer, on_timer_closed);
    uv_close((uv_handle_t *)&transfers->rest, on_timer_closed);
    curl_global_cleanup();
}
