-- A folder for what a test writes on the operator's machine, made when it is asked for and gone when the program ends:
--
--   local path = require("scratch").folder() .. "/token"
local M = {}

-- A finalizer may start no command: somebody else waits for the end of the program.
local MAKE = [[
  path=$(mktemp -d)
  (tail --pid="$PPID" -f /dev/null; rm -rf "$path") >/dev/null 2>&1 </dev/null &
  echo "$path"]]

local path
function M.folder()
  path = path or host.run { "sh", "-euc", MAKE, reads = true }.stdout:gsub("\n$", "")
  return path
end

return M
