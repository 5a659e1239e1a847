/* The run's other hosts: made by description, their settings, what transport they need. */
#include "remote_host.h"

#include "fiber.h"
#include "host_lock.h"
#include "report.h"
#include "secret.h"
#include "secret_source.h"
#include "ssh_identity.h"
#include "ssh_known_hosts.h"
#include "utf8.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One server, however many hosts lead to it: its door is common. */
struct ssh_server {
    char *name; /* address:port */
    struct door door;
    struct ssh_server *next;
};

/* ---- descriptions ---- */

#define SPEC_TEXTS 12

static void spec_texts(struct host_spec *spec, const char **texts[SPEC_TEXTS])
{
    const char **all[SPEC_TEXTS] = {&spec->name,      &spec->address,       &spec->port,
                                    &spec->user,      &spec->identity,      &spec->known_hosts,
                                    &spec->transport, &spec->sudo_password, &spec->addresses,
                                    &spec->jump,      &spec->fallback,      &spec->sudo_source};
    memcpy(texts, all, sizeof all);
}

/* All that was said, so that the same description finds the same host. */
static char *key_of(const struct host_spec *given)
{
    struct host_spec spec = *given;
    const char **texts[SPEC_TEXTS];
    struct buffer key = {0};
    spec_texts(&spec, texts);
    for (size_t i = 0; i < SPEC_TEXTS; i++)
        buffer_format(&key, "%s\n", *texts[i] ? *texts[i] : "");
    buffer_format(&key, "%d", spec.sudo);
    return key.bytes;
}

static void copy_spec(const struct host_spec *given, struct host_spec *spec)
{
    const char **texts[SPEC_TEXTS];
    *spec = *given;
    spec_texts(spec, texts);
    for (size_t i = 0; i < SPEC_TEXTS; i++)
        if (*texts[i])
            *texts[i] = copy_text(*texts[i]);
}

static void free_text(const char *text)
{
    if (text)
        explicit_bzero((char *)(uintptr_t)text, strlen(text)); /* one of them is a password */
    free((char *)(uintptr_t)text);
}

static bool is_port(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);
    return *text && !*end && strspn(text, "0123456789") == strlen(text) && port > 0 && port < 65536;
}

/* No shell and no option of ssh may be meant, and no terminal be steered: names also come from the cluster. */
static bool is_name(const char *text)
{
    char *harmless = copy_text(text);
    utf8_disarm(harmless, strlen(harmless));
    bool good =
        *text && *text != '-' && !strpbrk(text, " \t\r\n\"'\\`$;&<>|(){}") && strcmp(text, harmless) == 0;
    free(harmless);
    return good;
}

static bool check_spec(const struct host_spec *spec, struct failure *failure)
{
    const char *texts[] = {spec->name, spec->address, spec->user};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i] && !is_name(texts[i]))
            return failure_set(failure, "usage", "host", "\"%s\" is no name of a host or user", texts[i]);
    if (spec->port && !is_port(spec->port))
        return failure_set(failure, "usage", "host", "\"%s\" is no port", spec->port);
    if (spec->transport && strcmp(spec->transport, "ssh") != 0 && strcmp(spec->transport, "openssh") != 0)
        return failure_set(failure, "usage", "host", "transport is \"ssh\" or \"openssh\", not \"%s\"",
                           spec->transport);
    return true;
}

bool host_spec_parse(const char *text, struct host_spec *spec, struct buffer *space, struct failure *failure)
{
    const char *at = strrchr(text, '@'), *host = at ? at + 1 : text, *end = NULL;
    const char *port = NULL;
    size_t length = strlen(host);
    if (*host == '[' && (end = strchr(host, ']'))) {
        host++;
        length = (size_t)(end - host);
        port = end[1] == ':' ? end + 2 : NULL;
    } else if ((end = strchr(host, ':')) && !strchr(end + 1, ':')) {
        length = (size_t)(end - host);
        port = end + 1;
    }
    buffer_clear(space);
    buffer_append(space, text, at ? (size_t)(at - text) : 0);
    buffer_append(space, "", 1);
    size_t host_at = space->length;
    buffer_append(space, host, length);
    buffer_append(space, "", 1);
    size_t port_at = space->length;
    buffer_append_text(space, port ? port : "");
    spec->name = space->bytes + host_at;
    if (at)
        spec->user = space->bytes;
    if (port)
        spec->port = space->bytes + port_at;
    return check_spec(spec, failure);
}

/* ---- the registry ---- */

static struct hosts *hosts_of(struct runtime *runtime)
{
    if (!runtime->hosts) {
        runtime->hosts = allocate_zeroed(1, sizeof *runtime->hosts);
        runtime->hosts->runtime = runtime;
    }
    return runtime->hosts;
}

/* Another port may be another machine. */
static char *shown_name(const struct host_spec *spec)
{
    struct buffer name = {0};
    bool plain = !spec->port || strcmp(spec->port, "22") == 0;
    buffer_format(&name,
                  plain                     ? "%s"
                  : strchr(spec->name, ':') ? "[%s]:%s"
                                            : "%s:%s",
                  spec->name, spec->port);
    return name.bytes;
}

/* Who logs in does not matter: what is predicted for one user, and the facts, are the machine's. The line end: no name of the
 * operator's own machine has one. */
static char *machine_of(const struct host_spec *spec, const char *name)
{
    struct buffer machine = {0};
    buffer_format(&machine, "%s\n%s", name, spec->address ? spec->address : "");
    return machine.bytes;
}

static struct remote_host *remote_new(struct hosts *hosts, const struct host_spec *spec, char *key)
{
    struct remote_host *remote = allocate_zeroed(1, sizeof *remote);
    const char *transport = spec->transport ? spec->transport : hosts->runtime->options.transport;
    remote->hosts = hosts;
    remote->key = key;
    copy_spec(spec, &remote->spec);
    remote->sudo = (struct remote_sudo){remote->spec.sudo, remote->spec.sudo_password};
    remote->host.operations =
        transport && strcmp(transport, "openssh") == 0 ? &host_openssh_operations : &host_ssh_operations;
    remote->host.runtime = hosts->runtime;
    remote->host.name = shown_name(spec);
    remote->host.machine = machine_of(spec, remote->host.name);
    remote->host.state = copy_text("");
    remote->next = hosts->first;
    hosts->first = remote;
    return remote;
}

struct host *hosts_get(struct runtime *runtime, const struct host_spec *given, struct failure *failure)
{
    struct host_spec spec = *given;
    if (runtime->options.sudo && !spec.sudo_password && !spec.sudo_source)
        spec.sudo_password = runtime->options.sudo_password;
    spec.sudo = spec.sudo || runtime->options.sudo;
    if (!check_spec(&spec, failure))
        return NULL;
    struct hosts *hosts = hosts_of(runtime);
    char *key = key_of(&spec);
    for (struct remote_host *each = hosts->first; each; each = each->next)
        if (strcmp(each->key, key) == 0) {
            free_text(key);
            return &each->host;
        }
    return &remote_new(hosts, &spec, key)->host;
}

void hosts_unlock(struct runtime *runtime)
{
    host_unlock(runtime->local);
    for (struct remote_host *remote = runtime->hosts ? runtime->hosts->first : NULL; remote;
         remote = remote->next)
        host_unlock(&remote->host);
}

void hosts_close(struct runtime *runtime)
{
    if (!runtime->hosts)
        return;
    for (struct remote_host *remote = runtime->hosts->first; remote; remote = remote->next) {
        forward_close_all(&remote->forwards);
        host_ssh_close(remote);
        host_openssh_close(remote);
    }
}

void hosts_free(struct runtime *runtime)
{
    struct hosts *hosts = runtime->hosts;
    struct remote_host *remote;
    struct ssh_server *server;
    if (!hosts)
        return;
    while ((remote = hosts->first)) {
        const char **texts[SPEC_TEXTS];
        hosts->first = remote->next;
        spec_texts(&remote->spec, texts);
        for (size_t i = 0; i < SPEC_TEXTS; i++)
            free_text(*texts[i]);
        free_text(remote->key);
        ssh_settings_free(&remote->settings);
        host_openssh_free(remote);
        free(remote->retired);
        host_free(&remote->host); /* the whole of it: it is the first member */
    }
    while ((server = hosts->servers)) {
        hosts->servers = server->next;
        free(server->name);
        free(server);
    }
    ssh_passphrases_free(&hosts->passphrases);
    free(hosts);
    runtime->hosts = NULL;
}

/* ---- what is known of one ---- */

bool host_server_address(const struct host *host, const char *name, struct buffer *address)
{
    if (host == host->runtime->local)
        return false;
    size_t length = strlen(name);
    const char *line = ((const struct remote_host *)host)->spec.addresses;
    for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, name, length) == 0 && line[length] == '=') {
            buffer_append(address, line + length + 1, strcspn(line + length + 1, "\n"));
            return true;
        }
    return false;
}

struct look_up {
    const char *name;
    bool found;
};

static void look_up(void *argument)
{
    struct look_up *look = argument;
    struct addrinfo *addresses = NULL;
    look->found = getaddrinfo(look->name, NULL, NULL, &addresses) == 0;
    if (look->found)
        freeaddrinfo(addresses);
}

/* A node of the cluster whose name the operator's machine does not know. */
static bool needs_fallback(const struct remote_host *remote, const struct ssh_settings *settings)
{
    const struct host_spec *spec = &remote->spec;
    if (!spec->fallback || spec->address || settings->jump || settings->proxy_command ||
        strcmp(settings->address, spec->name) != 0)
        return false;
    struct look_up look = {.name = spec->name};
    return fiber_offload(remote->host.runtime, look_up, &look) && !look.found;
}

bool remote_settings(struct remote_host *remote, struct failure *failure)
{
    if (remote->has_settings)
        return true;
    struct ssh_settings settings;
    struct host_spec spec = remote->spec;
    bool done = ssh_settings_read(remote->host.runtime, &spec, &settings, failure);
    if (done && needs_fallback(remote, &settings)) {
        spec.address = spec.fallback;
        ssh_settings_free(&settings);
        done = ssh_settings_read(remote->host.runtime, &spec, &settings, failure);
    }
    if (done && !remote->has_settings) { /* another fiber may have asked at the same time */
        remote->settings = settings;
        remote->has_settings = true;
    } else {
        ssh_settings_free(&settings);
    }
    return done;
}

struct door *remote_door(struct remote_host *remote)
{
    struct buffer name = {0};
    struct ssh_server *server = remote->hosts->servers;
    buffer_format(&name, "%s:%d", remote->settings.address, remote->settings.port);
    while (server && strcmp(server->name, buffer_text(&name)) != 0)
        server = server->next;
    if (!server) {
        server = allocate_zeroed(1, sizeof *server);
        server->name = copy_text(buffer_text(&name));
        server->next = remote->hosts->servers;
        remote->hosts->servers = server;
    }
    buffer_free(&name);
    return &server->door;
}

static bool has_certificate(const struct ssh_settings *settings)
{
    bool found = settings->certificates.count > 0;
    for (size_t i = 0; i < settings->identities.count && !found; i++) {
        struct buffer path = {0};
        buffer_format(&path, "%s-cert.pub", settings->identities.items[i]);
        found = access(buffer_text(&path), R_OK) == 0;
        buffer_free(&path);
    }
    return found;
}

const char *remote_needs_openssh(struct remote_host *remote)
{
    const struct ssh_settings *settings = &remote->settings;
    struct ssh_known_keys keys = {0};
    struct failure ignored;
    const char *why = NULL;
    if (settings->proxy_command)
        return "a ProxyCommand";
    if (settings->revoked)
        return "RevokedHostKeys";
    if (settings->smartcard)
        return "a PKCS11Provider";
    if (settings->public_key && has_certificate(settings))
        return "a user certificate";
    if (ssh_known_keys_read(remote->host.runtime, settings, &keys, &ignored) &&
        !ssh_known_keys_have(&keys, SSH_KEY_HOST, "ssh-ed25519") &&
        !ssh_known_keys_have(&keys, SSH_KEY_HOST, "ecdsa-sha2-nistp256") &&
        !ssh_known_keys_have(&keys, SSH_KEY_HOST, "ecdsa-sha2-nistp384") &&
        !ssh_known_keys_have(&keys, SSH_KEY_HOST, "ecdsa-sha2-nistp521")) {
        if (ssh_known_keys_have(&keys, SSH_KEY_AUTHORITY, NULL))
            why = "a host certificate";
        else if (ssh_known_keys_have(&keys, SSH_KEY_HOST, "ssh-rsa") && !ssh_knows_rsa())
            why = "an RSA host key";
    }
    ssh_known_keys_free(&keys);
    return why;
}

void remote_use_openssh(struct remote_host *remote, const char *why)
{
    struct runtime *runtime = remote->host.runtime;
    remote->host.operations = &host_openssh_operations;
    report_progress(fiber_thread(runtime->current), "%s: through the ssh program, because of %s",
                    remote->host.name, why);
}

void remote_accept(void *owner, struct forward *forward, uv_stream_t *stream)
{
    struct remote_host *remote = owner;
    if (remote->host.operations == &host_ssh_operations)
        host_ssh_accept(remote, forward, stream);
    else
        host_openssh_accept(remote, forward, stream);
}

/* "a,user@b:22,c": the last one, and those before it as its own way. As for ssh, what was said of this host (its key, its known
 * hosts) holds for none of those. */
static bool jump_of(struct remote_host *remote, struct remote_host **jump, struct failure *failure)
{
    const char *list = remote->settings.jump;
    struct buffer space = {0};
    *jump = NULL;
    if (!list)
        return true;
    char *before = copy_text(list), *comma = strrchr(before, ',');
    const char *last = comma ? list + (comma - before) + 1 : list;
    struct host_spec spec = {0};
    if (comma) {
        *comma = '\0';
        spec.jump = before;
    }
    if (strncmp(last, "ssh://", 6) == 0)
        last += 6;
    bool done = host_spec_parse(last, &spec, &space, failure);
    bool sudo = remote->host.runtime->options.sudo;
    remote->host.runtime->options.sudo = false; /* nothing is run there */
    *jump = done ? (struct remote_host *)hosts_get(remote->host.runtime, &spec, failure) : NULL;
    remote->host.runtime->options.sudo = sudo;
    buffer_free(&space);
    free(before);
    return *jump != NULL;
}

/* On the way from the first host to the one that is asked for; the nearest jump host comes first. */
struct hop {
    struct remote_host *remote;
    const struct hop *before;
    unsigned number;
};

#define HOPS_MOST 16

static bool refuse_circle(const struct hop *last, const struct remote_host *again, struct failure *failure)
{
    struct buffer chain = {0};
    const char *names[HOPS_MOST + 1];
    size_t count = 0;
    for (const struct hop *hop = last; hop; hop = hop->before)
        names[count++] = hop->remote->host.name;
    while (count)
        buffer_format(&chain, "%s -> ", names[--count]);
    buffer_append_text(&chain, again->host.name);
    failure_set(failure, "usage", "ProxyJump", "the way to a jump host leads back to it: %s",
                buffer_text(&chain));
    failure_hint(failure, "correct ProxyJump in the SSH configuration; ssh -G %s shows it", again->host.name);
    buffer_free(&chain);
    return false;
}

/* Each would wait for the other's connection, for ever. */
static bool check_way(const struct hop *before, struct remote_host *remote, struct failure *failure)
{
    struct hop hop = {remote, before, before ? before->number + 1 : 0};
    struct remote_host *jump;
    for (const struct hop *passed = before; passed; passed = passed->before)
        if (passed->remote == remote)
            return refuse_circle(before, remote, failure);
    if (hop.number == HOPS_MOST)
        return failure_set(failure, "usage", "ProxyJump", "more than %d jump hosts in a row", HOPS_MOST);
    if (!remote_settings(remote, failure) || !jump_of(remote, &jump, failure))
        return false;
    return !jump || check_way(&hop, jump, failure);
}

bool remote_jump_host(struct remote_host *remote, struct remote_host **jump, struct failure *failure)
{
    *jump = NULL;
    return check_way(NULL, remote, failure) && jump_of(remote, jump, failure);
}

/* ---- sudo ---- */

bool remote_take_sudo(struct remote_host *remote, struct failure *failure)
{
    struct runtime *runtime = remote->host.runtime;
    struct secret_source source;
    size_t length = 0;
    if (!remote->sudo.wanted || remote->sudo.password || !remote->spec.sudo_source)
        return true;
    lua_State *L = fiber_thread(runtime->current);
    secret_source_parse(runtime, remote->spec.sudo_source, &source);
    if (source.place == SECRET_PROMPT)
        source.name = "sudo password: ";
    else if (source.place == SECRET_INPUT)
        source.name = "sudo password";
    if (!secret_source_push(L, &source, failure)) {
        if (strcmp(failure->kind, "cancelled") != 0)
            snprintf(failure->op, sizeof failure->op, "sudo password");
        return false;
    }
    const char *password = secret_bytes(L, -1, &length);
    bool fits = strlen(password) == length && !strchr(password, '\n');
    if (fits)
        remote->sudo.password = remote->spec.sudo_password = copy_text(password);
    else
        failure_set(failure, "invalid", "sudo", "the password of %s is not one line",
                    remote->spec.sudo_source);
    lua_pop(L, 1);
    return fits;
}

/* ---- who and where one is there ---- */

const char *const remote_probe_argv[] = {
    "sh", "-c", "printf '%s\\n' \"$PPID\" \"$(id -u)\" \"$HOME\" \"$XDG_STATE_HOME\"", NULL};

bool remote_take_probe(struct remote_host *remote, const char *output, struct failure *failure)
{
    char *copy = copy_text(output), *lines[4] = {0}, *at = copy;
    for (size_t i = 0; i < 4 && at; i++) {
        lines[i] = at;
        at = strchr(at, '\n');
        if (at)
            *at++ = '\0';
    }
    bool done = lines[3] != NULL;
    if (done) {
        struct buffer state = {0};
        if (lines[3][0] == '/')
            buffer_append_text(&state, lines[3]);
        else if (strcmp(lines[1], "0") == 0)
            buffer_append_text(&state, "/var/lib");
        else
            buffer_format(&state, "%s/.local/state", lines[2]);
        free(remote->host.state);
        remote->host.state = state.bytes;
        if (!remote->host.pid)
            remote->host.pid = strtol(lines[0], NULL, 10);
        remote->probed = true;
    }
    free(copy);
    return done || failure_set(failure, "failed", "connect", "%s: its shell does not answer as a shell does",
                               remote->host.name);
}
