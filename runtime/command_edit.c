/* moonbook edit: an own copy of a shipped runbook, opened in the editor. */
#include "buffer.h"
#include "command.h"
#include "foreground.h"
#include "host.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes the folders above `path`. */
static bool make_parents(const char *path, struct failure *failure)
{
    char *partial = copy_text(path);
    bool done = true;
    for (char *slash = strchr(partial + 1, '/'); slash && done; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(partial, 0755) != 0 && errno != EEXIST)
            done = failure_errno(failure, errno, "edit", "%s cannot be made", partial);
        *slash = '/';
    }
    free(partial);
    return done;
}

static int edit(lua_State *L)
{
    const struct command_line *line = lua_touserdata(L, 1);
    struct runtime *runtime = runtime_of(L);
    struct failure failure;
    struct runbook runbook;
    if (!runbook_find(runtime, line->words[0], &runbook, &failure))
        return failure_raise(L, &failure);
    struct buffer path = {0}, content = {0};
    runbook_own_folder(&path);
    bool copied = strcmp(runbook.origin, "shipped") == 0 || strcmp(runbook.origin, "site") == 0;
    if (copied)
        buffer_format(&path, "/%s.lua", runbook.name);
    else {
        buffer_clear(&path);
        buffer_append_text(&path, runbook.path);
    }
    bool done = true;
    if (copied) {
        done =
            make_parents(path.bytes, &failure) && host_read(runtime->local, runbook.path, &content, &failure);
        struct host_file file = {
            .path = path.bytes, .bytes = buffer_text(&content), .length = content.length, .mode = 0644};
        done = done && host_write(runtime->local, &file, &failure);
    }
    lua_pushstring(L, buffer_text(&path));
    buffer_free(&path);
    buffer_free(&content);
    runbook_free(&runbook);
    if (!done)
        return failure_raise(L, &failure);
    report_say(runtime, copied ? "%s is your own copy; it wins over the shipped one\n" : "%s\n",
               lua_tostring(L, -1));
    lua_setfield(L, LUA_REGISTRYINDEX, "moonbook.edit");
    return 0;
}

/* The editor gets the terminal; it is waited for outside the loop, as nothing else goes on meanwhile. */
static int open_editor(struct runtime *runtime, const char *path)
{
    const char *editor = foreground_editor();
    if (!editor || !isatty(STDIN_FILENO))
        return EXIT_DONE;
    return foreground_run(runtime, editor, path, NULL) ? EXIT_DONE : EXIT_FAILED;
}

static int execute_edit(struct runtime *runtime, const struct command_line *line)
{
    int status = command_drive(runtime, edit, line);
    if (status != EXIT_DONE)
        return status;
    lua_getfield(runtime->L, LUA_REGISTRYINDEX, "moonbook.edit");
    status = open_editor(runtime, lua_tostring(runtime->L, -1));
    lua_pop(runtime->L, 1);
    return status;
}

const struct command command_edit = {
    .name = "edit",
    .arguments = "RUNBOOK",
    .about = "copy a shipped runbook to your own folder and open it in $EDITOR",
    .least_words = 1,
    .most_words = 1,
    .execute = execute_edit,
};
