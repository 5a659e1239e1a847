-- The endpoint tables: calls, paths, options, answers, errors, the gate, against tests/lua/http_server.py, which
-- answers in the words of Consul 1.8 and Nomad 1.1. Run from the repository.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"
local server <close> = servers.start()
local address = "127.0.0.1:" .. server.port
local c = consul { addr = address }
local n = nomad { addr = server.url }

tap.test("reads answer decoded, then what came with it", function()
  tap.equal(c.status.read_leader(), "127.0.0.1:8300")
  local services, meta = c.catalog.list_services()
  tap.equal(services.web, json.array {})
  tap.equal(meta.index, 7)
  tap.equal(meta.status, 200)
  tap.equal(meta.headers["Content-Type"], "application/json")
  tap.equal(#c.catalog.list_nodes(), 0) -- Go's null for an empty list
end)

tap.test("the headers of an answer are there whoever looks, and how", function()
  local function meta() return select(2, c.catalog.list_services()) end
  local names = {}
  for name in pairs(meta()) do names[#names + 1] = name end
  table.sort(names)
  tap.equal(names, { "headers", "index", "status" })
  local one = meta()
  tap.equal(one.nothing, nil)
  tap.equal(one.headers["x-consul-index"], "7")
  tap.equal(one.headers, one.headers)
  one.headers["X-Mine"] = "1"
  tap.equal(rawget(one, "headers")["X-Mine"], "1")
  local found = {}
  for name, value in pairs(one.headers) do found[name] = value end
  tap.equal(found["content-type"], "application/json")
  local other = meta()
  other.headers = "mine"
  for name, value in pairs(other) do tap.ok(name ~= "headers" or value == "mine") end
  tap.equal(other.headers, "mine")
  tap.equal(getmetatable(meta()), false)
end)

tap.test("path parameters are escaped; keys keep their slashes", function()
  local id = "a/b c?d%e#é"
  c.agent.deregister_service(id)
  tap.equal(server:last("/v1/agent/service/deregister/").path,
    "/v1/agent/service/deregister/a%2Fb%20c%3Fd%25e%23%C3%A9")
  c.kv.put_key("ci/a b/../c", { body = "one" })
  tap.equal(server:last("/v1/kv/ci").path, "/v1/kv/ci/a%20b/../c")
  tap.raises("usage", c.agent.deregister_service, "..")
  tap.raises("usage", c.agent.deregister_service, "")
  tap.raises("usage", c.agent.deregister_service)
  tap.raises("usage", c.agent.deregister_service, "a", "b")
  tap.raises("usage", c.agent.deregister_service, {})
end)

tap.test("keys: written, read, deleted, absent", function()
  tap.equal(c.kv.put_key("k", { body = "value\n", flags = 42 }), true)
  tap.ok(server:last("/v1/kv/k").path:find("flags=42", 1, true))
  local entries = c.kv.read_key("k")
  tap.equal(entries[1].Value, "dmFsdWUK")
  tap.equal(tostring(entries[1].Flags), "18446744073709551615")
  tap.equal(c.kv.read_key("k", { raw = true }), "value\n")
  tap.equal(c.kv.delete_key("k"), true)
  local value, meta = c.kv.read_key("k")
  tap.equal(value, nil)
  tap.equal(meta.status, 404)
  tap.equal(#c.kv.read_key("", { recurse = true }), 1)
end)

tap.test("options: flags, defaults of the client, dashes, blocking, refused names", function()
  local other = consul { addr = address, ns = "team", token = "good-token" }
  other.catalog.list_nodes { stale = true, dc = "dc2", node_meta = { os = "linux" }, index = 5, wait = "1s" }
  local request = server:last("/v1/catalog/nodes")
  for _, part in ipairs { "stale&", "dc=dc2", "node-meta=os%3Alinux", "index=5", "wait=1000ms", "ns=team" } do
    tap.ok((request.path .. "&"):find(part, 1, true), part .. " in " .. request.path)
  end
  tap.equal(request.headers["x-consul-token"], "good-token")
  other.catalog.list_nodes { stale = false, ns = "mine" }
  tap.equal(server:last("/v1/catalog/nodes").path, "/v1/catalog/nodes?ns=mine")
  tap.match(tap.raises("usage", c.catalog.list_nodes, { filtr = "x" }), 'did you mean "filter"')
  tap.raises("usage", c.status.read_leader, { index = 1 }) -- does not block
end)

tap.test("bodies: fields, those that are needed, raw", function()
  tap.equal(c.agent.register_service { Name = "web", Port = 80, Tags = json.array {}, replace_existing_checks = true }, true)
  local request = server:last("/v1/agent/service/register")
  tap.equal(request.body, '{"Name":"web","Port":80,"Tags":[]}')
  tap.ok(request.path:find("?replace-existing-checks", 1, true))
  tap.match(tap.raises("usage", c.agent.register_service, { Port = 80 }), "Name is missing")
  tap.match(tap.raises("usage", c.kv.put_key, "k"), "body is missing")
end)

tap.test("errors say what the server said and what to do", function()
  local err = tap.raises("http", c.agent.deregister_service, "NOPE")
  tap.equal(err.status, 500)
  tap.match(err, 'Unknown service {"NOPE" {}}')
  tap.match(err, "another agent registered it")
  tap.match(tap.raises("permission", c.agent.list_agent_services), "no token was set: set CONSUL_HTTP_TOKEN")
  local bad = consul { addr = address, token = "a-bad-token" }
  err = tap.raises("permission", bad.agent.list_agent_services)
  tap.match(err, "the token from token= is not known")
  tap.ok(not tostring(err):find("a-bad-token", 1, true))
  local down = consul { addr = "127.0.0.1:1" }
  tap.match(tap.raises("unreachable", down.status.read_leader, { retries = 0 }), "systemctl status consul")
  tap.match(tap.raises("http", n.jobs.list_jobs), "ACLs are off")
  tap.match(tap.raises("http", c.health.list_checks_in_state, "any"), "too old")
end)

tap.test("a list that the token may not see is told from an empty one", function()
  local function ask(token, chunk)
    local run = servers.moonbook { "-e", chunk, env = { PATH = os.getenv "PATH", HOME = "/nonexistent",
      CONSUL_HTTP_ADDR = address, CONSUL_HTTP_TOKEN = token } }
    return run.stderr
  end
  local asked = #server:seen().requests
  local newer = 'for _ = 1, 2 do consul.catalog.list_service_nodes "%s" end'
  tap.ok(not ask("good-token", newer:format "shown"):find "nothing was found")
  local text = ask("good-token", newer:format "hidden")
  tap.match(text, "the token from CONSUL_HTTP_TOKEN does not show what needs service:read and node:read")
  tap.equal(select(2, text:gsub("nothing was found", "")), 1)
  tap.match(ask(nil, newer:format "hidden"), "no token was set")
  tap.equal(#server:seen().requests, asked + 6)
  local older = "for _ = 1, 2 do consul.catalog.list_nodes(); consul.agent.list_agent_services() end"
  text = ask("sees-no-nodes", older)
  tap.match(text, "list_nodes [^\n]* does not show what needs node:read\n")
  tap.equal(select(2, text:gsub("nothing was found", "")), 1) -- services may be seen
  tap.equal(#server:seen().requests, asked + 6 + 6) -- asked once for each
end)

tap.test("statuses that are data", function()
  local health, meta = c.agent.read_service_health_by_id("web-1")
  tap.equal(health.AggregatedStatus, "critical")
  tap.equal(meta.status, 503)
  tap.equal(n.agent.read_agent_health().server.ok, false)
end)

tap.test("the beginning of an id will do", function()
  tap.equal(n.nodes.read_node("7777777").Name, "builder3") -- an odd number of digits
  tap.equal(server:last("/v1/nodes").path, "/v1/nodes?prefix=777777")
  tap.equal(n.nodes.read_node("d9c41bdc-af26-51cf-b7ee-1ef11455c84b").Name, "builder1")
  local err = tap.raises("usage", n.nodes.read_node, "d9c4")
  tap.match(err, "several nodes begin with d9c4")
  tap.match(err, "builder1.*builder2")
  tap.raises("not-found", n.nodes.read_node, "ffff")
  tap.equal(n.nodes.read_node("00000000-0000-0000-0000-000000000000"), nil)
end)

tap.test("addresses and the environment, as the official programs take them", function()
  local function ask(env, chunk)
    env.PATH, env.HOME = os.getenv("PATH"), "/nonexistent"
    local run = servers.moonbook { "-e", chunk, env = env }
    return run.stdout .. run.stderr
  end
  local leader = 'print(consul.status.read_leader())'
  tap.match(ask({ CONSUL_HTTP_ADDR = address }, leader), "127.0.0.1:8300")
  tap.match(ask({ CONSUL_HTTP_ADDR = "http://" .. address .. "/" }, leader), "127.0.0.1:8300")
  tap.match(ask({ NOMAD_ADDR = server.url, NOMAD_REGION = "cern" }, "print(nomad.status.read_leader())"), "127.0.0.1:8300")
  tap.equal(server:last("/v1/status/leader").path, "/v1/status/leader?region=cern")
  local path = os.tmpname()
  file.present { path, content = "good-token\nsecond line\n" }
  local services = "print((consul.agent.list_agent_services()))"
  tap.match(ask({ CONSUL_HTTP_ADDR = address, CONSUL_HTTP_TOKEN_FILE = path }, services), "table")
  tap.match(ask({ CONSUL_HTTP_ADDR = address, CONSUL_HTTP_TOKEN = "bad-bad-token", CONSUL_HTTP_TOKEN_FILE = path },
    services), "the token from CONSUL_HTTP_TOKEN is not known")
  os.remove(path)
  tap.match(ask({ CONSUL_HTTP_ADDR = "127.0.0.1:1" }, leader), "the address is from CONSUL_HTTP_ADDR")
  tap.match(ask({ CONSUL_HTTP_ADDR = "unix:///nowhere" }, leader), "cannot connect to /nowhere")
  tap.match(ask({ CONSUL_HTTP_ADDR = address, CONSUL_HTTP_SSL = "true" }, leader), "no TLS with")
  tap.match(ask({ CONSUL_HTTP_ADDR = address, CONSUL_HTTP_AUTH = "me:password" }, leader), "127.0.0.1:8300")
  tap.ok(server:last("/v1/status/leader").headers.authorization)
end)

tap.test("what a real Consul answered is understood", function()
  local recorded <close> = servers.start("--replay=tests/lua/recordings/consul-1.8.7.jsonl")
  local real = consul { addr = recorded.url }
  tap.equal(real.status.read_leader(), "127.0.0.1:8300")
  tap.equal(real.status.list_peers(), { "127.0.0.1:8300" })
  tap.equal(real.agent.read_agent_self().Config.Version, "1.8.7")
  tap.equal(real.agent.list_agent_members()[1].Name, "srv1")
  tap.ok(next((real.agent.list_agent_services())))
  tap.ok(next((real.agent.list_agent_checks())))
  local nodes, meta = real.catalog.list_nodes()
  tap.equal({ nodes[1].Node, meta.index }, { "srv1", 14 })
  tap.equal(real.catalog.list_service_nodes("nomad-client")[1].ServicePort, 4646)
  tap.equal(real.catalog.read_node_services("srv1").Node.Node, "srv1")
  tap.ok(real.health.list_node_checks("srv1")[1].CheckID)
  tap.equal(real.health.list_service_instances("nomad")[1].Node.Node, "srv1")
  tap.ok(#real.health.list_service_instances("nomad", { passing = true }) > 0)
  tap.ok(#real.health.list_checks_in_state("any") > 0)
  tap.equal(select(2, real.agent.read_service_health_by_id("web-1")).status, 503)
  tap.equal(real.kv.read_key("missing"), nil)
  tap.ok(#real.kv.read_key("", { keys = true }) >= 0)
  tap.match(tap.raises("permission", real.kv.put_key, "x", { body = "y" }), "Permission denied.*no token was set")
  tap.equal(real.agent.maintain_service("web-1", { enable = true, reason = "test" }), true)
  tap.match(tap.raises("http", real.agent.deregister_service, "nope"), 'Unknown service {"nope" {}}')
end)

tap.test("what a real Nomad answered is understood", function()
  local recorded <close> = servers.start("--replay=tests/lua/recordings/nomad-1.1.2.jsonl")
  local real = nomad { addr = recorded.url }
  local id = "d9c41bdc-af26-51cf-b7ee-1ef11455c84b"
  tap.equal(real.status.read_leader(), "127.0.0.1:4647")
  tap.equal(real.regions.list_regions(), { "global" })
  tap.ok(real.agent.read_agent_self().config)
  tap.ok(real.agent.list_agent_members())
  tap.ok(real.agent.list_agent_servers())
  tap.equal(real.agent.read_agent_health().server.ok, true)
  tap.equal(real.nodes.list_nodes()[1].ID, id)
  tap.equal(real.nodes.read_node("d9c41bdc").ID, id)
  tap.ok(real.nodes.list_node_allocations(id)[1].ID)
  tap.equal(real.nodes.read_node("00000000-0000-0000-0000-000000000000"), nil)
  tap.ok(real.jobs.list_jobs()[1].ID)
  tap.equal(real.jobs.read_job("ci").ID, "ci")
  tap.equal(real.jobs.read_job_summary("ci").JobID, "ci")
  tap.ok(real.allocs.list_allocations()[1].ID)
  tap.ok(real.nodes.set_node_eligibility(id, { Eligibility = "ineligible" }).NodeModifyIndex)
  local plain = real.agent.read_agent_health()
  tap.equal(plain.client.ok, true)
end)

tap.test("--check sends reads only, predicts changes, and reads of the same path see them", function()
  local chunk = string.format([[
    local c, n = consul{ addr = "%s" }, nomad{ addr = "%s" }
    c.kv.put_key("check", { body = "x" })
    print("read", c.kv.read_key("check"))
    c.kv.delete_key("check")
    print("deleted", c.kv.read_key("check"))
    n.nodes.set_node_eligibility("77777777", { Eligibility = "ineligible" })
    n.nodes.evaluate_node("77777777")
    print("leader", c.status.read_leader())]], address, server.url)
  local before = #server:seen().requests
  local run = servers.moonbook { "--check", "--json", "-e", chunk }
  tap.equal(run.code, 0, run.stdout .. run.stderr)
  local requests = server:seen().requests
  for i = before + 1, #requests do tap.equal(requests[i].method, "GET", requests[i].path) end
  local _, predicted = run.stdout:gsub('"status":"predicted"', "")
  tap.equal(predicted, 4)
  tap.ok(run.stdout:find('"kind":"consul.kv.put_key"', 1, true))
  tap.ok(run.stdout:find('"target":"PUT /v1/node/77777777-af26-51cf-b7ee-1ef11455c84b/eligibility"', 1, true)
    or run.stdout:find('"target":"POST /v1/node/77777777-af26-51cf-b7ee-1ef11455c84b/eligibility"', 1, true))
  tap.match(run.stdout, "deleted\\tnil")
  tap.match(run.stdout, "127.0.0.1:8300")
end)

tap.test("changes are journalled with a hash of the body, not with the body", function()
  local run = servers.moonbook { "--json", "-e", string.format(
    'consul{ addr = "%s" }.kv.put_key("j", { body = "not-for-the-journal" })', address) }
  tap.equal(run.code, 0)
  tap.ok(run.stdout:find('"kind":"consul.kv.put_key"', 1, true))
  tap.ok(run.stdout:find('"sha256"', 1, true))
  tap.ok(not run.stdout:find("not-for-the-journal", 1, true))
end)

tap.finish()
