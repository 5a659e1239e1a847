/* The transport "ssh": one connection a host by libssh2, made at the first use and again after it was lost. */
#include "remote_host.h"

#include "pump.h"
#include "remote_files.h"
#include "ssh_exec.h"
#include "ssh_session_parts.h"

#include <stdlib.h>
#include <string.h>

#define PROBE_MS 30000

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
    done = ssh_exec_run(session, remote->host.name, &command, &remote->sudo, &result, failure) &&
           remote_take_probe(remote, buffer_text(&result.output), failure);
    process_result_free(&result);
    return done;
}

/* With the lock held. NULL with the transport changed to openssh is no failure. */
static struct ssh_session *connect_now(struct remote_host *remote, struct failure *failure)
{
    struct ssh_journey journey = {.runtime = remote->host.runtime,
                                  .passphrases = &remote->hosts->passphrases};
    struct remote_host *jump;
    if (!remote_settings(remote, failure))
        return NULL;
    journey.stays = remote->spec.transport || remote->host.runtime->options.transport;
    const char *why = journey.stays ? NULL : remote_needs_openssh(remote);
    if (why) {
        remote_use_openssh(remote, why);
        return NULL;
    }
    if (remote->settings.revoked) {
        failure_set(
            failure, "invalid", "connect",
            "%s: the SSH configuration has RevokedHostKeys (%s), which the transport \"ssh\" does not read",
            remote->host.name, remote->settings.revoked);
        failure_hint(failure, "use transport = \"openssh\" (--transport openssh), which does");
        return NULL;
    }
    if (!remote_jump_host(remote, &jump, failure))
        return NULL;
    if (jump && !(journey.via = host_ssh_session(jump, false, failure))) {
        if (jump->host.operations == &host_openssh_operations && !journey.stays)
            remote_use_openssh(remote, "its jump host");
        else if (jump->host.operations == &host_openssh_operations)
            failure_set(failure, "failed", "connect",
                        "%s: its jump host %s is reached by transport = \"openssh\" only", remote->host.name,
                        jump->host.name);
        return NULL;
    }
    if (journey.via)
        ssh_session_hold(journey.via); /* another fiber may find it dead and drop it meanwhile */
    journey.settings = &remote->settings;
    journey.door = remote_door(remote);
    struct ssh_session *session = ssh_connect(&journey, failure);
    if (journey.via)
        ssh_session_release(journey.via);
    if (!session && journey.elsewhere.length && !journey.stays)
        remote_use_openssh(remote, buffer_text(&journey.elsewhere));
    else if (!session && journey.elsewhere.length)
        failure_hint(failure, "transport = \"openssh\" can use %s", buffer_text(&journey.elsewhere));
    buffer_free(&journey.elsewhere);
    return session;
}

static void drop(struct remote_host *remote)
{
    ssh_session_close(remote->session);
    remote->session = NULL;
    remote->probed = false;
}

struct ssh_session *host_ssh_session(struct remote_host *remote, bool for_commands, struct failure *failure)
{
    struct runtime *runtime = remote->host.runtime;
    if (remote->session && !ssh_session_is_dead(remote->session, "", NULL) &&
        !ssh_session_is_stuck(remote->session) && (remote->probed || !for_commands))
        return remote->session;
    enum wait_outcome outcome = fiber_lock(runtime, &remote->connecting);
    if (outcome != WAIT_WOKEN) {
        fiber_wait_failure(failure, outcome, "connect", 0);
        return NULL;
    }
    if (remote->session &&
        (ssh_session_is_dead(remote->session, "", NULL) || ssh_session_is_stuck(remote->session)))
        drop(remote);
    if (!remote->session && remote->host.operations == &host_ssh_operations)
        remote->session = connect_now(remote, failure);
    if (remote->session && for_commands && !remote->probed && !probe(remote, remote->session, failure))
        drop(remote);
    struct ssh_session *session = remote->session;
    fiber_unlock(&remote->connecting);
    return session;
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

static bool ssh_run(struct host *host, const struct host_command *command, struct process_result *result,
                    struct failure *failure)
{
    bool elsewhere;
    struct ssh_session *session = session_of(host, &elsewhere, failure);
    *result = (struct process_result){.status = -1};
    if (elsewhere)
        return host->operations->run(host, command, result, failure);
    return session &&
           ssh_exec_run(session, host->name, command, &((struct remote_host *)host)->sudo, result, failure);
}

static struct process_stream *ssh_open(struct host *host, const struct host_command *command,
                                       struct failure *failure)
{
    bool elsewhere;
    struct ssh_session *session = session_of(host, &elsewhere, failure);
    if (elsewhere)
        return host->operations->open(host, command, failure);
    return session ? ssh_exec_open(session, host->name, command, &((struct remote_host *)host)->sudo, failure)
                   : NULL;
}

/* ---- forwards ---- */

static void on_stream_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_accepted(void *owner, const char *address, int port, uv_stream_t *stream)
{
    struct remote_host *remote = owner;
    if (remote->session)
        pump_start(remote->session, address, port, stream, NULL, NULL);
    else
        uv_close((uv_handle_t *)stream, on_stream_closed);
}

static bool ssh_forward(struct host *host, const char *address, int port, struct buffer *socket,
                        struct failure *failure)
{
    struct remote_host *remote = (struct remote_host *)host;
    bool elsewhere;
    struct ssh_session *session = session_of(host, &elsewhere, failure);
    if (elsewhere)
        return host->operations->forward(host, address, port, socket, failure);
    if (!session)
        return false;
    struct forward *forward = forward_find(remote->forwards, address, port);
    if (!forward)
        forward = forward_open(host->runtime, &remote->forwards, address, port, on_accepted, remote, failure);
    if (forward)
        buffer_append_text(socket, forward_socket(forward));
    return forward != NULL;
}

const struct host_operations host_ssh_operations = {
    .transport = "ssh",
    .run = ssh_run,
    .read = remote_read,
    .write = remote_write,
    .stat = remote_stat,
    .make_directory = remote_make_directory,
    .set_attributes = remote_set_attributes,
    .open = ssh_open,
    .forward = ssh_forward,
};
