/* The transport "ssh": one connection a host by libssh2, made at the first use and again after it was lost. */
#include "remote_host.h"

#include "host_lock.h"
#include "pump.h"
#include "remote_files.h"
#include "ssh_exec.h"
#include "ssh_session_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBE_MS   30000
#define BUSY_TRIES 4 /* on new connections, where an address behind the host kept one busy */

/* Runs the probe; its channel stays as the session's tap. With sudo another one, which also tells whether sudo works before
 * anything depends on it: the password is all that it is given, so that a wrong one is tried once. */
static bool probe(struct remote_host *remote, struct ssh_session *session, struct failure *failure)
{
    static const struct remote_sudo none = {false, NULL};
    struct host_command command = {.argv = remote_probe_argv, .timeout_ms = PROBE_MS};
    struct process_result result;
    remote->host.pid = 0;
    bool done = ssh_exec_first(session, remote->host.name, &command, &none, &result, failure) &&
                remote_take_probe(remote, buffer_text(&result.output), failure);
    process_result_free(&result);
    if (!done || !remote->sudo.wanted)
        return done;
    if (!remote_take_sudo(remote, failure))
        return false;
    done = ssh_exec_run(session, remote->host.name, &command, &remote->sudo, &result, failure) &&
           remote_take_probe(remote, buffer_text(&result.output), failure);
    process_result_free(&result);
    return done;
}

static bool may_use_libssh2(struct remote_host *remote, bool stays, struct failure *failure)
{
    const char *why = stays ? NULL : remote_needs_openssh(remote);
    if (why) {
        remote_use_openssh(remote, why);
        return false;
    }
    if (!remote->settings.revoked)
        return true;
    failure_set(
        failure, "invalid", "connect",
        "%s: the SSH configuration has RevokedHostKeys (%s), which the transport \"ssh\" does not read",
        remote->host.name, remote->settings.revoked);
    failure_hint(failure, "use transport = \"openssh\" (--transport openssh), which does");
    return false;
}

/* One journey, through the jump host where there is one. */
static struct ssh_session *travel(struct remote_host *remote, struct remote_host *jump,
                                  struct ssh_journey *journey, struct failure *failure)
{
    journey->via = NULL;
    journey->busy = false;
    if (jump && !(journey->via = host_ssh_session(jump, false, failure))) {
        if (jump->host.operations == &host_openssh_operations && !journey->stays)
            remote_use_openssh(remote, "its jump host");
        else if (jump->host.operations == &host_openssh_operations)
            failure_set(failure, "failed", "connect",
                        "%s: its jump host %s is reached by transport = \"openssh\" only", remote->host.name,
                        jump->host.name);
        return NULL;
    }
    if (journey->via)
        ssh_session_hold(journey->via); /* another fiber may find it dead and drop it meanwhile */
    struct ssh_session *session = ssh_connect(journey, failure);
    if (journey->via)
        ssh_session_release(journey->via);
    return session;
}

/* With the lock held. NULL with the transport changed to openssh is no failure. */
static struct ssh_session *connect_now(struct remote_host *remote, struct failure *failure)
{
    struct runtime *runtime = remote->host.runtime;
    struct ssh_journey journey = {
        .runtime = runtime, .passphrases = &remote->hosts->passphrases, .noting = &remote->hosts->noting};
    struct remote_host *jump;
    struct ssh_session *session = NULL;
    if (!remote_settings(remote, failure))
        return NULL;
    journey.stays = remote->spec.transport || runtime->options.transport;
    if (!may_use_libssh2(remote, journey.stays, failure) || !remote_jump_host(remote, &jump, failure))
        return NULL;
    journey.settings = &remote->settings;
    journey.door = remote_door(remote);
    for (int tries = 0; !session && tries < BUSY_TRIES && (!tries || journey.busy); tries++)
        session = travel(remote, jump, &journey, failure);
    if (!session && journey.elsewhere.length && !journey.stays) {
        remote_use_openssh(remote, buffer_text(&journey.elsewhere));
    } else if (!session && journey.stays && strcmp(failure->op, "host key") != 0) {
        const char *why =
            journey.elsewhere.length ? buffer_text(&journey.elsewhere) : remote_needs_openssh(remote);
        if (why)
            failure_hint(failure, "transport = \"openssh\" can use %s", why);
    }
    buffer_free(&journey.elsewhere);
    return session;
}

/* Closes those that nothing holds any more. */
static void reap(struct remote_host *remote)
{
    size_t kept = 0;
    for (size_t i = 0; i < remote->retired_count; i++) {
        struct ssh_session *session = remote->retired[i];
        if (!ssh_session_is_dead(session, "", NULL) && ssh_session_in_use(session))
            remote->retired[kept++] = session;
        else
            ssh_session_close(session);
    }
    remote->retired_count = kept;
}

/* What still runs on it goes on. */
static void drop(struct remote_host *remote)
{
    remote->retired = reallocate(remote->retired, (remote->retired_count + 1) * sizeof(void *));
    remote->retired[remote->retired_count++] = remote->session;
    remote->session = NULL;
    remote->probed = false;
    reap(remote);
}

static bool is_of_use(const struct ssh_session *session)
{
    return session && !ssh_session_is_dead(session, "", NULL) && !ssh_session_is_stuck(session);
}

struct ssh_session *host_ssh_session(struct remote_host *remote, bool for_commands, struct failure *failure)
{
    struct runtime *runtime = remote->host.runtime;
    if (is_of_use(remote->session) && (remote->probed || !for_commands))
        return remote->session;
    enum wait_outcome outcome = fiber_lock(runtime, &remote->connecting);
    if (outcome != WAIT_WOKEN) {
        fiber_wait_failure(failure, outcome, "connect", 0);
        return NULL;
    }
    if (remote->session && !is_of_use(remote->session))
        drop(remote);
    if (!remote->session && remote->host.operations == &host_ssh_operations)
        remote->session = connect_now(remote, failure);
    if (remote->session && for_commands && !remote->probed && !probe(remote, remote->session, failure))
        drop(remote);
    struct ssh_session *session = remote->session;
    fiber_unlock(&remote->connecting);
    return session;
}

void host_ssh_close(struct remote_host *remote)
{
    ssh_session_close(remote->session);
    remote->session = NULL;
    for (size_t i = 0; i < remote->retired_count; i++)
        ssh_session_close(remote->retired[i]);
    remote->retired_count = 0;
}

/* The session for a command. NULL: `*elsewhere` tells that the host has another transport by now. */
static struct ssh_session *session_of(struct host *host, bool *elsewhere, struct failure *failure)
{
    struct ssh_session *session = NULL;
    if (!fiber_may_wait(host->runtime))
        fiber_wait_failure(failure, WAIT_REFUSED, "connect", 0);
    else
        session = host_ssh_session((struct remote_host *)host, true, failure);
    *elsewhere = !session && host->operations != &host_ssh_operations;
    return session;
}

/* The same, for a change with the lock. To take that anew waits: the connection may be lost meanwhile, and with it the lock. */
static struct ssh_session *locked_session_of(struct host *host, bool *elsewhere, struct failure *failure)
{
    const struct remote_host *remote = (const struct remote_host *)host;
    struct ssh_session *session;
    do {
        session = session_of(host, elsewhere, failure);
        if (session && !host_lock_renew(host, failure))
            return NULL;
    } while (session && session != remote->session);
    return session;
}

/* Nothing was begun on a connection that is busy: is it worth another try? */
static bool was_busy(int *tries, struct failure *failure)
{
    bool busy = strcmp(failure->kind, "busy") == 0;
    if (busy && ++*tries == BUSY_TRIES)
        snprintf(failure->kind, sizeof failure->kind, "timeout");
    return busy && *tries < BUSY_TRIES;
}

static bool ssh_run(struct host *host, const struct host_command *command, struct process_result *result,
                    struct failure *failure)
{
    const struct remote_sudo *sudo = &((struct remote_host *)host)->sudo;
    bool elsewhere;
    int tries = 0;
    do {
        struct ssh_session *session = locked_session_of(host, &elsewhere, failure);
        *result = (struct process_result){.status = -1};
        if (elsewhere)
            return host->operations->run(host, command, result, failure);
        if (!session)
            return false;
        if (ssh_exec_run(session, host->name, command, sudo, result, failure))
            return true;
    } while (was_busy(&tries, failure));
    return false;
}

static struct process_stream *ssh_open(struct host *host, const struct host_command *command,
                                       struct failure *failure)
{
    const struct remote_sudo *sudo = &((struct remote_host *)host)->sudo;
    struct process_stream *stream = NULL;
    bool elsewhere;
    int tries = 0;
    do {
        struct ssh_session *session = session_of(host, &elsewhere, failure);
        if (elsewhere)
            return host->operations->open(host, command, failure);
        if (!session)
            return NULL;
        stream = ssh_exec_open(session, host->name, command, sudo, failure);
    } while (!stream && was_busy(&tries, failure));
    return stream;
}

/* ---- forwards ---- */

static void on_stream_closed(uv_handle_t *handle)
{
    free(handle);
}

static void discard(void *way)
{
    ssh_channel_close(way);
}

void host_ssh_accept(struct remote_host *remote, struct forward *forward, uv_stream_t *stream)
{
    struct ssh_channel *channel = forward_take(forward);
    if (channel && !ssh_session_is_dead(ssh_channel_session(channel), "", NULL)) {
        pump_adopt(channel, stream);
        return;
    }
    ssh_channel_close(channel);
    if (remote->session)
        pump_start(remote->session, forward_address(forward), forward_port(forward), stream, NULL, NULL);
    else
        uv_close((uv_handle_t *)stream, on_stream_closed);
}

/* The first way there is opened by the fiber: where the address does not answer, it is this fiber that waits, and says so. */
static bool try_forward(struct host *host, struct forward *forward, uint64_t timeout_ms,
                        struct failure *failure)
{
    uint64_t until = runtime_now(host->runtime) + timeout_ms;
    const char *address = forward_address(forward);
    struct ssh_channel *channel = NULL;
    bool elsewhere;
    int tries = 0;
    do {
        struct ssh_session *session = session_of(host, &elsewhere, failure);
        if (!session)
            return elsewhere;
        channel = ssh_channel_reach(session, address, forward_port(forward), until, failure);
    } while (!channel && was_busy(&tries, failure));
    if (channel)
        forward_offer(forward, channel, discard);
    if (channel || strcmp(failure->kind, "failed") == 0)
        return true; /* a refusal is seen by whoever connects */
    if (strcmp(failure->kind, "timeout") == 0) {
        failure_set(failure, "timeout", "forward", "%s: %s, port %d, does not answer there within %.3g s",
                    host->name, address, forward_port(forward), (double)timeout_ms / 1000.0);
        failure_hint(failure, "see whether its server is up, and whether a firewall lets %s reach it",
                     host->name);
    }
    return false;
}

static bool ssh_forward(struct host *host, const char *address, int port, uint64_t timeout_ms,
                        struct buffer *socket, struct failure *failure)
{
    struct remote_host *remote = (struct remote_host *)host;
    bool elsewhere;
    struct ssh_session *session = session_of(host, &elsewhere, failure);
    if (elsewhere)
        return host->operations->forward(host, address, port, timeout_ms, socket, failure);
    if (!session)
        return false;
    struct forward *forward = forward_find(remote->forwards, address, port);
    if (!forward)
        forward =
            forward_open(host->runtime, &remote->forwards, address, port, remote_accept, remote, failure);
    if (!forward || (!forward_is_tried(forward) && !try_forward(host, forward, timeout_ms, failure)))
        return false;
    buffer_append_text(socket, forward_socket(forward));
    return true;
}

static bool ssh_is_connected(struct host *host)
{
    const struct remote_host *remote = (const struct remote_host *)host;
    return is_of_use(remote->session) && remote->probed;
}

const struct host_operations host_ssh_operations = {
    .transport = "ssh",
    .run = ssh_run,
    .read = remote_read,
    .write = remote_write,
    .stat = remote_stat,
    .look = remote_look,
    .make_directory = remote_make_directory,
    .set_attributes = remote_set_attributes,
    .open = ssh_open,
    .forward = ssh_forward,
    .is_connected = ssh_is_connected,
};
