-- The nomad module against a server that answers, keeps and refuses as Nomad does: a real one where there is one on
-- PATH, else the stand-in (tests/standin/nomad), without ACLs and with them. Run from the repository.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"
local nomads = require "nomad_server"
local server <close> = nomads.start()
local guarded <close> = nomads.start { acls = true }
local n, boss = server:client(), guarded:client()

-- A job that finds no place, unless a data centre is named; more fields over it.
local function job(id, more)
  local made = { ID = id, Datacenters = { "nowhere" }, TaskGroups = { { Name = "g", Count = 2,
    Tasks = { { Name = "t", Driver = "raw_exec", Config = { command = "/bin/sleep", args = { "600" } } } } } } }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

local function until_true(what, fn)
  return wait { fn, every = "50ms", timeout = "30s", what = what }
end

-- Runs a chunk by the program itself, with the options given: its output, then what it said beside.
local function ask(env, chunk, ...)
  env.PATH, env.HOME, env.XDG_STATE_HOME = os.getenv "PATH", "/nonexistent", os.getenv "XDG_STATE_HOME"
  env.ASAN_OPTIONS = os.getenv "ASAN_OPTIONS"
  local run = servers.moonbook { "-e", chunk, env = env, ... }
  return run.stdout .. run.stderr, run
end

-- How many changes the server has made so far.
local function log_index(client)
  return client.agent.read_agent_self().stats.raft.last_log_index
end

local function is_secret(value) return tostring(value) == "<secret>" end

-- ---- jobs ----

tap.test("a job: registered, read, planned, changed, reverted, stopped, purged", function()
  tap.equal(n.jobs.read_job "web", nil)
  local made, meta = n.jobs.register_job { Job = job "web" }
  tap.equal(meta.index, made.JobModifyIndex)
  local read = n.jobs.read_job "web"
  tap.equal({ read.Name, read.Type, read.Priority, read.Region, read.Version }, { "web", "service", 50, "global", 0 })
  tap.equal(read.TaskGroups[1].Tasks[1].KillTimeout, 5000000000)
  tap.equal(read.JobModifyIndex, made.JobModifyIndex)
  tap.equal(n.jobs.plan_job("web", { Job = read, Diff = true }).Diff.Type, "None")
  local changed = job("web", { Priority = 60, Meta = { owner = "ops" } })
  local plan = n.jobs.plan_job("web", { Job = changed, Diff = true })
  local fields = {}
  for _, field in ipairs(plan.Diff.Fields) do fields[#fields + 1] = field.Name .. ": " .. field.Old .. " -> " .. field.New end
  tap.equal(fields, { "Meta[owner]:  -> ops", "Priority: 50 -> 60" })
  tap.equal(plan.Annotations.DesiredTGUpdates.g.Place, 2)
  n.jobs.update_job("web", { Job = changed, EnforceIndex = true, JobModifyIndex = plan.JobModifyIndex })
  tap.match(tap.raises("http", n.jobs.update_job, "web", { Job = changed, EnforceIndex = true, JobModifyIndex = 1 }),
    "job exists with conflicting job modify index")
  tap.equal(#n.jobs.list_job_versions("web", { diffs = true }).Versions, 2)
  n.jobs.revert_job("web", { JobID = "web", JobVersion = 0 })
  tap.equal(n.jobs.read_job("web").Priority, 50)
  n.jobs.stop_job "web"
  tap.equal(until_true("the job is dead", function()
    local now = n.jobs.read_job "web"
    return now.Status == "dead" and now
  end).Stop, true)
  n.jobs.stop_job("web", { purge = true })
  tap.equal(n.jobs.read_job "web", nil)
  tap.equal(n.jobs.list_job_versions "web", nil)
end)

tap.test("what the server refuses is said in its words", function()
  tap.match(tap.raises("http", n.jobs.register_job, { Job = { ID = "x" } }), "Missing job datacenters")
  tap.match(tap.raises("http", n.jobs.register_job, { Job = job("x", { Priority = "50" }) }),
    "cannot unmarshal string into Go struct field Job.Job.Priority of type int")
  tap.match(tap.raises("http", n.jobs.register_job, { Job = job("x", { Namespace = "none" }) }), "nonexistent namespace")
  tap.match(tap.raises("http", n.jobs.parse_job, { JobHCL = "job {" }), "input.hcl:1,6%-6")
  tap.equal(#n.jobs.validate_job({ Job = { ID = "x" } }).ValidationErrors, 2)
  tap.match(tap.raises("http", n.jobs.list_jobs, { region = "mars" }), "No path to region.*nomad.regions.list_regions")
  tap.match(tap.raises("http", n.jobs.scale_job, "none", { Target = { Group = "g" }, Count = 1 }), 'job "none" not found')
  tap.match(tap.raises("http", n.jobs.evaluate_job, "none", { JobID = "none" }), "job not found")
end)

tap.test("the text of a job file is parsed by the server and registered", function()
  local parsed = n.jobs.parse_job { Canonicalize = true, JobHCL = [[
    job "batch" {
      datacenters = ["nowhere"]
      type        = "batch"
      group "g" {
        task "t" {
          driver = "raw_exec"
          config {
            command = "/bin/true"
            args    = []
          }
          kill_timeout = "20s"
        }
      }
    }]] }
  tap.equal({ parsed.ID, parsed.TaskGroups[1].Tasks[1].KillTimeout }, { "batch", 20000000000 })
  n.jobs.register_job { Job = parsed }
  local kept = n.jobs.read_job "batch"
  tap.equal(kept.TaskGroups[1].Tasks[1].Config, { command = "/bin/true", args = json.array {} })
  tap.equal(kept.TaskGroups[1].ReschedulePolicy.Interval, 86400000000000)
  n.jobs.stop_job("batch", { purge = true })
end)

tap.test("jobs that make jobs: ids with slashes, payloads", function()
  n.jobs.register_job { Job = job("build", { Type = "batch", ParameterizedJob = { MetaRequired = { "branch" } } }) }
  tap.match(tap.raises("http", n.jobs.dispatch_job, "build"), "did not provide required meta keys: %[branch%]")
  local child = n.jobs.dispatch_job("build", { Meta = { branch = "main" }, Payload = "aGVsbG8=" }).DispatchedJobID
  tap.match(child, "^build/dispatch%-%d+%-%x+$")
  local read = n.jobs.read_job(child)
  tap.equal({ read.ID, read.Meta.branch, read.Payload, read.ParentID }, { child, "main", "aGVsbG8=", "build" })
  n.jobs.stop_job(child, { purge = true })
  tap.equal(n.jobs.read_job(child), nil)
  n.jobs.stop_job("build", { purge = true })
end)

-- ---- what runs ----

tap.test("what a job comes to: evaluations, allocations, deployments; the beginning of an id will do", function()
  local run = job("run", { Datacenters = { "dc1" }, Update = { MinHealthyTime = 100000000 } })
  local evaluation = n.jobs.register_job({ Job = run }).EvalID
  local allocations = until_true("both run", function()
    local list = n.jobs.list_job_allocations "run"
    return #list == 2 and list[1].ClientStatus == "running" and list[2].ClientStatus == "running" and list
  end)
  tap.equal(n.evaluations.read_evaluation(evaluation:sub(1, 8)).JobID, "run")
  tap.equal(n.allocs.read_allocation(allocations[1].ID:sub(1, 9)).NodeID, server.node)
  local deployment = until_true("it is healthy", function()
    local latest = n.jobs.read_latest_job_deployment "run"
    return latest.Status == "successful" and latest
  end)
  tap.equal(n.deployments.read_deployment(deployment.ID:sub(1, 7)).TaskGroups.g.HealthyAllocs, 2)
  tap.equal(#n.deployments.list_deployment_allocations(deployment.ID), 2)
  tap.equal(n.jobs.read_job_summary("run").Summary.g.Running, 2)
  tap.equal(n.jobs.plan_job("run", { Job = run }).Annotations.DesiredTGUpdates.g.Ignore, 2)
  n.jobs.scale_job("run", { Target = { Group = "g" }, Count = 1, Message = "enough" })
  until_true("one has stopped", function() return n.jobs.read_job_scale("run").TaskGroups.g.Running == 1 end)
  tap.equal(n.jobs.read_job_scale("run").TaskGroups.g.Events[1].Message, "enough")
  n.jobs.stop_job "run"
  until_true("all has stopped", function() return n.jobs.read_job_summary("run").Summary.g.Complete == 2 end)
end)

tap.test("ids: whole ones that are not there are nil, beginnings that fit none or several are refused", function()
  tap.equal(n.nodes.read_node(server.node:sub(1, 8)).ID, server.node)
  local nowhere = "00000000-0000-0000-0000-000000000000"
  for _, read in ipairs { n.nodes.read_node, n.allocs.read_allocation, n.evaluations.read_evaluation,
    n.deployments.read_deployment } do
    tap.equal(read(nowhere), nil)
  end
  local other = server.node:sub(1, 1) == "f" and "0123" or "fedc"
  tap.match(tap.raises("not-found", n.nodes.read_node, other .. "0000"), "node")
  tap.raises("not-found", n.nodes.set_node_eligibility, other .. "0000", { Eligibility = "eligible" })
  local err = tap.raises("http", n.nodes.set_node_eligibility, nowhere, { Eligibility = "eligible" })
  tap.match(err, "node not found")
  -- sooner or later two begin with the same two digits
  n.jobs.register_job { Job = job "many" }
  local double
  repeat
    n.jobs.evaluate_job("many", { JobID = "many" })
    local seen = {}
    for _, evaluation in ipairs(n.jobs.list_job_evaluations "many") do
      local first = evaluation.ID:sub(1, 2)
      double, seen[first] = double or seen[first] and first, true
    end
  until double
  tap.match(tap.raises("usage", n.evaluations.read_evaluation, double), "several evaluations begin with " .. double)
  n.jobs.stop_job("many", { purge = true })
end)

tap.test("nodes: made ineligible and eligible, drained", function()
  local made = n.nodes.set_node_eligibility(server.node:sub(1, 8), { Eligibility = "ineligible" })
  tap.ok(made.Index > 0)
  tap.equal(n.nodes.read_node(server.node).SchedulingEligibility, "ineligible")
  tap.match(tap.raises("http", n.nodes.set_node_eligibility, server.node, { Eligibility = "maybe" }),
    'invalid scheduling eligibility "maybe"')
  n.nodes.drain_node(server.node, { DrainSpec = { Deadline = 60000000000 }, Meta = { why = "a test" } })
  until_true("it is drained", function() return not n.nodes.read_node(server.node).Drain end)
  tap.equal(n.nodes.read_node(server.node).LastDrain.Meta, { why = "a test" })
  n.nodes.set_node_eligibility(server.node, { Eligibility = "eligible" })
  tap.equal(n.nodes.read_node(server.node).SchedulingEligibility, "eligible")
end)

-- ---- what else is kept ----

tap.test("nil is what is not there; lists are empty", function()
  tap.equal(n.jobs.read_latest_job_deployment "none", nil)
  tap.equal(n.jobs.read_job_summary "none", nil)
  tap.equal(n.jobs.read_job_scale "none", nil)
  tap.equal(n.namespaces.read_namespace "none", nil)
  tap.equal(n.jobs.list_job_allocations "none", json.array {})
  tap.equal(n.jobs.list_jobs { prefix = "none" }, json.array {})
  local value, meta = n.jobs.read_job "none"
  tap.equal({ value, meta.status }, { nil, 404 })
  tap.raises("http", n.variables.list_variables) -- no such endpoint in this version
end)

tap.test("namespaces, and jobs in them", function()
  n.namespaces.create_namespace { Name = "ops", Description = "for operators" }
  tap.equal(n.namespaces.read_namespace("ops").Description, "for operators")
  n.jobs.register_job { Job = job("here", { Namespace = "ops" }) }
  tap.equal(n.jobs.read_job "here", nil)
  tap.equal(n.jobs.read_job("here", { namespace = "ops" }).Namespace, "ops")
  tap.match(tap.raises("http", n.namespaces.delete_namespace, "ops"), "has non%-terminal jobs")
  n.jobs.stop_job("here", { namespace = "ops", purge = true })
  n.namespaces.delete_namespace "ops"
  tap.equal(n.namespaces.read_namespace "ops", nil)
end)

tap.test("settings by check-and-set; search", function()
  local settings = n.operator.read_scheduler_configuration().SchedulerConfig
  tap.equal(n.operator.update_scheduler_configuration({ SchedulerAlgorithm = "spread", cas = 1 }).Updated, false)
  tap.equal(n.operator.update_scheduler_configuration({ SchedulerAlgorithm = "spread",
    PreemptionConfig = settings.PreemptionConfig, cas = settings.ModifyIndex }).Updated, true)
  tap.equal(n.operator.read_scheduler_configuration().SchedulerConfig.SchedulerAlgorithm, "spread")
  tap.match(tap.raises("http", n.operator.update_scheduler_configuration, { SchedulerAlgorithm = "random" }),
    "invalid scheduler algorithm")
  tap.equal(n.search.search_prefix({ Prefix = server.node:sub(1, 8), Context = "nodes" }).Matches.nodes, { server.node })
end)

-- ---- waiting ----

tap.test("blocking queries return with a change, or when the time is over", function()
  n.jobs.register_job { Job = job "waited" }
  local _, meta = n.jobs.read_job "waited"
  local _, later = n.jobs.read_job("waited", { index = meta.index, wait = "100ms" })
  tap.equal(later.index, meta.index)
  local priority
  parallel {
    function() priority = n.jobs.read_job("waited", { index = meta.index, wait = "20s" }).Priority end,
    function() n.jobs.register_job { Job = job("waited", { Priority = 77 }) } end,
  }
  tap.equal(priority, 77)
  local seen = {}
  for now in nomad.watch(n.jobs.read_job, "waited", { wait = "20s" }) do
    seen[#seen + 1] = now and now.Priority
    if not now then break end
    if #seen == 1 then n.jobs.stop_job("waited", { purge = true }) end
  end
  tap.equal(seen[1], 77)
end)

tap.test("the stream of events tells what is registered", function()
  local told
  parallel {
    function()
      for batch in n.event.stream_events { topic = { "Job:told" } } do
        if batch.Events then
          told = batch.Events[1]
          break
        end
      end
    end,
    function() n.jobs.register_job { Job = job "told" } end,
  }
  tap.equal({ told.Topic, told.Type, told.Key, told.Payload.Job.ID }, { "Job", "JobRegistered", "told", "told" })
  n.jobs.stop_job("told", { purge = true })
  tap.match(tap.raises("http", n.event.stream_events, { topic = { "Job" }, index = "x" }), "Unable to parse index")
end)

-- ---- under --check ----

tap.test("--check sends nothing but reads", function()
  n.jobs.register_job { Job = job "kept" }
  until_true("the scheduler has come to rest", function()
    local list = n.jobs.list_job_evaluations "kept"
    return #list == 2 and list[1].Status ~= "pending" and list[2].Status ~= "pending"
  end)
  local before = log_index(n)
  local out = ask({ NOMAD_ADDR = server.url, NODE = server.node }, [[
    local node = os.getenv "NODE"
    local job = nomad.jobs.read_job "kept"
    job.Priority = 99
    nomad.jobs.register_job { Job = job }
    nomad.jobs.scale_job("kept", { Target = { Group = "g" }, Count = 5 })
    nomad.jobs.evaluate_job("kept", { JobID = "kept" })
    nomad.jobs.revert_job("kept", { JobID = "kept", JobVersion = 0 })
    nomad.jobs.stop_job("kept", { purge = true })
    nomad.nodes.set_node_eligibility(node:sub(1, 8), { Eligibility = "ineligible" })
    nomad.nodes.drain_node(node, { DrainSpec = { Deadline = 1 } })
    nomad.nodes.purge_node(node)
    nomad.namespaces.create_namespace { Name = "made" }
    nomad.operator.update_scheduler_configuration { SchedulerAlgorithm = "binpack" }
    nomad.acl.bootstrap_acl()
    nomad.system.force_gc()
    print("planned", nomad.jobs.plan_job("other", { Job = { ID = "other", Datacenters = { "dc1" }, TaskGroups = { { Name = "g",
      Tasks = { { Name = "t", Driver = "raw_exec", Config = { command = "/bin/true" } } } } } }, Diff = true }).Diff.Type)]],
    "--check")
  local _, predicted = out:gsub("would", "")
  tap.ok(predicted >= 12, out)
  tap.match(out, "planned%s+Added")
  tap.equal(log_index(n), before)
  tap.equal(n.jobs.read_job("kept").Priority, 50)
  n.jobs.stop_job("kept", { purge = true })
end)

-- ---- access ----

-- A token with the rules of one policy, with the client that has it.
local function person(name, rules)
  boss.acl.put_acl_policy(name, { Name = name, Rules = rules })
  local token = boss.acl.create_acl_token { Name = name, Type = "client", Policies = { name } }
  return guarded:client(token.SecretID), token
end

tap.test("without ACLs: no tokens, and that is said", function()
  tap.match(tap.raises("http", n.acl.list_acl_policies), "ACL support disabled.*ACLs are off in this cluster")
  tap.match(tap.raises("http", n.acl.bootstrap_acl), "ACL support disabled")
end)

tap.test("refused: who has no token, a wrong one, or no right, is told what to do", function()
  local nobody = guarded:client ""
  tap.match(tap.raises("permission", nobody.jobs.list_jobs), "Permission denied.*no token was set: set NOMAD_TOKEN")
  tap.equal(nobody.acl.list_acl_policies(), json.array {})
  local wrong = guarded:client "11111111-2222-3333-4444-555555555555"
  tap.match(tap.raises("permission", wrong.jobs.list_jobs), "ACL token not found")
  local reader = person("reader", 'namespace "default" {\n  policy = "read"\n}\n')
  tap.equal(reader.jobs.list_jobs(), json.array {})
  tap.match(tap.raises("permission", reader.jobs.register_job, { Job = job "x" }), "Permission denied")
  tap.raises("permission", reader.nodes.list_nodes)
  tap.raises("permission", reader.acl.list_acl_tokens)
  local submitter = person("submitter", 'namespace "default" {\n  capabilities = ["submit-job"]\n}\n')
  submitter.jobs.register_job { Job = job "submitted" }
  tap.raises("permission", submitter.jobs.read_job, "submitted")
  boss.jobs.stop_job("submitted", { purge = true })
end)

tap.test("policies and tokens: made, read, changed, deleted; what is a token is secret", function()
  tap.equal(boss.acl.read_acl_policy "none", nil)
  tap.match(tap.raises("http", boss.acl.put_acl_policy, "bad", { Name = "bad", Rules = "nope {" }), "failed to parse rules")
  local client, token = person("team", 'node {\n  policy = "read"\n}\n')
  tap.ok(is_secret(token.SecretID) and not is_secret(token.AccessorID))
  tap.equal(boss.acl.read_acl_policy("team").RulesJSON.Node.Policy, "read")
  local self = client.acl.read_self_acl_token()
  tap.equal({ self.AccessorID, self.Policies }, { token.AccessorID, { "team" } })
  tap.ok(is_secret(self.SecretID))
  tap.ok(is_secret(boss.acl.read_acl_token(token.AccessorID).SecretID))
  local changed = boss.acl.update_acl_token(token.AccessorID, { AccessorID = token.AccessorID, Type = "client",
    Name = "renamed", Policies = { "team" } })
  tap.ok(changed.Name == "renamed" and is_secret(changed.SecretID))
  local once = client.acl.create_one_time_token().OneTimeToken
  tap.ok(is_secret(once.OneTimeSecretID))
  tap.ok(is_secret(guarded:client("").acl.exchange_one_time_token({ OneTimeSecretID = once.OneTimeSecretID }).Token.SecretID))
  boss.acl.delete_acl_token(token.AccessorID)
  tap.match(tap.raises("permission", client.nodes.list_nodes), "ACL token not found")
  tap.match(tap.raises("http", boss.acl.bootstrap_acl), "ACL bootstrap already done")
end)

-- ---- the table ----

tap.test("what an agent tells of its environment and command line is secret", function()
  -- Not here: from then on what the environment holds would show as <secret> in all that this test says.
  local out = ask({ NOMAD_ADDR = guarded.url, NOMAD_TOKEN = guarded.token }, [[
    local agent = nomad.agent
    local plain = {}
    for _, environment in ipairs { agent.read_agent_host().Environment,
      agent.read_agent_host({ server_id = "leader" }).HostData.Environment } do
      plain[#plain + 1] = tostring(environment.PATH)
      for _, value in pairs(environment) do
        if value ~= "" and tostring(value) ~= "<secret>" then plain[#plain + 1] = "shown" end
      end
    end
    print(#plain, agent.pprof_cmdline(), table.concat(plain, " "))]])
  tap.match(out, "^2%s+<secret>%s+<secret> <secret>\n$")
end)

-- What the endpoints that read are asked for, by parameter; what an endpoint needs beside.
local PARAMETERS = { job_id = "tabled", node_id = guarded.node, namespace = "default", policy_name = "tabled" }
local BODIES = {
  ["nomad.jobs.parse_job"] = { JobHCL = 'job "x" {}' }, ["nomad.jobs.plan_job"] = { Job = job "tabled", Diff = true },
  ["nomad.jobs.validate_job"] = { Job = job "tabled" }, ["nomad.search.search_prefix"] = { Prefix = "t", Context = "all" },
  ["nomad.search.search_fuzzy"] = { Text = "tab", Context = "jobs" },
}

-- Texts in a value that Lua can see.
local function texts(value, list)
  if type(value) == "table" then
    for key, item in pairs(value) do
      texts(key, list)
      texts(item, list)
    end
  elseif type(value) == "string" then
    list[#list + 1] = value
  end
  return list
end

tap.test("what the table calls a read changes nothing, and shows no token", function()
  boss.jobs.register_job { Job = job "tabled" }
  local _, token = person("tabled", 'node {\n  policy = "read"\n}\n')
  PARAMETERS.accessor_id = token.AccessorID
  until_true("the scheduler has come to rest", function()
    local list = boss.jobs.list_job_evaluations "tabled"
    return #list == 2 and list[1].Status ~= "pending" and list[2].Status ~= "pending"
  end)
  PARAMETERS.eval_id = boss.jobs.list_job_evaluations("tabled")[1].ID
  PARAMETERS.deployment_id = boss.jobs.read_latest_job_deployment("tabled").ID
  -- The plain texts of the tokens, as only the server's own answer has them.
  local secrets = {}
  for _, accessor in ipairs { token.AccessorID, boss.acl.read_self_acl_token().AccessorID } do
    local answer = http.get(guarded.url .. "/v1/acl/token/" .. accessor, { headers = { ["X-Nomad-Token"] = guarded.token } })
    secrets[#secrets + 1] = answer.json.SecretID
  end
  tap.equal(#secrets, 2)
  local before, called = log_index(boss), 0
  for _, row in ipairs(json.decode(servers.moonbook { "api", "--json" }.stdout)) do
    if row.product == "nomad" and row.effect == "read" and row.returns == "json" then
      local arguments, known = {}, true
      for name in row.path:gmatch "{([^}]+)}" do
        arguments[#arguments + 1], known = PARAMETERS[name], known and PARAMETERS[name] ~= nil
      end
      if known then
        local fn = { nomad = boss }
        for part in row.name:gmatch "[^.]+" do fn = fn[part] end
        arguments[#arguments + 1] = BODIES[row.name] or { retries = 0 }
        local done, answer = pcall(fn, table.unpack(arguments))
        called = called + (done and 1 or 0)
        for _, text in ipairs(texts(done and answer or { tostring(answer) }, {})) do
          for _, secret in ipairs(secrets) do tap.ok(not text:find(secret, 1, true), row.name .. " shows a token") end
        end
        tap.equal(log_index(boss), before, row.name .. " changes something")
      end
    end
  end
  tap.ok(called >= 45, called .. " were called")
  boss.jobs.stop_job("tabled", { purge = true })
end)

tap.finish()
