/* Which name was meant: for the hint of an error about a name that nobody knows. */
#ifndef MOONBOOK_NEAREST_H
#define MOONBOOK_NEAREST_H

/* The name out of `names`, ended by NULL, that `word` most likely meant, or NULL. */
const char *nearest_name(const char *word, const char *const *names);

#endif
