/* Values between Lua and configurations, and the memory of one call.
 *
 *   text     <-> Lua text, templates as they are written: "${attr.cpu.arch}" stays one, "$${" is a plain "${"
 *   secret    -> text in which nothing is a template
 *   integers <-> Lua integers; beyond 64 bits json.decode's exact numbers
 *   others   <-> floats; a whole one is written without a fraction
 *   null     <-> json.null
 *   list     <-> table with the metatable of json.array
 *   object, block <-> table; of blocks with labels the labels are names, several of one name are a list
 *   expression of HCL2 <-> hcl.expression, whose tostring is its source */
#ifndef MOONBOOK_HCL_LUA_H
#define MOONBOOK_HCL_LUA_H

#include "hcl_edit.h"

#include <lua.h>
#include <stdbool.h>

struct hcl_work {
    struct hcl_editor editor;
    struct buffer value, value_arena;
    struct hcl_document value_document;
    struct hcl_path path;
    struct failure failure;
    const char *op;
    bool secret;  /* the text holds a secret */
    bool unknown; /* --check cannot know the text or a value */
    bool hidden;  /* errors do not show lines of the text */
};

/* [-0, +1, m] The memory of the running C function, wiped when it ends: leave it on the stack. */
struct hcl_work *hcl_work_open(lua_State *L, const char *op);

/* [-0, +0, v] Parses a text; raises "invalid" with line, column and, unless `hidden`, the line. */
void hcl_work_parse(lua_State *L, struct hcl_work *work, const char *text, size_t length);

/* [-0, +0, v] Reads a path; raises "usage". */
void hcl_work_path(lua_State *L, struct hcl_work *work, const char *source, size_t length);

/* [-0, +0, v] Reads the Lua value at `index` as a value for an edit. Raises "usage" for what HCL has no form of. */
struct hcl_value hcl_work_value(lua_State *L, struct hcl_work *work, int index);

/* [-0, +0, v] Raises the work's failure. */
int hcl_work_raise(lua_State *L, struct hcl_work *work);

/* [-0, +1, v] Pushes a value. With `secret` its texts are secrets. */
void hcl_push(lua_State *L, const struct hcl_document *document, uint32_t node, bool secret);

/* [-0, +1, v] The blocks of one name, which have labels that the path does not name: a table with the labels as names. */
void hcl_push_blocks(lua_State *L, const struct hcl_document *document, const struct hcl_path *path,
                     const struct hcl_place *place, bool secret);

/* [-0, +1, m] A text in which nothing is a template, or an expression as it is written. */
void hcl_push_source(lua_State *L, const char *bytes, size_t length, bool expression);

/* [-0, +0, m] Makes the metatable of those. */
void hcl_lua_open(lua_State *L);

#endif
