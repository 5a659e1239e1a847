-- Starts a Nomad for one test and ends it with the scope: a real `nomad` on PATH when it is a program, else the stand-in
-- (tests/standin/nomad). Server and client in one, on free ports of loopback, all it keeps in a folder that goes with it:
--
--   local server <close> = require("nomad_server").start()
--   local n = server:client()                   -- as management; server:client(token) as somebody else, "" as nobody
--   require("nomad_server").start { acls = true, version = "1.6.0" }   -- with ACLs; the version is the stand-in's
local M = {}

local CONFIG = [[
name      = "lab"
data_dir  = "@FOLDER@/data"
bind_addr = "127.0.0.1"
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
ports {
  http = @HTTP@
  rpc  = @RPC@
  serf = @SERF@
}
server {
  enabled          = true
  bootstrap_expect = 1
}
client {
  enabled = true
  servers = ["127.0.0.1:@RPC@"]
  options {
    "driver.allowlist" = "raw_exec,exec"
  }
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
consul {
  address          = "127.0.0.1:1"
  auto_advertise   = false
  client_auto_join = false
  server_auto_join = false
}
]]

local START = [[
  program=$(command -v nomad || true)
  [ -n "$program" ] && [ "$(head -c 4 "$program" | tail -c 3)" = ELF ] || program=
  set -- $(python3 tests/standin/ports.py 3)
  sed "s|@FOLDER@|$FOLDER|; s/@HTTP@/$1/; s/@RPC@/$2/; s/@SERF@/$3/" >"$FOLDER/nomad.hcl"
  port=$1
  if [ -n "$program" ]; then set -- "$program"; else set -- python3 tests/standin/nomad; fi
  "$@" agent -config "$FOLDER/nomad.hcl" >"$FOLDER/log" 2>&1 </dev/null &
  process=$!
  while ! grep -q 'node registration complete' "$FOLDER/log"; do
    kill -0 $process 2>/dev/null || { cat "$FOLDER/log" >&2; exit 1; }
    sleep 0.05
  done
  echo $process "$port" "${program:-stand-in}"]]

-- A real one's tasks have file systems of their own.
local STOP = [[
  kill -INT "$1"
  while grep -qs "^State:.[^Z]" "/proc/$1/status"; do sleep 0.02; done
  while read -r _ path _; do
    case $path in "$2"/*) umount "$path" ;; esac
  done </proc/mounts
  rm -rf "$2"]]

local methods = {}

-- A client of it: of the management token, or of another one; "" for none.
function methods:client(token)
  return nomad { addr = self.url, token = token or self.token }
end

-- Tasks would outlive a real agent: its jobs end first.
function methods:stop_jobs()
  local n = self:client()
  for _, job in ipairs(n.jobs.list_jobs { namespace = "*" }) do
    n.jobs.stop_job(job.ID, { namespace = job.Namespace, purge = true })
  end
  wait { function()
    for _, allocation in ipairs(n.allocs.list_allocations { namespace = "*" }) do
      if allocation.ClientStatus == "running" or allocation.ClientStatus == "pending" then return false end
    end
    return true
  end, timeout = "60s", what = "the tasks end" }
end

function methods:stop()
  local done, why = true, nil
  if self.real then done, why = pcall(self.stop_jobs, self) end
  host.run { "sh", "-c", STOP, "sh", self.process, self.folder, reads = true }
  if not done then error(why, 0) end
end

-- url, token (management's, "" without ACLs), node (the client's id), real: is it a real one?
function M.start(options)
  options = options or {}
  local folder = os.tmpname()
  local config = CONFIG .. (options.acls and "acl {\n  enabled = true\n}\n" or "")
  local answer = host.run { "sh", "-euc", "rm \"$FOLDER\"; mkdir -m 700 \"$FOLDER\"\n" .. START, stdin = config,
    env = { FOLDER = folder, NOMAD_STANDIN_VERSION = options.version or "1.1.2" }, reads = true, timeout = "2m" }
  local process, port, program = answer.stdout:match "(%d+) (%d+) ([^\n]+)"
  local self = setmetatable({ process = process, port = port, url = "http://127.0.0.1:" .. port, token = "", folder = folder,
    real = program ~= "stand-in" }, { __index = methods, __close = methods.stop })
  local done, why = pcall(function()
    if options.acls then self.token = self:client().acl.bootstrap_acl().SecretID end
    self.node = wait { function()
      local node = self:client().nodes.list_nodes()[1]
      return node and node.Status == "ready" and node.ID
    end, every = "100ms", timeout = "2m", what = "the client is ready" }
  end)
  if not done then
    self:stop()
    error(why, 0)
  end
  return self
end

return M
