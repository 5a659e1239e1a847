/* vault.present and vault.absent: what is at a path of Vault, compared as the engine there stores it.
 *
 * Most endpoints keep the fields that a write does not name. Secrets of KV engines, and roles of pki and ssh, are
 * replaced whole: there the rest of what was found is sent along. Mounts have no read of their own before Vault 1.10, and
 * are changed at .../tune. The types of fields come from what is found, else from Vault's own OpenAPI, which any token
 * may ask of a path (?help=1). */
#include "kinds.h"

#include "converge.h"
#include "overlay.h"
#include "quantity.h"
#include "report.h"
#include "secret.h"
#include "unknown.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

enum shape {
    PLAIN,    /* a write keeps what it does not name */
    REPLACED, /* a write replaces the whole */
    KV1,      /* so does that of a secret, whose fields are anybody's */
    KV2,      /* with versions: below data=, with compare-and-set */
    DATABASE, /* as PLAIN; the plugin's own fields are told by no OpenAPI, and read below connection_details */
    MOUNT,    /* an engine, an auth method, an audit device */
};

/* Fields of which the answers do not tell: statements and arguments in order, texts of people, and what no read gives
 * back. */
#define PLAIN_TYPES                                                                                          \
    "policy:verbatim,rules:verbatim,description:verbatim,metadata:verbatim,creation_statements:list,"        \
    "revocation_statements:list,rollback_statements:list,renew_statements:list,rotation_statements:list,"    \
    "root_rotation_statements:list,args:list,env:list,password:unreadable,bindpass:unreadable,"              \
    "secret_key:unreadable,client_secret:unreadable,oidc_client_secret:unreadable,secret_id:unreadable,"     \
    "credentials:unreadable,private_key:unreadable,token_reviewer_jwt:unreadable,pem_bundle:unreadable"

/* What is secret wherever it is written: no answer tells most of it, a difference of plain texts would. */
#define SECRET_FIELDS                                                                                        \
    "token,password,secret,bindpass,secret_key,client_secret,oidc_client_secret,secret_id,credentials,"      \
    "private_key,token_reviewer_jwt,jwt,pem_bundle,api_token,api_key,integration_key,connection_url"

#define MOUNT_TYPES "default_lease_ttl:seconds,max_lease_ttl:seconds,description:verbatim"

/* --- what kind of path it is ------------------------------------------------------------------------------------------- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
    size_t length = strlen(text), wanted = strlen(with);
    return length >= wanted && strcmp(text + length - wanted, with) == 0;
}

/* The group and names of the endpoints of a mount. */
struct mount_calls {
    const char *prefix, *list, *enable, *tune;
};

static const struct mount_calls *mount_calls(const char *path)
{
    static const struct mount_calls calls[] = {
        {"sys/auth/", "list_auth_methods", "enable_auth_method", "tune_auth_method"},
        {"sys/mounts/", "list_mounts", "enable_mount", "tune_mount"},
        {"sys/audit/", "list_audit_devices", "enable_audit_device", NULL},
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (begins(path, calls[i].prefix) && path[strlen(calls[i].prefix)] && !ends(path, "/tune"))
            return &calls[i];
    return NULL;
}

/* The path of the thing within its engine. */
static const char *inner_path(const struct convergence *c)
{
    size_t length = strlen(c->mount);
    return strncmp(c->name, c->mount, length) == 0 ? c->name + length : c->name;
}

/* What is mounted below a path. */
struct engine {
    char type[64], version[8];
};

/* [-0, +0, -] Of a table that describes a mount. */
static void read_engine(lua_State *L, int table, struct engine *engine)
{
    converge_text(L, table, "type", engine->type, sizeof engine->type);
    if (lua_getfield(L, table, "options") == LUA_TTABLE)
        converge_text(L, lua_gettop(L), "version", engine->version, sizeof engine->version);
    lua_pop(L, 1);
}

/* A walk through what earlier steps would have mounted. */
struct mount_search {
    struct convergence *c;
    struct engine *engine;
    const char *server; /* "vault ADDRESS " */
};

/* Is the prediction, on top of the stack, a mount above the path? */
static bool visit_mount(lua_State *L, const char *name, void *context)
{
    struct mount_search *search = context;
    struct convergence *c = search->c;
    char path[256];
    if (!begins(name, search->server) || !lua_istable(L, -1))
        return false;
    const char *at = name + strlen(search->server);
    if (!begins(at, "sys/"))
        return false;
    at += strlen("sys/");
    bool engine = begins(at, "mounts/");
    if (!engine && !begins(at, "auth/"))
        return false;
    snprintf(path, sizeof path, "%s/", engine ? at + strlen("mounts/") : at);
    if (!begins(c->name, path))
        return false;
    if (!overlay_get(L, api_overlay_host(L, lua_touserdata(L, c->client)), CONVERGE_MADE, name))
        return false; /* it is there, and would only be tuned */
    lua_pop(L, 1);
    snprintf(c->mount, sizeof c->mount, "%s", path);
    read_engine(L, lua_gettop(L), search->engine);
    return true;
}

/* [-0, +0, e] Is the path below what only an earlier step of this check would have mounted? The server knows nothing of it. */
static bool is_below_predicted(struct convergence *c, struct engine *engine)
{
    lua_State *L = c->L;
    const char *server = lua_pushfstring(L, "%s ", converge_push_server(c));
    struct mount_search search = {.c = c, .engine = engine, .server = server};
    c->unmade = overlay_each(L, api_overlay_host(L, lua_touserdata(L, c->client)), CONVERGE_PREDICTIONS,
                             visit_mount, &search);
    lua_pop(L, 2);
    return c->unmade;
}

/* [-0, +0, v] Asks which engine is there: any token with a right below the path may. False where nobody says. */
static bool ask_server(struct convergence *c, struct engine *engine)
{
    lua_State *L = c->L;
    int top = lua_gettop(L);
    lua_pushstring(L, c->name);
    bool known = converge_try(c, "sys", "read_visible_mount", 1) && lua_istable(L, -1) &&
                 lua_getfield(L, -1, "data") == LUA_TTABLE;
    if (known) {
        converge_text(L, lua_gettop(L), "path", c->mount, sizeof c->mount);
        read_engine(L, lua_gettop(L), engine);
    }
    lua_settop(L, top);
    return known;
}

/* [-0, +0, v] What the engine at the path makes of a write. */
static enum shape engine_shape(struct convergence *c)
{
    lua_State *L = c->L;
    struct engine engine = {{0}, {0}};
    if (!is_below_predicted(c, &engine) && !ask_server(c, &engine))
        return PLAIN;
    const char *type = engine.type, *version = engine.version;
    const char *inner = inner_path(c);
    if (strcmp(type, "kv") == 0 && strcmp(version, "2") == 0) {
        if (!begins(inner, "data/") && !begins(inner, "metadata/") && strcmp(inner, "config") != 0)
            converge_refuse(c, lua_pushfstring(L, "%sdata/%s", c->mount, inner),
                            "%s is a KV engine of version 2: its secrets are below %sdata/", c->mount,
                            c->mount);
        return begins(inner, "data/") ? KV2 : PLAIN;
    }
    if (strcmp(type, "kv") == 0 || strcmp(type, "generic") == 0 || strcmp(type, "cubbyhole") == 0)
        return KV1;
    if (strcmp(type, "database") == 0 && begins(inner, "config/"))
        return DATABASE;
    bool role = begins(inner, "roles/") && (strcmp(type, "pki") == 0 || strcmp(type, "ssh") == 0);
    return role ? REPLACED : PLAIN;
}

/* [-0, +0, v] Reading what makes something new would be a change. */
static void refuse_creating(struct convergence *c)
{
    struct api_row judged;
    char path[600];
    snprintf(path, sizeof path, "/v1/%s", c->name);
    api_judge(c->product, api_find(c->product, "logical", "read"), path, &judged);
    if (judged.effect != API_READ)
        converge_refuse(c, "call vault.read or vault.write for what they do",
                        "reading there makes something new each time: it cannot be compared");
}

/* [-0, +0, v] A versioned secret is given as vault.write takes it, below data. */
static void unwrap_data(struct convergence *c)
{
    lua_State *L = c->L;
    for (lua_pushnil(L); lua_next(L, c->wanted); lua_pop(L, 1))
        if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "data") != 0)
            converge_refuse(c, "{data = {...}}; versions are compared and set for you",
                            "%s is a KV engine of version 2: the secret's fields are below data", c->mount);
    if (lua_getfield(L, c->wanted, "data") == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    if (!lua_istable(L, -1))
        converge_refuse(c, "{data = {...}}", "data is a table, not %s", luaL_typename(L, -1));
    lua_replace(L, c->wanted);
}

/* [-0, +1, m] The text at `index` with A-Z as a-z. */
static void push_lower(lua_State *L, int index)
{
    size_t length;
    const char *text = lua_tolstring(L, index, &length);
    luaL_Buffer lower;
    char *out = luaL_buffinitsize(L, &lower, length);
    for (size_t i = 0; i < length; i++)
        out[i] = (char)tolower((unsigned char)text[i]);
    luaL_pushresultsize(&lower, length);
}

/* [-0, +0, m] Vault keeps the names of policies in lower case. */
static void lower_policies(struct convergence *c)
{
    lua_State *L = c->L;
    for (lua_pushnil(L); lua_next(L, c->wanted); lua_pop(L, 1)) {
        bool plain_text = lua_type(L, -1) == LUA_TSTRING, list = lua_istable(L, -1);
        if (lua_type(L, -2) != LUA_TSTRING || !ends(lua_tostring(L, -2), "policies") ||
            (!plain_text && !list))
            continue;
        int value = lua_gettop(L);
        lua_Integer count = list ? (lua_Integer)lua_rawlen(L, value) : 1;
        for (lua_Integer i = 1; i <= count; i++) {
            if (list)
                lua_rawgeti(L, value, i);
            if (lua_type(L, -1) == LUA_TSTRING)
                push_lower(L, lua_gettop(L));
            else
                lua_pushvalue(L, -1);
            if (list)
                lua_rawseti(L, value, i); /* the copy of the data is ours */
            else {
                lua_pushvalue(L, value - 1);
                lua_insert(L, -2);
                lua_rawset(L, c->wanted); /* a field that is there: the traversal goes on */
            }
            lua_settop(L, value);
        }
    }
}

/* [-0, +0, v] Before anything else: what is at the path, and by which rules it is compared. */
static void settle_shape(struct convergence *c)
{
    c->name += strspn(c->name, "/");
    if (begins(c->name, "v1/"))
        c->name += 3;
    c->name += strspn(c->name, "/");
    if (!*c->name || ends(c->name, "/"))
        converge_refuse(c, "", "it is no path of a thing");
    if (mount_calls(c->name))
        c->shape = MOUNT;
    else if (begins(c->name, "sys/") || begins(c->name, "identity/"))
        c->shape = PLAIN;
    else if (begins(c->name, "auth/")) {
        is_below_predicted(c, &(struct engine){{0}, {0}});
        c->shape = PLAIN;
    } else
        c->shape = (int)engine_shape(c);
    refuse_creating(c);
    c->keeps = c->shape == PLAIN || c->shape == DATABASE || c->shape == MOUNT;
    bool secrets = c->shape == KV1 || c->shape == KV2;
    c->fields = (struct fields){.types = secrets             ? ""
                                         : c->shape == MOUNT ? MOUNT_TYPES
                                                             : PLAIN_TYPES,
                                .secret = secrets,
                                .sets = !secrets,
                                .weak = !secrets};
    if (c->wanted && c->shape == KV2)
        unwrap_data(c);
    if (c->wanted && !secrets) {
        lower_policies(c);
        lua_pushvalue(c->L, c->wanted);
        api_hide(c->L, SECRET_FIELDS, c->op);
        lua_pop(c->L, 1);
    }
}

/* --- looking --------------------------------------------------------------------------------------------------------------- */

/* [-1, +1, v] Of the list of mounts on top: the one that the path names, or nil. */
static void pick_mount(struct convergence *c, const struct mount_calls *calls)
{
    lua_State *L = c->L;
    int top = lua_gettop(L);
    if (lua_istable(L, top) && lua_getfield(L, top, "data") == LUA_TTABLE) {
        lua_pushfstring(L, "%s/", c->name + strlen(calls->prefix));
        lua_rawget(L, -2);
    } else
        lua_pushnil(L);
    lua_replace(L, top);
    lua_settop(L, top);
}

/* [-1, +1, v] Of the answer on top: the secret, or nil; notes its version. */
static void unwrap_version(struct convergence *c)
{
    lua_State *L = c->L;
    int top = lua_gettop(L);
    if (lua_getfield(L, top, "metadata") == LUA_TTABLE)
        c->index = converge_integer(L, lua_gettop(L), "version");
    lua_getfield(L, top, "data");
    lua_replace(L, top);
    lua_settop(L, top);
}

/* [-0, +2, m] The path of a versioned secret, and {mount=}. */
static void push_version_path(struct convergence *c)
{
    lua_pushstring(c->L, inner_path(c) + strlen("data/"));
    lua_createtable(c->L, 0, 3);
    lua_pushstring(c->L, c->mount);
    lua_setfield(c->L, -2, "mount");
}

/* [-0, +1, v] What a read of the path answers; some paths have none. */
static void read_path(struct convergence *c)
{
    lua_State *L = c->L;
    lua_pushstring(L, c->name);
    bool answered = api_try(L, c->client, api_find(c->product, "logical", "read"), 1, &c->passage);
    if (!answered) {
        lua_Integer status = converge_integer(L, lua_gettop(L), "status");
        char message[256];
        converge_text(L, lua_gettop(L), "message", message, sizeof message);
        if (status == 405)
            converge_refuse(c, "vault.write sends it each time",
                            "what is there cannot be read, so nobody can tell whether it differs");
        if (status != 400 || !strstr(message, "configured"))
            lua_error(L);
        lua_pushnil(
            L); /* "access credentials for the backend itself haven't been configured": it is not there yet */
        lua_replace(L, -2);
        return;
    }
    lua_pop(L, 1);
}

/* [-0, +0, m] The fields of a database's plugin, below connection_details, beside the others, as a write has them. */
static void flatten_details(lua_State *L, int found)
{
    if (lua_getfield(L, found, "connection_details") == LUA_TTABLE)
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, found);
        }
    lua_pop(L, 1);
}

/* [-0, +1, v] */
static void look_at_path(struct convergence *c)
{
    lua_State *L = c->L;
    const struct mount_calls *calls = c->shape == MOUNT ? mount_calls(c->name) : NULL;
    if (c->unmade) {
        lua_pushnil(L);
        return;
    }
    if (calls) {
        converge_call(c, "sys", calls->list, 0);
        c->listed = true;
        lua_pop(L, 1);
        pick_mount(c, calls);
        return;
    }
    if (c->shape == KV2) {
        push_version_path(c);
        converge_call(c, "kv-v2", "read_secret", 2);
        lua_pop(L, 1);
    } else
        read_path(c);
    if (!lua_istable(L, -1) && !fields_is_nothing(L, -1) && !unknown_is(L, -1))
        converge_refuse(c, "vault.read shows it", "what is there is %s, not fields", luaL_typename(L, -1));
    if (!lua_istable(L, -1))
        return;
    int answer = lua_gettop(L);
    if (lua_getfield(L, answer, "data") == LUA_TTABLE)
        lua_replace(L, answer);
    else
        lua_pop(L, 1);
    if (c->shape == KV2)
        unwrap_version(c);
    else if (c->shape == DATABASE && lua_istable(L, -1))
        flatten_details(L, lua_gettop(L));
}

/* --- types that only the server knows ------------------------------------------------------------------------------------------ */

/* Is there a field that the answer does not have, or a text that may be a duration and no answer that tells? */
static bool needs_types(struct convergence *c)
{
    lua_State *L = c->L;
    bool needs = false;
    for (lua_pushnil(L); !needs && lua_next(L, c->wanted); lua_pop(L, needs ? 2 : 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            continue;
        const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        bool duration = strspn(text, "0123456789.smhdw") == strlen(text) && strpbrk(text, "smhdw");
        lua_pushvalue(L, -2);
        int type = lua_rawget(L, c->found);
        bool word = text[strspn(text, "0123456789")] != '\0' && !duration;
        needs = type == LUA_TNIL || (duration && type != LUA_TNUMBER && type != LUA_TSTRING) ||
                (word && type == LUA_TNUMBER);
        lua_pop(L, 1);
    }
    return needs;
}

/* [-0, +0|1, v] Pushes the properties of the body that a POST of the OpenAPI's path takes; `document` is its index. */
static bool push_properties(lua_State *L, int document, int path)
{
    static const char *const way[] = {"post", "requestBody", "content", "application/json", "schema", NULL};
    char reference[256];
    int top = lua_gettop(L);
    lua_pushvalue(L, path);
    for (const char *const *name = way; *name; name++)
        if (!lua_istable(L, -1) || lua_getfield(L, -1, *name) != LUA_TTABLE) {
            lua_settop(L, top);
            return false;
        }
    if (converge_text(L, lua_gettop(L), "$ref", reference, sizeof reference)) {
        const char *name = strrchr(reference, '/');
        lua_getfield(L, document, "components");
        if (!name || !lua_istable(L, -1) || lua_getfield(L, -1, "schemas") != LUA_TTABLE ||
            lua_getfield(L, -1, name + 1) != LUA_TTABLE) {
            lua_settop(L, top);
            return false;
        }
    }
    if (lua_getfield(L, -1, "properties") != LUA_TTABLE) {
        lua_settop(L, top);
        return false;
    }
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
    return true;
}

/* Names of fields that are durations although their type says text. */
static bool sounds_like_duration(const char *name)
{
    static const char *const words[] = {"ttl",     "period", "duration", "interval",
                                        "timeout", "expiry", "age",      "lease"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (ends(name, words[i]))
            return true;
    return false;
}

/* [-0, +0, v] Notes the type of a property, on top of the stack. */
static void note_type(struct convergence *c, const char *name)
{
    lua_State *L = c->L;
    char format[32], type[32];
    int property = lua_gettop(L);
    converge_text(L, property, "format", format, sizeof format);
    converge_text(L, property, "type", type, sizeof type);
    if (strcmp(format, "seconds") == 0)
        buffer_format(&c->types, "%s:seconds,", name);
    else if (strcmp(type, "string") == 0 && sounds_like_duration(name))
        buffer_format(&c->types, "%s:duration,", name);
}

/* [-0, +0, m] Without an OpenAPI: a number of seconds is what every version takes for what is called a duration. */
static void guess_types(struct convergence *c)
{
    lua_State *L = c->L;
    for (lua_pushnil(L); lua_next(L, c->wanted); lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING && sounds_like_duration(lua_tostring(L, -2)))
            buffer_format(&c->types, "%s:seconds,", lua_tostring(L, -2));
}

/* [-0, +0, v] Refuses fields that the endpoint does not know: the server would take no notice of them. */
static void refuse_unknown_fields(struct convergence *c, int properties, int table)
{
    lua_State *L = c->L;
    const char *names[256];
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, properties); lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING && count + 1 < sizeof names / sizeof names[0])
            names[count++] = lua_tostring(L, -2);
    names[count] = NULL;
    for (lua_pushnil(L); count > 0 && lua_next(L, table); lua_pop(L, 2)) {
        lua_pushvalue(L, -2);
        if (lua_rawget(L, properties) != LUA_TNIL || lua_type(L, -3) != LUA_TSTRING)
            continue;
        const char *near = nearest_name(lua_tostring(L, -3), names);
        converge_refuse(
            c, near ? lua_pushfstring(L, "did you mean %s?", near) : "vault path-help lists the fields",
            "Vault knows no field \"%s\" there", lua_tostring(L, -3));
    }
}

/* [-0, +0, v] Reads the OpenAPI of the path. */
static void read_types(struct convergence *c)
{
    lua_State *L = c->L;
    int top = lua_gettop(L);
    lua_newtable(L);
    int all = lua_gettop(L);
    lua_pushstring(L, c->name);
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, 1);
    lua_setfield(L, -2, "help");
    if (c->unmade || !converge_try(c, "logical", "read", 2) || !lua_istable(L, -1) ||
        lua_getfield(L, -1, "openapi") != LUA_TTABLE || lua_getfield(L, -1, "paths") != LUA_TTABLE) {
        lua_settop(L, top);
        guess_types(c);
        return;
    }
    int paths = lua_gettop(L), document = paths - 1;
    for (lua_pushnil(L); lua_next(L, paths); lua_settop(L, paths + 1))
        if (push_properties(L, document, lua_gettop(L)))
            for (lua_pushnil(L); lua_next(L, paths + 3); lua_pop(L, 1)) {
                lua_pushvalue(L, -2);
                lua_pushvalue(L, -2);
                lua_rawset(L, all);
                if (lua_istable(L, -1) && lua_type(L, -2) == LUA_TSTRING)
                    note_type(c, lua_tostring(L, -2));
            }
    refuse_unknown_fields(c, all, c->wanted);
    if (c->create)
        refuse_unknown_fields(c, all, c->create);
    lua_settop(L, top);
}

/* [-0, +0, v] Of a mount only description, options and config can be changed; of an audit device nothing. */
static void refuse_other_mount(struct convergence *c)
{
    lua_State *L = c->L;
    bool tunes = mount_calls(c->name)->tune != NULL;
    for (lua_pushnil(L); lua_next(L, c->wanted); lua_pop(L, 2)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        lua_getfield(L, c->found, name);
        bool tuned =
            strcmp(name, "description") == 0 || strcmp(name, "options") == 0 || strcmp(name, "config") == 0;
        if ((!tuned || !tunes) && !fields_equal(L, &c->fields, fields_type(&c->fields, name), -2, -1))
            converge_refuse(
                c, "make it absent first, which revokes all that it gave out, or leave the field out",
                "the %s of a mount cannot be changed", name);
    }
}

/* [-0, +0, v] A check must not predict what the server will refuse. */
static void refuse_durations(struct convergence *c)
{
    lua_State *L = c->L;
    for (lua_pushnil(L); lua_next(L, c->wanted); lua_pop(L, 1)) {
        int64_t ms;
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING ||
            fields_type(&c->fields, lua_tostring(L, -2)) != FIELD_SECONDS || lua_rawlen(L, -1) == 0)
            continue;
        if (!duration_parse(lua_tostring(L, -1), &ms) || ms % 1000 != 0)
            converge_refuse(c, "give seconds, or a text such as \"90s\", \"1h30m\", \"7d\"",
                            "%s: \"%s\" is no duration of whole seconds", lua_tostring(L, -2),
                            lua_tostring(L, -1));
    }
}

/* [-0, +0, v] */
static void settle_types(struct convergence *c)
{
    if (c->shape == MOUNT && !fields_is_nothing(c->L, c->found))
        refuse_other_mount(c);
    bool asks = c->shape == PLAIN || c->shape == REPLACED;
    if (asks && (fields_is_nothing(c->L, c->found) || needs_types(c)))
        read_types(c);
    if (c->types.length == 0)
        return;
    buffer_append_text(&c->types, PLAIN_TYPES);
    c->fields.types = buffer_text(&c->types);
    refuse_durations(c);
}

/* --- writing ----------------------------------------------------------------------------------------------------------------------- */

/* [-1, +0, v] What the server has to say of the write. */
static void pass_on_warnings(struct convergence *c)
{
    lua_State *L = c->L;
    if (lua_istable(L, -1) && lua_getfield(L, -1, "warnings") == LUA_TTABLE) {
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TSTRING; i++) {
            report_warning(L, "%s: Vault says: %s", c->op, lua_tostring(L, -1));
            lua_pop(L, 1);
        }
        lua_pop(L, 2);
    } else if (lua_istable(L, -1))
        lua_pop(L, 1);
    lua_pop(L, 1);
}

/* [-0, +1, v] Of a mount's fields, those that differ, as its tuning takes them. */
static void push_tuning(struct convergence *c)
{
    lua_State *L = c->L;
    lua_newtable(L);
    int tuning = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, c->sent); lua_settop(L, tuning + 1)) {
        const char *name = lua_tostring(L, -2);
        int value = lua_gettop(L);
        lua_getfield(L, c->found, name);
        if (fields_equal(L, &c->fields, fields_type(&c->fields, name), value, value + 1))
            continue;
        if (strcmp(name, "config") == 0 && lua_istable(L, value)) {
            for (lua_pushnil(L); lua_next(L, value); lua_pop(L, 1)) {
                lua_pushvalue(L, -2);
                lua_pushvalue(L, -2);
                lua_rawset(L, tuning);
            }
        } else {
            lua_pushvalue(L, value);
            lua_setfield(L, tuning, name);
        }
    }
}

/* [-0, +0, v] */
static void write_mount(struct convergence *c)
{
    lua_State *L = c->L;
    const struct mount_calls *calls = mount_calls(c->name);
    bool there = !fields_is_nothing(L, c->found);
    lua_pushstring(L, c->name + strlen(calls->prefix));
    if (there)
        push_tuning(c);
    else
        lua_pushvalue(L, c->sent);
    converge_call(c, "sys", there ? calls->tune : calls->enable, 2);
    lua_pop(L, 1);
    pass_on_warnings(c);
}

static void write_path(struct convergence *c)
{
    lua_State *L = c->L;
    if (c->shape == MOUNT) {
        write_mount(c);
        return;
    }
    if (c->shape == KV2) {
        push_version_path(c);
        lua_pushvalue(L, c->sent);
        lua_setfield(L, -2, "data");
        lua_createtable(L, 0, 1);
        lua_pushinteger(L, c->index);
        lua_setfield(L, -2, "cas");
        lua_setfield(L, -2, "options");
        converge_call(c, "kv-v2", "write_secret", 2);
    } else {
        lua_pushstring(L, c->name);
        lua_pushvalue(L, c->sent);
        converge_call(c, "logical", "write", 2);
    }
    lua_pop(L, 1);
    pass_on_warnings(c);
}

static void remove_path(struct convergence *c)
{
    lua_pushstring(c->L, c->name);
    converge_call(c, "logical", "delete", 1);
    lua_pop(c->L, 1);
    pass_on_warnings(c);
}

/* [-1, +1, m] As a read of the path answers. */
static void answer_path(struct convergence *c)
{
    lua_State *L = c->L;
    if (c->shape == KV2) {
        lua_createtable(L, 0, 2);
        lua_insert(L, -2);
        lua_setfield(L, -2, "data");
        lua_createtable(L, 0, 1);
        lua_pushinteger(L, c->index + 1);
        lua_setfield(L, -2, "version");
        lua_setfield(L, -2, "metadata");
    }
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "data");
}

/* Versioned secrets go back by version, without anybody writing them down. */
static void undo_path(struct convergence *c, struct json_text *json, bool removed)
{
    bool there = !fields_is_nothing(c->L, c->found);
    if (removed && c->shape == MOUNT)
        return; /* what was in it is gone */
    if (c->shape != KV2) {
        converge_undo(c, json);
        return;
    }
    const struct api_client *client = lua_touserdata(c->L, c->client);
    json_open_object(json);
    json_key(json, "op");
    json_string(json, removed ? "vault.undelete" : there ? "vault.rollback" : "vault.absent");
    json_key(json, "addr");
    json_string(json, client->base);
    json_key(json, "name");
    json_string(json, c->name);
    if (there) {
        json_key(json, "version");
        json_integer(json, c->index);
    }
    json_close_object(json);
}

const struct converge_kind vault_kinds[] = {
    {.name = "",
     .about = "a path; its fields as vault.write takes them",
     .types = "",
     .given = "accessor,uuid,last_updated_time,last_update_time,creation_time,updated_time,modify_index,"
              "running_plugin_version,running_sha256,deprecation_status",
     .look = look_at_path,
     .write = write_path,
     .remove = remove_path,
     .check = settle_shape,
     .settle = settle_types,
     .answer = answer_path,
     .undo = undo_path},
    {0},
};

int vault_present(lua_State *L)
{
    return converge_present(L, &vault_product);
}

int vault_absent(lua_State *L)
{
    return converge_absent(L, &vault_product);
}
