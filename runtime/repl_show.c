/* Values for people. Tables are looked at raw: showing asks no metatable but __tostring, so it starts nothing. */
#include "repl_show.h"

#include "json.h"
#include "redact.h"
#include "runtime.h"
#include "utf8.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define CELL_MOST   44  /* columns of the screen for one cell */
#define LINE_MOST   400 /* of a text in a record */
#define INLINE_MOST 32  /* a list of so short scalars stands in its cell */
#define GAP         2
#define DEPTH_MOST  24

/* ---- text ---- */

size_t show_width(const char *text, size_t length)
{
    size_t width = 0;
    for (size_t i = 0; i < length;) {
        if ((unsigned char)text[i] < 0x80) {
            width++;
            i++;
            continue;
        }
        wchar_t wide;
        mbstate_t state = {0};
        size_t bytes = mbrtowc(&wide, text + i, length - i, &state);
        int columns = bytes == (size_t)-1 || bytes == (size_t)-2 || !bytes ? 1 : wcwidth(wide);
        width += columns < 0 ? 1 : (size_t)columns;
        i += bytes == (size_t)-1 || bytes == (size_t)-2 || !bytes ? 1 : bytes;
    }
    return width;
}

/* How many bytes of the text fit into so many columns. */
static size_t fitting(const char *text, size_t length, size_t columns)
{
    size_t fit = 0;
    while (fit < length) {
        size_t next = fit + 1;
        while (next < length && (text[next] & 0xc0) == 0x80)
            next++;
        if (show_width(text, next) > columns)
            break;
        fit = next;
    }
    return fit;
}

/* In one line, harmless for the terminal, at most so many columns. A secret goes before anything is cut: what is left of it
 * would pass unseen afterwards. */
static void add_line(lua_State *L, struct buffer *out, const char *text, size_t length, size_t most)
{
    size_t from = out->length;
    struct buffer clean = {0};
    buffer_append(&clean, text, length);
    if (redact(runtime_of(L)->redactor, &clean)) {
        text = buffer_text(&clean);
        length = clean.length;
    }
    bool cut = length > most && show_width(text, length < most * 4 ? length : most * 4) > most;
    buffer_append(out, text, cut ? fitting(text, length < most * 4 ? length : most * 4, most - 3) : length);
    buffer_wipe(&clean);
    utf8_disarm(out->bytes + from, out->length - from);
    for (size_t i = from; i < out->length; i++)
        if (out->bytes[i] == '\n' || out->bytes[i] == '\t')
            out->bytes[i] = ' ';
    if (cut)
        buffer_append_text(out, "...");
}

static void pad(struct buffer *out, size_t count)
{
    static const char blanks[] = "                                                                ";
    for (; count; count -= count < sizeof blanks - 1 ? count : sizeof blanks - 1)
        buffer_append(out, blanks, count < sizeof blanks - 1 ? count : sizeof blanks - 1);
}

/* ---- kinds of tables ---- */

/* A table that says itself what it is (an error, a module of another host), or stands for a value (null). */
static bool speaks(lua_State *L, int index)
{
    bool speaks = luaL_getmetafield(L, index, "__tostring") != LUA_TNIL;
    if (speaks)
        lua_pop(L, 1);
    return speaks;
}

static bool is_table(lua_State *L, int index)
{
    return lua_istable(L, index) && !json_is_null(L, index) && !speaks(L, index);
}

/* How many entries, and are they 1..n? */
static size_t count_entries(lua_State *L, int index, bool *list)
{
    size_t count = 0, length = lua_rawlen(L, index);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        count++;
    *list = count == length && (count || json_is_array(L, index));
    return count;
}

/* ---- one value in a line ---- */

static void add_scalar(lua_State *L, int index, const char *name, size_t most, bool exact, struct buffer *out)
{
    size_t length;
    struct buffer meaning = {0};
    int whole = 0;
    lua_Integer number = lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &whole) : 0;
    if (lua_type(L, index) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, index, &length);
        add_line(L, out, text, length, most);
    } else if (lua_isnil(L, index) || json_is_null(L, index)) {
        buffer_append_text(out, lua_isnil(L, index) ? "nil" : "null");
    } else if (whole && show_quantity(name, number, &meaning)) {
        if (exact)
            buffer_format(out, "%lld (%s)", (long long)number, buffer_text(&meaning));
        else
            buffer_append(out, meaning.bytes, meaning.length);
    } else if (whole) {
        buffer_format(out, "%lld", (long long)number);
    } else {
        const char *text = luaL_tolstring(L, index, &length);
        add_line(L, out, text, length, most);
        lua_pop(L, 1);
    }
    buffer_free(&meaning);
}

/* A few short scalars in their place: "http, v2". False: too many, or nested. */
static bool add_inline(lua_State *L, int index, size_t count, struct buffer *out)
{
    struct buffer text = {0};
    bool fits = count <= INLINE_MOST / 2;
    for (size_t i = 1; i <= count && fits; i++) {
        lua_rawgeti(L, index, (lua_Integer)i);
        fits = !is_table(L, lua_gettop(L));
        if (fits) {
            buffer_append_text(&text, i > 1 ? ", " : "");
            add_scalar(L, lua_gettop(L), NULL, INLINE_MOST, false, &text);
        }
        lua_pop(L, 1);
        fits = fits && text.length <= INLINE_MOST;
    }
    if (fits)
        buffer_append(out, buffer_text(&text), text.length);
    buffer_free(&text);
    return fits;
}

/* The value in one line; what is nested as a count: {3} of fields, [12] of a list. */
static void add_folded(lua_State *L, int index, const char *name, size_t most, bool exact, struct buffer *out)
{
    bool list;
    if (!is_table(L, index)) {
        add_scalar(L, index, name, most, exact, out);
        return;
    }
    size_t count = count_entries(L, index, &list);
    if (list && count && add_inline(L, index, count, out))
        return;
    buffer_format(out, count ? (list ? "[%zu]" : "{%zu}") : (list ? "[]" : "{}"), count);
}

/* ---- keys ---- */

/* What an operator looks for first. */
static int rank_of(const char *key)
{
    static const char *const first[] = {
        "name",        "node",    "id",         "service", "servicename", "serviceid",      "key",
        "status",      "state",   "ready",      "type",    "address",     "serviceaddress", "port",
        "serviceport", "version", "datacenter", "changed", "before",      "after"};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        if (strcasecmp(key, first[i]) == 0)
            return (int)i;
    return 1000;
}

struct key {
    const char *text; /* the table keeps it */
    int rank;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key *left = a, *right = b;
    return left->rank != right->rank ? left->rank - right->rank : strcmp(left->text, right->text);
}

/* [-0, +1, m] The keys of the set on top that are text, in the order for people: a userdata with the array. */
static struct key *push_sorted(lua_State *L, int set, size_t *count)
{
    size_t most = 0;
    *count = 0;
    for (lua_pushnil(L); lua_next(L, set); lua_pop(L, 1))
        most++;
    struct key *keys = lua_newuserdatauv(L, (most + 1) * sizeof *keys, 0);
    for (lua_pushnil(L); lua_next(L, set); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            continue;
        const char *text = lua_tostring(L, -2);
        keys[(*count)++] = (struct key){text, rank_of(text) + (is_table(L, lua_gettop(L)) ? 2000 : 0)};
    }
    qsort(keys, *count, sizeof *keys, compare_keys);
    return keys;
}

/* [-0, +1, v] A copy of any key as text. */
static const char *push_key(lua_State *L, int index)
{
    return luaL_tolstring(L, index, NULL);
}

/* ---- rows ---- */

/* A list of records, or a map whose values all are. */
static bool is_rows(lua_State *L, int index, bool *map)
{
    bool list;
    size_t count = count_entries(L, index, &list), records = 0;
    *map = !list;
    if (!count || (*map && count < 2))
        return false;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        int row = lua_gettop(L);
        if (!is_table(L, row) || (*map && lua_type(L, row - 1) != LUA_TSTRING)) {
            lua_pop(L, 2);
            return false;
        }
        records += lua_rawlen(L, row) == 0;
    }
    return records == count;
}

struct rows {
    lua_State *L;
    int list;  /* of the rows, 1..n */
    int names; /* of a map: their keys, else 0 */
    size_t count, width;
    struct buffer *lines; /* one a row, and one before for the header */
};

/* [-0, +2, m] The rows as a list, and of a map their sorted keys as another. */
static void push_rows(lua_State *L, int index, bool map, struct rows *rows)
{
    size_t count = 0;
    lua_newtable(L);
    lua_newtable(L);
    rows->list = lua_gettop(L) - 1;
    rows->names = map ? lua_gettop(L) : 0;
    rows->count = lua_rawlen(L, index);
    if (!map) {
        lua_pushvalue(L, index);
        lua_replace(L, rows->list);
        return;
    }
    struct key *keys = push_sorted(L, index, &count);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(L, keys[i].text);
        lua_pushvalue(L, -1);
        lua_rawseti(L, rows->names, (lua_Integer)i + 1);
        lua_rawget(L, index);
        lua_rawseti(L, rows->list, (lua_Integer)i + 1);
    }
    lua_pop(L, 1);
    rows->count = count;
}

/* [-0, +1, m] Key -> a value of it, over all rows; one that is nested in any row counts as nested. */
static void push_columns(const struct rows *rows)
{
    lua_State *L = rows->L;
    lua_newtable(L);
    int set = lua_gettop(L);
    for (size_t i = 1; i <= rows->count; i++) {
        lua_rawgeti(L, rows->list, (lua_Integer)i);
        for (lua_pushnil(L); lua_next(L, -2);) {
            if (lua_type(L, -2) != LUA_TSTRING) {
                lua_pop(L, 1);
                continue;
            }
            lua_pushvalue(L, -2);
            bool known = lua_rawget(L, set) != LUA_TNIL;
            lua_pop(L, 1);
            if (known && !lua_istable(L, -1)) {
                lua_pop(L, 1);
                continue;
            }
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, set);
        }
        lua_pop(L, 1);
    }
}

/* The cells of a column, one after another, each with its end. */
struct column {
    struct buffer text;
    size_t *ends;
    size_t width;
    bool filled; /* some cell is not empty */
};

static void add_cell(struct column *column, size_t i)
{
    size_t begin = i ? column->ends[i - 1] : 0, length = column->text.length - begin;
    size_t width = length ? show_width(column->text.bytes + begin, length) : 0;
    column->ends[i] = column->text.length;
    column->width = width > column->width ? width : column->width;
    column->filled = column->filled || length;
}

static void fill_column(const struct rows *rows, const char *key, struct column *column)
{
    lua_State *L = rows->L;
    *column = (struct column){.ends = allocate((rows->count + 1) * sizeof *column->ends),
                              .width = show_width(key, strlen(key))};
    column->width = column->width > CELL_MOST ? CELL_MOST : column->width;
    lua_pushstring(L, key);
    int name = lua_gettop(L);
    for (size_t i = 0; i < rows->count; i++) {
        lua_rawgeti(L, rows->list, (lua_Integer)i + 1);
        lua_pushvalue(L, name);
        if (lua_rawget(L, -2) != LUA_TNIL)
            add_folded(L, lua_gettop(L), key, CELL_MOST, false, &column->text);
        lua_pop(L, 2);
        add_cell(column, i);
    }
    lua_pop(L, 1);
}

static void fill_names(const struct rows *rows, struct column *column)
{
    *column = (struct column){.ends = allocate((rows->count + 1) * sizeof *column->ends), .filled = true};
    for (size_t i = 0; i < rows->count; i++) {
        size_t length;
        lua_rawgeti(rows->L, rows->names, (lua_Integer)i + 1);
        const char *text = lua_tolstring(rows->L, -1, &length);
        add_line(rows->L, &column->text, text, length, CELL_MOST);
        lua_pop(rows->L, 1);
        add_cell(column, i);
    }
}

/* Appends a cell of at most `most` columns to a line that is `at` columns long now. */
static void append_cell(struct buffer *line, size_t *at, size_t from, const char *text, size_t length,
                        size_t most)
{
    size_t width = length ? show_width(text, length) : 0;
    if (!width)
        return; /* no blanks at the end of a line */
    pad(line, from - *at);
    if (width > most) {
        length = fitting(text, length, most > 3 ? most - 3 : most);
        buffer_append(line, text, length);
        buffer_append_text(line, most > 3 ? "..." : "");
        *at = from + most;
        return;
    }
    if (length)
        buffer_append(line, text, length);
    *at = from + width;
}

struct table {
    struct rows rows;
    struct buffer *lines;
    size_t *at; /* columns that each line has */
    size_t used;
};

static void append_column(struct table *table, const char *key, const struct column *column, size_t most)
{
    size_t from = table->used ? table->used + GAP : 0;
    struct buffer title = {0};
    add_line(table->rows.L, &title, key, strlen(key), CELL_MOST);
    append_cell(&table->lines[0], &table->at[0], from, buffer_text(&title), title.length, most);
    buffer_free(&title);
    for (size_t i = 0; i < table->rows.count; i++) {
        size_t begin = i ? column->ends[i - 1] : 0;
        append_cell(&table->lines[i + 1], &table->at[i + 1], from, buffer_text(&column->text) + begin,
                    column->ends[i] - begin, most);
    }
    table->used = from + (column->width < most ? column->width : most);
}

static void free_column(struct column *column)
{
    buffer_free(&column->text);
    free(column->ends);
}

/* The name of a column that has no room. */
static void add_left(lua_State *L, struct buffer *left, const char *key)
{
    buffer_append_text(left, left->length ? ", " : "");
    add_line(L, left, key, strlen(key), CELL_MOST);
}

#define CUT_LEAST 8 /* columns that a cut cell must have left */

/* Columns until the screen is full; those left out are named below. */
static void append_columns(struct table *table, const struct key *keys, size_t count, struct buffer *left)
{
    struct column column;
    size_t width = table->rows.width;
    bool full = false;
    if (table->rows.names) {
        fill_names(&table->rows, &column);
        append_column(table, "", &column, CELL_MOST);
        free_column(&column);
    }
    for (size_t i = 0; i < count; i++) {
        if (full) {
            add_left(table->rows.L, left, keys[i].text);
            continue;
        }
        fill_column(&table->rows, keys[i].text, &column);
        size_t from = table->used ? table->used + GAP : 0, room = width > from ? width - from : 0;
        if (column.filled && (column.width <= room || room >= CUT_LEAST || !table->used)) {
            append_column(table, keys[i].text, &column, room ? room : column.width);
            full = column.width > room;
        } else if (column.filled) {
            full = true;
            add_left(table->rows.L, left, keys[i].text);
        }
        free_column(&column);
    }
}

static void show_rows(lua_State *L, int index, bool map, size_t width, struct buffer *out)
{
    struct table table = {.rows = {.L = L, .width = width}};
    struct buffer left = {0};
    size_t count;
    int top = lua_gettop(L);
    luaL_checkstack(L, 16, "too deep");
    push_rows(L, index, map, &table.rows);
    push_columns(&table.rows);
    struct key *keys = push_sorted(L, lua_gettop(L), &count);
    table.lines = allocate_zeroed(table.rows.count + 1, sizeof *table.lines);
    table.at = allocate_zeroed(table.rows.count + 1, sizeof *table.at);
    append_columns(&table, keys, count, &left);
    for (size_t i = 0; i <= table.rows.count; i++) {
        buffer_append(out, buffer_text(&table.lines[i]), table.lines[i].length);
        buffer_append(out, "\n", 1);
        buffer_free(&table.lines[i]);
    }
    if (table.rows.count > 1)
        buffer_format(out, "(%zu rows", table.rows.count);
    if (left.length)
        buffer_format(out, "%salso: %s", table.rows.count > 1 ? "; " : "(", buffer_text(&left));
    if (left.length || table.rows.count > 1)
        buffer_append_text(out, ")\n");
    buffer_free(&left);
    free(table.lines);
    free(table.at);
    lua_settop(L, top);
}

/* ---- records and lists ---- */

static void show_record(lua_State *L, int index, struct buffer *out)
{
    size_t count, widest = 0;
    struct key *keys = push_sorted(L, index, &count);
    for (size_t i = 0; i < count; i++) {
        size_t width = show_width(keys[i].text, strlen(keys[i].text));
        widest = width > widest ? width : widest;
    }
    widest = widest > CELL_MOST ? CELL_MOST : widest;
    for (size_t i = 0; i < count; i++) {
        size_t from = out->length, width;
        add_line(L, out, keys[i].text, strlen(keys[i].text), CELL_MOST);
        width = show_width(out->bytes + from, out->length - from);
        pad(out, GAP + (width < widest ? widest - width : 0));
        lua_pushstring(L, keys[i].text);
        lua_rawget(L, index);
        add_folded(L, lua_gettop(L), keys[i].text, LINE_MOST, true, out);
        lua_pop(L, 1);
        buffer_append(out, "\n", 1);
    }
    lua_pop(L, 1);
    /* Keys that are no text, in the order of the table. */
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING)
            continue;
        const char *key = push_key(L, lua_gettop(L) - 1);
        buffer_append_text(out, "[");
        add_line(L, out, key, strlen(key), CELL_MOST);
        buffer_append_text(out, "]  ");
        lua_pop(L, 1);
        add_folded(L, lua_gettop(L), NULL, LINE_MOST, true, out);
        buffer_append(out, "\n", 1);
    }
}

static void show_list(lua_State *L, int index, size_t count, struct buffer *out)
{
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, index, (lua_Integer)i);
        add_folded(L, lua_gettop(L), NULL, LINE_MOST, true, out);
        lua_pop(L, 1);
        buffer_append(out, "\n", 1);
    }
    if (count > 9)
        buffer_format(out, "(%zu)\n", count);
}

/* Text of several lines is meant to be read as it is. */
static void show_text(lua_State *L, int index, struct buffer *out)
{
    size_t length, from = out->length;
    const char *text = luaL_tolstring(L, index, &length);
    buffer_append(out, text, length);
    utf8_disarm(out->bytes + from, out->length - from);
    lua_pop(L, 1);
    if (!length || out->bytes[out->length - 1] != '\n')
        buffer_append(out, "\n", 1);
}

void show_value(lua_State *L, int index, size_t width, struct buffer *out)
{
    bool list, map;
    index = lua_absindex(L, index);
    luaL_checkstack(L, 20, "too deep");
    if (json_is_null(L, index)) {
        buffer_append_text(out, "null\n");
        return;
    }
    if (!is_table(L, index)) {
        show_text(L, index, out);
        return;
    }
    size_t count = count_entries(L, index, &list);
    if (!count)
        buffer_append_text(out, list ? "[]\n" : "{}\n");
    else if (is_rows(L, index, &map))
        show_rows(L, index, map, width, out);
    else if (list)
        show_list(L, index, count, out);
    else
        show_record(L, index, out);
}

/* ---- everything ---- */

/* The tables that a branch is in, innermost first: one that holds itself would never end, or only after 2^DEPTH_MOST lines. */
struct branch {
    const void *table;
    const struct branch *outer;
};

static void show_tree(lua_State *L, int index, const char *name, int depth, const struct branch *outer,
                      struct buffer *out);

static bool is_within(const struct branch *branch, const void *table)
{
    while (branch && branch->table != table)
        branch = branch->outer;
    return branch;
}

static void begin_branch(lua_State *L, struct buffer *out, int depth, const char *name)
{
    pad(out, (size_t)depth * 2);
    add_line(L, out, name, strlen(name), LINE_MOST);
}

static void show_branches(lua_State *L, int index, int depth, const struct branch *outer, struct buffer *out)
{
    const struct branch here = {lua_topointer(L, index), outer};
    size_t count;
    bool list;
    size_t entries = count_entries(L, index, &list);
    for (size_t i = 1; list && i <= entries; i++) {
        lua_rawgeti(L, index, (lua_Integer)i);
        show_tree(L, lua_gettop(L), "-", depth, &here, out);
        lua_pop(L, 1);
    }
    if (list)
        return;
    struct key *keys = push_sorted(L, index, &count);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(L, keys[i].text);
        lua_rawget(L, index);
        show_tree(L, lua_gettop(L), keys[i].text, depth, &here, out);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        if (lua_type(L, -2) != LUA_TSTRING) {
            const char *key = push_key(L, lua_gettop(L) - 1);
            show_tree(L, lua_gettop(L) - 1, key, depth, &here, out);
            lua_pop(L, 1);
        }
}

static void show_tree(lua_State *L, int index, const char *name, int depth, const struct branch *outer,
                      struct buffer *out)
{
    bool item = strcmp(name, "-") == 0, list;
    luaL_checkstack(L, 20, "too deep");
    begin_branch(L, out, depth, name);
    buffer_append_text(out, item ? " " : ": ");
    if (!is_table(L, index) || depth > DEPTH_MOST || is_within(outer, lua_topointer(L, index)) ||
        !count_entries(L, index, &list)) {
        add_folded(L, index, item ? NULL : name, SIZE_MAX / 8, true, out);
        buffer_append(out, "\n", 1);
        return;
    }
    out->bytes[out->length - 1] = '\n';
    show_branches(L, index, depth + 1, outer, out);
}

void show_whole(lua_State *L, int index, struct buffer *out)
{
    bool list;
    index = lua_absindex(L, index);
    luaL_checkstack(L, 20, "too deep");
    if (!is_table(L, index) || !count_entries(L, index, &list))
        show_value(L, index, SIZE_MAX / 8, out);
    else
        show_branches(L, index, 0, NULL, out);
}
