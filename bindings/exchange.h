/* One HTTP request on behalf of Lua: everything that it is made of, owned by a userdata, so that an error raised
 * halfway leaks nothing and a token is overwritten when the call ends. The http module and the API tables use it. */
#ifndef MOONBOOK_EXCHANGE_H
#define MOONBOOK_EXCHANGE_H

#include "binding.h"
#include "transfer.h"

#include <lua.h>
#include <stdbool.h>

#define EXCHANGE_ANSWERS 16
#define EXCHANGE_RETRIES 2

struct exchange {
    struct transfer_request request; /* url, headers and body are filled in by exchange_perform */
    struct transfer_answer answer;
    char op[sizeof((struct failure *)0)->op];
    struct buffer url, body;
    struct host *via; /* another host, through whose connection it goes; NULL: from here */
    char via_address[256];
    int via_port; /* 0: a Unix socket there, or an address that cannot be forwarded */
    bool has_body;
    struct transfer_header *headers;
    size_t header_count;
    int answers[EXCHANGE_ANSWERS]; /* statuses that are data; ends with 0 */
    int owned_file;                /* closed with it; -1 = none */
    char *temporary;               /* a file that is removed with it, or NULL */
    char **texts;                  /* copies that it owns */
    size_t text_count;
};

/* [-0, +1, m] Pushes a new exchange, to be closed when the running C function ends: leave it on the stack. `op` is
 * the Lua name; exchange_name adds the URL to it. */
struct exchange *exchange_open(lua_State *L, const char *op);

/* Says in failures which URL it is about, without user and password. */
void exchange_name(struct exchange *exchange, const char *op);

/* A copy of the text that lives as long as the exchange; NULL for NULL. */
const char *exchange_copy(struct exchange *exchange, const char *text);

/* Adds a header; copies both. */
void exchange_header(struct exchange *exchange, const char *name, const char *value, bool secret);

/* Appends bytes escaped for a URL's path or query; with `slashes`, "/" stays. */
void exchange_escape(struct buffer *out, const char *bytes, size_t length, bool slashes);

/* Appends "?name=value" or "&name=value" to the URL; a NULL value gives the bare name. */
void exchange_query(struct exchange *exchange, const char *name, const char *value);

/* [-0, +0, v] The body: the JSON of the value at `index`, secrets opened. Adds the content type. */
void exchange_json_body(lua_State *L, struct exchange *exchange, int index);

/* [-0, +0, v] The body: text or secret at `index`. */
void exchange_text_body(lua_State *L, struct exchange *exchange, int index);

/* [-0, +0, v] Reads the connection's options from the table at `index`: EXCHANGE_TARGET_OPTIONS. */
#define EXCHANGE_TARGET_OPTIONS                                                                              \
    "unix_socket", "ca", "ca_path", "cert", "key", "server_name", "verify", "user", "password"
void exchange_target_options(lua_State *L, int index, struct exchange *exchange);

/* [-0, +0, v] Reads timeout, connect_timeout, retries, limit. */
#define EXCHANGE_LIMIT_OPTIONS "timeout", "connect_timeout", "retries", "limit"
void exchange_limit_options(lua_State *L, int index, struct exchange *exchange);

/* [-0, +0, v] Text or secret option; secrets and `sensitive` texts become known to the redactor. NULL where nil. */
const char *exchange_secret_option(lua_State *L, int index, struct exchange *exchange, const char *name,
                                   bool sensitive);

/* What is left until the deadline, milliseconds of the runtime's clock, is the time that the request has. */
void exchange_limit_time(lua_State *L, struct exchange *exchange, uint64_t deadline);

bool exchange_is_answer(const struct exchange *exchange, int status);

/* Makes the way where it goes through another host's connection; exchange_perform does it itself. */
bool exchange_reach(struct exchange *exchange, struct failure *failure);

/* Sends it; as transfer_perform. What a former call answered is released. */
bool exchange_perform(lua_State *L, struct exchange *exchange, struct failure *failure);

/* [-0, +1, m] The answer's headers: lower-case names, found in any case; equal names joined by ", ". */
void exchange_push_headers(lua_State *L, const struct exchange *exchange);

/* [-0, +0, m] Gives the table on top the field `headers`, which is made when somebody looks at it: few do. */
void exchange_attach_headers(lua_State *L, const struct exchange *exchange);

/* {"bytes":, "sha256":} of the body, for the journal; NULL without one. Bodies may hold secrets, so not they. */
const char *exchange_describe_body(struct exchange *exchange);

/* The URL without user and password; the exchange owns it. */
const char *exchange_shown_url(struct exchange *exchange);

/* Appends the beginning of what a server said, as it may be shown: on one line, `most` bytes, without secrets. */
void exchange_excerpt(lua_State *L, const char *text, size_t length, size_t most, struct buffer *out);

/* The same of a redirect's address: without user and password. */
void exchange_excerpt_location(lua_State *L, const char *location, struct buffer *out);

/* Is it a page for browsers? A proxy or a login answers so. */
bool exchange_is_page(const struct exchange *exchange);

/* [-0, +0, v] Raises: the answer is no JSON, and why. */
int exchange_refuse_json(lua_State *L, const struct exchange *exchange, const char *error, const char *hint);

/* Is the answer's content type JSON? */
bool exchange_is_json(const struct exchange *exchange);

#endif
