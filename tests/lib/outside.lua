-- The program as an operator runs it who looks after the lab's hosts from another machine: over ssh with the lab's
-- configuration, the cluster's servers by their addresses, in an environment of its own.
--
--   local outside = require "outside"
--   outside.run{ "run", "x/y", "--yes", token = "management" }   -- {code, stdout, stderr, said, events}; options of host.run
--   outside.run{ ..., before = {"strace", ...}, reach = { c1 = "10.213.77.51" } }   -- ssh finds c1 there
--   outside.folder()                               -- of the operator's, gone when the program ends
local lab = require "lab"

local M = {}
local PROGRAM = os.getenv "MOONBOOK" or "build/moonbook"

local ANY = {}
for code = 0, 255 do ANY[code + 1] = code end

M.folder = require("scratch").folder

-- The lab's ssh configuration; a host that has moved is still known by its key.
local function ssh_config(reach)
  local path = host.run { "tests/lab/lab", "ssh-config", reads = true }.stdout:gsub("\n$", "")
  if not reach then return path end
  local text = ""
  for name, address in pairs(reach) do
    text = text .. ("Host %s\n  HostName %s\n  HostKeyAlias %s\n"):format(name, address, name)
  end
  local moved = M.folder() .. "/ssh-config"
  file.present { moved, content = text .. file.read(path), mode = "0600" }
  return moved
end

-- A file with the secret of that token of the lab, for --set token=file:PATH.
function M.token_file(name)
  local path = M.folder() .. "/" .. name
  file.present { path, content = lab.token(name) .. "\n", mode = "0600" }
  return path
end

function M.environment(options)
  local environment = { PATH = os.getenv "PATH", HOME = M.folder(), XDG_STATE_HOME = M.folder() .. "/state",
    ASAN_OPTIONS = os.getenv "ASAN_OPTIONS", MOONBOOK_SSH_CONFIG = ssh_config(options.reach),
    CONSUL_HTTP_ADDR = lab.server() .. ":8500", NOMAD_ADDR = "http://" .. lab.server() .. ":4646",
    CONSUL_HTTP_TOKEN = options.token and lab.token(options.token) or nil }
  for name, value in pairs(options.env or {}) do environment[name] = value or nil end
  return environment
end

function M.run(options)
  local command = table.move(options.before or {}, 1, #(options.before or {}), 1, {})
  command[#command + 1] = PROGRAM
  table.move(options, 1, #options, #command + 1, command)
  command.env, command.stdin = M.environment(options), options.stdin
  command.reads, command.ok, command.timeout = true, ANY, options.timeout or "5m"
  local run = host.run(command)
  run.events, run.said = lab.decoded(run.stdout), run.stdout .. run.stderr
  return run
end

return M
