/* Bodies that are files of the operator's machine: a snapshot to a file and back, whatever its size. */
#include "api.h"

#include "change.h"
#include "fiber.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_TIMEOUT_MS ((uint64_t)30 * 60 * 1000)

static void set_timeout(struct exchange *exchange)
{
    if (!exchange->request.timeout_ms)
        exchange->request.timeout_ms = FILE_TIMEOUT_MS;
}

void api_body_from(lua_State *L, struct exchange *exchange, const char *path)
{
    struct failure failure;
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    exchange->owned_file = file; /* closed with it */
    if (file < 0 || fstat(file, &status) != 0) {
        failure_errno(&failure, errno, exchange->op, "cannot read %s", path);
        failure_raise(L, &failure);
    }
    if (!S_ISREG(status.st_mode))
        failure_error(L, "usage", exchange->op, "%s is no regular file", path);
    exchange->request.body_file = file;
    set_timeout(exchange);
}

struct sync_work {
    int file;
    int error;
};

static void sync_file(void *argument)
{
    struct sync_work *work = argument;
    work->error = fsync(work->file) == 0 ? 0 : errno;
}

/* Beside the file, so that the name is there only when the content is. */
static bool open_beside(struct exchange *exchange, const char *path, struct failure *failure)
{
    struct buffer name = {0};
    buffer_format(&name, "%s.XXXXXX", path);
    exchange->temporary = copy_text(buffer_text(&name));
    buffer_free(&name);
    exchange->owned_file = mkostemp(exchange->temporary, O_CLOEXEC); /* 0600: there are secrets in it */
    if (exchange->owned_file >= 0) {
        exchange->request.answer_file = exchange->owned_file;
        exchange->request.answer_limit = SIZE_MAX;
        return true;
    }
    int error = errno;
    free(exchange->temporary);
    exchange->temporary = NULL;
    return failure_errno(failure, error, exchange->op, "cannot write beside %s", path);
}

static bool put_in_place(struct runtime *runtime, struct exchange *exchange, const char *path,
                         struct failure *failure)
{
    struct sync_work work = {.file = exchange->owned_file};
    if (!fiber_offload(runtime, sync_file, &work))
        return fiber_wait_failure(failure, WAIT_REFUSED, exchange->op, 0);
    if (work.error || rename(exchange->temporary, path) != 0)
        return failure_errno(failure, work.error ? work.error : errno, exchange->op, "cannot write %s", path);
    free(exchange->temporary);
    exchange->temporary = NULL;
    return true;
}

/* Asks and writes; false with a failure. */
static bool fetch(lua_State *L, const struct api_client *client, const struct api_row *row,
                  struct exchange *exchange, const char *path, struct failure *failure)
{
    set_timeout(exchange);
    if (!open_beside(exchange, path, failure))
        return false;
    exchange->request.reads = true;
    if (!exchange_perform(L, exchange, failure)) {
        api_explain_unreachable(client, failure);
        return false;
    }
    if (exchange->answer.status >= 300) {
        api_explain(L, client, row, exchange, failure);
        return false;
    }
    if (lseek(exchange->owned_file, 0, SEEK_CUR) == 0) {
        failure_set(failure, "invalid", exchange->op, "the answer is empty: %s was not written", path);
        failure_hint(failure, "%s", api_hint_foreign(client, exchange));
        return false;
    }
    return put_in_place(runtime_of(L), exchange, path, failure);
}

bool api_answer_to(lua_State *L, const struct api_client *client, const struct api_row *row,
                   struct exchange *exchange, const char *op, const char *path)
{
    struct failure failure;
    struct change change = {.kind = op, .target = path};
    enum change_decision decision = change_begin(L, &change);
    if (decision == CHANGE_APPLY && !fetch(L, client, row, exchange, path, &failure))
        change_fail(L, &change, &failure);
    change_end(L, &change);
    return decision == CHANGE_APPLY;
}
