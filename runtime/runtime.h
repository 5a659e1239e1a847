/* The one object that everything hangs on: event loop, Lua state, fibers, gate, reporter, hosts.
 *
 * There is no process-wide mutable state beside it; C code that runs for Lua reaches it with runtime_of. */
#ifndef MOONBOOK_RUNTIME_H
#define MOONBOOK_RUNTIME_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct binding_module;
struct fiber;
struct host;
struct inventory_source;
struct journal;
struct line_reader;
struct redactor;
struct reporter;
struct secret_store;
struct target;
struct terminal_line;
struct transfers;

/* A lock between fibers, first come first served (fiber.h). All zeros is a free one. */
struct fiber_lock {
    struct fiber *holder;
    struct fiber_waiter *first, *last;
};

/* What a fiber hands on to the fibers that it starts. */
struct fiber_context {
    struct host *host;     /* host, apt, systemd, file, ... act on this one; NULL: the local one */
    struct target *target; /* what is done counts for this one; NULL outside of runs */
    const char *step;      /* name of the step that runs, or NULL; owned by the step's caller */
    bool inexact;          /* under --check: a value that only a real run can know was used */
    bool session;          /* of a session: what it would change is shown and asked for */
    unsigned input;        /* of a session: the input that it works for; 0: none */
};

/* What the command line asks of a run. */
struct runtime_options {
    bool check;                /* --check: predict every change, make none */
    bool diff;                 /* --diff: show differences */
    bool step;                 /* --step: ask before each change */
    bool trusted;              /* of a session: "a" was said at a question */
    bool repl_on_error;        /* --repl-on-error: a failed step opens a session */
    bool requests;             /* :http of a session: requests are shown */
    bool yes;                  /* --yes: answer every confirm() with yes */
    bool json;                 /* --json: events on standard output */
    bool verbose;              /* -v */
    bool detailed_exitcode;    /* --detailed-exitcode */
    bool accept_new;           /* --accept-new: host keys that are not known are noted and trusted */
    bool sudo;                 /* --sudo: on other hosts as root */
    const char *sudo_password; /* --sudo-password, or NULL: none is needed */
    const char *transport;     /* --transport, NULL: chosen for each host */
};

/* A product that a runbook may need in some version (`needs`): what a binding registers. */
struct product {
    const char *name;      /* "vault" */
    const char *title;     /* "Vault" */
    lua_CFunction version; /* [-0, +2, v] asks the current host's server: its version, and which one it is:
                            * "https://10.0.0.7:8200 (from VAULT_ADDR)" */
};

/* Counts of a run, as run.end reports them. */
struct runtime_counts {
    unsigned changed, predicted, failed, declined, unchanged;
    unsigned round_trips; /* commands and connections that other hosts were asked for */
};

struct runtime {
    uv_loop_t loop;
    lua_State *L; /* main thread: no script runs on it, fibers do */
    struct runtime_options options;
    struct runtime_counts counts;

    struct fiber *current;        /* the fiber that runs; NULL in the loop */
    struct fiber_context outside; /* the context where no fiber runs: finalizers at the end */
    struct fiber *fibers;         /* every fiber alive */
    struct fiber *ready_first;    /* the ready queue */
    struct fiber *ready_last;
    uv_prepare_t before_waiting; /* fiber_watch_loop's */
    unsigned fiber_count;
    int interrupts;  /* how many SIGINT or SIGTERM came */
    bool timed_out;  /* --timeout is over */
    bool exit_asked; /* os.exit */
    int exit_status;
    void *spare_stacks; /* stacks of ended fibers, kept for the next */

    struct redactor *redactor;                   /* never NULL */
    struct reporter *reporter;                   /* never NULL */
    struct journal *journal;                     /* NULL outside runs */
    struct line_reader *reader;                  /* of sessions; NULL until the first */
    struct transfers *transfers;                 /* NULL until the first HTTP request */
    struct host *local;                          /* the operator's machine */
    struct hosts *hosts;                         /* the other ones; NULL until one is named */
    struct fiber_lock terminal;                  /* who asks the person */
    struct fiber_lock stepping;                  /* whose change is asked about: the next knows the answer */
    struct fiber_lock session;                   /* whose failed step has its session (--repl-on-error) */
    const struct terminal_line *typed;           /* the line that is being typed (terminal.h); NULL: none */
    const struct binding_module *const *modules; /* what bindings_open registered: NULL-terminated */
    int (*reference)(lua_State *L); /* what bindings_open registered: [-0, +1, m] pushes the reference
                                                  * as a list of {kind=, name=, ...} */
    const struct product *products; /* what bindings_open registered: ends with a NULL name; or NULL */
    const struct inventory_source *inventory; /* likewise */
    const struct secret_store *stores;        /* likewise */
    /* What bindings_open registered: the host of that name which the table at `index` describes, as host{} does. [-0, +0, v] */
    struct host *(*describe_host)(lua_State *L, const char *name, int index);
    /* What bindings_open registered, or NULL: values that are there now, for the completion of a session. [-5, +0, v] The
     * call ("consul.agent.deregister_service"), the number of the argument, the name of the option there or nil, what
     * is typed of it, and the list to append texts to: what is in it after 200 ms is offered. */
    lua_CFunction live_values;
    char *program; /* path of the running program */
};

/* The runtime of a Lua state. [-0, +0, -] */
static inline struct runtime *runtime_of(lua_State *L)
{
    return *(struct runtime **)lua_getextraspace(L);
}

/* Makes a runtime: loop, Lua state with the standard libraries, redactor, plain reporter, local host.
 * `program` is argv[0]. Returns NULL when the loop or Lua cannot be had. */
struct runtime *runtime_new(const char *program);

/* Cancels what still runs (bounded: five seconds), closes every handle and releases everything. */
void runtime_free(struct runtime *runtime);

/* Milliseconds of the monotonic clock, and microseconds since 1970. */
uint64_t runtime_now(struct runtime *runtime);
int64_t wall_clock_us(void);

#endif
