/* The agent of another host: where it listens, by its own configuration, and the way there.
 *
 * Of HCL and JSON no more is understood than is needed for settings like "ports.http": names, blocks, plain values. What an
 * agent computes when it starts ("{{ GetInterfaceIP ... }}") is not known here. */
#include "api.h"

#include "hosts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MOST  24
#define NAME_MOST   48
#define READ_MS     30000
#define NO_TEMPLATE "{{"

/* ---- settings ---- */

struct scan {
    const char *at;
    char names[DEPTH_MOST]
              [NAME_MOST]; /* of the blocks that it is in; "" for a list or an object without one */
    size_t depth;
};

static void skip_blanks(struct scan *scan)
{
    for (;;) {
        scan->at += strspn(scan->at, " \t\r\n,;");
        const char *end = NULL;
        if (scan->at[0] == '#' || strncmp(scan->at, "//", 2) == 0)
            scan->at += strcspn(scan->at, "\n");
        else if (strncmp(scan->at, "/*", 2) == 0)
            scan->at = (end = strstr(scan->at + 2, "*/")) ? end + 2 : scan->at + strlen(scan->at);
        else
            return;
    }
}

/* A quoted text or a bare word. False where something else stands. */
static bool take_word(struct scan *scan, struct buffer *word)
{
    buffer_clear(word);
    if (*scan->at == '"') {
        for (scan->at++; *scan->at && *scan->at != '"' && *scan->at != '\n'; scan->at++) {
            scan->at += scan->at[0] == '\\' && scan->at[1];
            buffer_append(word, scan->at, 1);
        }
        scan->at += *scan->at == '"';
        return true;
    }
    size_t length = 0;
    while (isalnum((unsigned char)scan->at[length]) || (scan->at[length] && strchr("_-.+", scan->at[length])))
        length++;
    buffer_append(word, scan->at, length);
    scan->at += length;
    return length > 0;
}

static void enter(struct scan *scan, const char *name)
{
    if (scan->depth < DEPTH_MOST)
        snprintf(scan->names[scan->depth], NAME_MOST, "%s", name);
    scan->depth++;
    scan->at++;
}

/* Is it the setting: the blocks around it and its name? */
static bool is_wanted(const struct scan *scan, const char *name, const char *path)
{
    struct buffer whole = {0};
    for (size_t i = 0; i < scan->depth && i < DEPTH_MOST; i++)
        if (*scan->names[i])
            buffer_format(&whole, "%s.", scan->names[i]);
    buffer_append_text(&whole, name);
    bool same = scan->depth <= DEPTH_MOST && strcmp(buffer_text(&whole), path) == 0;
    buffer_free(&whole);
    return same;
}

bool api_agent_setting(const char *text, const char *path, struct buffer *value)
{
    struct scan *scan = allocate_zeroed(1, sizeof *scan);
    struct buffer name = {0}, word = {0};
    bool found = false;
    scan->at = text;
    while (skip_blanks(scan), *scan->at) {
        if (*scan->at == '}' || *scan->at == ']') {
            scan->depth -= scan->depth > 0;
            scan->at++;
        } else if (*scan->at == '{' || *scan->at == '[') {
            enter(scan, "");
        } else if (take_word(scan, &name)) {
            skip_blanks(scan);
            bool assigned = *scan->at == '=' || *scan->at == ':';
            scan->at += assigned;
            skip_blanks(scan);
            if (assigned && *scan->at != '{' && *scan->at != '[' && take_word(scan, &word)) {
                if (is_wanted(scan, buffer_text(&name), path)) {
                    buffer_clear(value);
                    buffer_append_text(value, buffer_text(&word));
                    found = true;
                }
                continue;
            }
            while (!assigned && *scan->at == '"') { /* a block's labels */
                take_word(scan, &word);
                skip_blanks(scan);
            }
            if (*scan->at == '{' || *scan->at == '[')
                enter(scan, buffer_text(&name));
        } else {
            scan->at++;
        }
    }
    buffer_free(&name);
    buffer_free(&word);
    free(scan);
    return found;
}

/* ---- the address ---- */

static bool read_configuration(struct host *host, const char *folder, struct buffer *text,
                               struct failure *failure)
{
    static const char script[] = "for file in \"$1\"/*.hcl \"$1\"/*.json; do [ ! -f \"$file\" ] || { cat "
                                 "\"$file\"; echo; }; done 2>/dev/null; :";
    const char *argv[] = {"sh", "-c", script, "sh", folder, NULL};
    struct host_command command = {.argv = argv, .timeout_ms = READ_MS};
    return host_check(host, &command, text, failure);
}

static bool is_true(const char *text)
{
    return strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
}

/* The first address of those that it listens on, as its own machine reaches it; a Unix socket is all of the address. */
static void add_address(const struct api_agent *agent, const char *text, bool tls, const char *port,
                        struct buffer *address)
{
    struct buffer value = {0};
    bool found = tls && agent->tls_address && api_agent_setting(text, agent->tls_address, &value);
    for (size_t i = 0; i < 2 && !found; i++)
        found = api_agent_setting(text, agent->address[i], &value);
    if (value.length)
        value.bytes[strcspn(value.bytes, " ")] = '\0';
    const char *at = value.length ? value.bytes : "";
    if (strncmp(at, "unix://", 7) == 0) {
        buffer_append_text(address, at);
        buffer_free(&value);
        return;
    }
    if (!*at || strcmp(at, "0.0.0.0") == 0 || strcmp(at, "::") == 0 || strcmp(at, "[::]") == 0 ||
        strncmp(at, NO_TEMPLATE, 2) == 0)
        at = "127.0.0.1";
    buffer_format(address, strchr(at, ':') && *at != '[' ? "%s[%s]:%s" : "%s%s:%s",
                  tls ? "https://" : "http://", at, port);
    buffer_free(&value);
}

bool api_agent_address(struct host *host, const struct api_product *product, struct buffer *address,
                       struct buffer *from, struct failure *failure)
{
    const struct api_agent *agent = product->agent;
    struct buffer text = {0}, port = {0}, tls_port = {0}, value = {0};
    if (host_server_address(host, agent->option, address)) {
        buffer_format(from, "%s= of the host", agent->option);
        return true;
    }
    if (!read_configuration(host, agent->folder, &text, failure)) {
        buffer_free(&text);
        return false;
    }
    const char *all = buffer_text(&text);
    bool has_port = api_agent_setting(all, agent->port, &port);
    bool tls = agent->tls && api_agent_setting(all, agent->tls, &value) && is_true(buffer_text(&value));
    /* A port below 1 is none: then the one for TLS is used. */
    bool has_tls_port = agent->tls_port && api_agent_setting(all, agent->tls_port, &tls_port);
    if (has_port && has_tls_port && atoi(buffer_text(&port)) < 1)
        tls = true;
    add_address(agent, all, tls,
                tls && has_tls_port ? buffer_text(&tls_port)
                : has_port          ? buffer_text(&port)
                                    : product->port,
                address);
    buffer_format(from, "%s of %s",
                  text.length ? agent->folder : "the default, nothing being readable in the folder",
                  host->name);
    buffer_free(&text);
    buffer_free(&port);
    buffer_free(&tls_port);
    buffer_free(&value);
    return true;
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
