-- nomad.present and nomad.absent against a Nomad with ACLs on: a stand-in held to the recordings, or a real one on PATH.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local convergence = require "convergence"
local examples = require "examples"
local nomads = require "nomad_server"

local server <close> = nomads.start { acls = true }
local n = server:client()
local env = { NOMAD_ADDR = server.url, NOMAD_TOKEN = server.token }

local function prove(chunk, count) return convergence.prove(chunk, env, count) end

local JOB = [[{ Datacenters = { "dc1" }, Type = "batch", TaskGroups = { { Name = "g", Count = 1, Tasks = { { Name = "t",
  Driver = "raw_exec", Config = { command = "/bin/true" }, KillTimeout = "20s",
  Resources = { CPU = 20, MemoryMB = 20 } } } } } }]]

local HCL = [==[
job "svc" {
  datacenters = ["dc1"]
  group "g" {
    count = 0
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sleep"
        args    = ["60"]
      }
      kill_timeout = "20s"
      env {
        A = "1"
      }
    }
  }
}]==]

local function with_job(text, change)
  return "nomad.present('job', 'svc', [==[" .. text:gsub(table.unpack(change or { "", "" })) .. "]==])"
end

tap.test("a job: what is not named keeps the server's word, parts are found by name, durations by their length", function()
  local changes = prove("nomad.present('job', 'mc', " .. JOB .. ")", 1)
  tap.match(changes[1].diff, "%+TaskGroups%[g%].Tasks%[t%].KillTimeout: 20000000000 %(20 s%)\n")
  tap.equal(n.jobs.read_job "mc".TaskGroups[1].Tasks[1].KillTimeout, 20000000000)
  for _, same in ipairs { "{ TaskGroups = { { Name = 'g', Tasks = { { Name = 't', KillTimeout = '20000ms' } } } } }",
    "{ TaskGroups = { { Name = 'g', Tasks = { { Name = 't', KillTimeout = 20000000000 } } } } }",
    "{ Datacenters = { 'dc1' } }", "{}" } do
    local run = convergence.run("nomad.present('job', 'mc', " .. same .. ")", env)
    tap.equal({ run.code, #run.changes, run.unchanged }, { 0, 0, 1 }, same .. run.said)
  end
  changes = prove("nomad.present('job', 'mc', { Priority = 70 })", 1)
  tap.equal({ changes[1].before, changes[1].after }, { { Priority = 50 }, { Priority = 70 } })
  local read = n.jobs.read_job "mc"
  tap.equal({ read.Priority, read.TaskGroups[1].Count, read.Type }, { 70, 1, "batch" })
  changes = prove([[nomad.present("job", "mc",
    { TaskGroups = { { Name = "g", Tasks = { { Name = "t", Env = { A = "b" } } } } } })]], 1)
  tap.match(changes[1].diff, "Env%[A%]: b")
  tap.equal(n.jobs.read_job "mc".TaskGroups[1].Tasks[1].Config.command, "/bin/true")
end)

tap.test("a job file: parsed and planned by the server", function()
  prove(with_job(HCL), 1)
  tap.equal(n.jobs.read_job "svc".TaskGroups[1].Tasks[1].Env.A, "1")
  local changes = prove(with_job(HCL, { 'A = "1"', 'A = "2"' }), 1)
  tap.equal(changes[1].diff, "-TaskGroups[g].Tasks[t].Env[A]: 1\n+TaskGroups[g].Tasks[t].Env[A]: 2\n")
  tap.match(tap.raises("usage", n.present, "job", "other", HCL), "name it as its ID says")
  tap.match(tap.raises("http", n.present, "job", "svc", "job {"), "400")
end)

tap.test("within one check a job is as an earlier step would leave it", function()
  local run = convergence.run([[
    nomad.present("job", "mc", { Priority = 61 })
    nomad.present("job", "mc", { Priority = 61 })
    nomad.present("job", "mc", { Priority = 62 })
    print("read", nomad.jobs.read_job "mc")]], env, "--check")
  tap.equal({ run.code, #run.changes, run.unchanged }, { 0, 2, 1 }, run.said)
  tap.match(run.said, "read\\t<unknown>") -- not as the server has it
  tap.equal(run.changes[2].diff, "-Priority: 61\n+Priority: 62\n")
end)

tap.test("a job is absent when it is stopped; present starts it again; purge forgets it", function()
  prove("nomad.absent('job', 'svc')", 1)
  tap.equal(n.jobs.read_job "svc".Stop, true)
  local changes = prove("nomad.present('job', 'svc', {})", 1)
  tap.equal({ changes[1].before, n.jobs.read_job "svc".Stop }, { { Stop = true }, false })
  prove("nomad.absent('job', 'svc', { purge = true }) nomad.absent('job', 'mc', { purge = true })", 2)
  tap.equal(n.jobs.read_job "svc", nil)
  tap.match(tap.raises("usage", n.present, "job", "svc", {}), "no such job yet")
end)

tap.test("namespaces and ACL policies", function()
  prove([[
    nomad.present("namespace", "team", { Description = "ours" })
    nomad.present("acl policy", "team", { Rules = 'namespace "team" { policy = "read" }' })]], 2)
  local changes = prove([[
    nomad.present("namespace", "team", { Description = "theirs" })
    nomad.present("acl policy", "team", { Description = "of the team" })]], 2)
  tap.equal(changes[1].diff, '-Description: "ours"\n+Description: "theirs"\n')
  tap.equal(n.acl.read_acl_policy "team".Rules, 'namespace "team" { policy = "read" }')
  local job = JOB:gsub("^{", '{ Namespace = "team",')
  prove("nomad.present('job', 'mc', " .. JOB .. ") nomad.present('job', 'mc', " .. job .. ")", 2)
  prove([[nomad.absent("job", "mc", { purge = true }) nomad { namespace = "team" }.absent("job", "mc", { purge = true })]], 2)
  prove([[nomad.absent("namespace", "team") nomad.absent("acl policy", "team")]], 2)
end)

tap.test("whether a node takes work; how the scheduler works", function()
  local node = n.nodes.list_nodes()[1].ID
  prove('nomad.present("node eligibility", "' .. node:sub(1, 8) .. '", "ineligible")', 1)
  tap.equal(n.nodes.read_node(node).SchedulingEligibility, "ineligible")
  prove('nomad.present("node eligibility", "' .. node .. '", "eligible")', 1)
  tap.match(tap.raises("usage", n.present, "node eligibility", node, "elegible"), '"eligible" or "ineligible"')
  local nobody = ("f"):rep(8) .. "-0000-0000-0000-" .. ("0"):rep(12)
  tap.match(tap.raises("not-found", n.present, "node eligibility", nobody, "eligible"), "no such node")
  tap.match(tap.raises("usage", n.absent, "node eligibility", node), "can only be present")
  local changes = prove([[nomad.present("scheduler configuration",
    { SchedulerAlgorithm = "spread", PreemptionConfig = { BatchSchedulerEnabled = true } })]], 1)
  tap.match(changes[1].diff, '%-PreemptionConfig.BatchSchedulerEnabled: false\n')
  tap.equal(n.operator.read_scheduler_configuration().SchedulerConfig.PreemptionConfig.SystemSchedulerEnabled, true)
  local err = tap.raises("usage", n.present, "scheduler configuration", { SchedulerAlgo = "x" })
  tap.match(err, "did you mean SchedulerAlgorithm")
end)

tap.test("who may not is told; what a server is too old for is said", function()
  local nobody = server:client ""
  tap.match(tap.raises("permission", nobody.present, "namespace", "x", {}), "403")
  local done, err = pcall(n.present, "variable", "a/b", { Items = { x = "y" } })
  tap.ok(done or tostring(err):find "Nomad from 1.4.0 on", tostring(err))
end)

tap.test("variables and node pools, where the server has them", function()
  local newer <close> = nomads.start { acls = true, version = "1.6.0" }
  if newer.real then return end -- the one on PATH is as old as it is
  local its = { NOMAD_ADDR = newer.url, NOMAD_TOKEN = newer.token }
  local _, run = convergence.prove([[
    nomad.present("variable", "ci/db", { Items = { user = "u", password = "a-word-nobody-sees" } })
    nomad.present("node pool", "gpu", { Description = "cards" })]], its, 2)
  tap.ok(not run.said:find("nobody-sees", 1, true), run.said)
  local changes
  changes, run = convergence.prove([[nomad.present("variable", "ci/db", { Items = { password = "and-another-one" } })
    nomad.present("node pool", "gpu", { Description = "none" })]], its, 2)
  tap.equal({ changes[1].diff, changes[1].undo }, { "-Items.password: <secret>\n+Items.password: <secret>\n", false })
  tap.ok(not run.said:find("another-one", 1, true), run.said)
  local items = newer:client().variables.read_variable "ci/db".Items
  tap.equal({ tostring(items.user), tostring(items.password) }, { "<secret>", "<secret>" })
  convergence.prove([[nomad.absent("variable", "ci/db") nomad.absent("node pool", "gpu")]], its, 2)
end)

tap.test("the examples of the module run", function() examples.run("nomad", env, 3) end)

tap.finish()
