/* What `systemctl show` prints: NAME=VALUE lines, a blank line between units. */
#include "systemd_show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t systemd_timestamp(const char *text)
{
    struct tm time = {0};
    long micro = 0;
    char fraction[8] = "";
    int read = sscanf(text, "%*3[A-Za-z] %d-%d-%d %d:%d:%d.%6[0-9]", &time.tm_year, &time.tm_mon,
                      &time.tm_mday, &time.tm_hour, &time.tm_min, &time.tm_sec, fraction);
    size_t length = strlen(text);
    if (read < 6 || length < 4 || strcmp(text + length - 4, " UTC") != 0)
        return 0;
    for (size_t i = 0; i < 6; i++)
        micro = micro * 10 + (i < strlen(fraction) ? fraction[i] - '0' : 0);
    time.tm_year -= 1900;
    time.tm_mon -= 1;
    return (int64_t)timegm(&time) * 1000000 + micro;
}

/* How a property is kept. */
enum property_kind { TEXT, NUMBER, FLAG, TIMESTAMP };

struct property {
    const char *name;
    enum property_kind kind;
    size_t offset, size;
};

#define FIELD(property, kind, member)                                                                        \
    {                                                                                                        \
        property, kind, offsetof(struct unit_state, member), sizeof((struct unit_state *)0)->member          \
    }

static const struct property properties[] = {
    FIELD("Id", TEXT, id),
    FIELD("LoadState", TEXT, load),
    FIELD("ActiveState", TEXT, active),
    FIELD("SubState", TEXT, sub),
    FIELD("UnitFileState", TEXT, enabled),
    FIELD("Result", TEXT, result),
    FIELD("InvocationID", TEXT, invocation),
    FIELD("FragmentPath", TEXT, fragment),
    FIELD("DropInPaths", TEXT, drop_ins),
    FIELD("Description", TEXT, description),
    FIELD("MainPID", NUMBER, pid),
    FIELD("NRestarts", NUMBER, restarts),
    FIELD("ExecMainStatus", NUMBER, exit_status),
    FIELD("NeedDaemonReload", FLAG, reload_needed),
    FIELD("ExecMainStartTimestamp", TIMESTAMP, started_us),
    FIELD("ActiveEnterTimestamp", TIMESTAMP, active_since_us),
};

static void store(struct unit_state *state, const struct property *property, const char *value)
{
    char *field = (char *)state + property->offset;
    switch (property->kind) {
    case TEXT:
        snprintf(field, property->size, "%s", value);
        break;
    case NUMBER: {
        long number = strtol(value, NULL, 10);
        memcpy(field, &number, sizeof number);
        break;
    }
    case FLAG: {
        bool flag = strcmp(value, "yes") == 0;
        memcpy(field, &flag, sizeof flag);
        break;
    }
    case TIMESTAMP: {
        int64_t time = systemd_timestamp(value);
        memcpy(field, &time, sizeof time);
        break;
    }
    }
}

static void read_line(struct unit_state *state, const char *line, size_t length)
{
    char value[1024];
    const char *equals = memchr(line, '=', length);
    if (!equals)
        return;
    size_t name = (size_t)(equals - line), left = length - name - 1;
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        if (strlen(properties[i].name) != name || memcmp(properties[i].name, line, name) != 0)
            continue;
        snprintf(value, sizeof value, "%.*s", (int)left, equals + 1);
        store(state, &properties[i], value);
        return;
    }
}

size_t systemd_show_read(const char *output, struct unit_state *states, size_t room)
{
    size_t count = 0;
    bool inside = false;
    while (*output) {
        size_t length = strcspn(output, "\n");
        if (!length) {
            inside = false;
        } else {
            if (!inside && count++ < room)
                states[count - 1] = (struct unit_state){0};
            inside = true;
            if (count <= room)
                read_line(&states[count - 1], output, length);
        }
        output += length + (output[length] == '\n');
    }
    return count;
}

void systemd_note_drop_in(struct unit_state *state, const char *path, size_t length)
{
    if (strlen(state->drop_ins) + 1 == sizeof state->drop_ins)
        return; /* cut off: nobody can say what is missing */
    for (const char *at = state->drop_ins; *at;) {
        size_t word = strcspn(at, " ");
        if (word == length && memcmp(at, path, length) == 0)
            return;
        at += word;
        at += strspn(at, " ");
    }
    state->reload_needed = true;
}

bool systemd_unit_name(const char *given, char out[UNIT_NAME_SIZE])
{
    static const char *const types[] = {".service", ".socket",    ".timer", ".target", ".mount", ".path",
                                        ".slice",   ".automount", ".swap",  ".scope",  ".device"};
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@";
    size_t length = strlen(given);
    if (!length || length + sizeof ".service" > UNIT_NAME_SIZE || strspn(given, letters) != length ||
        *given == '-' || *given == '.')
        return false;
    bool typed = false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t end = strlen(types[i]);
        typed = typed || (length > end && strcmp(given + length - end, types[i]) == 0);
    }
    snprintf(out, UNIT_NAME_SIZE, "%s%s", given, typed ? "" : ".service");
    return true;
}
