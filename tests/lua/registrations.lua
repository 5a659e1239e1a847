-- scripts/lib/registrations.lua: which registrations are stale, which are live, which cannot be judged. The cluster is made of
-- tables that answer as its clients do; tests/host/stale.lua has a real one.
package.path = "tests/lib/?.lua;scripts/lib/?.lua;" .. package.path
local tap = require "tap"
local registrations = require "registrations"

local ALLOCATION = "8ba85cef-9b0a-4b3f-8c1a-b1f0a1f0a1f0"

-- ---- a cluster of tables ----

-- nodes = {{name=, address=, services = {[id] = {Service=, Address=, Tags=}}, member = 1 (nil: none), serf=, meta=,
--   agent = name | error (whose agent ssh reaches; nil: that of the node), nomad = {addresses} | nil, held = {ids}}}
-- allocations = {[id] = client status}; token = the type of Nomad's token, or nil where it has no ACLs.
local function cluster(spec)
  local asked, by_name = {}, {}
  local function services_of(node)
    local services = {}
    for id, service in pairs(node.services) do
      services[id] = { ID = id, Service = service.Service or "nomad-client", Address = service.Address or "",
        Tags = service.Tags or { "http" } }
    end
    return services
  end
  for _, node in ipairs(spec.nodes) do by_name[node.name] = node end
  local nomad_of = function(node)
    local client = setmetatable({
      status = { read_leader = function() if not node.nomad then error({ kind = "unreachable", message = "nobody" }, 0) end end },
      agent = { read_agent_self = function()
        if not node.nomad then error({ kind = "unreachable", message = "nobody" }, 0) end
        local function at(port) return (node.nomad:find ":" and "[" .. node.nomad .. "]" or node.nomad) .. ":" .. port end
        return { config = { AdvertiseAddrs = { HTTP = at(4646), RPC = at(4647), Serf = at(4648) } } }
      end },
      allocs = { read_allocation = function(id)
        local status = (spec.allocations or {})[id]
        return status and { ClientStatus = status }
      end },
      acl = { read_self_acl_token = function()
        if spec.token then return { Type = spec.token } end
        error({ status = 400, message = "Nomad answers 400: ACL support disabled" }, 0)
      end },
    }, { __call = function(self) return self end })
    return client
  end
  local from = { patterns = spec.patterns or { "_nomad-client-*", "_nomad-server-*" }, gone = spec.gone or {}, asked = asked,
    ssh_name = function(node) return node end }
  from.nomad = { nodes = { list_nodes = function()
    if not spec.nomad_nodes then error({ kind = "unreachable", message = "nobody" }, 0) end
    return spec.nomad_nodes
  end } }
  from.consul = {
    agent = { list_agent_members = function()
      local list = {}
      for _, node in ipairs(spec.nodes) do
        if node.member ~= false then list[#list + 1] = { Name = node.name, Status = node.member or 1 } end
      end
      return list
    end },
    catalog = {
      list_nodes = function()
        local list = {}
        for index, node in ipairs(spec.nodes) do
          list[index] = { Node = node.name, Address = node.address, Meta = node.meta or json.null }
        end
        return list
      end,
      read_node_services = function(name)
        return { Node = { Node = name, Address = by_name[name].address }, Services = services_of(by_name[name]) }
      end,
    },
    health = {
      list_node_checks = function(name)
        return { { CheckID = "serfHealth", Status = by_name[name].serf or "critical" } }
      end,
      list_service_checks = function() return spec.checks or {} end,
    },
  }
  function from.client_of(name)
    local node = by_name[name]
    asked[#asked + 1] = name
    return { nomad = nomad_of(node), consul = { agent = {
      read_agent_self = function()
        if type(node.agent) == "table" then error(node.agent, 0) end
        return { Config = { NodeName = node.agent or name } }
      end,
      list_agent_services = function() return node.held or services_of(node) end,
    } } }
  end
  return from
end

-- What was found: {"node id by", ...}, {"node id", ...}, and all that was said of them.
local function look(spec)
  local from = cluster(spec)
  local found = registrations.look(from)
  local stale, kept, why = {}, {}, ""
  for index, entry in ipairs(found.stale) do
    stale[index] = entry.node .. " " .. entry.id .. " " .. entry.by
    why = why .. entry.why .. "\n"
  end
  for index, entry in ipairs(found.kept) do
    kept[index] = entry.node .. " " .. entry.id
    why = why .. entry.why .. "\n"
  end
  table.sort(from.asked)
  return stale, kept, why, from.asked, found
end

local function at(address, service, tags) return { Address = address, Service = service, Tags = tags } end

-- A node that moved from 10.0.0.1 to 10.0.0.2, changed by what is given.
local function moved(changes)
  local node = { name = "c1", address = "10.0.0.2", nomad = "10.0.0.2",
    services = { ["_nomad-client-old"] = at "10.0.0.1", ["_nomad-client-new"] = at "10.0.0.2" } }
  for name, value in pairs(changes or {}) do node[name] = value or nil end
  return node
end

-- ---- of Nomad's agents ----

tap.test("what is at another address than the node and its Nomad is stale, nothing else", function()
  local stale, kept, why = look { nodes = { moved() } }
  tap.equal({ stale, kept }, { { "c1 _nomad-client-old agent" }, {} })
  tap.match(why, "its Nomad is at 10%.0%.0%.2")
end)

tap.test("a node where all is in place is not even asked", function()
  local stale, kept, _, asked = look { nodes = {
    moved { services = { ["_nomad-client-new"] = at "10.0.0.2", ["_nomad-server-x"] = at "", web = at "172.17.0.2" } } } }
  tap.equal({ stale, kept, asked }, { {}, {}, {} })
end)

tap.test("what Nomad itself advertises is live, whatever Consul's address", function()
  local stale, kept, why = look { nodes = { moved { nomad = "10.0.0.1" } } }
  tap.equal({ stale, kept }, { { "c1 _nomad-client-new agent" }, { "c1 _nomad-client-old" } })
  tap.match(why, "its Nomad advertises this address: is nomad.hcl right%? Consul has 10%.0%.0%.2")
end)

tap.test("where Nomad's servers have another address the node is asked, though Consul's are all alike", function()
  local node = moved { nomad = "10.0.0.3",
    services = { ["_nomad-client-old"] = at "10.0.0.2", ["_nomad-client-new"] = at "10.0.0.3" } }
  node.services["_nomad-client-new"] = nil
  local stale = look { nodes = { node }, nomad_nodes = { { Name = "c1", Address = "10.0.0.3", Status = "ready" } } }
  tap.equal(stale, { "c1 _nomad-client-old agent" })
  tap.equal((look { nodes = { node } }), {})
end)

tap.test("IPv6", function()
  local node = moved { address = "2001:db8::2", nomad = "2001:db8::2",
    services = { ["_nomad-client-old"] = at "2001:db8::1", ["_nomad-client-new"] = at "2001:db8::2" } }
  tap.equal((look { nodes = { node } }), { "c1 _nomad-client-old agent" })
end)

tap.test("where Nomad does not answer a newer one must be there, of the same kind", function()
  local stale, _, why = look { nodes = { moved { nomad = false } } }
  tap.equal(stale, { "c1 _nomad-client-old agent" })
  tap.match(why, "c1 is at 10%.0%.0%.2")
  local alone = moved { nomad = false, services = { ["_nomad-client-old"] = at "10.0.0.1" } }
  local none, kept = look { nodes = { alone } }
  tap.equal({ none, kept }, { {}, { "c1 _nomad-client-old" } })
  local other = moved { nomad = false, services = { ["_nomad-server-old"] = at("10.0.0.1", "nomad", { "serf" }),
    ["_nomad-server-new"] = at("10.0.0.2", "nomad", { "rpc" }) } }
  none, kept = look { nodes = { other } }
  tap.equal({ none, kept }, { {}, { "c1 _nomad-server-old" } })
end)

tap.test("the agent of another node is never believed, even if it has the id", function()
  local stale, kept, _, _, found = look { nodes = { moved { agent = "c2" } } }
  tap.equal({ stale, kept }, { {}, { "c1 _nomad-client-old" } })
  tap.match(found.problems.c1.message, "ssh c1 leads to the node c2, but c1 registered it")
  tap.match(found.problems.c1.hint, "hosts%.c1=NAME")
end)

tap.test("what its agent does not hold any more is marked so", function()
  local _, _, _, _, found = look { nodes = { moved { held = { ["_nomad-client-new"] = {} } } } }
  tap.equal({ found.stale[1].id, found.stale[1].held }, { "_nomad-client-old", false })
end)

-- ---- nodes that are gone ----

tap.test("of a node that left, and does not answer, all goes through the catalog", function()
  local away = { kind = "unreachable", message = "away" }
  for _, member in ipairs { 3, false } do
    local node = moved { agent = away }
    node.member = member
    tap.equal((look { nodes = { node } }), { "c1 _nomad-client-new catalog", "c1 _nomad-client-old catalog" })
    node.serf = "passing" -- the servers still reach it
    local stale, kept = look { nodes = { node } }
    tap.equal({ stale, kept }, { {}, { "c1 _nomad-client-old" } })
  end
end)

tap.test("one that is called gone but answers is not, nor one whose agent only refuses", function()
  local node = moved {}
  node.member = false
  tap.equal((look { nodes = { node } }), { "c1 _nomad-client-old agent" })
  node.agent = { kind = "permission", message = "Permission denied" }
  local stale, kept, _, _, found = look { nodes = { node } }
  tap.equal({ stale, kept, found.problems.c1.message }, { {}, { "c1 _nomad-client-old" }, "Permission denied" })
end)

tap.test("one that failed is left alone, unless who runs it knows better", function()
  local node = moved { member = 4, agent = { kind = "timeout", message = "away" } }
  local stale, kept, why, asked = look { nodes = { node } }
  tap.equal({ stale, kept, asked }, { {}, { "c1 all 2 of it" }, {} })
  tap.match(why, "%-%-set gone=c1")
  tap.equal(#look { nodes = { node }, gone = { c1 = true } }, 2)
  local _, err = pcall(look, { nodes = { moved() }, gone = { c1 = true } })
  tap.match(err.message, "gone: c1 is a living member")
end)

tap.test("what was put into the catalog from outside has no agent that could be gone", function()
  local node = moved { meta = { ["external-node"] = "true" }, agent = { kind = "unreachable", message = "away" } }
  node.member = false
  local stale, kept = look { nodes = { node } }
  tap.equal({ stale, #kept }, { {}, 1 })
end)

tap.test("a catalog without nodes is no all-clear", function()
  local _, err = pcall(look, { nodes = {} })
  tap.match(err.message, "Consul shows no node at all")
end)

-- ---- other patterns ----

tap.test("what an allocation registered is live as long as that runs, whatever its address", function()
  local id = "_nomad-task-" .. ALLOCATION .. "-group-web-http"
  local function judged(status, token, address)
    local node = moved { services = { [id] = at(address or "172.26.64.3", "web") } }
    local stale, kept, why = look { nodes = { node }, patterns = { "_nomad-task-*" }, token = token,
      allocations = { [ALLOCATION] = status } }
    return #stale, #kept, why
  end
  tap.equal({ judged "running" }, { 0, 0, "" })
  tap.equal({ judged "pending" }, { 0, 0, "" })
  tap.equal({ judged "complete" }, { 1, 0, "allocation 8ba85cef is complete\n" })
  tap.equal({ judged("complete", nil, "10.0.0.2") }, { 1, 0, "allocation 8ba85cef is complete\n" })
  tap.equal({ judged(nil) }, { 1, 0, "Nomad has no allocation 8ba85cef\n" })
  tap.equal({ judged(nil, "management") }, { 1, 0, "Nomad has no allocation 8ba85cef\n" })
  local stale, kept, why = judged(nil, "client") -- to whom Nomad does not tell
  tap.equal({ stale, kept }, { 0, 1 })
  tap.match(why, "your Nomad token does not see allocation 8ba85cef, or there is none")
end)

tap.test("others: only beside a newer one, and only if no check passes", function()
  local services = { ["web-1"] = at("10.0.0.1", "web"), ["web-2"] = at("10.0.0.2", "web"), ["db-1"] = at("10.0.0.1", "db"),
    ["w?b"] = at("10.0.0.1", "web") }
  local stale, kept = look { nodes = { moved { services = services } }, patterns = { "web-*", "db-?" } }
  tap.equal({ stale, kept }, { { "c1 web-1 agent" }, { "c1 db-1" } })
  stale, kept = look { nodes = { moved { services = services } }, patterns = { "web-?" },
    checks = { { Node = "c1", ServiceID = "web-1", Status = "passing" } } }
  tap.equal({ stale, kept }, { {}, { "c1 web-1" } })
end)

-- ---- the runbook ----

tap.test("a node that does not answer any more after the question is no success", function()
  local entry = { node = "c1", id = "_nomad-client-old", service = "nomad-client", address = "10.0.0.1", why = "x", by = "agent" }
  local looks, asked, yes = 0, confirm, registrations.look
  registrations.look = function()
    looks = looks + 1
    return { nodes = 1, seen = 1, stale = looks == 1 and { entry } or {}, kept = {}, nomad = true,
      problems = looks == 1 and {} or { c1 = { message = "nobody there" } } }
  end
  confirm = function() return true end -- luacheck: ignore
  local book = dofile "scripts/troubleshoot/stale-services.lua"
  local done, err = pcall(book.run, { services = {}, gone = {}, hosts = {}, reach = "name", patience = "1s" })
  confirm, registrations.look = asked, yes -- luacheck: ignore
  tap.equal({ done, looks }, { false, 2 })
  tap.match(tostring(err.message), "nothing deregistered; what is left:\n  node c1 could not be looked at: nobody there")
end)

tap.finish()
