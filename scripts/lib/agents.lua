-- Finds the agents of the host that a runbook acts on: they may listen on the host's own address and not on loopback.

local agents = {}

-- A client of the Nomad agent on this host: what NOMAD_ADDR says, else loopback, else `address`.
function agents.nomad(address)
  if os.getenv "NOMAD_ADDR" then return nomad end
  local answered, problem = pcall(nomad.status.read_leader, { retries = 0 })
  if answered or problem.kind ~= "unreachable" then return nomad end
  local host_part = address:find ":" and "[" .. address .. "]" or address
  return nomad { addr = "http://" .. host_part .. ":4646" }
end

return agents
