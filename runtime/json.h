/* JSON as the cluster's APIs need it: 64-bit integers (unsigned ones too), empty arrays and null survive a
 * round trip, which neither lua-cjson 2.1.0 nor Jansson gives. Parsing is yajl's.
 *
 *   null            <-> json.null, a light userdata NULL (the same value as cjson.null)
 *   integer         <-> Lua integer; beyond its range: an exact number object (tostring gives its digits,
 *                       arithmetic makes it a float, equal objects compare equal)
 *   other numbers   <-> float, written so that an equal number is read back; a whole one without a fraction,
 *                       because Go's readers refuse 5.0 where they want an integer, and n / 2 is a float
 *   array           <-> table with the metatable of json.array, so that [] stays []
 *   object          <-> table; a table without that metatable is an array when its keys are 1..n, n > 0
 *   secrets and unknown values cannot be encoded by json_encode: it raises (see json_encode_request).
 *
 * Metatables are not asked: a table is what it holds. */
#ifndef MOONBOOK_JSON_H
#define MOONBOOK_JSON_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

#define JSON_MAX_DEPTH 120

/* [-0, +1, m] Makes metatables; once for each state. */
void json_open(lua_State *L);

/* [-0, +(0|1), m] Decodes one JSON text and pushes its value; or returns false with a message (line, column,
 * what) in `error`. Depth beyond JSON_MAX_DEPTH, trailing bytes and invalid UTF-8 are errors, as are values that would
 * take much more memory than their text (256 MiB are always fine). */
bool json_decode(lua_State *L, const char *text, size_t length, char *error, size_t error_size);

/* [-0, +1, v] Encodes the value at `index` and pushes the text. Keys of objects are sorted: equal values,
 * equal text. Raises "usage" for functions, cycles, mixed keys, NaN, infinity, too deep, invalid UTF-8,
 * secrets. */
void json_encode(lua_State *L, int index);

/* [-0, +0, v] The same, appended to `out`, with secrets opened: for a request's body only. An unknown value
 * becomes "<unknown>" and what follows inexact: such a body is compared, never sent. When it raises, `out` is
 * as it was. The caller wipes `out`. */
void json_encode_request(lua_State *L, int index, struct buffer *out);

/* Is it text that JSON can hold: valid UTF-8? */
bool json_is_text(const char *bytes, size_t length);

/* [-0, +0, m] Marks the table at `index` as an array. */
void json_mark_array(lua_State *L, int index);

/* [-0, +0, -] */
bool json_is_array(lua_State *L, int index);

/* [-0, +1, m] / [-0, +0, -] The null value. */
void json_push_null(lua_State *L);
bool json_is_null(lua_State *L, int index);

/* Building JSON in C, for events and the state that changes carry. The first member or element has no comma
 * before it, that is all the state there is: a text being built. */
struct json_text {
    struct buffer out;
    bool comma;
};
void json_open_object(struct json_text *json);
void json_close_object(struct json_text *json);
void json_open_array(struct json_text *json);
void json_close_array(struct json_text *json);
void json_key(struct json_text *json, const char *name);
/* Values; bytes that are not UTF-8 become U+FFFD, as an event must stay readable. NULL becomes null. */
void json_string(struct json_text *json, const char *text);
void json_bytes(struct json_text *json, const char *bytes, size_t length);
void json_integer(struct json_text *json, long long number);
void json_boolean(struct json_text *json, bool value);
void json_raw(struct json_text *json, const char *text); /* JSON made before; NULL becomes null */

#endif
