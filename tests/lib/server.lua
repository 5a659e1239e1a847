-- Starts tests/lua/http_server.py on a free port and ends it with the scope:
--
--   local server <close> = require("server").start()
--   http.get(server.url .. "/echo")
local M = {}

local methods = {}

-- What it was asked so far: {requests = {{method, path, body, headers}, ...}, connections = n}.
function methods:seen()
  return http.get(self.url .. "/seen").json
end

-- The last request whose path begins so.
function methods:last(path)
  local found
  for _, request in ipairs(self:seen().requests) do
    if request.path:sub(1, #path) == path then found = request end
  end
  return found
end

function methods:stop()
  host.run { "kill", self.process, reads = true, ok = { 0, 1 } }
end

-- Starts a program in the background; its process id and the line that it prints when it is ready.
function M.launch(...)
  local line = [["$@" >"$READY" 2>"$READY.err" </dev/null &
    echo $!
    until [ "$(wc -l <"$READY")" -gt 0 ]; do kill -0 $! 2>/dev/null || break; sleep 0.02; done
    cat "$READY" "$READY.err"; rm "$READY" "$READY.err"]]
  local command = { "sh", "-c", line, "sh", ... }
  command.reads, command.timeout, command.env = true, "2m", { READY = os.tmpname() }
  return host.run(command).stdout:match "^(%d+)\n(.*)"
end

-- Starts a Python program that prints its port; the same value, but that its url is plain http.
function M.spawn(...)
  local process, said = M.launch("python3", ...)
  local port = assert(said:match "^%d+", "the test server did not start: " .. said)
  return setmetatable({ process = process, port = port, url = "http://127.0.0.1:" .. port },
    { __index = methods, __close = methods.stop })
end

function M.start(...)
  local self = M.spawn("tests/lua/http_server.py", ...)
  if (...) == "--tls" then self.url = self.url:gsub("^http", "https") end
  return self
end

-- Runs the program itself, for what needs other options or another environment.
function M.moonbook(options)
  table.insert(options, 1, os.getenv("MOONBOOK") or "build/moonbook")
  options.reads = true
  options.ok = options.ok or { 0, 1, 64 }
  local run = host.run(options)
  -- the address sanitizer's remark about swapcontext is not the program's
  run.stderr = run.stderr:gsub("==%d+==WARNING: ASan doesn't fully support[^\n]*\n", "")
  return run
end

return M
