-- Joins the machine that it runs on to a Nomad cluster: package repository, packages, folders, configuration,
-- DNS, services, and the proof that the cluster sees it. A second run changes nothing; after an interruption
-- the next run goes on with what is missing.

local agents = require "agents"

local CONSUL_CONFIG = "/etc/consul.d/consul.hcl"
local NOMAD_CONFIG = "/etc/nomad.d/nomad.hcl"

-- ---- where the configuration comes from ----

local PLACES = { consul = CONSUL_CONFIG, nomad = NOMAD_CONFIG }

local function validate(p)
  local given = p.consul_hcl or p.nomad_hcl
  if p.config_from and given then
    error { message = "config_from and " .. (p.consul_hcl and "consul_hcl" or "nomad_hcl") .. " are both given",
            hint = "leave one out: either the files of another host, or two files of yours" }
  end
  if not p.config_from and not (p.consul_hcl and p.nomad_hcl) then
    error { message = given and (p.consul_hcl and "nomad_hcl" or "consul_hcl") .. " is missing" or "which configuration?",
            hint = "give --set consul_hcl=FILE --set nomad_hcl=FILE, or --set config_from=HOST, a member of the cluster" }
  end
end

-- The host and the path that a product's file is taken from.
local function origin(p, product)
  if p.config_from then return host(p.config_from), PLACES[product], p.config_from .. ":" .. PLACES[product] end
  local path = p[product .. "_hcl"]
  return host("local"), path, path
end

local function read_origin(p, product)
  local there, path, shown = origin(p, product)
  local read, text = pcall(there.file.read, path)
  if not read and p.config_from then
    text.hint = text.hint or "root may read it there: add sudo, or User root to the ssh configuration"
    error(text, 0)
  end
  if not read then
    error { message = ("%s_hcl: %s: %s"):format(product, path, text.message),
            hint = "give a file that you may read; what follows needs root" }
  end
  if not text then
    error { message = p.config_from and ("there is no %s on %s"):format(path, p.config_from)
              or ("%s_hcl: there is no file %s"):format(product, path),
            hint = p.config_from and "name a host that is a member of the cluster"
              or "copy it from a host that is a member: /etc/consul.d/consul.hcl, /etc/nomad.d/nomad.hcl" }
  end
  return text, shown
end

-- What must not be there of another host: its addresses. They are names here and in blocks; what is computed at the start
-- ({{ GetInterfaceIP "eth0" }}), any address and loopback hold on every host.
local ADDRESSES = { "advertise_addr", "advertise_addr_wan", "bind_addr", "serf_lan", "serf_wan" }

local function is_of_every_host(address)
  return address:find("{{", 1, true) or address == "0.0.0.0" or address == "::" or address == "[::]" or address == "::1"
    or address:find "^127%." or address == "localhost" or address == ""
end

local function host_part(address)
  return address:match "^%[(.-)%]" or address:match "^([^:]+):%d+$" or address
end

-- Raises where the text has an address of another host. Every line that sets one counts, those of blocks too.
local function check_addresses(p, product, text, shown)
  local names, inside = {}, false
  for _, name in ipairs(ADDRESSES) do names[name] = true end
  local number = 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    local code = line:gsub("^%s*#.*", ""):gsub("^%s*//.*", "")
    if code:find "^%s*advertise%s*{" then inside = product == "nomad" end
    for name, value in code:gmatch '([%w_]+)%s*=%s*"([^"]*)"' do
      if (names[name] or inside and (name == "http" or name == "rpc" or name == "serf")) and not is_of_every_host(value)
        and host_part(value) ~= p.address then
        error { message = ("%s: line %d: %s = \"%s\", but this host is %s"):format(shown, number, name, value, p.address),
                hint = ("copy the file, write %s there, and give it as %s_hcl=; or let every host find its own: " ..
                  '%s = "{{ GetPrivateIP }}"'):format(p.address, product, name) }
      end
    end
    if code:find "}" and not code:find("{{", 1, true) then inside = false end
  end
end

-- Everything that can be known to be wrong is looked at before anything is changed.
local function check_configuration(p, product)
  local text, shown = read_origin(p, product)
  if p.config_from then check_addresses(p, product, text, shown) end
  local folder = text:match '\n%s*data_dir%s*=%s*"([^"\n]*)"' or text:match '^%s*data_dir%s*=%s*"([^"\n]*)"'
  local wanted = p.data_dir .. "/" .. product
  if folder ~= wanted then
    error { message = ("%s: data_dir is %s, but this run makes %s"):format(shown, folder or "not set", wanted),
            hint = ('write data_dir = "%s" there, or give another --set data_dir='):format(wanted) }
  end
end

local function check_input(p)
  if not p.address then
    error { message = "the machine has no default route, so its address is not known",
            hint = "give it with --set address=10.0.0.7" }
  end
  local id = host.os.id
  if id ~= "debian" and id ~= "ubuntu" then
    error { message = "this runbook is for Debian and Ubuntu, the host runs " .. tostring(host.os.name or id),
            hint = "install the packages by hand; the other steps are in the runbook" }
  end
  for _, server in ipairs(p.consul_dns) do
    if not server:find "^[%x.:]+$" and not server:find "^[%x.:]+#%d+$" then
      error { message = ('consul_dns: "%s" is no server'):format(server),
              hint = "give ADDRESS or ADDRESS#PORT, as in --set consul_dns=10.0.0.1,10.0.0.2#8600" }
    end
  end
  for _, product in ipairs { "consul", "nomad" } do check_configuration(p, product) end
end

-- ---- the steps ----

local function add_repository(p)
  apt.repository { "hashicorp", uri = p.repository, suite = p.suite, components = { "main" },
    key = p.key, fingerprints = p.fingerprints,
    comment = ("Added %s by %s"):format(os.date "%Y-%m-%d", os.getenv "SUDO_USER" or os.getenv "USER" or "root") }
end

local function install_packages(p)
  apt.installed { "consul", version = p.consul_version, brings = {
    users = { "consul" }, groups = { "consul" }, units = { "consul.service" },
    files = { "/etc/consul.d", CONSUL_CONFIG } } }
  apt.installed { "nomad", version = p.nomad_version, brings = {
    units = { "nomad.service" }, files = { "/etc/nomad.d", NOMAD_CONFIG } } }
end

local function make_folders(p)
  file.directory { p.data_dir .. "/consul", owner = "consul", group = "consul", mode = "0755" }
  file.directory { p.data_dir .. "/nomad", owner = "root", group = "root", mode = "0755" }
end

-- A service is stopped only where its data folder moves: two folders with one node's identity confuse the cluster.
local function stop_if_data_moves(p)
  local places = {
    consul = function(options) return consul.agent.read_agent_self(options).DebugConfig.DataDir end,
    nomad = function(options) return agents.nomad(p.address).agent.read_agent_self(options).config.DataDir end,
  }
  for _, name in ipairs { "nomad", "consul" } do
    local wanted = p.data_dir .. "/" .. name
    -- An agent that answers from the right folder says enough; only else is its unit looked at.
    local answered, folder = pcall(places[name], { retries = 0 })
    local unit = not (answered and folder == wanted) and systemd.status(name)
    if unit and unit.active == "active" then
      if not answered then answered, folder = pcall(places[name]) end
      if answered and folder and folder ~= wanted then
        log(("%s keeps its data in %s; it is stopped, as %s is its folder now"):format(name, folder, wanted))
        systemd.stopped { name }
      end
    end
  end
end

-- Both programs merge every *.hcl and *.json of their folder.
local function warn_of_others(path)
  for _, other in ipairs(file.glob(path:match "^.*/" .. "*")) do
    if other ~= path and (other:find "%.hcl$" or other:find "%.json$") then
      warn(("%s is read as well: make sure that it belongs there"):format(other))
    end
  end
end

-- `nomad config validate` came with Nomad 1.3; an older one says at its start what it does not like.
local function nomad_checker()
  local checker = { "nomad", "config", "validate", "%s" }
  -- Not run under --check, and a version that only a real run knows would make all that follows uncertain.
  if checking() then return checker end
  local major, minor = (apt.version "nomad" or "1.3"):match "^(%d+)%.(%d+)"
  if tonumber(major) == 1 and tonumber(minor) < 3 then return nil end
  return checker
end

-- From the operator's machine, or from the other host.
local function place(p, product, options)
  local there, path = origin(p, product)
  options.source = path
  if not p.config_from then return file.present(options) end
  options.from = there
  return file.copied(options)
end

-- The files stand where the packages put their defaults (a one-node server, for Nomad), which so do not survive.
local function place_configuration(p)
  stop_if_data_moves(p)
  place(p, "consul", { CONSUL_CONFIG, owner = "root", group = "consul", mode = "0640",
    validate = { "consul", "validate", "-config-format=hcl", "%s" } })
  place(p, "nomad", { NOMAD_CONFIG, owner = "root", group = "root", mode = "0640", validate = nomad_checker() })
  warn_of_others(CONSUL_CONFIG)
  warn_of_others(NOMAD_CONFIG)
end

local function forward_dns(p)
  local lines = {}
  for _, server in ipairs(p.consul_dns) do lines[#lines + 1] = "server=/consul/" .. server end
  apt.installed { "dnsmasq", brings = { units = { "dnsmasq.service" }, files = { "/etc/dnsmasq.conf" } } }
  file.line { "/etc/dnsmasq.conf", line = lines, matching = "^server=/consul/",
    validate = { "dnsmasq", "--test", "--conf-file=-" } }
  systemd.enabled { "dnsmasq" }
  local started, problem = pcall(systemd.running, { "dnsmasq", fresh = { "/etc/dnsmasq.conf" },
    validate = { "dnsmasq", "--test" }, stable = "2s" })
  if started then return end
  local resolved = systemd.status "systemd-resolved"
  if resolved and resolved.active == "active" and tostring(problem):find "in use" then
    problem.hint = "systemd-resolved holds port 53: write DNSStubListener=no to /etc/systemd/resolved.conf, " ..
      "systemctl restart systemd-resolved, then run this again"
  end
  error(problem, 0)
end

local function start_services()
  systemd.enabled { "consul", "nomad" }
  systemd.running { "consul", fresh = { CONSUL_CONFIG }, stable = "3s", timeout = "90s" }
  systemd.running { "nomad", fresh = { NOMAD_CONFIG }, stable = "3s", timeout = "90s" }
end

-- Consul's view: the service nomad-client, registered by this node at this address.
local function find_in_catalog(p)
  local consul_here = agents.consul()
  local node = consul_here.agent.read_agent_self().Config.NodeName
  local seen = "no nomad-client of " .. node
  for _, entry in ipairs(consul_here.catalog.list_service_nodes "nomad-client") do
    local address = entry.ServiceAddress ~= "" and entry.ServiceAddress or entry.Address
    if entry.Node == node and address == p.address then return entry end
    if entry.Node == node then seen = ("nomad-client of %s at %s"):format(node, address) end
  end
  return false, seen .. ", not at " .. p.address
end

-- Nomad's view: the node of this very agent takes work. By its id: where a data folder has moved, an older node of the
-- same name and address stays on the list for a while.
local function find_in_nodes(p)
  local nomad_here = agents.nomad(p.address)
  local client = nomad_here.agent.read_agent_self().stats.client
  if not client then return false, "the Nomad agent of this host is no client" end
  for _, node in ipairs(nomad_here.nodes.list_nodes()) do
    local ready = node.ID == client.node_id and node.Status == "ready"
    if ready and node.Address == p.address then return node end
    if ready then return false, ("node %s is ready at %s, not at %s"):format(node.Name, node.Address, p.address) end
    if node.ID == client.node_id then return false, ("node %s is %s"):format(node.Name, node.Status) end
  end
  return false, "Nomad's servers do not know node " .. client.node_id
end

-- wait{}, and where it ends without, what to look at.
local function await(p, what, find)
  local found, result = pcall(wait, { function() return find(p) end, timeout = p.patience, every = "500ms", what = what })
  if found then return result end
  result.hint = "see `journalctl -u consul -u nomad`; are the servers that consul.hcl and nomad.hcl name reachable " ..
    "from here, and is address= right? Then run this again"
  error(result, 0)
end

local function prove(p)
  local entry = await(p, "nomad-client of this host in Consul's catalog", find_in_catalog)
  local node = await(p, "this host among Nomad's nodes, ready", find_in_nodes)
  if checking() then return end
  columns {
    { "in", "name", "address", "state" },
    { "consul", entry.Node, p.address, entry.ServiceID },
    { "nomad", node.Name, node.Address, node.Status },
  }
end

return {
  about = "join this machine to a Nomad and Consul cluster",
  params = {
    { "consul_hcl", "path", about = "Consul's configuration, ready for this host: a file on the operator's machine" },
    { "nomad_hcl", "path", about = "Nomad's configuration, ready for this host: likewise" },
    { "config_from", "host", about = "or a member of the cluster, whose /etc/consul.d and /etc/nomad.d have both" },
    { "address", "ip", default = function() return host.address end,
      about = "the address of this host in the cluster; default: that of the default route" },
    { "data_dir", "path", default = "/build", about = "where the folders consul/ and nomad/ are made" },
    { "consul_dns", "list(string)", default = { "137.138.62.94" },
      about = "servers that dnsmasq asks for .consul names; ADDRESS or ADDRESS#PORT" },
    { "consul_version", "string", about = "such as 1.8.7-1, 1.8.*, < 1.21; default: any" },
    { "nomad_version", "string", default = "< 1.10",
      about = "1.10 removed the token-based Vault workflow that the cluster uses" },
    { "repository", "url", default = "https://apt.releases.hashicorp.com", about = "the vendor's package repository" },
    { "key", "string", default = "https://apt.releases.hashicorp.com/gpg",
      about = "its signing key: a URL, or a file on the operator's machine" },
    { "fingerprints", "list(string)",
      default = { "798AEC654E5C15428C8E42EEAA16FCBCA621E701", "D55C0D1AC78A8D8126CB631CFC9CA96ACA026560" },
      about = "keys that are trusted: until September 2026, and since" },
    { "suite", "string", default = function() return host.os.codename end,
      about = "suite of the repository; default: the host's codename" },
    { "patience", "duration", default = "90s", about = "how long Consul and Nomad may take to show the host" },
    { "follow", "boolean", default = false, about = "then show Nomad's journal until interrupted" },
  },
  validate = validate,
  run = function(p)
    step("input", function() check_input(p) end)
    step("package repository", function() add_repository(p) end)
    step("packages", function() install_packages(p) end)
    step("folders", function() make_folders(p) end)
    step("configuration", function() place_configuration(p) end)
    step("DNS", function() forward_dns(p) end)
    step("services", function() start_services() end)
    step("proof", function() prove(p) end)
    if p.follow then
      for line in systemd.follow "nomad" do print(line) end
    end
  end,
}
