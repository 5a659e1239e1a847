/* The other machines of a run: each is made once, whoever names it, and lives as long as the runtime. */
#ifndef MOONBOOK_HOSTS_H
#define MOONBOOK_HOSTS_H

#include "failure.h"
#include "host.h"

#include <stdbool.h>
#include <stddef.h>

/* How an operator names a host. Strings may be NULL: what the user's SSH configuration says holds then. */
struct host_spec {
    const char *name;        /* as shown, and what `ssh -G` is asked for */
    const char *address;     /* instead of what the configuration has for the name */
    const char *fallback;    /* address for where neither the configuration nor the resolver knows the name */
    const char *port;        /* a number */
    const char *user;        /* */
    const char *identity;    /* file of the private key: this one and no other */
    const char *known_hosts; /* file of host keys instead of the user's and the system's */
    const char *transport;   /* "ssh", "openssh" */
    const char *jump;        /* jump hosts before it instead of the configuration's */
    bool sudo;
    const char *sudo_password; /* NULL: none is needed, or: */
    const char
        *sudo_source; /* where it is ("pass:ops/sudo"): read when something is first done there as root */
    const char
        *addresses; /* where servers there listen, a line each: "NAME=ADDRESS"; for bindings that ask */
};

/* The host of that description; the same one for the same description. It is not connected to before something is done
 * there. NULL and "usage" where the description is none. */
struct host *hosts_get(struct runtime *runtime, const struct host_spec *spec, struct failure *failure);

/* Appends the parts of "user@host:port", "[::1]:22", "host" that the text has to the spec; the texts live in `space`. */
bool host_spec_parse(const char *text, struct host_spec *spec, struct buffer *space, struct failure *failure);

/* The address that the operator gave for the host's server of that name ("consul_addr"), appended. False: none. */
bool host_server_address(const struct host *host, const char *name, struct buffer *address);

/* Gives back the locks that are held, also of this machine (host_unlock). */
void hosts_unlock(struct runtime *runtime);

/* Closes every connection; called by runtime_free, before the loop runs out. */
void hosts_close(struct runtime *runtime);

/* Releases what is left; after the loop. */
void hosts_free(struct runtime *runtime);

#endif
