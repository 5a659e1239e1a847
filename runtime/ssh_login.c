/* Ways to log in, in the order in which ssh takes them: the agent's keys, key files, keyboard-interactive, password. */
#include "ssh_login.h"

#include "redact.h"
#include "ssh_agent.h"
#include "ssh_identity.h"
#include "terminal.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* libssh2 1.10 forgets a number of every ECDSA key that it reads: a leak, but not of ours. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_disable() ((void)0)
#define __lsan_enable()  ((void)0)
#endif

#define LOGIN_MS   30000  /* the host's part of it */
#define PERSON_MS  120000 /* a touch, a confirmation: no longer than sshd waits */
#define TRIES_MOST 3      /* of passphrases and passwords */

struct ssh_passphrase {
    char *path;
    char *text;
    struct ssh_passphrase *next;
};

struct login {
    struct runtime *runtime;
    struct ssh_session *session;
    LIBSSH2_SESSION *libssh2;
    const struct ssh_settings *settings;
    struct ssh_passphrases *passphrases;
    uint64_t until;
    bool stopped; /* timeout, cancelled, connection lost: `failure` tells */
    struct failure *failure;
    struct buffer *elsewhere;
    bool stays;          /* with libssh2, whatever ssh could do */
    struct buffer tried; /* for the message */
    struct ssh_identity *identities;
    struct ssh_agent *agent;
    const struct ssh_agent_key *signing; /* for the callback */
};

bool ssh_knows_rsa(void)
{
    return libssh2_version(0x010b00) != NULL;
}

static const char *login_name(const struct login *login)
{
    return login->settings->user;
}

static unsigned login_length(const struct login *login)
{
    return (unsigned)strlen(login->settings->user);
}

/* After each call of libssh2: is it to be made again? Waits before. */
static bool again(struct login *login, int code)
{
    if (code != LIBSSH2_ERROR_EAGAIN && code != LIBSSH2_ERROR_SOCKET_DISCONNECT &&
        code != LIBSSH2_ERROR_SOCKET_SEND)
        return false;
    login->stopped = ssh_session_is_dead(login->session, "log in", login->failure);
    if (login->stopped || code != LIBSSH2_ERROR_EAGAIN)
        return false;
    enum wait_outcome outcome = ssh_session_wait(login->session, login->until);
    if (outcome == WAIT_WOKEN)
        return true;
    login->stopped = true;
    fiber_wait_failure(login->failure, outcome, "log in", LOGIN_MS);
    return false;
}

static void note(struct buffer *list, const char *format, const char *first, const char *second)
{
    if (list->length)
        buffer_append_text(list, ", ");
    buffer_format(list, format, first, second);
}

/* A key that only the ssh program can use. */
static bool is_beyond(const char *type)
{
    return (strcmp(type, "ssh-rsa") == 0 && !ssh_knows_rsa()) || strncmp(type, "sk-", 3) == 0 ||
           strstr(type, "-cert-v01@");
}

/* ---- the agent ---- */

static int sign(LIBSSH2_SESSION *libssh2, unsigned char **signature, size_t *length,
                const unsigned char *bytes, size_t byte_count, void **abstract)
{
    struct login *login = *abstract;
    struct buffer made = {0};
    (void)libssh2;
    if (!login->agent) /* only to learn whether the host would take the key */
        return 1;
    /* Suspends this fiber inside libssh2: nobody else uses the session before it is established. */
    bool done = ssh_agent_sign(login->agent, login->signing, bytes, byte_count,
                               runtime_now(login->runtime) + PERSON_MS, &made, login->failure);
    if (done) {
        *signature = malloc(made.length);
        memcpy(*signature, made.bytes, made.length);
        *length = made.length;
    }
    buffer_wipe(&made);
    return done ? 0 : 1;
}

static bool try_blob(struct login *login, const unsigned char *blob, size_t length, int *code)
{
    void *abstract = login;
    do
        *code = libssh2_userauth_publickey(login->libssh2, login_name(login), blob, length, sign, &abstract);
    while (again(login, *code));
    return *code == 0;
}

static bool is_named(const struct login *login, const struct ssh_agent_key *key)
{
    for (size_t i = 0; i < login->settings->identities.count; i++) {
        const struct buffer *blob = &login->identities[i].blob;
        if (blob->length == key->length && memcmp(blob->bytes, key->blob, key->length) == 0)
            return true;
    }
    return false;
}

static bool try_agent_keys(struct login *login, const struct ssh_agent_key *keys, size_t count, bool named)
{
    for (size_t i = 0; i < count && !login->stopped; i++) {
        int code;
        if (is_named(login, &keys[i]) != named)
            continue;
        if (is_beyond(keys[i].type)) {
            note(login->elsewhere, "the agent's key %s (%s)", keys[i].comment, keys[i].type);
            continue;
        }
        login->signing = &keys[i];
        if (try_blob(login, keys[i].blob, keys[i].length, &code))
            return true;
        login->until = runtime_now(login->runtime) + LOGIN_MS; /* a person may have been asked */
        note(&login->tried, "the agent's key %s (%s)", keys[i].comment, keys[i].type);
    }
    return false;
}

/* Keys that the configuration names first, the others only where it does not forbid them. */
static bool try_agent(struct login *login)
{
    const struct ssh_agent_key *keys;
    struct failure ignored;
    size_t count = 0;
    if (!login->settings->agent || !login->settings->public_key)
        return false;
    login->agent = ssh_agent_open(login->runtime, login->settings->agent, &ignored);
    if (!login->agent)
        return false;
    bool done = ssh_agent_list(login->agent, &keys, &count, &ignored) &&
                (try_agent_keys(login, keys, count, true) ||
                 (!login->settings->identities_only && try_agent_keys(login, keys, count, false)));
    ssh_agent_close(login->agent);
    login->agent = NULL;
    return done;
}

/* ---- key files ---- */

struct key_work {
    struct login *login;
    const char *public, *path, *passphrase;
    int code;
};

static void key_work(void *argument)
{
    struct key_work *work = argument;
    __lsan_disable();
    work->code = libssh2_userauth_publickey_fromfile_ex(work->login->libssh2, login_name(work->login),
                                                        login_length(work->login), work->public, work->path,
                                                        work->passphrase);
    __lsan_enable();
}

/* With a passphrase it computes for a quarter of a second: in the thread pool, the session apart from the loop. */
static int try_file(struct login *login, const struct ssh_identity *identity, const char *passphrase)
{
    struct buffer public = {0};
    buffer_format(&public, "%s.pub", identity->path);
    struct key_work work = {login, identity->has_public ? buffer_text(&public) : NULL, identity->path,
                            passphrase, LIBSSH2_ERROR_FILE};
    do {
        if (!passphrase) {
            key_work(&work);
            continue;
        }
        ssh_session_set_apart(login->session, true);
        bool worked = fiber_offload(login->runtime, key_work, &work);
        ssh_session_set_apart(login->session, false);
        if (!worked) {
            login->stopped = true;
            work.code = LIBSSH2_ERROR_FILE;
            failure_set(login->failure, "failed", "log in", "%s cannot be opened now", identity->path);
        }
    } while (again(login, work.code));
    buffer_free(&public);
    return work.code;
}

static const char *last_error(const struct login *login)
{
    char *text = NULL;
    libssh2_session_last_error(login->libssh2, &text, NULL, 0);
    return text ? text : "";
}

/* Would the host take this key? Asked before a person is asked for its passphrase. */
static bool is_wanted(struct login *login, const struct ssh_identity *identity)
{
    int code;
    if (!identity->blob.length)
        return true;
    try_blob(login, (unsigned char *)identity->blob.bytes, identity->blob.length, &code);
    return code == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED && strstr(last_error(login), "allback");
}

void ssh_passphrases_free(struct ssh_passphrases *passphrases)
{
    struct ssh_passphrase *each;
    while ((each = passphrases->first)) {
        passphrases->first = each->next;
        explicit_bzero(each->text, strlen(each->text));
        free(each->text);
        free(each->path);
        free(each);
    }
}

static struct ssh_passphrase *find_passphrase(struct login *login, const char *path)
{
    struct ssh_passphrase *each = login->passphrases->first;
    while (each && strcmp(each->path, path) != 0)
        each = each->next;
    return each;
}

static bool ask(struct login *login, const char *question, struct buffer *answer)
{
    bool asked = terminal_ask(login->runtime, question, false, answer, login->failure);
    login->until = runtime_now(login->runtime) + LOGIN_MS;
    if (!asked)
        login->stopped = true;
    else
        redactor_add(login->runtime->redactor, buffer_text(answer), answer->length);
    return asked;
}

/* With the lock held: asks until the key opens. */
static int unlock(struct login *login, const struct ssh_identity *identity)
{
    int code = LIBSSH2_ERROR_FILE;
    for (int i = 0; i < TRIES_MOST && !login->stopped; i++) {
        struct buffer question = {0}, answer = {0};
        buffer_format(&question, "%sPassphrase for the key %s: ", i ? "It does not open it. " : "",
                      identity->path);
        bool asked = ask(login, buffer_text(&question), &answer);
        buffer_free(&question);
        code = asked ? try_file(login, identity, buffer_text(&answer)) : code;
        bool opened =
            asked && (code == 0 || (code != LIBSSH2_ERROR_FILE && !strstr(last_error(login), "allback")));
        if (opened) {
            struct ssh_passphrase *kept = allocate_zeroed(1, sizeof *kept);
            kept->path = copy_text(identity->path);
            kept->text = copy_text(buffer_text(&answer));
            kept->next = login->passphrases->first;
            login->passphrases->first = kept;
        }
        buffer_wipe(&answer);
        if (opened)
            return code;
    }
    return code;
}

/* An encrypted key: with the passphrase that was given for it in this run, else a person is asked. */
static int try_encrypted(struct login *login, const struct ssh_identity *identity)
{
    if (!find_passphrase(login, identity->path) && !terminal_present()) {
        note(&login->tried, "%s%s", identity->path, " (it has a passphrase, and there is no terminal)");
        return LIBSSH2_ERROR_FILE;
    }
    if (!is_wanted(login, identity) || login->stopped) {
        note(&login->tried, "%s%s", identity->path, "");
        return LIBSSH2_ERROR_AUTHENTICATION_FAILED;
    }
    enum wait_outcome outcome = fiber_lock(login->runtime, &login->passphrases->asking);
    if (outcome != WAIT_WOKEN) {
        login->stopped = true;
        fiber_wait_failure(login->failure, outcome, "log in", 0);
        return LIBSSH2_ERROR_FILE;
    }
    struct ssh_passphrase *known = find_passphrase(login, identity->path);
    int code = known ? 0 : unlock(login, identity);
    fiber_unlock(&login->passphrases->asking);
    if (known)
        code = try_file(login, identity, known->text);
    if (code)
        note(&login->tried, "%s%s", identity->path, "");
    return code;
}

static bool try_files(struct login *login)
{
    for (size_t i = 0; i < login->settings->identities.count && !login->stopped; i++) {
        const struct ssh_identity *identity = &login->identities[i];
        if (!identity->exists)
            continue;
        if (is_beyond(identity->type)) {
            note(login->elsewhere, "the key %s (%s)", identity->path, identity->type);
            continue;
        }
        int code = identity->encrypted ? try_encrypted(login, identity) : try_file(login, identity, NULL);
        if (code == 0)
            return true;
        if (identity->encrypted)
            continue;
        bool refused = code == LIBSSH2_ERROR_AUTHENTICATION_FAILED;
        struct buffer reason = {0};
        if (!refused)
            buffer_format(&reason, " (%s)", last_error(login));
        note(&login->tried, "%s%s", identity->path, buffer_text(&reason));
        buffer_free(&reason);
    }
    return false;
}

/* ---- a person ---- */

static void answer_prompts(const char *name, int name_length, const char *instruction, int instruction_length,
                           int count, const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompts,
                           LIBSSH2_USERAUTH_KBDINT_RESPONSE *responses, void **abstract)
{
    struct login *login = ssh_session_user(*abstract);
    (void)name;
    (void)name_length;
    for (int i = 0; i < count; i++) {
        struct buffer question = {0}, answer = {0};
        buffer_format(&question, "%s@%s: %.*s%s%.*s", login_name(login), login->settings->name,
                      instruction_length, instruction_length ? instruction : "",
                      instruction_length ? "\n" : "", (int)prompts[i].length, prompts[i].text);
        utf8_disarm(question.bytes, question.length); /* it is the host's word until that is let in */
        bool asked =
            !login->stopped && (prompts[i].echo ? terminal_ask(login->runtime, buffer_text(&question), true,
                                                               &answer, login->failure)
                                                : ask(login, buffer_text(&question), &answer));
        if (!asked)
            login->stopped = true;
        responses[i].text = strdup(asked ? buffer_text(&answer) : "");
        responses[i].length = (unsigned)(asked ? answer.length : 0);
        buffer_free(&question);
        buffer_wipe(&answer);
    }
    login->until = runtime_now(login->runtime) + LOGIN_MS;
}

static bool try_keyboard(struct login *login)
{
    int code = LIBSSH2_ERROR_AUTHENTICATION_FAILED;
    ssh_session_set_user(login->session, login);
    for (int i = 0; i < TRIES_MOST && code == LIBSSH2_ERROR_AUTHENTICATION_FAILED && !login->stopped; i++)
        do
            code = libssh2_userauth_keyboard_interactive_ex(login->libssh2, login_name(login),
                                                            login_length(login), answer_prompts);
        while (again(login, code));
    ssh_session_set_user(login->session, NULL);
    if (code)
        note(&login->tried, "%s%s", "keyboard-interactive", "");
    return code == 0;
}

static bool try_password(struct login *login)
{
    int code = LIBSSH2_ERROR_AUTHENTICATION_FAILED;
    for (int i = 0; i < TRIES_MOST && code == LIBSSH2_ERROR_AUTHENTICATION_FAILED && !login->stopped; i++) {
        struct buffer question = {0}, answer = {0};
        buffer_format(&question, "%s%s@%s's password: ", i ? "Refused. " : "", login_name(login),
                      login->settings->name);
        if (ask(login, buffer_text(&question), &answer))
            do
                code = libssh2_userauth_password_ex(login->libssh2, login_name(login), login_length(login),
                                                    buffer_text(&answer), (unsigned)answer.length, NULL);
            while (again(login, code));
        buffer_free(&question);
        buffer_wipe(&answer);
    }
    if (code)
        note(&login->tried, "%s%s", "password", "");
    return code == 0;
}

/* ---- all of them ---- */

/* Kerberos tickets of this user: then ssh may get in. */
static bool has_ticket(void)
{
    char path[64];
    const char *cache = getenv("KRB5CCNAME");
    snprintf(path, sizeof path, "/tmp/krb5cc_%u", (unsigned)getuid());
    return (cache && *cache) || access(path, R_OK) == 0;
}

/* What the host takes now: after a key that is only the first of several things it wants, another list than before. */
static char *list_methods(struct login *login)
{
    const char *list;
    do
        list = libssh2_userauth_list(login->libssh2, login_name(login), login_length(login));
    while (!list && again(login, libssh2_session_last_errno(login->libssh2)));
    return list ? copy_text(list) : NULL;
}

static bool asks_person(const struct login *login, const char *methods)
{
    return (login->settings->keyboard && strstr(methods, "keyboard-interactive")) ||
           (login->settings->password && strstr(methods, "password"));
}

static bool ask_person(struct login *login, const char *methods)
{
    const struct ssh_settings *settings = login->settings;
    if (settings->keyboard && strstr(methods, "keyboard-interactive") && try_keyboard(login))
        return true;
    return !login->stopped && settings->password && strstr(methods, "password") && try_password(login);
}

static bool try_all(struct login *login, char **methods)
{
    const struct ssh_settings *settings = login->settings;
    bool keys = settings->public_key && strstr(*methods, "publickey");
    if (keys && (try_agent(login) || try_files(login)))
        return true;
    if (settings->kerberos && strstr(*methods, "gssapi") && has_ticket())
        note(login->elsewhere, "%s%s", "Kerberos", "");
    if (login->stopped || (login->elsewhere->length && !login->stays))
        return false; /* ssh is tried before a person is asked */
    if (!terminal_present())
        return false;
    /* Asking for the list counts as a try: only where there is nothing else to do. */
    char *now = keys && !asks_person(login, *methods) ? list_methods(login) : NULL;
    if (now) {
        free(*methods);
        *methods = now;
    }
    return !login->stopped && ask_person(login, *methods);
}

static void describe_refusal(struct login *login, const char *methods)
{
    const struct ssh_settings *settings = login->settings;
    if (login->tried.length)
        failure_set(login->failure, "permission", "log in", "%s refuses %s: tried %s; it takes %s",
                    settings->name, settings->user, buffer_text(&login->tried), methods);
    else
        failure_set(login->failure, "permission", "log in",
                    "%s wants %s to log in by %s, and there is no key to try", settings->name, settings->user,
                    methods);
    failure_hint(login->failure,
                 "let ssh %s in first: a key in the agent or an IdentityFile, its public half in "
                 "authorized_keys there",
                 settings->name);
}

bool ssh_login(struct runtime *runtime, struct ssh_session *session, const struct ssh_settings *settings,
               struct ssh_passphrases *passphrases, bool stays, struct buffer *elsewhere,
               struct failure *failure)
{
    struct login login = {.runtime = runtime,
                          .session = session,
                          .libssh2 = ssh_session_libssh2(session),
                          .settings = settings,
                          .passphrases = passphrases,
                          .until = runtime_now(runtime) + LOGIN_MS,
                          .failure = failure,
                          .elsewhere = elsewhere,
                          .stays = stays};
    char *methods = list_methods(&login);
    if (!methods && libssh2_userauth_authenticated(login.libssh2))
        return true;
    if (login.stopped)
        return false;
    if (!methods)
        return failure_set(failure, "unreachable", "log in", "%s: %s", settings->name, last_error(&login));
    login.identities = allocate_zeroed(settings->identities.count + 1, sizeof *login.identities);
    for (size_t i = 0; i < settings->identities.count; i++)
        ssh_identity_look(runtime, settings->identities.items[i], &login.identities[i]);
    bool done = try_all(&login, &methods);
    if (!done && !login.stopped)
        describe_refusal(&login, methods);
    for (size_t i = 0; i < settings->identities.count; i++)
        ssh_identity_free(&login.identities[i]);
    free(login.identities);
    buffer_free(&login.tried);
    free(methods);
    return done;
}
