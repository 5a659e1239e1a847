/* What the state words about packages share: what is there, what shall change, and ending changes that one apt-get
 * makes together. */
#ifndef MOONBOOK_APT_PACKAGE_H
#define MOONBOOK_APT_PACKAGE_H

#include "apt.h"
#include "apt_query.h"

struct apt_package {
    const char *name;
    struct apt_status status; /* as dpkg says, or as it is predicted */
    bool predicted;           /* the status is what an earlier step would have made */
    bool version_unknown;     /* ... and nobody can say which version that would be */
    bool needed;              /* something has to be done about it */
    const char *target;       /* the version it gets, NULL when it goes or nobody can say */
    struct change change;
    enum change_decision decision;
    bool begun;
    const char *error; /* what the change came to, NULL = well */
};

struct apt_packages {
    struct apt *apt;
    struct apt_package *items;
    size_t count;
};

/* [-0, +0, v] Looks at all of them, in one question to dpkg, and at what was predicted. */
void apt_packages_look(struct apt *apt, const char *const *names, struct apt_packages *packages);

/* The same again, without the overlay and without raising: false and apt->failure. */
bool apt_packages_look_again(struct apt_packages *packages);

/* Is it there as far as this call can see? */
bool apt_package_present(const struct apt_package *package);

/* [-0, +0, v] Begins the changes of all that are needed; those begun are ended as failed before it raises. True when
 * one of them is to be made. */
bool apt_packages_begin(struct apt_packages *packages);

/* [-0, +0, v] Ends the changes: by decision and each one's `error`. Raises the failure of the last one with `kind` and
 * `hint`. */
void apt_packages_end(struct apt_packages *packages, const char *kind, const char *hint);

/* [-0, +1, m] What the state word returns: of one package {version=}, of more {name=version}. */
int apt_packages_result(struct apt_packages *packages);

/* {"version":...}: what changes of packages carry, in the scratch; JSON null for NULL. */
const char *apt_version_json(struct apt *apt, const char *version);

/* [-0, +0, m] Predicts the package. `version` may be NULL. */
void apt_package_predict(struct apt *apt, const char *name, bool installed, const char *version, bool held);

/* Names of the packages whose change is to be made, appended to argv at `at`; `pinned`: as name=version where that
 * is known and asked for. Returns the next place. */
size_t apt_packages_argv(struct apt_packages *packages, const char **argv, size_t at, bool pinned);

/* "consul, nomad": those names, in the scratch. */
const char *apt_packages_names(struct apt_packages *packages);

/* The script that runs apt-get with its arguments: $1 is "deny" (no service may start) or "allow". */
extern const char apt_package_script[];

#endif
