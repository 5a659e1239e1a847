/* moonbook hosts: what a list of hosts stands for, before a run goes there. */
#include "command.h"
#include "host.h"
#include "inventory.h"
#include "json.h"
#include "report.h"

#include <lauxlib.h>

static int show(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    const struct command_line *line = lua_touserdata(L, 1);
    inventory_push(L, line->words[0], line->except);
    int list = lua_gettop(L);
    struct buffer text = {0};
    struct json_text names = {0};
    json_open_array(&names);
    for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++, lua_pop(L, 1)) {
        const struct host *host = lua_touserdata(L, -1);
        buffer_format(&text, "%s\n", host->name);
        json_string(&names, host->name);
    }
    json_close_array(&names);
    buffer_append(&names.out, "\n", 1);
    const struct buffer *shown = runtime->options.json ? &names.out : &text;
    report_output(runtime, buffer_text(shown), shown->length);
    buffer_free(&text);
    buffer_free(&names.out);
    return 0;
}

static int execute(struct runtime *runtime, const struct command_line *line)
{
    return command_drive(runtime, show, line);
}

const struct command command_hosts = {
    .name = "hosts",
    .arguments = "HOSTS",
    .about = "the hosts that a list such as that of --on stands for",
    .takes = TAKES_JSON | TAKES_HOSTS,
    .least_words = 1,
    .most_words = 1,
    .execute = execute,
};
