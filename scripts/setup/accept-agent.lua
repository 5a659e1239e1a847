-- Is the agent that it runs on fit to be given work: do the cluster's servers reach it, do its services run, are its cgroups
-- such that its Nomad can use them, is it in the cluster at the right address? Reads only.

local agents = require "agents"

local NOMAD_ONLY_V1 = { 1, 3 } -- Nomad before this version knows only the first kind of cgroups

-- What was found, as rows of a table, the failed ones last.
local function make_findings()
  local findings = { good = {}, unknown = {}, bad = {} }
  -- `fn` returns what it found, and, where that is not right, what would be.
  function findings.check(name, fn)
    local done, found, wanted = pcall(fn)
    if not done and type(found) == "table" and found.kind == "cancelled" then error(found, 0) end
    if done and not wanted then
      table.insert(findings.good, { name, "ok", found })
    elseif done then
      table.insert(findings.bad, { name, "FAILED", ("%s; %s"):format(found, wanted) })
    elseif type(found) == "table" and found.status == 403 then
      -- The operator's token, not the agent, is what is not fit.
      table.insert(findings.unknown, { name, "unknown", found.message })
      findings.hint = findings.hint or found.hint
    else
      table.insert(findings.bad, { name, "FAILED", type(found) == "table" and found.message or tostring(found) })
    end
  end
  return findings
end

-- ---- services ----

local function check_service(name)
  local unit = systemd.status(name)
  if not unit then return "there is no such unit", "install it (setup/join-client does)" end
  local found = ("%s, %s"):format(unit.active, unit.enabled)
  if unit.active ~= "active" then return found, "see journalctl -u " .. name end
  if unit.enabled ~= "enabled" then return found, "it will not start after a boot: systemctl enable " .. name end
  return found
end

-- ---- cgroups ----

local KINDS = { cgroup2fs = "v2", tmpfs = "v1" }

local function cgroup_kind()
  local type_of = host.run { "stat", "-f", "-c", "%T", "/sys/fs/cgroup", reads = true }.stdout:gsub("%s+$", "")
  local kind = KINDS[type_of] or "unknown (" .. type_of .. ")"
  if kind == "v1" and file.exists "/sys/fs/cgroup/unified" then return "v1", "v1, hybrid" end
  return kind, kind
end

local function is_before(version, bound)
  local major, minor = tostring(version):match "^(%d+)%.(%d+)"
  major, minor = tonumber(major), tonumber(minor)
  if not major then return false end
  return major < bound[1] or major == bound[1] and minor < bound[2]
end

local function check_cgroups(wanted, nomad_self)
  local kind, shown = cgroup_kind()
  if wanted ~= "auto" then
    if kind ~= wanted then return shown, wanted .. " is wanted: see systemd.unified_cgroup_hierarchy= of the kernel" end
    return shown
  end
  local version = nomad_self().config.Version.Version
  if kind == "v2" and is_before(version, NOMAD_ONLY_V1) then
    return shown, ("Nomad %s needs v1: boot with systemd.unified_cgroup_hierarchy=0"):format(version)
  end
  if kind ~= "v1" and kind ~= "v2" then return shown, "Nomad can limit nothing there" end
  return ("%s, fit for Nomad %s"):format(shown, version)
end

-- ---- addresses ----

local function is_at(found, wanted, where)
  if found ~= wanted then return found, ("it should be %s: see %s"):format(wanted, where) end
  return found
end

local function without_port(address)
  return (address or ""):match "^%[?(.-)%]?:%d+$" or address
end

-- Registrations of Nomad's client under this node that are at another address.
local function check_leftovers(node, address)
  local stale, seen = {}, 0
  local services = (consul.catalog.read_node_services(node) or {}).Services or {}
  for id, service in pairs(services) do
    if id:find "^_nomad%-client%-" then
      seen = seen + 1
      if service.Address ~= "" and service.Address ~= address then stale[#stale + 1] = service.Address end
    end
  end
  if #stale > 0 then
    return ("also registered at %s"):format(table.concat(stale, ", ")), "run troubleshoot/stale-services"
  end
  if seen == 0 then return "none", "Nomad has not registered in Consul: see journalctl -u nomad for ACLs" end
  return tostring(seen)
end

-- ---- how the servers see it ----

local function check_member(node)
  for _, check in ipairs(consul.health.list_node_checks(node)) do
    if check.CheckID == "serfHealth" then
      if check.Status == "passing" then return "the servers reach " .. node end
      return check.Output ~= "" and check.Output or check.Status, "do ports 8301 tcp and udp pass, both ways?"
    end
  end
  return node .. " is not in Consul's catalog", "is it a member of this cluster, and may the token read nodes?"
end

local function check_ready(nomad_here, nomad_self)
  local client = nomad_self().stats.client
  if not client then return "no client", "its nomad.hcl makes it no client" end
  local node = nomad_here().nodes.read_node(client.node_id)
  if not node then return "Nomad's servers do not know it", "see journalctl -u nomad" end
  local found = ("%s, %s"):format(node.Status, node.SchedulingEligibility)
  if node.Status ~= "ready" then return found, "see journalctl -u nomad" end
  if node.SchedulingEligibility ~= "eligible" then
    return found, "it gets no work: nomad node eligibility -enable " .. client.node_id:sub(1, 8)
  end
  return found
end

-- ---- all of it ----

-- An agent is asked once; where it does not answer, each check that needs it says so.
local function once(read)
  local asked, answer, done
  return function()
    if not done then asked, answer = pcall(read) end
    done = true
    if not asked then error(answer, 0) end
    return answer
  end
end

local function inspect(p)
  local options = { timeout = p.patience, retries = 0 }
  local findings = make_findings()
  local consul_self = once(function() return consul.agent.read_agent_self(options) end)
  local nomad_here = once(function() return agents.nomad(host.address or p.address, nomad, options) end)
  local nomad_self = once(function() return nomad_here().agent.read_agent_self(options) end)
  local function node() return consul_self().Config.NodeName end
  for _, name in ipairs(p.services) do findings.check("service " .. name, function() return check_service(name) end) end
  findings.check("cgroups", function() return check_cgroups(p.cgroup, nomad_self) end)
  findings.check("address in Consul", function() return is_at(consul_self().Member.Addr, p.address, "consul.hcl") end)
  findings.check("address in Nomad", function()
    return is_at(without_port(nomad_self().config.AdvertiseAddrs.HTTP), p.address, "nomad.hcl")
  end)
  findings.check("reachable, says Consul", function() return check_member(node()) end)
  findings.check("ready, says Nomad", function() return check_ready(nomad_here, nomad_self) end)
  findings.check("registrations", function() return check_leftovers(node(), p.address) end)
  return findings
end

return {
  about = "is this agent fit for work: reachable, services active, cgroups, address",
  params = {
    { "address", "ip", default = function() return host.address end,
      about = "the address that it should have; default: that of the default route" },
    { "services", "list(string)", default = { "consul", "nomad" }, about = "units that must run, and start at boot" },
    { "cgroup", "enum(auto,v1,v2)", default = "auto", about = "the kind that is wanted; auto: what its Nomad can use" },
    { "patience", "duration", default = "10s", about = "how long an agent may take to answer" },
  },
  run = function(p)
    local findings
    step("look", function() findings = inspect(p) end)
    local rows = { { "check", "", "found" } }
    table.move(findings.good, 1, #findings.good, 2, rows)
    table.move(findings.unknown, 1, #findings.unknown, #rows + 1, rows)
    table.move(findings.bad, 1, #findings.bad, #rows + 1, rows)
    columns(rows)
    if #findings.bad > 0 then
      error { message = ("%s is not fit for work: %d of %d checks failed"):format(host.name, #findings.bad, #rows - 1),
              hint = "what each found is in the table" }
    end
    if #findings.unknown > 0 then
      error { message = ("whether %s is fit for work is not known: %d of %d checks were refused, none failed")
                :format(host.name, #findings.unknown, #rows - 1),
              hint = findings.hint or "give a token that may read agents, nodes and services" }
    end
  end,
}
