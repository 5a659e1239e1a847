/* Why an exchange ended without an answer, in words: whom it was with, what a certificate says, what to do. */
#include "transfer_attempt.h"

#include "fiber.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LOOK_MS 3000

/* --- a second handshake, over which nothing is asked ----------------------------------------------------------- */

struct look {
    struct transfer_request request;
    struct transfer_answer answer;
    struct transfer *transfer; /* NULL: curl has no handle for it */
};

static void look_open(struct look *look, const struct transfer_request *request)
{
    *look = (struct look){.request = *request};
    look->request.target.user = NULL;
    look->request.header_count = 0;
}

/* Shakes hands with what the caller changed in the request; `version` is curl's, 0 = any; 0 as the deadline: none. True
 * when that ended. */
static bool look_run(struct look *look, struct transfers *transfers, long version, uint64_t deadline)
{
    struct failure ignored;
    uint64_t end = runtime_now(transfers->runtime) + LOOK_MS;
    look->transfer = transfer_new(transfers, &look->request, &look->answer, &ignored);
    if (!look->transfer)
        return false;
    look->transfer->plain = false;
    look->transfer->connects_only = true;
    curl_easy_setopt(look->transfer->easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(look->transfer->easy, CURLOPT_CERTINFO, 1L);
    curl_easy_setopt(look->transfer->easy, CURLOPT_SSLVERSION, version);
    return transfer_run(transfers, look->transfer, deadline && deadline < end ? deadline : end) == WAIT_WOKEN;
}

static void look_close(struct look *look, struct transfers *transfers)
{
    if (look->transfer)
        transfer_free(transfers, look->transfer);
    transfer_answer_free(&look->answer);
}

/* --- the server's certificate ---------------------------------------------------------------------------------- */

/* What a certificate that did not verify says of itself: "subject CN = x, issued by CN = y, from DATE until DATE". A
 * handshake without verification reads it; nothing of ours is sent over it, no client certificate either. Empty where it
 * cannot be had. */
static void look_at_certificate(struct transfers *transfers, const struct transfer_request *request,
                                uint64_t deadline, struct buffer *out)
{
    static const char *const parts[][2] = {{"Subject:", "subject "},
                                           {"X509v3 Subject Alternative Name:", ", for "},
                                           {"Issuer:", ", issued by "},
                                           {"Start date:", ", from "},
                                           {"Expire date:", " until "}};
    struct look look;
    struct curl_certinfo *chain = NULL;
    look_open(&look, request);
    look.request.target.insecure = true;
    look.request.target.cert = look.request.target.key = NULL;
    bool seen = look_run(&look, transfers, 0, deadline) && look.transfer->result == CURLE_OK &&
                curl_easy_getinfo(look.transfer->easy, CURLINFO_CERTINFO, &chain) == CURLE_OK &&
                chain->num_of_certs > 0;
    for (size_t i = 0; seen && i < sizeof parts / sizeof parts[0]; i++)
        for (struct curl_slist *line = chain->certinfo[0]; line; line = line->next)
            if (strncmp(line->data, parts[i][0], strlen(parts[i][0])) == 0)
                buffer_format(out, "%s%.200s", parts[i][1], line->data + strlen(parts[i][0]));
    look_close(&look, transfers);
}

/* What helps depends on what is wrong with it. */
static const char *certificate_hint(const char *error)
{
    if (strstr(error, "expired"))
        return "renew the server's certificate, or set this machine's clock right";
    if (strstr(error, "not yet valid"))
        return "set this machine's clock right, or wait until the certificate is valid";
    if (strstr(error, "name"))
        return "ask for the name that the certificate is for, or say it: server_name=";
    return "name the authority that issued it: ca=";
}

static bool fail_certificate(const struct transfer *transfer, const char *error, uint64_t deadline,
                             struct failure *failure)
{
    const struct transfer_request *request = transfer->request;
    char peer[256];
    struct buffer shown = {0};
    const char *trusted = request->target.ca        ? request->target.ca
                          : request->target.ca_path ? request->target.ca_path
                                                    : "the system's authorities";
    transfer_show_peer(request, peer, sizeof peer);
    look_at_certificate(transfer->transfers, request, deadline, &shown);
    failure_set(failure, "unreachable", request->op,
                "the certificate of %s%s%s%s does not verify against %s: %s", peer, shown.length ? " (" : "",
                buffer_text(&shown), shown.length ? ")" : "", trusted, error);
    failure_hint(failure, "%s", certificate_hint(error));
    buffer_free(&shown);
    return false;
}

/* --- our own certificate --------------------------------------------------------------------------------------- */

static void append_bio(struct buffer *out, const char *before, BIO *text)
{
    char *bytes = NULL;
    long length = BIO_get_mem_data(text, &bytes);
    buffer_format(out, "%s%.*s", before, (int)(length < 200 ? length : 200), bytes);
    (void)BIO_reset(text);
}

/* What a certificate of ours says of itself: "subject CN = x, issued by CN = y, until DATE". Empty where it cannot be
 * read. */
static void read_certificate(const char *path, struct buffer *out)
{
    FILE *file = fopen(path, "re");
    X509 *certificate = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    BIO *text = certificate ? BIO_new(BIO_s_mem()) : NULL;
    if (text) {
        bool expired = X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
        X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0, XN_FLAG_ONELINE);
        append_bio(out, "subject ", text);
        X509_NAME_print_ex(text, X509_get_issuer_name(certificate), 0, XN_FLAG_ONELINE);
        append_bio(out, ", issued by ", text);
        ASN1_TIME_print(text, X509_get0_notAfter(certificate));
        append_bio(out, expired ? ", expired on " : ", until ", text);
    }
    BIO_free(text);
    X509_free(certificate);
    if (file)
        fclose(file);
}

/* Does the TLS alert say that the server wants another certificate of ours, or one at all? With TLS 1.3 it comes after
 * the handshake, instead of the answer. */
static bool is_about_client(const char *error)
{
    static const char *const alerts[] = {
        "bad certificate",        "certificate required", "unknown ca",
        "certificate expired",    "certificate unknown",  "certificate revoked",
        "unsupported certificate"};
    const char *alert = strstr(error, " alert ");
    for (size_t i = 0; alert && i < sizeof alerts / sizeof *alerts; i++)
        if (strncmp(alert + 7, alerts[i], strlen(alerts[i])) == 0)
            return true;
    return false;
}

static bool fail_client(const struct transfer_request *request, const char *peer, const char *error,
                        struct failure *failure)
{
    struct buffer shown = {0};
    if (!request->target.cert) {
        failure_set(failure, "unreachable", request->op, "%s wants a client certificate: %s", peer, error);
        failure_hint(failure, "give the client certificate and its key with cert= and key=");
        return false;
    }
    read_certificate(request->target.cert, &shown);
    failure_set(failure, "unreachable", request->op, "%s refused the client certificate %s%s%s%s: %s", peer,
                request->target.cert, shown.length ? " (" : "", buffer_text(&shown), shown.length ? ")" : "",
                error);
    failure_hint(failure, "give a client certificate that has not expired, of an authority that the server "
                          "trusts, with cert= and key=");
    buffer_free(&shown);
    return false;
}

/* Did the exchange break off because of our certificate? A server of TLS 1.3 refuses it after the handshake, and what it
 * says is lost when it closes while we still write. In a handshake of TLS 1.2 it says so at its end. */
static bool look_at_refusal(const struct transfer *transfer, uint64_t deadline, char *error)
{
    struct transfers *transfers = transfer->transfers;
    struct look look;
    if (strncasecmp(transfer->request->url, "https:", 6) != 0 || transfer->header_bytes > 0)
        return false;
    look_open(&look, transfer->request);
    bool ended = look_run(&look, transfers, CURL_SSLVERSION_TLSv1_2 | CURL_SSLVERSION_MAX_TLSv1_2, deadline);
    const char *said = ended ? look.transfer->error : "";
    bool none = !look.request.target.cert && strstr(said, "alert handshake failure"); /* OpenSSL's servers */
    bool refused = none || is_about_client(said);
    if (refused)
        memcpy(error, look.transfer->error, CURL_ERROR_SIZE);
    look_close(&look, transfers);
    return refused;
}

/* A change that was sent and not answered. */
static bool hint_uncertain(const struct transfer_request *request, struct failure *failure)
{
    if (!request->reads)
        failure_hint(failure,
                     "whether the server did what was asked is not known: look before you ask again");
    return !request->reads;
}

bool transfer_fail_timeout(const struct transfer_request *request, bool connected, uint64_t waited_ms,
                           struct failure *failure)
{
    char peer[256];
    transfer_show_peer(request, peer, sizeof peer);
    failure_set(failure, "timeout", request->op,
                connected ? "%s did not answer in full within %.1f s" : "no connection to %s within %.1f s",
                peer, (double)waited_ms / 1000);
    if (connected && hint_uncertain(request, failure))
        return false;
    failure_hint(failure, "%s, or give it more time: timeout=",
                 connected ? "see what keeps the server busy" : "see whether the way to it is open");
    return false;
}

bool transfer_fail_silence(const struct transfer_request *request, uint64_t silence_ms,
                           struct failure *failure)
{
    char peer[256];
    transfer_show_peer(request, peer, sizeof peer);
    failure_set(failure, "timeout", request->op, "nothing more came from %s within %.1f s", peer,
                (double)silence_ms / 1000);
    failure_hint(failure, "it may have nothing to tell: give it more time with timeout=, or none at all");
    return false;
}

/* curl names whom it could not reach: that may be a proxy of the environment, not the peer. */
static bool fail_proxy(const struct transfer *transfer, const char *peer, const char *reason,
                       struct failure *failure)
{
    char host[128];
    unsigned port;
    if (transfer->request->target.unix_socket || strchr(peer, '[') ||
        sscanf(transfer->error, "Failed to connect to %127s port %u", host, &port) != 2 ||
        strncmp(peer, host, strlen(host)) == 0)
        return false;
    failure_set(failure, "unreachable", transfer->request->op, "cannot connect to the proxy %s:%u for %s: %s",
                host, port, peer, reason);
    failure_hint(failure,
                 "see http_proxy and https_proxy in the environment; no_proxy names what needs none");
    return true;
}

static bool fail_connect(const struct transfer *transfer, const char *peer, struct failure *failure)
{
    long number = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &number);
    const char *reason = number ? strerror((int)number) : transfer->error;
    if (fail_proxy(transfer, peer, reason, failure))
        return false;
    failure_set(failure, "unreachable", transfer->request->op, "cannot connect to %s: %s", peer, reason);
    if (number == ECONNREFUSED)
        failure_hint(failure, "see whether the server runs and listens on that address");
    return false;
}

/* The TLS errors that have a next step of their own. */
static bool fail_tls(const struct transfer *transfer, const char *peer, struct failure *failure)
{
    const struct transfer_target *target = &transfer->request->target;
    const char *op = transfer->request->op;
    switch (transfer->result) {
    case CURLE_SSL_CERTPROBLEM:
        return failure_set(failure, "failed", op, "the client certificate %s (key %s) cannot be used: %s",
                           target->cert ? target->cert : "?", target->key ? target->key : "in the same file",
                           transfer->error);
    case CURLE_SSL_CACERT_BADFILE:
        return failure_set(failure, "failed", op, "the authorities in %s cannot be read: %s",
                           target->ca        ? target->ca
                           : target->ca_path ? target->ca_path
                                             : "the system's store",
                           transfer->error);
    default:
        failure_set(failure, "unreachable", op, "no TLS with %s: %s", peer, transfer->error);
        if (strstr(transfer->error, "wrong version number"))
            failure_hint(failure, "the server seems to speak plain http there");
        else if (!target->cert && strstr(transfer->error, "alert handshake failure"))
            failure_hint(failure, "perhaps the server wants a client certificate: cert= and key=");
        return false;
    }
}

/* Something came, but no answer in HTTP. */
static bool fail_answer(const struct transfer *transfer, const char *peer, const char *error,
                        struct failure *failure)
{
    const struct transfer_request *request = transfer->request;
    if (transfer->refusal)
        failure_set(failure, "invalid", request->op, "the answer of %s cannot be taken: %s", peer,
                    transfer->refusal);
    else
        failure_set(failure, "invalid", request->op, "%s does not answer in HTTP: %s", peer, error);
    bool may_be_tls = strncasecmp(request->url, "http:", 5) == 0 && transfer->header_bytes == 0;
    failure_hint(failure, "see what listens there: it may be another service%s",
                 may_be_tls ? ", or speak https" : "");
    return false;
}

/* A forward's socket takes every connection and closes it where nobody listens behind it: at once or after the first bytes,
 * so that curl finds an end, a reset or a broken pipe. */
static bool fail_unanswered(const struct transfer *transfer, const char *peer, const char *error,
                            struct failure *failure)
{
    static const char *const ends[] = {
        "Empty reply",           "reset",          "roken pipe",       "SSL_ERROR_SYSCALL",
        "SSL_ERROR_ZERO_RETURN", "unexpected eof", "connection closed"};
    const struct transfer_request *request = transfer->request;
    double greeted = 0;
    bool ended = false;
    curl_easy_getinfo(transfer->easy, CURLINFO_APPCONNECT_TIME, &greeted);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        ended = ended || strstr(error, ends[i]);
    if (!request->target.behind || transfer->header_bytes > 0 || greeted > 0 || !ended)
        return false;
    failure_set(failure, "unreachable", request->op, "nobody answers at %s", peer);
    return true;
}

/* The connection ended before the answer did. */
static bool fail_broken(const struct transfer *transfer, const char *peer, const char *error,
                        uint64_t deadline, struct failure *failure)
{
    const struct transfer_request *request = transfer->request;
    char refusal[CURL_ERROR_SIZE];
    if (look_at_refusal(transfer, deadline, refusal))
        return fail_client(request, peer, refusal, failure);
    if (fail_unanswered(transfer, peer, error, failure)) {
        hint_uncertain(request, failure);
        return false;
    }
    failure_set(failure, "unreachable", request->op, "the exchange with %s broke off: %s", peer, error);
    if (strstr(error, "CONNECT tunnel") || strstr(error, "from proxy"))
        failure_hint(failure,
                     "the proxy that https_proxy names does not lead there; no_proxy names what needs none");
    else
        hint_uncertain(request, failure);
    return false;
}

static bool fail_size(const struct transfer *transfer, const char *peer, struct failure *failure)
{
    const struct transfer_request *request = transfer->request;
    failure_set(failure, "invalid", request->op, "the answer of %s is larger than %zu bytes", peer,
                request->answer_limit ? request->answer_limit : TRANSFER_ANSWER_LIMIT);
    failure_hint(failure, "ask for less of it, or raise the limit where the function takes one (limit=)");
    return false;
}

static const char *error_text(const struct transfer *transfer)
{
    if (strncmp(transfer->error, "getpeername()", 13) ==
        0) /* what curl says when it looks whom it had reached */
        return "the connection was reset at once";
    return transfer->error[0] ? transfer->error : curl_easy_strerror(transfer->result);
}

/* Why the attempt ended without an answer. */
bool transfer_fail_result(const struct transfer *transfer, uint64_t waited_ms, uint64_t deadline,
                          struct failure *failure)
{
    const struct transfer_request *request = transfer->request;
    const char *op = request->op;
    const char *error = error_text(transfer);
    char peer[256];
    transfer_show_peer(request, peer, sizeof peer);
    if (transfer->too_large)
        return fail_size(transfer, peer, failure);
    if (transfer->refusal)
        return fail_answer(transfer, peer, error, failure);
    if (is_about_client(error))
        return fail_client(request, peer, error, failure);
    switch (transfer->result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        failure_set(failure, "unreachable", op, "cannot reach %s: %s", peer, error);
        failure_hint(failure, "check the name and this machine's DNS");
        return false;
    case CURLE_COULDNT_CONNECT:
        return fail_connect(transfer, peer, failure);
    case CURLE_OPERATION_TIMEDOUT:
        return transfer_fail_timeout(request, false, waited_ms, failure);
    case CURLE_PEER_FAILED_VERIFICATION:
        return fail_certificate(transfer, error, deadline, failure);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        if (fail_unanswered(transfer, peer, error, failure))
            return false;
        return fail_tls(transfer, peer, failure);
    case CURLE_URL_MALFORMAT:
        return failure_set(failure, "usage", op, "not a URL that can be asked: %s", error);
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 and garbage; other schemes were refused before */
    case CURLE_WEIRD_SERVER_REPLY:
        return fail_answer(transfer, peer, error, failure);
    case CURLE_OUT_OF_MEMORY: /* what curl says to a line of 100 KB */
        return fail_answer(transfer, peer, transfer->has_head ? error : "a line of its head is too long",
                           failure);
    case CURLE_WRITE_ERROR:
        if (transfer->write_error)
            return failure_errno(failure, transfer->write_error, op, "cannot write the answer of %s", peer);
        return fail_broken(transfer, peer, error, deadline, failure);
    default:
        if (strstr(error, "chunked-encoding"))
            return fail_answer(transfer, peer, error, failure);
        return fail_broken(transfer, peer, error, deadline, failure);
    }
}
