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

/* Shakes hands with what the caller changed in the request; `version` is curl's, 0 = any. True when that ended. */
static bool look_run(struct look *look, struct transfers *transfers, long version)
{
    struct failure ignored;
    look->transfer = transfer_new(transfers, &look->request, &look->answer, &ignored);
    if (!look->transfer)
        return false;
    look->transfer->plain = false;
    curl_easy_setopt(look->transfer->easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(look->transfer->easy, CURLOPT_CERTINFO, 1L);
    curl_easy_setopt(look->transfer->easy, CURLOPT_SSLVERSION, version);
    return transfer_run(transfers, look->transfer, runtime_now(transfers->runtime) + LOOK_MS) == WAIT_WOKEN;
}

static void look_close(struct look *look, struct transfers *transfers)
{
    if (look->transfer)
        transfer_free(transfers, look->transfer);
    transfer_answer_free(&look->answer);
}

/* --- the server's certificate ---------------------------------------------------------------------------------- */

/* What a certificate that did not verify says of itself: "subject CN = x, issued by CN = y, until DATE". A handshake
 * without verification reads it. Empty where it cannot be had. */
static void look_at_certificate(struct transfers *transfers, const struct transfer_request *request,
                                struct buffer *out)
{
    static const char *const parts[][2] = {{"Subject:", "subject "},
                                           {"X509v3 Subject Alternative Name:", ", for "},
                                           {"Issuer:", ", issued by "},
                                           {"Expire date:", ", until "}};
    struct look look;
    struct curl_certinfo *chain = NULL;
    look_open(&look, request);
    look.request.target.insecure = true;
    bool seen = look_run(&look, transfers, 0) && look.transfer->result == CURLE_OK &&
                curl_easy_getinfo(look.transfer->easy, CURLINFO_CERTINFO, &chain) == CURLE_OK &&
                chain->num_of_certs > 0;
    for (size_t i = 0; seen && i < sizeof parts / sizeof parts[0]; i++)
        for (struct curl_slist *line = chain->certinfo[0]; line; line = line->next)
            if (strncmp(line->data, parts[i][0], strlen(parts[i][0])) == 0)
                buffer_format(out, "%s%.200s", parts[i][1], line->data + strlen(parts[i][0]));
    look_close(&look, transfers);
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
    if (strstr(error, "has expired") || strstr(error, "not yet valid"))
        failure_hint(failure, "have the server's certificate renewed, or set the clock of this machine");
    else
        failure_hint(failure,
                     "name the authority that issued it with ca=, or the name it is for with server_name=");
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
static bool look_at_refusal(struct transfers *transfers, const struct transfer *transfer, char *error)
{
    struct look look;
    if (strncasecmp(transfer->request->url, "https:", 6) != 0 || transfer->header_bytes > 0)
        return false;
    look_open(&look, transfer->request);
    bool ended = look_run(&look, transfers, CURL_SSLVERSION_TLSv1_2 | CURL_SSLVERSION_MAX_TLSv1_2);
    const char *said = ended ? look.transfer->error : "";
    bool none = !look.request.target.cert && strstr(said, "alert handshake failure"); /* OpenSSL's servers */
    bool refused = none || is_about_client(said);
    if (refused)
        memcpy(error, look.transfer->error, CURL_ERROR_SIZE);
    look_close(&look, transfers);
    return refused;
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
        else if (!target->cert && strstr(transfer->error, "alert handshake failure"))
            failure_hint(failure, "perhaps the server wants a client certificate: cert= and key=");
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
    char peer[256], refusal[CURL_ERROR_SIZE];
    transfer_show_peer(request, peer, sizeof peer);
    if (transfer->too_large)
        return failure_set(failure, "invalid", op, "the answer of %s is larger than %zu bytes", peer,
                           request->answer_limit ? request->answer_limit : TRANSFER_ANSWER_LIMIT);
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
        if (look_at_refusal(transfers, transfer, refusal))
            return fail_client(request, peer, refusal, failure);
        return failure_set(failure, "unreachable", op, "the exchange with %s broke off: %s", peer, error);
    }
}
