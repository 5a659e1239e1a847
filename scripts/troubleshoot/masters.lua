-- How the cluster's servers are: each reachable, its services active, who leads, who is a peer, is its Vault sealed? One row
-- each, those with a problem last. A server that does not answer holds nobody up. Reads only.

-- ---- which servers ----

-- What Consul's catalog has as its servers: {{name=, address=}, ...}.
local function find_servers(client, reach)
  local asked, rows = pcall(client.catalog.list_service_nodes, "consul")
  if not asked or #rows == 0 then
    error { message = asked and "Consul shows no server of its own" or rows.message,
            hint = "name them: --set servers=srv1,srv2,srv3; or give CONSUL_HTTP_ADDR and a token that may read services" }
  end
  local list = {}
  for _, row in ipairs(rows) do
    list[#list + 1] = { name = row.Node, address = row.Address, ssh = reach == "address" and row.Address or row.Node }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function list_servers(p, client)
  if not p.servers then return find_servers(client, p.reach) end
  local list = {}
  for index, name in ipairs(p.servers) do list[index] = { name = name, ssh = name } end
  return list
end

-- ---- one server ----

local function host_part(address)
  return (address or ""):match "^%[?(.-)%]?:%d+$" or ""
end

local function add(server, text, ...)
  table.insert(server.problems, select("#", ...) > 0 and text:format(...) or text)
end

-- Calls fn; what it raises becomes a problem of the server's. Cancelling goes on up.
local function try(server, what, fn)
  local done, answer = pcall(fn)
  if done then return answer end
  if type(answer) == "table" and answer.kind == "cancelled" then error(answer, 0) end
  add(server, "%s: %s", what, type(answer) == "table" and answer.message or tostring(answer))
end

local function look_at_units(server, there, units)
  for _, name in ipairs(units) do
    local unit = try(server, name, function() return there.systemd.status(name) or { active = "missing" } end)
    server.units[name] = unit and unit.active or "?"
    if unit and unit.active ~= "active" then add(server, "%s is %s", name, unit.active) end
  end
end

-- Who leads, and who the peers are, as the server's own agent of that product sees it.
local function look_at_raft(server, product, client, options)
  local title = product:gsub("^%l", string.upper)
  local leader = try(server, title, function() return client.status.read_leader(options) end)
  if not leader then return end
  local peers = try(server, title, function() return client.status.list_peers(options) end) or {}
  server.leader[product], server.peers[product] = host_part(leader), #peers
  if leader == "" then add(server, "%s has no leader", title) end
end

-- Vault says it without a token; where it cannot be reached from here, what it told Consul has to do.
local function ask_vault(server, options)
  local here = os.getenv "VAULT_ADDR" or "https://127.0.0.1:8200"
  local address = server.address or server.name
  if address:find ":" then address = "[" .. address .. "]" end
  local addr = ("%s://%s:%s"):format(here:match "^(%a+)://" or "https", address, here:match ":(%d+)/*$" or "8200")
  -- The addresses are from the catalog, where others may write; no token is needed, so none goes there.
  return vault { addr = addr, token = "" }.sys.read_seal_status(options).sealed
end

local function ask_consul_of_vault(server, client, options)
  for _, check in ipairs(client.health.list_service_checks("vault", options)) do
    if check.Node == server.name and check.Name == "Vault Sealed Status" then return check.Status ~= "passing" end
  end
end

local function look_at_vault(server, client, options)
  local asked, sealed = pcall(ask_vault, server, options)
  if not asked then
    local problem = sealed
    local told, answer = pcall(ask_consul_of_vault, server, client, options)
    if not told or answer == nil then
      return add(server, "Vault: %s", type(problem) == "table" and problem.message or tostring(problem))
    end
    sealed = answer
  end
  server.sealed = sealed and "SEALED" or "no"
  if sealed then add(server, "Vault is sealed: vault operator unseal on it, once for each key share") end
end

local function inspect(server, p, client, with_token)
  local options = { timeout = p.patience, retries = 0 }
  local there = host(server.ssh)
  local reached, problem = pcall(there.run, { "true", reads = true, timeout = p.patience })
  if not reached then
    if type(problem) == "table" and problem.kind == "cancelled" then error(problem, 0) end
    server.unreachable = true
    return add(server, type(problem) == "table" and problem.message or tostring(problem))
  end
  server.address = server.address or there.address
  look_at_units(server, there, p.services)
  if server.units.consul == "active" then look_at_raft(server, "consul", with_token(there.consul), options) end
  if server.units.nomad == "active" then look_at_raft(server, "nomad", there.nomad, options) end
  if server.units.vault == "active" then look_at_vault(server, client, options) end
end

-- ---- all of them ----

-- Those of the services whose servers elect a leader.
local function products_of(services)
  local list = {}
  for _, product in ipairs { "consul", "nomad" } do
    for _, name in ipairs(services) do
      if name == product then list[#list + 1] = product end
    end
  end
  return list
end

-- Servers that are sure of different leaders are two clusters; one that sees fewer peers than there are servers lost some.
local function compare(servers, product)
  local leaders, most = {}, 0
  for _, server in ipairs(servers) do
    local leader = server.leader[product]
    if leader and leader ~= "" then leaders[leader] = (leaders[leader] or 0) + 1 end
    if (server.units[product] or "missing") ~= "missing" then most = most + 1 end
  end
  local usual, votes = nil, 0
  for leader, count in pairs(leaders) do
    if count > votes or count == votes and leader < usual then usual, votes = leader, count end
  end
  for _, server in ipairs(servers) do
    local leader, peers = server.leader[product], server.peers[product]
    if leader and leader ~= "" and leader ~= usual then
      add(server, "%s: it follows %s, others %s", product, leader, usual)
    end
    if peers and peers < most then add(server, "%s: it has %d peers, and %d servers run it", product, peers, most) end
  end
  return usual
end

local function row_of(server, services, leaders)
  local row = { server.name }
  for _, name in ipairs(services) do row[#row + 1] = server.unreachable and "-" or server.units[name] or "?" end
  local leads, peers = {}, {}
  for _, product in ipairs(products_of(services)) do
    if server.address and leaders[product] == server.address then leads[#leads + 1] = product end
    peers[#peers + 1] = tostring(server.peers[product] or "-")
  end
  row[#row + 1] = #leads > 0 and table.concat(leads, " ") or "-"
  row[#row + 1] = #peers > 0 and table.concat(peers, "/") or "-"
  row[#row + 1] = server.sealed or "-"
  return row
end

local function show(servers, services, leaders)
  local header = { "server" }
  for _, name in ipairs(services) do header[#header + 1] = name end
  table.move({ "leads", "peers", "sealed" }, 1, 3, #header + 1, header)
  local rows = { header }
  for _, failed in ipairs { false, true } do
    for _, server in ipairs(servers) do
      if (#server.problems > 0) == failed then rows[#rows + 1] = row_of(server, services, leaders) end
    end
  end
  columns(rows)
end

local function finish(servers)
  local bad, lines = 0, {}
  for _, server in ipairs(servers) do
    if #server.problems > 0 then bad = bad + 1 end
    for _, problem in ipairs(server.problems) do lines[#lines + 1] = ("%s: %s"):format(server.name, problem) end
  end
  if bad == 0 then return end
  error { message = ("%d of %d servers have a problem:\n  %s"):format(bad, #servers, table.concat(lines, "\n  ")),
          hint = "journalctl -u NAME on that server says why; as long as more than half are well, the cluster works" }
end

return {
  about = "how the cluster's servers are: services, leader, peers, sealed",
  params = {
    { "servers", "list(host)", about = "as ssh knows them; default: the servers in Consul's catalog" },
    { "reach", "enum(name,address)", default = "name", about = "how ssh reaches those of the catalog" },
    { "services", "list(string)", default = { "docker", "nomad", "consul", "vault" }, about = "units that must be active" },
    { "token", "secret", about = "Consul's token, by where it is: prompt, pass:NAME, file:PATH; default: the environment's" },
    { "patience", "duration", default = "10s", about = "how long one answer may take" },
  },
  run = function(p)
    local function with_token(module) return p.token and module { token = p.token } or module end
    local client, servers, leaders = with_token(consul), nil, {}
    step("look", function()
      servers = list_servers(p, client)
      for _, server in ipairs(servers) do server.units, server.leader, server.peers, server.problems = {}, {}, {}, {} end
      parallel(servers, function(server) inspect(server, p, client, with_token) end)
      for _, product in ipairs(products_of(p.services)) do leaders[product] = compare(servers, product) end
    end)
    show(servers, p.services, leaders)
    finish(servers)
  end,
}
