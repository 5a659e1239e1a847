/* A session: inputs that are read, compiled, run and shown, one after another, each in its own fiber. */
#ifndef MOONBOOK_REPL_H
#define MOONBOOK_REPL_H

#include "buffer.h"
#include "interrupt.h"
#include "repl_line.h"
#include "repl_step.h"
#include "runtime.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* An input that succeeded: what :save writes. */
struct repl_input {
    char *text;
    char *host; /* where, or NULL: the operator's machine */
    bool table; /* what it gave was a table */
};

/* A function that task() began. */
struct repl_task {
    struct repl_task *next;
    struct repl *repl;
    struct fiber *fiber;
    unsigned number;
    bool ended;
};

/* What completion asked for and has not got yet: the next Tab there takes it up again, all else cancels it. */
struct repl_look {
    struct fiber *fiber; /* or NULL */
    char *what;          /* which values, of which host */
    int list;            /* registry reference: what has come */
};

struct repl {
    struct runtime *runtime;
    struct line_reader *reader;
    struct interrupt_session signals;
    lua_State *L; /* the session's fiber */
    int environment; /* registry reference: what inputs assign and the locals that they leave, before the globals */
    int reference; /* registry reference: the reference of all functions, once it was asked for; LUA_NOREF */
    struct fiber_context context; /* of inputs: the host that they act on */
    bool outer_trusted;           /* what was trusted before it: "all" of a session is not all of the next */
    bool ended;                   /* :quit, Ctrl-D */
    bool failed;                  /* an input of a pipe failed */
    bool interrupted;             /* the last call that failed was: by Ctrl-C */
    char *history;                /* path of the file, or NULL */

    char *last;          /* the last input, for :edit */
    struct buffer error; /* the last error's trace, for :trace */
    struct buffer shown; /* what the input that runs has to show */
    bool whole;          /* show what is nested */
    struct repl_input *inputs;
    size_t input_count;
    size_t declined; /* inputs whose change was not wanted: what :save leaves out */
    struct repl_task *tasks;
    unsigned task_count;
    struct repl **self; /* what task() finds the session by; kept by the reference in the registry */
    int self_reference;

    struct repl_look look;

    /* At a failed step. */
    lua_State *failed_at; /* the thread that failed, or NULL */
    int failed_level;     /* of the function there, for lua_getstack */
    enum repl_verdict verdict;
};

/* [-0, +0, v] Reads and runs until the end, in the fiber of L. `failed_at`: the thread whose step failed, or NULL. */
void repl_run(lua_State *L, struct repl *repl);

void repl_init(struct repl *repl, lua_State *L);
void repl_clear(struct repl *repl);

/* [-(n + 1), +(m|0), -] Calls the function below n arguments in a fiber of its own, as an input: Ctrl-C cancels it. True: its
 * results are on the stack; false: its error was said. */
bool repl_call(struct repl *repl, int arguments, int *results);

/* [-0, +(1|0), -] Compiles the text as an expression, else as statements; false: the error was said, or `incomplete` is set:
 * more lines may make it whole. */
bool repl_compile(struct repl *repl, const char *text, bool *incomplete);

/* Runs the text as if it had been typed. False: it failed. */
bool repl_evaluate(struct repl *repl, const char *text);

/* [-1, +0, -] What to show of the value on top goes to the screen, through $PAGER where it is long. */
void repl_print(struct repl *repl, struct buffer *text);

/* Is it a command, ":help" or "=x"? Runs it. */
bool repl_is_command(const char *line);
void repl_command(struct repl *repl, const char *line);

/* Completion: a line_completer whose context is the session. */
void repl_complete(void *repl, const char *text, size_t cursor, struct line_candidates *candidates);

/* Cancels what completion still waits for. */
void repl_forget_look(struct repl *repl);

/* [-0, +1, m] The list of the reference, made once. */
void repl_push_reference(struct repl *repl, lua_State *L);

/* History on disk: read at the start of the first session, each input appended; secrets are not kept. */
void repl_history_open(struct repl *repl, bool read);
void repl_history_add(struct repl *repl, const char *text);

/* Is a secret in the input, or a literal that looks like one? */
bool repl_is_secret(const struct repl *repl, const char *text);

/* task(fn): [-0, +0, m] makes the global of the session; the ended ones are taken away; all are ended. */
void repl_tasks_open(struct repl *repl, int environment);
void repl_tasks_reap(struct repl *repl);

/* [-(arguments + 1), +0, m] The function on L in a fiber that the session joins once it has ended; its result and its errors are
 * nobody's. */
struct fiber *repl_begin_silent(struct repl *repl, lua_State *L, int arguments);

void repl_tasks_end(struct repl *repl);

/* :save FILE [NAME=LITERAL ...] */
void repl_save(struct repl *repl, const char *arguments);

/* :run RUNBOOK [NAME=VALUE ...] */
void repl_run_runbook(struct repl *repl, const char *arguments);

/* :watch SECONDS EXPRESSION */
void repl_watch(struct repl *repl, const char *arguments);

/* Names of the locals at the failed step, for completion: [-0, +1, m] a table of them, or nil. */
void repl_push_locals(lua_State *L, const struct repl *repl);

#endif
