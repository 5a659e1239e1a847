-- Configurations of Consul and Nomad agents, made fit for another host: text in, text out. Nothing is written here, and
-- every comment, blank and order stays as it was.
--
--   local config = agent_config.open(text, "nomad", "c9:/etc/nomad.d/nomad.hcl")
--   config:take_address "10.0.0.7"
--   config:move("/etc/old-certs", "/etc/certs")
--   config:fill { ["@TOKEN@"] = secret.pass "ops/token" }
--   config.text, config.notes

local agent_config = {}

local methods = {}

-- [[ reading ]]

-- How a name or number stands in a path of the module hcl; labels of blocks and names of settings alike.
local function step_of(key)
  return math.type(key) == "integer" and ("[%d]"):format(key) or "[" .. json.encode(key) .. "]"
end

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

-- Calls visit(path, text, names) for every text in the value. `names` are those on the path, as in "advertise.http": whether
-- the block is there once, several times or in a list makes no difference. What stands below a name in `without` is left out.
local function each_text(value, visit, without, path, names)
  if type(value) == "string" then return visit(path, value, names) end
  if type(value) ~= "table" then return end
  for _, key in ipairs(sorted_keys(value)) do
    if not (without and without[key]) then
      local named = type(key) ~= "string" and names or names and names .. "." .. key or key
      each_text(value[key], visit, without, (path or "") .. step_of(key), named)
    end
  end
end

-- What cannot be read or edited is told with the name of the file it is in.
local function told(where, fn, ...)
  local done, answer = pcall(fn, ...)
  if done then return answer end
  if type(answer) == "table" and answer.message then
    answer.message = where .. ": " .. answer.message
    local several = answer.message:find "is there %d+ times"
    answer.hint = several and "make one of them there; nothing was changed" or answer.hint or "mend it there; nothing was changed"
  end
  error(answer, 0)
end

-- Opens the text of an agent's configuration: `product` is "consul" or "nomad", `where` says in errors whose it is.
function agent_config.open(text, product, where)
  told(where, hcl.get, text)
  return setmetatable({ text = text, product = product, where = where, notes = {} }, { __index = methods })
end

function methods:get(path)
  return told(self.where, hcl.get, self.text, path)
end

function methods:set(path, value)
  self.text = told(self.where, hcl.set, self.text, path, value)
end

function methods:remove(path, why)
  local before = self.text
  while not pcall(hcl.remove, self.text, path) do -- it is there several times
    local done, left = pcall(hcl.remove, self.text, path .. "[1]")
    if not done or left == self.text then break end
    self.text = left
  end
  if self:get(path) ~= nil then self.text = told(self.where, hcl.remove, self.text, path) end
  if self.text == before then return end
  self:note("%s: %s is taken out: %s", self.where, path, why)
end

function methods:note(format, ...)
  self.notes[#self.notes + 1] = format:format(...)
end

function methods:each_text(visit, without)
  each_text(hcl.get(self.text), visit, without)
end

-- [[ addresses ]]

-- Lists of other machines: an address in them is not this host's, even if it was the other one's.
local PEERS = {}
for _, name in ipairs { "retry_join", "retry_join_wan", "start_join", "start_join_wan", "servers", "recursors", "server_join",
  "primary_gateways", "join", "server_addresses" } do PEERS[name] = true end

-- "10.0.0.5:4646" -> "10.0.0.5", ":4646"; "[::1]:80" -> "::1", ":80". nil for names and templates.
local function split_address(text)
  local address, port = text:match "^(%d+%.%d+%.%d+%.%d+)(:?%d*)$"
  if address then return address, port end
  address, port = text:match "^%[([%x:.]+)%](:?%d*)$"
  if address then return address, port end
  if text:find "^%x*:[%x:.]*:[%x:.]*$" then return text, "" end
end

local function is_own(address)
  return address and address ~= "0.0.0.0" and address ~= "::" and address ~= "::1" and not address:find "^127%."
end

local function join_address(address, port)
  if port == "" then return address end
  return (address:find ":" and "[" .. address .. "]" or address) .. port
end

-- The settings that say where the agent itself is.
local OWN = {
  consul = { "^bind_addr$", "^client_addr$", "^advertise_addr", "^serf_[lw]an$", "^addresses%.[%w_]+$" },
  nomad = { "^bind_addr$", "^advertise%.%a+$", "^addresses%.%a+$" },
}

local function is_own_setting(product, names)
  for _, pattern in ipairs(OWN[product]) do
    if names:find(pattern) then return true end
  end
  return false
end

-- The host that the configuration is from is there under these addresses: a set, or more for the one given.
function methods:own_addresses(own)
  own = own or {}
  self:each_text(function(_, text, names)
    if not is_own_setting(self.product, names) then return end
    for word in text:gmatch "%S+" do
      local address = split_address(word)
      if is_own(address) then own[address] = true end
    end
  end, PEERS)
  return own
end

-- Does the agent find out by itself, or from a template, which address is its own?
local function is_open(text)
  return text == nil or (type(text) == "string" and not text:find "{{" and not is_own(split_address(text)))
end

-- "10.0.0.5/32", its family's whole length, is one address; "10.0.0.5/24" is a network, by an address in it.
local function replaced_cidr(self, word, names, own, address)
  local text, length = word:match "^(.*)/(%d+)$"
  local found = split_address(text or "-")
  if not found or found == address then return end
  local single = length == (found:find ":" and "128" or "32")
  if own[found] and single then return address .. (address:find ":" and "/128" or "/32") end
  if own[found] and not found:find ":" == not address:find ":" then return address .. "/" .. length end
  if single then
    self:note("%s: %s is a single address, %s, and it is not known for another host's: see that this host has it", self.where,
      names, word)
  end
end

-- What one word of a setting becomes; nil: it stays.
local function replaced(self, word, names, own, address)
  if names:find "^client%.host_network%..*cidr$" then return replaced_cidr(self, word, names, own, address) end
  local found, port = split_address(word)
  if found then return own[found] and join_address(address, port) end
  if self.product ~= "nomad" then return end
  -- Nomad may advertise a name: the other host's.
  found, port = word:match "^(%a[%w.-]*)(:?%d*)$"
  if found and found ~= "localhost" and names:find "^advertise%." then return join_address(address, port) end
  -- Its Consul agent is the host's own; a Vault at such an address is everybody's.
  local scheme, rest = word:match "^(https?://)([^/]+)$"
  found, port = split_address(rest or "-")
  if found and own[found] and names:find "^consul%." then
    return scheme .. (port == "" and address:find ":" and "[" .. address .. "]" or join_address(address, port))
  end
end

-- The agent is this host's: wherever the other host's address stood as its own, this one stands. `own`: the addresses that
-- the host's other files say, too.
function methods:take_address(address, own)
  local edits = {}
  own = self:own_addresses(own)
  self:each_text(function(path, text, names)
    local changed = text:find "{{" and text or text:gsub("%S+", function(word) -- both take several, blanks between
      return replaced(self, word, names, own, address)
    end)
    if changed ~= text then edits[#edits + 1] = { path, changed } end
  end, PEERS)
  for _, edit in ipairs(edits) do self:set(edit[1], edit[2]) end
  if self.product == "consul" then
    if is_open(self:get "bind_addr") and is_open(self:get "advertise_addr") then self:set("advertise_addr", address) end
    return
  end
  self:remove("advertise_addr", "Nomad has no such setting; it is advertise { http rpc serf }")
  if is_open(self:get "bind_addr") and self:get "advertise" == nil then
    self:set("advertise", { http = address, rpc = address, serf = address })
  end
end

-- [[ what the host is in the cluster ]]

-- Nomad takes a word for a boolean, too.
local function is_true(value)
  return value == true or value == 1 or value == "1" or type(value) == "string" and value:lower() == "true"
end

-- What only servers use: keys to the whole cluster, which no client may have, and settings with which a client agent does not
-- start. `of_servers`: what a client's own file may have for reasons of its own, and that of a server brings for its own.
local NOT_FOR_CLIENTS = {
  consul = { "bootstrap", "bootstrap_expect", "acl_master_token", "acl_replication_token", "acl.tokens.master",
    "acl.tokens.initial_management", "acl.tokens.replication", "acl.tokens.managed_service_provider", "connect.ca_provider",
    "connect.ca_config", "connect.enable_mesh_gateway_wan_federation", "auto_encrypt.allow_tls", "auto_config.authorization",
    "primary_gateways", "segments", "start_join_wan", "retry_join_wan", of_servers = { "server_name" } },
  nomad = { "acl.replication_token", of_servers = { "vault.token", "keyring" } },
}

-- The agents read names in whatever case, and so would be servers by a "Server" that is not found here.
local function refuse_capitals(self)
  local function look(value, path)
    if type(value) ~= "table" then return end
    for _, key in ipairs(sorted_keys(value)) do
      local named = type(key) ~= "string" and path or path and path .. "." .. key or key
      if type(key) == "string" and key:find "%u" then
        error { kind = "invalid", message = ("%s: %s has capitals, and no setting of the agents has"):format(self.where, named),
          hint = "write it in small letters there; nothing was changed" }
      end
      if path or type(key) ~= "string" or key == "acl" or key == "server" or key == "vault" then look(value[key], named) end
    end
  end
  look(hcl.get(self.text))
end

-- A client that keeps its data in that folder, whatever the other host was.
function methods:take_role(data_dir)
  refuse_capitals(self)
  if self:get "data_dir" ~= data_dir then self:set("data_dir", data_dir) end
  local why, role = "this host joins as a client", self.product == "consul" and "server" or "server.enabled"
  local names = NOT_FOR_CLIENTS[self.product]
  if is_true(self:get(role)) then
    self:remove("server", why)
    for _, name in ipairs(names.of_servers) do self:remove(name, why) end
  end
  for _, name in ipairs(names) do self:remove(name, why) end
  if self.product == "nomad" and not is_true(self:get "client.enabled") then self:set("client.enabled", true) end
end

local IDENTITY = {
  consul = { "node_name", "node_id" },
  nomad = { "name" },
}

-- "c2.example.org" and "C2" are one host.
local function is_same_host(name, other)
  return type(name) == "string" and name:match "^[^.]*":lower() == other:match "^[^.]*":lower()
end

-- Two agents of one name or id take each other's place in the cluster: an agent without goes by its host's name.
function methods:take_name(host_name)
  local name, id = table.unpack(IDENTITY[self.product])
  if is_same_host(self:get(name), host_name) then return end
  local why = "it is another host's; without it the agent goes by this host's own"
  if self.product == "consul" and is_same_host(self:get "server_name", tostring(self:get(name))) then
    self:remove("server_name", why) -- what it is called in its certificate
  end
  for _, setting in ipairs { name, id } do self:remove(setting, why) end
end

-- [[ paths ]]

-- Everything in or below the old folder is in the new one. Returns how many texts that were.
function methods:move(from, to)
  local edits = {}
  from, to = from:gsub("/+$", ""), to:gsub("/+$", "")
  self:each_text(function(path, text)
    if text == from or text:sub(1, #from + 1) == from .. "/" then edits[#edits + 1] = { path, to .. text:sub(#from + 1) } end
  end)
  for _, edit in ipairs(edits) do self:set(edit[1], edit[2]) end
  return #edits
end

local FILES = { ca_file = "ca", cert_file = "certificate", key_file = "key", ca_path = "folder" }

-- The files that the agent reads: {path=, kind= "ca", "certificate", "key", "folder", "volume"; setting=, key= the path of
-- the certificate's key}.
function methods:files()
  local files, by_place = {}, {}
  self:each_text(function(path, text, names)
    local kind = FILES[names:match "[^.]*$"]
    if names:find "^client%.host_volume%..*%.path$" then kind = "volume" end
    if not kind or text == "" then return end
    local file = { path = text, kind = kind, setting = path }
    files[#files + 1] = file
    by_place[path] = file
  end)
  for _, file in ipairs(files) do
    if file.kind == "certificate" then
      local key = by_place[file.setting:gsub("cert_file", "key_file")]
      file.key = key and key.path
    end
  end
  return files
end

-- [[ secrets ]]

-- The text as parts, plain and secret, in place of the markers; nil where it has none of them.
local function filled(text, secrets, markers, used)
  local parts, at, any = "", 1, false
  while true do
    local first, last, which
    for _, marker in ipairs(markers) do
      local from, to = text:find(marker, at, true)
      if from and (not first or from < first) then first, last, which = from, to, marker end
    end
    if not first then break end
    parts = parts .. text:sub(at, first - 1) .. secrets[which]
    at, any, used[which] = last + 1, true, true
  end
  return any and parts .. text:sub(at) or nil
end

-- Puts the secrets, by their markers, where those stand inside of texts; `used` gets the markers found. The text is a secret
-- from then on, so that this comes last.
function methods:fill(secrets, used)
  local edits, markers = {}, sorted_keys(secrets)
  table.sort(markers, function(a, b) return #a > #b end) -- @TOKEN_2@ before @TOKEN
  self:each_text(function(path, text, names)
    local value = filled(text, secrets, markers, used)
    if value then
      edits[#edits + 1] = { path, value }
    elseif text:find "^@[%w_.-]+@$" then
      self:note("%s: %s is %s still: if that is a marker, give its secret, --set secrets.%s=pass:...", self.where, names, text,
        text)
    end
  end)
  for _, edit in ipairs(edits) do self:set(edit[1], edit[2]) end
end

-- [[ reserved resources ]]

-- Two figures of the same machine, taken at different times: clock rates and free memory are never quite the same.
local function near(a, b)
  return math.type(a) == "integer" and math.abs(a - b) <= b // 20
end

-- Half of the machine, {cpu= MHz, memory= MB, disk= MB}, is not for Nomad's tasks; figures that the present configuration has
-- and that are nearly the same stay.
function methods:reserve_half(machine, present)
  for _, name in ipairs { "cpu", "memory", "disk" } do
    local path, half = "client.reserved." .. name, machine[name] // 2
    local _, now = pcall(hcl.get, present or "", path) -- what cannot be read is replaced anyway
    self:set(path, near(now, half) and now or half)
  end
end

-- What the configuration keeps back, and the machine (as far as it is known) has not: the first as {name, wanted, there}.
function methods:reserves_too_much(machine)
  for _, name in ipairs { "cpu", "memory", "disk" } do
    local wanted = self:get("client.reserved." .. name)
    if tonumber(wanted) and machine[name] and tonumber(wanted) > machine[name] then return { name, wanted, machine[name] } end
  end
end

return agent_config
