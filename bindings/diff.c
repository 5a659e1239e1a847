/* Unified differences by the diff program, which reads both texts from memory files. */
#include "diff.h"

#include "process.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DIFF_TIMEOUT_MS 10000

bool diff_worthwhile(const struct buffer *text)
{
    return text->length < DIFF_LIMIT &&
           (text->length == 0 || memchr(text->bytes, '\0', text->length) == NULL);
}

/* A file that lives in memory only and holds the text; -1 where there can be none. */
static int memory_file(const struct buffer *text)
{
    int descriptor = memfd_create("moonbook-diff", MFD_CLOEXEC);
    if (descriptor < 0)
        return -1;
    for (size_t done = 0; done < text->length;) {
        ssize_t written = write(descriptor, text->bytes + done, text->length - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            close(descriptor);
            return -1;
        }
        done += (size_t)written;
    }
    return descriptor;
}

bool diff_unified(struct runtime *runtime, const char *path, const struct buffer *before,
                  const struct buffer *after, struct buffer *out)
{
    int descriptors[2] = {memory_file(before), memory_file(after)};
    struct buffer labels[2] = {{0}, {0}};
    buffer_format(&labels[0], "%s (before)", path);
    buffer_format(&labels[1], "%s (after)", path);
    const char *argv[] = {
        "diff",      "-u",        "--label", buffer_text(&labels[0]), "--label", buffer_text(&labels[1]),
        "/dev/fd/3", "/dev/fd/4", NULL};
    struct process_options options = {
        .argv = argv, .descriptors = descriptors, .descriptor_count = 2, .timeout_ms = DIFF_TIMEOUT_MS};
    struct process_result result = {0};
    struct failure failure;
    bool made = false;
    if (descriptors[0] >= 0 && descriptors[1] >= 0) {
        /* diff ends with 1 when the texts differ. */
        made = process_run(runtime, &options, &result, &failure) && result.status == 1;
        if (made)
            buffer_append(out, buffer_text(&result.output), result.output.length);
        process_result_free(&result);
    }
    for (int i = 0; i < 2; i++) {
        buffer_free(&labels[i]);
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    }
    return made;
}
