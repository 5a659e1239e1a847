/* Package lists: are they new enough, and bringing them up to date. */
#ifndef MOONBOOK_APT_UPDATE_H
#define MOONBOOK_APT_UPDATE_H

#include "apt.h"

/* [-0, +0, v] Are the lists of that suite there, and newer than `since_us` on the host's clock? */
bool apt_lists_current(struct apt *apt, const char *uri, const char *suite, int64_t since_us);

/* [-0, +0, v] Updates the lists of one source file, as a change of its own; raises where that fails. True when it was made
 * or predicted. */
bool apt_update_source(struct apt *apt, const char *uri, const char *suite, const char *sources_path);

#endif
