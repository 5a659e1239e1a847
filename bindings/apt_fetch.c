/* Reading a repository from the operator's machine. */
#include "apt_fetch.h"

#include "apt_source.h"
#include "fiber.h"
#include "transfer.h"

#include <string.h>
#include <strings.h>

#define REDIRECTS_MOST 5
#define FETCH_LIMIT    ((size_t)16 << 20)
#define PROBE_MS       5000

/* Where the answer sends us: the Location made whole. NULL when it does not, or where it must not go. */
static const char *redirection(struct apt *apt, const char *url, const struct transfer_answer *answer)
{
    static const int moved[] = {301, 302, 303, 307, 308};
    const char *location = transfer_answer_header(answer, "Location");
    bool is_moved = false;
    for (size_t i = 0; i < sizeof moved / sizeof *moved; i++)
        is_moved = is_moved || answer->status == moved[i];
    if (!is_moved || !location)
        return NULL;
    if (location[0] == '/' && location[1] != '/') {
        const char *host = strstr(url, "://");
        size_t authority = host ? (size_t)(host - url) + 3 + strcspn(host + 3, "/") : 0;
        return scratch_format(apt->scratch, "%.*s%s", (int)authority, url, location);
    }
    if (strncasecmp(location, "https://", 8) == 0 ||
        (strncasecmp(location, "http://", 7) == 0 && strncasecmp(url, "https://", 8) != 0))
        return scratch_text(apt->scratch, location);
    return NULL;
}

static bool get(struct apt *apt, const char *url, struct transfer_answer *answer)
{
    struct transfer_request request = TRANSFER_REQUEST;
    request.op = apt->op;
    request.method = "GET";
    request.url = url;
    request.reads = true;
    request.retries = 2;
    request.answer_limit = FETCH_LIMIT;
    return transfer_perform(apt->runtime, &request, answer, &apt->failure);
}

bool apt_fetch(struct apt *apt, const char *url, int *status, struct buffer **body)
{
    *body = scratch_buffer(apt->scratch);
    for (int hops = 0; hops <= REDIRECTS_MOST; hops++) {
        struct transfer_answer answer;
        const char *next = NULL;
        bool came = get(apt, url, &answer);
        if (came) {
            next = redirection(apt, url, &answer);
            *status = answer.status;
            buffer_clear(*body);
            buffer_append(*body, buffer_text(&answer.body), answer.body.length);
        }
        transfer_answer_free(&answer);
        if (!came || !next)
            return came;
        url = next;
    }
    return failure_set(&apt->failure, "invalid", apt->op, "%s: more than %d redirects",
                       apt_shown_uri(apt, url), REDIRECTS_MOST);
}

/* ---- suites ---- */

/* Code names in use, for repositories that do not show an index. */
static const char *const codenames[] = {"buster",   "bullseye", "bookworm", "trixie", "forky",
                                        "sid",      "bionic",   "focal",    "jammy",  "noble",
                                        "oracular", "plucky",   "stable",   NULL};
#define CODENAMES (sizeof codenames / sizeof *codenames - 1)

struct probe {
    const char *url;
    bool found;
};

/* Runs in a fiber of its own. */
static int ask_for_release(lua_State *L)
{
    struct probe *probe = lua_touserdata(L, 1);
    struct transfer_request request = TRANSFER_REQUEST;
    struct transfer_answer answer;
    struct failure ignored;
    request.op = "apt.repository";
    request.method = "HEAD";
    request.url = probe->url;
    request.reads = true;
    request.timeout_ms = PROBE_MS;
    probe->found = transfer_perform(runtime_of(L), &request, &answer, &ignored) && answer.status == 200;
    transfer_answer_free(&answer);
    return 0;
}

/* All at once: a repository far away would take long for one after the other. */
static void probe_codenames(struct apt *apt, const char *uri, struct buffer *found)
{
    lua_State *L = apt->L;
    struct probe *probes = scratch_zeroed(apt->scratch, CODENAMES, sizeof *probes);
    struct fiber *fibers[CODENAMES];
    for (size_t i = 0; i < CODENAMES; i++) {
        struct buffer url = {0};
        apt_release_url(uri, codenames[i], "Release", &url);
        probes[i].url = scratch_take(apt->scratch, &url);
        lua_pushcfunction(L, ask_for_release);
        lua_pushlightuserdata(L, &probes[i]);
        fibers[i] = fiber_start(L, 1);
    }
    for (size_t i = 0; i < CODENAMES; i++) {
        int top = lua_gettop(L), results;
        fiber_join(L, fibers[i], &results);
        lua_settop(L, top);
        if (probes[i].found)
            buffer_format(found, " %s", codenames[i]);
    }
}

const char *apt_known_suites(struct apt *apt, const char *uri)
{
    struct buffer *body, *found = scratch_buffer(apt->scratch);
    struct buffer url = {0};
    int status = 0;
    buffer_format(&url, "%s%sdists/", uri, apt_suite_is_flat(uri) ? "" : "/");
    if (apt_fetch(apt, scratch_take(apt->scratch, &url), &status, &body) && status == 200)
        apt_suites_of_index(buffer_text(body), found);
    if (!found->length)
        probe_codenames(apt, uri, found);
    return buffer_text(found);
}
