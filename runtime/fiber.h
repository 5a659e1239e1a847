/* Fibers: one C stack and one Lua thread each, switched at waits only.
 *
 * A fiber may wait anywhere: in a sort comparator, a metamethod, a coroutine, below pcall. Callbacks of libuv and
 * curl never touch Lua and never switch: they note their result and call fiber_wake; the scheduler resumes fibers
 * from one ready queue. A wait is therefore written as
 *
 *     start(&request, callback);                      // the callback sets request.done, calls fiber_wake
 *     while (!request.done)
 *         if ((outcome = fiber_suspend(runtime, left)) != WAIT_WOKEN)
 *             break;                                  // then detach the request, so no late callback finds the stack
 */
#ifndef MOONBOOK_FIBER_H
#define MOONBOOK_FIBER_H

#include "failure.h"
#include "runtime.h"

#include <stdbool.h>
#include <stdint.h>

enum wait_outcome {
    WAIT_WOKEN,     /* fiber_wake was called; look at the condition again */
    WAIT_TIMEOUT,   /* the time is over */
    WAIT_CANCELLED, /* the fiber was cancelled */
    WAIT_REFUSED,   /* a wait inside __gc: it would stop the collector for everybody */
};

/* Waits that other waits bound (a join of a fiber whose own waits have timeouts). */
#define FIBER_NO_TIMEOUT UINT64_MAX

/* After a cancellation was delivered, waits work this long once more: `<close>` and clean-up put back locks. */
#define FIBER_GRACE_MS 5000

/* Starts a fiber. [-(nargs + 1), +0, m] The function and its arguments below the top of L move to the new
 * fiber's Lua thread. It runs when the caller waits. The caller joins it. */
struct fiber *fiber_start(lua_State *L, int nargs);

/* Waits until the fiber ended, releases it. [-0, +n, -] Returns true and leaves its n results on L, or false
 * and leaves its error. A cancelled joiner cancels the fiber it joins and still waits for its end. */
bool fiber_join(lua_State *L, struct fiber *fiber, int *results);

/* Runs the scheduler on the caller's stack until `fiber` ended; then as fiber_join. For those outside of fibers:
 * commands and tests. */
bool fiber_drive(lua_State *L, struct fiber *fiber, int *results);

bool fiber_ended(const struct fiber *fiber);

/* Did it end by an error? It still has to be joined. */
bool fiber_failed(const struct fiber *fiber);

/* The running fiber is woken when this one ends; for waiting for several at once. */
void fiber_watch(struct fiber *fiber);

/* The context of the running fiber; fields may be changed and are restored by whoever changed them. */
struct fiber_context *fiber_context(struct runtime *runtime);

/* May the running code wait? Not in a finalizer, and not where no fiber runs. */
bool fiber_may_wait(struct runtime *runtime);

/* Suspends the running fiber for at most `timeout_ms`. Spurious wakes happen: callers loop on their condition. */
enum wait_outcome fiber_suspend(struct runtime *runtime, uint64_t timeout_ms);

/* Puts a suspended fiber into the ready queue; callable from any callback of the loop; harmless otherwise. */
void fiber_wake(struct fiber *fiber);

/* Makes the fiber's waits fail with "cancelled", now and later. Inside fiber_shield it takes effect after. */
void fiber_cancel(struct fiber *fiber);

/* Cancels even inside a shield: the second interrupt. */
void fiber_kill(struct fiber *fiber);

/* fiber_cancel and fiber_kill for every fiber. */
void fiber_cancel_all(struct runtime *runtime);
void fiber_kill_all(struct runtime *runtime);

/* fiber_kill for every fiber that works for this input of a session. */
void fiber_kill_input(struct runtime *runtime, unsigned input);

/* Between shield and unshield a cancellation is put off: a change that was begun is finished. Nests. */
void fiber_shield(struct runtime *runtime);
void fiber_unshield(struct runtime *runtime);

/* Was the running fiber cancelled (shield or not)? Long loops without waits ask it. */
bool fiber_is_cancelled(struct runtime *runtime);

/* Does a shield put off the cancellation of a fiber that works for this input of a session? 0: of any. */
bool fiber_any_shielded(const struct runtime *runtime, unsigned input);

/* How many shields the running fiber has; and back to that number, after an error went past an unshield. */
unsigned fiber_shields(struct runtime *runtime);
void fiber_restore_shields(struct runtime *runtime, unsigned shields);

/* Waits until woken or for `ms`, whatever is cancelled: for ends that must be seen and are bounded by others. */
enum wait_outcome fiber_endure(struct runtime *runtime, uint64_t ms);

/* The Lua thread (coroutine) that the running fiber is in; returns the one before. For interrupts. */
lua_State *fiber_enter_thread(struct runtime *runtime, lua_State *thread);

/* Is a cancellation to be raised now by the running fiber, at a point where it does not wait? True once. */
bool fiber_cancel_due(struct runtime *runtime);

/* The Lua thread that a fiber executes: its own, or the coroutine it is in. */
lua_State *fiber_thread(const struct fiber *fiber);

/* Describes an outcome other than WAIT_WOKEN. Returns false. */
bool fiber_wait_failure(struct failure *failure, enum wait_outcome outcome, const char *op,
                        uint64_t timeout_ms);

/* Sleeps. Returns WAIT_TIMEOUT after the time, WAIT_CANCELLED or WAIT_REFUSED before it. */
enum wait_outcome fiber_sleep(struct runtime *runtime, uint64_t ms);

/* Runs `work(argument)` on libuv's thread pool and waits for it: for calls that block (fsync, NSS look-ups).
 * `work` must not touch Lua or the runtime. It is always waited for to its end. Returns false where the pool
 * refused it, or in __gc. */
bool fiber_offload(struct runtime *runtime, void (*work)(void *argument), void *argument);

/* Waits for the lock (struct fiber_lock of runtime.h). Anything but WAIT_WOKEN means that it was not taken. */
enum wait_outcome fiber_lock(struct runtime *runtime, struct fiber_lock *lock);
/* The same, for that long at most: WAIT_TIMEOUT after it. */
enum wait_outcome fiber_lock_within(struct runtime *runtime, struct fiber_lock *lock, uint64_t timeout_ms);
void fiber_unlock(struct fiber_lock *lock);

/* Makes the loop come back as soon as a fiber is ready; called by runtime_new. */
void fiber_watch_loop(struct runtime *runtime);

/* Releases the stacks kept for reuse; called by runtime_free. */
void fiber_release_stacks(struct runtime *runtime);

#endif
