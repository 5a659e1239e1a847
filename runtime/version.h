/* Versions of servers, and what a runbook needs of them: ">= 1.7, < 2". Read and ordered as hashicorp/go-version does,
 * which the products themselves use: "1.8" is 1.8.0, "1.8.0+ent" equals 1.8.0, "1.10.0-beta1" comes before 1.10.0. */
#ifndef MOONBOOK_VERSION_H
#define MOONBOOK_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VERSION_SEGMENTS 8

struct version {
    uint64_t segments[VERSION_SEGMENTS]; /* zeros behind those given */
    size_t given;                        /* how many the text has */
    char pre[64];                        /* "beta1", "" = a release */
};

/* Reads "1.8.4", "v1.2", "1.10.0-beta1", "1.15.2+ent.hsm". False for anything else. */
bool version_parse(const char *text, struct version *version);

/* Below 0, 0 or above 0. What follows "+" does not count. */
int version_compare(const struct version *one, const struct version *other);

/* Is it a constraint: versions behind >=, >, <=, <, =, != or ~>, a comma meaning "and"? A bare version is "=". */
bool version_constraint_valid(const char *constraint);

/* Does the version fit the constraint? A pre-release is judged by its place in the order, so that 1.8.0-dev fits
 * ">= 1.0" (go-version's own constraints take none); but "< 1.10" does not take 1.10.0-beta1: what 1.10 changes is in
 * it already. "~> 1.8" is ">= 1.8, < 2", "~> 1.8.4" is ">= 1.8.4, < 1.9". False for what is no constraint. */
bool version_fits(const struct version *version, const char *constraint);

#endif
