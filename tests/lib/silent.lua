-- An address on loopback that takes no connection and refuses none, as behind a firewall; ended with the scope:
--
--   local silent <close> = require("silent").start("127.0.0.3", port)
local M = {}

-- Its queue of connections is full: what comes then is dropped.
local code = [[
import socket, sys, time
s = socket.socket(); s.bind((sys.argv[1], int(sys.argv[2]))); s.listen(0)
filling = [socket.socket() for _ in range(3)]
for c in filling: c.setblocking(False); c.connect_ex(s.getsockname())
print(s.getsockname()[1], flush=True)
while True: time.sleep(600)
]]

function M.start(address, port)
  local process, said = require("server").launch("python3", "-c", code, address, tostring(port or 0))
  local self = { process = process, address = address, port = assert(said:match "^%d+", said) }
  return setmetatable(self, { __close = function() host.run { "kill", process, reads = true, ok = { 0, 1 } } end })
end

return M
