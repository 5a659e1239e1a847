-- The Consul of a lab with ACLs, asked from outside: a fresh server for each suite. One that uses it has
-- "-- lab: --acls srv1" among its first lines.
--
--   local cluster = require "cluster"
--   cluster.address                                -- "10.213.77.2:8500"
--   cluster.client "read-only"                     -- consul{} with that token of the lab; without a name: with none
--   cluster.moonbook{ "-e", chunk, token = "read-only", env = {...} }  -- the program, in an environment of its own
--   cluster.configure(text)                        -- the server with this configuration beside its own
--   cluster.alone()                                -- nothing changes what the server keeps but the test
--   cluster.state()                                -- all that the server keeps, as lines; see lab.difference
--   cluster.raft_index()                           -- of the last entry of its log: each write is one
local lab = require "lab"
local servers = require "server"

local M = { address = lab.server() .. ":8500", server = lab.at "srv1" }
local USED = "/run/moonbook-used" -- by a suite before this one
if M.server:read(USED) then lab.fresh "srv1" end
M.server:write(USED, "")
local URL = "http://" .. M.address .. "/v1/"

function M.client(name)
  return consul { addr = M.address, token = name and lab.token(name) or "" }
end

-- Any exit status that the program ends with; standard output, then standard error, is in `.said`.
function M.moonbook(options)
  options.env = options.env or {}
  options.env.PATH, options.env.HOME = os.getenv "PATH", "/nonexistent"
  options.env.XDG_STATE_HOME = os.getenv "XDG_STATE_HOME"
  options.env.ASAN_OPTIONS = os.getenv "ASAN_OPTIONS"
  options.env.CONSUL_HTTP_ADDR = options.env.CONSUL_HTTP_ADDR or M.address
  if options.token then options.env.CONSUL_HTTP_TOKEN, options.token = lab.token(options.token), nil end
  local run = servers.moonbook(options)
  run.said = run.stdout .. run.stderr
  return run
end

-- A folder of the operator's that is gone when the program ends.
M.folder = require("scratch").folder

-- Asks without the module under test; nil where there is nothing.
local function ask(path)
  local answer = http.get(URL .. path, { headers = { ["X-Consul-Token"] = lab.token "management" }, ok = { 200, 404 } })
  return answer.status == 200 and answer.json or nil
end

-- ---- the server's configuration ----

local CONFIG = "/etc/consul.d/test.hcl"

-- Waits for a leader that has taken up all its work: only then it answers consistent reads.
local function restart()
  M.server:sh "systemctl reset-failed consul; systemctl restart consul"
  wait { function()
    return ask "status/leader" ~= "" and ask "catalog/nodes?consistent"
  end, every = "100ms", timeout = "2m", what = "Consul's leader" }
end

function M.configure(text)
  M.server:write(CONFIG, text)
  M.server:sh("chown consul:consul " .. CONFIG)
  restart()
end

-- Without Nomad, which keeps its services and their checks there.
function M.alone() M.server:sh "systemctl stop nomad; systemctl reset-failed nomad" end

-- ---- what it keeps ----

function M.raft_index()
  return math.tointeger(ask "agent/self".Stats.raft.last_log_index)
end

local LISTS = { "kv/?recurse", "catalog/nodes", "catalog/services", "session/list", "acl/policies", "acl/tokens", "acl/roles",
  "acl/auth-methods", "acl/binding-rules", "connect/intentions", "query", "connect/ca/roots", "connect/ca/configuration",
  "operator/autopilot/configuration", "operator/keyring", "operator/raft/configuration", "agent/services", "agent/checks",
  "agent/members", "internal/federation-states", "event/list" }
local KINDS = { "service-defaults", "proxy-defaults", "service-router", "service-splitter", "service-resolver",
  "ingress-gateway", "terminating-gateway" }

-- A value as one line, whatever the order of names and lists (Consul's own differs from one reading to the next).
local function sorted(value)
  if type(value) ~= "table" then return (tostring(value):gsub("%s+", " ")) end
  local parts = {}
  for name, item in pairs(value) do
    parts[#parts + 1] = (math.type(name) and "" or name .. "=") .. sorted(item)
  end
  table.sort(parts)
  return "{" .. table.concat(parts, " ") .. "}"
end

function M.state()
  local lines = {}
  local function add(path)
    local list = ask(path)
    if type(list) ~= "table" then list = { list } end
    for name, item in pairs(list) do lines[#lines + 1] = path .. " " .. tostring(name) .. " " .. sorted(item) end
    return list
  end
  for _, path in ipairs(LISTS) do add(path) end
  for _, kind in ipairs(KINDS) do add("config/" .. kind) end
  for _, policy in ipairs(ask "acl/policies") do add("acl/policy/" .. policy.ID) end
  for _, token in ipairs(ask "acl/tokens") do add("acl/token/" .. token.AccessorID) end
  for _, node in ipairs(ask "catalog/nodes") do
    add("catalog/node/" .. node.Node)
    add("health/node/" .. node.Node)
  end
  local self = ask "agent/self"
  lines[#lines + 1] = "agent/self " .. sorted { self.Config, self.DebugConfig, self.Meta }
  table.sort(lines)
  return table.concat(lines, "\n")
end

return M
