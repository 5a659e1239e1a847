/* apt's source files: the classic .list lines and deb822 .sources stanzas (sources.list(5)). Pure functions. */
#ifndef MOONBOOK_APT_SOURCE_H
#define MOONBOOK_APT_SOURCE_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>

/* One repository, as apt.repository writes it. The lists end with NULL; `architectures` may be NULL. */
struct apt_source {
    const char *uri;
    const char *suite;
    const char *const *components; /* none for a flat repository, whose suite ends in a slash */
    const char *const *architectures;
    const char *keyring;
};

/* Is the suite a path of its own ("./"), without dists/ and components? */
bool apt_suite_is_flat(const char *suite);

/* Appends the deb822 text: `comment` (lines, each beginning with #, or "") and one stanza. */
void apt_source_write(const struct apt_source *source, const char *comment, struct buffer *out);

/* Appends the comment lines at the top of a source file. */
void apt_source_comment(const char *text, struct buffer *out);

/* Takes every entry for `uri` out of a source file (`deb822`: stanzas, else lines). False when there is none;
 * else `rest` gets the text without them and `empty` says that no entry is left. */
bool apt_source_take_out(const char *text, bool deb822, const char *uri, struct buffer *rest, bool *empty);

/* Appends what apt's lists folder calls the file behind a URL: "host_debian_dists_bookworm_InRelease". */
void apt_list_name(const char *url, struct buffer *out);

/* Appends the URL of a file of the suite: "InRelease", "Release". */
void apt_release_url(const char *uri, const char *suite, const char *file, struct buffer *out);

/* The names of folders in an index page ("<a href="bookworm/">"), each appended with a blank before it. */
void apt_suites_of_index(const char *page, struct buffer *out);

#endif
