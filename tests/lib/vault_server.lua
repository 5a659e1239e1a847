-- Starts a Vault for one test and ends it with the scope: a real `vault` on PATH when it is a program, else the stand-in
-- (tests/standin/vault). On a free port of loopback, everything in memory, its home a folder that goes with it:
--
--   local server <close> = require("vault_server").start()
--   local v = server:client()                   -- as root; server:client(token) as somebody else
local M = {}

local START = [[
  program=$(command -v vault || true)
  [ -n "$program" ] && [ "$(head -c 4 "$program" | tail -c 3)" = ELF ] || program=
  port=$(python3 tests/standin/ports.py 1)
  export HOME=$FOLDER
  if [ -n "$program" ]; then set -- "$program"; else set -- python3 tests/standin/vault; fi
  "$@" server -dev "-dev-root-token-id=$TOKEN" "-dev-listen-address=127.0.0.1:$port" >"$FOLDER/log" 2>&1 </dev/null &
  process=$!
  while ! grep -q '^Root Token:' "$FOLDER/log"; do
    kill -0 $process 2>/dev/null || { cat "$FOLDER/log" >&2; exit 1; }
    sleep 0.05
  done
  echo $process "$port" "${program:-stand-in}"; sed -n 's/^Unseal Key: //p' "$FOLDER/log"]]

local methods = {}

-- A client of it: of the root token, or of another one; "" for none.
function methods:client(token)
  return vault { addr = self.url, token = token or self.token }
end

function methods:stop()
  -- What has ended but was not waited for yet by whoever got it is a zombie.
  local line = 'kill "$1"; while grep -qs "^State:.[^Z]" "/proc/$1/status"; do sleep 0.02; done; rm -rf "$2"'
  host.run { "sh", "-c", line, "sh", self.process, self.folder, reads = true }
end

-- url, token (root's), key (the one share that unseals it), real: is it a real one?
function M.start()
  local folder, token = os.tmpname(), "root-of-this-test"
  local answer = host.run { "sh", "-euc", "rm \"$FOLDER\"; mkdir -m 700 \"$FOLDER\"\n" .. START,
    env = { FOLDER = folder, TOKEN = token }, reads = true, timeout = "2m" }
  local process, port, program, key = answer.stdout:match "(%d+) (%d+) ([^\n]+)\n([^\n]*)"
  return setmetatable({ process = process, port = port, url = "http://127.0.0.1:" .. port, token = token, key = key,
    folder = folder, real = program ~= "stand-in" }, { __index = methods, __close = methods.stop })
end

return M
