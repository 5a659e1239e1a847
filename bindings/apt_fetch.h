/* Reading a repository from the operator's machine: keys, release files, the suites that it has. */
#ifndef MOONBOOK_APT_FETCH_H
#define MOONBOOK_APT_FETCH_H

#include "apt.h"

/* GETs the URL, following redirects (never from https to http). True when an answer came: `status`, and the body in the
 * scratch. Else apt->failure. */
bool apt_fetch(struct apt *apt, const char *url, int *status, struct buffer **body);

/* [-0, +0, m] The suites that the repository has, as far as one can find out: " bookworm bullseye", "" for unknown. */
const char *apt_known_suites(struct apt *apt, const char *uri);

#endif
