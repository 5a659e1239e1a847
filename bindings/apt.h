/* What the files of the apt module share: one call, the locks, scripts that change packages. */
#ifndef MOONBOOK_APT_H
#define MOONBOOK_APT_H

#include "binding.h"
#include "change.h"
#include "host.h"
#include "scratch.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#define APT_LISTS "/var/lib/apt/lists"

/* One call of a function of the module. */
struct apt {
    lua_State *L;
    struct runtime *runtime;
    struct host *host;
    struct scratch *scratch; /* on the stack of L until the call ends */
    const char *op;          /* "apt.installed" */
    bool check;
    uint64_t lock_timeout_ms;
    struct failure failure;
};

#define APT_LOCK_TIMEOUT_MS (5 * 60 * 1000)

/* [-0, +1, m] Begins a call; leaves the scratch on the stack. */
void apt_open(lua_State *L, const char *op, struct apt *apt);

/* [-0, +0, v] Raises apt->failure with the call's op. */
int apt_raise(struct apt *apt);

/* [-0, +1, v] The positional arguments of the options table at 1, as a NULL-terminated vector that the value pushed
 * owns; each is a package's name. Raises "usage" for none and for what is no name. */
const char *const *apt_names(struct apt *apt);

/* Runs a command that reads, in the C locale, to its end; output in the scratch. `statuses`: exit status up to this are
 * no failure. NULL and apt->failure otherwise. */
char *apt_ask(struct apt *apt, const char *const *argv, int statuses);

/* Which of apt's locks a script will need. */
enum apt_locks { APT_LOCKS_LISTS, APT_LOCKS_PACKAGES };

/* [-0, +0, m] Runs the shell script as root with the arguments: waits for the locks first, and again when it lost a race
 * for them, until lock_timeout_ms is over. The script sees $wait (seconds left), a plain environment, a function `apt`
 * that is apt-get without questions. True when it ran: `status` is its exit status, `said` the end of its output. */
bool apt_script(struct apt *apt, enum apt_locks locks, const char *script, const char *const *arguments,
                int *status, const char **said);

/* The URI as it may be shown: without user and password, which no message, record or command line has. */
const char *apt_shown_uri(struct apt *apt, const char *uri);

/* What the script said, as the end of a message: "" or ": ..." on one or more lines. */
const char *apt_because(struct apt *apt, const char *said);

/* Finds in the text of /proc/locks who holds a POSIX lock on that inode. `any_device`: the device is not compared. False
 * when nobody does; pid -1 where the holder is not known (another namespace). */
bool apt_lock_holder(const char *locks, uint64_t device, uint64_t inode, bool any_device, long *pid);

/* The Lua functions, each in its duty's file. */
int apt_repository(lua_State *L);
int apt_updated(lua_State *L);
int apt_installed(lua_State *L);
int apt_absent(lua_State *L);
int apt_held(lua_State *L);

#endif
