/* Where a product's server is and how to talk to it: the environment as its own command line reads it, then what the
 * script says. */
#include "api.h"

#include "json.h"
#include "quantity.h"
#include "redact.h"
#include "secret.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define METATABLE "moonbook.api_client"

static int client_release(lua_State *L)
{
    struct api_client *client = lua_touserdata(L, 1);
    for (size_t i = 0; i < client->text_count; i++) {
        explicit_bzero(client->texts[i], strlen(client->texts[i]));
        free(client->texts[i]);
    }
    free(client->texts);
    free(client->doubted);
    client->texts = NULL;
    client->doubted = NULL;
    client->text_count = client->doubted_count = 0;
    return 0;
}

/* [-0, +1, m] */
static struct api_client *push_client(lua_State *L, const struct api_product *product)
{
    struct api_client *client = lua_newuserdatauv(L, sizeof *client, 0);
    *client = (struct api_client){.product = product, .retries = -1};
    if (luaL_newmetatable(L, METATABLE)) {
        lua_pushcfunction(L, client_release);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return client;
}

static char *own(struct api_client *client, const char *text)
{
    client->texts = reallocate(client->texts, (client->text_count + 1) * sizeof *client->texts);
    return client->texts[client->text_count++] = copy_text(text);
}

/* As Go's strconv.ParseBool, which all three products use. */
static bool is_true(const char *text)
{
    return strcmp(text, "1") == 0 || strcasecmp(text, "t") == 0 || strcasecmp(text, "true") == 0;
}

static bool is_false(const char *text)
{
    return strcmp(text, "0") == 0 || strcasecmp(text, "f") == 0 || strcasecmp(text, "false") == 0;
}

/* --- address ------------------------------------------------------------------------------------------------- */

/* Does "host", "host:port", "[::1]" or "[::1]:port" name a port? */
static bool names_port(const char *address)
{
    size_t length = strcspn(address, "/");
    const char *colon = memrchr(address, ':', length);
    const char *bracket = memchr(address, ']', length);
    return colon && (!bracket || colon > bracket);
}

/* "host:port", "http://host:port/prefix", "https://...", "unix:///path": where requests go. */
static void set_address(struct api_client *client, const char *address, bool tls)
{
    struct buffer base = {0};
    if (strncmp(address, "unix://", 7) == 0) {
        client->target.unix_socket = own(client, address + 7);
        buffer_append_text(&base, "http://localhost");
    } else {
        client->target.unix_socket = NULL;
        bool has_scheme = strstr(address, "://");
        if (!has_scheme)
            buffer_append_text(&base, tls ? "https://" : "http://");
        buffer_append_text(&base, address);
        if (!has_scheme && !names_port(address) && !strchr(address, '/'))
            buffer_format(&base, ":%s", client->product->port);
    }
    while (base.length > 0 && base.bytes[base.length - 1] == '/')
        base.bytes[--base.length] = '\0';
    client->base = own(client, buffer_text(&base));
    buffer_free(&base);
}

/* --- token --------------------------------------------------------------------------------------------------- */

/* From here on the token never shows. */
static void set_token(lua_State *L, struct api_client *client, const char *token, const char *from)
{
    redactor_add(runtime_of(L)->redactor, token, strlen(token));
    client->token = own(client, token);
    client->token_from = from;
}

/* [-0, +0, v] The first line of the file. */
static void read_token_file(lua_State *L, struct api_client *client, const char *path, const char *from)
{
    struct runtime *runtime = runtime_of(L);
    struct buffer content = {0};
    struct failure failure;
    bool read = host_read(runtime->local, path, &content, &failure);
    char *text = read && content.length ? content.bytes : NULL;
    if (text)
        text[strcspn(text, "\r\n")] = '\0';
    if (text && *text)
        set_token(L, client, text, from);
    buffer_wipe(&content);
    if (!read) {
        snprintf(failure.op, sizeof failure.op, "%s", from);
        failure_raise(L, &failure);
    }
}

/* [-0, +0, v] What the product's own command line keeps in the user's home. */
static void read_home_token(lua_State *L, struct api_client *client)
{
    const char *home = getenv("HOME");
    struct buffer path = {0};
    if (!home || !*home)
        return;
    buffer_format(&path, "%s/%s", home, client->product->token_file);
    const char *name = own(client, buffer_text(&path));
    buffer_free(&path);
    if (access(name, R_OK) == 0)
        read_token_file(L, client, name, name);
}

static void set_auth(lua_State *L, struct api_client *client, const char *auth)
{
    const char *colon = strchr(auth, ':');
    char *user = own(client, auth);
    if (colon) {
        user[colon - auth] = '\0';
        client->target.password = own(client, colon + 1);
        redactor_add(runtime_of(L)->redactor, colon + 1, strlen(colon + 1));
    }
    client->target.user = user;
}

/* --- the environment ------------------------------------------------------------------------------------------ */

static void set_query(struct api_client *client, const char *name, const char *value)
{
    for (size_t i = 0; i < client->query_count; i++)
        if (strcmp(client->query[i].name, name) == 0) {
            client->query[i].value = own(client, value);
            return;
        }
    if (client->query_count < API_DEFAULTS) {
        client->query[client->query_count].name = name;
        client->query[client->query_count++].value = own(client, value);
    }
}

/* Sent with every request; another value replaces the one that there was. */
static void set_header(struct api_client *client, const char *name, const char *value)
{
    size_t at = 0;
    while (at < client->header_count && strcasecmp(client->headers[at].name, name) != 0)
        at++;
    if (at == API_HEADERS_MOST)
        return;
    client->headers[at] =
        (struct transfer_header){.name = own(client, name), .value = own(client, value), .secret = true};
    client->header_count += at == client->header_count;
}

/* One that is the product's own. */
static void set_product_header(struct api_client *client, const struct api_variable *variable,
                               const char *value)
{
    if (variable->setting == API_WRAPPING)
        client->wrapping = (struct transfer_header){.name = variable->sent, .value = own(client, value)};
    else
        set_header(client, variable->sent, value);
}

/* [-0, +0, v] {"Name": "value"} as VAULT_HEADERS has it. The names that are Vault's own cannot be set so. */
static void set_headers(lua_State *L, struct api_client *client, const char *text, const char *from)
{
    char error[128];
    if (!json_decode(L, text, strlen(text), error, sizeof error) || !lua_istable(L, -1))
        failure_error(L, "usage", from, "not a JSON object of header names and values");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            failure_error(L, "usage", from, "header names and values are texts");
        if (strncasecmp(lua_tostring(L, -2), "X-Vault-", 8) == 0)
            failure_error(L, "usage", from, "%s is Vault's own: it has a variable of its own",
                          lua_tostring(L, -2));
        set_header(client, lua_tostring(L, -2), lua_tostring(L, -1));
    }
    lua_pop(L, 1);
}

/* [-0, +0, v] Seconds, or a duration with its unit. */
static uint64_t timeout_ms(const char *text, const char *from, lua_State *L)
{
    int64_t ms = 0;
    if (strspn(text, "0123456789") == strlen(text))
        ms = (int64_t)strtoll(text, NULL, 10) * 1000;
    else if (!duration_parse(text, &ms))
        failure_error(L, "usage", from, "\"%s\" is no duration", text);
    return ms > 0 ? (uint64_t)ms : 0;
}

struct address {
    const char *text;
    bool tls;
};

/* Which text of the connection a setting is. */
static const char **target_text(struct transfer_target *target, enum api_setting setting)
{
    switch (setting) {
    case API_CA:
        return &target->ca;
    case API_CA_PATH:
        return &target->ca_path;
    case API_CERT:
        return &target->cert;
    case API_KEY:
        return &target->key;
    default:
        return &target->server_name;
    }
}

/* [-0, +0, v] */
static void take_variable(lua_State *L, struct api_client *client, const struct api_variable *variable,
                          const char *value, struct address *address)
{
    struct transfer_target *target = &client->target;
    switch (variable->setting) {
    case API_ADDRESS:
        address->text = value;
        client->address_from = variable->name;
        break;
    case API_TOKEN:
        set_token(L, client, value, variable->name);
        break;
    case API_TOKEN_FILE:
        if (!client->token)
            read_token_file(L, client, value, variable->name);
        break;
    case API_TLS:
        address->tls = is_true(value);
        break;
    case API_VERIFY:
        target->insecure = is_false(value);
        break;
    case API_SKIP_VERIFY:
        target->insecure = is_true(value);
        break;
    case API_CA:
    case API_CA_PATH:
    case API_CERT:
    case API_KEY:
    case API_SERVER_NAME:
        *target_text(target, variable->setting) = own(client, value);
        break;
    case API_AUTH:
        set_auth(L, client, value);
        break;
    case API_QUERY:
        set_query(client, variable->sent, value);
        break;
    case API_TIMEOUT:
        client->timeout_ms = timeout_ms(value, variable->name, L);
        break;
    case API_RETRIES:
        client->retries = atoi(value);
        break;
    case API_HEADER:
    case API_WRAPPING:
        set_product_header(client, variable, value);
        break;
    case API_HEADERS:
        set_headers(L, client, value, variable->name);
        break;
    }
}

/* --- what the script says ------------------------------------------------------------------------------------- */

/* What product{...} calls that which the variable sets, or NULL. */
static const char *option_name(const struct api_variable *variable)
{
    return variable->setting == API_QUERY ? variable->sent : variable->option;
}

/* [-0, +0, v] The names that product{...} takes: the connection's, and the parameters that the environment may set. */
static void check_options(lua_State *L, const struct api_product *product, int options)
{
    const char *names[40] = {"addr", "token", EXCHANGE_TARGET_OPTIONS, NULL};
    size_t count = 0;
    while (names[count])
        count++;
    for (const struct api_variable *variable = product->environment; variable->name; variable++)
        if (option_name(variable) && count + 1 < sizeof names / sizeof names[0])
            names[count++] = option_name(variable);
    names[count] = NULL;
    argument_table(L, options, product->name, names);
}

/* What the exchange took from the options outlives it. */
static void adopt_target(struct api_client *client, const struct transfer_target *given)
{
    const char *const *from =
        (const char *const[]){given->unix_socket, given->ca,          given->ca_path, given->cert,
                              given->key,         given->server_name, given->user,    given->password};
    struct transfer_target *to = &client->target;
    const char **const into[] = {&to->unix_socket, &to->ca,          &to->ca_path, &to->cert,
                                 &to->key,         &to->server_name, &to->user,    &to->password};
    for (size_t i = 0; i < sizeof into / sizeof into[0]; i++)
        *into[i] = from[i] ? own(client, from[i]) : NULL;
    to->insecure = given->insecure;
}

/* [-0, +0, v] */
static void take_options(lua_State *L, struct api_client *client, int options, struct address *address)
{
    const struct api_product *product = client->product;
    check_options(L, product, options);
    struct exchange *exchange = exchange_open(L, product->name);
    const char *given = argument_string(L, options, product->name, "addr", NULL);
    if (given) {
        address->text = exchange_copy(exchange, given);
        client->address_from = "addr=";
    }
    const char *token = exchange_secret_option(L, options, exchange, "token", true);
    if (token && *token)
        set_token(L, client, token, "token=");
    else if (token)
        client->token = NULL; /* token = "": send none */
    for (const struct api_variable *variable = product->environment; variable->name; variable++) {
        const char *name = option_name(variable);
        const char *value = name ? argument_string(L, options, product->name, name, NULL) : NULL;
        if (value && variable->setting == API_QUERY)
            set_query(client, name, value);
        else if (value)
            set_product_header(client, variable, value);
    }
    set_address(client, address->text, address->tls);
    exchange->request.target = client->target;
    exchange_target_options(L, options, exchange);
    adopt_target(client, &exchange->request.target);
    lua_closeslot(L, -1);
    lua_pop(L, 1);
}

/* [-0, +0, v] On another host: its own agent's address. Tokens and certificates are the operator's all the same. */
static void find_agent(lua_State *L, struct api_client *client, struct address *address)
{
    struct failure failure;
    struct buffer found = {0}, from = {0};
    bool done = api_agent_address(client->host, client->product, &found, &from, &failure);
    if (done) {
        address->text = own(client, buffer_text(&found));
        client->address_from = own(client, buffer_text(&from));
    }
    buffer_free(&found);
    buffer_free(&from);
    if (!done)
        failure_raise(L, &failure);
}

/* Is the variable one that says where the agent of this machine is? */
static bool is_of_here(const struct api_variable *variable)
{
    return variable->setting == API_ADDRESS || variable->setting == API_TLS;
}

struct api_client *api_client_new(lua_State *L, const struct api_product *product, int options)
{
    struct api_client *client = push_client(L, product);
    struct address address = {.text = product->address};
    struct host *host = host_current(runtime_of(L));
    client->host = product->central || host == runtime_of(L)->local ? NULL : host;
    for (const struct api_variable *variable = product->environment; variable->name; variable++) {
        const char *value = getenv(variable->name);
        if (value && *value && !(client->host && is_of_here(variable)))
            take_variable(L, client, variable, value, &address);
    }
    bool given = options && lua_getfield(L, options, "addr") != LUA_TNIL;
    if (options)
        lua_pop(L, 1);
    if (client->host && !given)
        find_agent(L, client, &address);
    set_address(client, address.text, address.tls);
    if (!client->token && product->token_file)
        read_home_token(L, client);
    if (options)
        take_options(L, client, options, &address);
    if (!client->address_from)
        client->address_from = "the default";
    return client;
}

static const char agents_key; /* host -> product -> client */

struct api_client *api_default_client(lua_State *L, const struct api_product *product)
{
    struct runtime *runtime = runtime_of(L);
    struct host *host = product->central ? runtime->local : host_current(runtime);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &agents_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &agents_key);
    }
    if (lua_rawgetp(L, -1, host) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, -3, host);
    }
    lua_remove(L, -2);
    if (lua_rawgetp(L, -1, product) != LUA_TUSERDATA) {
        lua_pop(L, 1);
        api_client_new(L, product, 0);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, -3, product);
    }
    lua_remove(L, -2);
    return lua_touserdata(L, -1);
}
