/* What the transports to other machines share of a host (hosts.c makes it; host_ssh.c and host_openssh.c use it). */
#ifndef MOONBOOK_REMOTE_HOST_H
#define MOONBOOK_REMOTE_HOST_H

#include "forward.h"
#include "host.h"
#include "hosts.h"
#include "remote_command.h"
#include "ssh_config.h"
#include "ssh_connect.h"

struct openssh_master;

struct remote_host {
    struct host host; /* first: a struct host is one of these where its transport is not local */
    struct hosts *hosts;
    char *key;             /* the description it was asked for by, as one text */
    struct host_spec spec; /* owned copies */
    struct remote_sudo sudo;
    struct ssh_settings settings;
    bool has_settings;
    struct fiber_lock connecting;
    struct ssh_session *session;  /* of "ssh"; NULL before the first use */
    struct ssh_session **retired; /* former ones that are stuck, but in use */
    size_t retired_count;
    struct openssh_master *master; /* of "openssh" */
    struct forward *forwards;      /* open ones */
    bool probed;                   /* its pid and state folder are known */
    struct remote_host *next;
};

struct hosts {
    struct runtime *runtime;
    struct remote_host *first;
    struct ssh_passphrases passphrases;
    struct fiber_lock noting;
    struct ssh_server *servers;
};

extern const struct host_operations host_ssh_operations, host_openssh_operations;

/* The settings, read once. */
bool remote_settings(struct remote_host *remote, struct failure *failure);

/* The door of the server that the settings lead to. */
struct door *remote_door(struct remote_host *remote);

/* What cannot be done by libssh2 here, as text for a note; NULL where nothing is known to stand against it. */
const char *remote_needs_openssh(struct remote_host *remote);

/* From now on by the ssh program; says why. */
void remote_use_openssh(struct remote_host *remote, const char *why);

/* The last jump host before it, as a host of its own; NULL and true where there is none. Fails ("usage") where the way of
 * jump hosts leads back to one that it has passed. */
bool remote_jump_host(struct remote_host *remote, struct remote_host **jump, struct failure *failure);

/* sudo's password, read from where it is, once; nothing where none is needed. */
bool remote_take_sudo(struct remote_host *remote, struct failure *failure);

/* The command that tells who and where one is there, and what its output means. Asked before all else. */
extern const char *const remote_probe_argv[];
bool remote_take_probe(struct remote_host *remote, const char *output, struct failure *failure);

/* Takes a connection to a forward, from the loop, by the transport that the host has by now. */
void remote_accept(void *remote, struct forward *forward, uv_stream_t *stream);
void host_ssh_accept(struct remote_host *remote, struct forward *forward, uv_stream_t *stream);
void host_openssh_accept(struct remote_host *remote, struct forward *forward, uv_stream_t *stream);

/* Ends the connections of "ssh". */
void host_ssh_close(struct remote_host *remote);

/* The jump host's connection, made where there is none. */
struct ssh_session *host_ssh_session(struct remote_host *remote, bool for_commands, struct failure *failure);

/* Ends what runs; then, after the loop, releases the memory. */
void host_openssh_close(struct remote_host *remote);
void host_openssh_free(struct remote_host *remote);

#endif
