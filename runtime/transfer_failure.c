/* Why an exchange ended without an answer, in words: whom it was with, what a certificate says, what to do. */
#include "transfer_attempt.h"

#include "fiber.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_AT_CERTIFICATE_MS 3000

/* What a certificate that did not verify says of itself: "CN = x, issued by CN = y, until DATE". A second handshake
 * without verification reads it; no request is sent over it. Empty where it cannot be had. */
static void look_at_certificate(struct transfers *transfers, const struct transfer_request *request,
                                struct buffer *out)
{
    struct transfer_answer answer = {0};
    struct transfer_request look = *request;
    struct curl_certinfo *chain = NULL;
    look.target.insecure = true;
    look.target.user = NULL;
    look.header_count = 0;
    struct failure ignored;
    struct transfer *transfer = transfer_new(transfers, &look, &answer, &ignored);
    if (!transfer)
        return;
    curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(transfer->easy, CURLOPT_CERTINFO, 1L);
    if (transfer_run(transfers, transfer, runtime_now(transfers->runtime) + LOOK_AT_CERTIFICATE_MS) ==
            WAIT_WOKEN &&
        transfer->result == CURLE_OK &&
        curl_easy_getinfo(transfer->easy, CURLINFO_CERTINFO, &chain) == CURLE_OK && chain->num_of_certs > 0) {
        static const char *const parts[][2] = {{"Subject:", "subject "},
                                               {"X509v3 Subject Alternative Name:", ", for "},
                                               {"Issuer:", ", issued by "},
                                               {"Expire date:", ", until "}};
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            for (struct curl_slist *line = chain->certinfo[0]; line; line = line->next)
                if (strncmp(line->data, parts[i][0], strlen(parts[i][0])) == 0)
                    buffer_format(out, "%s%.200s", parts[i][1], line->data + strlen(parts[i][0]));
    }
    transfer_free(transfers, transfer);
    transfer_answer_free(&answer);
}

static bool fail_certificate(struct transfers *transfers, const struct transfer_request *request,
                             const char *error, struct failure *failure)
{
    char peer[256];
    struct buffer shown = {0};
    const char *trusted = request->target.ca        ? request->target.ca
                          : request->target.ca_path ? request->target.ca_path
                                                    : "the system's authorities";
    transfer_show_peer(request, peer, sizeof peer);
    look_at_certificate(transfers, request, &shown);
    failure_set(failure, "unreachable", request->op,
                "the certificate of %s%s%s%s does not verify against %s: %s", peer, shown.length ? " (" : "",
                buffer_text(&shown), shown.length ? ")" : "", trusted, error);
    failure_hint(failure,
                 "name the authority that issued it with ca=, or the name it is for with server_name=");
    buffer_free(&shown);
    return false;
}

bool transfer_fail_timeout(const struct transfer_request *request, bool connected, uint64_t waited_ms,
                           struct failure *failure)
{
    char peer[256];
    transfer_show_peer(request, peer, sizeof peer);
    failure_set(failure, "timeout", request->op,
                connected ? "%s did not answer in full within %.1f s" : "no connection to %s within %.1f s",
                peer, (double)waited_ms / 1000);
    return false;
}

static bool fail_connect(const struct transfer *transfer, const char *peer, struct failure *failure)
{
    const struct transfer_request *request = transfer->request;
    long number = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &number);
    failure_set(failure, "unreachable", request->op, "cannot connect to %s: %s", peer,
                number ? strerror((int)number) : transfer->error);
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
        else if (strstr(transfer->error, "alert"))
            failure_hint(failure, "the server refused: it may want a client certificate (cert=, key=)");
        return false;
    }
}

/* Why the attempt ended without an answer. */
bool transfer_fail_result(struct transfers *transfers, const struct transfer *transfer, uint64_t waited_ms,
                          struct failure *failure)
{
    const struct transfer_request *request = transfer->request;
    const char *op = request->op;
    const char *error = transfer->error[0] ? transfer->error : curl_easy_strerror(transfer->result);
    char peer[256];
    transfer_show_peer(request, peer, sizeof peer);
    if (transfer->too_large)
        return failure_set(failure, "invalid", op, "the answer of %s is larger than %zu bytes", peer,
                           request->answer_limit ? request->answer_limit : TRANSFER_ANSWER_LIMIT);
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
        return fail_certificate(transfers, request, error, failure);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return fail_tls(transfer, peer, failure);
    case CURLE_URL_MALFORMAT:
        return failure_set(failure, "usage", op, "not a URL that can be asked: %s", error);
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 and garbage; other schemes were refused before */
    case CURLE_WEIRD_SERVER_REPLY:
        return failure_set(failure, "invalid", op, "%s does not answer in HTTP: %s", peer, error);
    case CURLE_WRITE_ERROR:
        if (transfer->write_error)
            return failure_errno(failure, transfer->write_error, op, "cannot write the answer of %s", peer);
        /* fall through */
    default:
        failure_set(failure, "unreachable", op, "the exchange with %s broke off: %s", peer, error);
        /* With TLS 1.3 the refusal comes after the handshake, and may be lost when the server closes at once. */
        if (strstr(error, "certificate required"))
            failure_hint(failure, "the server wants a client certificate: cert= and key=");
        else if (strncmp(request->url, "https:", 6) == 0 && !request->target.cert)
            failure_hint(failure, "perhaps the server wants a client certificate: cert= and key=");
        return false;
    }
}
