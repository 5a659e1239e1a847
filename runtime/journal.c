/* The journal: one folder a run, one JSON object a line, appended and synced. */
#include "journal.h"

#include "fiber.h"
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct journal {
    struct runtime *runtime;
    char run[64];
    int file;
    unsigned changes;
};

void journal_folder(struct runtime *runtime, struct buffer *path)
{
    buffer_format(path, "%s/moonbook/runs", runtime->local->state);
}

/* Makes a folder and those above it, 0700 each where they are new. */
static bool make_folders(const char *path)
{
    char partial[4096];
    snprintf(partial, sizeof partial, "%s", path);
    for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(partial, 0700) != 0 && errno != EEXIST)
            return false;
        *slash = '/';
    }
    return mkdir(partial, 0700) == 0;
}

/* The names are to last as long as what is written under them. */
static void sync_folder(const char *path)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return;
    fsync(folder); /* where the file system cannot, nothing better is to be had */
    close(folder);
}

static bool open_run(struct journal *journal, const char *runs)
{
    char path[4096];
    for (int attempt = 0; attempt < 16; attempt++) {
        struct timespec now;
        struct tm local;
        clock_gettime(CLOCK_REALTIME, &now);
        localtime_r(&now.tv_sec, &local);
        char when[32];
        strftime(when, sizeof when, "%Y%m%d-%H%M%S", &local);
        /* The part of the second in 65,536ths, so that names sort as the runs began. */
        unsigned part = (unsigned)((uint64_t)now.tv_nsec * 65536 / 1000000000);
        snprintf(journal->run, sizeof journal->run, "%s-%04x", when, part);
        snprintf(path, sizeof path, "%s/%s", runs, journal->run);
        if (make_folders(path))
            break;
        if (errno != EEXIST)
            return false;
    }
    size_t folder = strlen(path);
    strncat(path, "/journal.jsonl", sizeof path - folder - 1);
    journal->file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    path[folder] = '\0';
    if (journal->file >= 0) {
        sync_folder(path);
        sync_folder(runs);
    }
    return journal->file >= 0;
}

struct journal *journal_open(struct runtime *runtime, struct failure *failure)
{
    struct buffer runs = {0};
    journal_folder(runtime, &runs);
    struct journal *journal = allocate_zeroed(1, sizeof *journal);
    journal->runtime = runtime;
    journal->file = -1;
    if (!open_run(journal, buffer_text(&runs))) {
        int error = errno;
        failure_errno(failure, error, "journal", "cannot be made in %s", buffer_text(&runs));
        if (error != ENOSPC)
            failure_hint(failure, "make the folder writable, or set XDG_STATE_HOME to one that is");
        free(journal);
        journal = NULL;
    }
    buffer_free(&runs);
    return journal;
}

void journal_close(struct journal *journal)
{
    if (!journal)
        return;
    close(journal->file);
    free(journal);
}

const char *journal_run(const struct journal *journal)
{
    return journal->run;
}

unsigned journal_next_change(struct journal *journal)
{
    return ++journal->changes;
}

struct sync_work {
    int file;
    int error;
};

static void sync_work(void *argument)
{
    struct sync_work *work = argument;
    if (fdatasync(work->file) != 0)
        work->error = errno;
}

/* Half a line, where the disk got full, would spoil the next line too. */
static void take_back(int file, size_t length)
{
    off_t end = length ? lseek(file, 0, SEEK_END) : 0;
    if (end < (off_t)length || ftruncate(file, end - (off_t)length) != 0)
        return; /* a reader has to live with it */
}

bool journal_write(struct journal *journal, const char *line, size_t length, bool sync,
                   struct failure *failure)
{
    struct buffer whole = {0};
    buffer_append(&whole, line, length);
    buffer_append(&whole, "\n", 1);
    size_t done = 0;
    while (done < whole.length) {
        ssize_t written = write(journal->file, whole.bytes + done, whole.length - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            int error = errno;
            take_back(journal->file, done);
            buffer_free(&whole);
            return failure_errno(failure, error, "journal", "run %s cannot be recorded", journal->run);
        }
        done += (size_t)written;
    }
    buffer_free(&whole);
    struct sync_work work = {.file = journal->file};
    if (sync && journal->runtime->current) {
        if (!fiber_offload(journal->runtime, sync_work, &work))
            return failure_set(failure, "failed", "journal", "cannot be synced here (inside __gc?)");
    } else if (sync) {
        sync_work(&work);
    }
    if (work.error)
        return failure_errno(failure, work.error, "journal", "run %s cannot be recorded for sure",
                             journal->run);
    return true;
}
