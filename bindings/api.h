/* The HTTP API of a product as one table of rows, and what is made of it: Lua functions, argument checks, errors, and
 * (read by others) help, completion, stubs and the reference. Nothing is written twice.
 *
 *     consul.kv.read_key("ci/a", {recurse = true, dc = "dc2"})  ->  answer, {index=, status=, headers=}
 *
 * Path parameters come by position, escaped; then one options table with query and body fields, dashes in names
 * written as underscores. Only rows marked API_READ are ever sent under --check; the others pass the gate, are
 * predicted, and return an unknown value. After that a read of the very same path sees the prediction: unknown, or nil
 * after a DELETE. Other paths that would show the change (a list, say) are read as they are. */
#ifndef MOONBOOK_API_H
#define MOONBOOK_API_H

#include "binding.h"
#include "buffer.h"
#include "change.h"
#include "exchange.h"
#include "json.h"

#include <lua.h>
#include <stdbool.h>

enum api_effect {
    API_READ,    /* changes nothing, whatever its method */
    API_CHANGE,  /* changes something; the same call again has the same result */
    API_CREATES, /* makes something new at each call, even where it reads like a read: never sent twice */
};

struct api_row {
    const char *group;  /* "kv" */
    const char *name;   /* "read_key" */
    const char *method; /* "GET"; also "LIST" */
    const char *path;   /* "/v1/kv/{key}" */
    const char *mount;  /* what {mount} in the path is unless the option says otherwise; "" = it has none */
    const char *query;  /* "recurse,raw" or ""; ! = always sent, {key} = any other */
    const char
        *body; /* "Name*,ID": fields, * = needed, ... = any other; "{key}": a table of its own, before the
                         * options; "raw": not an object; "" = none */
    const char *returns; /* "json", "none", "text", "raw" (bytes), "stream", "websocket" */
    enum api_effect effect;
    const char *answers; /* error statuses that are data, "429,503"; "" = none */
    const char
        *secret; /* fields of the answer that become secrets: "auth.client_token,data.*,*.SecretID"; * = each
                          * element, all that is below is secret; # = the keys of an object; "" = none */
    bool blocking;     /* takes index and wait */
    const char *since; /* the product's version, "" = not known */
    const char *doc;   /* one line */
};

/* Where a setting of the connection comes from. */
enum api_setting {
    API_ADDRESS,
    API_TOKEN,
    API_TOKEN_FILE,
    API_TLS,
    API_VERIFY,
    API_SKIP_VERIFY,
    API_CA,
    API_CA_PATH,
    API_CERT,
    API_KEY,
    API_SERVER_NAME,
    API_AUTH,
    API_QUERY,
    API_TIMEOUT, /* seconds or a duration */
    API_RETRIES,
    API_HEADER,   /* sent with every request */
    API_WRAPPING, /* a header that makes the server put each answer into a token: a read then makes something */
    API_HEADERS, /* JSON object of them */
};

struct api_variable {
    const char *name; /* environment variable */
    enum api_setting setting;
    const char *sent;   /* of API_QUERY: the parameter, of a header its name */
    const char *option; /* of a header: its name in product{...} */
};

/* What an error text means to the operator. */
struct api_hint {
    const char *text; /* part of the server's message */
    const char *hint;
};

/* Path parameters that may be given as the beginning of an id. */
struct api_short_id {
    const char *parameter; /* "node_id" */
    const char *list;      /* "/v1/nodes": takes ?prefix= and answers objects with ID and Name */
    const char *noun;      /* "node" */
};

struct api_write;
struct hcl_document;

/* What a token must be allowed: "key" becomes key:read for rows that read, else key:write. */
struct api_permission {
    const char *group;
    const char *name;     /* NULL: the others of the group */
    const char *resource; /* "service,node": both; "" = none, or not known */
};

struct api_client;

/* Where the servers tell their version: an endpoint without arguments, and paths into its answer ("Config.Version"), of
 * which the first that is there counts. "*" is each element, "role=consul" goes on only where that field is so; of
 * several versions the lowest counts. Where one endpoint does not tell, the next is asked. */
struct api_version {
    const char *group;
    const char *name;
    const char *paths;
};

/* How an agent's own configuration says where it listens. Paths in it: "ports.http". */
struct api_agent {
    const char *folder;     /* of *.hcl and *.json */
    const char *option;     /* of host{}: where it listens */
    const char *address[2]; /* the first that is set holds */
    const char *tls_address;
    const char *port, *tls_port; /* tls_port NULL: the same one speaks TLS */
    const char *tls;             /* true: it does; or NULL */
};

struct api_product {
    const char *name;              /* "consul": the Lua module */
    const char *title;             /* "Consul" */
    const struct api_row *rows;    /* ends with a NULL group */
    const char *query;             /* options that every call takes: "dc,ns" */
    const char *flags;             /* options whose mere presence means true: false leaves them out */
    const char *slashes;           /* path parameters that keep their slashes */
    bool trims;                    /* and lose those that they begin with */
    const char *top;               /* the group whose functions are the module's own too, or NULL */
    const char *secret;            /* as a row's, for every answer; or NULL */
    bool central;                  /* one server for all: a host has no agent of its own to ask instead */
    const struct api_agent *agent; /* of a host; NULL where it is central */
    const char *token_header;
    const char *token_file; /* in the user's home, where nothing else gives a token; or NULL */
    const char *header;     /* sent with the value "true"; or NULL */
    const char *leader; /* path of a read that names the active server's "leader_address", to which a 307 may
                               * lead; or NULL: redirects are not followed */
    const char *capability;   /* hint for a refused path, with one %s; or NULL */
    const char *index_header; /* or NULL */
    const char
        *endpoint_header; /* sent by endpoints also with an answer that is empty, and not by the router for a
                                   * path that it does not know; or NULL */
    const char *address;  /* where nothing else is said */
    const char *port;     /* of an address that names none */
    const char *unreachable;                  /* hint */
    const struct api_variable *environment;   /* ends with a NULL name */
    const struct api_hint *hints;             /* ends with a NULL text */
    const struct api_short_id *short_ids;     /* ends with a NULL parameter */
    const struct api_permission *permissions; /* ends with a NULL group; the first that fits; or NULL */
    /* [-0, +0, v] Does the error answer mean that what was named is not there, though it does not say so? Or NULL. */
    bool (*is_missing)(lua_State *L, const struct api_client *client, const struct exchange *exchange);
    /* [-0, +0, v] A read found nothing: warns where the reason may be the token. The path parameters are at 1..n. Or NULL. */
    void (*found_nothing)(lua_State *L, struct api_client *client, const struct api_row *row,
                          const struct exchange *exchange);
    lua_CFunction present; /* the convergent functions; upvalue 1: the client, none = the default one */
    lua_CFunction absent;  /* ... */
    const struct converge_kind *kinds; /* what they know; ends with a NULL name */
    /* [-0, +0, v] Says how a write of one of its endpoints is undone, `found` (an index) being there; false: as others
     * are. Or NULL. */
    bool (*undo)(lua_State *L, const struct api_write *write, int found, struct json_text *json);
    const struct api_version *versions; /* ends with a NULL group */
};

#define API_DEFAULTS     4
#define API_HEADERS_MOST 16
#define API_WORD         80 /* longer than any name in the tables */

/* One server to talk to; owned by a userdata. */
struct api_client {
    const struct api_product *product;
    struct host *host; /* through whose connection requests go; NULL: from here */
    char *base;        /* "http://127.0.0.1:8500/prefix" */
    char *token;
    const char *token_from;   /* "CONSUL_HTTP_TOKEN", "token=" */
    const char *address_from; /* "CONSUL_HTTP_ADDR", "addr=", "the default" */
    struct transfer_target target;
    struct {
        const char *name;
        char *value;
    } query[API_DEFAULTS]; /* sent unless the call says otherwise */
    size_t query_count;
    struct transfer_header headers[API_HEADERS_MOST];
    size_t header_count;
    struct transfer_header
        wrapping;        /* of calls that a script makes, not of what is looked up for it; no name: none */
    uint64_t timeout_ms; /* 0 = the usual */
    int retries;         /* below 0 = the usual */
    char **texts;        /* what it owns */
    size_t text_count;
    const struct api_row **doubted; /* whose empty answers were looked into */
    size_t doubted_count;
};

/* [-0, +0, m] For a module's `open`, its table on top: product.group.name become functions of the current host's
 * default client. Groups are made when first asked for: a run pays for what it uses. */
void api_open_module(lua_State *L, const struct api_product *product);

/* [-n, +1, v] For a module's "": product{addr=, token=, ...} gives a table with the same functions for that server. */
int api_call_module(lua_State *L, const struct api_product *product);

/* Finds out where the host's own agent listens: what the operator says, its configuration there, else loopback. `from`
 * gets words for where that is from. */
bool api_agent_address(struct host *host, const struct api_product *product, struct buffer *address,
                       struct buffer *from, struct failure *failure);

/* The text, number or boolean that an agent's file has at a path such as "ports.http", the last one where there are
 * several. Labels of blocks make no difference. */
bool api_agent_setting(const struct hcl_document *document, const char *path, struct buffer *value);

/* Where the client's host is another one: the exchange goes through its connection. */
void api_agent_way(const struct api_client *client, struct exchange *exchange);

/* Whose predictions hold for the client: another host's agent has its own. */
struct host *api_overlay_host(lua_State *L, const struct api_client *client);

/* [-0, +1, v] Pushes the client of the current host: locally from the environment, elsewhere that host's own agent's; made
 * once. */
struct api_client *api_default_client(lua_State *L, const struct api_product *product);

/* [-0, +1, v] Pushes a client from the environment and, where `options` is not 0, the options table there. */
struct api_client *api_client_new(lua_State *L, const struct api_product *product, int options);

/* The next word of a comma-separated list: copies it into `word`, without "*", and moves `list` on. False at the
 * end. `needed` may be NULL. */
bool api_next_word(const char **list, char *word, size_t size, bool *needed);

/* The same for a list of paths, where "*" means something. */
bool api_next_path(const char **list, char *path, size_t size);

/* Is the word in the comma-separated list? */
bool api_has_word(const char *list, const char *word);

/* A name of the API as Lua writes it: underscores for dashes. `out` may be `name`. */
void api_lua_name(const char *name, char *out, size_t size);

/* What a request to this path (escaped, without query) is, whatever the name of the function: `judged` becomes the row
 * with the effect and the secrets of the endpoint that answers there. vault.read("database/creds/ci") makes
 * credentials. Where it is not sure, it is a change, and the answer is secret. */
void api_judge(const struct api_product *product, const struct api_row *row, const char *path,
               struct api_row *judged);

/* [-1, +1, v] Makes secrets of the fields of the value on top that the list names (a row's `secret`). */
void api_hide(lua_State *L, const char *list, const char *where);

/* The row that reads what is written at a path: a GET of one thing in JSON, which changes nothing; or NULL. */
const struct api_row *api_reader(const struct api_product *product, const struct api_row *written,
                                 const char *path);

/* A write that is about to be made. */
struct api_write {
    const struct api_client *client;
    const struct api_row *row;
    const char *op;
    const char *path;          /* escaped, without query */
    struct exchange *exchange; /* owns what the change says */
    int parameters;            /* path parameters at 1..n */
    int data, options;         /* stack indexes, or 0 */
    uint64_t deadline;         /* of the whole call, 0 = none */
};

/* [-0, +0, v] Reads what is there and fills in the change's before, diff and undo. */
void api_look_before(lua_State *L, const struct api_write *write, struct change *change);

/* How a binding calls an endpoint. */
struct api_passage {
    bool passed;       /* the gate was passed already: a change is sent, not announced again */
    struct buffer url; /* where the answer is from; the caller frees it */
};

/* The Lua function of a row. Upvalues: product, row, client (nil: the current host's default), passage or none. */
int api_call(lua_State *L);

/* [-arguments, +2, v] Calls an endpoint as its Lua function would: pushes the answer and {index=, status=, headers=}, an
 * unknown value and nil where it was not sent. `client` is the index of its userdata; `passage` may be NULL. */
void api_invoke(lua_State *L, int client, const struct api_row *row, int arguments,
                struct api_passage *passage);

/* [-arguments, +2|+1, v] The same; for an error that the server answered, which stays on the stack, it returns false. */
bool api_try(lua_State *L, int client, const struct api_row *row, int arguments, struct api_passage *passage);

/* [-0, +2, v] For a product's `version` (runtime.h): what its server says it is, and which one was asked. */
int api_push_version(lua_State *L, const struct api_product *product);

/* The row of a Lua name; NULL when there is none. */
const struct api_row *api_find(const struct api_product *product, const char *group, const char *name);

/* [-0, +1, v] What the answer means: its decoded value, nil for what is not there; raises for errors. */
void api_push_answer(lua_State *L, const struct api_client *client, const struct api_row *row,
                     struct exchange *exchange);

/* [-0, +4, v] Sends the request of a stream; pushes what a generic `for` takes: an iterator that is closed with the loop.
 * `plain`: lines, whatever they look like. */
int api_push_stream(lua_State *L, const struct api_client *client, const struct api_row *row,
                    struct exchange *exchange, bool plain);

/* [-0, +0, v] The request's body is the file at `path`. */
void api_body_from(lua_State *L, struct exchange *exchange, const char *path);

/* [-0, +0, v] Through the gate: sends the request and writes the answer to `path`, 0600, whole or not at all. False where
 * it was predicted or declined. */
bool api_answer_to(lua_State *L, const struct api_client *client, const struct api_row *row,
                   struct exchange *exchange, const char *op, const char *path);

/* What the row needs a token to be allowed, "key" or "service,node"; "" where that is not known. */
const char *api_permission_of(const struct api_product *product, const struct api_row *row);

/* Makes an error answer a failure: the server's own words, and what to do. */
void api_explain(lua_State *L, const struct api_client *client, const struct api_row *row,
                 const struct exchange *exchange, struct failure *failure);

/* Did the server send the request on to an address of the same cluster? Then the exchange goes there now. Who leads is
 * asked before the deadline. */
bool api_redirect(lua_State *L, const struct api_client *client, struct exchange *exchange,
                  uint64_t deadline);

/* The Lua function product.watch: a blocking query as an iterator. */
int api_watch(lua_State *L);

/* What to do about an answer that is none of the product's. */
const char *api_hint_foreign(const struct api_client *client, struct exchange *exchange);

/* Adds to a failure to connect what to look at. */
void api_explain_unreachable(const struct api_client *client, struct failure *failure);

/* [-0, +0, v] Adds address, path and token to an exchange that is empty. `path` is escaped. */
void api_address(struct exchange *exchange, const struct api_client *client, const char *path);

/* As api_product has them. */
bool consul_is_missing(lua_State *L, const struct api_client *client, const struct exchange *exchange);
void consul_found_nothing(lua_State *L, struct api_client *client, const struct api_row *row,
                          const struct exchange *exchange);
extern const struct api_permission consul_permissions[];

extern const struct api_product consul_product, nomad_product, vault_product;

int consul_version(lua_State *L);
int nomad_version(lua_State *L);

/* "PATH#FIELD" -> the field of what Vault has at the path: [-1, +1, v]. */
int vault_secret(lua_State *L);

/* Sources of the inventory: [-1, +1, v]. */
int consul_hosts(lua_State *L);
int nomad_hosts(lua_State *L);
int vault_version(lua_State *L);

#endif
