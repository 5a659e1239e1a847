-- Registrations in Consul's catalog that are left over from an address or a node that is no more: which they are, and which
-- are live and must stay. Nothing is changed here.
--
--   local look = registrations.look{ consul=, client_of=, ssh_name=, patterns=, gone=, timeout= }
--   look.nodes, look.seen     numbers: of nodes, and of registrations that fit the patterns
--   look.stale                {{node=, id=, service=, address=, why=, by="agent"|"catalog"}, ...}
--   look.kept                 {{node=, id=, address=, why=}, ...}: what looks stale and must not be touched, or cannot be judged
--   look.problems             {node = error}: nodes that had to be asked and did not answer
local agents = require "agents"

local registrations = {}

-- So many nodes are asked at a time.
local AT_ONCE = 16

-- Gossip: alive, leaving, left, failed.
local MEMBER = { [1] = "present", [2] = "present", [3] = "gone", [4] = "failed" }

-- "_nomad-client-*" -> a Lua pattern of the whole id; "*" and "?" as a shell has them.
local function pattern_of(text)
  return "^" .. text:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".") .. "$"
end

local function fits(id, patterns)
  for _, pattern in ipairs(patterns) do
    if id:find(pattern) then return true end
  end
  return false
end

-- ---- what the catalog has ----

-- {node = "present" | "failed" | "gone"}, as gossip has it; one that left, or is no member, does not come back by itself.
local function read_states(from)
  local states = {}
  for _, member in ipairs(from.consul.agent.list_agent_members()) do states[member.Name] = MEMBER[member.Status] end
  for name in pairs(from.gone) do
    if states[name] == "present" then
      error { message = ("gone: %s is a living member of the cluster"):format(name),
              hint = "leave it out: what is stale on a living node is deregistered through its own agent" }
    end
  end
  return states
end

-- One agent's view of gossip may lag behind; the servers' own is the check serfHealth. Both must say that a node is gone.
local function state_of(from, row, states)
  local state = states[row.Node] or "gone"
  if state == "present" then return state end
  for _, check in ipairs(from.consul.health.list_node_checks(row.Node)) do
    if check.CheckID == "serfHealth" and check.Status == "passing" then return "present" end
  end
  if from.gone[row.Node] then return "gone" end
  -- What was put into the catalog from outside has no agent, and nobody says that it left.
  local outside = type(row.Meta) == "table" and row.Meta["external-node"]
  return outside and "failed" or state
end

-- The registrations of a node that fit: {{node=, id=, service=, address=, tags=}, ...}.
function registrations.of_node(consul_client, node, patterns)
  local list, answer = {}, consul_client.catalog.read_node_services(node)
  for id, service in pairs(answer and answer.Services or {}) do
    if fits(id, patterns) then
      local address = service.Address ~= "" and service.Address or answer.Node.Address
      list[#list + 1] = { node = node, id = id, service = service.Service, address = address,
        tags = table.concat(service.Tags or {}, ",") }
    end
  end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

-- ---- what the node itself says ----

-- Asks the agents of the node: the ids that its Consul holds, and the addresses that its Nomad advertises (nil where that
-- is not known). Its name is compared first: another node that has the address now may have the same id, and that is live.
local function ask_node(from, node, address)
  local there = from.client_of(node)
  local options = { timeout = from.timeout, retries = 0 }
  local self = there.consul.agent.read_agent_self(options)
  if self.Config.NodeName ~= node then
    error { wrong = true, message = ("ssh %s leads to the node %s, but %s registered it")
      :format(from.ssh_name(node), self.Config.NodeName, node),
      hint = ("say how ssh reaches %s: --set hosts.%s=NAME"):format(node, node) }
  end
  local held = there.consul.agent.list_agent_services(options)
  local asked, nomad_self = pcall(function()
    there.nomad = agents.nomad(address, there.nomad, options)
    return there.nomad.agent.read_agent_self(options)
  end)
  local advertised = asked and nomad_self.config.AdvertiseAddrs
  if not advertised then return { held = held, there = there } end
  local addresses = {}
  for _, kind in ipairs { "HTTP", "RPC", "Serf" } do
    local told = (advertised[kind] or ""):match "^%[?(.-)%]?:%d+$"
    if told then addresses[told] = true end
  end
  return { held = held, there = there, addresses = next(addresses) and addresses }
end

-- Nomad tells a token that may not see an allocation that there is none; so only one that sees all is believed.
local function sees_all(nomad_client)
  local asked, answer = pcall(nomad_client.acl.read_self_acl_token)
  if asked then return answer and answer.Type == "management" end
  return answer.status == 400 and tostring(answer.message):find "ACL support disabled" ~= nil
end

-- Of a task or group of an allocation: live as long as that runs, whatever its address (a container has its own).
local function judge_allocation(entry, seen)
  local id = entry.id:match "^_nomad%-task%-(%x+%-%x+%-%x+%-%x+%-%x+)"
  local asked, allocation = pcall(seen.there.nomad.allocs.read_allocation, id)
  if not asked then return "kept", "Nomad could not be asked about allocation " .. id:sub(1, 8) end
  if allocation then
    local status = allocation.ClientStatus
    if status == "running" or status == "pending" or status == "unknown" then return "live" end
    return "stale", ("allocation %s is %s"):format(id:sub(1, 8), status)
  end
  if not sees_all(seen.there.nomad) then
    return "kept", ("your Nomad token does not see allocation %s, or there is none"):format(id:sub(1, 8))
  end
  return "stale", ("Nomad has no allocation %s"):format(id:sub(1, 8))
end

-- Is there another one of the same kind at the node's present address? Then that is the one that is live.
local function is_replaced(entry, node, entries)
  for _, other in ipairs(entries) do
    if other.id ~= entry.id and other.service == entry.service and other.tags == entry.tags
      and other.address == node.address then return true end
  end
  return false
end

local function passes(from, entry)
  for _, check in ipairs(from.consul.health.list_service_checks(entry.service)) do
    if check.Node == entry.node and check.ServiceID == entry.id and check.Status == "passing" then return true end
  end
  return false
end

-- Of Nomad's agents the address says it, and what Nomad itself advertises is the last word.
local function judge_address(from, entry, node, entries, seen)
  local of_nomad = entry.id:find "^_nomad%-client%-" or entry.id:find "^_nomad%-server%-"
  if of_nomad and seen.addresses then
    local advertised = seen.addresses[entry.address]
    if advertised and entry.address ~= node.address then
      return "kept", ("its Nomad advertises this address: is nomad.hcl right? Consul has %s"):format(node.address)
    end
    if advertised then return "live" end
    return "stale", "its Nomad is at " .. next(seen.addresses)
  end
  if entry.address == node.address then return "live" end
  if not is_replaced(entry, node, entries) then
    return "kept", of_nomad and "its Nomad could not be asked, and there is no newer one"
      or "no newer one at the node's address: perhaps live"
  end
  if not of_nomad and passes(from, entry) then return "kept", "its checks pass: perhaps live" end
  return "stale", ("%s is at %s"):format(entry.node, node.address)
end

-- ---- the judgement ----

local function is_of_task(entry) return entry.id:find "^_nomad%-task%-%x+%-%x+%-%x+%-%x+%-%x+" end

-- Is there a reason to ask the node at all? Forty logins for nothing would be rude.
local function is_suspicious(node, entries, elsewhere)
  if elsewhere and elsewhere ~= node.address then return true end
  for _, entry in ipairs(entries) do
    if entry.address ~= node.address or is_of_task(entry) then return true end
  end
  return false
end

-- A host that has moved: ssh may know where it was.
local function hint_moved(from, node, problem)
  if not from.by_name or problem.kind ~= "timeout" and problem.kind ~= "unreachable" then return end
  problem.hint = ("if it moved, ssh looks where it was: --set reach=address takes %s, where Consul has it%s")
    :format(node.address, problem.hint and "; else " .. problem.hint or "")
end

local function judge_present(from, node, entries, look, asked, seen)
  if not asked then hint_moved(from, node, seen) end
  for _, entry in ipairs(entries) do
    local verdict, why
    if not asked then
      -- Not a word from there: what is in place stays unsaid.
      if entry.address ~= node.address then verdict, why = "kept", seen.message end
      look.problems[node.name] = seen
    elseif is_of_task(entry) then
      verdict, why = judge_allocation(entry, seen)
    else
      verdict, why = judge_address(from, entry, node, entries, seen)
    end
    entry.why, entry.by = why, "agent"
    if verdict == "stale" then
      entry.held = seen.held[entry.id] ~= nil
      look.stale[#look.stale + 1] = entry
    elseif verdict == "kept" then
      look.kept[#look.kept + 1] = entry
    end
  end
end

local function judge_node(from, node, entries, state, elsewhere, look)
  -- One that has just joined may be no member yet for who was asked: it is gone only if its agent does not answer either.
  local asked, seen
  if state == "gone" then
    asked, seen = pcall(ask_node, from, node.name, node.address)
    if asked or not (seen.wrong or seen.kind == "unreachable" or seen.kind == "timeout") then state = "present" end
  elseif state == "present" and is_suspicious(node, entries, elsewhere) then
    asked, seen = pcall(ask_node, from, node.name, node.address)
  end
  if state == "gone" then
    for _, entry in ipairs(entries) do
      entry.why, entry.by = ("node %s is gone"):format(node.name), "catalog"
      look.stale[#look.stale + 1] = entry
    end
  elseif state == "failed" then
    look.kept[#look.kept + 1] = { node = node.name, address = node.address, id = ("all %d of it"):format(#entries),
      why = ("%s does not answer; if it is gone for good: --set gone=%s"):format(node.name, node.name) }
  elseif seen then
    judge_present(from, node, entries, look, asked, seen)
  end
end

-- {node = address} as Nomad's servers have it; nil where none can be asked: then the node's own Nomad has the word alone.
local function read_nomad_nodes(from)
  local asked, answer = pcall(from.nomad.nodes.list_nodes, { timeout = from.timeout, retries = 0 })
  if not asked then return nil end
  local addresses = {}
  for _, node in ipairs(answer) do
    if node.Status == "ready" then addresses[node.Name] = node.Address end
  end
  return addresses
end

local function by_node(a, b)
  if a.node ~= b.node then return a.node < b.node end
  return a.id < b.id
end

-- `only`: a set of node names, or nil for all.
function registrations.look(from, only)
  local patterns = {}
  for _, text in ipairs(from.patterns) do patterns[#patterns + 1] = pattern_of(text) end
  local nodes = from.consul.catalog.list_nodes()
  if #nodes == 0 then
    error { message = "Consul shows no node at all, so nothing is known",
            hint = "give a token that may read nodes and services: --set token=prompt, or CONSUL_HTTP_TOKEN" }
  end
  local states, elsewhere = read_states(from), read_nomad_nodes(from)
  local look = { nodes = #nodes, seen = 0, stale = {}, kept = {}, problems = {}, patterns = patterns, nomad = elsewhere ~= nil }
  parallel(nodes, function(row)
    if only and not only[row.Node] then return end
    local node = { name = row.Node, address = row.Address }
    local entries = registrations.of_node(from.consul, node.name, patterns)
    look.seen = look.seen + #entries
    if #entries == 0 then return end
    judge_node(from, node, entries, state_of(from, row, states), (elsewhere or {})[node.name], look)
  end, { limit = AT_ONCE })
  table.sort(look.stale, by_node)
  table.sort(look.kept, by_node)
  return look
end

return registrations
