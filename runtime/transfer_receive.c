/* What comes from a server, piece by piece: judged, counted, kept. A server may be broken or hostile: what it says is
 * bounded here, and what is not HTTP ends the attempt. */
#include "transfer_attempt.h"

#include "fiber.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define HEADER_LIMIT    ((size_t)256 << 10)
#define HEADERS_MOST    2000
#define HEADERS_AT_ONCE 16
#define ERROR_LIMIT     ((size_t)1 << 20)   /* of an error's body: what is longer is cut, the status tells */
#define STREAM_WINDOW   ((size_t)256 << 10) /* what is kept of a stream at most, and one piece more */

/* Ends the attempt: what came is no answer. Returns what curl's callbacks return to stop it. */
static size_t refuse(struct transfer *transfer, const char *why)
{
    transfer->refusal = why;
    return 0;
}

static size_t answer_limit(const struct transfer_request *request)
{
    return request->answer_limit ? request->answer_limit : TRANSFER_ANSWER_LIMIT;
}

bool transfer_is_answer(const struct transfer_request *request, int status)
{
    for (const int *answer = request->answers; answer && *answer; answer++)
        if (*answer == status)
            return true;
    return false;
}

/* --- the head -------------------------------------------------------------------------------------------------- */

static void headers_clear(struct transfer_answer *answer)
{
    for (size_t i = 0; i < answer->header_count; i++)
        free((char *)answer->headers[i].name); /* and the value, which stands behind it */
    answer->header_count = 0;
}

void transfer_answer_free(struct transfer_answer *answer)
{
    headers_clear(answer);
    free(answer->headers);
    buffer_wipe(&answer->body); /* answers may hold tokens */
    memset(answer, 0, sizeof *answer);
}

const char *transfer_answer_header(const struct transfer_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++)
        if (strcasecmp(answer->headers[i].name, name) == 0)
            return answer->headers[i].value;
    return NULL;
}

/* Copies the text without the blanks around it. Returns where the copy ends. */
static char *copy_trimmed(char *copy, const char *text, size_t length)
{
    while (length > 0 && isspace((unsigned char)*text))
        text++, length--;
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy + length;
}

static const struct transfer_header *add_header(struct transfer_answer *answer, const char *line,
                                                const char *colon, size_t length)
{
    size_t count = answer->header_count++;
    if (count % HEADERS_AT_ONCE == 0)
        answer->headers = reallocate(answer->headers, (count + HEADERS_AT_ONCE) * sizeof *answer->headers);
    char *name = allocate(length + 1); /* the colon's place is for the first NUL */
    char *value = copy_trimmed(name, line, (size_t)(colon - line)) + 1;
    copy_trimmed(value, colon + 1, length - (size_t)(colon - line) - 1);
    for (char *letter = name; *letter; letter++)
        *letter = (char)tolower((unsigned char)*letter);
    answer->headers[count] = (struct transfer_header){.name = name, .value = value};
    return &answer->headers[count];
}

/* The number in "HTTP/1.1 200 OK"; 0 where the line is no such line. curl takes "HTTP/one 500" for a 200. */
static int status_of(const char *line, size_t length)
{
    static const char shape[] = "HTTP/1.d ddd";
    if (length < sizeof shape)
        return 0;
    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (shape[i] == 'd' ? !isdigit((unsigned char)line[i]) : line[i] != shape[i])
            return 0;
    return strchr(" \r\n", line[sizeof shape - 1]) ? atoi(line + 9) : 0;
}

/* The head begins, after 100 Continue once more. */
static size_t take_status(struct transfer *transfer, const char *line, size_t length)
{
    transfer->answer->status = status_of(line, length);
    if (!transfer->answer->status)
        return refuse(transfer, "its first line is no HTTP status");
    headers_clear(transfer->answer);
    transfer->has_length = false;
    return length;
}

/* Does the answer have a body to hold, whose length must not pass the limit? */
static bool has_bounded_body(const struct transfer *transfer)
{
    int status = transfer->answer->status;
    return !transfer->stream && strcmp(transfer->request->method, "HEAD") != 0 && status >= 200 &&
           (status < 300 || transfer_is_answer(transfer->request, status)) && status != 204;
}

/* Two lengths, or one that is no number: nobody knows where the answer ends. One beyond the limit need not come. */
static bool accept_length(struct transfer *transfer, const char *value)
{
    size_t digits = strspn(value, "0123456789");
    errno = 0;
    unsigned long long length = strtoull(value, NULL, 10);
    if (digits == 0 || value[digits] || errno || length > SIZE_MAX)
        return refuse(transfer, "its Content-Length is no number"), false;
    if (transfer->has_length && transfer->length != length)
        return refuse(transfer, "it has two different Content-Lengths"), false;
    transfer->has_length = true;
    transfer->length = (size_t)length;
    if (has_bounded_body(transfer) && transfer->length > answer_limit(transfer->request))
        transfer->too_large = true;
    return !transfer->too_large;
}

/* No encoding of the transfer was asked for; curl would unpack it all the same, whatever comes out of it. */
static bool accept_encoding(struct transfer *transfer, const char *value)
{
    if (strcasecmp(value, "chunked") == 0 || strcasecmp(value, "identity") == 0)
        return true;
    return refuse(transfer, "it is encoded (Transfer-Encoding) in a way that was not asked for"), false;
}

static bool accept_header(struct transfer *transfer, const struct transfer_header *header)
{
    if (transfer->has_head) /* a trailer */
        return true;
    if (strcmp(header->name, "content-length") == 0)
        return accept_length(transfer, header->value);
    if (strcmp(header->name, "transfer-encoding") == 0)
        return accept_encoding(transfer, header->value);
    return true;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *user)
{
    struct transfer *transfer = user;
    struct transfer_answer *answer = transfer->answer;
    size_t length = size * count;
    transfer->header_bytes += length;
    if (transfer->header_bytes > HEADER_LIMIT || answer->header_count == HEADERS_MOST)
        return refuse(transfer, "its head is too long");
    if (*bytes == ' ' || *bytes == '\t')
        return refuse(transfer, "a header of it goes on in the next line, as was done before 2014");
    if (!transfer->has_head && length >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
        return take_status(transfer, bytes, length);
    if (length <= 2 && answer->status >= 200) {
        transfer->has_head = true;
        if (transfer->stream)
            transfer_wake(transfer);
    }
    const char *colon = memchr(bytes, ':', length);
    if (!colon)
        return length;
    const struct transfer_header *header = add_header(answer, bytes, colon, length);
    return accept_header(transfer, header) ? length : 0;
}

/* --- the body -------------------------------------------------------------------------------------------------- */

static bool write_all(int file, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(file, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        bytes += written;
        length -= (size_t)written;
    }
    return true;
}

static size_t on_piece(struct transfer *transfer, const char *bytes, size_t length)
{
    struct transfer_stream *stream = transfer->stream;
    if (stream->pending.length >= STREAM_WINDOW) {
        stream->paused = true;
        return CURL_WRITEFUNC_PAUSE; /* the same bytes come again */
    }
    buffer_append(&stream->pending, bytes, length);
    transfer_wake(transfer);
    return length;
}

/* Only what has a second piece may go on for ever. Short answers need not be asked for their progress at each step. */
static void watch_progress(struct transfer *transfer)
{
    if (transfer->has_body)
        curl_easy_setopt(transfer->easy, CURLOPT_NOPROGRESS, 0L);
    transfer->has_body = true;
}

/* What a server says to an error is kept as far as anybody reads it. */
static size_t on_error_body(struct transfer *transfer, const char *bytes, size_t length)
{
    struct buffer *body = &transfer->answer->body;
    size_t room = ERROR_LIMIT - body->length;
    buffer_append(body, bytes, length < room ? length : room);
    if (length < room)
        return length;
    transfer->cut = true;
    transfer->plain = false; /* the handle ended in the middle */
    return 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    struct transfer *transfer = user;
    const struct transfer_request *request = transfer->request;
    size_t length = size * count;
    int status = transfer->answer->status;
    watch_progress(transfer);
    if (status >= 300 && !transfer_is_answer(request, status))
        return on_error_body(transfer, bytes, length);
    if (transfer->stream && status < 300)
        return on_piece(transfer, bytes, length);
    if (length > answer_limit(request) - transfer->body_bytes) {
        transfer->too_large = true;
        return 0;
    }
    transfer->body_bytes += length;
    if (request->answer_file < 0 || status >= 300)
        buffer_append(&transfer->answer->body, bytes, length);
    else if (!write_all(request->answer_file, bytes, length)) {
        transfer->write_error = errno;
        return 0;
    }
    return length;
}

/* --- turns ------------------------------------------------------------------------------------------------------ */

/* curl goes on with a connection as long as it has bytes to read: one that sends as fast as they are taken would keep
 * the loop, its timers and all other fibers waiting for ever. So it rests after its turn, until the loop came round. */
static int on_progress(void *user, curl_off_t expected, curl_off_t got, curl_off_t to_send, curl_off_t sent)
{
    struct transfer *transfer = user;
    struct transfers *transfers = transfer->transfers;
    (void)expected, (void)got, (void)to_send, (void)sent;
    if (transfer->header_bytes == 0 || transfer->resting || uv_hrtime() < transfers->turn_ends ||
        (transfer->stream && transfer->stream->paused))
        return 0;
    transfer->resting = true;
    transfers_rest(transfers);
    return curl_easy_pause(transfer->easy, CURLPAUSE_RECV) == CURLE_OK ? 0 : 1;
}

/* --- the attempt ------------------------------------------------------------------------------------------------ */

void transfer_set_up_receiving(struct transfer *transfer)
{
    CURL *easy = transfer->easy;
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, transfer);
}

void transfer_end(struct transfer *transfer, CURLcode result)
{
    if (transfer->done)
        return;
    transfer->done = true;
    transfer->result = transfer->cut ? CURLE_OK : result;
    if (transfer->result != CURLE_OK || transfer->has_head || transfer->connects_only)
        return;
    /* curl is content with half a head, and with another protocol that was not asked for. */
    transfer->result = CURLE_PARTIAL_FILE;
    if (transfer->answer->status == 101)
        refuse(transfer, "it switches to another protocol, which was not asked for");
    else
        snprintf(transfer->error, sizeof transfer->error, "the connection was closed within the headers");
}
