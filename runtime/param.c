/* Typed parameters: what a value must look like, and what to say where it does not. */
#include "param.h"

#include "buffer.h"
#include "json.h"
#include "quantity.h"
#include "runtime.h"
#include "secret.h"
#include "secret_source.h"
#include "unknown.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEEPEST_TYPE 8
#define MOST_CHOICES 256
#define MOST_ITEMS   100000

/* ---- Types ---- */

/* In the order of enum param_kind: the name, and what would be right, for messages. */
static const struct {
    const char *name;
    const char *right;
} kinds[] = {
    [PARAM_STRING] = {"string", "text without a NUL byte"},
    [PARAM_INTEGER] = {"integer", "a whole number such as 3"},
    [PARAM_NUMBER] = {"number", "a number such as 0.5"},
    [PARAM_BOOLEAN] = {"boolean", "true or false"},
    [PARAM_DURATION] = {"duration", "a duration such as 90s, 1h30m or 1d"},
    [PARAM_SIZE] = {"size", "a size such as 512M or 10G"},
    [PARAM_IP] = {"ip", "an address such as 192.0.2.7 or 2001:db8::7"},
    [PARAM_CIDR] = {"cidr", "a network such as 10.0.0.0/8 or 2001:db8::/32"},
    [PARAM_HOST] = {"host", "a host name or address such as builder42.example.org or 192.0.2.7"},
    [PARAM_PORT] = {"port", "a port from 1 to 65535 such as 8300"},
    [PARAM_PATH] = {"path", "an absolute path such as /etc/nomad.d"},
    [PARAM_URL] = {"url", "a URL such as https://vault.example.org:8200 or unix:///run/consul.sock"},
    [PARAM_ENUM] = {"enum", "one of the choices"},
    [PARAM_LIST] = {"list", "a list such as a,b or [\"a\",\"b\"]"},
    [PARAM_MAP] = {"map", "a map such as {\"name\":\"value\"}"},
    [PARAM_SECRET] =
        {"secret",
         "where the secret is: pass:NAME, env:VARIABLE, file:PATH, command:..., vault:PATH#FIELD, prompt "
         "or -"},
};

#define KIND_COUNT (sizeof kinds / sizeof *kinds)

void param_type_free(struct param_type *type)
{
    if (!type)
        return;
    param_type_free(type->element);
    for (size_t i = 0; type->choices && type->choices[i]; i++)
        free(type->choices[i]);
    free(type->choices);
    free(type);
}

static void skip_blanks(const char **text)
{
    while (**text == ' ')
        ++*text;
}

static struct param_type *parse_type(const char **text, int depth, char *error, size_t error_size);

/* Reads "(a,b)" behind enum. */
static bool parse_choices(const char **text, struct param_type *type, char *error, size_t error_size)
{
    size_t count = 0;
    type->choices = allocate_zeroed(MOST_CHOICES + 1, sizeof *type->choices);
    do {
        ++*text;
        skip_blanks(text);
        size_t length = strcspn(*text, ",()");
        size_t kept = length;
        while (kept && (*text)[kept - 1] == ' ')
            kept--;
        if (!kept || count == MOST_CHOICES) {
            snprintf(error, error_size, "%s",
                     kept ? "enum(...) has too many choices" : "enum(...) has an empty choice");
            return false;
        }
        type->choices[count] = allocate_zeroed(kept + 1, 1);
        memcpy(type->choices[count++], *text, kept);
        *text += length;
    } while (**text == ',');
    return true;
}

/* Reads what stands in parentheses behind enum, list, map. */
static bool parse_inside(const char **text, struct param_type *type, int depth, char *error,
                         size_t error_size)
{
    const char *name = kinds[type->kind].name;
    if (**text != '(') {
        snprintf(error, error_size, "%s needs %s, as in %s", name,
                 type->kind == PARAM_ENUM ? "choices" : "a type",
                 type->kind == PARAM_ENUM ? "enum(fast,safe)" : "list(string)");
        return false;
    }
    if (type->kind == PARAM_ENUM) {
        if (!parse_choices(text, type, error, error_size))
            return false;
    } else {
        ++*text;
        type->element = parse_type(text, depth + 1, error, error_size);
        if (!type->element)
            return false;
    }
    skip_blanks(text);
    if (**text != ')') {
        snprintf(error, error_size, "%s(... has no closing parenthesis", name);
        return false;
    }
    ++*text;
    return true;
}

static struct param_type *parse_type(const char **text, int depth, char *error, size_t error_size)
{
    skip_blanks(text);
    size_t length = strspn(*text, "abcdefghijklmnopqrstuvwxyz");
    size_t kind = 0;
    while (kind < KIND_COUNT &&
           (strlen(kinds[kind].name) != length || memcmp(kinds[kind].name, *text, length) != 0))
        kind++;
    if (kind == KIND_COUNT || depth > DEEPEST_TYPE) {
        snprintf(error, error_size,
                 "\"%.60s\" is no type; there are string, integer, number, boolean, duration, size, ip, "
                 "cidr, host, "
                 "port, path, url, enum(a,b), list(T), map(T), secret",
                 *text);
        return NULL;
    }
    struct param_type *type = allocate_zeroed(1, sizeof *type);
    type->kind = (enum param_kind)kind;
    *text += length;
    bool nested = kind == PARAM_ENUM || kind == PARAM_LIST || kind == PARAM_MAP;
    if (nested && !parse_inside(text, type, depth, error, error_size)) {
        param_type_free(type);
        return NULL;
    }
    skip_blanks(text);
    return type;
}

struct param_type *param_type_parse(const char *text, char *error, size_t error_size)
{
    const char *rest = text;
    struct param_type *type = parse_type(&rest, 1, error, error_size);
    if (!type || !*rest)
        return type;
    snprintf(error, error_size, "\"%.100s\" is no type: \"%.60s\" is too much", text, rest);
    param_type_free(type);
    return NULL;
}

static void write_type(const struct param_type *type, struct buffer *out)
{
    buffer_append_text(out, kinds[type->kind].name);
    if (!type->choices && !type->element)
        return;
    buffer_append_text(out, "(");
    if (type->element)
        write_type(type->element, out);
    for (size_t i = 0; type->choices && type->choices[i]; i++)
        buffer_format(out, "%s%s", i ? "," : "", type->choices[i]);
    buffer_append_text(out, ")");
}

void param_type_name(const struct param_type *type, char *out, size_t size)
{
    struct buffer name = {0};
    write_type(type, &name);
    snprintf(out, size, "%s", buffer_text(&name));
    buffer_free(&name);
}

/* ---- Messages ---- */

struct check {
    lua_State *L;
    const char *name; /* "secrets.@TOKEN@": whose value it is */
    char *error;
    size_t size;
};

/* "abc" is no port; give a port from 1 to 65535 such as 8300. Returns false. */
static bool refuse(const struct check *check, const struct param_type *type, const char *value)
{
    if (type->kind == PARAM_URL && strchr(value, '@')) { /* what stands before it may be a password */
        snprintf(check->error, check->size, "credentials do not belong into a url; give %s",
                 kinds[PARAM_URL].right);
        return false;
    }
    char shown[81];
    size_t length = 0;
    for (; value[length] && length + 1 < sizeof shown; length++)
        shown[length] = iscntrl((unsigned char)value[length]) ? '?' : value[length];
    while (value[length] && length && ((unsigned char)value[length] & 0xC0) == 0x80)
        length--; /* not in the middle of a character */
    shown[length] = '\0';
    const char *more = value[length] ? "..." : "";
    if (type->kind != PARAM_ENUM) {
        snprintf(check->error, check->size, "\"%s%s\" is no %s; give %s", shown, more, kinds[type->kind].name,
                 kinds[type->kind].right);
        return false;
    }
    struct buffer choices = {0};
    for (size_t i = 0; type->choices[i]; i++)
        buffer_format(&choices, "%s%s", i ? ", " : "", type->choices[i]);
    snprintf(check->error, check->size, "\"%s%s\" is no choice; give one of %s", shown, more,
             buffer_text(&choices));
    buffer_free(&choices);
    return false;
}

/* A Lua value of the wrong type: named by its type, and by itself where it is short and plain. */
static bool refuse_value(const struct check *check, const struct param_type *type, int index)
{
    lua_State *L = check->L;
    if (type->kind == PARAM_SECRET) {
        snprintf(check->error, check->size, "this is not where a secret is; give %s",
                 kinds[PARAM_SECRET].right);
        return false;
    }
    if (secret_is(L, index)) {
        snprintf(check->error, check->size,
                 "a secret is given where a %s is wanted; declare the parameter as secret",
                 kinds[type->kind].name);
        return false;
    }
    if (lua_type(L, index) == LUA_TSTRING)
        return refuse(check, type, lua_tostring(L, index));
    char value[64];
    if (lua_isinteger(L, index))
        snprintf(value, sizeof value, "%lld", (long long)lua_tointeger(L, index));
    else if (lua_type(L, index) == LUA_TNUMBER)
        snprintf(value, sizeof value, "%.14g", lua_tonumber(L, index));
    else if (lua_isboolean(L, index))
        snprintf(value, sizeof value, "%s", lua_toboolean(L, index) ? "true" : "false");
    else
        snprintf(value, sizeof value, "a %s value",
                 json_is_null(L, index) ? "null" : luaL_typename(L, index));
    return refuse(check, type, value);
}

/* ---- What texts look like ---- */

static bool is_ip(const char *text)
{
    unsigned char address[16];
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static bool is_cidr(const char *text)
{
    char address[64];
    unsigned char bytes[16];
    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof address)
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    size_t digits = strspn(slash + 1, "0123456789");
    if (!digits || digits > 3 || slash[1 + digits] || (digits > 1 && slash[1] == '0'))
        return false;
    long bits = strtol(slash + 1, NULL, 10);
    if (inet_pton(AF_INET, address, bytes) == 1)
        return bits <= 32;
    return inet_pton(AF_INET6, address, bytes) == 1 && bits <= 128;
}

/* RFC 1123. A last label of digits only would be a mistyped address. */
static bool is_host_name(const char *text)
{
    size_t length = strlen(text);
    if (!length || length > 253)
        return false;
    for (;;) {
        size_t label = strcspn(text, ".");
        if (!label || label > 63 || text[0] == '-' || text[label - 1] == '-')
            return false;
        bool digits_only = true;
        for (size_t i = 0; i < label; i++) {
            unsigned char c = (unsigned char)text[i];
            if (c >= 0x80 || (!isalnum(c) && c != '-'))
                return false;
            digits_only = digits_only && isdigit(c);
        }
        if (!text[label])
            return !digits_only;
        text += label + 1;
    }
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            return true;
    return false;
}

static bool is_path(const char *text)
{
    return text[0] == '/' && strlen(text) < PATH_MAX && !has_control(text);
}

/* Asks curl for a part: "" where there is none. */
static void url_part(CURLU *url, CURLUPart part, char *out, size_t size)
{
    char *text = NULL;
    snprintf(out, size, "%s", curl_url_get(url, part, &text, 0) == CURLUE_OK ? text : "");
    curl_free(text);
}

/* An http or https URL with a host and without a password, or unix:///path. */
static bool is_url(const char *text)
{
    if (strncmp(text, "unix://", 7) == 0)
        return is_path(text + 7);
    /* curl guesses a host in "http:///x" and "http:x". */
    const char *slashes = strstr(text, "://");
    if (!slashes || slashes[3] == '/')
        return false;
    CURLU *url = curl_url();
    if (!url)
        return false;
    char scheme[16] = "", host[256] = "", password[2] = "";
    if (!has_control(text) && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK) {
        url_part(url, CURLUPART_SCHEME, scheme, sizeof scheme);
        url_part(url, CURLUPART_HOST, host, sizeof host);
        url_part(url, CURLUPART_PASSWORD, password, sizeof password);
    }
    curl_url_cleanup(url);
    return (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) && host[0] && !password[0];
}

static bool is_choice(const char *text, char *const *choices)
{
    for (; *choices; choices++)
        if (strcmp(text, *choices) == 0)
            return true;
    return false;
}

/* Kinds whose value is the text itself. */
static bool text_fits(const struct param_type *type, const char *text)
{
    switch (type->kind) {
    case PARAM_STRING:
        return true;
    case PARAM_IP:
        return is_ip(text);
    case PARAM_CIDR:
        return is_cidr(text);
    case PARAM_HOST:
        return is_ip(text) || is_host_name(text);
    case PARAM_PATH:
        return is_path(text);
    case PARAM_URL:
        return is_url(text);
    case PARAM_ENUM:
        return is_choice(text, type->choices);
    default:
        return false;
    }
}

/* ---- From text ---- */

/* [-0, +(0|1), m] Decimal digits, nothing around them. */
static bool push_integer(lua_State *L, const char *text, lua_Integer low, lua_Integer high)
{
    size_t sign = text[0] == '-', digits = strspn(text + sign, "0123456789");
    errno = 0;
    long long number = strtoll(text, NULL, 10);
    if (!digits || text[sign + digits] || errno || number < low || number > high)
        return false;
    lua_pushinteger(L, number);
    return true;
}

/* [-0, +(0|1), m] */
static bool push_number(lua_State *L, const char *text)
{
    if (push_integer(L, text, LUA_MININTEGER, LUA_MAXINTEGER))
        return true;
    if (!*text || text[strspn(text, "0123456789.eE+-")] || !lua_stringtonumber(L, text))
        return false;
    if (isfinite(lua_tonumber(L, -1)))
        return true;
    lua_pop(L, 1);
    return false;
}

/* [-0, +(0|1), m] */
static bool push_quantity(lua_State *L, enum param_kind kind, const char *text)
{
    int64_t amount;
    if (kind == PARAM_SIZE) {
        if (!size_parse(text, &amount))
            return false;
        lua_pushinteger(L, amount);
        return true;
    }
    if (!duration_parse(text, &amount))
        return false;
    if (amount % 1000)
        lua_pushnumber(L, (lua_Number)amount / 1000);
    else
        lua_pushinteger(L, amount / 1000);
    return true;
}

/* [-0, +(0|1), m] */
static bool push_scalar(lua_State *L, const struct param_type *type, const char *text)
{
    switch (type->kind) {
    case PARAM_INTEGER:
        return push_integer(L, text, LUA_MININTEGER, LUA_MAXINTEGER);
    case PARAM_PORT:
        return push_integer(L, text, 1, 65535);
    case PARAM_NUMBER:
        return push_number(L, text);
    case PARAM_DURATION:
    case PARAM_SIZE:
        return push_quantity(L, type->kind, text);
    case PARAM_BOOLEAN:
        lua_pushboolean(L, text[0] == 't');
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
    default:
        if (!text_fits(type, text))
            return false;
        lua_pushstring(L, text);
        return true;
    }
}

/* Puts "item 2: " before the message that is there. Returns false. */
static bool in_item(const struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool in_item(const struct check *check, const char *format, ...)
{
    struct buffer inner = {0};
    buffer_append_text(&inner, check->error);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(check->error, check->size, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < check->size)
        snprintf(check->error + length, check->size - (size_t)length, ": %s", buffer_text(&inner));
    buffer_free(&inner);
    return false;
}

static bool from_text(const struct check *check, const struct param_type *type, const char *text);
static bool from_lua(const struct check *check, const struct param_type *type, int index);

#define LONGEST_NAME 128

/* The same for an item: of a map by its key, of a list (`key` is NULL) by its number. */
static struct check check_item(const struct check *check, const char *key, int number,
                               char name[LONGEST_NAME])
{
    struct check item = *check;
    if (key)
        snprintf(name, LONGEST_NAME, "%s.%s", check->name, key);
    else
        snprintf(name, LONGEST_NAME, "%s[%d]", check->name, number);
    item.name = name;
    return item;
}

/* [-0, +(0|1), v] "a, b": blanks around an item do not count, and a text without any is a list of none. */
static bool list_from_commas(const struct check *check, const struct param_type *type, const char *text)
{
    lua_State *L = check->L;
    lua_newtable(L);
    json_mark_array(L, -1);
    if (!text[strspn(text, " ")])
        return true;
    for (int number = 1; text; number++) {
        text += strspn(text, " ");
        size_t length = strcspn(text, ","), kept = length;
        while (kept && text[kept - 1] == ' ')
            kept--;
        if (!kept || number > MOST_ITEMS) {
            snprintf(check->error, check->size, "item %d is empty; give %s", number, kinds[PARAM_LIST].right);
            return false;
        }
        char name[LONGEST_NAME];
        const char *item = lua_pushlstring(L, text, kept);
        struct check inner = check_item(check, NULL, number, name);
        if (!from_text(&inner, type->element, item))
            return in_item(check, "item %d", number);
        lua_rawseti(L, -3, number);
        lua_pop(L, 1);
        text = text[length] ? text + length + 1 : NULL;
    }
    return true;
}

/* [-0, +(0|1), v] */
static bool from_json(const struct check *check, const struct param_type *type, const char *text)
{
    char reason[200];
    if (!json_decode(check->L, text, strlen(text), reason, sizeof reason)) {
        /* The text may hold what should have been a secret's source: it is not repeated. */
        snprintf(check->error, check->size, "not JSON (%s); give %s", reason, kinds[type->kind].right);
        return false;
    }
    return from_lua(check, type, lua_gettop(check->L));
}

/* [-0, +(0|1), v] On failure more may be left on the stack: the callers outside put it back. */
static bool from_text(const struct check *check, const struct param_type *type, const char *text)
{
    luaL_checkstack(check->L, 8, "no room for a parameter");
    if (type->kind == PARAM_SECRET)
        return param_secret(check->L, check->name, text, check->error, check->size);
    if (type->kind == PARAM_MAP || (type->kind == PARAM_LIST && text[strspn(text, " ")] == '['))
        return from_json(check, type, text);
    if (type->kind == PARAM_LIST)
        return list_from_commas(check, type, text);
    return push_scalar(check->L, type, text) ? true : refuse(check, type, text);
}

/* ---- From Lua ---- */

/* [-0, +(0|1), v] */
static bool list_from_lua(const struct check *check, const struct param_type *type, int index)
{
    lua_State *L = check->L;
    lua_Unsigned count = lua_rawlen(L, index), keys = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        keys++;
    if (keys != count || count > MOST_ITEMS)
        return refuse_value(check, type, index);
    lua_createtable(L, (int)count, 0);
    json_mark_array(L, -1);
    int list = lua_gettop(L);
    for (lua_Unsigned i = 1; i <= count; i++) {
        char name[LONGEST_NAME];
        struct check inner = check_item(check, NULL, (int)i, name);
        lua_rawgeti(L, index, (lua_Integer)i);
        if (!from_lua(&inner, type->element, list + 1))
            return in_item(check, "item %d", (int)i);
        lua_rawseti(L, list, (lua_Integer)i);
        lua_settop(L, list);
    }
    return true;
}

/* [-0, +(0|1), v] */
static bool map_from_lua(const struct check *check, const struct param_type *type, int index)
{
    lua_State *L = check->L;
    lua_newtable(L);
    int map = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_type(L, map + 1) != LUA_TSTRING)
            return refuse_value(check, type, index);
        char name[LONGEST_NAME];
        struct check inner = check_item(check, lua_tostring(L, map + 1), 0, name);
        if (!from_lua(&inner, type->element, map + 2))
            return in_item(check, "%.80s", lua_tostring(L, map + 1));
        lua_pushvalue(L, map + 1);
        lua_insert(L, -2);
        lua_rawset(L, map);
        lua_settop(L, map + 1);
    }
    return true;
}

/* [-0, +(0|1), v] */
static bool number_from_lua(const struct check *check, const struct param_type *type, int index)
{
    lua_State *L = check->L;
    int whole = 0;
    lua_Integer integer = lua_tointegerx(L, index, &whole);
    lua_Number number = lua_tonumber(L, index);
    bool good;
    switch (type->kind) {
    case PARAM_INTEGER:
        good = whole;
        break;
    case PARAM_PORT:
        good = whole && integer >= 1 && integer <= 65535;
        break;
    case PARAM_SIZE:
        good = whole && integer >= 0;
        break;
    case PARAM_DURATION:
        good = number >= 0 && number <= 9007199254740.0;
        break;
    default:
        good = type->kind == PARAM_NUMBER && isfinite(number);
    }
    if (!good)
        return refuse_value(check, type, index);
    if (whole)
        lua_pushinteger(L, integer);
    else
        lua_pushnumber(L, number);
    return true;
}

/* [-0, +(0|1), v] A text is read as --set reads it only where it has a notation of its own ("1d"); "5" is no
 * integer. */
static bool text_from_lua(const struct check *check, const struct param_type *type, int index)
{
    size_t length;
    const char *text = lua_tolstring(check->L, index, &length);
    if (strlen(text) != length)
        return refuse_value(check, type, index);
    switch (type->kind) {
    case PARAM_SECRET:
        return param_secret(check->L, check->name, text, check->error, check->size);
    case PARAM_INTEGER:
    case PARAM_NUMBER:
    case PARAM_BOOLEAN:
    case PARAM_PORT:
        return refuse_value(check, type, index);
    default:
        return push_scalar(check->L, type, text) ? true : refuse_value(check, type, index);
    }
}

/* [-0, +(0|1), v] `index` is absolute. On failure more may be left on the stack. */
static bool from_lua(const struct check *check, const struct param_type *type, int index)
{
    lua_State *L = check->L;
    luaL_checkstack(L, 8, "no room for a parameter");
    bool plain = lua_isboolean(L, index) && type->kind == PARAM_BOOLEAN;
    /* A default computed under --check may be unknown; what uses it says so. */
    if (plain || unknown_is(L, index) || (type->kind == PARAM_SECRET && secret_is(L, index))) {
        lua_pushvalue(L, index);
        return true;
    }
    if (lua_istable(L, index) && type->kind == PARAM_LIST)
        return list_from_lua(check, type, index);
    if (lua_istable(L, index) && type->kind == PARAM_MAP)
        return map_from_lua(check, type, index);
    if (lua_type(L, index) == LUA_TNUMBER)
        return number_from_lua(check, type, index);
    if (lua_type(L, index) == LUA_TSTRING)
        return text_from_lua(check, type, index);
    return refuse_value(check, type, index);
}

/* [-0, +(0|1), -] Leaves the value alone above `top`, or nothing. */
static bool settle(lua_State *L, int top, bool good)
{
    if (good) {
        lua_insert(L, top + 1);
        lua_settop(L, top + 1);
    } else {
        lua_settop(L, top);
    }
    return good;
}

bool param_from_text(lua_State *L, const struct param_type *type, const char *name, const char *text,
                     char *error, size_t error_size)
{
    int top = lua_gettop(L);
    return settle(L, top, from_text(&(struct check){L, name, error, error_size}, type, text));
}

bool param_from_lua(lua_State *L, const struct param_type *type, const char *name, int index, char *error,
                    size_t error_size)
{
    int top = lua_gettop(L);
    index = lua_absindex(L, index);
    return settle(L, top, from_lua(&(struct check){L, name, error, error_size}, type, index));
}

bool param_secret(lua_State *L, const char *name, const char *source, char *error, size_t error_size)
{
    struct secret_source parsed;
    struct failure failure;
    char question[LONGEST_NAME + 2];
    if (!secret_source_parse(runtime_of(L), source, &parsed)) {
        /* What was given may be the secret itself. */
        snprintf(error, error_size, "a secret is never given itself; give %s", kinds[PARAM_SECRET].right);
        return false;
    }
    if (parsed.place == SECRET_PROMPT) {
        snprintf(question, sizeof question, "%s: ", name);
        parsed.name = question;
    } else if (parsed.place == SECRET_INPUT) {
        parsed.name = name;
    }
    if (secret_source_push(L, &parsed, &failure))
        return true;
    if (strcmp(failure.kind, "cancelled") == 0)
        return failure_raise(L, &failure); /* nothing is wrong with the parameter */
    snprintf(error, error_size, "%s: %s%s%s", failure.op, failure.message, failure.hint[0] ? "; " : "",
             failure.hint);
    return false;
}
