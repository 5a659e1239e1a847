/* Fibers: stacks, the ready queue, waits, cancellation. */
#include "fiber.h"

#include "buffer.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define MOONBOOK_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MOONBOOK_ASAN 1
#endif
#endif

#ifdef MOONBOOK_ASAN
#include <sanitizer/common_interface_defs.h>
#define STACK_SIZE (2u << 20) /* red zones make frames about twice as large */
#else
#define STACK_SIZE (1u << 20)
#endif

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(start, end) 0
#define VALGRIND_STACK_DEREGISTER(id)       ((void)(id))
#endif

#define SPARE_STACKS 16 /* kept for reuse; the rest goes back to the system */

enum fiber_state { FIBER_READY, FIBER_RUNNING, FIBER_SUSPENDED, FIBER_ENDED };

struct stack {
    struct stack *next;
    char *base; /* the guard page */
    size_t size;
    unsigned valgrind_id;
};

struct fiber {
    struct runtime *runtime;
    lua_State *L;
    lua_State *thread; /* the coroutine that it is in, else L */
    int reference;     /* of the Lua thread, in the registry */
    int arguments;     /* of the function below the top of L */
    enum fiber_state state;
    bool failed;    /* ended by an error, which is on top of L */
    bool timed_out; /* the timer of the current wait fired */
    bool woken;
    bool cancelled;
    bool killed;
    bool delivered; /* a wait has failed by cancellation */
    uint64_t grace_end;
    unsigned shields;
    struct fiber_context context;
    ucontext_t machine;
    ucontext_t *resumer;
    struct stack *stack;
    uv_timer_t *timer; /* on the heap: closed asynchronously */
    struct fiber *joiner;
    struct fiber *previous, *next; /* in runtime->fibers */
    struct fiber *next_ready;
#ifdef MOONBOOK_ASAN
    void *fake_stack;
    const void *resumer_bottom;
    size_t resumer_size;
#endif
};

/* ---- stacks ---- */

static struct stack *stack_map(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *base = mmap(NULL, STACK_SIZE + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (mprotect(base, page, PROT_NONE) != 0) {
        munmap(base, STACK_SIZE + page);
        return NULL;
    }
    struct stack *stack = allocate_zeroed(1, sizeof *stack);
    stack->base = base;
    stack->size = STACK_SIZE + page;
    stack->valgrind_id = VALGRIND_STACK_REGISTER(base + page, base + stack->size);
    return stack;
}

static void stack_unmap(struct stack *stack)
{
    VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
    munmap(stack->base, stack->size);
    free(stack);
}

static struct stack *stack_take(struct runtime *runtime)
{
    struct stack *stack = runtime->spare_stacks;
    if (!stack)
        return stack_map();
    runtime->spare_stacks = stack->next;
    return stack;
}

static void stack_give(struct runtime *runtime, struct stack *stack)
{
    unsigned spare = 0;
    for (struct stack *each = runtime->spare_stacks; each; each = each->next)
        spare++;
    if (spare >= SPARE_STACKS) {
        stack_unmap(stack);
        return;
    }
    stack->next = runtime->spare_stacks;
    runtime->spare_stacks = stack;
}

void fiber_release_stacks(struct runtime *runtime)
{
    while (runtime->spare_stacks) {
        struct stack *stack = runtime->spare_stacks;
        runtime->spare_stacks = stack->next;
        stack_unmap(stack);
    }
}

/* ---- switching ---- */

/* Both directions tell the sanitizer where the stack is; without it they are plain swapcontext. */
static void switch_to(struct fiber *fiber)
{
    ucontext_t here;
    struct runtime *runtime = fiber->runtime;
    struct fiber *resumer = runtime->current;
    fiber->resumer = &here;
    fiber->state = FIBER_RUNNING;
    runtime->current = fiber;
#ifdef MOONBOOK_ASAN
    void *fake = NULL;
    __sanitizer_start_switch_fiber(&fake, fiber->stack->base, fiber->stack->size);
#endif
    swapcontext(&here, &fiber->machine);
#ifdef MOONBOOK_ASAN
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
    runtime->current = resumer;
}

static void switch_back(struct fiber *fiber)
{
#ifdef MOONBOOK_ASAN
    __sanitizer_start_switch_fiber(fiber->state == FIBER_ENDED ? NULL : &fiber->fake_stack,
                                   fiber->resumer_bottom, fiber->resumer_size);
#endif
    swapcontext(&fiber->machine, fiber->resumer);
#ifdef MOONBOOK_ASAN
    __sanitizer_finish_switch_fiber(fiber->fake_stack, &fiber->resumer_bottom, &fiber->resumer_size);
#endif
}

static void enqueue(struct fiber *fiber)
{
    struct runtime *runtime = fiber->runtime;
    fiber->state = FIBER_READY;
    fiber->next_ready = NULL;
    if (runtime->ready_last)
        runtime->ready_last->next_ready = fiber;
    else
        runtime->ready_first = fiber;
    runtime->ready_last = fiber;
}

static void fiber_main(unsigned high, unsigned low)
{
    struct fiber *fiber = (struct fiber *)(((uintptr_t)high << 32) | (uintptr_t)low);
#ifdef MOONBOOK_ASAN
    __sanitizer_finish_switch_fiber(NULL, &fiber->resumer_bottom, &fiber->resumer_size);
#endif
    fiber->failed = lua_pcall(fiber->L, fiber->arguments, LUA_MULTRET, 0) != LUA_OK;
    fiber->state = FIBER_ENDED;
    if (fiber->joiner)
        fiber_wake(fiber->joiner);
    switch_back(fiber);
    abort(); /* an ended fiber is never resumed */
}

/* ---- life ---- */

static void on_timer(uv_timer_t *timer)
{
    struct fiber *fiber = timer->data;
    fiber->timed_out = true;
    fiber_wake(fiber);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

/* Apart from fiber_start, since getcontext may return twice by its declaration. makecontext passes ints only: the
 * address goes in two halves. */
static void make_machine(struct fiber *fiber)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t address = (uintptr_t)fiber;
    getcontext(&fiber->machine);
    fiber->machine.uc_stack.ss_sp = fiber->stack->base + page;
    fiber->machine.uc_stack.ss_size = fiber->stack->size - page;
    fiber->machine.uc_link = NULL;
    makecontext(&fiber->machine, (void (*)(void))fiber_main, 2, (unsigned)(address >> 32), (unsigned)address);
}

struct fiber *fiber_start(lua_State *L, int nargs)
{
    struct runtime *runtime = runtime_of(L);
    struct stack *stack = stack_take(runtime);
    if (!stack)
        failure_error(L, "failed", "fiber", "no memory for another stack: %s", strerror(errno));
    struct fiber *fiber = allocate_zeroed(1, sizeof *fiber);
    fiber->runtime = runtime;
    fiber->stack = stack;
    if (runtime->current)
        fiber->context = runtime->current->context;
    fiber->timer = allocate(sizeof *fiber->timer);
    uv_timer_init(&runtime->loop, fiber->timer);
    fiber->timer->data = fiber;

    fiber->L = fiber->thread = lua_newthread(L);
    fiber->reference = luaL_ref(L, LUA_REGISTRYINDEX);
    fiber->arguments = nargs;
    lua_xmove(L, fiber->L, nargs + 1);

    make_machine(fiber);
    fiber->next = runtime->fibers;
    if (fiber->next)
        fiber->next->previous = fiber;
    runtime->fibers = fiber;
    runtime->fiber_count++;
    enqueue(fiber);
    return fiber;
}

static void fiber_release(struct fiber *fiber)
{
    struct runtime *runtime = fiber->runtime;
    if (fiber->previous)
        fiber->previous->next = fiber->next;
    else
        runtime->fibers = fiber->next;
    if (fiber->next)
        fiber->next->previous = fiber->previous;
    runtime->fiber_count--;
    for (struct fiber *other = runtime->fibers; other; other = other->next)
        if (other->joiner == fiber)
            other->joiner = NULL; /* it ended by an error before it joined that one */
    stack_give(runtime, fiber->stack);
    uv_close((uv_handle_t *)fiber->timer, on_timer_closed);
    luaL_unref(runtime->L, LUA_REGISTRYINDEX, fiber->reference);
    free(fiber);
}

/* [-0, +n] Moves what the ended fiber left on its stack to L and releases the fiber. */
static bool collect(lua_State *L, struct fiber *fiber, int *results)
{
    bool failed = fiber->failed;
    int count = failed ? 1 : lua_gettop(fiber->L);
    luaL_checkstack(L, count, "too many results");
    lua_xmove(fiber->L, L, count);
    if (results)
        *results = count;
    fiber_release(fiber);
    return !failed;
}

bool fiber_join(lua_State *L, struct fiber *fiber, int *results)
{
    struct runtime *runtime = fiber->runtime;
    fiber->joiner = runtime->current;
    bool passed_on = false;
    while (fiber->state != FIBER_ENDED) {
        enum wait_outcome outcome = fiber_suspend(runtime, FIBER_NO_TIMEOUT);
        if (outcome == WAIT_REFUSED)
            luaL_error(L, "a wait inside __gc is refused");
        if (outcome != WAIT_CANCELLED)
            continue;
        /* The join itself goes on: nobody else would own the fiber. Its own grace bounds the time. */
        if (!passed_on)
            fiber_cancel(fiber);
        if (runtime->current->killed)
            fiber_kill(fiber);
        passed_on = true;
        if (fiber->state != FIBER_ENDED)
            fiber_endure(runtime, FIBER_NO_TIMEOUT);
    }
    return collect(L, fiber, results);
}

void fiber_watch(struct fiber *fiber)
{
    fiber->joiner = fiber->runtime->current;
}

bool fiber_failed(const struct fiber *fiber)
{
    return fiber->state == FIBER_ENDED && fiber->failed;
}

bool fiber_ended(const struct fiber *fiber)
{
    return fiber->state == FIBER_ENDED;
}

static void run_ready(struct runtime *runtime)
{
    /* Only those ready now: fibers that wake each other must not starve the loop. */
    struct fiber *last = runtime->ready_last;
    while (runtime->ready_first) {
        struct fiber *fiber = runtime->ready_first;
        runtime->ready_first = fiber->next_ready;
        if (!runtime->ready_first)
            runtime->ready_last = NULL;
        bool was_last = fiber == last;
        switch_to(fiber);
        if (was_last)
            break;
    }
}

/* Runs in each round of the loop after its timers, before it waits: not while a fiber that they woke could run. */
static void before_waiting(uv_prepare_t *prepare)
{
    const struct runtime *runtime = prepare->data;
    if (runtime->ready_first)
        uv_stop(prepare->loop);
}

void fiber_watch_loop(struct runtime *runtime)
{
    uv_prepare_init(&runtime->loop, &runtime->before_waiting);
    runtime->before_waiting.data = runtime;
    uv_prepare_start(&runtime->before_waiting, before_waiting);
    uv_unref((uv_handle_t *)&runtime->before_waiting);
}

bool fiber_drive(lua_State *L, struct fiber *fiber, int *results)
{
    struct runtime *runtime = fiber->runtime;
    while (fiber->state != FIBER_ENDED) {
        run_ready(runtime);
        if (fiber->state != FIBER_ENDED)
            uv_run(&runtime->loop, runtime->ready_first ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    }
    return collect(L, fiber, results);
}

struct fiber_context *fiber_context(struct runtime *runtime)
{
    return runtime->current ? &runtime->current->context : &runtime->outside;
}

/* ---- waits ---- */

/* Is a cancellation to be felt by the next wait? Once felt, waits work again for the time of the grace. */
static bool cancellation_due(struct fiber *fiber)
{
    if (!fiber->cancelled || (fiber->shields && !fiber->killed))
        return false;
    if (!fiber->delivered)
        return true;
    return runtime_now(fiber->runtime) >= fiber->grace_end;
}

static enum wait_outcome deliver_cancellation(struct fiber *fiber)
{
    if (!fiber->delivered) {
        fiber->delivered = true;
        fiber->grace_end = runtime_now(fiber->runtime) + FIBER_GRACE_MS;
    }
    return WAIT_CANCELLED;
}

bool fiber_may_wait(struct runtime *runtime)
{
    return runtime->current && lua_gc(runtime->current->L, LUA_GCCOUNT) >= 0;
}

/* Leaves the fiber until it is woken or the time is over. */
static void pause_fiber(struct fiber *fiber, uint64_t timeout_ms)
{
    fiber->timed_out = false;
    fiber->woken = false;
    if (timeout_ms != FIBER_NO_TIMEOUT) {
        uv_update_time(&fiber->runtime->loop); /* a long stretch of Lua must not shorten the wait */
        uv_timer_start(fiber->timer, on_timer, timeout_ms, 0);
    }
    fiber->state = FIBER_SUSPENDED;
    switch_back(fiber);
    uv_timer_stop(fiber->timer);
}

enum wait_outcome fiber_endure(struct runtime *runtime, uint64_t ms)
{
    pause_fiber(runtime->current, ms);
    return runtime->current->timed_out ? WAIT_TIMEOUT : WAIT_WOKEN;
}

enum wait_outcome fiber_suspend(struct runtime *runtime, uint64_t timeout_ms)
{
    struct fiber *fiber = runtime->current;
    if (!fiber_may_wait(runtime))
        return WAIT_REFUSED;
    if (cancellation_due(fiber))
        return deliver_cancellation(fiber);
    if (fiber->delivered && !fiber->shields) {
        uint64_t now = runtime_now(runtime), left = now < fiber->grace_end ? fiber->grace_end - now : 0;
        if (timeout_ms > left)
            timeout_ms = left;
    }
    pause_fiber(fiber, timeout_ms);
    if (fiber->woken)
        return WAIT_WOKEN;
    if (cancellation_due(fiber))
        return deliver_cancellation(fiber);
    return fiber->timed_out ? WAIT_TIMEOUT : WAIT_WOKEN;
}

void fiber_wake(struct fiber *fiber)
{
    if (fiber->state != FIBER_SUSPENDED)
        return;
    if (!fiber->timed_out)
        fiber->woken = true;
    enqueue(fiber);
}

void fiber_cancel(struct fiber *fiber)
{
    fiber->cancelled = true;
    if (fiber->state == FIBER_SUSPENDED && cancellation_due(fiber))
        enqueue(fiber); /* neither woken nor timed out: fiber_suspend sees the cancellation */
}

void fiber_kill(struct fiber *fiber)
{
    fiber->killed = true;
    fiber->delivered = false;
    fiber_cancel(fiber);
}

void fiber_shield(struct runtime *runtime)
{
    runtime->current->shields++;
}

void fiber_unshield(struct runtime *runtime)
{
    runtime->current->shields--;
}

unsigned fiber_shields(struct runtime *runtime)
{
    return runtime->current ? runtime->current->shields : 0;
}

void fiber_restore_shields(struct runtime *runtime, unsigned shields)
{
    if (runtime->current)
        runtime->current->shields = shields;
}

void fiber_cancel_all(struct runtime *runtime)
{
    for (struct fiber *fiber = runtime->fibers; fiber; fiber = fiber->next)
        fiber_cancel(fiber);
}

void fiber_kill_all(struct runtime *runtime)
{
    for (struct fiber *fiber = runtime->fibers; fiber; fiber = fiber->next)
        fiber_kill(fiber);
}

void fiber_kill_input(struct runtime *runtime, unsigned input)
{
    for (struct fiber *fiber = runtime->fibers; fiber; fiber = fiber->next)
        if (fiber->context.input == input)
            fiber_kill(fiber);
}

bool fiber_any_shielded(const struct runtime *runtime, unsigned input)
{
    for (const struct fiber *fiber = runtime->fibers; fiber; fiber = fiber->next)
        if (fiber->shields && fiber->state != FIBER_ENDED && (!input || fiber->context.input == input))
            return true;
    return false;
}

bool fiber_cancel_due(struct runtime *runtime)
{
    return runtime->current && cancellation_due(runtime->current) &&
           deliver_cancellation(runtime->current) == WAIT_CANCELLED;
}

lua_State *fiber_thread(const struct fiber *fiber)
{
    return fiber->thread;
}

lua_State *fiber_enter_thread(struct runtime *runtime, lua_State *thread)
{
    if (!runtime->current)
        return thread;
    lua_State *before = runtime->current->thread;
    runtime->current->thread = thread;
    return before;
}

bool fiber_is_cancelled(struct runtime *runtime)
{
    return runtime->current && runtime->current->cancelled;
}

bool fiber_wait_failure(struct failure *failure, enum wait_outcome outcome, const char *op,
                        uint64_t timeout_ms)
{
    switch (outcome) {
    case WAIT_TIMEOUT:
        return failure_set(failure, "timeout", op, "no answer within %.3g s", (double)timeout_ms / 1000.0);
    case WAIT_REFUSED:
        return failure_set(failure, "usage", op,
                           "a wait inside __gc is refused: it would stop the collector; use <close>");
    default:
        return failure_set(failure, "cancelled", op, "cancelled");
    }
}

enum wait_outcome fiber_sleep(struct runtime *runtime, uint64_t ms)
{
    uint64_t end = runtime_now(runtime) + ms;
    for (;;) {
        uint64_t now = runtime_now(runtime);
        if (now >= end && ms)
            return WAIT_TIMEOUT;
        enum wait_outcome outcome = fiber_suspend(runtime, now >= end ? 0 : end - now);
        if (outcome == WAIT_TIMEOUT && runtime_now(runtime) >= end)
            return outcome;
        if (outcome == WAIT_CANCELLED || outcome == WAIT_REFUSED)
            return outcome;
    }
}

/* ---- locks ---- */

/* On the stack of the fiber that waits. */
struct fiber_waiter {
    struct fiber *fiber;
    struct fiber_waiter *next;
};

static void leave_queue(struct fiber_lock *lock, struct fiber_waiter *waiter)
{
    struct fiber_waiter **at = &lock->first, *previous = NULL;
    while (*at != waiter) {
        previous = *at;
        at = &(*at)->next;
    }
    *at = waiter->next;
    if (lock->last == waiter)
        lock->last = previous;
}

enum wait_outcome fiber_lock(struct runtime *runtime, struct fiber_lock *lock)
{
    return fiber_lock_within(runtime, lock, FIBER_NO_TIMEOUT);
}

enum wait_outcome fiber_lock_within(struct runtime *runtime, struct fiber_lock *lock, uint64_t timeout_ms)
{
    struct fiber_waiter waiter = {.fiber = runtime->current};
    enum wait_outcome outcome = WAIT_WOKEN;
    uint64_t end = timeout_ms == FIBER_NO_TIMEOUT ? 0 : runtime_now(runtime) + timeout_ms;
    if (lock->last)
        lock->last->next = &waiter;
    else
        lock->first = &waiter;
    lock->last = &waiter;
    while (outcome == WAIT_WOKEN && (lock->holder || lock->first != &waiter)) {
        uint64_t now = end ? runtime_now(runtime) : 0;
        outcome = fiber_suspend(runtime, !end ? FIBER_NO_TIMEOUT : now < end ? end - now : 0);
    }
    leave_queue(lock, &waiter);
    if (outcome == WAIT_WOKEN)
        lock->holder = runtime->current;
    else if (!lock->holder && lock->first)
        fiber_wake(lock->first->fiber); /* the turn goes on to the next */
    return outcome;
}

void fiber_unlock(struct fiber_lock *lock)
{
    lock->holder = NULL;
    if (lock->first)
        fiber_wake(lock->first->fiber);
}

/* ---- the thread pool ---- */

struct offload {
    uv_work_t request;
    void (*work)(void *);
    void *argument;
    struct fiber *fiber;
    bool done;
};

static void on_work(uv_work_t *request)
{
    struct offload *offload = request->data;
    offload->work(offload->argument);
}

static void on_worked(uv_work_t *request, int status)
{
    (void)status;
    struct offload *offload = request->data;
    offload->done = true;
    fiber_wake(offload->fiber);
}

bool fiber_offload(struct runtime *runtime, void (*work)(void *argument), void *argument)
{
    struct offload offload = {.work = work, .argument = argument, .fiber = runtime->current};
    offload.request.data = &offload;
    if (!fiber_may_wait(runtime))
        return false;
    if (uv_queue_work(&runtime->loop, &offload.request, on_work, on_worked) != 0)
        return false;
    /* The request is on this stack and cannot be taken back: neither cancel nor kill ends this wait. */
    while (!offload.done)
        fiber_endure(runtime, FIBER_NO_TIMEOUT);
    return true;
}
