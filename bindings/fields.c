/* Objects of an API compared field by field, converted to what goes out, and laid over each other. */
#include "fields.h"

#include "failure.h"
#include "json.h"
#include "quantity.h"
#include "secret.h"
#include "unknown.h"

#include <lauxlib.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MS_PER_S     1000
#define NS_PER_MS    1000000
#define NUMBER_SIZE  64
#define STACK_A_STEP 12   /* slots that one level of a recursion uses at most */
#define MOST_ALIKE   1000 /* elements that give way to each other at once */

/* --- types -------------------------------------------------------------------------------------------------------- */

enum field_type fields_type(const struct fields *fields, const char *name)
{
    static const struct {
        const char *word;
        enum field_type type;
    } words[] = {{"seconds", FIELD_SECONDS},      {"nanoseconds", FIELD_NANOSECONDS},
                 {"duration", FIELD_DURATION},    {"set", FIELD_SET},
                 {"links", FIELD_LINKS},          {"named", FIELD_NAMED},
                 {"list", FIELD_PLAIN},           {"verbatim", FIELD_VERBATIM},
                 {"unreadable", FIELD_UNREADABLE}};
    size_t length = strlen(name);
    for (const char *at = fields->types; at && *at; at += strcspn(at, ","), at += *at == ',') {
        if (strncmp(at, name, length) != 0 || at[length] != ':')
            continue;
        const char *word = at + length + 1;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (strncmp(word, words[i].word, strlen(words[i].word)) == 0)
                return words[i].type;
    }
    return fields->sets ? FIELD_SET : FIELD_PLAIN;
}

/* The type of what is below a field: verbatim is verbatim all the way down. */
static enum field_type type_below(const struct fields *fields, enum field_type above, const char *name)
{
    return above == FIELD_VERBATIM ? FIELD_VERBATIM : fields_type(fields, name);
}

bool fields_is_nothing(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) || json_is_null(L, index);
}

bool fields_is_empty(lua_State *L, int index)
{
    if (fields_is_nothing(L, index))
        return true;
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        return !lua_toboolean(L, index);
    case LUA_TNUMBER:
        return lua_tonumber(L, index) == 0;
    case LUA_TSTRING:
        return lua_rawlen(L, index) == 0;
    case LUA_TTABLE: {
        index = lua_absindex(L, index);
        lua_pushnil(L);
        if (!lua_next(L, index))
            return true;
        lua_pop(L, 2);
        return false;
    }
    default:
        return false;
    }
}

/* Is the table a list? An empty one of Lua's may be either. */
static bool is_list(lua_State *L, int index)
{
    return lua_istable(L, index) && (json_is_array(L, index) || lua_rawlen(L, index) > 0);
}

/* [-0, +0, -] The bytes of a scalar: a secret's too. `number` holds those of a number. NULL for tables and the like. */
static const char *scalar_text(lua_State *L, int index, char number[NUMBER_SIZE], size_t *length)
{
    const char *bytes = secret_bytes(L, index, length);
    if (bytes)
        return bytes;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        return lua_tolstring(L, index, length);
    case LUA_TBOOLEAN:
        snprintf(number, NUMBER_SIZE, "%s", lua_toboolean(L, index) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            snprintf(number, NUMBER_SIZE, "%lld", (long long)lua_tointeger(L, index));
        else
            snprintf(number, NUMBER_SIZE, "%.17g", lua_tonumber(L, index));
        break;
    default:
        return NULL;
    }
    *length = strlen(number);
    return number;
}

static bool same_text(lua_State *L, int one, int other)
{
    char numbers[2][NUMBER_SIZE];
    size_t lengths[2];
    const char *a = scalar_text(L, one, numbers[0], &lengths[0]);
    const char *b = scalar_text(L, other, numbers[1], &lengths[1]);
    return a && b && lengths[0] == lengths[1] && memcmp(a, b, lengths[0]) == 0;
}

/* --- durations ---------------------------------------------------------------------------------------------------- */

/* A text with a unit, "1d"; a bare number has none. */
static bool has_unit(const char *text)
{
    return strpbrk(text, "smhdw") != NULL;
}

/* The duration in milliseconds, of FIELD_NANOSECONDS in nanoseconds. */
static bool duration_of(lua_State *L, enum field_type type, int index, int64_t *out)
{
    int64_t unit = type == FIELD_NANOSECONDS ? NS_PER_MS : 1;
    if (lua_type(L, index) == LUA_TSTRING) {
        const char *text = lua_tostring(L, index);
        if (type == FIELD_NANOSECONDS && !has_unit(text))
            return false;
        return duration_parse(text, out) && !__builtin_mul_overflow(*out, unit, out);
    }
    if (lua_isinteger(L, index)) {
        int64_t factor = type == FIELD_NANOSECONDS ? 1 : MS_PER_S;
        return !__builtin_mul_overflow((int64_t)lua_tointeger(L, index), factor, out);
    }
    if (lua_type(L, index) != LUA_TNUMBER || type == FIELD_NANOSECONDS || fabs(lua_tonumber(L, index)) > 1e12)
        return false;
    *out = llround(lua_tonumber(L, index) * MS_PER_S);
    return true;
}

static bool is_duration(enum field_type type)
{
    return type == FIELD_SECONDS || type == FIELD_NANOSECONDS || type == FIELD_DURATION;
}

/* What the two make of a field without a type where the server takes texts for numbers: "1d" against 86400 is a
 * duration. */
static enum field_type settle_type(lua_State *L, const struct fields *fields, enum field_type type,
                                   int wanted, int found)
{
    int64_t ms;
    if (!fields->weak || (type != FIELD_PLAIN && type != FIELD_SET) || lua_type(L, wanted) != LUA_TSTRING)
        return type;
    const char *text = lua_tostring(L, wanted);
    if (!duration_parse(text, &ms) || !has_unit(text))
        return type;
    if (lua_isinteger(L, found))
        return FIELD_SECONDS;
    bool both = lua_type(L, found) == LUA_TSTRING && duration_parse(lua_tostring(L, found), &ms) &&
                has_unit(lua_tostring(L, found));
    return both ? FIELD_DURATION : type;
}

/* [-0, +1, m] The duration as the server keeps it. `value` in the unit of duration_of. */
static void push_duration(lua_State *L, enum field_type type, int index, int64_t value)
{
    if (type == FIELD_NANOSECONDS)
        lua_pushinteger(L, value);
    else if (type == FIELD_SECONDS)
        lua_pushinteger(L, value / MS_PER_S);
    else if (lua_type(L, index) == LUA_TSTRING && has_unit(lua_tostring(L, index)) &&
             !strpbrk(lua_tostring(L, index), "dw "))
        lua_pushvalue(L, index); /* Go reads it as it is */
    else if (value % MS_PER_S == 0)
        lua_pushfstring(L, "%Is", (LUAI_UACINT)(value / MS_PER_S));
    else
        lua_pushfstring(L, "%Ims", (LUAI_UACINT)value);
}

/* --- comparing ------------------------------------------------------------------------------------------------------ */

/* [-0, +1, m] A list: the value itself, or "a, b" taken apart where the server does so too. */
static void push_list(lua_State *L, const struct fields *fields, int index)
{
    if (!fields->weak || lua_type(L, index) != LUA_TSTRING) {
        lua_pushvalue(L, index);
        return;
    }
    const char *text = lua_tostring(L, index);
    lua_newtable(L);
    json_mark_array(L, -1);
    for (lua_Integer i = 1; *text;) {
        text += strspn(text, ", ");
        size_t length = strcspn(text, ",");
        const char *next = text + length;
        while (length > 0 && text[length - 1] == ' ')
            length--;
        if (length > 0) {
            lua_pushlstring(L, text, length);
            lua_rawseti(L, -2, i++);
        }
        text = next;
    }
}

/* The element of a set and one of the server's: objects of links may say only their name. */
bool fields_equal_element(lua_State *L, const struct fields *fields, enum field_type type, int wanted,
                          int found)
{
    if (type == FIELD_LINKS && lua_type(L, wanted) == LUA_TSTRING && lua_istable(L, found)) {
        lua_getfield(L, found, "Name");
        bool same = same_text(L, wanted, lua_absindex(L, -1));
        lua_pop(L, 1);
        return same;
    }
    return fields_equal(L, fields, type == FIELD_VERBATIM ? type : FIELD_PLAIN, wanted, found);
}

/* [-0, +1, v] The elements of a list of plain values, as keys of a table. */
bool fields_push_members(lua_State *L, const struct fields *fields, enum field_type type, int list)
{
    if (type != FIELD_SET || !lua_istable(L, list)) {
        lua_pushnil(L);
        return false;
    }
    list = lua_absindex(L, list);
    lua_Integer count = (lua_Integer)lua_rawlen(L, list);
    lua_createtable(L, 0, (int)count);
    for (lua_Integer i = 1; i <= count; i++) {
        int element = lua_rawgeti(L, list, i);
        if (element != LUA_TSTRING && (fields->weak || (!lua_isinteger(L, -1) && element != LUA_TBOOLEAN))) {
            lua_pop(L, 2);
            lua_pushnil(L);
            return false;
        }
        lua_pushboolean(L, true);
        lua_rawset(L, -3);
    }
    return true;
}

/* [-0, +0, v] Is each key of one table in the other? */
static bool has_keys(lua_State *L, int table, int keys)
{
    bool has = true;
    for (lua_pushnil(L); has && lua_next(L, keys); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        has = lua_rawget(L, table) != LUA_TNIL;
        lua_pop(L, has ? 1 : 2);
    }
    return has;
}

/* [-0, +0, v] Sets of plain values, in which it does not matter how often one is there. False where they are none. */
static bool compare_members(lua_State *L, const struct fields *fields, enum field_type type, int wanted,
                            int found, bool *same)
{
    int top = lua_gettop(L);
    bool plain = fields_push_members(L, fields, type, wanted) && fields_push_members(L, fields, type, found);
    if (plain)
        *same = has_keys(L, top + 1, top + 2) && has_keys(L, top + 2, top + 1);
    lua_settop(L, top);
    return plain && (*same || !fields->weak); /* "1d" and "24h" may be the same */
}

/* A matching of two lists under way: which element of `wanted` has taken which of `found`, from 1. */
struct matching {
    const struct fields *fields;
    enum field_type type;
    int wanted, found;
    lua_Integer count;
    lua_Integer *taken; /* of each found element: by whom, 0 = nobody */
    bool *tried;
    int depth;
};

/* Finds a partner for a wanted element, others giving theirs up where they have a choice (Kuhn): an element that names
 * few fields may be equal to several. */
static bool match(lua_State *L, struct matching *m, lua_Integer wanted)
{
    luaL_checkstack(L, STACK_A_STEP, "a list");
    if (++m->depth > MOST_ALIKE)
        failure_error(L, "usage", "data", "more than %d elements of a list are alike", MOST_ALIKE);
    lua_rawgeti(L, m->wanted, wanted);
    int element = lua_gettop(L);
    for (lua_Integer step = 0; step < m->count; step++) {
        lua_Integer i =
            (wanted - 1 + step) % m->count + 1; /* its own place first: lists are mostly in order */
        if (m->tried[i])
            continue;
        lua_rawgeti(L, m->found, i);
        bool same = fields_equal_element(L, m->fields, m->type, element, lua_gettop(L));
        lua_settop(L, element);
        if (!same)
            continue;
        m->tried[i] = true;
        if (m->taken[i] == 0 || match(L, m, m->taken[i])) {
            m->taken[i] = wanted;
            lua_settop(L, element - 1);
            return true;
        }
    }
    lua_settop(L, element - 1);
    return false;
}

/* [-0, +0, v] */
static bool equal_sets(lua_State *L, const struct fields *fields, enum field_type type, int wanted, int found)
{
    bool same = true;
    lua_Integer count = (lua_Integer)lua_rawlen(L, wanted);
    if (compare_members(L, fields, type, wanted, found, &same))
        return same;
    if (count != (lua_Integer)lua_rawlen(L, found))
        return false;
    size_t size = (size_t)count + 1;
    struct matching m = {.fields = fields, .type = type, .wanted = wanted, .found = found, .count = count};
    m.taken = lua_newuserdatauv(L, size * (sizeof *m.taken + sizeof *m.tried), 0);
    m.tried = (bool *)(m.taken + size);
    memset(m.taken, 0, size * sizeof *m.taken);
    for (lua_Integer i = 1; same && i <= count; i++) {
        memset(m.tried, 0, size * sizeof *m.tried);
        m.depth = 0;
        same = match(L, &m, i);
    }
    lua_pop(L, 1);
    return same;
}

/* [-0, +0|1, -] Pushes the element of the list that has this Name; false where there is none. */
static bool push_named(lua_State *L, int list, int name)
{
    for (lua_Integer i = 1; lua_rawgeti(L, list, i) == LUA_TTABLE; i++) {
        lua_getfield(L, -1, "Name");
        bool same = same_text(L, name, lua_absindex(L, -1));
        lua_pop(L, 1);
        if (same)
            return true;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return false;
}

static bool equal_lists(lua_State *L, const struct fields *fields, enum field_type type, int wanted,
                        int found)
{
    if (type == FIELD_SET || type == FIELD_LINKS || type == FIELD_NAMED)
        return equal_sets(L, fields, type, wanted, found);
    lua_Integer count = (lua_Integer)lua_rawlen(L, wanted);
    bool same = count == (lua_Integer)lua_rawlen(L, found);
    for (lua_Integer i = 1; same && i <= count; i++) {
        lua_rawgeti(L, wanted, i);
        lua_rawgeti(L, found, i);
        same = fields_equal_element(L, fields, type, lua_gettop(L) - 1, lua_gettop(L));
        lua_pop(L, 2);
    }
    return same;
}

static bool equal_objects(lua_State *L, const struct fields *fields, enum field_type type, int wanted,
                          int found)
{
    bool same = true;
    for (lua_pushnil(L); same && lua_next(L, wanted); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_rawget(L, found);
        int top = lua_gettop(L);
        const char *name = lua_type(L, -3) == LUA_TSTRING ? lua_tostring(L, -3) : "";
        same = fields_equal(L, fields, type_below(fields, type, name), top - 1, top);
        lua_pop(L, 1);
    }
    if (!same)
        lua_pop(L, 1); /* the key at which it ended */
    return same;
}

static bool equal_scalars(lua_State *L, const struct fields *fields, int wanted, int found)
{
    if (secret_is(L, wanted) || secret_is(L, found) || (fields->weak && !lua_isuserdata(L, wanted)))
        return same_text(L, wanted, found);
    return lua_compare(L, wanted, found, LUA_OPEQ);
}

bool fields_equal(lua_State *L, const struct fields *fields, enum field_type type, int wanted, int found)
{
    int64_t durations[2];
    wanted = lua_absindex(L, wanted);
    found = lua_absindex(L, found);
    luaL_checkstack(L, STACK_A_STEP, "fields");
    if (unknown_is(L, wanted) || unknown_is(L, found)) {
        unknown_used(L);
        return false;
    }
    if (fields_is_nothing(L, wanted) || fields_is_nothing(L, found))
        return fields_is_empty(L, wanted) && fields_is_empty(L, found);
    type = settle_type(L, fields, type, wanted, found);
    if (is_duration(type) && duration_of(L, type, wanted, &durations[0]) &&
        duration_of(L, type, found, &durations[1]))
        return durations[0] == durations[1];
    if (is_list(L, found) || (json_is_array(L, found) && fields_is_empty(L, wanted))) {
        push_list(L, fields, wanted);
        int list = lua_gettop(L);
        bool same = lua_istable(L, list) && equal_lists(L, fields, type, list, found);
        lua_pop(L, 1);
        return same;
    }
    if (lua_istable(L, wanted) && lua_istable(L, found))
        return !is_list(L, wanted) && equal_objects(L, fields, type, wanted, found);
    if (lua_istable(L, wanted) || lua_istable(L, found))
        return fields_is_empty(L, wanted) && fields_is_empty(L, found);
    return equal_scalars(L, fields, wanted, found);
}

/* --- copies --------------------------------------------------------------------------------------------------------- */

static void push_copy(lua_State *L, int index, int depth)
{
    luaL_checkstack(L, STACK_A_STEP, "a copy");
    index = lua_absindex(L, index);
    if (!lua_istable(L, index)) {
        lua_pushvalue(L, index);
        return;
    }
    if (depth > JSON_MAX_DEPTH) /* what follows walks the copy, and needs an end */
        failure_error(L, "usage", "data", "tables are in tables more than %d deep", JSON_MAX_DEPTH);
    lua_createtable(L, (int)lua_rawlen(L, index), 0);
    if (json_is_array(L, index))
        json_mark_array(L, -1);
    for (lua_pushnil(L); lua_next(L, index); lua_rawset(L, -4)) {
        push_copy(L, -1, depth + 1);
        lua_remove(L, -2);
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
    }
}

void fields_push_copy(lua_State *L, int index)
{
    push_copy(L, index, 0);
}

static bool is_binary(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TSTRING && !json_is_text(lua_tostring(L, index), lua_rawlen(L, index));
}

bool fields_has_unwritable(lua_State *L, int index)
{
    luaL_checkstack(L, STACK_A_STEP, "a value");
    if (!lua_istable(L, index))
        return secret_is(L, index) || is_binary(L, index);
    bool has = false;
    index = lua_absindex(L, index);
    for (lua_pushnil(L); !has && lua_next(L, index); lua_pop(L, has ? 2 : 1))
        has = fields_has_unwritable(L, -1);
    return has;
}

bool fields_has_secret(lua_State *L, int index)
{
    luaL_checkstack(L, STACK_A_STEP, "a value");
    if (!lua_istable(L, index))
        return secret_is(L, index);
    bool has = false;
    index = lua_absindex(L, index);
    for (lua_pushnil(L); !has && lua_next(L, index); lua_pop(L, has ? 2 : 1))
        has = fields_has_secret(L, -1);
    return has;
}

/* [-1, +1, v] Secrets, unknown values and bytes that are no text become words in the copy on top; with `all`, whatever is
 * not empty does. */
static void veil(lua_State *L, bool all, int depth)
{
    luaL_checkstack(L, STACK_A_STEP, "a copy");
    if (lua_istable(L, -1) && depth <= JSON_MAX_DEPTH) {
        for (lua_pushnil(L); lua_next(L, -2);) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            veil(L, all, depth + 1);
            lua_rawset(L, -4);
        }
        return;
    }
    if (unknown_is(L, -1))
        lua_pushstring(L, UNKNOWN_TEXT);
    else if (secret_is(L, -1) || (all && !fields_is_empty(L, -1)))
        lua_pushliteral(L, "<secret>");
    else if (is_binary(L, -1))
        lua_pushfstring(L, "<%I bytes>", (LUAI_UACINT)lua_rawlen(L, -1));
    else
        return;
    lua_remove(L, -2);
}

void fields_push_shown(lua_State *L, const struct fields *fields, int index)
{
    fields_push_copy(L, index);
    veil(L, fields && fields->secret, 0);
    json_encode(L, -1);
    lua_remove(L, -2);
}

/* --- what goes out ---------------------------------------------------------------------------------------------------- */

static void push_sent(lua_State *L, const struct fields *fields, enum field_type type, int wanted, int found,
                      bool merge);

/* [-0, +1, m] What empties a field: the zero of its type. */
static void push_empty(lua_State *L, int found)
{
    if (lua_type(L, found) == LUA_TSTRING || secret_is(L, found))
        lua_pushliteral(L, "");
    else if (lua_type(L, found) == LUA_TNUMBER)
        lua_pushinteger(L, 0);
    else if (lua_isboolean(L, found))
        lua_pushboolean(L, false);
    else if (lua_istable(L, found)) {
        lua_newtable(L);
        if (is_list(L, found))
            json_mark_array(L, -1);
    } else
        json_push_null(L);
}

/* [-0, +1, v] Of a list: each element converted; of one by Name, laid over the server's element of that name. */
static void push_sent_list(lua_State *L, const struct fields *fields, enum field_type type, int wanted,
                           int found, bool merge)
{
    lua_Integer count = (lua_Integer)lua_rawlen(L, wanted);
    lua_createtable(L, (int)count, 0);
    json_mark_array(L, -1);
    int out = lua_gettop(L);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, wanted, i);
        int element = lua_gettop(L);
        if (type == FIELD_LINKS && lua_type(L, element) == LUA_TSTRING) {
            lua_newtable(L);
            lua_pushvalue(L, element);
            lua_setfield(L, -2, "Name");
        } else {
            lua_pushnil(L);
            int partner = lua_gettop(L);
            if (type == FIELD_NAMED && lua_istable(L, element) && lua_istable(L, found)) {
                lua_getfield(L, element, "Name");
                if (push_named(L, found, lua_gettop(L)))
                    lua_replace(L, partner);
            }
            push_sent(L, fields, type == FIELD_VERBATIM ? type : FIELD_PLAIN, element, partner, merge);
        }
        lua_rawseti(L, out, i);
        lua_settop(L, out);
    }
}

/* [-0, +1, v] */
static void push_sent_object(lua_State *L, const struct fields *fields, enum field_type type, int wanted,
                             int found, bool merge)
{
    bool both = lua_istable(L, found) && !is_list(L, found);
    if (merge && both)
        fields_push_copy(L, found);
    else
        lua_newtable(L);
    int out = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, wanted); lua_settop(L, out + 1)) {
        int value = lua_gettop(L), key = value - 1;
        const char *name = lua_type(L, key) == LUA_TSTRING ? lua_tostring(L, key) : "";
        lua_pushvalue(L, key);
        if (both)
            lua_rawget(L, found);
        else
            lua_pushnil(L);
        lua_pushvalue(L, key);
        if (merge && fields_is_nothing(L, value))
            lua_pushnil(L);
        else
            push_sent(L, fields, type_below(fields, type, name), value, value + 1, merge);
        lua_rawset(L, out);
    }
}

/* [-0, +1, v] */
static void push_sent(lua_State *L, const struct fields *fields, enum field_type type, int wanted, int found,
                      bool merge)
{
    int64_t value;
    luaL_checkstack(L, STACK_A_STEP, "fields");
    type = settle_type(L, fields, type, wanted, found);
    if (fields_is_nothing(L, wanted))
        push_empty(L, found);
    else if (is_duration(type) && duration_of(L, type, wanted, &value))
        push_duration(L, type, wanted, value);
    else if (fields->weak && lua_type(L, wanted) == LUA_TSTRING && json_is_array(L, found))
        push_list(L, fields, wanted);
    else if (is_list(L, wanted))
        push_sent_list(L, fields, type, wanted, found, merge);
    else if (lua_istable(L, wanted) && json_is_array(L, found) && fields_is_empty(L, wanted))
        push_empty(L, found);
    else if (lua_istable(L, wanted))
        push_sent_object(L, fields, type, wanted, found, merge);
    else
        lua_pushvalue(L, wanted);
}

void fields_push_sent(lua_State *L, const struct fields *fields, enum field_type type, int wanted, int found)
{
    push_sent(L, fields, type, lua_absindex(L, wanted), lua_absindex(L, found), false);
}

void fields_push_merged(lua_State *L, const struct fields *fields, int wanted, int found)
{
    push_sent(L, fields, FIELD_PLAIN, lua_absindex(L, wanted), lua_absindex(L, found), true);
}
