/* Hosts: one small vtable of what can be done on a machine, a transport behind it.
 *
 * apt, systemd and file are built on these calls alone, so that they work over every transport. None of
 * these calls asks whether: the gate (change.h) decides, bindings call. All of them wait in the fiber. */
#ifndef MOONBOOK_HOST_H
#define MOONBOOK_HOST_H

#include "buffer.h"
#include "failure.h"
#include "process.h"
#include "runtime.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What stat says of a path. The path itself, symbolic links are not followed. */
struct host_stat {
    bool exists;
    char type;   /* 'f' file, 'd' directory, 'l' symbolic link, 'o' other */
    mode_t mode; /* permission bits, 07777 */
    uid_t uid;
    gid_t gid;
    char owner[64]; /* names, or the number where there is no name */
    char group[64];
    uint64_t size, inode, device;
    int64_t mtime_us, ctime_us; /* microseconds since 1970 */
    char target[1024];          /* where a symbolic link points, "" otherwise */
};

/* A file to write, whole. Written beside, synced, renamed; a symbolic link at `path` is kept, its target written. */
struct host_file {
    const char *path;
    const char *bytes;
    size_t length;
    int mode;          /* permission bits; -1 = as it is, 0644 for a new file */
    const char *owner; /* name or number; NULL = as it is, for a new file who runs */
    const char *group;
};

/* Mode and owner, as they shall be. */
struct host_attributes {
    int mode;          /* permission bits; -1 = as it is */
    const char *owner; /* name or number; NULL = as it is */
    const char *group;
};

struct host_command {
    const char *const *argv; /* no shell */
    const char *const
        *environment; /* NAME=VALUE, may be NULL; a transport never puts them on a command line */
    const char *directory;
    const char *input;
    size_t input_length;
    uint64_t timeout_ms; /* 0 = HOST_TIMEOUT_MS */
};

#define HOST_TIMEOUT_MS (10 * 60 * 1000)

struct host_operations {
    const char *transport; /* "local", "ssh", "openssh" */
    bool (*run)(struct host *host, const struct host_command *command, struct process_result *result,
                struct failure *failure);
    bool (*read)(struct host *host, const char *path, size_t limit, struct buffer *content,
                 struct failure *failure);
    bool (*write)(struct host *host, const struct host_file *file, struct failure *failure);
    bool (*stat)(struct host *host, const char *const *paths, size_t count, struct host_stat *stats,
                 struct failure *failure);
    /* NULL where reading after looking costs no more. */
    bool (*look)(struct host *host, const char *path, struct host_stat *stat, struct buffer *content,
                 bool *read, struct failure *failure);
    bool (*make_directory)(struct host *host, const char *path, const struct host_attributes *attributes,
                           struct failure *failure);
    bool (*set_attributes)(struct host *host, const char *path, const struct host_stat *found,
                           const struct host_attributes *attributes, struct failure *failure);
    struct process_stream *(*open)(struct host *host, const struct host_command *command,
                                   struct failure *failure);
    /* A Unix socket here that leads to the address there; its path is appended. NULL: there is nothing to forward. */
    bool (*forward)(struct host *host, const char *address, int port, uint64_t timeout_ms,
                    struct buffer *socket, struct failure *failure);
    /* Is the connection there that `pid` lives as long as? NULL: none is needed. */
    bool (*is_connected)(struct host *host);
    void (*close)(struct host *host);
};

struct host {
    const struct host_operations *operations;
    struct runtime *runtime;
    char *name;    /* as the operator named it; the local machine's host name */
    char *machine; /* what is known of one machine is kept by: two of them may have been given one name */
    char *
        state; /* folder for what is kept there: /var/lib, or the user's state folder; another machine's is known once
                  * something was done there */
    long locked;               /* the pid by which this run has its lock (host_lock.h), or had it; else 0 */
    struct fiber_lock locking; /* who takes it */
    long pid; /* of a process there that lives as long as this run's work there does; as `state` */
};

/* Runs a command. True when it ran, whatever its status; process_result_free in every case. */
bool host_run(struct host *host, const struct host_command *command, struct process_result *result,
              struct failure *failure);

/* Runs a command and fails ("exit") unless its status is 0; the message has the end of what it printed.
 * `output` gets standard output and may be NULL. */
bool host_check(struct host *host, const struct host_command *command, struct buffer *output,
                struct failure *failure);

/* Appends the end of what a command printed, its errors where it printed some, fit for a message: no secret in it. */
void host_last_words(const struct host *host, const struct process_result *result, struct buffer *said);

/* Reads a whole file into `content` (appended). A missing one is "not-found". More than 64 MiB is refused. */
bool host_read(struct host *host, const char *path, struct buffer *content, struct failure *failure);

/* Writes a whole file atomically; see struct host_file. */
bool host_write(struct host *host, const struct host_file *file, struct failure *failure);

/* Makes a directory, and with 0755 the parents that are missing. Each is made beside and renamed: whatever happens,
 * nobody sees one without its owner and mode. Fails where something is at the path. */
bool host_make_directory(struct host *host, const char *path, const struct host_attributes *attributes,
                         struct failure *failure);

/* Gives the file or directory that host_stat `found` at the path its owner and mode. What was put there since, a symbolic
 * link say, is left alone: "failed". */
bool host_set_attributes(struct host *host, const char *path, const struct host_stat *found,
                         const struct host_attributes *attributes, struct failure *failure);

/* A name for a file of this run beside `path`: .NAME.moonbook-PID-RANDOM, which no program takes that reads "*.conf" or
 * "*.hcl" there. What is left of a process that is no more goes when NAME is written the next time. */
void host_temporary_name(const struct host *host, const char *path, struct buffer *name);

/* Makes a Unix socket on the operator's machine that leads to the address and port as the host sees them: only this process
 * may connect to it. An address that begins with '/' is a Unix socket there. The same one for the same address, for as long as
 * the host is known. Another machine's only. The first time the address is tried: "timeout" where it does not answer in that
 * time, else what answers badly is seen by whoever connects. */
bool host_forward(struct host *host, const char *address, int port, uint64_t timeout_ms,
                  struct buffer *socket, struct failure *failure);

/* Looks at many paths in one go; a path that is not there is no failure. */
bool host_stat(struct host *host, const char *const *paths, size_t count, struct host_stat *stats,
               struct failure *failure);

/* Looks at one path for somebody who is going to read it: on another machine a file that is not large is read on the same way.
 * `*read` tells whether its content is in `content`. */
bool host_look(struct host *host, const char *path, struct host_stat *stat, struct buffer *content,
               bool *read, struct failure *failure);

/* Looks at one path. */
bool host_stat_one(struct host *host, const char *path, struct host_stat *stat, struct failure *failure);

/* Copies what a path holds (file, link) to the run's undo folder on that host; `kept` gets the copy's path, "" when
 * the path does not exist. Called by the gate only. */
bool host_keep(struct host *host, const char *run, unsigned number, const char *path, struct buffer *kept,
               struct failure *failure);

/* The machine that the program runs on. */
struct host *host_local_new(struct runtime *runtime);
void host_free(struct host *host);

/* The host of the running fiber. */
struct host *host_current(struct runtime *runtime);

#endif
