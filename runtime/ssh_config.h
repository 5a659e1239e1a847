/* What the user's SSH configuration says of a host: asked of `ssh -G`, which reads it as ssh does. */
#ifndef MOONBOOK_SSH_CONFIG_H
#define MOONBOOK_SSH_CONFIG_H

#include "failure.h"
#include "hosts.h"
#include "runtime.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssh_list {
    char **items;
    size_t count;
};

void ssh_list_add(struct ssh_list *list, const char *text);
void ssh_list_free(struct ssh_list *list);

enum ssh_strictness {
    SSH_STRICT,     /* unknown hosts are refused; "ask" too: nobody is asked in the middle of a run */
    SSH_ACCEPT_NEW, /* unknown ones are noted, changed ones refused; "no" too: no host is trusted blindly */
};

struct ssh_settings {
    char *name;    /* as asked for */
    char *address; /* HostName */
    char *user;
    int port;
    char *key_name;             /* under which known hosts have it: HostKeyAlias, or the address */
    bool has_alias;             /* then the port is no part of it */
    struct ssh_list identities; /* paths; those that exist or not */
    struct ssh_list certificates;
    bool identities_only;
    char *agent;                 /* path of the agent's socket, NULL = none */
    struct ssh_list known_hosts; /* paths, the user's first */
    size_t own_known_hosts;      /* how many are the user's */
    bool hash_known_hosts;
    enum ssh_strictness strictness;
    char *jump;                                    /* ProxyJump as written, NULL = none */
    char *proxy_command;                           /* NULL = none */
    char *revoked;                                 /* RevokedHostKeys, NULL = none */
    char *smartcard;                               /* PKCS11Provider, NULL = none */
    bool public_key, password, keyboard, kerberos; /* which ways to log in are allowed */
    uint64_t connect_ms;                           /* 0 = not set */
    uint64_t alive_ms;                             /* ServerAliveInterval, 0 = not set */
    struct ssh_list arguments;                     /* of ssh for this host: options, without the name */
};

/* Runs `ssh -G` (Match exec commands of the configuration run then, as they do with ssh). ssh_settings_free in every case. */
bool ssh_settings_read(struct runtime *runtime, const struct host_spec *spec, struct ssh_settings *settings,
                       struct failure *failure);
void ssh_settings_free(struct ssh_settings *settings);

/* Reads what `ssh -G` printed. For tests apart from the above. */
void ssh_settings_parse(const char *text, const char *home, struct ssh_settings *settings);

#endif
