/* What servers answer: values, absence, and errors in the several shapes of the three products. */
#include "api.h"

#include "json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SHOWN_ERROR 1500

/* --- values -------------------------------------------------------------------------------------------------- */

/* Was the bare value of a key asked for? */
static bool asks_raw(const struct api_row *row, const struct exchange *exchange)
{
    const char *query = strchr(buffer_text(&exchange->url), '?');
    if (!query || !api_has_word(row->query, "raw"))
        return false;
    for (const char *at = query; at; at = strchr(at + 1, '&'))
        if (strncmp(at + 1, "raw", 3) == 0 && strchr("=&", at[4]))
            return true;
    return false;
}

/* Is the answer to be decoded? Some options make a JSON endpoint answer text (format=prometheus): the content type
 * tells, and servers that name none answer JSON where the row says so. Proxies and old servers call JSON plain text. */
static bool is_decoded(const struct api_row *row, const struct exchange *exchange)
{
    if (strcmp(row->returns, "json") != 0 || asks_raw(row, exchange))
        return false;
    const char *text = buffer_text(&exchange->answer.body);
    text += strspn(text, " \r\n\t");
    return exchange_is_json(exchange) || !transfer_answer_header(&exchange->answer, "Content-Type") ||
           *text == '{' || *text == '[' || exchange_is_page(exchange);
}

const char *api_hint_foreign(const struct api_client *client, struct exchange *exchange)
{
    struct buffer hint = {0};
    buffer_format(&hint, "is it %s that answers there? (the address is from %s)", client->product->title,
                  client->address_from);
    const char *copy = exchange_copy(exchange, buffer_text(&hint));
    buffer_free(&hint);
    return copy;
}

/* [-0, +1, v] */
static void push_decoded(lua_State *L, const struct api_client *client, const struct api_row *row,
                         struct exchange *exchange)
{
    char error[256];
    const struct buffer *body = &exchange->answer.body;
    if (exchange_is_page(exchange) || !json_decode(L, buffer_text(body), body->length, error, sizeof error))
        exchange_refuse_json(L, exchange, error, api_hint_foreign(client, exchange));
    if (!json_is_null(L, -1))
        return;
    lua_pop(L, 1); /* Go writes an empty list as null */
    if (strncmp(row->name, "list_", 5) == 0) {
        lua_newtable(L);
        json_mark_array(L, -1);
    } else
        lua_pushnil(L);
}

static bool contains(const char *text, const char *part)
{
    return strcasestr(text, part) != NULL;
}

/* Does the text begin so, blanks aside? */
static bool begins(const char *text, const char *wanted)
{
    for (; *wanted; text++) {
        if (isspace((unsigned char)*text))
            continue;
        if (*text != *wanted++)
            return false;
    }
    return true;
}

static bool has_header(const struct exchange *exchange, const char *name)
{
    return name && transfer_answer_header(&exchange->answer, name);
}

/* Does the 404 say that the thing is not there, or that the server does not know the endpoint? Consul and Nomad answer
 * both with no text at all: then the index, which blocking endpoints send, or another header tells them apart. */
static bool is_absence(const struct api_client *client, const struct api_row *row,
                       const struct exchange *exchange)
{
    const char *text = buffer_text(&exchange->answer.body);
    if (row->effect != API_READ || exchange->answer.status != 404)
        return false;
    text += strspn(text, " \r\n\t");
    const struct api_product *product = client->product;
    const char *reason = transfer_answer_header(&exchange->answer, "X-Consul-Reason");
    if (!*text && (row->blocking || product->endpoint_header))
        return has_header(exchange, product->index_header) || has_header(exchange, product->endpoint_header);
    if (!*text)
        return strchr(row->path, '{');
    if (begins(text, "{\"errors\":[]}") || (reason && contains(reason, "not found")))
        return true;
    return !contains(text, "no handler for route") &&
           (contains(text, "not found") || contains(text, "unknown ")) && !contains(text, "page not found");
}

/* Vault's 404 for a deleted version of a secret tells of it. */
static bool is_trace(const struct api_row *row, const struct exchange *exchange)
{
    return row->effect == API_READ && exchange->answer.status == 404 &&
           strstr(buffer_text(&exchange->answer.body), "\"data\":") &&
           !strstr(buffer_text(&exchange->answer.body), "\"errors\"");
}

/* [-0, +1, m] {index=, status=, headers=} */
static void push_meta(lua_State *L, const struct api_client *client, const struct exchange *exchange)
{
    const char *index = client->product->index_header
                            ? transfer_answer_header(&exchange->answer, client->product->index_header)
                            : NULL;
    lua_createtable(L, 0, 2);
    size_t digits = index ? strspn(index, "0123456789") : 0;
    if (digits > 0 && !index[digits] && strtoull(index, NULL, 10) <= LUA_MAXINTEGER) {
        lua_pushinteger(L, (lua_Integer)strtoull(index, NULL, 10));
        lua_setfield(L, -2, "index");
    }
    lua_pushinteger(L, exchange->answer.status);
    lua_setfield(L, -2, "status");
    exchange_attach_headers(L, exchange);
}

/* Must the answer say something? */
static bool is_question(const struct api_row *row)
{
    return row->effect == API_READ && strcmp(row->method, "GET") == 0 && strcmp(row->returns, "json") == 0;
}

void api_push_answer(lua_State *L, const struct api_client *client, const struct api_row *row,
                     struct exchange *exchange)
{
    const struct buffer *body = &exchange->answer.body;
    int status = exchange->answer.status;
    bool (*is_missing)(lua_State *, const struct api_client *, const struct exchange *) =
        row->effect == API_READ ? client->product->is_missing : NULL;
    if (is_absence(client, row, exchange) || (is_missing && is_missing(L, client, exchange)))
        lua_pushnil(L);
    else if (status >= 300 && !exchange_is_answer(exchange, status) && !is_trace(row, exchange)) {
        struct failure failure;
        api_explain(L, client, row, exchange, &failure);
        failure_raise(L, &failure);
    } else if (status == 204 && row->effect == API_READ && strcmp(row->returns, "json") == 0)
        lua_pushnil(L); /* looked for and not found */
    else if (body->length == 0 && status == 200 && is_question(row) && !asks_raw(row, exchange))
        exchange_refuse_json(L, exchange, "it is empty", api_hint_foreign(client, exchange));
    else if (body->length == 0 && strcmp(row->returns, "raw") != 0 && strcmp(row->returns, "text") != 0 &&
             !asks_raw(row, exchange))
        lua_pushboolean(L, true); /* done, nothing to tell */
    else if (is_decoded(row, exchange))
        push_decoded(L, client, row, exchange);
    else
        lua_pushlstring(L, buffer_text(body), body->length);
    api_hide(L, client->product->secret, exchange->op);
    api_hide(L, row->secret, exchange->op);
    push_meta(L, client, exchange);
}

/* --- errors -------------------------------------------------------------------------------------------------- */

static const char withheld[] = "not shown, it may hold secrets";

/* Appends a message on one line: what multierror writes as a list of one is that one. */
static void append_line(struct buffer *out, const char *text, size_t length)
{
    static const char one[] = "1 error occurred:";
    if (length > sizeof one && strncmp(text, one, sizeof one - 1) == 0) {
        text += sizeof one - 1;
        length -= sizeof one - 1;
        while (length > 0 && (isspace((unsigned char)*text) || *text == '*'))
            text++, length--;
    }
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    buffer_append(out, text, length);
}

/* Appends what stands for the escape at `at`, the backslash, and returns its last byte. */
static const char *append_escape(struct buffer *out, const char *at)
{
    char byte = *++at && strchr("nrtbf", *at) ? ' ' : *at, digits[5] = "";
    if (byte != 'u' || strspn(strncpy(digits, at + 1, 4), "0123456789abcdefABCDEF") != 4) {
        buffer_append(out, &byte, 1);
        return at;
    }
    unsigned long code = strtoul(digits, NULL, 16);
    if (code < 0x80)
        buffer_append(out, &(char){code < ' ' ? ' ' : (char)code}, 1);
    else if (code < 0x800)
        buffer_append(out, (char[]){(char)(0xC0 | code >> 6), (char)(0x80 | (code & 63))}, 2);
    else if (code < 0xD800 || code > 0xDFFF)
        buffer_append(
            out,
            (char[]){(char)(0xE0 | code >> 12), (char)(0x80 | (code >> 6 & 63)), (char)(0x80 | (code & 63))},
            3);
    else
        buffer_append(out, "?", 1); /* half of a pair */
    return at + 4;
}

/* Appends the string whose quote is at `at`; returns where its closing quote is. Errors are small, of a few known forms,
 * and must be told without Lua: so they are read by hand. */
static const char *append_string(struct buffer *out, const char *at)
{
    struct buffer word = {0};
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1])
            at = append_escape(&word, at);
        else
            buffer_append(&word, at, 1);
    append_line(out, buffer_text(&word), word.length);
    buffer_free(&word);
    return at;
}

/* The strings of {"errors": ["...", ...]}, Vault's shape, or of its "warnings", which some errors have instead. False where it has another shape. */
static bool append_error_list(struct buffer *out, const char *text, const char *name)
{
    const char *at = strstr(text, name);
    if (text[0] != '{' || !at || !(at = strchr(at, '[')))
        return false;
    for (at++; *at && *at != ']'; at++) {
        if (*at != '"')
            continue;
        if (out->length > 0)
            buffer_append_text(out, "; ");
        at = append_string(out, at);
        if (!*at)
            break;
    }
    return out->length > 0;
}

/* {"Results": null, "Errors": [{"OpIndex": 1, "What": "..."}, ...]}, of Consul's transactions. Operations are counted
 * from 1, as the list of them in Lua is. */
static bool append_failed_operations(struct buffer *out, const char *text)
{
    static const char index[] = "\"OpIndex\":", what[] = "\"What\":";
    const char *at = strstr(text, "\"Errors\":[");
    if (text[0] != '{')
        return false;
    while (at && *at && (at = strstr(at, index))) {
        const char *said = strstr(at, what);
        long number = strtol(at + sizeof index - 1, NULL, 10);
        if (!said || said[sizeof what - 1] != '"')
            break;
        buffer_format(out, "%soperation %ld: ", out->length > 0 ? "; " : "", number + 1);
        at = append_string(out, said + sizeof what - 1);
    }
    return out->length > 0;
}

/* Where the token is known but not enough: how to see what is missing. */
static void hint_capability(const struct api_client *client, const char *path, struct failure *failure)
{
    char text[sizeof failure->hint];
    int used = snprintf(text, sizeof text, "%s; ", failure->hint);
    if (used > 0 && (size_t)used < sizeof text)
        snprintf(text + used, sizeof text - (size_t)used, client->product->capability, path);
    failure_hint(failure, "%s", text);
}

/* The variable by which the product's own command line is told a setting of the connection. */
static const char *variable_of(const struct api_product *product, enum api_setting setting, const char *none)
{
    for (const struct api_variable *each = product->environment; each->name; each++)
        if (each->setting == setting)
            return each->name;
    return none;
}

/* What is missing: "; it needs service:read and node:read". */
static void hint_permissions(const struct api_client *client, const struct api_row *row,
                             struct failure *failure)
{
    const char *list = api_permission_of(client->product, row), *joint = "; it needs";
    struct buffer text = {0};
    char resource[API_WORD];
    buffer_append_text(&text, failure->hint);
    for (; api_next_word(&list, resource, sizeof resource, NULL); joint = " and")
        buffer_format(&text, "%s %s:%s", joint, resource, row->effect == API_READ ? "read" : "write");
    failure_hint(failure, "%s", buffer_text(&text));
    buffer_free(&text);
}

/* Who asked: the commonest reason of a refusal is that nobody did. */
static void hint_permission(const struct api_client *client, const struct api_row *row, const char *said,
                            const char *path, struct failure *failure)
{
    const char *variable = variable_of(client->product, API_TOKEN, "");
    if (!client->token)
        failure_hint(failure, "no token was set: set %s or give token=", variable);
    else if (contains(said, "not found") || contains(said, "bad token"))
        failure_hint(failure, "the token from %s is not known to the servers: it was deleted or has expired",
                     client->token_from);
    else {
        failure_hint(failure, "the token from %s has no policy that allows this", client->token_from);
        hint_permissions(client, row, failure);
    }
    if (client->token && client->product->capability && path && strcmp(failure->kind, "permission") == 0)
        hint_capability(client, path, failure);
}

/* Is it for want of rights? Consul's keyring refuses with a 500. */
static bool is_refusal(int status, const char *said)
{
    return status == 401 || status == 403 || (contains(said, "denied ") && contains(said, " ACLs"));
}

/* What the status alone says. */
static void hint_status(const struct exchange *exchange, const char *said, struct failure *failure)
{
    int status = exchange->answer.status;
    const char *after = transfer_answer_header(&exchange->answer, "Retry-After");
    if (status == 409 && strcmp(said, withheld) == 0)
        failure_hint(failure, "somebody else has changed it: read it again, with its index");
    else if (status == 429)
        failure_hint(failure, "the server takes no more requests for now: ask again later%s%.40s",
                     after ? ", Retry-After: " : "", after ? after : "");
    else if (status == 407)
        failure_hint(failure,
                     "a proxy answers, the one that http_proxy names: no_proxy names what needs none");
    else if (status >= 502 && status <= 504)
        failure_hint(failure,
                     "the server, or one that it asks, is not ready: look at its log, ask again later");
}

static void hint_error(const struct api_client *client, const struct api_row *row, const char *said,
                       const char *path, const struct exchange *exchange, struct failure *failure)
{
    int status = exchange->answer.status;
    /* Where another endpoint has an id at that place, an older server takes the last word for one. */
    bool is_id = contains(said, "UUID must be") && !strchr(row->path, '{');
    for (const struct api_hint *hint = client->product->hints; hint->text && !is_id; hint++)
        if (contains(said, hint->text)) {
            failure_hint(failure, "%s", hint->hint);
            return;
        }
    hint_status(exchange, said, failure);
    if (contains(said, "HTTP request to an HTTPS server")) /* Go's own words */
        failure_hint(failure, "the server speaks https there: begin the address from %s with https://",
                     client->address_from);
    else if (is_refusal(status, said))
        hint_permission(client, row, said, path, failure);
    else if ((status == 404 || status == 405 || is_id) &&
             !(client->product->top && strcmp(row->group, client->product->top) == 0))
        failure_hint(failure, "the server may be too old: %s %s%s%s has this endpoint",
                     client->product->title, row->since[0] ? "from " : "",
                     row->since[0] ? row->since : "of a later version", row->since[0] ? " on" : "");
}

/* What the server said, on one line, as it may be shown. A refusal may tell what is there instead, as that of a variable
 * does which somebody else has changed: secrets that nobody has read yet. */
static void append_said(lua_State *L, const struct api_row *row, const struct exchange *exchange,
                        struct buffer *out)
{
    struct buffer said = {0};
    const char *text = buffer_text(&exchange->answer.body);
    char first = text[strspn(text, " \t\r\n")];
    if (first == '<') /* a proxy's page */
        return;
    if (!append_error_list(&said, text, "\"errors\"") && !append_failed_operations(&said, text) &&
        !append_error_list(&said, text, "\"warnings\"")) {
        if (first == '{' && *row->secret)
            buffer_append_text(&said, withheld);
        else
            append_line(&said, text, exchange->answer.body.length);
    }
    exchange_excerpt(L, buffer_text(&said), said.length, SHOWN_ERROR, out);
    buffer_wipe(&said);
}

void api_explain(lua_State *L, const struct api_client *client, const struct api_row *row,
                 const struct exchange *exchange, struct failure *failure)
{
    int status = exchange->answer.status;
    struct buffer said = {0};
    const char *location = transfer_answer_header(&exchange->answer, "Location");
    if (status < 400) {
        buffer_append_text(&said, "redirected to ");
        exchange_excerpt_location(L, location ? location : "", &said);
        buffer_append_text(&said, ", not followed");
    } else
        append_said(L, row, exchange, &said);
    failure_set(failure, is_refusal(status, buffer_text(&said)) ? "permission" : "http", exchange->op,
                "%s answers %d%s%s", client->product->title, status, said.length ? ": " : "",
                buffer_text(&said));
    const char *url = buffer_text(&exchange->url);
    const char *base = client->base;
    char path[512];
    bool ours = strncmp(url, base, strlen(base)) == 0 && strncmp(url + strlen(base), "/v1/", 4) == 0;
    snprintf(path, sizeof path, "%s", ours ? url + strlen(base) + 4 : "");
    path[strcspn(path, "?")] = '\0';
    if (status < 400)
        failure_hint(failure, "%s (the address is from %s)",
                     client->product->leader && location
                         ? "that is not what the server names as its leader: give the active server's address"
                         : "give the address where it answers itself",
                     client->address_from);
    hint_error(client, row, buffer_text(&said), *path ? path : NULL, exchange, failure);
    failure->status = status;
    buffer_free(&said);
}

/* Hints name options; these clients are set up by variables. */
static void name_variables(const struct api_product *product, struct failure *failure)
{
    const char *options = strstr(failure->hint, "cert= and key=");
    if (strstr(failure->hint, "server_name="))
        failure_hint(failure, "ask for the name that the certificate is for, or say it in %s",
                     variable_of(product, API_SERVER_NAME, "server_name="));
    else if (strstr(failure->hint, "ca="))
        failure_hint(failure, "name the authority that issued it in %s", variable_of(product, API_CA, "ca="));
    else if (options)
        failure_hint(failure, "%.*s%s and %s", (int)(options - failure->hint), failure->hint,
                     variable_of(product, API_CERT, "cert="), variable_of(product, API_KEY, "key="));
}

void api_explain_unreachable(const struct api_client *client, struct failure *failure)
{
    const char *message = failure->message;
    if (client->host && strncmp(failure->op, client->product->name, strlen(client->product->name)) != 0)
        return; /* the way to the host failed, not the agent there */
    if (strcmp(failure->kind, "invalid") == 0 && strstr(failure->hint, "what listens there"))
        failure_hint(failure, "is it %s that listens there%s? (the address is from %s)",
                     client->product->title, strstr(failure->hint, "https") ? ", and without TLS" : "",
                     client->address_from);
    if (strcmp(failure->kind, "unreachable") != 0)
        return;
    name_variables(client->product, failure);
    if (failure->hint[0] && (!strstr(message, "cannot connect") || strstr(message, "the proxy")))
        return; /* TLS and names have hints of their own */
    bool may_be_tls = strncasecmp(client->base, "http:", 5) == 0 &&
                      (strstr(message, "Empty reply") || strstr(message, "broke off: Recv failure") ||
                       strstr(message, "nobody answers at "));
    failure_hint(failure, "%s%s (the address is from %s)", client->product->unreachable,
                 may_be_tls ? "; it may speak https there" : "", client->address_from);
}
