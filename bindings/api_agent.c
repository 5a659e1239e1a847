/* The agent of another host: where it listens, by its own configuration, and the way there.
 *
 * The files of its folder are merged as the agent does it. What an agent computes when it starts ("{{ GetPrivateIP }}") is
 * taken for the address of the default route, which it nearly always is. */
#include "api.h"

#include "hcl_value.h"
#include "hosts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define READ_MS  30000
#define TEMPLATE "{{"

/* ---- settings ---- */

/* Names are the same in capitals, to the agents. */
static bool is_named(const struct hcl_document *document, uint32_t key, const char *name, size_t length)
{
    struct buffer text = {0};
    hcl_text(document, key, &text);
    bool same = text.length == length && strncasecmp(buffer_text(&text), name, length) == 0;
    buffer_free(&text);
    return same;
}

static bool take_value(const struct hcl_document *document, uint32_t node, struct buffer *value)
{
    int64_t integer;
    double real;
    const struct hcl_node *at = hcl_at(document, node);
    if (at->kind != HCL_STRING && at->kind != HCL_HEREDOC && at->kind != HCL_NUMBER &&
        at->kind != HCL_BOOLEAN)
        return false;
    buffer_wipe(value);
    if (at->kind == HCL_NUMBER && hcl_number(document, node, &integer, &real, value) == HCL_INTEGER)
        buffer_format(value, "%" PRId64, integer);
    else
        hcl_text(document, node, value);
    return true;
}

/* What the rest of a path leads to from a value: "" the value itself, ".http" a member of it. A list of blocks is as good
 * as the blocks. */
static bool find_setting(const struct hcl_document *document, uint32_t node, const char *rest,
                         struct buffer *value)
{
    const struct hcl_node *at = hcl_at(document, node);
    bool found = false;
    if (*rest == '\0')
        return take_value(document, node, value);
    if (at->kind == HCL_LIST)
        for (uint32_t item = at->first; item != 0; item = hcl_at(document, item)->next)
            found = find_setting(document, item, rest, value) || found;
    if (at->kind != HCL_OBJECT && at->kind != HCL_ROOT)
        return found;
    size_t length = strcspn(rest + 1, ".");
    for (uint32_t member = at->first; member != 0; member = hcl_at(document, member)->next)
        if (is_named(document, hcl_name(document, member), rest + 1, length))
            found =
                find_setting(document, hcl_at(document, member)->value, rest + 1 + length, value) || found;
    return found;
}

bool api_agent_setting(const struct hcl_document *document, const char *path, struct buffer *value)
{
    struct buffer rest = {0};
    buffer_format(&rest, ".%s", path);
    bool found = find_setting(document, document->root, buffer_text(&rest), value);
    buffer_free(&rest);
    return found;
}

/* ---- the files ---- */

struct config_file {
    const char *name, *text; /* in the answer of the host */
    size_t length;
};

static int compare_files(const void *left, const void *right)
{
    const struct config_file *a = left, *b = right;
    return strcmp(a->name, b->name);
}

/* Of each file its name and text, NUL behind both: where one is in a text, another byte that HCL has not stands for it. */
static bool read_folder(struct host *host, const char *folder, struct buffer *text, struct failure *failure)
{
    static const char script[] = "cd -- \"$1\" 2>/dev/null || exit 0\n"
                                 "for file in * .[!.]*; do\n"
                                 "  case $file in *.hcl|*.json) ;; *) continue ;; esac\n"
                                 "  [ -f \"$file\" ] && [ -r \"$file\" ] && printf '%s\\0' \"$file\" && "
                                 "tr '\\000' '\\001' <\"$file\" && printf '\\0'\n"
                                 "done 2>/dev/null; :";
    const char *argv[] = {"sh", "-c", script, "sh", folder, NULL};
    struct host_command command = {.argv = argv, .timeout_ms = READ_MS};
    return host_check(host, &command, text, failure);
}

/* In the order in which the agents merge them. */
static struct config_file *list_files(const struct buffer *answer, size_t *count)
{
    struct config_file *files = NULL;
    const char *at = buffer_text(answer), *end = at + answer->length, *middle, *last;
    for (*count = 0; (middle = memchr(at, '\0', (size_t)(end - at))) != NULL &&
                     (last = memchr(middle + 1, '\0', (size_t)(end - middle - 1))) != NULL;
         at = last + 1, ++*count) {
        files = reallocate(files, (*count + 1) * sizeof *files);
        files[*count] = (struct config_file){at, middle + 1, (size_t)(last - middle - 1)};
    }
    if (files != NULL)
        qsort(files, *count, sizeof *files, compare_files);
    return files;
}

enum { ADDRESS, ADDRESS_ELSE, TLS_ADDRESS, PORT, TLS_PORT, TLS, SETTINGS };

/* What an agent's files say, the last one where several do. */
struct settings {
    struct buffer values[SETTINGS];
    bool found[SETTINGS];
    struct buffer unread; /* words for the files that cannot be understood */
    size_t files;
};

static void take_settings(const struct api_agent *agent, const struct buffer *answer,
                          struct settings *settings)
{
    const char *const paths[SETTINGS] = {
        [ADDRESS] = agent->address[0], [ADDRESS_ELSE] = agent->address[1], [TLS_ADDRESS] = agent->tls_address,
        [PORT] = agent->port,          [TLS_PORT] = agent->tls_port,       [TLS] = agent->tls};
    struct buffer arena = {0};
    struct config_file *files = list_files(answer, &settings->files);
    for (size_t i = 0; i < settings->files; i++) {
        struct hcl_document document;
        struct hcl_fault fault;
        size_t line, column;
        if (hcl_parse(files[i].text, files[i].length, &arena, &document, &fault)) {
            for (size_t j = 0; j < SETTINGS; j++)
                if (paths[j] != NULL && api_agent_setting(&document, paths[j], &settings->values[j]))
                    settings->found[j] = true;
            continue;
        }
        hcl_position(files[i].text, fault.at, &line, &column);
        buffer_format(&settings->unread, "%s %s, which has an error on line %zu",
                      settings->unread.length > 0 ? "," : " but for", files[i].name, line);
    }
    buffer_free(&arena);
    free(files);
}

static const char *setting(const struct settings *settings, int which)
{
    return settings->found[which] ? buffer_text(&settings->values[which]) : NULL;
}

/* ---- the address ---- */

static bool is_true(const char *text)
{
    return text != NULL && (strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0);
}

static const char *listens_on(const struct settings *settings, bool tls)
{
    const char *listens = tls ? setting(settings, TLS_ADDRESS) : NULL;
    for (int which = ADDRESS; which <= ADDRESS_ELSE && listens == NULL; which++)
        listens = setting(settings, which);
    return listens;
}

/* The source address of the host's default route; false: there is none, or it cannot be asked for. A documentation address
 * (RFC 5737): nothing is sent. */
static bool routed_address(struct host *host, struct buffer *address)
{
    const char *argv[] = {"ip", "-4", "route", "get", "192.0.2.1", NULL};
    struct host_command command = {.argv = argv, .timeout_ms = READ_MS};
    struct buffer output = {0};
    struct failure failure;
    const char *source =
        host_check(host, &command, &output, &failure) ? strstr(buffer_text(&output), " src ") : NULL;
    if (source != NULL)
        buffer_append(address, source + 5, strcspn(source + 5, " \n"));
    buffer_free(&output);
    return source != NULL;
}

/* Is it computed, and loopback not named beside? */
static bool is_computed(const char *listens)
{
    return listens != NULL && strstr(listens, TEMPLATE) != NULL && strstr(listens, "127.0.0.1") == NULL;
}

/* The first address of those that it listens on, as its own machine reaches it; a Unix socket is all of the address.
 * `computed`: what stands for a template, empty for loopback. */
static void add_address(const char *listens, const char *computed, bool tls, const char *port,
                        struct buffer *address)
{
    struct buffer first = {0};
    if (*computed)
        buffer_append_text(&first, computed);
    else if (listens != NULL)
        buffer_append(&first, listens, strcspn(listens, " "));
    const char *at = buffer_text(&first);
    if (strncmp(at, "unix://", 7) == 0) {
        buffer_append_text(address, at);
        buffer_free(&first);
        return;
    }
    if (!*at || strcmp(at, "0.0.0.0") == 0 || strcmp(at, "::") == 0 || strcmp(at, "[::]") == 0 ||
        strncmp(at, TEMPLATE, 2) == 0)
        at = "127.0.0.1";
    buffer_format(address, strchr(at, ':') && *at != '[' ? "%s[%s]:%s" : "%s%s:%s",
                  tls ? "https://" : "http://", at, port);
    buffer_free(&first);
}

bool api_agent_address(struct host *host, const struct api_product *product, struct buffer *address,
                       struct buffer *from, struct failure *failure)
{
    const struct api_agent *agent = product->agent;
    struct settings settings = {.files = 0};
    struct buffer answer = {0};
    if (host_server_address(host, agent->option, address)) {
        buffer_format(from, "%s= of the host", agent->option);
        return true;
    }
    bool read = read_folder(host, agent->folder, &answer, failure);
    if (read) {
        take_settings(agent, &answer, &settings);
        const char *port = setting(&settings, PORT), *tls_port = setting(&settings, TLS_PORT);
        /* A port below 1 is none: then the one for TLS is used. */
        bool tls = is_true(setting(&settings, TLS)) || (port && tls_port && atoi(port) < 1);
        const char *listens = listens_on(&settings, tls);
        struct buffer computed = {0};
        bool routed = is_computed(listens) && routed_address(host, &computed);
        add_address(listens, buffer_text(&computed), tls,
                    tls && tls_port ? tls_port
                    : port          ? port
                                    : product->port,
                    address);
        buffer_format(from, "%s of %s%s%s",
                      settings.files > 0 ? agent->folder
                                         : "the default, nothing being readable in the folder",
                      host->name, buffer_text(&settings.unread),
                      routed ? ", which lets the agent compute it: the default route's is taken" : "");
        buffer_free(&computed);
    }
    for (size_t i = 0; i < SETTINGS; i++)
        buffer_wipe(&settings.values[i]);
    buffer_free(&settings.unread);
    buffer_wipe(&answer);
    return read;
}

/* ---- the way there ---- */

/* "https://[::1]:8501/prefix" -> "::1", 8501 */
static void take_apart(const char *base, char *address, size_t size, int *port)
{
    const char *at = strstr(base, "://");
    bool tls = strncmp(base, "https", 5) == 0;
    at = at ? at + 3 : base;
    bool bracket = *at == '[';
    at += bracket;
    size_t length = strcspn(at, bracket ? "]" : ":/");
    const char *rest = at + length + bracket;
    snprintf(address, size, "%.*s", (int)length, at);
    *port = *rest == ':' ? atoi(rest + 1) : tls ? 443 : 80;
    if (length == 0 || length >= size || *port > 65535)
        *port = 0;
}

void api_agent_way(const struct api_client *client, struct exchange *exchange)
{
    const char *path = client->target.unix_socket;
    exchange->via = client->host;
    exchange->via_port = 0;
    if (client->host && path)
        snprintf(exchange->via_address, sizeof exchange->via_address, "%s",
                 strlen(path) < sizeof exchange->via_address ? path : "");
    else if (client->host)
        take_apart(client->base, exchange->via_address, sizeof exchange->via_address, &exchange->via_port);
}

struct host *api_overlay_host(lua_State *L, const struct api_client *client)
{
    return client->host ? client->host : runtime_of(L)->local;
}
