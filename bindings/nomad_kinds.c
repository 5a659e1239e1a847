/* What nomad.present and nomad.absent know: how each kind of thing is read, written and removed. */
#include "kinds.h"

#include "converge.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

/* --- jobs ---------------------------------------------------------------------------------------------------------------- */

/* [-0, +1, m] The options of a call about the job: its own namespace, where the data name one. */
static void push_job_options(struct convergence *c)
{
    lua_State *L = c->L;
    lua_newtable(L);
    if (!c->wanted)
        return;
    lua_getfield(L, c->wanted, "Namespace");
    lua_setfield(L, -2, "namespace");
}

/* [-0, +0, v] Data that are the text of a job file: the server parses it. */
static void parse_job(struct convergence *c)
{
    lua_State *L = c->L;
    if (lua_getfield(L, c->wanted, "HCL") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_setfield(L, -2, "JobHCL");
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "Canonicalize");
    converge_call(c, "jobs", "parse_job", 1);
    lua_pop(L, 1);
    char word[API_WORD];
    const char *given = c->kind->given;
    while (lua_istable(L, -1) && api_next_word(&given, word, sizeof word, NULL)) {
        lua_pushnil(L); /* what a parser can only guess is not wanted */
        lua_setfield(L, -2, word);
    }
    lua_replace(L, c->wanted);
}

static void check_job(struct convergence *c)
{
    lua_State *L = c->L;
    char id[256];
    if (!c->wanted)
        return;
    parse_job(c);
    if (!lua_istable(L, c->wanted))
        return; /* only a real run can know it */
    if (converge_text(L, c->wanted, "ID", id, sizeof id) && strcmp(id, c->name) != 0)
        converge_refuse(c, "name it as its ID says", "the job's ID is \"%s\"", id);
    lua_pushstring(L, c->name);
    lua_setfield(L, c->wanted, "ID");
    if (lua_getfield(L, c->wanted, "TaskGroups") != LUA_TNIL && !lua_istable(L, -1))
        converge_refuse(c, "TaskGroups = {{Name = \"...\", Tasks = {...}}}", "TaskGroups is a list");
    lua_pop(L, 1);
}

static void look_at_job(struct convergence *c)
{
    lua_State *L = c->L;
    lua_pushstring(L, c->name);
    push_job_options(c);
    converge_call(c, "jobs", "read_job", 2);
    lua_pop(L, 1);
    if (!lua_istable(L, -1))
        return;
    c->index = converge_integer(L, lua_gettop(L), "JobModifyIndex");
    lua_getfield(L, -1, "Stop");
    bool stopped = lua_toboolean(L, -1);
    lua_pop(L, 1);
    bool purges = false;
    if (c->options) {
        lua_getfield(L, c->options, "purge");
        purges = lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    if (stopped && !c->wanted && !purges)
        lua_pushnil(L); /* it is as absent as a job is that was stopped */
}

/* [-0, +0, v] Present means: not stopped. */
static void settle_job(struct convergence *c)
{
    lua_State *L = c->L;
    bool there = !fields_is_nothing(L, c->found);
    if (lua_getfield(L, c->wanted, "Stop") == LUA_TNIL) {
        lua_pushboolean(L, false);
        lua_setfield(L, c->wanted, "Stop");
    }
    if (!there && lua_getfield(L, c->wanted, "Name") == LUA_TNIL) {
        lua_pushstring(L, c->name);
        lua_setfield(L, c->wanted, "Name");
    }
    if (!there && lua_getfield(L, c->wanted, "TaskGroups") == LUA_TNIL)
        converge_refuse(c, "TaskGroups = {{Name = \"...\", Tasks = {...}}}, or the text of a job file",
                        "there is no such job yet, and the data have no TaskGroups");
}

static void account_for(struct convergence *c, struct buffer *path, int part);

/* Appends "-path.Name: Old" and "+path.Name: New" of a field of the plan's difference. */
static void account_for_field(struct convergence *c, const struct buffer *path, int field)
{
    lua_State *L = c->L;
    char type[32], name[256];
    converge_text(L, field, "Type", type, sizeof type);
    converge_text(L, field, "Name", name, sizeof name);
    if (strcmp(type, "None") == 0)
        return;
    for (int i = 0; i < 2; i++) {
        lua_getfield(L, field, i == 0 ? "Old" : "New");
        if (lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) > 0)
            buffer_format(&c->account, "%c%s%s%s: %s\n", i == 0 ? '-' : '+', buffer_text(path),
                          path->length ? "." : "", name, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

/* The parts of a list of the difference: objects, groups, tasks. */
static void account_for_list(struct convergence *c, struct buffer *path, int part, const char *list)
{
    lua_State *L = c->L;
    size_t length = path->length;
    char name[256];
    luaL_checkstack(L, 8, "a plan");
    if (lua_getfield(L, part, list) == LUA_TTABLE)
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE; i++) {
            int item = lua_gettop(L);
            converge_text(L, item, "Name", name, sizeof name);
            if (strcmp(list, "Fields") == 0)
                account_for_field(c, path, item);
            else {
                bool named = strcmp(list, "Objects") != 0;
                buffer_format(path, "%s%s%s%s%s", length ? "." : "", named ? list : "", named ? "[" : "",
                              name, named ? "]" : "");
                account_for(c, path, item);
                path->bytes[path->length = length] = '\0';
            }
            lua_settop(L, item - 1);
        }
    else
        lua_pushnil(L);
    lua_pop(L, 2);
}

/* A part of the plan's difference (https://developer.hashicorp.com/nomad/api-docs/jobs#create-job-plan). */
static void account_for(struct convergence *c, struct buffer *path, int part)
{
    account_for_list(c, path, part, "Fields");
    account_for_list(c, path, part, "Objects");
    account_for_list(c, path, part, "TaskGroups");
    account_for_list(c, path, part, "Tasks");
}

/* [-0, +0, v] Where fields differ the server itself is asked: it alone knows what it makes of what is not said. */
static bool is_same_job(struct convergence *c, int found)
{
    lua_State *L = c->L;
    char type[32];
    struct api_passage passage = {0}; /* its own: what was read is predicted, not the plan */
    int top = lua_gettop(L);
    if (c->predicted) /* the server plans from what it has */
        return false;
    lua_pushstring(L, c->name);
    push_job_options(c);
    fields_push_merged(L, &c->fields, c->wanted, found);
    lua_setfield(L, -2, "Job");
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "Diff");
    api_invoke(L, c->client, api_find(c->product, "jobs", "plan_job"), 2, &passage);
    buffer_free(&passage.url);
    lua_pop(L, 1);
    bool same = false;
    if (lua_istable(L, -1) && lua_getfield(L, -1, "Diff") == LUA_TTABLE) {
        struct buffer path = {0};
        same = converge_text(L, lua_gettop(L), "Type", type, sizeof type) && strcmp(type, "None") == 0;
        if (!c->verifies && !fields_has_secret(L, c->wanted)) { /* the server shows what a secret replaces */
            buffer_clear(&c->account);
            account_for(c, &path, lua_gettop(L));
            buffer_free(&path);
        }
    }
    lua_settop(L, top);
    return same;
}

static void write_job(struct convergence *c)
{
    lua_State *L = c->L;
    push_job_options(c);
    lua_pushvalue(L, c->sent);
    lua_setfield(L, -2, "Job");
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "EnforceIndex");
    lua_pushinteger(L, c->index);
    lua_setfield(L, -2, "JobModifyIndex");
    converge_call(c, "jobs", "register_job", 1);
}

static void remove_job(struct convergence *c)
{
    lua_State *L = c->L;
    lua_pushstring(L, c->name);
    push_job_options(c);
    if (c->options) {
        lua_getfield(L, c->options, "purge");
        lua_setfield(L, -2, "purge");
    }
    converge_call(c, "jobs", "stop_job", 2);
}

/* --- namespaces, policies, node pools ------------------------------------------------------------------------------------------ */

/* [-0, +1, v] */
static void read_by_name(struct convergence *c, const char *group, const char *name)
{
    lua_pushstring(c->L, c->name);
    converge_call(c, group, name, 1);
    lua_pop(c->L, 1);
}

static void remove_by_name(struct convergence *c, const char *group, const char *name)
{
    lua_pushstring(c->L, c->name);
    converge_call(c, group, name, 1);
}

/* [-0, +1, m] What goes out, with its name in it. */
static void push_named(struct convergence *c)
{
    lua_pushvalue(c->L, c->sent);
    lua_pushstring(c->L, c->name);
    lua_setfield(c->L, -2, "Name");
}

static void look_at_namespace(struct convergence *c)
{
    read_by_name(c, "namespaces", "read_namespace");
}

static void write_namespace(struct convergence *c)
{
    push_named(c);
    converge_call(c, "namespaces", "create_namespace", 1);
}

static void remove_namespace(struct convergence *c)
{
    remove_by_name(c, "namespaces", "delete_namespace");
}

static void look_at_policy(struct convergence *c)
{
    read_by_name(c, "acl", "read_acl_policy");
}

static void write_policy(struct convergence *c)
{
    lua_pushstring(c->L, c->name);
    push_named(c);
    converge_call(c, "acl", "put_acl_policy", 2);
}

static void remove_policy(struct convergence *c)
{
    remove_by_name(c, "acl", "delete_acl_policy");
}

static void look_at_pool(struct convergence *c)
{
    read_by_name(c, "node-pools", "read_node_pool");
}

static void write_pool(struct convergence *c)
{
    push_named(c);
    converge_call(c, "node-pools", "create_node_pool", 1);
}

static void remove_pool(struct convergence *c)
{
    remove_by_name(c, "node-pools", "delete_node_pool");
}

/* --- variables ------------------------------------------------------------------------------------------------------------------- */

static void look_at_variable(struct convergence *c)
{
    read_by_name(c, "variables", "read_variable");
    if (lua_istable(c->L, -1))
        c->index = converge_integer(c->L, lua_gettop(c->L), "ModifyIndex");
}

static void write_variable(struct convergence *c)
{
    lua_State *L = c->L;
    lua_pushstring(L, c->name);
    lua_pushvalue(L, c->sent);
    lua_pushinteger(L, c->index);
    lua_setfield(L, -2, "cas");
    converge_call(c, "variables", "put_variable", 2);
}

static void remove_variable(struct convergence *c)
{
    lua_State *L = c->L;
    lua_pushstring(L, c->name);
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, c->index);
    lua_setfield(L, -2, "cas");
    converge_call(c, "variables", "delete_variable", 2);
}

/* --- whether a node takes work ------------------------------------------------------------------------------------------------------ */

static void check_eligibility(struct convergence *c)
{
    char given[32];
    bool is_text = converge_text(c->L, c->wanted, "Eligibility", given, sizeof given);
    lua_getfield(c->L, c->wanted, "Eligibility");
    bool known = !lua_isstring(c->L, -1) && !lua_isnil(c->L, -1); /* an unknown value */
    lua_pop(c->L, 1);
    if (!known && (!is_text || (strcmp(given, "eligible") != 0 && strcmp(given, "ineligible") != 0)))
        converge_refuse(c, "", "a node is \"eligible\" or \"ineligible\", not \"%s\"", given);
}

static void look_at_eligibility(struct convergence *c)
{
    lua_State *L = c->L;
    read_by_name(c, "nodes", "read_node");
    if (!lua_istable(L, -1))
        failure_advise(L, "not-found", c->op, "nomad.nodes.list_nodes() lists them", "there is no such node");
    converge_text(L, lua_gettop(L), "ID", c->id, sizeof c->id);
    lua_getfield(L, -1, "SchedulingEligibility");
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "Eligibility");
}

static void write_eligibility(struct convergence *c)
{
    lua_pushstring(c->L, c->id);
    lua_pushvalue(c->L, c->sent);
    converge_call(c, "nodes", "set_node_eligibility", 2);
}

/* --- how the scheduler works --------------------------------------------------------------------------------------------------------- */

static void look_at_scheduler(struct convergence *c)
{
    lua_State *L = c->L;
    converge_call(c, "operator", "read_scheduler_configuration", 0);
    lua_pop(L, 1);
    if (!lua_istable(L, -1))
        return;
    lua_getfield(L, -1, "SchedulerConfig");
    if (lua_istable(L, -1))
        c->index = converge_integer(L, lua_gettop(L), "ModifyIndex");
}

static void write_scheduler(struct convergence *c)
{
    lua_State *L = c->L;
    lua_pushvalue(L, c->sent);
    lua_pushinteger(L, c->index);
    lua_setfield(L, -2, "cas");
    converge_call(c, "operator", "update_scheduler_configuration", 1);
    lua_pop(L, 1);
    if (!lua_istable(L, -1))
        return;
    lua_getfield(L, -1, "Updated");
    if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
        converge_conflict(c);
}

/* [-1, +1, m] As the endpoint answers. */
static void answer_scheduler(struct convergence *c)
{
    lua_createtable(c->L, 0, 1);
    lua_insert(c->L, -2);
    lua_setfield(c->L, -2, "SchedulerConfig");
}

/* --- the table ------------------------------------------------------------------------------------------------------------------------- */

/* Durations of a job are numbers of nanoseconds (https://developer.hashicorp.com/nomad/api-docs/json-jobs). */
#define JOB_DURATIONS                                                                                        \
    "KillTimeout:nanoseconds,ShutdownDelay:nanoseconds,Interval:nanoseconds,Delay:nanoseconds,"              \
    "MaxDelay:nanoseconds,Timeout:nanoseconds,Stagger:nanoseconds,MinHealthyTime:nanoseconds,"               \
    "HealthyDeadline:nanoseconds,ProgressDeadline:nanoseconds,Splay:nanoseconds,Grace:nanoseconds,"          \
    "StopAfterClientDisconnect:nanoseconds,MaxClientDisconnect:nanoseconds,VaultRetry:nanoseconds"

const struct converge_kind nomad_kinds[] = {
    {.name = "job",
     .about = "its ID; the job as in its JSON form, or the text of a job file, which the server parses",
     .types = JOB_DURATIONS ",TaskGroups:named,Tasks:named,Services:named,Datacenters:set,Constraints:set,"
                            "Affinities:set,Spreads:set,Tags:set,CanaryTags:set,Policies:set,Meta:verbatim,"
                            "Env:verbatim,Config:verbatim,EmbeddedTmpl:verbatim,Payload:verbatim",
     .given = "Status,StatusDescription,Stable,Version,SubmitTime,CreateIndex,ModifyIndex,JobModifyIndex,"
              "Dispatched,NomadTokenID,VersionTag",
     .look = look_at_job,
     .write = write_job,
     .remove = remove_job,
     .check = check_job,
     .settle = settle_job,
     .same = is_same_job,
     .text = "HCL"},
    {.name = "namespace",
     .about = "its name; {Description=, Meta=, Quota=, ...}",
     .types = "Description:verbatim,Meta:verbatim,EnabledTaskDrivers:set,DisabledTaskDrivers:set",
     .group = "namespaces",
     .row = "create_namespace",
     .look = look_at_namespace,
     .write = write_namespace,
     .remove = remove_namespace},
    {.name = "acl policy",
     .about = "its name; {Rules=, Description=}",
     .types = "Rules:verbatim,Description:verbatim",
     .group = "acl",
     .row = "put_acl_policy",
     .look = look_at_policy,
     .write = write_policy,
     .remove = remove_policy},
    {.name = "variable",
     .about = "its path; {Items = {name = value, ...}}",
     .types = "Items:verbatim",
     .group = "variables",
     .row = "put_variable",
     .given = "Path,Namespace",
     .secret = true,
     .look = look_at_variable,
     .write = write_variable,
     .remove = remove_variable},
    {.name = "node pool",
     .about = "its name; {Description=, Meta=}",
     .types = "Description:verbatim,Meta:verbatim",
     .group = "node-pools",
     .row = "create_node_pool",
     .look = look_at_pool,
     .write = write_pool,
     .remove = remove_pool},
    {.name = "node eligibility",
     .about = "the node's id or its beginning; \"eligible\" or \"ineligible\"",
     .types = "",
     .given = "NodeID",
     .group = "nodes",
     .row = "set_node_eligibility",
     .look = look_at_eligibility,
     .write = write_eligibility,
     .check = check_eligibility,
     .text = "Eligibility"},
    {.name = "scheduler configuration",
     .about = "it has no name; {SchedulerAlgorithm=, PreemptionConfig = {...}, ...}",
     .types = "",
     .group = "operator",
     .row = "update_scheduler_configuration",
     .look = look_at_scheduler,
     .write = write_scheduler,
     .answer = answer_scheduler,
     .single = true},
    {0},
};

int nomad_present(lua_State *L)
{
    return converge_present(L, &nomad_product);
}

int nomad_absent(lua_State *L)
{
    return converge_absent(L, &nomad_product);
}
