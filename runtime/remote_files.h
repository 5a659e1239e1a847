/* Files on another machine, by commands of coreutils run there through the host's own `run`: so they work over every
 * transport and with sudo. One round trip each. They behave as those of host_local.c, which is their measure. */
#ifndef MOONBOOK_REMOTE_FILES_H
#define MOONBOOK_REMOTE_FILES_H

#include "host.h"

bool remote_read(struct host *host, const char *path, size_t limit, struct buffer *content,
                 struct failure *failure);
bool remote_write(struct host *host, const struct host_file *file, struct failure *failure);
bool remote_stat(struct host *host, const char *const *paths, size_t count, struct host_stat *stats,
                 struct failure *failure);
bool remote_look(struct host *host, const char *path, struct host_stat *stat, struct buffer *content,
                 bool *read, struct failure *failure);
bool remote_make_directory(struct host *host, const char *path, const struct host_attributes *attributes,
                           struct failure *failure);
bool remote_set_attributes(struct host *host, const char *path, const struct host_stat *found,
                           const struct host_attributes *attributes, struct failure *failure);

#endif
