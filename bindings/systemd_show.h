/* What `systemctl show` prints, read. Pure functions. */
#ifndef MOONBOOK_SYSTEMD_SHOW_H
#define MOONBOOK_SYSTEMD_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNIT_NAME_SIZE 257

/* The properties to ask for. */
#define SYSTEMD_PROPERTIES                                                                                   \
    "Id,LoadState,ActiveState,SubState,UnitFileState,MainPID,NRestarts,Result,NeedDaemonReload,"             \
    "InvocationID,"                                                                                          \
    "ExecMainStartTimestamp,ActiveEnterTimestamp,ExecMainStatus,FragmentPath,DropInPaths,Description"

struct unit_state {
    char id[UNIT_NAME_SIZE]; /* the unit's own name, where the one asked for is an alias */
    char load[24];           /* "loaded", "not-found", "masked", "bad-setting", "error" */
    char active[24];         /* "active", "activating", "inactive", "failed", ... */
    char sub[32];
    char enabled[24]; /* "enabled", "disabled", "static", "masked", ...; "" where there is no unit file */
    char result[32];  /* "success", "exit-code", ... */
    char invocation[40];
    char fragment[512];
    char drop_ins[1024]; /* paths, with blanks between */
    char description[256];
    long pid;           /* of the main process, 0 = none */
    long restarts;      /* by systemd itself, since it was started by hand */
    long exit_status;   /* of the main process that ended last */
    bool reload_needed; /* the unit file changed since it was read */
    int64_t started_us; /* when the main process started, microseconds since 1970; 0 = never */
    int64_t active_since_us;
};

/* Reads the blocks, one a unit in the order asked for; returns how many there were (at most `room` are stored). */
size_t systemd_show_read(const char *output, struct unit_state *states, size_t room);

/* Takes note of a drop-in that is on the disk: when the unit does not have it, it has to be read anew. systemd's own
 * NeedDaemonReload misses those in a folder that is new. */
void systemd_note_drop_in(struct unit_state *state, const char *path, size_t length);

/* "Fri 2026-11-22 10:46:00.123456 UTC" in microseconds since 1970; with or without the fraction. 0 for "n/a", "" and
 * anything else. */
int64_t systemd_timestamp(const char *text);

/* Writes a unit's full name: "nomad" is nomad.service. False for what cannot be one. */
bool systemd_unit_name(const char *given, char out[UNIT_NAME_SIZE]);

#endif
