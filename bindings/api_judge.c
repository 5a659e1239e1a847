/* Which endpoint answers at a path: a request is judged by where it goes, not by the function that sends it. Vault's
 * generic read and write, and engines mounted where others usually are, could otherwise change something under
 * --check, or show a secret. */
#include "api.h"

#include <string.h>

/* How well a row's path fits: more literal segments are better, then fewer that the mount takes. */
struct fit {
    int literals;
    int mount;
};

static bool is_better(const struct fit *one, const struct fit *other)
{
    return one->literals != other->literals ? one->literals > other->literals : one->mount < other->mount;
}

/* Fits the rest of a path to the rest of a pattern; both begin with "/". Fills in the best fit. */
static bool fits(const struct api_product *product, const char *pattern, const char *path, struct fit *best)
{
    if (!*pattern || !*path) {
        *best = (struct fit){0};
        return !*pattern && !*path;
    }
    size_t wanted = strcspn(pattern + 1, "/"), length = strcspn(path + 1, "/");
    if (pattern[1] != '{') {
        if (wanted != length || strncmp(pattern + 1, path + 1, length) != 0 ||
            !fits(product, pattern + 1 + wanted, path + 1 + length, best))
            return false;
        best->literals++;
        return true;
    }
    char name[API_WORD] = "";
    if (wanted - 2 < sizeof name)
        memcpy(name, pattern + 2, wanted - 2);
    bool mount = strcmp(name, "mount") == 0;
    bool many = mount || api_has_word(product->slashes, name), found = false;
    int segments = 0;
    for (const char *end = path; *end && (many || segments < 1); segments++) {
        struct fit fit;
        end += 1 + strcspn(end + 1, "/");
        if (!fits(product, pattern + 1 + wanted, end, &fit))
            continue;
        fit.mount += mount ? segments + 1 : 0;
        if (!found || is_better(&fit, best))
            *best = fit;
        found = true;
    }
    return found;
}

/* The row that describes best what is at the path. Of equal ones it is the row that is called, then the one that
 * changes something. */
static const struct api_row *find_endpoint(const struct api_product *product, const struct api_row *called,
                                           const char *path)
{
    const struct api_row *found = NULL;
    struct fit best = {0}, fit;
    if (fits(product, called->path, path, &fit)) {
        found = called;
        best = fit;
    }
    for (const struct api_row *row = product->rows; row->group; row++) {
        if (strcmp(row->method, called->method) != 0 || !fits(product, row->path, path, &fit))
            continue;
        bool equal = found && found != called && !is_better(&best, &fit) && found->effect == API_READ &&
                     row->effect != API_READ;
        if (!found || is_better(&fit, &best) || equal) {
            found = row;
            best = fit;
        }
    }
    return found;
}

/* Is the endpoint at the same place in every Vault, or below auth/, where tables of methods agree? */
static bool is_certain(const struct api_row *row)
{
    return !row->mount[0] || strncmp(row->path, "/v1/auth/", 9) == 0;
}

void api_judge(const struct api_product *product, const struct api_row *row, const char *path,
               struct api_row *judged)
{
    bool generic = product->top && strcmp(row->group, product->top) == 0;
    *judged = *row;
    if (!generic && !row->mount[0])
        return;
    const struct api_row *there = find_endpoint(product, row, path);
    if (!there)
        return;
    if (there->effect != API_READ && row->effect == API_READ)
        judged->effect = there->effect;
    if (!generic || !is_certain(there))
        return;
    if (!there->mount[0])
        judged->effect = there->effect;
    judged->secret = there->secret;
    judged->answers = there->answers;
}

/* The row with this method and the very same path, wherever its engine is mounted. */
static const struct api_row *find_same_path(const struct api_product *product, const struct api_row *written,
                                            const char *method)
{
    for (const struct api_row *row = product->rows; row->group; row++)
        if (strcmp(row->method, method) == 0 && strcmp(row->path, written->path) == 0 &&
            strcmp(row->mount, written->mount) == 0)
            return row;
    return NULL;
}

const struct api_row *api_reader(const struct api_product *product, const struct api_row *written,
                                 const char *path)
{
    const struct api_row get = {.method = "GET", .path = "", .mount = ""};
    bool generic = product->top && strcmp(written->group, product->top) == 0;
    const struct api_row *reader =
        generic ? find_endpoint(product, &get, path) : find_same_path(product, written, "GET");
    bool one = reader && reader->effect == API_READ && strcmp(reader->returns, "json") == 0 &&
               strncmp(reader->name, "list_", 5) != 0;
    return one ? reader : NULL;
}
