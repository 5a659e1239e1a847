/* What Consul's ACLs leave unsaid: is a thing not there, or the token not known? Is a list empty, or may the token not see
 * what is in it? Both are asked of the server, by reads. */
#include "api.h"

#include "json.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_TIMEOUT_MS 5000

/* By Consul's documentation of each endpoint. Rows that need nothing, or something else for each case, come first. */
const struct api_permission consul_permissions[] = {
    {"acl", "bootstrap_acl", ""},
    {"acl", "login", ""},
    {"acl", "logout", ""},
    {"acl", "read_self_acl_token", ""},
    {"acl", NULL, "acl"},
    {"agent", "list_agent_ca_roots", ""},
    {"agent", "read_agent_host", "operator"},
    {"agent", "list_agent_members", "node"},
    {"agent", "maintain_agent", "node"},
    {"agent", "list_agent_checks", "service,node"},
    {"agent", "register_check", ""}, /* of a service or of the node */
    {"agent", "deregister_check", ""},
    {"agent", "pass_check", ""},
    {"agent", "warn_check", ""},
    {"agent", "fail_check", ""},
    {"agent", "update_check", ""},
    {"agent", "list_agent_services", "service"},
    {"agent", "read_agent_service", "service"},
    {"agent", "read_service_health_by_name", "service"},
    {"agent", "read_service_health_by_id", "service"},
    {"agent", "register_service", "service"},
    {"agent", "deregister_service", "service"},
    {"agent", "maintain_service", "service"},
    {"agent", "authorize_connection", ""}, /* service:write, though it reads */
    {"agent", "read_leaf_certificate", "service"},
    {"agent", NULL, "agent"},
    {"catalog", "list_nodes", "node"},
    {"catalog", "list_services", "service"},
    {"catalog", "list_gateway_services", "service"},
    {"catalog", "list_datacenters", ""},
    {"catalog", "register_entity", ""},
    {"catalog", "deregister_entity", ""},
    {"catalog", NULL, "service,node"},
    {"config", "list_config_entries", "service"},
    {"connect", "list_ca_roots", ""},
    {"connect", "read_ca_configuration", "operator"},
    {"connect", "update_ca_configuration", "operator"},
    {"connect", NULL, "intention"},
    {"coordinate", "list_wan_coordinates", ""},
    {"coordinate", NULL, "node"},
    {"discovery-chain", NULL, "service"},
    {"event", NULL, "event"},
    {"health", NULL, "service,node"},
    {"internal", "list_ui_nodes", "service,node"},
    {"internal", "read_ui_node", "service,node"},
    {"internal", "list_ui_services", "service"},
    {"kv", NULL, "key"},
    {"operator", "list_keyring_keys", "keyring"},
    {"operator", "install_keyring_key", "keyring"},
    {"operator", "use_keyring_key", "keyring"},
    {"operator", "remove_keyring_key", "keyring"},
    {"operator", NULL, "operator"},
    {"query", "execute_prepared_query", ""}, /* found by its name, it may run with a token of its own */
    {"query", NULL, "query"},
    {"session", NULL, "session"},
    {"snapshot", NULL, "acl"},
    {0},
};

/* --- asking ---------------------------------------------------------------------------------------------------- */

/* [-0, +1, v] Pushes an exchange for a read of ours beside the script's own. To be closed with finish. */
static struct exchange *begin(lua_State *L, const struct api_client *client, const char *method,
                              const char *path)
{
    struct exchange *exchange = exchange_open(L, client->product->name);
    api_address(exchange, client, path);
    exchange->request.method = method;
    exchange->request.reads = true;
    exchange->request.retries = 0;
    exchange->request.timeout_ms = LOOK_TIMEOUT_MS;
    return exchange;
}

/* [-n, +0, v] Closes the exchange at `index` and takes all from there off the stack. */
static void finish(lua_State *L, int index)
{
    lua_closeslot(L, index);
    lua_settop(L, index - 1);
}

/* --- not there, or not known ------------------------------------------------------------------------------------ */

#define SELF "/v1/acl/token/self"

/* Consul 1.8 says "ACL not found" to the read of a policy or token that is not there, and to a token that it does not
 * know. Only a token that is known may read itself. */
bool consul_is_missing(lua_State *L, const struct api_client *client, const struct exchange *exchange)
{
    struct failure failure;
    if (exchange->answer.status != 403 || !client->token ||
        strcmp(buffer_text(&exchange->answer.body), "ACL not found") != 0 ||
        strstr(buffer_text(&exchange->url), SELF))
        return false;
    struct exchange *self = begin(L, client, "GET", SELF);
    int index = lua_gettop(L);
    bool known = exchange_perform(L, self, &failure) && self->answer.status == 200;
    finish(L, index);
    return known;
}

/* --- empty, or not shown ---------------------------------------------------------------------------------------- */

/* Each row once for a client: a script that polls must not ask twice as much. */
static bool is_first(struct api_client *client, const struct api_row *row)
{
    for (size_t i = 0; i < client->doubted_count; i++)
        if (client->doubted[i] == row)
            return false;
    client->doubted = reallocate(client->doubted, (client->doubted_count + 1) * sizeof *client->doubted);
    client->doubted[client->doubted_count++] = row;
    return true;
}

/* [-0, +1, m] Pushes the name of what was asked for, where it is of that kind ({service_name} is a service), else "". */
static void push_segment(lua_State *L, const struct api_row *row, const char *resource)
{
    int index = 1;
    for (const char *at = strchr(row->path, '{'); at; at = strchr(at + 1, '{'), index++)
        if (strncmp(at + 1, resource, strlen(resource)) == 0 && lua_type(L, index) == LUA_TSTRING) {
            lua_pushvalue(L, index);
            return;
        }
    lua_pushliteral(L, "");
}

/* [-0, +1, m] Pushes the list of what to ask: [{"Resource": "service", "Access": "read", "Segment": "web"}]. */
static void push_questions(lua_State *L, const struct api_row *row, const char *resources)
{
    char resource[API_WORD];
    lua_newtable(L);
    for (lua_Integer i = 1; api_next_word(&resources, resource, sizeof resource, NULL); i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, resource);
        lua_setfield(L, -2, "Resource");
        lua_pushliteral(L, "read");
        lua_setfield(L, -2, "Access");
        push_segment(L, row, resource);
        lua_setfield(L, -2, "Segment");
        lua_rawseti(L, -2, i);
    }
}

/* "service:read and node:read" */
struct rights {
    char text[128];
};

static void add_right(struct rights *rights, const char *resource)
{
    size_t used = strlen(rights->text);
    snprintf(rights->text + used, sizeof rights->text - used, "%s%s:read", used > 0 ? " and " : "", resource);
}

/* [-1, +0, m] Adds what the list of answers on top denies. */
static void add_denied(lua_State *L, struct rights *denied)
{
    int list = lua_gettop(L);
    for (lua_Integer i = 1; lua_istable(L, list) && lua_rawgeti(L, list, i) == LUA_TTABLE; i++) {
        bool allowed = lua_getfield(L, -1, "Allow") != LUA_TBOOLEAN || lua_toboolean(L, -1);
        if (lua_getfield(L, -2, "Resource") == LUA_TSTRING && !allowed)
            add_right(denied, lua_tostring(L, -1));
        lua_settop(L, list);
    }
    lua_settop(L, list - 1);
}

/* [-0, +0, v] Asks whether the token may read what is listed; adds what it may not. */
static void ask_denied(lua_State *L, const struct api_client *client, const struct api_row *row,
                       const char *resources, struct rights *denied)
{
    struct failure failure;
    char error[128];
    struct exchange *exchange = begin(L, client, "POST", "/v1/internal/acl/authorize");
    int index = lua_gettop(L);
    push_questions(L, row, resources);
    exchange_json_body(L, exchange, -1);
    const struct buffer *body = &exchange->answer.body;
    if (exchange_perform(L, exchange, &failure) && exchange->answer.status == 200 &&
        json_decode(L, buffer_text(body), body->length, error, sizeof error))
        add_denied(L, denied);
    finish(L, index);
}

/* May the answer be empty because things were left out of it? What needs only these is refused outright. */
static bool is_filtered(const struct api_row *row, const char *resources, const struct exchange *exchange)
{
    bool one_key = strcmp(row->group, "kv") == 0 && !strstr(buffer_text(&exchange->url), "recurse") &&
                   exchange->answer.status == 404;
    return *resources && !api_has_word("acl,operator,keyring", resources) && !one_key;
}

/* Consul answers a list without what the token may not see. Since 1.11 a header says that it left something out; before,
 * the token's rights are looked at. */
void consul_found_nothing(lua_State *L, struct api_client *client, const struct api_row *row,
                          const struct exchange *exchange)
{
    const char *resources = api_permission_of(client->product, row);
    bool told = transfer_answer_header(&exchange->answer, "X-Consul-Results-Filtered-By-ACLs");
    bool tells = transfer_answer_header(&exchange->answer, "X-Consul-Default-ACL-Policy");
    struct rights needed = {""};
    char resource[API_WORD];
    if (!is_filtered(row, resources, exchange) || (tells && !told) || !is_first(client, row))
        return;
    if (!told)
        ask_denied(L, client, row, resources, &needed);
    while (told && api_next_word(&resources, resource, sizeof resource, NULL))
        add_right(&needed, resource);
    if (needed.text[0] && client->token)
        report_warning(L, "%s: nothing was found, but the token from %s does not show what needs %s",
                       exchange->op, client->token_from, needed.text);
    else if (needed.text[0])
        report_warning(L,
                       "%s: nothing was found, but no token was set, and without one nothing is shown that "
                       "needs %s: set CONSUL_HTTP_TOKEN or give token=",
                       exchange->op, needed.text);
}
