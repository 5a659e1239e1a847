/* apt.repository: key, source file, lists; and no other entry for the same repository.
 *
 * All is looked at and checked before anything is touched. The repository and its key are read from the operator's
 * machine, and only when there is something to do. */
#include "apt.h"
#include "apt_fetch.h"
#include "apt_source.h"
#include "apt_update.h"
#include "diff.h"
#include "digest.h"
#include "file_state.h"
#include "json.h"
#include "openpgp.h"
#include "overlay.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OP           "apt.repository"
#define KEYS_MOST    64
#define SIGNERS_MOST 16

/* A file that this call wants otherwise. */
struct source_file {
    struct file_state state; /* as it is, or is predicted to be */
    struct buffer *content;  /* of it; empty where there is none */
    bool readable;           /* the content is known */
    struct buffer *wanted;   /* what it shall hold; NULL = it shall go */
    bool keeps_mode;         /* not ours: it stays as private as it is */
    bool needed;
};

struct repository {
    struct apt *apt;
    const char *name, *uri, *suite, *key, *comment;
    const char *shown; /* the URI without user and password */
    const char *keyring_path, *sources_path;
    const char *const *components;
    const char *const *architectures;
    const char *const *fingerprints; /* in the form of openpgp_key; none = any */
    struct source_file keyring, sources;
    struct source_file *old; /* other files with entries for the URI */
    size_t old_count;
    bool update; /* the lists are missing or older than the files */
    uint64_t signers[SIGNERS_MOST];
    size_t signer_count;
};

/* ---- options ---- */

static bool is_plain_name(const char *name)
{
    return *name && *name != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(name);
}

/* One word of a source file: what holds a blank would become something else there. */
static bool is_word(const char *text)
{
    return *text && *text != '#' && !strpbrk(text, " \t\r\n\v\f");
}

/* [-0, +0, v] */
static void check_words(const char *const *words, lua_State *L, const char *what)
{
    for (; words && *words; words++)
        if (!is_word(*words))
            failure_error(L, "usage", OP, "%s has \"%s\", which is not one word", what, *words);
}

/* [-0, +0, v] */
static void read_fingerprints(struct repository *repository, const char **given)
{
    struct apt *apt = repository->apt;
    size_t count = 0;
    while (given && given[count])
        count++;
    const char **fingerprints = scratch_zeroed(apt->scratch, count + 1, sizeof *fingerprints);
    for (size_t i = 0; i < count; i++) {
        char *normal = scratch_zeroed(apt->scratch, OPENPGP_FINGERPRINT_SIZE, 1);
        if (!openpgp_fingerprint(given[i], normal))
            failure_error(apt->L, "usage", OP,
                          "\"%s\" is no fingerprint: 40 (or 64) hexadecimal digits are wanted", given[i]);
        fingerprints[i] = normal;
    }
    repository->fingerprints = fingerprints;
}

/* [-0, +0, v] Lines of the comment, each made one of the source file. */
static const char *read_comment(struct apt *apt, const char *comment)
{
    struct buffer text = {0};
    while (comment && *comment) {
        size_t length = strcspn(comment, "\n");
        buffer_format(&text, "%s%.*s\n", *comment == '#' ? "" : "# ", (int)length, comment);
        comment += length + (comment[length] == '\n');
    }
    return scratch_take(apt->scratch, &text);
}

/* [-0, +0, v] */
static void check_options(struct repository *repository)
{
    lua_State *L = repository->apt->L;
    size_t length = strlen(repository->keyring_path);
    if (!is_plain_name(repository->name))
        failure_error(L, "usage", OP,
                      "\"%s\" is no name of a source file: letters, digits and ._- are allowed",
                      repository->name);
    if (!repository->uri || !strchr(repository->uri, ':') || !is_word(repository->uri))
        failure_error(L, "usage", OP, "uri= is missing or no URI: \"https://...\"");
    if (repository->suite && !is_word(repository->suite))
        failure_error(L, "usage", OP, "suite = \"%s\" is not one word", repository->suite);
    if (repository->keyring_path[0] != '/' || length < 5 || !is_word(repository->keyring_path) ||
        strcmp(repository->keyring_path + length - 4, ".gpg") != 0)
        failure_error(L, "usage", OP, "keyring = \"%s\" must be an absolute path that ends in .gpg",
                      repository->keyring_path);
    if (repository->key && strncmp(repository->key, "http://", 7) == 0 && !repository->fingerprints[0])
        failure_error(L, "usage", OP, "a key over http proves nothing: give fingerprints=, or an https URL");
    check_words(repository->components, L, "components");
    check_words(repository->architectures, L, "architectures");
}

/* [-0, +?, v] The lists stay on the stack, as their vectors live there. */
static void read_options(struct apt *apt, struct repository *repository)
{
    static const char *const names[] = {"uri",          "suite",   "components", "architectures", "key",
                                        "fingerprints", "keyring", "comment",    "lock_timeout",  NULL};
    static const char *const only_main[] = {"main", NULL};
    lua_State *L = apt->L;
    argument_table(L, 1, OP, names);
    *repository = (struct repository){.apt = apt};
    repository->name = argument_subject(L, 1, OP, "name");
    repository->uri = argument_string(L, 1, OP, "uri", NULL);
    repository->shown = apt_shown_uri(apt, repository->uri);
    repository->suite = argument_string(L, 1, OP, "suite", NULL);
    repository->key = argument_string(L, 1, OP, "key", NULL);
    apt_shown_uri(apt, repository->key); /* a password in it is a secret, too */
    repository->comment = read_comment(apt, argument_string(L, 1, OP, "comment", NULL));
    repository->keyring_path = argument_string(
        L, 1, OP, "keyring",
        scratch_format(apt->scratch, "/usr/share/keyrings/%s-archive-keyring.gpg", repository->name));
    repository->sources_path =
        scratch_format(apt->scratch, "/etc/apt/sources.list.d/%s.sources", repository->name);
    const char **components = argument_list(L, 1, OP, "components");
    repository->components = components ? (const char *const *)components : only_main;
    repository->architectures = (const char *const *)argument_list(L, 1, OP, "architectures");
    read_fingerprints(repository, argument_list(L, 1, OP, "fingerprints"));
    apt->lock_timeout_ms = (uint64_t)argument_duration(L, 1, OP, "lock_timeout", APT_LOCK_TIMEOUT_MS);
    check_options(repository);
}

/* ---- looking ---- */

/* The architecture and the code name of the host, then the source files in which the repository's host occurs. */
static const char survey_script[] =
    "dpkg --print-architecture || exit 1\n"
    "codename=$(. /etc/os-release; echo \"$VERSION_CODENAME\"); echo \"$codename\"\n"
    "grep -slFi -- \"$1\" /etc/apt/sources.list /etc/apt/sources.list.d/*.list "
    "/etc/apt/sources.list.d/*.sources\n"
    "exit 0\n";

/* "apt.example.org" of the URI; the whole URI where there is none. Every user of the host sees grep's arguments: the URI
 * that may be shown has no password. */
static const char *host_part(struct apt *apt, const char *shown)
{
    const char *marker = strstr(shown, "://");
    if (!marker || marker[3] == '/')
        return shown;
    return scratch_copy(apt->scratch, marker + 3, strcspn(marker + 3, "/"));
}

/* [-0, +0, v] Looks at one file and its content, as it is or is predicted. */
static void look_at(struct apt *apt, const char *path, struct source_file *file)
{
    file->content = scratch_buffer(apt->scratch);
    file->readable = true;
    if (!file_state_get(apt->L, apt->host, path, true, &file->state, &apt->failure))
        apt_raise(apt);
    if (!file->state.stat.exists)
        return;
    if (file->state.stat.type != 'f') {
        failure_set(&apt->failure, "failed", OP, "%s is no file", path);
        apt_raise(apt);
    }
    enum file_read read = file_state_read(apt->L, apt->host, &file->state, file->content, &apt->failure);
    if (read == FILE_FAILED)
        apt_raise(apt);
    file->readable = read == FILE_READ;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct candidates {
    struct scratch *scratch;
    const char **paths;
    size_t count, room;
};

static void add_candidate(struct candidates *candidates, const char *path)
{
    if (candidates->count == candidates->room) {
        const char **old = candidates->paths;
        candidates->room = candidates->room * 2 + 16;
        candidates->paths = scratch_zeroed(candidates->scratch, candidates->room, sizeof *old);
        if (old)
            memcpy(candidates->paths, old, candidates->count * sizeof *old);
    }
    candidates->paths[candidates->count++] = path;
}

static bool visit_sources(lua_State *L, const char *path, void *context)
{
    (void)L;
    struct candidates *candidates = context;
    if (strncmp(path, "/etc/apt/sources.list", 21) == 0)
        add_candidate(candidates, scratch_text(candidates->scratch, path));
    return false;
}

/* [-0, +0, m] Paths to look at: those that grep found, and those that earlier steps would have written; sorted, so that
 * a prediction and a real run agree on the order. */
static size_t candidate_paths(struct apt *apt, char *found, const char ***paths)
{
    struct candidates candidates = {.scratch = apt->scratch};
    for (char *rest = found, *line; (line = strsep(&rest, "\n"));)
        if (*line)
            add_candidate(&candidates, line);
    overlay_each(apt->L, apt->host, "file", visit_sources, &candidates);
    if (candidates.count)
        qsort(candidates.paths, candidates.count, sizeof *candidates.paths, by_text);
    *paths = candidates.paths;
    return candidates.count;
}

static bool has_ending(const char *path, const char *ending)
{
    size_t length = strlen(path), end = strlen(ending);
    return length > end && strcmp(path + length - end, ending) == 0;
}

/* [-0, +0, v] An entry for the URI in another file: that one shall go, or be without it. */
static void consider_old(struct repository *repository, const char *path)
{
    struct apt *apt = repository->apt;
    struct source_file *file = &repository->old[repository->old_count];
    bool deb822 = has_ending(path, ".sources"), empty;
    if (strcmp(path, repository->sources_path) == 0 || (!deb822 && !has_ending(path, ".list")))
        return;
    look_at(apt, path, file);
    if (!file->state.stat.exists || !file->readable)
        return;
    struct buffer *rest = scratch_buffer(apt->scratch);
    if (!apt_source_take_out(buffer_text(file->content), deb822, repository->uri, rest, &empty))
        return;
    bool goes = empty && strcmp(path, "/etc/apt/sources.list") != 0;
    file->wanted = goes ? NULL : rest;
    file->needed = file->keeps_mode = true;
    if (goes) /* the entry itself, also where it is a link */
        snprintf(file->state.path, sizeof file->state.path, "%s", path);
    repository->old_count++;
}

/* [-0, +0, v] */
static void survey(struct repository *repository)
{
    struct apt *apt = repository->apt;
    const char *argv[] = {"sh", "-c", survey_script, "sh", host_part(apt, repository->shown), NULL};
    char *answer = apt_ask(apt, argv, 0);
    if (!answer)
        apt_raise(apt);
    const char *architecture = strsep(&answer, "\n");
    const char *codename = answer ? strsep(&answer, "\n") : "";
    if (!repository->architectures) {
        const char **one = scratch_zeroed(apt->scratch, 2, sizeof *one);
        one[0] = architecture;
        repository->architectures = one;
    }
    if (!repository->suite && !*codename)
        failure_error(apt->L, "usage", OP, "suite= is missing, and the host does not say its code name");
    if (!repository->suite)
        repository->suite = codename;
    const char **paths;
    size_t count = candidate_paths(apt, answer ? answer : scratch_text(apt->scratch, ""), &paths);
    repository->old = scratch_zeroed(apt->scratch, count + 1, sizeof *repository->old);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(paths[i], paths[i - 1]) != 0)
            consider_old(repository, paths[i]);
}

/* ---- the source file ---- */

/* [-0, +0, v] A comment that is there stays: it says who added the repository, not who looked at it last. */
static void settle_sources(struct repository *repository)
{
    struct apt *apt = repository->apt;
    struct source_file *file = &repository->sources;
    look_at(apt, repository->sources_path, file);
    struct buffer comment = {0};
    apt_source_comment(buffer_text(file->content), &comment);
    if (!comment.length)
        buffer_append_text(&comment, repository->comment);
    struct apt_source source = {
        .uri = repository->uri,
        .suite = repository->suite,
        .components = repository->components,
        .architectures = repository->architectures,
        .keyring = repository->keyring_path,
    };
    file->wanted = scratch_buffer(apt->scratch);
    apt_source_write(&source, buffer_text(&comment), file->wanted);
    buffer_free(&comment);
    const struct host_stat *stat = &file->state.stat;
    file->needed = !stat->exists || !file->readable ||
                   strcmp(buffer_text(file->content), buffer_text(file->wanted)) != 0 ||
                   (file->state.mode_known && (stat->mode & 0444) != 0444);
}

/* ---- the key ---- */

static bool is_wanted(const struct repository *repository, const char *fingerprint)
{
    if (!repository->fingerprints[0])
        return true;
    for (const char *const *wanted = repository->fingerprints; *wanted; wanted++)
        if (strcmp(*wanted, fingerprint) == 0)
            return true;
    return false;
}

/* Did one of the keys make the repository's signature? Unknown signers prove nothing. */
static bool signs(const struct repository *repository, const struct openpgp_key *keys, size_t count)
{
    for (size_t i = 0; i < repository->signer_count; i++)
        for (size_t j = 0; j < count; j++)
            if (repository->signers[i] == keys[j].id)
                return true;
    return repository->signer_count == 0;
}

/* Is the keyring that is there good: holds a wanted key that has not expired, one that signs the repository, and none
 * that nobody wants? */
static bool keyring_serves(const struct repository *repository)
{
    struct openpgp_key keys[KEYS_MOST];
    size_t count;
    char error[128];
    const struct source_file *file = &repository->keyring;
    if (!file->state.stat.exists || !file->readable ||
        !openpgp_keys(file->content->bytes, file->content->length, keys, KEYS_MOST, &count, error,
                      sizeof error) ||
        !signs(repository, keys, count))
        return false;
    int64_t now = wall_clock_us() / 1000000;
    bool serves = false;
    for (size_t i = 0; i < count; i++) {
        if (keys[i].primary && !is_wanted(repository, keys[i].fingerprint))
            return false;
        serves = serves || (keys[i].primary && (!keys[i].expires || keys[i].expires > now));
    }
    return serves;
}

/* [-0, +0, v] The key as it was given: from its URL, its file or the text itself. */
static struct buffer *obtain_key(struct repository *repository)
{
    struct apt *apt = repository->apt;
    const char *key = repository->key;
    struct buffer *bytes = scratch_buffer(apt->scratch);
    if (!key)
        failure_advise(apt->L, "usage", OP, "say where it is: a URL, a path on this machine or its text",
                       "key= is missing, and %s %s", repository->keyring_path,
                       repository->keyring.state.stat.exists ? "does not serve" : "does not exist");
    if (strncmp(key, "https://", 8) == 0 || strncmp(key, "http://", 7) == 0) {
        int status = 0;
        if (!apt_fetch(apt, key, &status, &bytes))
            apt_raise(apt);
        if (status != 200)
            failure_advise(apt->L, "http", OP, "check the URL that key= gives", "the key %s: HTTP status %d",
                           apt_shown_uri(apt, key), status);
    } else if (strchr(key, '\n') || openpgp_is_armored(key, strlen(key))) {
        buffer_append_text(bytes, key);
    } else if (!host_read(apt->runtime->local, key, bytes, &apt->failure)) {
        apt_raise(apt);
    }
    return bytes;
}

static const char *list_fingerprints(struct apt *apt, const struct openpgp_key *keys, size_t count)
{
    struct buffer text = {0};
    for (size_t i = 0; i < count; i++)
        if (keys[i].primary)
            buffer_format(&text, "%s%s", text.length ? ", " : "", keys[i].fingerprint);
    return scratch_take(apt->scratch, &text);
}

static const char *list_wanted(const struct repository *repository)
{
    struct buffer text = {0};
    for (const char *const *wanted = repository->fingerprints; *wanted; wanted++)
        buffer_format(&text, "%s%s", text.length ? ", " : "", *wanted);
    return scratch_take(repository->apt->scratch, &text);
}

/* [-0, +0, v] Refuses a key that is not one of those wanted, or not the one that signs. */
static void check_key(struct repository *repository, const struct openpgp_key *keys, size_t count)
{
    struct apt *apt = repository->apt;
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found = found || (keys[i].primary && is_wanted(repository, keys[i].fingerprint));
    if (!found) {
        failure_set(&apt->failure, "invalid", OP, "the key's fingerprint is %s, wanted is one of %s",
                    list_fingerprints(apt, keys, count), list_wanted(repository));
        failure_hint(&apt->failure, "compare with what the vendor publishes before you change fingerprints=");
        apt_raise(apt);
    }
    if (!signs(repository, keys, count)) {
        failure_set(&apt->failure, "invalid", OP, "%s %s is signed by the key with id %016llX, not by %s",
                    repository->shown, repository->suite, (unsigned long long)repository->signers[0],
                    list_fingerprints(apt, keys, count));
        failure_hint(&apt->failure, "see which key the vendor signs with now, and give that one");
        apt_raise(apt);
    }
}

/* [-0, +0, v] What the keyring shall hold: of the key as it was given, the wanted keys and no others. */
static struct buffer *wanted_keyring(struct repository *repository)
{
    struct apt *apt = repository->apt;
    struct openpgp_key keys[KEYS_MOST];
    size_t count = 0;
    char error[128];
    struct buffer *given = obtain_key(repository), *binary = scratch_buffer(apt->scratch);
    if (!openpgp_dearmour(buffer_text(given), given->length, binary, error, sizeof error) ||
        !openpgp_keys(buffer_text(binary), binary->length, keys, KEYS_MOST, &count, error, sizeof error))
        failure_error(apt->L, "invalid", OP, "the key %.200s cannot be used: %s",
                      strchr(repository->key, '\n') ? "given as text" : apt_shown_uri(apt, repository->key),
                      error);
    check_key(repository, keys, count);
    if (!repository->fingerprints[0])
        return binary;
    struct buffer *selected = scratch_buffer(apt->scratch);
    openpgp_select(binary->bytes, binary->length, repository->fingerprints, selected);
    return selected;
}

/* [-0, +0, v] */
static void settle_keyring(struct repository *repository)
{
    struct source_file *file = &repository->keyring;
    bool readable_by_all = !file->state.mode_known || (file->state.stat.mode & 0444) == 0444;
    file->wanted = keyring_serves(repository) ? file->content : wanted_keyring(repository);
    file->needed = file->wanted != file->content || !readable_by_all;
}

/* ---- the repository itself ---- */

/* [-0, +0, v] */
static void refuse_suite(struct repository *repository, const char *url, int status)
{
    struct apt *apt = repository->apt;
    const char *known = apt_known_suites(apt, repository->uri);
    if (status == 403 && !*known) {
        report_warning(apt->L, "%s answers with status 403: whether it has the suite is not known",
                       apt_shown_uri(apt, url));
        return;
    }
    failure_set(&apt->failure, "not-found", OP, "%s has no suite %s (%s: status %d)", repository->shown,
                repository->suite, apt_shown_uri(apt, url), status);
    failure_hint(&apt->failure,
                 *known ? "it has:%s" : "look at the repository's page for the suites it has%s", known);
    apt_raise(apt);
}

/* [-0, +0, v] Does it have the suite, and who signs it? What cannot be reached from here the host may reach. */
static void check_suite(struct repository *repository)
{
    struct apt *apt = repository->apt;
    static const char *const files[] = {"InRelease", "Release"};
    int status = 0;
    const char *url = "";
    if (strncmp(repository->uri, "http://", 7) != 0 && strncmp(repository->uri, "https://", 8) != 0)
        return;
    for (size_t i = 0; i < 2; i++) {
        struct buffer text = {0}, *body;
        apt_release_url(repository->uri, repository->suite, files[i], &text);
        url = scratch_take(apt->scratch, &text);
        if (!apt_fetch(apt, url, &status, &body)) {
            if (strcmp(apt->failure.kind, "cancelled") == 0)
                apt_raise(apt);
            report_warning(apt->L, "the repository cannot be looked at from here, the host itself will: %s",
                           apt->failure.message);
            return;
        }
        if (status == 200) {
            repository->signer_count =
                openpgp_signers(buffer_text(body), body->length, repository->signers, SIGNERS_MOST);
            return;
        }
    }
    if (status == 404 || status == 403 || status == 410)
        refuse_suite(repository, url, status);
    else
        report_warning(apt->L, "%s answers with status %d", apt_shown_uri(apt, url), status);
}

/* ---- making it so ---- */

static const char *describe_file(struct apt *apt, const struct file_state *state,
                                 const struct buffer *content)
{
    char digest[DIGEST_SIZE];
    struct json_text json = {0};
    json_open_object(&json);
    json_key(&json, "type");
    json_string(&json, file_state_type(&state->stat));
    if (state->stat.exists) {
        if (state->mode_known) {
            json_key(&json, "mode");
            json_string(&json, scratch_format(apt->scratch, "%04o", (unsigned)state->stat.mode));
        }
        if (content && digest_sha256(buffer_text(content), content->length, digest)) {
            json_key(&json, "sha256");
            json_string(&json, digest);
        }
    }
    json_close_object(&json);
    return scratch_take(apt->scratch, &json.out);
}

static const char *describe_undo(struct apt *apt, const struct file_state *state)
{
    struct json_text json = {0};
    json_open_object(&json);
    json_key(&json, "op");
    json_string(&json, state->stat.exists ? "restore" : "remove");
    json_key(&json, "path");
    json_string(&json, state->path);
    json_close_object(&json);
    return scratch_take(apt->scratch, &json.out);
}

static bool make_file(struct apt *apt, const struct source_file *file)
{
    const char *path = file->state.path;
    if (!file->wanted) {
        const char *argv[] = {"rm", "-f", "--", path, NULL};
        struct host_command command = {.argv = argv};
        return host_check(apt->host, &command, NULL, &apt->failure);
    }
    char folder[PATH_MAX];
    file_parent(path, folder);
    struct host_stat stat;
    if (!host_stat_one(apt->host, folder, &stat, &apt->failure))
        return false;
    const char *argv[] = {"install", "-d", "-m", "0755", "--", folder, NULL};
    struct host_command command = {.argv = argv};
    if (!stat.exists && !host_check(apt->host, &command, NULL, &apt->failure))
        return false;
    struct host_file wanted = {.path = path,
                               .bytes = buffer_text(file->wanted),
                               .length = file->wanted->length,
                               .mode = file->keeps_mode ? -1 : 0644};
    return host_write(apt->host, &wanted, &apt->failure);
}

/* What the file is afterwards. */
static struct file_state *state_after(struct apt *apt, const struct source_file *file)
{
    struct file_state *after = scratch_zeroed(apt->scratch, 1, sizeof *after);
    *after = file->state;
    after->stat.exists = file->wanted != NULL;
    after->stat.type = file->wanted ? 'f' : after->stat.type;
    after->stat.size = file->wanted ? file->wanted->length : 0;
    if (!file->keeps_mode) {
        after->stat.mode = 0644;
        after->mode_known = true;
    }
    after->content = FILE_CONTENT_PREDICTED;
    return after;
}

/* [-0, +0, v] One file, through the gate. True when it was changed or predicted. */
static bool change_file(struct apt *apt, const struct source_file *file, struct change *change)
{
    lua_State *L = apt->L;
    struct file_state *after = state_after(apt, file);
    bool shows = file_state_is_public(&file->state) && file_state_is_public(after) &&
                 diff_worthwhile(file->content) && (!file->wanted || diff_worthwhile(file->wanted));
    struct buffer *diff = scratch_buffer(apt->scratch), nothing = {0};
    if (shows)
        diff_unified(apt->runtime, file->state.path, file->content, file->wanted ? file->wanted : &nothing,
                     diff);
    *change = (struct change){
        .kind = OP,
        .target = file->state.path,
        .before = describe_file(apt, &file->state, file->readable ? file->content : NULL),
        .after = describe_file(apt, after, file->wanted),
        .undo = describe_undo(apt, &file->state),
        .diff = diff->length ? buffer_text(diff) : NULL,
        .keep = file->state.stat.exists ? file->state.path : NULL,
    };
    enum change_decision decision = change_begin(L, change);
    if (decision == CHANGE_APPLY && !make_file(apt, file)) {
        snprintf(apt->failure.op, sizeof apt->failure.op, "%.20s %.100s", OP, file->state.path);
        change_fail(L, change, &apt->failure);
    }
    if (decision == CHANGE_PREDICT)
        file_state_predict(L, apt->host, after, file->wanted);
    change_end(L, change);
    return decision != CHANGE_DECLINE;
}

/* [-0, +0, v] Are the lists there, and newer than the files? */
static bool lists_are_current(const struct repository *repository)
{
    const struct host_stat *keyring = &repository->keyring.state.stat,
                           *sources = &repository->sources.state.stat;
    int64_t newest = keyring->ctime_us > sources->ctime_us ? keyring->ctime_us : sources->ctime_us;
    return apt_lists_current(repository->apt, repository->uri, repository->suite, newest);
}

/* [-0, +0, v] Decides what is to be done. The host comes first: the network is asked only when something is, for whether
 * the repository has the suite and who signs it. The keyring comes last, as it has to have that signer. */
static void plan(struct repository *repository)
{
    settle_sources(repository);
    look_at(repository->apt, repository->keyring_path, &repository->keyring);
    repository->update =
        repository->sources.needed || !keyring_serves(repository) || !lists_are_current(repository);
    if (repository->update)
        check_suite(repository);
    settle_keyring(repository);
    repository->update = repository->update || repository->keyring.needed;
}

/* [-0, +1, v] Keyring, then what is in the way, then the source, then its lists. */
static int make_all(struct repository *repository)
{
    struct apt *apt = repository->apt;
    bool changed = false, declined = false;
    struct source_file *sources = &repository->sources;
    struct change change, keyring_change;
    if (repository->keyring.needed)
        changed = change_file(apt, &repository->keyring, &keyring_change);
    else
        change_unneeded(apt->L, OP, repository->keyring_path);
    declined = repository->keyring.needed && !changed;
    for (size_t i = 0; i < repository->old_count; i++)
        changed = change_file(apt, &repository->old[i], &change) || changed;
    const char *found = describe_file(apt, &sources->state, sources->readable ? sources->content : NULL);
    change = (struct change){.before = found, .after = found};
    if (sources->needed) {
        bool made = change_file(apt, sources, &change);
        changed = changed || made;
        declined = declined || !made;
    } else {
        change_unneeded(apt->L, OP, repository->sources_path);
    }
    if (!repository->update)
        change_unneeded(apt->L, "apt.updated", repository->shown);
    else if (!declined) /* without the key or the source it could only fail */
        changed =
            apt_update_source(apt, repository->uri, repository->suite, repository->sources_path) || changed;
    return change_push_result(apt->L, &change, changed);
}

int apt_repository(lua_State *L)
{
    struct apt apt;
    struct repository repository;
    apt_open(L, OP, &apt);
    read_options(&apt, &repository);
    survey(&repository);
    plan(&repository);
    return make_all(&repository);
}
