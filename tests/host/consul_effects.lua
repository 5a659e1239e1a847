-- What the table of Consul's endpoints says of effects and secrets, held against a real server: every row that reads is
-- called and leaves the server as it was, and no token or key comes out of any answer as plain text. From outside.
-- lab: --acls srv1
local tap = require "tap"
local lab = require "lab"
local cluster = require "cluster"
local servers = require "server"

-- Only the test writes then: servers write no coordinates of their own, and there is no Nomad.
cluster.configure 'sync_coordinate_interval_min = "1h"\nenable_debug = true\n'
cluster.alone()
local c = cluster.client "management"
local VERSION = { 1, 8, 7 }

-- ---- what there is to read, and to hide ----

local function random() return (host.run { "openssl", "rand", "-hex", "24", reads = true }.stdout:gsub("\n", "")) end

local function make_authority()
  local pem = host.run { "sh", "-c", [[
    openssl ecparam -name prime256v1 -genkey -noout -out "$1/key" &&
      openssl req -x509 -new -key "$1/key" -subj '/CN=mb authority' -days 30 -addext 'keyUsage=critical,keyCertSign,cRLSign' \
        -addext 'subjectAltName=URI:spiffe://11111111-2222-3333-4444-555555555555.consul' -out "$1/certificate" &&
      cat "$1/key" "$1/certificate"]], "sh", cluster.folder(), reads = true }.stdout
  return pem:match "^.-END EC PRIVATE KEY%-+\n", pem:match "%-+BEGIN CERTIFICATE.*"
end

local key, certificate = make_authority()
local KNOWN = { -- what no answer may show
  ["the management token"] = lab.token "management",
  ["the agent's token"] = lab.token "agent",
  ["Nomad's token"] = lab.token "nomad",
  ["the read-only token"] = lab.token "read-only",
  ["the token that was made"] = host.run { "cat", "/proc/sys/kernel/random/uuid", reads = true }.stdout:gsub("\n", ""),
  ["the gossip key"] = cluster.server:read "/etc/consul.d/consul.hcl":match 'encrypt = "([^"]+)"',
  ["the token that a check sends"] = "Bearer " .. random(),
  ["the account of the auth method"] = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50In0." .. random(),
  ["the authority's key"] = key:match "\n([^\n]+)\n",
}

local made = {}

-- First, for servers write it in their own time.
c.coordinate.update_coordinate { Node = "srv1",
  Coord = { Vec = { 0, 0, 0, 0, 0, 0, 0, 0 }, Error = 1.5, Adjustment = 0, Height = 1e-5 } }

local function make_acls()
  made.policy = c.acl.create_acl_policy { Name = "mb-policy", Rules = 'key_prefix "" { policy = "read" }' }
  made.role = c.acl.create_acl_role { Name = "mb-role", Policies = { { Name = "mb-policy" } } }
  made.token = c.acl.create_acl_token { Roles = { { Name = "mb-role" } }, SecretID = KNOWN["the token that was made"] }
  c.acl.create_auth_method { Name = "mb-method", Type = "kubernetes", Config = { Host = "https://192.0.2.1",
    CACert = certificate, ServiceAccountJWT = KNOWN["the account of the auth method"] } }
  made.rule = c.acl.create_binding_rule { AuthMethod = "mb-method", BindType = "service", BindName = "mb" }
end

local function make_services()
  local http = { Interval = "1h", HTTP = "http://192.0.2.1/",
    Header = { Authorization = { KNOWN["the token that a check sends"] } } }
  -- No checks that the agent makes itself: it would write what they find.
  c.agent.register_service { Name = "mb-web", Port = 80, Check = { TTL = "1h" } }
  c.agent.register_service { Name = "mb-proxy", Kind = "connect-proxy", Port = 8081,
    Proxy = { DestinationServiceName = "mb-web" } }
  c.agent.register_service { Name = "mb-ingress", Kind = "ingress-gateway", Port = 8443 }
  c.catalog.register_entity { Node = "mb-printer", Address = "192.0.2.9", Service = { Service = "mb-print" },
    Check = { Name = "mb-http", Status = "passing", ServiceID = "mb-print", Definition = http } }
  c.config.put_config_entry { Kind = "ingress-gateway", Name = "mb-ingress",
    Listeners = { { Port = 8080, Protocol = "tcp", Services = { { Name = "mb-web" } } } } }
  made.intention = c.connect.create_intention_by_id { SourceName = "mb-web", DestinationName = "mb-db", Action = "deny",
    SourceType = "consul" }
  c.connect.update_ca_configuration { Provider = "consul", Config = { PrivateKey = key, RootCert = certificate,
    LeafCertTTL = "72h", RotationPeriod = "2160h", IntermediateCertTTL = "8760h" } }
  made.leaf = c.agent.read_leaf_certificate "mb-web"
  tap.ok(secret.is(made.leaf.PrivateKeyPEM))
end

local function make_others()
  c.kv.put_key("mb/a", { body = "x" })
  made.query = c.query.create_prepared_query { Name = "mb-query", Token = KNOWN["Nomad's token"],
    Service = { Service = "mb-print" } }
  made.session = c.session.create_session { Name = "mb" }
  c.event.fire_event("mb", { body = "x" })
  wait { function()
    return #c.catalog.list_service_nodes "mb-ingress" > 0 and #c.event.list_events() > 0 and
      c.coordinate.read_coordinates "srv1" ~= nil
  end, every = "50ms", timeout = "90s", what = "the catalog to have it all" }
end

-- ---- the rows ----

local ROWS = {} -- those that read
for _, row in ipairs(json.decode(servers.moonbook { "api", "--json" }.stdout)) do
  if row.product == "consul" and row.effect == "read" then ROWS[#ROWS + 1] = row end
end

-- Arguments of the rows that this server has. A list in a list: called once with each.
local ARGUMENTS = {
  ["acl.read_acl_replication"] = {},
  ["acl.list_acl_policies"] = {},
  ["acl.read_acl_policy"] = function() return { made.policy.ID } end,
  ["acl.read_acl_policy_by_name"] = { "mb-policy" },
  ["acl.list_acl_tokens"] = {},
  ["acl.read_acl_token"] = function() return { made.token.AccessorID } end,
  ["acl.read_self_acl_token"] = {},
  ["acl.list_acl_roles"] = {},
  ["acl.read_acl_role"] = function() return { made.role.ID } end,
  ["acl.read_acl_role_by_name"] = { "mb-role" },
  ["acl.list_auth_methods"] = {},
  ["acl.read_auth_method"] = { "mb-method" },
  ["acl.list_binding_rules"] = {},
  ["acl.read_binding_rule"] = function() return { made.rule.ID } end,
  ["agent.read_agent_self"] = {},
  ["agent.read_agent_host"] = {},
  ["agent.list_agent_members"] = {},
  ["agent.read_agent_metrics"] = {},
  ["agent.monitor_agent"] = { { loglevel = "trace" } },
  ["agent.list_agent_checks"] = {},
  ["agent.list_agent_services"] = {},
  ["agent.read_agent_service"] = { "mb-web" },
  ["agent.read_service_health_by_name"] = { "mb-web" },
  ["agent.read_service_health_by_id"] = { "mb-web" },
  ["agent.authorize_connection"] = function()
    return { { Target = "mb-db", ClientCertURI = made.leaf.ServiceURI, ClientCertSerial = made.leaf.SerialNumber } }
  end,
  ["agent.list_agent_ca_roots"] = {},
  ["catalog.list_datacenters"] = {},
  ["catalog.list_nodes"] = {},
  ["catalog.list_services"] = {},
  ["catalog.list_service_nodes"] = { "mb-web" },
  ["catalog.list_connect_service_nodes"] = { "mb-web" },
  ["catalog.read_node_services"] = { "srv1" },
  ["catalog.list_node_services"] = { "srv1" },
  ["catalog.list_gateway_services"] = { "mb-ingress" },
  ["config.read_config_entry"] = { "ingress-gateway", "mb-ingress" },
  ["config.list_config_entries"] = { "ingress-gateway" },
  ["connect.list_ca_roots"] = {},
  ["connect.read_ca_configuration"] = {},
  ["connect.list_intentions"] = {},
  ["connect.check_intention"] = { { source = "mb-web", destination = "mb-db" } },
  ["connect.match_intentions"] = { { by = "destination", name = "mb-db" } },
  ["connect.read_intention_by_id"] = function() return { made.intention.ID } end,
  ["coordinate.list_wan_coordinates"] = {},
  ["coordinate.list_coordinates"] = {},
  ["coordinate.read_coordinates"] = { "srv1" },
  ["discovery_chain.read_discovery_chain"] = { "mb-web" },
  ["discovery_chain.compile_discovery_chain"] = { "mb-web", { OverrideProtocol = "http" } },
  ["event.list_events"] = {},
  ["health.list_node_checks"] = { "mb-printer" },
  ["health.list_service_checks"] = { "mb-print" },
  ["health.list_service_instances"] = { "mb-print" },
  ["health.list_connect_service_instances"] = { "mb-web" },
  ["health.list_ingress_service_instances"] = { "mb-web" },
  ["health.list_checks_in_state"] = { "any" },
  ["internal.list_ui_nodes"] = {},
  ["internal.read_ui_node"] = { "mb-printer" },
  ["internal.list_ui_services"] = {},
  ["internal.list_ui_gateway_services_nodes"] = { "mb-ingress" },
  ["internal.authorize_acl"] = { { body = { { Resource = "key", Access = "write", Segment = "mb/a" } } } },
  ["internal.list_federation_states"] = {},
  ["internal.list_federation_mesh_gateways"] = {},
  ["internal.read_federation_state"] = { "dc1" },
  ["kv.read_key"] = { "mb/a" },
  ["operator.read_autopilot_configuration"] = {},
  ["operator.read_autopilot_health"] = {},
  ["operator.list_keyring_keys"] = {},
  ["operator.read_raft_configuration"] = {},
  ["query.list_prepared_queries"] = {},
  ["query.read_prepared_query"] = function() return { made.query.ID } end,
  ["query.execute_prepared_query"] = { "mb-query" },
  ["query.explain_prepared_query"] = { "mb-query" },
  ["session.read_session"] = function() return { made.session.ID } end,
  ["session.list_node_sessions"] = { "srv1" },
  ["session.list_sessions"] = {},
  ["snapshot.save_snapshot"] = {},
  ["status.read_leader"] = {},
  ["status.list_peers"] = {},
  ["debug.pprof_index"] = { "goroutine" },
}

-- Rows that came with a later Consul: what this one answers to them.
local NEWER = {
  ["acl.list_templated_policies"] = 404, ["acl.read_templated_policy"] = 404, ["acl.preview_templated_policy"] = 404,
  ["agent.read_agent_version"] = 404, ["agent.stream_agent_metrics"] = 404,
  ["connect.read_intention"] = 400, -- "exact" is taken for an id
  ["exported_services.list_exported_services"] = 404, ["imported_services.list_imported_services"] = 404,
  ["internal.list_ui_exported_services"] = 404, ["internal.read_ui_catalog_overview"] = 404,
  ["internal.list_ui_gateway_intentions"] = 404, ["internal.read_ui_service_topology"] = 404,
  ["internal.proxy_ui_metrics"] = 404, ["internal.list_rpc_methods"] = 404,
  ["operator.read_autopilot_state"] = 404, ["operator.read_usage"] = 404, ["operator.list_feature_gates"] = 404,
  ["operator.read_feature_gate"] = 404,
  ["peering.read_peering"] = 404, ["peering.list_peerings"] = 404,
}

local function function_of(name)
  local group, fn = name:match "^([^.]+)%.(.+)$"
  return c[group][fn]
end

local function is_older(since)
  local number = {}
  for part in since:gmatch "%d+" do number[#number + 1] = tonumber(part) end
  for i = 1, 3 do
    if number[i] ~= VERSION[i] then return number[i] < VERSION[i] end
  end
  return true
end

-- ---- calling each ----

-- Every plain text in a value with where it is, names too; and how many secrets there are.
local function look(value, where, found)
  if secret.is(value) then
    found.secrets = found.secrets + 1
  elseif type(value) == "string" then
    found[#found + 1] = { text = value, where = where }
  elseif type(value) == "table" then
    for name, item in pairs(value) do
      look(name, where .. " (a name)", found)
      look(item, where .. "." .. tostring(name), found)
    end
  end
  return found
end

-- What of the known secrets a value shows.
local function shown(value, name)
  local found, list = look(value, name, { secrets = 0 }), {}
  for _, each in ipairs(found) do
    for what, text in pairs(KNOWN) do
      if each.text:find(text, 1, true) then list[#list + 1] = what .. " in " .. each.where end
    end
  end
  return list, found.secrets
end

-- The first piece of a stream; another call makes the agent log something.
local function first_of(stream)
  c.status.read_leader()
  local line = stream()
  stream:close()
  return line
end

local answers = {}

tap.test("each row that reads is called, and the server writes nothing meanwhile", function()
  make_acls()
  make_services()
  make_others()
  local before, wrong = cluster.state(), {}
  local index = cluster.raft_index()
  for _, row in ipairs(ROWS) do
    local name = row.name:gsub("^consul%.", "")
    local arguments = ARGUMENTS[name]
    if type(arguments) == "function" then arguments = arguments() end
    if arguments then
      local done, answer, meta = pcall(function_of(name), table.unpack(arguments))
      if done and row.returns == "stream" then answer = first_of(answer) end
      tap.ok(done, name .. ": " .. tostring(answer))
      tap.ok(answer ~= nil, name .. " answers")
      answers[name] = { answer, type(meta) == "table" and meta.headers or nil }
      local now = cluster.raft_index()
      if now ~= index then wrong[#wrong + 1] = name .. " writes: " .. now - index end
      index = now
    end
  end
  tap.equal(wrong, {})
  tap.equal(lab.difference(before, cluster.state()), {})
end)

tap.test("the last entry of the server's log tells of a write", function()
  local index = cluster.raft_index()
  c.kv.put_key("mb/a", { body = "x" })
  tap.equal(cluster.raft_index(), index + 1)
end)

tap.test("no answer shows a token or a key", function()
  local list = {}
  for name, answer in pairs(answers) do table.move(shown(answer, name), 1, 99, #list + 1, list) end
  table.sort(list)
  tap.equal(list, {})
end)

tap.test("what holds one holds it as a secret", function()
  for name, least in pairs { ["acl.read_acl_token"] = 1, ["acl.read_self_acl_token"] = 1, ["acl.read_auth_method"] = 1,
    ["connect.read_ca_configuration"] = 1, ["operator.list_keyring_keys"] = 4, ["query.list_prepared_queries"] = 1,
    ["query.read_prepared_query"] = 1, ["query.explain_prepared_query"] = 1, ["snapshot.save_snapshot"] = 1,
    ["health.list_node_checks"] = 1, ["health.list_service_checks"] = 1, ["health.list_service_instances"] = 1,
    ["health.list_checks_in_state"] = 1, ["internal.list_ui_nodes"] = 1, ["internal.read_ui_node"] = 1,
    ["query.execute_prepared_query"] = 1 } do
    local _, secrets = shown(answers[name], name)
    tap.ok(secrets >= least, name .. ": " .. secrets .. " secrets")
  end
end)

tap.test("rows of a later Consul are refused as that; no row is left out", function()
  for _, row in ipairs(ROWS) do
    local name = row.name:gsub("^consul%.", "")
    tap.ok((ARGUMENTS[name] ~= nil) ~= (NEWER[name] ~= nil), name .. " is called, or is newer")
    if NEWER[name] then
      tap.ok(not row.since or row.since == "" or not is_older(row.since), name .. " is since " .. tostring(row.since))
      local arguments, options = {}, { source = "a", destination = "b" }
      for _ in row.path:gmatch "{" do arguments[#arguments + 1] = "mb" end
      if name == "connect.read_intention" then arguments[1] = options end
      local err = tap.raises("http", function_of(name), table.unpack(arguments))
      tap.equal(err.status, NEWER[name], name)
      tap.match(err.hint, "too old: Consul .*" .. (row.since ~= "" and row.since or "of a later version"))
      print(("# Consul 1.8.7 has no %s: %d, since %s"):format(name, err.status, row.since or "later"))
    elseif row.since and row.since ~= "" then
      tap.ok(is_older(row.since), name .. " works, though it is since " .. row.since)
    end
  end
end)

tap.finish()
