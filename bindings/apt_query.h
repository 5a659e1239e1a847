/* What dpkg-query and apt-cache print, read. Pure functions. */
#ifndef MOONBOOK_APT_QUERY_H
#define MOONBOOK_APT_QUERY_H

#include <stdbool.h>
#include <stddef.h>

/* The format for dpkg-query -W -f: a line a package. */
#define APT_QUERY_FORMAT "${Package}\\t${Architecture}\\t${db:Status-Abbrev}\\t${Version}\\n"

#define APT_VERSION_SIZE 128

/* What dpkg says of a package. */
struct apt_status {
    char wanted;  /* 'i' install, 'h' hold, 'r' remove, 'p' purge, 'u' unknown */
    char present; /* 'n' not, 'c' configuration files only, 'H' half installed, 'U' unpacked, 'F' half
                   * configured, 'W' and 't' triggers awaited and pending, 'i' installed */
    bool broken;  /* must be installed again */
    char version[APT_VERSION_SIZE];
};

/* Finds a package ("name" or "name:architecture") in the output. A package that dpkg does not know is 'n'. */
void apt_query_find(const char *output, const char *name, struct apt_status *status);

/* Is it installed, all of it? Awaited triggers are work left for another package, not for this one. */
bool apt_status_complete(const struct apt_status *status);

/* One version that apt knows of a package. */
struct apt_choice {
    char version[APT_VERSION_SIZE];
    int priority;      /* of the pin; negative: never to be installed */
    bool downloadable; /* a repository has it; else it is only what is installed */
};

/* Reads the part about `name` of `apt-cache policy`: the candidate ("" where there is none) and at most `room`
 * versions, newest first as apt prints them. Returns how many; 0 and an empty candidate for an unknown package. */
size_t apt_policy_find(const char *output, const char *name, char candidate[APT_VERSION_SIZE],
                       struct apt_choice *choices, size_t room);

#endif
