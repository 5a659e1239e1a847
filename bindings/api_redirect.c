/* A standby of Vault answers 307 with the active server's address. The token goes there only if it is an address of the
 * same cluster: the server's own, or the one that it names as the leader when it is asked without a token. */
#include "api.h"

#include "json.h"

#include <string.h>
#include <strings.h>

/* How much of an URL is scheme, host and port; 0 where it is no such URL. */
static size_t origin_length(const char *url)
{
    const char *host = strstr(url, "://");
    if (!host || memchr(url, '/', (size_t)(host - url)))
        return 0;
    return (size_t)(host - url) + 3 + strcspn(host + 3, "/?#");
}

static bool same_origin(const char *one, const char *other)
{
    size_t length = origin_length(one);
    return length > 0 && length == origin_length(other) && strncasecmp(one, other, length) == 0 &&
           !memchr(one, '@', length);
}

/* [-0, +1, v] Pushes the address of the active server as this server says, or nil. No token is sent. */
static const char *push_leader(lua_State *L, const struct api_client *client, uint64_t deadline)
{
    struct failure failure;
    char error[128];
    struct exchange *exchange = exchange_open(L, client->product->name);
    buffer_append_text(&exchange->url, client->base);
    buffer_append_text(&exchange->url, client->product->leader);
    exchange->request.target = client->target;
    exchange->request.method = "GET";
    exchange->request.reads = true;
    exchange->request.retries = 0;
    exchange_limit_time(L, exchange, deadline);
    const struct buffer *body = &exchange->answer.body;
    if (exchange_perform(L, exchange, &failure) && exchange->answer.status == 200 &&
        json_decode(L, buffer_text(body), body->length, error, sizeof error) && lua_istable(L, -1))
        lua_getfield(L, -1, "leader_address");
    else
        lua_pushnil(L);
    return lua_tostring(L, -1);
}

bool api_redirect(lua_State *L, const struct api_client *client, struct exchange *exchange, uint64_t deadline)
{
    const char *location = transfer_answer_header(&exchange->answer, "Location");
    if (!client->product->leader || exchange->answer.status != 307 || !location)
        return false;
    bool downgrade = strncasecmp(client->base, "https:", 6) == 0 && strncasecmp(location, "https:", 6) != 0;
    bool same = !downgrade && same_origin(location, client->base), known = same;
    if (!known && !downgrade) {
        int top = lua_gettop(L);
        const char *leader = push_leader(L, client, deadline);
        known = leader && same_origin(location, leader);
        lua_closeslot(L, top + 1);
        lua_settop(L, top);
    }
    if (!known)
        return false;
    location = exchange_copy(exchange, location);
    buffer_clear(&exchange->url);
    buffer_append_text(&exchange->url, location);
    if (!same)
        exchange->request.target.unix_socket = NULL;
    exchange_limit_time(L, exchange, deadline);
    return true;
}
