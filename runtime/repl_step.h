/* What a step needs of sessions: --repl-on-error. */
#ifndef MOONBOOK_REPL_STEP_H
#define MOONBOOK_REPL_STEP_H

#include <lua.h>

/* What the operator said of a failed step. */
enum repl_verdict { REPL_NONE, REPL_RETRY, REPL_SKIP, REPL_ABORT };

/* [-0, +2, m] Pushes what keeps the verdict, and a message handler for the step's call: where it fails, a session opens before
 * the stack unwinds. Afterwards the verdict tells how it ended; REPL_NONE: there was no session. */
enum repl_verdict *repl_push_handler(lua_State *L);

#endif
