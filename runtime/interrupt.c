/* SIGINT, SIGTERM, and SIGALRM for the time of a run. The loop learns of them through uv_async_send; Lua that computes without waiting learns of them
 * through a count hook, armed only now since a permanent one makes Lua 2.4 times slower. */
#include "interrupt.h"

#include "buffer.h"
#include "failure.h"
#include "report.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

struct watch {
    struct runtime *runtime;
    struct fiber *root;
    struct interrupt_session *session; /* or NULL */
    uv_async_t wake;
    struct sigaction before_int, before_term, before_alarm;
};

/* A signal handler has no argument: the one pointer that a process can have only one of, like the handler itself. */
static struct watch *volatile active;

static void on_hook(lua_State *L, lua_Debug *activation)
{
    (void)activation;
    lua_sethook(L, NULL, 0, 0);
    struct runtime *runtime = runtime_of(L);
    if (fiber_cancel_due(runtime))
        failure_error(L, "cancelled", "interrupt", "interrupted");
}

/* May what runs be stopped by this signal? Of a session only what works for the input, or what lets nobody else run. */
static bool is_meant(const struct watch *watch)
{
    struct runtime *runtime = watch->runtime;
    const struct interrupt_session *session = watch->session;
    if (!session)
        return true;
    return runtime->current != session->reader &&
           ((session->call && fiber_context(runtime)->input == session->input) || runtime->interrupts > 1);
}

static void on_signal(int number)
{
    struct watch *watch = active;
    if (!watch)
        return;
    struct runtime *runtime = watch->runtime;
    if (number == SIGALRM)
        runtime->timed_out = true;
    else
        runtime->interrupts++;
    if (number == SIGTERM && watch->session)
        watch->session->ended = true;
    uv_async_send(&watch->wake); /* async-signal-safe by its documentation */
    if (!runtime->current || !is_meant(watch))
        return;
    /* It runs, so that only flags are set; the root's cancellation would reach it anyway. */
    if (runtime->interrupts > 1)
        fiber_kill(runtime->current);
    else
        fiber_cancel(runtime->current);
    lua_sethook(fiber_thread(runtime->current), on_hook,
                LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

/* A change that was begun goes on, maybe for long: who has pressed Ctrl-C sees that it was heard. */
static void say_heard(struct runtime *runtime, const struct interrupt_session *session)
{
    if (runtime->interrupts == 1 && !runtime->timed_out && (!session || session->call) &&
        fiber_any_shielded(runtime, session ? session->input : 0))
        report_say(runtime, "the change that is under way is finished first; Ctrl-C again cuts it short\n");
}

/* In the loop: no fiber runs, so that cancelling may queue them. */
static void on_wake(uv_async_t *async)
{
    struct watch *watch = async->data;
    struct interrupt_session *session = watch->session;
    if (!watch->runtime->interrupts && !watch->runtime->timed_out)
        return;
    say_heard(watch->runtime, session);
    if (session && !watch->runtime->timed_out) {
        if (session->call && watch->runtime->interrupts > 1)
            fiber_kill_input(watch->runtime, session->input);
        else if (session->call)
            fiber_cancel(session->call);
        fiber_wake(session->reader);
        return;
    }
    fiber_cancel(watch->root);
    if (watch->runtime->interrupts > 1)
        fiber_kill_all(watch->runtime);
}

void interrupt_watch(struct runtime *runtime, struct fiber *root, uint64_t timeout_ms)
{
    struct watch *watch = allocate_zeroed(1, sizeof *watch);
    watch->runtime = runtime;
    watch->root = root;
    uv_async_init(&runtime->loop, &watch->wake, on_wake);
    uv_unref((uv_handle_t *)&watch->wake);
    watch->wake.data = watch;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    active = watch;
    sigaction(SIGINT, &action, &watch->before_int);
    sigaction(SIGTERM, &action, &watch->before_term);
    sigaction(SIGALRM, &action, &watch->before_alarm);
    struct itimerval timer = {.it_value = {.tv_sec = (time_t)(timeout_ms / 1000),
                                           .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000}};
    setitimer(ITIMER_REAL, &timer, NULL); /* all zeros: no timer */
}

void interrupt_begin_session(struct runtime *runtime, struct interrupt_session *session)
{
    if (!active || active->runtime != runtime)
        return;
    session->outer = active->session;
    active->session = session;
}

void interrupt_end_session(struct runtime *runtime)
{
    if (active && active->runtime == runtime && active->session)
        active->session = active->session->outer;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void interrupt_unwatch(struct runtime *runtime)
{
    struct watch *watch = active;
    if (!watch || watch->runtime != runtime)
        return;
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    sigaction(SIGALRM, &watch->before_alarm, NULL);
    sigaction(SIGINT, &watch->before_int, NULL);
    sigaction(SIGTERM, &watch->before_term, NULL);
    active = NULL;
    uv_close((uv_handle_t *)&watch->wake, on_closed);
}
