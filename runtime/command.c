/* What the commands share: driving a function in a fiber, exit statuses. */
#include "command.h"

#include "fiber.h"
#include "report.h"

#include <string.h>

int command_exit_status(const struct failure *failure)
{
    if (strcmp(failure->kind, "usage") == 0)
        return EXIT_USAGE_ERROR;
    return strcmp(failure->kind, "cancelled") == 0 ? EXIT_INTERRUPTED : EXIT_FAILED;
}

int command_drive(struct runtime *runtime, lua_CFunction function, const struct command_line *line)
{
    struct failure failure;
    lua_pushcfunction(runtime->L, function);
    lua_pushlightuserdata(runtime->L, (void *)(uintptr_t)line);
    if (fiber_drive(runtime->L, fiber_start(runtime->L, 1), NULL)) {
        lua_settop(runtime->L, 0);
        return EXIT_DONE;
    }
    failure_from_lua(runtime->L, -1, &failure);
    lua_settop(runtime->L, 0);
    report_error(runtime, &failure);
    return command_exit_status(&failure);
}
