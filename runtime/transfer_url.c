/* URLs of requests: their parts, and what of them may be shown. */
#include "transfer_attempt.h"

#include "fiber.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

char *transfer_url_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    if (curl_url_get(url, part, &text, part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0) != CURLUE_OK)
        return NULL;
    return text;
}

void transfer_hide_password(struct redactor *redactor, const char *url)
{
    CURLU *parsed = curl_url();
    char *user = NULL, *password = NULL;
    if (parsed && curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_PASSWORD, &password, CURLU_URLDECODE) == CURLUE_OK && password) {
        redactor_add(redactor, password, strlen(password));
        /* "https://TOKEN:@host/": then the user is the secret. */
        if (!*password && curl_url_get(parsed, CURLUPART_USER, &user, CURLU_URLDECODE) == CURLUE_OK && user)
            redactor_add(redactor, user, strlen(user));
    }
    curl_free(user);
    curl_free(password);
    curl_url_cleanup(parsed);
}

/* Most URLs have no "@" and so no user: they are shown as they are, without a parser. */
static bool has_nothing_to_hide(const char *url)
{
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return false;
    for (; *url; url++)
        if (*url == '@' || *url <= ' ' || *url == 0x7f)
            return false;
    return true;
}

void transfer_show_url(const char *url, struct buffer *out)
{
    if (has_nothing_to_hide(url)) {
        buffer_append_text(out, url);
        return;
    }
    CURLU *parsed = curl_url();
    char *text = NULL;
    if (parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK) {
        curl_url_set(parsed, CURLUPART_USER, NULL, 0);
        curl_url_set(parsed, CURLUPART_PASSWORD, NULL, 0);
        text = transfer_url_part(parsed, CURLUPART_URL);
    }
    buffer_append_text(out, text ? text : "(not a URL)");
    curl_free(text);
    curl_url_cleanup(parsed);
}

CURLU *transfer_parse_url(const struct transfer_request *request, struct failure *failure)
{
    CURLU *url = curl_url();
    CURLUcode code =
        url ? curl_url_set(url, CURLUPART_URL, request->url, CURLU_PATH_AS_IS) : CURLUE_OUT_OF_MEMORY;
    char *scheme = code == CURLUE_OK ? transfer_url_part(url, CURLUPART_SCHEME) : NULL;
    bool web = scheme && (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0);
    curl_free(scheme);
    if (web)
        return url;
    curl_url_cleanup(url);
    failure_set(failure, "usage", request->op, "not an http or https URL%s%s", code == CURLUE_OK ? "" : ": ",
                code == CURLUE_OK ? "" : curl_url_strerror(code));
    return NULL;
}

bool transfer_is_loopback(CURLU *url)
{
    char *host = transfer_url_part(url, CURLUPART_HOST);
    struct in_addr number;
    bool loopback = host && (strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
                             (inet_pton(AF_INET, host, &number) == 1 && ntohl(number.s_addr) >> 24 == 127));
    curl_free(host);
    return loopback;
}

/* "10.0.0.1:8500", or the path of the Unix socket: who did not answer. */
void transfer_show_peer(const struct transfer_request *request, char *out, size_t size)
{
    CURLU *url = curl_url();
    char *host = NULL, *port = NULL;
    if (url && curl_url_set(url, CURLUPART_URL, request->url, 0) == CURLUE_OK) {
        host = transfer_url_part(url, CURLUPART_HOST);
        port = transfer_url_part(url, CURLUPART_PORT);
    }
    if (request->target.unix_socket)
        snprintf(out, size, "%s",
                 request->target.behind ? request->target.behind : request->target.unix_socket);
    else
        snprintf(out, size, "%s:%s", host ? host : "?", port ? port : "?");
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
}

/* curl verifies the certificate against the URL's host: where another name must be in it, that name goes into the
 * URL, and the connection to where the URL said. */
void transfer_name_server(struct transfer *transfer)
{
    const char *name = transfer->request->target.server_name;
    char *host = transfer_url_part(transfer->url, CURLUPART_HOST);
    char *port = transfer_url_part(transfer->url, CURLUPART_PORT);
    struct buffer line = {0};
    if (host && port && curl_url_set(transfer->url, CURLUPART_HOST, name, 0) == CURLUE_OK) {
        buffer_format(&line, "%s:%s:%s:%s", name, port, host, port);
        transfer->connect_to = curl_slist_append(NULL, buffer_text(&line));
        buffer_clear(&line);
        buffer_format(&line, "Host: %s:%s", host, port);
        transfer->headers = curl_slist_append(transfer->headers, buffer_text(&line));
    }
    buffer_free(&line);
    curl_free(host);
    curl_free(port);
}
