-- Finds the agents of the host that a runbook acts on: they may listen on the host's own address and not on loopback.

local agents = {}

-- A client of the Consul agent there, by what its configuration says now: it may have been placed by this very run.
function agents.consul() return consul {} end

-- A client of the Nomad agent there: by its configuration (on the operator's machine by NOMAD_ADDR, else loopback), else at
-- `address`: what an agent computes when it starts cannot be read from its files. `module`: the nomad of another host.
function agents.nomad(address, module, options)
  module, options = module or nomad, options or { retries = 0 }
  local here = module {}
  local answered, problem = pcall(here.status.read_leader, options)
  if answered or problem.kind ~= "unreachable" then return here end
  if module == nomad and os.getenv "NOMAD_ADDR" and host.name == host("local").name then return here end
  local host_part = address:find ":" and "[" .. address .. "]" or address
  return module { addr = "http://" .. host_part .. ":4646" }
end

return agents
