/* Making a file have a content: compare, check, gate, write. What file.present, file.copied, file.line and file.block
 * end in. */
#ifndef MOONBOOK_FILE_WRITE_H
#define MOONBOOK_FILE_WRITE_H

#include "file_target.h"

#include <lua.h>

/* [-0, +0, v] The content of what was looked at, into `old_content`; false where only a real run can know it. */
bool file_target_read_old(lua_State *L, struct file_target *target);

/* [-0, +0, v] For an edit of the content: looks at the file and reads it. Raises "not-found" where it is not there, unless
 * the option `create` is true. False where only a real run can know what is in it. */
bool file_target_read_text(lua_State *L, struct file_target *target);

/* [-0, +1, v] Makes the file as the target says: `new_content` (if `content_asked`), mode and owner. The path was
 * looked at. Pushes {changed=, before=, after=}. */
int file_converge(lua_State *L, struct file_target *target);

/* The Lua functions. */
int file_present(lua_State *L);
int file_copied(lua_State *L);

#endif
