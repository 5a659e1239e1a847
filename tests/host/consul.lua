-- The consul module against a real Consul server with ACLs on, from outside: what an operator does, group by group.
-- lab: --acls srv1
local tap = require "tap"
local lab = require "lab"
local cluster = require "cluster"

local c = cluster.client "management"
local UNKNOWN = "11111111-1111-1111-1111-111111111111"


-- Does the list have an entry with that field?
local function entry(list, field, value)
  for _, each in ipairs(list) do
    if each[field] == value then return each end
  end
end

-- Waits for what the agent tells the catalog in its own time.
local function soon(what, fn)
  return wait { function() return (fn()) end, every = "50ms", timeout = "90s", what = what }
end

-- A file of the operator's, gone at the end.
local function temporary(content)
  local path = os.tmpname()
  file.present { path, content = content or "" }
  return path, setmetatable({}, { __close = function() os.remove(path) end })
end

-- Servers write it in their own time: it is looked at near the end.
c.coordinate.update_coordinate { Node = "srv1",
  Coord = { Vec = { 0, 0, 0, 0, 0, 0, 0, 0 }, Error = 1.5, Adjustment = 0, Height = 1e-5 } }

-- ---- keys ----

local BINARY = {}
for byte = 0, 255 do BINARY[#BINARY + 1] = string.char(byte) end
BINARY = table.concat(BINARY)

tap.test("keys with slashes, blanks, any script, and what URLs are made of", function()
  for _, key in ipairs { "mb/a", "mb/a b/c", "mb/ü/日本", "mb/100%/?#&=+;:@", "mb/folder/", "mb/'\"\\", "mb/a%2Fb" } do
    tap.equal(c.kv.put_key(key, { body = "value of " .. key }), true)
    tap.equal(c.kv.read_key(key, { raw = true }), "value of " .. key)
    tap.equal(c.kv.read_key(key)[1].Key, key)
  end
  tap.equal(#c.kv.read_key("mb/", { keys = true }), 7)
  tap.equal(c.kv.read_key("mb/", { keys = true, separator = "/" }), { "mb/'\"\\", "mb/100%/", "mb/a", "mb/a b/", "mb/a%2Fb",
    "mb/folder/", "mb/ü/" })
  tap.equal(#c.kv.read_key("mb/a", { recurse = true }), 3)
  tap.equal(c.kv.delete_key("mb/a b/", { recurse = true }), true)
  tap.equal(c.kv.read_key "mb/a b/c", nil)
  tap.equal(c.kv.delete_key("mb/", { recurse = true }), true)
  tap.equal(c.kv.read_key("mb/", { recurse = true }), nil)
  tap.equal(c.kv.read_key("mb/", { keys = true }), nil)
end)

tap.test("values: bytes, nothing, flags of 64 bits, and the limit", function()
  c.kv.put_key("mb/binary", { body = BINARY, flags = "18446744073709551615" })
  tap.equal(c.kv.read_key("mb/binary", { raw = true }), BINARY)
  local found = c.kv.read_key "mb/binary"[1]
  tap.equal(tostring(found.Flags), "18446744073709551615")
  tap.equal(#found.Value, 344) -- base64
  c.kv.put_key("mb/empty", { body = "" })
  tap.equal(c.kv.read_key("mb/empty", { raw = true }), "")
  tap.equal(c.kv.read_key "mb/empty"[1].Value, json.null)
  local large = ("x"):rep(512 * 1024)
  tap.equal(c.kv.put_key("mb/large", { body = large }), true)
  tap.equal(c.kv.read_key("mb/large", { raw = true }) == large, true)
  local err = tap.raises("http", c.kv.put_key, "mb/large", { body = large .. "x" })
  tap.equal(err.status, 413)
  tap.match(err, "524288")
  local path <const>, _ <close> = temporary(BINARY)
  c.kv.put_key("mb/file", { from = path })
  tap.equal(c.kv.read_key("mb/file", { raw = true }), BINARY)
  c.kv.delete_key("mb/", { recurse = true })
end)

tap.test("compare and set", function()
  tap.equal(c.kv.put_key("mb/cas", { body = "one", cas = 0 }), true)
  tap.equal(c.kv.put_key("mb/cas", { body = "two", cas = 0 }), false)
  local index = c.kv.read_key "mb/cas"[1].ModifyIndex
  tap.equal(c.kv.put_key("mb/cas", { body = "two", cas = index - 1 }), false)
  tap.equal(c.kv.put_key("mb/cas", { body = "two", cas = index }), true)
  tap.equal(c.kv.delete_key("mb/cas", { cas = index }), false)
  tap.equal(c.kv.read_key("mb/cas", { raw = true }), "two")
  tap.equal(c.kv.delete_key("mb/cas", { cas = c.kv.read_key "mb/cas"[1].ModifyIndex }), true)
end)

tap.test("sessions and locks", function()
  local one = c.session.create_session { Name = "one", LockDelay = "0s" }.ID
  local other = c.session.create_session { Name = "other", LockDelay = "0s", TTL = "3600s", Behavior = "delete" }.ID
  tap.equal(c.kv.put_key("mb/lock", { body = "me", acquire = one }), true)
  tap.equal(c.kv.put_key("mb/lock", { body = "you", acquire = other }), false)
  tap.equal(c.kv.read_key "mb/lock"[1].Session, one)
  tap.equal(c.kv.put_key("mb/lock", { body = "me", release = one }), true)
  tap.equal(c.kv.put_key("mb/lock", { body = "you", acquire = other }), true)
  tap.equal(c.session.renew_session(other)[1].TTL, "3600s")
  tap.equal(c.session.read_session(one)[1].Name, "one")
  tap.equal(c.session.read_session(UNKNOWN), json.array {})
  tap.ok(entry(c.session.list_sessions(), "ID", other))
  tap.ok(entry(c.session.list_node_sessions "srv1", "ID", one))
  tap.equal(c.session.destroy_session(other), true)
  tap.equal(c.kv.read_key "mb/lock", nil) -- the session took it along
  tap.match(tap.raises("http", c.session.renew_session, other), "404.*not found")
  tap.equal(c.session.destroy_session(one), true)
end)

tap.test("transactions: all or nothing, and which operation failed", function()
  local function set(key, value, index)
    return { KV = { Verb = index and "cas" or "set", Key = key, Value = value, Index = index } }
  end
  local done = c.txn.apply_transaction { body = { set("mb/t1", "b25l"), set("mb/t2", "dHdv") } }
  tap.equal(#done.Results, 2)
  local err = tap.raises("http", c.txn.apply_transaction, { body = { set("mb/t1", "bmV3"), set("mb/t2", "bmV3", 1) } })
  tap.equal(err.status, 409)
  tap.match(err, "operation 2: .*index is stale")
  tap.ok(not tostring(err):find("{", 1, true), tostring(err))
  tap.equal(c.kv.read_key("mb/t1", { raw = true }), "one")
  c.kv.delete_key("mb/", { recurse = true })
end)

-- ---- services ----

tap.test("the catalog: nodes and services of others", function()
  c.catalog.register_entity { Node = "printer", Address = "192.0.2.9", NodeMeta = { kind = "printer", site = "b31" },
    Service = { ID = "lp", Service = "mb-print", Tags = { "a3", "colour" }, Port = 9100 },
    Check = { CheckID = "alive", Name = "alive", Status = "critical", ServiceID = "lp" } }
  tap.ok(entry(c.catalog.list_nodes(), "Node", "printer"))
  tap.equal(#c.catalog.list_nodes { node_meta = { kind = "printer", site = "b31" } }, 1)
  tap.equal(#c.catalog.list_nodes { node_meta = { kind = "scanner" } }, 0)
  tap.equal(c.catalog.list_nodes { filter = 'Meta.kind == "printer"' }[1].Node, "printer")
  tap.equal(#c.catalog.list_nodes { near = "srv1", stale = true }, 2)
  tap.match(tap.raises("http", c.catalog.list_nodes, { filter = "Meta.kind = printer" }), "boolean expression")
  local services, meta = c.catalog.list_services()
  table.sort(services["mb-print"])
  tap.equal(services["mb-print"], { "a3", "colour" })
  tap.ok(meta.index > 1)
  tap.equal(c.catalog.list_service_nodes("mb-print", { tag = "a3" })[1].ServicePort, 9100)
  tap.equal(#c.catalog.list_service_nodes("mb-print", { tag = { "a3", "a4" } }), 0)
  tap.equal(c.catalog.read_node_services "printer".Services.lp.Port, 9100)
  tap.equal(c.catalog.read_node_services "nowhere", nil)
  tap.equal(c.catalog.list_node_services "printer".Services[1].ID, "lp")
  tap.equal(c.health.list_node_checks "printer"[1].CheckID, "alive")
  tap.equal(c.health.list_service_checks "mb-print"[1].Status, "critical")
  tap.equal(#c.health.list_service_instances "mb-print", 1)
  tap.equal(#c.health.list_service_instances("mb-print", { passing = true }), 0)
  tap.equal(#c.health.list_service_instances("mb-print", { passing = false }), 1)
  tap.ok(entry(c.health.list_checks_in_state "critical", "CheckID", "alive"))
  tap.equal(c.catalog.deregister_entity { Node = "printer", ServiceID = "lp" }, true)
  tap.equal(#c.catalog.list_service_nodes "mb-print", 0)
  tap.equal(c.catalog.deregister_entity { Node = "printer" }, true)
  tap.equal(entry(c.catalog.list_nodes(), "Node", "printer"), nil)
  tap.equal(c.catalog.list_datacenters(), { "dc1" })
  tap.match(tap.raises("http", c.catalog.list_nodes, { dc = "dc9" }), "No path to datacenter.*list_datacenters")
end)

local ODD = "mb/web 1 %ü?" -- ids may hold anything

tap.test("services of the agent: registered, changed, checked, taken away", function()
  tap.equal(c.agent.register_service { Name = "mb-web", ID = ODD, Port = 80, Tags = { "v1" }, Meta = { team = "ci" },
    Check = { CheckID = "mb/check 1", TTL = "1h", Status = "passing" } }, true)
  tap.equal(c.agent.list_agent_services { filter = 'Service == "mb-web"' }[ODD].Port, 80)
  local service, meta = c.agent.read_agent_service(ODD)
  tap.equal({ service.Service, service.Tags, meta.status }, { "mb-web", { "v1" }, 200 })
  soon("the catalog to have the service", function() return c.catalog.list_service_nodes "mb-web"[1] end)
  soon("its check to pass", function() return #c.health.list_service_instances("mb-web", { passing = true }) == 1 end)
  local health
  health, meta = c.agent.read_service_health_by_id(ODD)
  tap.equal({ health.AggregatedStatus, meta.status }, { "passing", 200 })
  tap.equal(c.agent.warn_check("mb/check 1", { note = "a bit slow" }), true)
  health, meta = c.agent.read_service_health_by_id(ODD)
  tap.equal({ health.AggregatedStatus, meta.status }, { "warning", 429 })
  tap.equal(c.agent.fail_check "mb/check 1", true)
  health, meta = c.agent.read_service_health_by_name "mb-web"
  tap.equal({ health[1].AggregatedStatus, meta.status }, { "critical", 503 })
  tap.equal(c.agent.read_service_health_by_name("mb-web", { format = "text" }), "critical")
  tap.equal(c.agent.pass_check "mb/check 1", true)
  tap.equal(c.agent.update_check("mb/check 1", { Status = "passing", Output = "fine\n" }), true)
  tap.equal(c.agent.list_agent_checks { filter = 'CheckID == "mb/check 1"' }["mb/check 1"].Output, "fine\n")
  tap.equal(c.agent.maintain_service(ODD, { enable = true, reason = "a test" }), true)
  tap.equal(c.agent.read_service_health_by_id(ODD).AggregatedStatus, "maintenance")
  tap.equal(c.agent.maintain_service(ODD, { enable = false }), true)
  tap.equal(c.agent.register_check { Name = "disk", ID = "mb-disk", TTL = "1h" }, true)
  tap.equal(c.agent.deregister_check "mb-disk", true)
  tap.match(tap.raises("http", c.agent.pass_check, "mb-disk"), "mb%-disk")
  tap.equal(c.agent.deregister_service(ODD), true)
  soon("the catalog to lose the service", function() return #c.catalog.list_service_nodes "mb-web" == 0 end)
end)

tap.test("what the agent does not know", function()
  local err = tap.raises("http", c.agent.deregister_service, ODD)
  tap.equal(err.status, 500)
  tap.match(err, "Unknown service .*another agent registered it")
  tap.equal(c.agent.read_agent_service "mb-nope", nil)
  tap.equal(c.agent.read_service_health_by_id "mb-nope", nil)
  tap.equal(c.agent.read_service_health_by_name "mb-nope", nil)
  tap.match(tap.raises("http", c.agent.force_leave_agent, "nowhere"), "nowhere")
  tap.match(tap.raises("http", c.agent.join_agent, "127.0.0.1:1"), "[Ff]ailed to join")
end)

tap.test("the agent itself", function()
  tap.equal(c.agent.read_agent_self().Config.Version, "1.8.7")
  tap.equal(c.agent.list_agent_members()[1].Name, "srv1")
  tap.ok(c.agent.read_agent_host().Memory.total > 0)
  tap.match(c.agent.read_agent_metrics().Timestamp, "^%d+%-%d+%-%d+ ") -- its lists may be empty yet
  tap.match(tap.raises("http", c.agent.read_agent_metrics, { format = "prometheus" }), "[Pp]rometheus")
  tap.equal(c.agent.join_agent(lab.server()), true)
  tap.equal(c.agent.reload_agent(), true)
  tap.equal(c.agent.maintain_agent { enable = true, reason = "a test" }, true)
  tap.ok(c.agent.list_agent_checks()._node_maintenance)
  tap.equal(c.agent.maintain_agent { enable = false }, true)
  tap.equal(c.agent.update_agent_token("agent", { Token = lab.token "agent" }), true)
  tap.match(tap.raises("http", c.agent.update_agent_token, "nonsense", { Token = "x" }), "404.*nonsense")
  tap.match(tap.raises("http", c.agent.read_agent_version), "404; the server may be too old")
end)

tap.test("the log as it is written", function()
  local seen
  for line in c.agent.monitor_agent { loglevel = "debug" } do
    if line:find("/v1/agent/monitor", 1, true) or line:find("/v1/kv/mb-seen", 1, true) then
      seen = line
      break
    end
    pcall(c.kv.read_key, "mb-seen")
  end
  tap.match(seen, "%[DEBUG%]")
  local objects = c.agent.monitor_agent { loglevel = "debug", logjson = true }
  c.kv.read_key "mb-seen"
  tap.equal(objects()["@level"], "debug")
  objects:close()
  tap.match(tap.raises("http", c.agent.monitor_agent, { loglevel = "loud" }), "400.*[Uu]nknown log level")
end)

-- ---- blocking queries ----

tap.test("a blocking query waits for the change, or for its time", function()
  local _, meta = c.kv.read_key "mb/watched"
  tap.equal(meta.status, 404)
  local results = parallel {
    function()
      local value, now = c.kv.read_key("mb/watched", { index = meta.index, wait = "1m", raw = true })
      return { value, now.index }
    end,
    function()
      sleep(0.1)
      return c.kv.put_key("mb/watched", { body = "changed" })
    end,
  }
  tap.equal(results[1][1], "changed")
  tap.ok(results[1][2] > meta.index)
  local value, later = c.kv.read_key("mb/watched", { index = results[1][2], wait = "50ms", raw = true })
  tap.equal({ value, later.index }, { "changed", results[1][2] })
  c.kv.delete_key "mb/watched"
end)

tap.test("watch: now, after each change, and anew when a snapshot brought an older index back", function()
  local path <const>, _ <close> = temporary()
  c.kv.put_key("mb/watched", { body = "kept" })
  tap.equal(c.snapshot.save_snapshot { to = path }, true)
  local seen, steps = {}, {
    function() c.kv.put_key("mb/watched", { body = "lost" }) end,
    function() c.kv.delete_key "mb/watched" end,
    function() c.snapshot.restore_snapshot { from = path } end,
    function() c.kv.put_key("mb/watched", { body = "last" }) end,
  }
  -- A server whose index went back answers only when the time is over.
  for value, meta in consul.watch(c.kv.read_key, "mb/watched", { raw = true, wait = "1s" }) do
    seen[#seen + 1] = { value, meta.index }
    if value == "last" then break end
    table.remove(steps, 1)()
  end
  local values = {}
  for i, each in ipairs(seen) do values[i] = each[1] end
  tap.equal(values, { "kept", "lost", false, "kept", "last" })
  tap.equal(seen[4][2], seen[1][2]) -- the index went back
  c.kv.delete_key "mb/watched"
end)

-- ---- snapshots ----

tap.test("a snapshot goes to a file and back; in memory it is secret", function()
  local path <const>, _ <close> = temporary()
  c.kv.put_key("mb/snapshot", { body = "before" })
  tap.equal(c.snapshot.save_snapshot { to = path }, true)
  tap.equal(file.stat(path).mode, "0600")
  tap.equal(file.read(path):sub(1, 2), "\x1f\x8b")
  c.kv.put_key("mb/snapshot", { body = "after" })
  tap.equal(c.snapshot.restore_snapshot { from = path }, true)
  tap.equal(c.kv.read_key("mb/snapshot", { raw = true }), "before")
  local whole = c.snapshot.save_snapshot()
  tap.ok(secret.is(whole))
  c.kv.delete_key "mb/snapshot"
  tap.equal(c.snapshot.restore_snapshot { body = whole }, true)
  tap.equal(c.kv.read_key("mb/snapshot", { raw = true }), "before")
  local broken <const>, _ <close> = temporary "no archive"
  tap.match(tap.raises("http", c.snapshot.restore_snapshot, { from = broken }), "500.*gzip")
  c.kv.delete_key "mb/snapshot"
end)

-- ---- ACLs ----

tap.test("policies, roles and tokens, from making to taking away", function()
  local policy = c.acl.create_acl_policy { Name = "mb-keys", Rules = 'key_prefix "mb/" { policy = "write" }' }
  tap.equal(c.acl.read_acl_policy(policy.ID).Rules, policy.Rules)
  tap.equal(c.acl.read_acl_policy_by_name "mb-keys".ID, policy.ID)
  tap.equal(c.acl.update_acl_policy(policy.ID, { Name = "mb-keys", Description = "keys", Rules = policy.Rules }).Description,
    "keys")
  local role = c.acl.create_acl_role { Name = "mb-role", Policies = { { Name = "mb-keys" } } }
  tap.equal(c.acl.read_acl_role(role.ID).Name, "mb-role")
  tap.equal(c.acl.read_acl_role_by_name "mb-role".ID, role.ID)
  tap.equal(c.acl.list_acl_roles { policy = policy.ID }[1].ID, role.ID)
  tap.equal(c.acl.update_acl_role(role.ID, { Name = "mb-role", Policies = role.Policies, Description = "x" }).Description, "x")
  local token = c.acl.create_acl_token { Description = "mb", Roles = { { Name = "mb-role" } }, ExpirationTTL = "1h" }
  tap.ok(secret.is(token.SecretID))
  local holder = consul { addr = cluster.address, token = token.SecretID }
  tap.equal(holder.kv.put_key("mb/mine", { body = "x" }), true)
  tap.equal(holder.acl.read_self_acl_token().AccessorID, token.AccessorID)
  tap.equal(c.acl.read_acl_token(token.AccessorID).SecretID, token.SecretID)
  local clone = c.acl.clone_acl_token(token.AccessorID, { Description = "clone" })
  tap.ok(secret.is(clone.SecretID) and clone.SecretID ~= token.SecretID)
  tap.ok(entry(c.acl.list_acl_tokens { role = role.ID }, "AccessorID", clone.AccessorID))
  tap.equal(c.acl.update_acl_token(clone.AccessorID, { Description = "copy", Roles = clone.Roles }).Description, "copy")
  tap.equal(c.acl.delete_acl_token(clone.AccessorID), true)
  tap.equal(c.acl.delete_acl_token(token.AccessorID), true)
  tap.match(tap.raises("permission", holder.kv.read_key, "mb/mine"), "the token from token= is not known")
  tap.equal(c.acl.delete_acl_role(role.ID), true)
  tap.equal(c.acl.delete_acl_policy(policy.ID), true)
  c.kv.delete_key "mb/mine"
end)

tap.test("what is not there is nil, whichever way this server says so", function()
  for _, name in ipairs { "read_acl_policy", "read_acl_policy_by_name", "read_acl_token", "read_acl_role",
    "read_acl_role_by_name", "read_auth_method", "read_binding_rule" } do
    tap.equal(c.acl[name](UNKNOWN), nil, name)
  end
  tap.equal(c.connect.read_intention_by_id(UNKNOWN), nil)
  tap.equal(c.query.read_prepared_query(UNKNOWN), nil)
  tap.equal(c.query.execute_prepared_query "mb-nope", nil)
  tap.equal(c.config.read_config_entry("service-defaults", "mb-nope"), nil)
  tap.equal(c.coordinate.read_coordinates "nowhere", nil)
  tap.equal(c.internal.read_federation_state "dc9", nil)
  tap.match(tap.raises("http", c.acl.clone_acl_token, UNKNOWN), "what it names is not there")
  tap.match(tap.raises("http", c.acl.read_acl_policy, "mb-keys"), "UUID.*read_acl_policy_by_name")
end)

tap.test("what is newer than this server is named as that, not as absent", function()
  for name, since in pairs { ["acl.read_templated_policy"] = "1.17.0", ["peering.read_peering"] = "1.13.0",
    ["operator.read_autopilot_state"] = "1.9.0", ["operator.read_feature_gate"] = "a later version" } do
    local group, fn = name:match "(.*)%.(.*)"
    local arguments = name:find "autopilot" and {} or { "x" }
    tap.match(tap.raises("http", c[group][fn], table.unpack(arguments)), "too old: Consul .*" .. since)
  end
  tap.match(tap.raises("http", c.connect.read_intention, { source = "a", destination = "b" }), "too old: Consul from 1.9.0")
end)

-- A JWT that an auth method takes: signed by a key of this test alone.
local function sign(key, claims)
  local function base64url(bytes)
    local text = host.run { "base64", "-w0", stdin = bytes, reads = true }.stdout
    return (text:gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" }))
  end
  local signed = base64url '{"alg":"RS256","typ":"JWT"}' .. "." .. base64url(json.encode(claims))
  local signature = host.run { "sh", "-c", 'openssl dgst -sha256 -sign "$1" | base64 -w0', "sh", key, stdin = signed,
    reads = true }.stdout
  return signed .. "." .. signature:gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" })
end

tap.test("auth methods and binding rules, up to a login and a logout", function()
  local key <const>, _ <close> = temporary()
  host.run { "openssl", "genrsa", "-out", key, "2048", reads = true }
  local public = host.run { "openssl", "rsa", "-in", key, "-pubout", reads = true }.stdout
  local config = { JWTValidationPubKeys = { public }, BoundIssuer = "moonbook", ClaimMappings = { user = "user" } }
  tap.equal(c.acl.create_auth_method { Name = "mb-jwt", Type = "jwt", Config = config }.Name, "mb-jwt")
  tap.equal(c.acl.read_auth_method "mb-jwt".Config.BoundIssuer, "moonbook")
  tap.equal(c.acl.list_auth_methods()[1].Name, "mb-jwt")
  config.ExpirationLeeway = 60000000000
  tap.equal(c.acl.update_auth_method("mb-jwt", { Name = "mb-jwt", Type = "jwt", Config = config }).Name, "mb-jwt")
  local rule = c.acl.create_binding_rule { AuthMethod = "mb-jwt", BindType = "service", BindName = "mb-${value.user}" }
  tap.equal(c.acl.read_binding_rule(rule.ID).BindName, "mb-${value.user}")
  tap.equal(#c.acl.list_binding_rules { authmethod = "mb-jwt" }, 1)
  tap.equal(c.acl.update_binding_rule(rule.ID, { BindType = "service", BindName = "mb-${value.user}", Description = "d" })
    .Description, "d")
  local now = os.time()
  local jwt = sign(key, { iss = "moonbook", user = "alice", iat = now, nbf = now - 60, exp = now + 600 })
  local login = c.acl.login { AuthMethod = "mb-jwt", BearerToken = jwt }
  tap.ok(secret.is(login.SecretID))
  local alice = consul { addr = cluster.address, token = login.SecretID }
  tap.equal(alice.acl.read_self_acl_token().ServiceIdentities[1].ServiceName, "mb-alice")
  tap.equal(alice.acl.logout(), true)
  tap.match(tap.raises("permission", alice.acl.logout), "the token from token= is not known")
  tap.match(tap.raises("http", c.acl.login, { AuthMethod = "mb-jwt", BearerToken = jwt .. "x" }), "signature")
  tap.match(tap.raises("permission", c.acl.login, { AuthMethod = "mb-nope", BearerToken = jwt }), "ACL not found")
  tap.equal(c.acl.delete_binding_rule(rule.ID), true)
  tap.equal(c.acl.delete_auth_method "mb-jwt", true)
end)

tap.test("the cluster is bootstrapped once", function()
  tap.match(tap.raises("permission", c.acl.bootstrap_acl), "no longer allowed %(reset index: %d+%)")
  tap.equal(c.acl.read_acl_replication().Enabled, false)
end)

-- ---- the mesh ----

tap.test("config entries", function()
  tap.equal(c.config.put_config_entry { Kind = "service-defaults", Name = "mb-web", Protocol = "http" }, true)
  local found, meta = c.config.read_config_entry("service-defaults", "mb-web")
  tap.equal({ found.Protocol, meta.status }, { "http", 200 })
  tap.equal(#c.config.list_config_entries "service-defaults", 1)
  tap.equal(c.config.put_config_entry { Kind = "service-defaults", Name = "mb-web", Protocol = "tcp",
    cas = found.ModifyIndex - 1 }, false)
  tap.equal(c.config.put_config_entry { Kind = "service-defaults", Name = "mb-web", Protocol = "tcp",
    cas = found.ModifyIndex }, true)
  tap.match(tap.raises("http", c.config.put_config_entry, { Kind = "nonsense", Name = "x" }), "nonsense")
  tap.ok(c.config.delete_config_entry("service-defaults", "mb-web"))
  tap.equal(c.config.read_config_entry("service-defaults", "mb-web"), nil)
  tap.equal(c.config.list_config_entries "service-defaults", json.array {})
end)

tap.test("intentions", function()
  local made = c.connect.create_intention_by_id { SourceName = "mb-web", DestinationName = "mb-db", Action = "deny",
    SourceType = "consul" }
  tap.equal(c.connect.read_intention_by_id(made.ID).Action, "deny")
  tap.ok(entry(c.connect.list_intentions(), "ID", made.ID))
  tap.equal(c.connect.check_intention { source = "mb-web", destination = "mb-db" }.Allowed, false)
  tap.equal(c.connect.match_intentions { by = "source", name = { "mb-web", "mb-db" } }["mb-web"][1].ID, made.ID)
  tap.equal(c.connect.update_intention_by_id(made.ID, { SourceName = "mb-web", DestinationName = "mb-db", Action = "allow",
    SourceType = "consul" }).ID, made.ID)
  tap.equal(c.connect.check_intention { source = "mb-web", destination = "mb-db" }.Allowed, true)
  tap.equal(c.connect.delete_intention_by_id(made.ID), true)
  tap.equal(c.connect.read_intention_by_id(made.ID), nil)
end)

tap.test("the mesh's certificate authority", function()
  local roots = c.connect.list_ca_roots()
  tap.equal(roots.Roots[1].ID, roots.ActiveRootID)
  tap.match(roots.Roots[1].RootCert, "BEGIN CERTIFICATE")
  tap.equal(c.agent.list_agent_ca_roots().ActiveRootID, roots.ActiveRootID)
  tap.equal(c.connect.read_ca_configuration().Provider, "consul")
  local leaf = c.agent.read_leaf_certificate "mb-web"
  tap.match(leaf.CertPEM, "BEGIN CERTIFICATE")
  tap.ok(secret.is(leaf.PrivateKeyPEM))
  local allowed = c.agent.authorize_connection { Target = "mb-db", ClientCertURI = leaf.ServiceURI,
    ClientCertSerial = leaf.SerialNumber }
  tap.equal(allowed.Authorized, false)
  local chain = c.discovery_chain.read_discovery_chain "mb-web".Chain
  tap.equal({ chain.ServiceName, chain.Protocol }, { "mb-web", "tcp" })
  chain = c.discovery_chain.compile_discovery_chain("mb-web", { OverrideProtocol = "http" }).Chain
  tap.equal(chain.Protocol, "http")
  tap.equal(c.connect.update_ca_configuration { Provider = "consul", Config = { LeafCertTTL = "24h",
    RotationPeriod = "2160h", IntermediateCertTTL = "8760h" } }, true)
  tap.equal(c.connect.read_ca_configuration().Config.LeafCertTTL, "24h")
end)

-- ---- the rest ----

tap.test("prepared queries, with their token kept secret", function()
  local id = c.query.create_prepared_query { Name = "mb-query", Token = lab.token "nomad",
    Service = { Service = "consul", OnlyPassing = true } }.ID
  local found = c.query.read_prepared_query(id)[1]
  tap.equal(found.Name, "mb-query")
  tap.ok(secret.is(found.Token))
  tap.ok(secret.is(entry(c.query.list_prepared_queries(), "ID", id).Token))
  tap.equal(c.query.execute_prepared_query("mb-query", { limit = 1 }).Nodes[1].Node.Node, "srv1")
  local explained = c.query.explain_prepared_query("mb-query").Query
  tap.equal(explained.Name, "mb-query")
  tap.ok(secret.is(explained.Token))
  tap.equal(c.query.update_prepared_query(id, { Name = "mb-query", Service = { Service = "nomad" } }), true)
  tap.equal(c.query.read_prepared_query(id)[1].Service.Service, "nomad")
  tap.equal(c.query.delete_prepared_query(id), true)
  tap.equal(c.query.read_prepared_query(id), nil)
end)

tap.test("events", function()
  local fired = c.event.fire_event("mb-deploy", { body = "now", node = "srv" })
  tap.equal({ fired.Name, fired.NodeFilter }, { "mb-deploy", "srv" })
  local found = soon("the event to come round", function()
    return entry(c.event.list_events { name = "mb-deploy" }, "ID", fired.ID)
  end)
  tap.equal(found.Payload, "bm93")
end)

tap.test("coordinates", function()
  tap.equal(c.coordinate.list_wan_coordinates()[1].Coordinates[1].Node, "srv1")
  soon("the coordinate to be written", function() return c.coordinate.read_coordinates "srv1" end)
  tap.equal(#c.coordinate.list_coordinates()[1].Coord.Vec, 8)
end)

tap.test("what operators look at: raft, autopilot, the keyring", function()
  local peers = c.operator.read_raft_configuration().Servers
  tap.equal({ peers[1].Node, peers[1].Leader }, { "srv1", true })
  tap.match(c.status.read_leader(), "^" .. lab.server():gsub("%.", "%%.") .. ":8300$")
  tap.equal(c.status.list_peers(), { lab.server() .. ":8300" })
  local autopilot = c.operator.read_autopilot_configuration()
  tap.equal(c.operator.update_autopilot_configuration { CleanupDeadServers = false, MaxTrailingLogs = 300,
    LastContactThreshold = "200ms", ServerStabilizationTime = "10s", cas = autopilot.ModifyIndex }, true)
  tap.equal(c.operator.read_autopilot_configuration().CleanupDeadServers, false)
  tap.equal(c.operator.update_autopilot_configuration { CleanupDeadServers = true, cas = 1 }, false)
  tap.equal(soon("autopilot to look at the servers", function() return c.operator.read_autopilot_health().Servers[1] end)
    .Name, "srv1")
  tap.match(tap.raises("http", c.operator.remove_raft_peer, { address = "192.0.2.1:8300" }), "192.0.2.1:8300")
  tap.raises("http", c.operator.transfer_leadership) -- from a later version on
end)

tap.test("gossip keys are secret, and turned over", function()
  local function keys()
    local list = {}
    for key in pairs(c.operator.list_keyring_keys()[1].Keys) do
      tap.ok(secret.is(key))
      list[#list + 1] = key
    end
    return list
  end
  local old = keys()[1]
  local new = host.run { "openssl", "rand", "-base64", "32", reads = true }.stdout:gsub("\n", "")
  tap.equal(c.operator.install_keyring_key { Key = new }, true)
  tap.equal(#keys(), 2)
  tap.equal(c.operator.use_keyring_key { Key = new }, true)
  tap.equal(c.operator.use_keyring_key { Key = old }, true)
  tap.equal(c.operator.remove_keyring_key { Key = new }, true)
  tap.equal(#keys(), 1)
end)

tap.finish()
