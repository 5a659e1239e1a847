-- A throwaway sshd, ended with the scope:
--
--   local sshd <close> = require("sshd").start()
--   sshd:host { sudo = true }.run { "id" }
local M = {}

local methods = {}

-- What leads there: the options of host{}, with a key that is let in, changed by what is given.
function methods:spec(changes)
  local spec = { address = "127.0.0.1", port = self.port, user = M.user, identity = self.folder .. "/id_ed25519",
    known_hosts = self.folder .. "/known_hosts" }
  for name, value in pairs(changes or {}) do spec[name] = value or nil end
  return spec
end

function methods:host(changes)
  return host(self:spec(changes))
end

-- Shell text that waits until the processes in $* are gone: a signal alone has ended nobody yet, and what still listens answers.
-- One that nobody has waited for is a zombie.
M.await_end = 'for p; do while grep -qs "^State:.[^Z]" "/proc/$p/status"; do sleep 0.01; done; done'

-- The one that listens; those that serve connections go on.
function methods:stop()
  host.run { "sh", "-c", 'kill "$1" 2>/dev/null; ' .. M.await_end, "sh", self.process, reads = true, timeout = "60s" }
end

-- Also those that serve connections.
function methods:kill()
  host.run { "sh", "-c", 'set -- $(pgrep -P "$1") "$1"; kill -KILL "$@" 2>/dev/null; ' .. M.await_end, "sh", self.process,
    reads = true, timeout = "60s" }
end

function methods:log()
  return file.read(self.folder .. "/log." .. self.port)
end

function methods:close()
  self:stop()
  if self.owns then host.run { "rm", "-rf", self.folder, reads = true } end
end

-- Lines of sshd_config; `folder` of another one for its keys, `port` to come back to, `host_keys` "ed25519 ecdsa", `address`,
-- `inside` the words of a command that runs it elsewhere.
function M.start(options)
  options = options or {}
  local folder = options.folder or host.run { "mktemp", "-d", reads = true }.stdout:gsub("%s+$", "")
  local command = { reads = true, timeout = "60s" }
  for _, word in ipairs(options.inside or {}) do command[#command + 1] = word end
  command[#command + 1] = "tests/ssh/daemon"
  command[#command + 1] = folder
  for _, line in ipairs(options) do command[#command + 1] = line end
  command.env = { PORT = tostring(options.port or ""), ADDRESS = options.address, HOST_KEYS = options.host_keys,
    WITH_PARENT = "1" }
  local answer = host.run(command)
  local process, port = answer.stdout:match("(%d+)%s+(%d+)")
  assert(port, "sshd did not start: " .. answer.stderr)
  return setmetatable({ process = process, port = math.tointeger(tonumber(port)), folder = folder, owns = not options.folder },
    { __index = methods, __close = methods.close })
end

M.user = host.run { "id", "-un", reads = true }.stdout:gsub("%s+$", "")
M.root = M.user == "root"

return M
