/* Versions of packages: Debian's order (deb-version(7)) and what `version=` of apt.installed may ask. Pure functions. */
#ifndef MOONBOOK_APT_VERSION_H
#define MOONBOOK_APT_VERSION_H

#include <stdbool.h>
#include <stddef.h>

/* Negative, 0 or positive, as dpkg --compare-versions orders them. */
int apt_version_compare(const char *a, const char *b);

/* Is it a version, a glob or constraints: "1.9.7-1", "1.9.*", ">= 1.8, < 1.10"? False and a message otherwise. */
bool apt_wanted_valid(const char *wanted, char *error, size_t error_size);

/* Does the version fulfil what is wanted (a valid one)? A version or bound without a revision is compared
 * without the revision of the other: "1.9.7" and "<= 1.9.7" hold for 1.9.7-1. */
bool apt_version_satisfies(const char *version, const char *wanted);

#endif
