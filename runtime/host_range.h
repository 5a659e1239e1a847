/* Names of many hosts in one word, as pdsh and clush write them: builder[01-40], rack[1-3]n[1,4-6]. */
#ifndef MOONBOOK_HOST_RANGE_H
#define MOONBOOK_HOST_RANGE_H

#include "failure.h"

#include <stdbool.h>

#define HOST_RANGE_MOST 10000 /* names that one word may stand for */

/* One name of those that the word stands for; false ends the expansion. */
typedef bool host_range_visit(void *context, const char *name);

/* Shows every name in order; the last bracket turns fastest. A number keeps the width it is written with. An address
 * ([2001:db8::1]:22) is no range. "usage" where brackets are wrong, a range runs backwards or there are too many. */
bool host_range_expand(const char *word, host_range_visit *visit, void *context, struct failure *failure);

#endif
