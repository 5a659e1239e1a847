/* What dpkg-query and apt-cache print, read line by line. */
#include "apt_query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *line_after(const char *line)
{
    const char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

/* Copies the `index`th field of a line of tab-separated ones. */
static void copy_field(const char *line, size_t index, char *out, size_t size)
{
    while (index-- && *line && *line != '\n') {
        line += strcspn(line, "\t\n");
        line += *line == '\t';
    }
    snprintf(out, size, "%.*s", (int)strcspn(line, "\t\n"), line);
}

/* Is it the package, and of the architecture where one is named? */
static bool is_package(const char *line, const char *name)
{
    char package[128], architecture[32];
    size_t length = strcspn(name, ":");
    copy_field(line, 0, package, sizeof package);
    copy_field(line, 1, architecture, sizeof architecture);
    if (strlen(package) != length || memcmp(package, name, length) != 0)
        return false;
    return !name[length] || strcmp(name + length + 1, architecture) == 0 ||
           strcmp(name + length, ":any") == 0;
}

void apt_query_find(const char *output, const char *name, struct apt_status *status)
{
    *status = (struct apt_status){.wanted = 'u', .present = 'n'};
    for (const char *line = output; *line; line = line_after(line)) {
        char letters[8] = "";
        if (!is_package(line, name))
            continue;
        copy_field(line, 2, letters, sizeof letters);
        if (strlen(letters) < 2 || status->present == 'i')
            continue;
        status->wanted = letters[0];
        status->present = letters[1];
        status->broken = letters[2] == 'R';
        copy_field(line, 3, status->version, sizeof status->version);
    }
}

bool apt_status_complete(const struct apt_status *status)
{
    return !status->broken && strchr("iWt", status->present);
}

/* "     1.8.7-1 500" or " *** 1.8.7-1 500": a version of the table. */
static bool read_version(const char *line, struct apt_choice *choice)
{
    if (strncmp(line, "     ", 5) != 0 && strncmp(line, " *** ", 5) != 0)
        return false;
    if (line[5] == ' ' || line[5] == '\n' || !line[5])
        return false;
    *choice = (struct apt_choice){0};
    size_t length = strcspn(line + 5, " \n");
    if (length >= sizeof choice->version)
        return false;
    memcpy(choice->version, line + 5, length);
    choice->priority = atoi(line + 5 + length);
    return true;
}

size_t apt_policy_find(const char *output, const char *name, char candidate[APT_VERSION_SIZE],
                       struct apt_choice *choices, size_t room)
{
    size_t count = 0, length = strlen(name);
    bool here = false, room_left = true;
    candidate[0] = '\0';
    for (const char *line = output; *line; line = line_after(line)) {
        if (*line != ' ') {
            here = strncmp(line, name, length) == 0 && line[length] == ':' &&
                   (line[length + 1] == '\n' || !line[length + 1]);
            continue;
        }
        if (!here)
            continue;
        struct apt_choice choice;
        if (strncmp(line, "  Candidate: ", 13) == 0 && line[13] != '(') {
            snprintf(candidate, APT_VERSION_SIZE, "%.*s", (int)strcspn(line + 13, "\n"), line + 13);
        } else if (read_version(line, &choice)) {
            room_left = count < room;
            if (room_left)
                choices[count++] = choice;
        } else if (count && room_left && strncmp(line, "        ", 8) == 0) {
            /* "        500 http://host/path suite/component amd64 Packages" */
            const char *source = line + strspn(line, " -0123456789");
            choices[count - 1].downloadable =
                choices[count - 1].downloadable || strncmp(source, "/var/lib/dpkg/status", 20) != 0;
        }
    }
    return count;
}
