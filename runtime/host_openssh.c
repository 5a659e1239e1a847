/* The transport "openssh": the ssh program, for what libssh2 cannot do - Kerberos, certificates, RSA keys, ProxyCommand,
 * hardware keys, whatever else the user's ssh knows.
 *
 * One master (ControlMaster) a host holds the connection: a child of ours whose standard input is a pipe that we hold, so
 * that it ends with us, however we end. Commands are further ssh processes that go through its socket, connections to
 * addresses behind the host are `ssh -W`. ssh tells neither signals nor the end of a command whose outputs a background
 * child holds: the shell there tells them (REMOTE_WAIT). */
#include "remote_host.h"

#include "host_lock.h"
#include "process_stream.h"
#include "remote_files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MASTER_MS     120000 /* a key may want to be touched */
#define PROBE_MS      30000
#define KILL_MS       6000
#define EXECS_MOST    8  /* of sshd's ten (MaxSessions): the master's own is one */
#define REFUSALS_MOST 14 /* of a session, 20 ms to 2.6 s apart */
#define ALIVE_S       5  /* ServerAliveInterval, where the configuration has none */
#define CONNECT_S     10 /* ConnectTimeout, where the configuration has none and the way is straight */
#define ARGS_MOST     28 /* of our own, beside the settings' */

/* A connection to an address behind the host: one process. */
struct tunnel {
    uv_process_t process; /* first: closed through it */
    struct tunnel *next;
    struct tunnel **link;
};

struct openssh_master {
    struct process_stream *stream; /* the master's output; NULL when it is not there */
    int input;                     /* our end of its standard input */
    bool lost;                     /* a command found it gone */
    unsigned
        generation; /* how many there were: what a command of a former one finds says nothing of this one */
    char folder[40];
    char socket[64];
    struct ssh_list sockets; /* Unix sockets there that it leads to, by the files u0, u1, ... in the folder */
    struct door door;        /* commands at a time */
    struct tunnel *tunnels;
};

/* ---- argument vectors ---- */

/* `before`, the settings' options, then `-- NAME` and `line`. To be freed. */
static const char **make_argv(const struct remote_host *remote, const char *const *before, const char *line)
{
    const struct ssh_settings *settings = &remote->settings;
    const char **argv = allocate_zeroed(settings->arguments.count + ARGS_MOST, sizeof *argv);
    size_t count = 0;
    while (*before)
        argv[count++] = *before++;
    argv[count++] = "-oRemoteCommand=none"; /* the configuration's, which would exclude ours */
    for (size_t i = 0; i < settings->arguments.count; i++)
        argv[count++] = settings->arguments.items[i];
    argv[count++] = "--";
    argv[count++] = settings->name;
    argv[count++] = line;
    return argv;
}

/* Through the master's socket only: where it is gone, no connection of its own is made, and ssh says so by NO_MASTER: then
 * nothing of the command has come to the host. */
#define NO_MASTER "moonbook-no-master"
#define THROUGH_MASTER(socket)                                                                               \
    "-S", socket, "-oControlMaster=no", "-oControlPersist=no",                                               \
        "-oProxyCommand=sh -c 'echo " NO_MASTER " >&2; exit 1'", "-oBatchMode=yes", "-oLogLevel=ERROR",      \
        "-oClearAllForwardings=yes", "-T"

/* ---- the master ---- */

static void local_socket(const struct openssh_master *master, size_t index, char *path, size_t size)
{
    snprintf(path, size, "%s/u%zu", master->folder, index);
}

static void close_master(struct openssh_master *master)
{
    process_close(master->stream);
    master->stream = NULL;
    if (master->input >= 0)
        close(master->input);
    master->input = -1;
    if (*master->socket)
        unlink(master->socket);
    for (size_t i = 0; i < master->sockets.count; i++) {
        char path[80];
        local_socket(master, i, path, sizeof path);
        unlink(path);
    }
    ssh_list_free(&master->sockets);
    if (*master->folder)
        rmdir(master->folder);
    *master->folder = *master->socket = '\0';
    master->lost = false;
}

/* Where the host key was not accepted ssh does not say which it was; asked once more it does, in its debug messages. */
static void find_fingerprint(struct remote_host *remote, struct buffer *fingerprint)
{
    static const char *const before[] = {
        "ssh", "-v", "-oBatchMode=yes", "-oControlPath=none", "-oStrictHostKeyChecking=yes", NULL};
    const char **argv = make_argv(remote, before, "true");
    struct process_options options = {.argv = argv, .timeout_ms = PROBE_MS};
    struct process_result result;
    struct failure ignored;
    if (process_run(remote->host.runtime, &options, &result, &ignored)) {
        const char *key = strstr(buffer_text(&result.error), "Server host key: ");
        if (key)
            buffer_append(fingerprint, key + 17, strcspn(key + 17, "\r\n"));
    }
    process_result_free(&result);
    free(argv);
}

static bool refuse_host_key(struct remote_host *remote, const char *said, struct failure *failure)
{
    struct buffer fingerprint = {0};
    const char *name = remote->host.name;
    find_fingerprint(remote, &fingerprint);
    if (strstr(said, "REVOKED") || strstr(said, "revoked")) {
        failure_set(failure, "invalid", "host key", "the host key of %s is revoked: %s", name,
                    buffer_text(&fingerprint));
    } else if (strstr(said, "HAS CHANGED")) {
        failure_set(
            failure, "invalid", "host key",
            "the host key of %s is not the one on record: it shows %s. Somebody may be in between, or the "
            "host was installed anew",
            name, buffer_text(&fingerprint));
        failure_hint(failure, "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host's "
                              "console; if it was installed anew, remove the old one with ssh-keygen -R");
    } else {
        failure_set(failure, "permission", "host key", "the host key of %s is not known: %s", name,
                    buffer_text(&fingerprint));
        failure_hint(failure,
                     "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host; if it is the "
                     "same, run it again with --accept-new, or log in once with ssh %s",
                     name);
    }
    buffer_free(&fingerprint);
    return false;
}

/* What ssh said on the way. `*full`: the server had no place. */
static bool explain(struct remote_host *remote, const struct buffer *text, bool *full,
                    struct failure *failure)
{
    const char *said = buffer_text(text), *name = remote->host.name;
    size_t length = text->length;
    while (length && strchr(" \r\n", said[length - 1]))
        length--;
    *full = strstr(said, "kex_exchange_identification") != NULL;
    if (strstr(said, "Host key verification failed"))
        return refuse_host_key(remote, said, failure);
    size_t from = length > 600 ? length - 600 : 0;
    const char *kind = strstr(said, "Permission denied") ? "permission"
                       : strstr(said, "timed out")       ? "timeout"
                                                         : "unreachable";
    failure_set(failure, kind, "connect", "%s: ssh says: %.*s", name, (int)(length - from), said + from);
    failure_hint(failure,
                 "let `ssh %s` in first without a question: keys with a passphrase belong to the agent; with "
                 "--transport ssh you are asked for a password",
                 name);
    return false;
}

/* Reads the master's output until it says that it is there. */
static bool await_master(struct remote_host *remote, bool *full, struct failure *failure)
{
    struct openssh_master *master = remote->master;
    struct buffer line = {0}, said = {0};
    uint64_t until = runtime_now(remote->host.runtime) + MASTER_MS;
    bool there = false;
    int got = 1;
    while (!there && got == 1) {
        uint64_t now = runtime_now(remote->host.runtime);
        got = process_read_line(master->stream, &line, now < until ? until - now : 1, failure);
        const char *ready = got == 1 ? strstr(buffer_text(&line), "moonbook-ready ") : NULL;
        if (ready) {
            remote->host.pid = strtol(ready + 15, NULL, 10);
            there = true;
        } else if (got == 1) {
            buffer_format(&said, "%s%s", said.length ? "\n" : "", buffer_text(&line));
        }
    }
    if (got == 0)
        explain(remote, &said, full, failure);
    else if (!there)
        snprintf(failure->op, sizeof failure->op, "connect");
    buffer_free(&line);
    buffer_free(&said);
    return there;
}

static const char *strictness(const struct remote_host *remote)
{
    bool accepts = remote->settings.strictness == SSH_ACCEPT_NEW || remote->host.runtime->options.accept_new;
    return accepts ? "-oStrictHostKeyChecking=accept-new" : "-oStrictHostKeyChecking=yes";
}

/* Under --check a new key is noted nowhere: ssh writes to the first of the files. */
static void add_known_hosts(const struct remote_host *remote, struct buffer *option)
{
    const struct ssh_settings *settings = &remote->settings;
    buffer_append_text(option, "-oUserKnownHostsFile=/dev/null");
    for (size_t i = 0; i < settings->own_known_hosts; i++)
        buffer_format(option, " \"%s\"", settings->known_hosts.items[i]);
}

static struct process_stream *spawn_master(struct remote_host *remote, int input, struct failure *failure)
{
    struct openssh_master *master = remote->master;
    static const char line[] = "exec sh -c 'printf \"moonbook-ready %s\\n\" \"$PPID\"; exec cat >/dev/null'";
    struct buffer known_hosts = {0};
    const struct ssh_settings *settings = &remote->settings;
    bool has_limit = settings->connect_ms || settings->jump || settings->proxy_command;
    char alive[40], connect[40];
    snprintf(alive, sizeof alive, "-oServerAliveInterval=%d",
             settings->alive_ms ? (int)(settings->alive_ms / 1000) : ALIVE_S);
    snprintf(connect, sizeof connect, has_limit ? "-T" : "-oConnectTimeout=%d", CONNECT_S);
    add_known_hosts(remote, &known_hosts);
    const char *before[] = {
        "sh",
        "-c",
        "ssh \"$@\" <&3 2>&1 3<&-; rm -f \"$0\"/u*; rmdir \"$0\" 2>/dev/null", /* where we are gone by then */
        master->folder,
        "-M",
        "-S",
        master->socket,
        "-oControlPersist=no",
        "-oBatchMode=yes",
        strictness(remote),
        "-oServerAliveCountMax=3",
        alive,
        "-oClearAllForwardings=yes",
        "-T",
        connect,
        remote->host.runtime->options.check ? buffer_text(&known_hosts) : NULL,
        NULL};
    const char **argv = make_argv(remote, before, line);
    struct process_options options = {.argv = argv, .descriptors = &input, .descriptor_count = 1};
    struct process_stream *stream = process_open(remote->host.runtime, &options, failure);
    free(argv);
    buffer_free(&known_hosts);
    return stream;
}

static bool start_master(struct remote_host *remote, bool *full, struct failure *failure)
{
    struct openssh_master *master = remote->master;
    int ends[2];
    *full = false;
    master->generation++;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return failure_set(failure, "failed", "connect", "no more descriptors");
    master->input = ends[1];
    snprintf(master->folder, sizeof master->folder, "/tmp/moonbook-XXXXXX");
    if (mkdtemp(master->folder)) {
        snprintf(master->socket, sizeof master->socket, "%s/m", master->folder);
        master->stream = spawn_master(remote, ends[0], failure);
    } else {
        *master->folder = '\0';
        failure_set(failure, "failed", "connect", "no folder can be made in /tmp");
    }
    close(ends[0]);
    bool done = master->stream && await_master(remote, full, failure);
    if (!done)
        close_master(master);
    return done;
}

static bool connect_master(struct remote_host *remote, struct failure *failure)
{
    struct runtime *runtime = remote->host.runtime;
    struct door *door = remote_door(remote);
    uint64_t pause = SSH_FIRST_PAUSE;
    for (int tries = 0; tries < SSH_TRIES_MOST; tries++, pause *= 2) {
        bool full = false;
        enum wait_outcome outcome = door_enter(runtime, door, SSH_LOGINS_MOST);
        if (outcome != WAIT_WOKEN)
            return fiber_wait_failure(failure, outcome, "connect", 0);
        bool done = start_master(remote, &full, failure);
        door_leave(door);
        if (done || !full || tries + 1 == SSH_TRIES_MOST)
            return done;
        outcome = ssh_pause(runtime, pause);
        if (outcome != WAIT_TIMEOUT)
            return fiber_wait_failure(failure, outcome, "connect", 0);
    }
    return false;
}

/* ---- commands ---- */

/* Where the end mark is looked for next: what was looked at does not change. */
struct watch {
    char mark[48];
    size_t seen;
};

static bool has_ended(void *context, const struct buffer *error)
{
    struct watch *watch = context;
    size_t overlap = sizeof watch->mark, from = watch->seen > overlap ? watch->seen - overlap : 0;
    watch->seen = error->length;
    return error->length > from &&
           memmem(error->bytes + from, error->length - from, watch->mark, strlen(watch->mark));
}

static bool run_line(struct remote_host *remote, const struct remote_line *line,
                     const struct host_command *command, struct process_result *result,
                     struct failure *failure)
{
    const char *const before[] = {"ssh", THROUGH_MASTER(remote->master->socket), NULL};
    const char **argv = make_argv(remote, before, buffer_text(&line->line));
    struct buffer input = {0};
    struct watch watch = {.seen = 0};
    snprintf(watch.mark, sizeof watch.mark, "%s end ", line->mark);
    buffer_append(&input, buffer_text(&line->prefix), line->prefix.length);
    buffer_append(&input, command->input ? command->input : "", command->input_length);
    struct process_options options = {.argv = argv,
                                      .input = input.length ? input.bytes : NULL,
                                      .input_length = input.length,
                                      .timeout_ms = command->timeout_ms,
                                      .is_over = has_ended,
                                      .context = &watch};
    remote->host.runtime->counts.round_trips++;
    bool ran = process_run(remote->host.runtime, &options, result, failure);
    buffer_wipe(&input);
    free(argv);
    return ran;
}

static void end_remotely(struct remote_host *remote, const struct remote_progress *progress)
{
    struct remote_line kill;
    struct process_result result;
    struct failure ignored;
    if (!progress->began)
        return;
    remote_line_kill(&remote->sudo, progress->leader, progress->process, &kill);
    run_line(remote, &kill, &(struct host_command){.timeout_ms = KILL_MS}, &result, &ignored);
    process_result_free(&result);
    remote_line_free(&kill);
}

/* 255 without a mark of the end is ssh's own: the connection is gone that was there when the command began. */
static bool say_lost(struct remote_host *remote, unsigned generation, const struct host_command *command,
                     const struct remote_progress *progress, struct failure *failure)
{
    if (generation == remote->master->generation)
        remote->master->lost = true;
    failure_set(failure, "unreachable", command->argv[0], "the connection to %s was lost", remote->host.name);
    if (progress->began)
        failure_hint(failure, "%s may have gone on or not: see whether the host is up, then run it again",
                     command->argv[0]);
    else
        failure_hint(failure, "see whether the host is up and reachable, then run it again");
    return false;
}

/* Names what ran, not ssh. */
static void rename_failure(const struct host_command *command, struct failure *failure)
{
    snprintf(failure->op, sizeof failure->op, "%s", command->argv[0]);
}

/* sshd has no place for one more session yet: those that ended count until it has seen all of their end. */
static bool is_refused(const struct process_result *result)
{
    return result->status == 255 && result->error.length &&
           strstr(result->error.bytes, "open refused by peer");
}

static bool had_no_master(const struct process_result *result)
{
    return result->status == 255 && !result->output.length && strstr(buffer_text(&result->error), NO_MASTER);
}

static bool run_command(struct remote_host *remote, const struct remote_sudo *sudo,
                        const struct host_command *command, struct process_result *result,
                        struct failure *failure)
{
    struct remote_line line;
    struct remote_progress progress = {0};
    unsigned generation = remote->master->generation;
    remote_line_make(command, REMOTE_WAIT, sudo, &line);
    bool ran;
    for (int tries = 0;; tries++) {
        ran = run_line(remote, &line, command, result, failure);
        if (!ran || tries == REFUSALS_MOST || !is_refused(result) ||
            fiber_sleep(remote->host.runtime, 20 << (tries / 2)) != WAIT_TIMEOUT)
            break;
        process_result_free(result);
    }
    remote_progress_look(line.mark, &result->output, &result->error, &progress);
    if (!ran) {
        rename_failure(command, failure);
        end_remotely(remote, &progress);
    } else if (is_refused(result)) {
        ran = failure_set(failure, "failed", command->argv[0], "%s opens no further session",
                          remote->host.name);
        failure_hint(failure,
                     "the ssh program holds one for itself: see MaxSessions in that host's sshd_config");
    } else if (!progress.ended && result->status == 255) {
        ran = say_lost(remote, generation, command, &progress, failure);
    } else {
        ran = remote_command_started(remote->host.name, command, &progress, result, sudo, failure);
    }
    if (progress.ended) {
        result->status = progress.status;
        result->signal = progress.signal;
    }
    remote_line_free(&line);
    return ran;
}

static bool probe(struct remote_host *remote, struct failure *failure)
{
    struct host_command command = {.argv = remote_probe_argv, .timeout_ms = PROBE_MS};
    struct process_result result;
    if (!remote_take_sudo(remote, failure))
        return false;
    bool done = run_command(remote, &remote->sudo, &command, &result, failure) &&
                remote_take_probe(remote, buffer_text(&result.output), failure);
    process_result_free(&result);
    return done;
}

/* Nobody else reads its output once it was probed. */
static bool is_there(struct remote_host *remote)
{
    struct openssh_master *master = remote->master;
    struct buffer line = {0};
    struct failure ignored;
    int got = 1;
    if (!master || !master->stream || master->lost || !remote->probed)
        return false;
    while (got == 1)
        got = process_read_line(master->stream, &line, 0, &ignored);
    buffer_free(&line);
    master->lost = got == 0; /* it ended while nothing was asked of it */
    return !master->lost;
}

/* The master, made where there is none. */
static bool connected(struct remote_host *remote, struct failure *failure)
{
    struct runtime *runtime = remote->host.runtime;
    if (!fiber_may_wait(runtime))
        return fiber_wait_failure(failure, WAIT_REFUSED, "connect", 0);
    if (is_there(remote))
        return true;
    enum wait_outcome outcome = fiber_lock(runtime, &remote->connecting);
    if (outcome != WAIT_WOKEN)
        return fiber_wait_failure(failure, outcome, "connect", 0);
    if (!remote->master) {
        remote->master = allocate_zeroed(1, sizeof *remote->master);
        remote->master->input = -1;
    }
    if (remote->master->lost) {
        close_master(remote->master);
        remote->probed = false;
    }
    struct remote_host *jump; /* left to ssh, which follows a circle without an end */
    bool done = remote_settings(remote, failure) && remote_jump_host(remote, &jump, failure) &&
                (remote->master->stream || connect_master(remote, failure)) &&
                (remote->probed || probe(remote, failure));
    if (!done)
        close_master(remote->master);
    fiber_unlock(&remote->connecting);
    return done;
}

static bool run_once(struct remote_host *remote, const struct host_command *command,
                     struct process_result *result, struct failure *failure)
{
    struct runtime *runtime = remote->host.runtime;
    *result = (struct process_result){.status = -1};
    if (!connected(remote, failure) || !host_lock_renew(&remote->host, failure))
        return false;
    enum wait_outcome outcome = door_enter(runtime, &remote->master->door, EXECS_MOST);
    if (outcome != WAIT_WOKEN)
        return fiber_wait_failure(failure, outcome, command->argv[0], 0);
    bool ran = run_command(remote, &remote->sudo, command, result, failure);
    door_leave(&remote->master->door);
    return ran;
}

/* Once more where the master ended unnoticed: the command has not begun anywhere. */
static bool openssh_run(struct host *host, const struct host_command *command, struct process_result *result,
                        struct failure *failure)
{
    struct remote_host *remote = (struct remote_host *)host;
    if (run_once(remote, command, result, failure))
        return true;
    if (!had_no_master(result))
        return false;
    process_result_free(result);
    return run_once(remote, command, result, failure);
}

/* ---- streams ---- */

struct openssh_stream {
    struct process_stream stream;
    struct process_stream *child;
    int input; /* our end of its standard input: the command ends with it */
};

static int stream_read_line(struct process_stream *base, struct buffer *line, uint64_t timeout_ms,
                            struct failure *failure)
{
    return process_read_line(((struct openssh_stream *)base)->child, line, timeout_ms, failure);
}

static void stream_close(struct process_stream *base)
{
    struct openssh_stream *stream = (struct openssh_stream *)base;
    close(stream->input);
    process_close(stream->child);
    free(stream);
}

static const struct process_stream_operations stream_operations = {stream_read_line, stream_close};

static bool await_begin(struct remote_host *remote, struct openssh_stream *stream, const char *mark,
                        const struct host_command *command, struct failure *failure)
{
    struct buffer line = {0}, output = {0};
    struct remote_progress progress = {0};
    unsigned generation = remote->master->generation;
    int got;
    while ((got = process_read_line(stream->child, &line, PROBE_MS, failure)) == 1) {
        buffer_format(&output, "%s\n", buffer_text(&line));
        if (remote_stream_look(mark, &output, &progress))
            break;
    }
    struct process_result said = {.output = output};
    bool done = got == 1 &&
                remote_command_started(remote->host.name, command, &progress, &said, &remote->sudo, failure);
    if (got == 0)
        say_lost(remote, generation, command, &progress, failure);
    buffer_free(&line);
    buffer_free(&output);
    return done;
}

static struct process_stream *openssh_open(struct host *host, const struct host_command *command,
                                           struct failure *failure)
{
    struct remote_host *remote = (struct remote_host *)host;
    int ends[2];
    if (!connected(remote, failure))
        return NULL;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        failure_set(failure, "failed", command->argv[0], "no more descriptors");
        return NULL;
    }
    struct remote_line line;
    remote_line_make(command, REMOTE_STREAM, &remote->sudo, &line);
    const char *const before[] = {
        "sh", "-c", "exec ssh \"$@\" <&3 3<&-", "ssh", THROUGH_MASTER(remote->master->socket), NULL};
    const char **argv = make_argv(remote, before, buffer_text(&line.line));
    struct process_options options = {.argv = argv, .descriptors = ends, .descriptor_count = 1};
    struct openssh_stream *stream = allocate_zeroed(1, sizeof *stream);
    *stream = (struct openssh_stream){.stream = {&stream_operations}, .input = ends[1]};
    /* Less than a pipe holds: it cannot block. */
    bool sent = line.prefix.length == 0 ||
                write(ends[1], line.prefix.bytes, line.prefix.length) == (ssize_t)line.prefix.length;
    host->runtime->counts.round_trips++;
    if (sent)
        stream->child = process_open(host->runtime, &options, failure);
    else
        failure_set(failure, "failed", command->argv[0], "its environment is too large");
    close(ends[0]);
    free(argv);
    if (!stream->child || !await_begin(remote, stream, line.mark, command, failure)) {
        stream_close(&stream->stream);
        stream = NULL;
    }
    remote_line_free(&line);
    return stream ? &stream->stream : NULL;
}

/* ---- forwards ---- */

static void on_stream_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_tunnel_closed(uv_handle_t *handle)
{
    struct tunnel *tunnel = handle->data;
    if (tunnel->link) {
        *tunnel->link = tunnel->next;
        if (tunnel->next)
            tunnel->next->link = tunnel->link;
    }
    free(tunnel);
}

static void on_tunnel_exit(uv_process_t *process, int64_t status, int signal)
{
    (void)status;
    (void)signal;
    uv_close((uv_handle_t *)process, on_tunnel_closed);
}

/* The connection becomes standard input and output of an `ssh -W`. */
void host_openssh_accept(struct remote_host *remote, struct forward *forward, uv_stream_t *stream)
{
    struct openssh_master *master = remote->master;
    const char *address = forward_address(forward);
    uv_os_fd_t file = -1;
    char target[300];
    snprintf(target, sizeof target, strchr(address, ':') ? "-W[%s]:%d" : "-W%s:%d", address,
             forward_port(forward));
    const char *const before[] = {"ssh",
                                  "-S",
                                  master ? master->socket : "none",
                                  "-oControlMaster=no",
                                  "-oProxyCommand=exec false",
                                  "-oBatchMode=yes",
                                  "-oLogLevel=QUIET",
                                  target,
                                  NULL};
    const char **argv = make_argv(remote, before, NULL);
    uv_fileno((uv_handle_t *)stream, &file);
    uv_stream_set_blocking(stream, 1); /* as ssh expects it of what is shared with nobody */
    uv_stdio_container_t stdio[] = {{.flags = UV_INHERIT_FD, .data.fd = file},
                                    {.flags = UV_INHERIT_FD, .data.fd = file},
                                    {.flags = UV_IGNORE}};
    uv_process_options_t options = {.exit_cb = on_tunnel_exit,
                                    .file = argv[0],
                                    .args = (char **)(uintptr_t)argv,
                                    .flags = UV_PROCESS_DETACHED,
                                    .stdio_count = 3,
                                    .stdio = stdio};
    struct tunnel *tunnel = allocate_zeroed(1, sizeof *tunnel);
    tunnel->process.data = tunnel;
    if (master && master->stream && uv_spawn(&remote->host.runtime->loop, &tunnel->process, &options) == 0) {
        tunnel->next = master->tunnels;
        tunnel->link = &master->tunnels;
        if (tunnel->next)
            tunnel->next->link = &tunnel->next;
        master->tunnels = tunnel;
        remote->host.runtime->counts.round_trips++;
    } else if (master && master->stream) {
        uv_close((uv_handle_t *)&tunnel->process, on_tunnel_closed);
    } else {
        free(tunnel);
    }
    uv_close((uv_handle_t *)stream, on_stream_closed);
    free(argv);
}

/* To a Unix socket: `ssh -W` knows them from 9.4 on only, so the master listens. Its socket is where its own is, in a folder
 * that nobody else may enter. With the lock held. */
static bool let_master_listen(struct remote_host *remote, const char *path, const char *address,
                              struct failure *failure)
{
    struct openssh_master *master = remote->master;
    struct buffer way = {0};
    buffer_format(&way, "-L%s:%s", path, address);
    const char *const before[] = {"ssh", "-S", master->socket, "-Oforward", buffer_text(&way), NULL};
    const char **argv = make_argv(remote, before, NULL);
    struct process_options options = {.argv = argv, .timeout_ms = PROBE_MS};
    struct process_result result;
    bool done = process_run(remote->host.runtime, &options, &result, failure);
    if (done && result.status != 0)
        done = failure_set(failure, "failed", "forward", "%s: no way to %s: ssh says: %.300s",
                           remote->host.name, address, buffer_text(&result.error));
    process_result_free(&result);
    free(argv);
    buffer_free(&way);
    return done;
}

static bool forward_local(struct remote_host *remote, const char *address, struct buffer *socket,
                          struct failure *failure)
{
    struct openssh_master *master = remote->master;
    enum wait_outcome outcome = fiber_lock(remote->host.runtime, &remote->connecting);
    if (outcome != WAIT_WOKEN)
        return fiber_wait_failure(failure, outcome, "forward", 0);
    char path[80];
    size_t index = 0;
    while (index < master->sockets.count && strcmp(master->sockets.items[index], address) != 0)
        index++;
    local_socket(master, index, path, sizeof path);
    bool done = index < master->sockets.count || let_master_listen(remote, path, address, failure);
    if (done && index == master->sockets.count)
        ssh_list_add(&master->sockets, address);
    fiber_unlock(&remote->connecting);
    buffer_append_text(socket, path);
    return done;
}

static bool openssh_forward(struct host *host, const char *address, int port, uint64_t timeout_ms,
                            struct buffer *socket, struct failure *failure)
{
    struct remote_host *remote = (struct remote_host *)host;
    (void)timeout_ms; /* nothing is tried: it is another process that waits for each connection */
    if (!connected(remote, failure))
        return false;
    if (*address == '/')
        return forward_local(remote, address, socket, failure);
    struct forward *forward = forward_find(remote->forwards, address, port);
    if (!forward)
        forward =
            forward_open(host->runtime, &remote->forwards, address, port, remote_accept, remote, failure);
    if (forward)
        buffer_append_text(socket, forward_socket(forward));
    return forward != NULL;
}

void host_openssh_close(struct remote_host *remote)
{
    struct openssh_master *master = remote->master;
    if (!master)
        return;
    for (struct tunnel *tunnel = master->tunnels; tunnel; tunnel = tunnel->next)
        uv_process_kill(&tunnel->process, SIGTERM);
    close_master(master);
}

void host_openssh_free(struct remote_host *remote)
{
    free(remote->master);
}

static bool openssh_is_connected(struct host *host)
{
    return is_there((struct remote_host *)host);
}

const struct host_operations host_openssh_operations = {
    .transport = "openssh",
    .run = openssh_run,
    .read = remote_read,
    .write = remote_write,
    .stat = remote_stat,
    .look = remote_look,
    .make_directory = remote_make_directory,
    .set_attributes = remote_set_attributes,
    .open = openssh_open,
    .forward = openssh_forward,
    .is_connected = openssh_is_connected,
};
