/* The local transport: the machine that the program runs on. Calls that may block go to the thread pool. */
#include "fiber.h"
#include "host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PARENT_MODE 0755 /* of a directory that is made on the way to another */

static bool local_run(struct host *host, const struct host_command *command, struct process_result *result,
                      struct failure *failure)
{
    struct process_options options = {
        .argv = command->argv,
        .environment = command->environment,
        .directory = command->directory,
        .input = command->input,
        .input_length = command->input_length,
        .timeout_ms = command->timeout_ms,
    };
    return process_run(host->runtime, &options, result, failure);
}

static struct process_stream *local_open(struct host *host, const struct host_command *command,
                                         struct failure *failure)
{
    struct process_options options = {
        .argv = command->argv,
        .environment = command->environment,
        .directory = command->directory,
        .input = command->input,
        .input_length = command->input_length,
    };
    return process_open(host->runtime, &options, failure);
}

/* ---- reading ---- */

/* O_NONBLOCK so that a FIFO without a writer does not hang; it means nothing for files. */
static bool local_read(struct host *host, const char *path, size_t limit, struct buffer *content,
                       struct failure *failure)
{
    (void)host;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0)
        return failure_errno(failure, errno, "read", "%s", path);
    char piece[16384];
    ssize_t length;
    size_t total = 0;
    while ((length = read(file, piece, sizeof piece)) > 0) {
        total += (size_t)length;
        if (total > limit)
            break;
        buffer_append(content, piece, (size_t)length);
    }
    int error = errno;
    close(file);
    explicit_bzero(piece, sizeof piece);
    if (length < 0)
        return failure_errno(failure, error, "read", "%s", path);
    if (total > limit)
        return failure_set(failure, "failed", "read", "%s has more than %zu MiB", path, limit >> 20);
    return true;
}

/* ---- stat ---- */

static void name_owner(uid_t uid, char *out, size_t size)
{
    char space[4096];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(uid, &entry, space, sizeof space, &found) == 0 && found)
        snprintf(out, size, "%s", found->pw_name);
    else
        snprintf(out, size, "%u", (unsigned)uid);
}

static void name_group(gid_t gid, char *out, size_t size)
{
    char space[16384];
    struct group entry, *found = NULL;
    if (getgrgid_r(gid, &entry, space, sizeof space, &found) == 0 && found)
        snprintf(out, size, "%s", found->gr_name);
    else
        snprintf(out, size, "%u", (unsigned)gid);
}

static char type_letter(mode_t mode)
{
    return S_ISREG(mode) ? 'f' : S_ISDIR(mode) ? 'd' : S_ISLNK(mode) ? 'l' : 'o';
}

static int64_t in_us(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

struct stat_work {
    const char *const *paths;
    size_t count;
    struct host_stat *stats;
    int error;
    size_t at; /* the path that failed */
};

static void name_identities(struct host_stat *into, const struct host_stat *before)
{
    /* Most paths of one call have one owner: a look-up that may go to a directory server is made once. */
    if (before && before->exists && before->uid == into->uid)
        memcpy(into->owner, before->owner, sizeof into->owner);
    else
        name_owner(into->uid, into->owner, sizeof into->owner);
    if (before && before->exists && before->gid == into->gid)
        memcpy(into->group, before->group, sizeof into->group);
    else
        name_group(into->gid, into->group, sizeof into->group);
}

static int stat_path(const char *path, struct host_stat *into, const struct host_stat *before)
{
    *into = (struct host_stat){0};
    struct stat found;
    if (lstat(path, &found) != 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
    into->exists = true;
    into->type = type_letter(found.st_mode);
    into->mode = found.st_mode & 07777;
    into->uid = found.st_uid;
    into->gid = found.st_gid;
    into->size = (uint64_t)found.st_size;
    into->inode = found.st_ino;
    into->device = found.st_dev;
    into->mtime_us = in_us(found.st_mtim);
    into->ctime_us = in_us(found.st_ctim);
    if (into->type == 'l') {
        ssize_t length = readlink(path, into->target, sizeof into->target - 1);
        if (length < 0)
            return errno;
    }
    name_identities(into, before);
    return 0;
}

static void stat_work(void *argument)
{
    struct stat_work *work = argument;
    for (size_t i = 0; i < work->count && !work->error; i++) {
        work->at = i;
        work->error = stat_path(work->paths[i], &work->stats[i], i ? &work->stats[i - 1] : NULL);
    }
}

static bool local_stat(struct host *host, const char *const *paths, size_t count, struct host_stat *stats,
                       struct failure *failure)
{
    struct stat_work work = {.paths = paths, .count = count, .stats = stats};
    if (!fiber_offload(host->runtime, stat_work, &work))
        return failure_set(failure, "failed", "stat", "%s: cannot wait here (inside __gc?)",
                           count ? paths[0] : "");
    if (work.error)
        return failure_errno(failure, work.error, "stat", "%s", paths[work.at]);
    return true;
}

/* ---- writing ---- */

struct write_work {
    const struct host *host;
    const struct host_file *file;
    char path[PATH_MAX];      /* symbolic links resolved */
    char temporary[PATH_MAX]; /* beside it */
    int error;
    const char *what; /* the call that failed */
};

static bool wrong(struct write_work *work, const char *what)
{
    work->error = errno;
    work->what = what;
    return false;
}

/* A link is kept: the file that it leads to is written, also when that one does not exist yet. */
static bool resolve(struct write_work *work)
{
    char current[PATH_MAX], target[PATH_MAX];
    snprintf(current, sizeof current, "%s", work->file->path);
    for (int depth = 0; depth < 40; depth++) {
        ssize_t length = readlink(current, target, sizeof target - 1);
        if (length < 0) {
            snprintf(work->path, sizeof work->path, "%s", current);
            return true;
        }
        target[length] = '\0';
        if (target[0] == '/') {
            snprintf(current, sizeof current, "%s", target);
        } else {
            char *slash = strrchr(current, '/');
            size_t folder = slash ? (size_t)(slash - current) + 1 : 0;
            if (folder + (size_t)length >= sizeof current) {
                errno = ENAMETOOLONG;
                return wrong(work, "follow the link");
            }
            memcpy(current + folder, target, (size_t)length + 1);
        }
    }
    errno = ELOOP;
    return wrong(work, "follow the link");
}

/* Names or numbers; what is NULL leaves the number as it is. What could not be found, or NULL. */
static const char *find_identity(const char *owner, const char *group, uid_t *uid, gid_t *gid)
{
    char space[16384], *end;
    errno = EINVAL;
    if (owner) {
        struct passwd entry, *found = NULL;
        getpwnam_r(owner, &entry, space, sizeof space, &found);
        *uid = found ? found->pw_uid : (uid_t)strtoul(owner, &end, 10);
        if (!found && (end == owner || *end))
            return "find the owner";
    }
    if (group) {
        struct group entry, *found = NULL;
        getgrnam_r(group, &entry, space, sizeof space, &found);
        *gid = found ? found->gr_gid : (gid_t)strtoul(group, &end, 10);
        if (!found && (end == group || *end))
            return "find the group";
    }
    return NULL;
}

/* Is this a file of that kind, for `name` or for a candidate of it, whose writer is no more? */
static bool is_abandoned(const char *entry, const char *name)
{
    const char *tag = ".moonbook-", *last = NULL, *rest = entry + strspn(entry, ".");
    size_t dots = strspn(name, "."), length = strlen(name + dots);
    if (rest == entry || strncmp(rest, name + dots, length) != 0 ||
        strncmp(rest + length, tag, strlen(tag)) != 0)
        return false;
    for (const char *at = rest; (at = strstr(at, tag)); at += strlen(tag))
        last = at + strlen(tag);
    char *end;
    long pid = strtol(last, &end, 10);
    return *end == '-' && pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/* What killed runs left of earlier attempts at this file or directory: such a run did not come to its rename, so it is
 * made again now, and only now. */
static void remove_abandoned(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%s", path);
    DIR *listing = opendir(dirname(folder));
    for (struct dirent *entry; listing && (entry = readdir(listing));)
        if (is_abandoned(entry->d_name, slash ? slash + 1 : path) &&
            unlinkat(dirfd(listing), entry->d_name, 0) != 0)
            unlinkat(dirfd(listing), entry->d_name, AT_REMOVEDIR);
    if (listing)
        closedir(listing);
}

static bool make_temporary(struct write_work *work, int *file)
{
    for (int attempt = 0; attempt < 16; attempt++) {
        struct buffer name = {0};
        host_temporary_name(work->host, work->path, &name);
        int length = snprintf(work->temporary, sizeof work->temporary, "%s", buffer_text(&name));
        buffer_free(&name);
        if (length >= (int)sizeof work->temporary) {
            errno = ENAMETOOLONG;
            return wrong(work, "make a file beside it");
        }
        *file = open(work->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (*file >= 0)
            return true;
        if (errno != EEXIST)
            break;
    }
    work->temporary[0] = '\0';
    return wrong(work, "make a file beside it");
}

static bool fill(struct write_work *work, int file, uid_t uid, gid_t gid, mode_t mode)
{
    /* Owner first, 0600 until then: at no moment may the wrong people read it. */
    if (fchown(file, uid, gid) != 0)
        return wrong(work, "set the owner");
    if (fchmod(file, mode) != 0)
        return wrong(work, "set the mode");
    const char *bytes = work->file->bytes;
    size_t left = work->file->length;
    while (left) {
        ssize_t written = write(file, bytes, left);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return wrong(work, "write");
        bytes += written;
        left -= (size_t)written;
    }
    return fsync(file) == 0 || wrong(work, "sync");
}

static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    int file = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0)
        return;
    fsync(file); /* some file systems cannot: the rename is done all the same */
    close(file);
}

static void write_work(void *argument)
{
    struct write_work *work = argument;
    if (!resolve(work))
        return;
    struct stat found;
    bool exists = lstat(work->path, &found) == 0;
    if (exists && !S_ISREG(found.st_mode)) {
        errno = S_ISDIR(found.st_mode) ? EISDIR : EINVAL;
        wrong(work, "write to what is not a file");
        return;
    }
    uid_t uid = exists ? found.st_uid : geteuid();
    gid_t gid = exists ? found.st_gid : getegid();
    mode_t mode = work->file->mode >= 0 ? (mode_t)work->file->mode : exists ? found.st_mode & 07777 : 0644;
    int file;
    remove_abandoned(work->path);
    const char *unknown = find_identity(work->file->owner, work->file->group, &uid, &gid);
    if (unknown) {
        errno = EINVAL;
        wrong(work, unknown);
        return;
    }
    if (!make_temporary(work, &file))
        return;
    bool done = fill(work, file, uid, gid, mode);
    if (close(file) != 0 && done)
        done = wrong(work, "close");
    if (done && rename(work->temporary, work->path) != 0)
        done = wrong(work, "rename");
    if (done)
        sync_folder(work->path);
    else
        unlink(work->temporary);
}

static bool local_write(struct host *host, const struct host_file *file, struct failure *failure)
{
    struct write_work *work = allocate_zeroed(1, sizeof *work); /* 8 KiB: too much for a fiber's frame */
    work->host = host;
    work->file = file;
    bool done = fiber_offload(host->runtime, write_work, work);
    if (!done)
        failure_set(failure, "failed", "write", "%s: cannot wait here (inside __gc?)", file->path);
    else if (work->error)
        done = failure_errno(failure, work->error, "write", "%s: cannot %s", file->path, work->what);
    free(work);
    return done;
}

/* ---- directories and attributes ---- */

struct attributes_work {
    const struct host *host;
    char path[PATH_MAX]; /* what is worked at, in the end what failed */
    const struct host_stat *found;
    const struct host_attributes *wanted;
    uid_t uid;
    gid_t gid;
    int error;
    const char *what; /* the call that failed */
};

static bool attributes_wrong(struct attributes_work *work, const char *what)
{
    work->error = errno;
    work->what = what;
    return false;
}

/* The owner first: changing it takes set-user-ID bits away. Through the descriptor, wherever its name leads by now; the
 * mode of one of O_PATH changes by its name in /proc alone. */
static bool change_attributes(struct attributes_work *work, int file, uid_t uid, gid_t gid, mode_t mode)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    if (fchownat(file, "", uid, gid, AT_EMPTY_PATH) != 0)
        return attributes_wrong(work, "set the owner");
    return mode == (mode_t)-1 || chmod(name, mode) == 0 || attributes_wrong(work, "set the mode");
}

static void set_attributes_work(void *argument)
{
    struct attributes_work *work = argument;
    struct stat now;
    int file = open(work->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0 || fstat(file, &now) != 0) {
        attributes_wrong(work, "look at it");
    } else if (now.st_ino != work->found->inode || now.st_dev != work->found->device ||
               S_ISLNK(now.st_mode)) {
        errno = ESTALE; /* another thing is there by now */
        attributes_wrong(work, "change it");
    } else {
        change_attributes(work, file, work->uid, work->gid, (mode_t)work->wanted->mode);
    }
    if (file >= 0)
        close(file);
}

/* As `mv -n`, also where the file system knows no such rename: then an empty directory may go. */
static bool move_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return true;
    return (errno == EINVAL || errno == ENOSYS) && rename(from, to) == 0;
}

/* Makes work->path beside and renames it. A parent gets 0755 and what a set-group-ID folder hands on. */
static bool make_one(struct attributes_work *work, bool is_parent)
{
    struct buffer temporary = {0};
    struct stat made = {0};
    int file = -1;
    remove_abandoned(work->path);
    host_temporary_name(work->host, work->path, &temporary);
    const char *name = buffer_text(&temporary);
    bool done = mkdir(name, 0700) == 0 || attributes_wrong(work, "make it"), is_made = done;
    if (done)
        file = open(name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (done && (file < 0 || fstat(file, &made) != 0))
        done = attributes_wrong(work, "look at it");
    if (done && is_parent)
        done = change_attributes(work, file, (uid_t)-1, (gid_t)-1, PARENT_MODE | (made.st_mode & S_ISGID));
    else if (done)
        done = change_attributes(work, file, work->uid, work->gid, (mode_t)work->wanted->mode);
    if (done && !move_new(name, work->path))
        done = attributes_wrong(work, "make it");
    if (is_made && !done)
        rmdir(name);
    if (file >= 0)
        close(file);
    buffer_free(&temporary);
    return done;
}

/* From the top, so that each has its parent. One that another program makes meanwhile will do. */
static void make_directory_work(void *argument)
{
    struct attributes_work *work = argument;
    struct stat found;
    bool fine = true;
    for (char *slash = strchr(work->path + 1, '/'); slash && fine; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (stat(work->path, &found) == 0) {
            errno = ENOTDIR;
            fine = S_ISDIR(found.st_mode) || attributes_wrong(work, "use it");
        } else if (errno == ENOENT) {
            fine = make_one(work, true) || work->error == EEXIST;
        } else {
            fine = attributes_wrong(work, "look at it");
        }
        if (fine)
            *slash = '/';
    }
    work->error = fine ? 0 : work->error;
    if (fine)
        make_one(work, false);
}

static bool work_at_attributes(struct host *host, void (*job)(void *argument), const char *path,
                               const struct host_stat *found, const struct host_attributes *wanted,
                               struct failure *failure)
{
    struct attributes_work *work = allocate_zeroed(1, sizeof *work); /* too much for a fiber's frame */
    work->host = host;
    snprintf(work->path, sizeof work->path, "%s", path);
    work->found = found;
    work->wanted = wanted;
    work->uid = (uid_t)-1;
    work->gid = (gid_t)-1;
    work->what = find_identity(wanted->owner, wanted->group, &work->uid, &work->gid);
    work->error = work->what ? EINVAL : 0;
    bool done = true;
    if (!work->error && !fiber_offload(host->runtime, job, work))
        done = failure_set(failure, "failed", "write", "%s: cannot wait here (inside __gc?)", path);
    else if (work->error == ESTALE)
        done = failure_set(failure, "failed", "write", "%s: another thing was put there meanwhile", path);
    else if (work->error)
        done = failure_errno(failure, work->error, "write", "%s: cannot %s", work->path, work->what);
    free(work);
    return done;
}

static bool local_make_directory(struct host *host, const char *path,
                                 const struct host_attributes *attributes, struct failure *failure)
{
    return work_at_attributes(host, make_directory_work, path, NULL, attributes, failure);
}

static bool local_set_attributes(struct host *host, const char *path, const struct host_stat *found,
                                 const struct host_attributes *attributes, struct failure *failure)
{
    return work_at_attributes(host, set_attributes_work, path, found, attributes, failure);
}

static const struct host_operations operations = {
    .transport = "local",
    .run = local_run,
    .read = local_read,
    .write = local_write,
    .stat = local_stat,
    .make_directory = local_make_directory,
    .set_attributes = local_set_attributes,
    .open = local_open,
};

/* Beside the journals: where XDG says, for root without it /var/lib. */
static char *state_folder(void)
{
    struct buffer path = {0};
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state && *state == '/')
        buffer_append_text(&path, state);
    else if (geteuid() == 0)
        buffer_append_text(&path, "/var/lib");
    else
        buffer_format(&path, "%s/.local/state", home ? home : "");
    return path.bytes;
}

struct host *host_local_new(struct runtime *runtime)
{
    char name[256] = "localhost";
    gethostname(name, sizeof name - 1);
    struct host *host = allocate_zeroed(1, sizeof *host);
    host->operations = &operations;
    host->runtime = runtime;
    host->name = copy_text(name);
    host->machine = copy_text(name);
    host->state = state_folder();
    host->pid = (long)getpid();
    return host;
}
