-- Joins the machine that it runs on to a Nomad cluster: package repository, packages, folders, configuration,
-- DNS, services, and the proof that the cluster sees it. A second run changes nothing; after an interruption
-- the next run goes on with what is missing.

local agent_config = require "agent_config"
local agent_files = require "agent_files"
local agents = require "agents"
local certificates = require "certificates"
local machine = require "machine"

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
  if p.cert_dir_from and not p.cert_dir then
    error { message = "cert_dir_from is given, but not cert_dir",
            hint = "say where the certificates are on this host: --set cert_dir=FOLDER" }
  end
  if p.secrets[""] then
    error { message = "secrets: a marker is empty", hint = "write it as in --set secrets.@TOKEN@=pass:ops/token" }
  end
end

-- The host and the path that a product's file is taken from.
local function origin(p, product)
  if p.config_from then return host(p.config_from), PLACES[product], p.config_from .. ":" .. PLACES[product] end
  local path = p[product .. "_hcl"]
  return host("local"), path, path
end

-- Both programs merge every *.hcl and *.json of their folder: the others in that of the file.
local function others_beside(there, path)
  local list = {}
  for _, other in ipairs(there.file.glob(path:match "^.*/" .. "*")) do
    if other ~= path and (other:find "%.hcl$" or other:find "%.json$") then list[#list + 1] = other end
  end
  return list
end

-- Settings in other files of a member are not taken over: encrypt, retry_join or tls may be among them.
local function tell_of_others(p, there, path, text)
  local names = {}
  for _, other in ipairs(others_beside(there, path)) do names[#names + 1] = other:match "[^/]*$" end
  if #names == 0 then return end
  local all = table.concat(names, ", ")
  if text then
    warn(("%s reads %s beside %s, too: what is in there is not taken over"):format(p.config_from, all, path))
    return
  end
  error { message = ("there is no %s on %s, but %s"):format(path, p.config_from, all),
          hint = "make one file of them here: --set consul_hcl=FILE --set nomad_hcl=FILE instead of config_from" }
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
  if p.config_from then tell_of_others(p, there, path, text) end
  if not text then
    error { message = p.config_from and ("there is no %s on %s"):format(path, p.config_from)
              or ("%s_hcl: there is no file %s"):format(product, path),
            hint = p.config_from and "name a host that is a member of the cluster"
              or "copy it from a host that is a member: /etc/consul.d/consul.hcl, /etc/nomad.d/nomad.hcl" }
  end
  return text, shown
end

-- ---- what becomes of it ----

-- Half of the machine where that is wanted; and what the file keeps back must be there.
local function adapt_reserved(p, config, shown)
  local half = p.reserve == "half" or p.reserve == "auto" and host.name:find "^alissandra"
  if not half and config:get "client.reserved" == nil then return end
  local resources = machine.resources(p.data_dir)
  if half and not resources.cpu then
    error { message = "the kernel does not tell the clock of this machine, so half of it is not known",
            hint = "give --set reserve=none, and write client { reserved { cpu memory disk } } into " .. shown }
  end
  if half then config:reserve_half(resources, file.read(NOMAD_CONFIG)) end
  local missing = config:reserves_too_much(resources)
  if missing then
    error { message = ("%s: client.reserved.%s is %s, but this machine has %d"):format(shown, table.unpack(missing)),
            hint = "write less there, or let it be half of this machine: --set reserve=half" }
  end
end

-- The text fit for this host; `own`: addresses of the other one; `used` gets the markers of secrets that it has.
local function adapt(p, product, config, own, used)
  config:take_role(p.data_dir .. "/" .. product)
  config:take_name(host.name)
  config:take_address(p.address, own)
  if p.cert_dir_from then config:move(p.cert_dir_from, p.cert_dir) end
  certificates.check(config:files(), product == "consul" and "consul" or nil, p.cert_dir)
  if product == "nomad" then adapt_reserved(p, config, config.where) end
  for _, note in ipairs(config.notes) do log(note) end
  config.notes, config.files_named = {}, config:files()
  config:fill(p.secrets, used)
  for _, note in ipairs(config.notes) do warn(note) end
end

-- Both, before anything is changed: {consul=, nomad=}.
local function adapt_configuration(p)
  local configs, own, used = {}, {}, {}
  for _, product in ipairs { "consul", "nomad" } do
    local text, shown = read_origin(p, product)
    configs[product] = agent_config.open(text, product, shown)
    configs[product]:own_addresses(own)
  end
  for _, product in ipairs { "consul", "nomad" } do adapt(p, product, configs[product], own, used) end
  for marker in pairs(p.secrets) do
    if not used[marker] then
      error { message = ("secrets: the marker %s is in neither of the two files"):format(marker),
              hint = "write it where the secret belongs, inside of a text: encrypt = \"" .. marker .. "\"" }
    end
  end
  return configs
end

-- A real run learns it from its first change; --check is to say so, too.
local function check_rights()
  if not checking() or host.run { "id", "-u", reads = true }.stdout == "0\n" then return end
  error { message = ("a run needs to be root on %s, and is not"):format(host.name),
          hint = "on another host --sudo, or log in there as root; on this machine: sudo moonbook run ..." }
end

local function check_input(p)
  check_rights()
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
    local address = server:match "^([^#]+)$" or server:match "^([^#]+)#%d+$" or ""
    if not address:find "^%d+%.%d+%.%d+%.%d+$" and not address:find "^%x*:[%x.]*:[%x.:]*$" then
      error { message = ('consul_dns: "%s" is no server'):format(server),
              hint = "give ADDRESS or ADDRESS#PORT, as in --set consul_dns=10.0.0.1,10.0.0.2#8600" }
    end
  end
  return adapt_configuration(p)
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

-- Services whose data folder moves: two folders with one node's identity confuse the cluster. They are asked by the
-- configuration that they run with, so before another one is placed.
local function moving_services(p)
  local moving = {}
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
        moving[#moving + 1] = { name = name, from = folder, to = wanted }
      end
    end
  end
  return moving
end

local function warn_of_others(path)
  for _, other in ipairs(others_beside({ file = file }, path)) do
    warn(("%s is read as well: make sure that it belongs there"):format(other))
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

-- Consul may read its certificates, and who builds those of Nomad too: by access lists of their own and nothing more. Nomad
-- runs as root.
local function give_access(p, configs)
  local readers = {}
  for _, name in ipairs(p.cert_readers) do
    if host.users[name] then readers[#readers + 1] = name end
  end
  local lacking = certificates.lacking(configs.nomad.files_named, readers, p.cert_dir)
  readers[#readers + 1] = "consul"
  for _, lack in ipairs(certificates.lacking(configs.consul.files_named, readers, p.cert_dir)) do
    lacking[#lacking + 1] = lack
  end
  lacking = certificates.merge(lacking)
  if #lacking == 0 then return end
  apt.installed { "acl" }
  for _, lack in ipairs(lacking) do
    local given, problem = pcall(host.run, { "setfacl", "-m", ("u:%s:%s"):format(lack.user, lack.rights), lack.path })
    if not given then
      if tostring(problem):find "not supported" then
        problem.hint = ("the file system of %s keeps no access lists: put cert_dir on another, or let a group of %s read it")
          :format(p.cert_dir, lack.user)
      end
      error(problem, 0)
    end
  end
end

-- The files stand where the packages put their defaults (a one-node server, for Nomad), which so do not survive. Nothing is
-- stopped for files that the programs refuse.
local function place_configuration(p, configs)
  local moving = moving_services(p)
  if p.cert_dir then give_access(p, configs) end
  agent_files.place {
    { path = CONSUL_CONFIG, content = configs.consul.text, group = "consul", from = configs.consul.where,
      validate = { "consul", "validate", "-config-format=hcl", "%s" } },
    { path = NOMAD_CONFIG, content = configs.nomad.text, group = "root", from = configs.nomad.where, validate = nomad_checker() },
  }
  for _, service in ipairs(moving) do
    log(("%s keeps its data in %s; it is stopped, as %s is its folder now"):format(service.name, service.from, service.to))
    systemd.stopped { service.name }
  end
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

-- An agent that has not met its servers yet refuses every token; one that knows their leader and still refuses will do
-- so for ever.
local REFUSALS = 4

-- `find` for wait{}: a token that is refused for good ends it; the error is its second result.
local function unless_refused(p, find)
  local refusals = 0
  return function()
    local done, found, seen = pcall(find, p)
    if done then
      refusals = 0
      if found then return found end
      return false, seen
    end
    if type(found) ~= "table" or found.status ~= 403 then error(found, 0) end
    local asked, leader = pcall(agents.consul().status.read_leader, { retries = 0 })
    refusals = asked and leader and leader ~= "" and refusals + 1 or 0
    if refusals < REFUSALS then error(found, 0) end
    return true, found
  end
end

-- wait{}, and where it ends without, what to look at.
local function await(p, what, find)
  local found, result, problem = pcall(wait, { unless_refused(p, find), timeout = p.patience, every = "500ms", what = what })
  if found and problem then
    problem.hint = (problem.hint and problem.hint .. ". " or "") ..
      "All else is done; with a token that may read agents and nodes, run this again"
    error(problem, 0)
  end
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
    { "consul_hcl", "path", about = "Consul's configuration: a file on the operator's machine" },
    { "nomad_hcl", "path", about = "Nomad's configuration: likewise" },
    { "config_from", "host", about = "or a member of the cluster, whose /etc/consul.d and /etc/nomad.d have both" },
    { "address", "ip", default = function() return host.address end,
      about = "the address of this host in the cluster; default: that of the default route" },
    { "secrets", "map(secret)", default = {}, about = "what stands in the files for a secret, and where it is: " ..
      "--set secrets.@TOKEN@=pass:ops/token" },
    { "cert_dir_from", "path", about = "the folder of certificates and keys that the files name" },
    { "cert_dir", "path", about = "the one in which they are on this host" },
    { "cert_readers", "list(string)", default = { "mesosci", "mesosdaq" },
      about = "users who may read what is in cert_dir, where they exist" },
    { "reserve", "enum(auto,none,half)", default = "auto",
      about = "keep half of the machine from Nomad's tasks; auto: on hosts named alissandra*" },
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
    local configs
    step("input", function() configs = check_input(p) end)
    step("package repository", function() add_repository(p) end)
    step("packages", function() install_packages(p) end)
    step("folders", function() make_folders(p) end)
    step("configuration", function() place_configuration(p, configs) end)
    step("DNS", function() forward_dns(p) end)
    step("services", function() start_services() end)
    step("proof", function() prove(p) end)
    if p.follow then
      for line in systemd.follow "nomad" do print(line) end
    end
  end,
}
