/* The states of several changes, under the names of what they are about. */
#include "change_list.h"

#include "json.h"

/* {"consul":STATE,"nomad":STATE} */
static const char *join_states(struct scratch *scratch, const struct change *const *changes, size_t count,
                               bool after)
{
    struct json_text json = {0};
    json_open_object(&json);
    for (size_t i = 0; i < count; i++) {
        json_key(&json, changes[i]->target);
        json_raw(&json, after ? changes[i]->after : changes[i]->before);
    }
    json_close_object(&json);
    return scratch_take(scratch, &json.out);
}

int change_list_push_result(lua_State *L, struct scratch *scratch, const struct change *const *changes,
                            size_t count, bool changed)
{
    if (count == 1)
        return change_push_result(L, changes[0], changed);
    struct change all = {.before = join_states(scratch, changes, count, false),
                         .after = join_states(scratch, changes, count, true)};
    return change_push_result(L, &all, changed);
}
