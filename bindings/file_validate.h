/* Outside checkers: a program that says whether a new content is good before the real file is touched.
 *
 * Without "%s" among its arguments the checker reads the content from its standard input; with it, the content is
 * written beside the file as .NAME.moonbook-XXXXXXXX, with the final mode and owner, and "%s" is its path. */
#ifndef MOONBOOK_FILE_VALIDATE_H
#define MOONBOOK_FILE_VALIDATE_H

#include "file_target.h"

/* Does the target's checker want a file to read? */
bool file_validate_needs_file(const struct file_target *target);

/* [-0, +0, v] Before the gate: runs a checker that reads standard input; raises "invalid" with what it said. Under
 * --check a checker that cannot run yet is named in a warning. */
void file_validate_input(lua_State *L, struct file_target *target);

/* Inside the gate: writes the candidate, runs the checker on it, removes it in every case. */
bool file_validate_candidate(struct file_target *target, struct failure *failure);

/* Writes the target's new content, mode and owner to a path. */
bool file_target_write(struct file_target *target, const char *path, struct failure *failure);

#endif
