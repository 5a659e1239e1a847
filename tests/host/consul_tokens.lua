-- Who asks a real Consul with ACLs on: nobody, a token that is wrong, deleted or may only read; what the operator is told,
-- and that --check sends nothing but reads. From outside.
-- lab: --acls srv1
local tap = require "tap"
local lab = require "lab"
local cluster = require "cluster"

local c = cluster.client "management"
local SERVICES = "consul.agent.list_agent_services"

-- Prints what a chunk says and warns of, with that token.
local function said(token, chunk, ...)
  local words = { ... }
  table.move({ "-e", chunk }, 1, 2, #words + 1, words)
  words.token = token
  return cluster.moonbook(words).said
end

local function warnings(text) return select(2, text:gsub("nothing was found", "")) end

tap.test("the address and the token come from the environment, or from a file", function()
  local self = "print(consul.acl.read_self_acl_token().Description, consul.status.read_leader())"
  tap.match(said("read-only", self), "^read%-only%s+%d+%.%d+%.%d+%.%d+:8300")
  local path <const> = os.tmpname()
  local _ <close> = setmetatable({}, { __close = function() os.remove(path) end })
  file.present { path, content = lab.token "agent" .. "\nanother line\n" }
  local env = { CONSUL_HTTP_TOKEN_FILE = path, CONSUL_HTTP_ADDR = "http://" .. cluster.address .. "/" }
  tap.match(cluster.moonbook { "-e", self, env = env }.said, "^agent%s")
  tap.match(cluster.moonbook { "-e", self, env = env, token = "nomad" }.said, "^nomad%s") -- the variable itself wins
  local given = ("print(consul { token = secret.env 'T', addr = %q }.acl.read_self_acl_token().Description)")
    :format(cluster.address)
  tap.match(cluster.moonbook { "-e", given, env = { T = lab.token "nomad", CONSUL_HTTP_ADDR = "127.0.0.1:1" } }.said, "^nomad%s")
end)

tap.test("without a token: refused with what to do, or nothing, with a warning", function()
  local nobody = cluster.client()
  local err = tap.raises("permission", nobody.kv.read_key, "mb/a")
  tap.equal(err.status, 403)
  tap.match(err, "Permission denied; no token was set: set CONSUL_HTTP_TOKEN or give token=")
  for _, refused in ipairs { { nobody.agent.read_agent_self }, { nobody.acl.list_acl_policies },
    { nobody.operator.list_keyring_keys }, { nobody.snapshot.save_snapshot }, { nobody.acl.read_self_acl_token },
    { nobody.acl.read_acl_policy_by_name, "agent" }, { nobody.kv.put_key, "mb/a", { body = "x" } },
    { nobody.agent.register_service, { Name = "mb" } }, { nobody.agent.monitor_agent } } do
    tap.match(tap.raises("permission", table.unpack(refused)), "no token was set")
  end
  local text = said(nil, [[
    for _ = 1, 3 do print("services", next((consul.catalog.list_services()))) end
    print("service", #consul.health.list_service_instances "nomad")
    print("keys", consul.kv.read_key("", { recurse = true }))
    print("node", consul.catalog.read_node_services "srv1")]])
  tap.match(text, "services\tnil\nservices\tnil\nservices\tnil\nservice\t0\nkeys\tnil")
  tap.match(text, "consul.catalog.list_services http[^\n]*: nothing was found, but no token was set, and without one " ..
    "nothing is shown that needs service:read: set CONSUL_HTTP_TOKEN or give token=")
  tap.match(text, "list_service_instances [^\n]* needs service:read and node:read")
  tap.match(text, "read_key [^\n]* needs key:read")
  tap.match(text, "read_node_services [^\n]* needs service:read and node:read")
  tap.equal(warnings(text), 4) -- each once
end)

tap.test("no warning where nothing is hidden", function()
  tap.equal(warnings(said("read-only", [[
    consul.kv.read_key "mb/none"
    consul.kv.read_key("mb/none", { recurse = true })
    consul.catalog.list_service_nodes "mb-none"
    consul.health.list_checks_in_state "warning"
    consul.session.list_sessions()
    consul.event.list_events { name = "mb-none" }
    consul.query.list_prepared_queries()
    consul.connect.list_intentions()]])), 0)
  local policy = c.acl.create_acl_policy { Name = "mb-anonymous",
    Rules = 'node_prefix "" { policy = "read" } service_prefix "public-" { policy = "read" }' }
  local anonymous = "00000000-0000-0000-0000-000000000002"
  c.acl.update_acl_token(anonymous, { Description = "Anonymous Token", Policies = { { ID = policy.ID } } })
  local text = said(nil, [[
    consul.catalog.list_service_nodes "public-web"
    consul.coordinate.read_coordinates "mb-none"
    consul.health.list_service_instances "private-web"]])
  c.acl.update_acl_token(anonymous, { Description = "Anonymous Token", Policies = json.array {} })
  c.acl.delete_acl_policy(policy.ID)
  tap.match(text, "list_service_instances [^\n]*nothing is shown that needs service:read:")
  tap.equal(warnings(text), 1)
end)

tap.test("a token that may not see it", function()
  local text = said("agent", "print(#consul.kv.read_key('', { keys = true }), #consul.session.list_sessions())")
  tap.match(text, "nothing was found, but the token from CONSUL_HTTP_TOKEN does not show what needs key:read")
  tap.match(text, "does not show what needs session:read")
end)

tap.test("a token that the servers do not know", function()
  local wrong = "abcdefab-0000-0000-0000-abcdefabcdef"
  local text = cluster.moonbook { "-e", SERVICES .. "()", env = { CONSUL_HTTP_TOKEN = wrong } }.said
  tap.match(text, "403: ACL not found\n  what to do: the token from CONSUL_HTTP_TOKEN is not known to the servers: " ..
    "it was deleted or has expired")
  tap.ok(not text:find(wrong, 1, true))
  local err = tap.raises("permission", consul { addr = cluster.address, token = wrong }.acl.read_acl_policy_by_name, "agent")
  tap.match(err, "the token from token= is not known")
  tap.ok(not tostring(err):find(wrong, 1, true))
end)

tap.test("a token that was deleted while it is used", function()
  local token = c.acl.create_acl_token { Policies = { { Name = "read-only" } } }
  local holder = consul { addr = cluster.address, token = token.SecretID }
  tap.ok(next((holder.catalog.list_services())))
  tap.equal(holder.acl.read_acl_policy_by_name "mb-none", nil) -- known: so it is the policy that is not there
  c.acl.delete_acl_token(token.AccessorID)
  tap.match(tap.raises("permission", holder.catalog.list_services), "is not known to the servers")
  tap.match(tap.raises("permission", holder.acl.read_acl_policy_by_name, "mb-none"), "is not known to the servers")
end)

tap.test("a token that may only read", function()
  local reader = cluster.client "read-only"
  c.kv.put_key("mb/seen", { body = "x" })
  tap.equal(reader.kv.read_key("mb/seen", { raw = true }), "x")
  tap.ok(#reader.acl.list_acl_policies() > 0)
  local own = reader.acl.read_self_acl_token().AccessorID
  tap.ok(secret.is(reader.acl.read_acl_token(own).SecretID))
  for needed, refused in pairs {
    ["key:write"] = { reader.kv.put_key, "mb/seen", { body = "y" } },
    ["session:write"] = { reader.session.create_session, {} },
    ["event:write"] = { reader.event.fire_event, "mb", { body = "" } },
    ["service:write"] = { reader.agent.register_service, { Name = "mb" } },
    ["agent:write"] = { reader.agent.reload_agent },
    ["node:write"] = { reader.agent.maintain_agent, { enable = true } },
    ["acl:write"] = { reader.acl.delete_acl_token, own },
    ["operator:write"] = { reader.operator.update_autopilot_configuration, { CleanupDeadServers = true } },
    ["keyring:write"] = { reader.operator.install_keyring_key, { Key = "AAAAAAAAAAAAAAAAAAAAAA==" } },
    ["query:write"] = { reader.query.create_prepared_query, { Name = "mb", Service = { Service = "mb" } } },
    ["intention:write"] = { reader.connect.create_intention_by_id, { SourceName = "a", DestinationName = "b", Action = "deny",
      SourceType = "consul" } },
  } do
    local err = tap.raises("permission", table.unpack(refused))
    tap.match(err, "the token from token= has no policy that allows this; it needs " .. needed .. "$")
  end
  tap.equal(reader.kv.read_key("mb/seen", { raw = true }), "x")
  c.kv.delete_key "mb/seen"
end)

-- ---- --check ----

-- What changes something in each group, and what an operator would read between.
local CHANGES = [[
  print(consul.kv.put_key("mb/checked", { body = "x" }), consul.kv.delete_key("", { recurse = true }))
  consul.kv.put_key("mb/checked", { body = "x", acquire = consul.session.create_session { Name = "x" }.ID })
  consul.txn.apply_transaction { body = { { KV = { Verb = "set", Key = "mb/checked", Value = "eA==" } } } }
  consul.catalog.register_entity { Node = "mb", Address = "192.0.2.1" }
  consul.catalog.deregister_entity { Node = "srv1" }
  consul.agent.register_service { Name = "mb" }
  for id in pairs(consul.agent.list_agent_services()) do consul.agent.deregister_service(id) end
  consul.agent.maintain_agent { enable = true }
  consul.agent.read_leaf_certificate "mb"
  consul.agent.leave_agent()
  local policy = consul.acl.create_acl_policy { Name = "mb", Rules = "" }
  consul.acl.update_acl_policy(policy.ID, { Name = "mb" })
  for _, token in ipairs(consul.acl.list_acl_tokens()) do consul.acl.delete_acl_token(token.AccessorID) end
  consul.acl.create_acl_token { Policies = { { Name = "agent" } } }
  consul.config.put_config_entry { Kind = "service-defaults", Name = "mb", Protocol = "http" }
  consul.connect.create_intention_by_id { SourceName = "a", DestinationName = "b", Action = "deny" }
  consul.connect.update_ca_configuration { Provider = "consul", Config = { LeafCertTTL = "1h" } }
  consul.query.create_prepared_query { Name = "mb", Service = { Service = "mb" } }
  consul.event.fire_event("mb", { body = "x" })
  consul.operator.update_autopilot_configuration { CleanupDeadServers = false }
  consul.operator.install_keyring_key { Key = "AAAAAAAAAAAAAAAAAAAAAA==" }
  consul.operator.remove_raft_peer { address = "192.0.2.1:8300" }
  consul.snapshot.restore_snapshot { body = "none" }
  print(#consul.catalog.list_nodes())
]]

tap.test("under --check the server stays as it is, and each change is predicted", function()
  cluster.alone()
  c.agent.register_service { Name = "mb-kept" }
  wait { function() return c.catalog.list_service_nodes "mb-kept"[1] end, every = "50ms", timeout = "90s", what = "the catalog" }
  local before = cluster.state()
  local run = cluster.moonbook { "--check", "--json", "-e", CHANGES, token = "management" }
  tap.equal(run.code, 0, run.said)
  tap.equal(lab.difference(before, cluster.state()), {})
  local _, predicted = run.stdout:gsub('"status":"predicted"', "")
  tap.ok(predicted >= 22, predicted .. " predicted")
  tap.ok(not run.said:find(lab.token "management", 1, true))
  c.agent.deregister_service "mb-kept"
end)

tap.test("the same comparison sees each change that is made", function()
  for what, change in pairs {
    ["kv/"] = function() c.kv.put_key("mb/seen", { body = "x" }) end,
    ["catalog/"] = function() c.catalog.register_entity { Node = "mb-seen", Address = "192.0.2.1" } end,
    ["acl/policies"] = function() c.acl.create_acl_policy { Name = "mb-seen" } end,
    ["agent/services"] = function() c.agent.register_service { Name = "mb-seen" } end,
  } do
    local before = cluster.state()
    change()
    tap.match(table.concat(lab.difference(before, cluster.state()), "\n"), "%+ " .. what)
  end
  c.kv.delete_key "mb/seen"
  c.catalog.deregister_entity { Node = "mb-seen" }
  c.acl.delete_acl_policy(c.acl.read_acl_policy_by_name "mb-seen".ID)
  c.agent.deregister_service "mb-seen"
end)

tap.finish()
