/* Connecting. */
#include "ssh_connect.h"

#include "pump.h"
#include "ssh_known_hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_MS   10000
#define HANDSHAKE_MS 15000
#define ALIVE_MS     5000

/* ---- the way there ---- */

/* A request of libuv that outlives the fiber's wait for it. */
struct way {
    struct fiber *fiber; /* NULL: nobody waits any more */
    union {
        uv_getaddrinfo_t resolve;
        uv_connect_t connect;
    };
    bool done;
    int status;
    struct addrinfo *addresses;
};

static void way_done(struct way *way, int status)
{
    way->done = true;
    way->status = status;
    if (way->fiber) {
        fiber_wake(way->fiber);
        return;
    }
    if (way->addresses)
        uv_freeaddrinfo(way->addresses);
    free(way);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct way *way = request->data;
    way->addresses = addresses;
    way_done(way, status);
}

static void on_connected(uv_connect_t *request, int status)
{
    way_done(request->data, status);
}

/* Waits; then the way is the caller's if done, else it is left to its callback. */
static enum wait_outcome await(struct runtime *runtime, struct way *way, uint64_t until)
{
    enum wait_outcome outcome = WAIT_WOKEN;
    while (!way->done && outcome == WAIT_WOKEN) {
        uint64_t now = runtime_now(runtime);
        outcome = now >= until ? WAIT_TIMEOUT : fiber_suspend(runtime, until - now);
    }
    if (way->done)
        return WAIT_WOKEN;
    way->fiber = NULL;
    return outcome;
}

static void on_stream_closed(uv_handle_t *handle)
{
    free(handle);
}

static bool say_timeout(const struct ssh_settings *settings, enum wait_outcome outcome, uint64_t ms,
                        struct failure *failure)
{
    if (outcome != WAIT_TIMEOUT)
        return fiber_wait_failure(failure, outcome, "connect", 0);
    failure_set(failure, "timeout", "connect", "%s:%d did not answer within %.3g s", settings->address,
                settings->port, (double)ms / 1000.0);
    failure_hint(failure, "see whether the host is up and a firewall lets port %d pass", settings->port);
    return false;
}

static uint64_t patience_of(const struct ssh_settings *settings)
{
    return settings->connect_ms ? settings->connect_ms : CONNECT_MS;
}

/* NULL where it fails; then `failure` tells. */
static struct addrinfo *resolve(struct ssh_journey *journey, uint64_t until, struct failure *failure)
{
    const struct ssh_settings *settings = journey->settings;
    struct way *way = allocate_zeroed(1, sizeof *way);
    char port[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    way->fiber = journey->runtime->current;
    way->resolve.data = way;
    snprintf(port, sizeof port, "%d", settings->port);
    int error =
        uv_getaddrinfo(&journey->runtime->loop, &way->resolve, on_resolved, settings->address, port, &hints);
    if (error) {
        way->done = true;
        way->status = error;
    }
    enum wait_outcome outcome = await(journey->runtime, way, until);
    if (outcome != WAIT_WOKEN) {
        say_timeout(settings, outcome, patience_of(settings), failure);
        return NULL;
    }
    struct addrinfo *addresses = way->addresses;
    if (way->status) {
        failure_set(failure, "unreachable", "connect", "%s cannot be resolved: %s", settings->address,
                    uv_strerror(way->status));
        failure_hint(failure, "check the name; ssh -G %s shows what the configuration makes of it",
                     settings->name);
        addresses = NULL;
    }
    free(way);
    return addresses;
}

/* One address. 0, the error (UV_ETIMEDOUT where it did not answer), or 1 where the wait failed otherwise (`failure` tells). */
static int connect_to(struct ssh_journey *journey, const struct sockaddr *address, uint64_t until,
                      uv_stream_t **stream, struct failure *failure)
{
    struct way *way = allocate_zeroed(1, sizeof *way);
    uv_tcp_t *tcp = allocate_zeroed(1, sizeof *tcp);
    way->fiber = journey->runtime->current;
    way->connect.data = way;
    uv_tcp_init(&journey->runtime->loop, tcp);
    uv_tcp_nodelay(tcp, 1);
    int error = uv_tcp_connect(&way->connect, tcp, address, on_connected);
    if (error) {
        way->done = true;
        way->status = error;
    }
    enum wait_outcome outcome = await(journey->runtime, way, until);
    error = outcome == WAIT_WOKEN ? way->status : outcome == WAIT_TIMEOUT ? UV_ETIMEDOUT : 1;
    if (outcome == WAIT_WOKEN)
        free(way);
    else
        fiber_wait_failure(failure, outcome, "connect", 0);
    if (error)
        uv_close((uv_handle_t *)tcp, on_stream_closed);
    else
        *stream = (uv_stream_t *)tcp;
    return error;
}

/* The addresses that were tried, and why in vain. */
struct attempts {
    unsigned count, silent;
    int error; /* the last one's */
    struct buffer text;
};

static void note_attempt(struct attempts *attempts, const struct sockaddr *address, int error)
{
    char name[64] = "?";
    uv_ip_name(address, name, sizeof name);
    attempts->count++;
    attempts->silent += error == UV_ETIMEDOUT;
    attempts->error = error;
    buffer_format(&attempts->text, "%s%s: %s", attempts->text.length ? "; " : "", name,
                  error == UV_ETIMEDOUT ? "no answer" : uv_strerror(error));
}

static void say_attempts(const struct ssh_settings *settings, const struct attempts *attempts,
                         struct failure *failure)
{
    if (attempts->count == attempts->silent)
        say_timeout(settings, WAIT_TIMEOUT, patience_of(settings), failure);
    else
        failure_set(failure, "unreachable", "connect", "%s:%d: %s", settings->address, settings->port,
                    attempts->count == 1 ? uv_strerror(attempts->error) : buffer_text(&attempts->text));
    if (attempts->count != attempts->silent)
        failure_hint(failure, "see whether the host is up and sshd listens on port %d", settings->port);
    else if (attempts->count > 1)
        failure_hint(
            failure,
            "it has several addresses (%s): see whether the host is up and a firewall lets port %d pass",
            buffer_text(&attempts->text), settings->port);
}

/* One address after the other. Those that are left share the time that is, so that a silent one does not take it all. */
static uv_stream_t *connect_straight(struct ssh_journey *journey, struct failure *failure)
{
    const struct ssh_settings *settings = journey->settings;
    uint64_t until = runtime_now(journey->runtime) + patience_of(settings);
    struct addrinfo *addresses = resolve(journey, until, failure);
    uv_stream_t *stream = NULL;
    struct attempts attempts = {0};
    unsigned left = 0;
    int error = 0;
    if (!addresses)
        return NULL;
    for (struct addrinfo *each = addresses; each; each = each->ai_next)
        left++;
    for (struct addrinfo *each = addresses; each && !stream && error != 1; each = each->ai_next) {
        uint64_t now = runtime_now(journey->runtime), share = now < until ? (until - now) / left-- : 0;
        error = connect_to(journey, each->ai_addr, now + share, &stream, failure);
        if (error < 0)
            note_attempt(&attempts, each->ai_addr, error);
    }
    uv_freeaddrinfo(addresses);
    if (!stream && error != 1)
        say_attempts(settings, &attempts, failure);
    buffer_free(&attempts.text);
    return stream;
}

struct jump {
    struct fiber *fiber;
    bool told, busy;
    char refusal[200];
};

static void on_told(void *owner, const char *refusal)
{
    struct jump *jump = owner;
    jump->told = true;
    jump->busy = refusal == ssh_busy;
    snprintf(jump->refusal, sizeof jump->refusal, "%s", refusal ? refusal : "");
    fiber_wake(jump->fiber);
}

static uv_pipe_t *pipe_of(struct runtime *runtime, int file)
{
    uv_pipe_t *pipe = allocate_zeroed(1, sizeof *pipe);
    uv_pipe_init(&runtime->loop, pipe, 0);
    uv_pipe_open(pipe, file);
    return pipe;
}

/* One end is the new session's stream, the other is pumped through the jump host. */
static uv_stream_t *connect_via(struct ssh_journey *journey, struct failure *failure)
{
    const struct ssh_settings *settings = journey->settings;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
        failure_set(failure, "failed", "connect", "no more descriptors");
        return NULL;
    }
    uv_pipe_t *inner = pipe_of(journey->runtime, ends[0]), *outer = pipe_of(journey->runtime, ends[1]);
    struct jump jump = {.fiber = journey->runtime->current};
    uint64_t until = runtime_now(journey->runtime) + patience_of(settings);
    struct pump *pump =
        pump_start(journey->via, settings->address, settings->port, (uv_stream_t *)inner, on_told, &jump);
    enum wait_outcome outcome = WAIT_WOKEN;
    while (pump && !jump.told && outcome == WAIT_WOKEN) {
        uint64_t now = runtime_now(journey->runtime);
        outcome = now >= until ? WAIT_TIMEOUT : fiber_suspend(journey->runtime, until - now);
    }
    journey->busy = jump.busy || (!pump && ssh_session_is_stuck(journey->via));
    if (pump && !jump.told) {
        pump_forget(pump);
        say_timeout(settings, outcome, patience_of(settings), failure);
    } else if (journey->busy) {
        failure_set(failure, "timeout", "connect", "%s is not reached from its jump host: %s", settings->name,
                    ssh_busy);
    } else if (!pump) {
        ssh_session_is_dead(journey->via, "connect", failure);
    } else if (*jump.refusal) {
        failure_set(failure, "unreachable", "connect", "%s (%s:%d) is not reached from its jump host: %s",
                    settings->name, settings->address, settings->port, jump.refusal);
    } else {
        return (uv_stream_t *)outer;
    }
    uv_close((uv_handle_t *)outer, on_stream_closed);
    return NULL;
}

/* ---- the handshake ---- */

/* The types of keys on record first: the server then shows one that can be compared. RSA only where it is any use. */
static void prefer_known_types(LIBSSH2_SESSION *libssh2, const struct ssh_known_keys *keys)
{
    static const char *const types[] = {"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
                                        "ecdsa-sha2-nistp521", "ssh-rsa"};
    struct buffer list = {0};
    size_t most = sizeof types / sizeof *types;
    for (int known = 1; known >= 0; known--)
        for (size_t i = 0; i < most; i++) {
            if (strcmp(types[i], "ssh-rsa") == 0 && !ssh_knows_rsa())
                continue;
            if (ssh_known_keys_have(keys, SSH_KEY_HOST, types[i]) == (known == 1))
                buffer_format(&list, "%s%s", list.length ? "," : "", types[i]);
        }
    libssh2_session_method_pref(libssh2, LIBSSH2_METHOD_HOSTKEY, buffer_text(&list));
    buffer_free(&list);
}

static bool say_no_handshake(struct ssh_journey *journey, LIBSSH2_SESSION *libssh2, int code,
                             struct failure *failure)
{
    const struct ssh_settings *settings = journey->settings;
    char *text = NULL;
    libssh2_session_last_error(libssh2, &text, NULL, 0);
    failure_set(failure, "unreachable", "connect", "%s:%d: no SSH handshake: %s", settings->address,
                settings->port, text ? text : "refused");
    if (code == LIBSSH2_ERROR_KEX_FAILURE || code == LIBSSH2_ERROR_METHOD_NONE ||
        code == LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE || code == LIBSSH2_ERROR_HOSTKEY_INIT)
        buffer_append_text(&journey->elsewhere, "the server's algorithms, such as an RSA host key");
    return false;
}

static bool shake_hands(struct ssh_journey *journey, struct ssh_session *session,
                        const struct ssh_known_keys *keys, struct failure *failure)
{
    LIBSSH2_SESSION *libssh2 = ssh_session_libssh2(session);
    const struct ssh_settings *settings = journey->settings;
    uint64_t patience = settings->connect_ms ? settings->connect_ms : HANDSHAKE_MS;
    uint64_t until = runtime_now(journey->runtime) + patience;
    prefer_known_types(libssh2, keys);
    for (;;) {
        int code = libssh2_session_handshake(libssh2, ssh_session_descriptor(session));
        if (code == 0)
            return true;
        if (ssh_session_is_dead(session, "connect", failure)) {
            failure_hint(failure, "see whether it is an SSH server, and whether it lets this machine in");
            return false;
        }
        if (code != LIBSSH2_ERROR_EAGAIN)
            return say_no_handshake(journey, libssh2, code, failure);
        enum wait_outcome outcome = ssh_session_wait(session, until);
        if (outcome != WAIT_WOKEN)
            return say_timeout(settings, outcome, patience, failure);
    }
}

/* ---- the host key ---- */

static bool refuse_changed(const struct ssh_settings *settings, const char *type, const char *fingerprint,
                           struct failure *failure)
{
    failure_set(failure, "invalid", "host key",
                "the host key of %s is not the one on record: it shows %s %s. Somebody may be in between, or "
                "the host was installed anew",
                settings->name, type, fingerprint);
    failure_hint(failure,
                 "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host's console; if it "
                 "was installed anew: ssh-keygen -R '%s%s%s'%s%s",
                 settings->port == 22 || settings->has_alias ? "" : "[", settings->key_name,
                 settings->port == 22 || settings->has_alias ? "" : "]:PORT",
                 settings->own_known_hosts ? " -f " : "",
                 settings->own_known_hosts ? settings->known_hosts.items[0] : "");
    return false;
}

/* With the lock held: another login to the same server may have noted a key since ours looked, this one or another. */
static bool note_new(struct ssh_journey *journey, const unsigned char *blob, size_t length, const char *type,
                     const char *fingerprint, struct failure *failure)
{
    struct ssh_known_keys keys = {0};
    bool noted = ssh_known_keys_read(journey->runtime, journey->settings, &keys, failure);
    enum ssh_verdict verdict = noted ? ssh_known_keys_judge(&keys, blob, length) : SSH_KEY_UNKNOWN;
    ssh_known_keys_free(&keys);
    if (noted && verdict == SSH_KEY_UNKNOWN)
        noted = ssh_known_keys_add(journey->settings, blob, length, failure);
    else if (noted && verdict != SSH_KEY_KNOWN)
        noted = refuse_changed(journey->settings, type, fingerprint, failure);
    return noted;
}

static bool accept_new(struct ssh_journey *journey, const unsigned char *blob, size_t length,
                       const char *type, const char *fingerprint, struct failure *failure)
{
    const struct ssh_settings *settings = journey->settings;
    struct runtime *runtime = journey->runtime;
    if (settings->strictness != SSH_ACCEPT_NEW && !runtime->options.accept_new) {
        failure_set(failure, "permission", "host key", "the host key of %s is not known: %s %s",
                    settings->name, type, fingerprint);
        failure_hint(failure,
                     "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host; if it is the "
                     "same, run it again with --accept-new, or log in once with ssh %s",
                     settings->name);
        return false;
    }
    if (runtime->options.check)
        return true; /* --check writes nothing */
    enum wait_outcome outcome = fiber_lock(runtime, journey->noting);
    if (outcome != WAIT_WOKEN)
        return fiber_wait_failure(failure, outcome, "host key", 0);
    bool noted = note_new(journey, blob, length, type, fingerprint, failure);
    fiber_unlock(journey->noting);
    return noted;
}

static bool check_host_key(struct ssh_journey *journey, struct ssh_session *session,
                           const struct ssh_known_keys *keys, struct failure *failure)
{
    const struct ssh_settings *settings = journey->settings;
    size_t length = 0;
    int ignored;
    const unsigned char *blob =
        (const unsigned char *)libssh2_session_hostkey(ssh_session_libssh2(session), &length, &ignored);
    struct buffer fingerprint = {0};
    char type[48];
    bool fine = true;
    if (!blob)
        return failure_set(failure, "invalid", "host key", "%s shows no host key", settings->name);
    ssh_key_type(blob, length, type, sizeof type);
    ssh_fingerprint(blob, length, &fingerprint);
    switch (ssh_known_keys_judge(keys, blob, length)) {
    case SSH_KEY_KNOWN:
        break;
    case SSH_KEY_IS_REVOKED:
        fine = failure_set(failure, "invalid", "host key", "the host key of %s is revoked: %s %s",
                           settings->name, type, buffer_text(&fingerprint));
        failure_hint(failure, "give the host a new key; the revoked one may be in wrong hands");
        break;
    case SSH_KEY_CHANGED:
        fine = refuse_changed(settings, type, buffer_text(&fingerprint), failure);
        break;
    case SSH_KEY_UNKNOWN:
        fine = accept_new(journey, blob, length, type, buffer_text(&fingerprint), failure);
        break;
    }
    buffer_free(&fingerprint);
    return fine;
}

/* ---- all of it ---- */

/* One try. `*full` tells that the server closed it before it said who it is: it has no place, or does not want us. */
static struct ssh_session *try_once(struct ssh_journey *journey, const struct ssh_known_keys *keys,
                                    bool *full, struct failure *failure)
{
    const struct ssh_settings *settings = journey->settings;
    uv_stream_t *stream = journey->via ? connect_via(journey, failure) : connect_straight(journey, failure);
    *full = false;
    if (!stream)
        return NULL;
    struct ssh_session *session = ssh_session_new(journey->runtime, settings->name, stream);
    if (!session) {
        uv_close((uv_handle_t *)stream, on_stream_closed);
        failure_set(failure, "failed", "connect", "no memory for a session");
        return NULL;
    }
    if (shake_hands(journey, session, keys, failure)) {
        if (check_host_key(journey, session, keys, failure) &&
            ssh_login(journey->runtime, session, settings, journey->passphrases, journey->stays,
                      &journey->elsewhere, failure)) {
            ssh_session_establish(session, settings->alive_ms ? settings->alive_ms : ALIVE_MS);
            return session;
        }
    } else {
        *full = ssh_session_is_dead(session, "", NULL);
    }
    ssh_session_close(session);
    return NULL;
}

enum wait_outcome ssh_pause(struct runtime *runtime, uint64_t pause)
{
    return fiber_sleep(runtime, pause / 2 + uv_hrtime() % pause);
}

struct ssh_session *ssh_connect(struct ssh_journey *journey, struct failure *failure)
{
    struct ssh_known_keys keys = {0};
    struct ssh_session *session = NULL;
    uint64_t pause = SSH_FIRST_PAUSE;
    if (!ssh_known_keys_read(journey->runtime, journey->settings, &keys, failure)) {
        ssh_known_keys_free(&keys); /* those of the files before the one that cannot be read */
        return NULL;
    }
    for (int tries = 0; tries < SSH_TRIES_MOST; tries++, pause *= 2) {
        bool full = false;
        enum wait_outcome outcome = door_enter(journey->runtime, journey->door, SSH_LOGINS_MOST);
        if (outcome != WAIT_WOKEN) {
            fiber_wait_failure(failure, outcome, "connect", 0);
            break;
        }
        session = try_once(journey, &keys, &full, failure);
        door_leave(journey->door);
        if (session || !full || tries + 1 == SSH_TRIES_MOST)
            break;
        outcome = ssh_pause(journey->runtime, pause);
        if (outcome != WAIT_TIMEOUT) {
            fiber_wait_failure(failure, outcome, "connect", 0);
            break;
        }
    }
    ssh_known_keys_free(&keys);
    return session;
}
