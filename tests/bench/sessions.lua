-- Purpose: sessions with many hosts open at once; prints the most memory that the process had resident, in KiB.
--   moonbook sessions.lua HOSTS COUNT     HOSTS as --on takes them, COUNT of them

local hosts, count = arg[1], tonumber(arg[2])
local arrived = 0

fleet(hosts, function(there)
  there.run { "true", reads = true }
  arrived = arrived + 1
  if arrived == count then
    -- All of them are seen open from outside.
    local sockets = host("local").run { "sh", "-c", "ls -l /proc/$PPID/fd | grep -c socket:", reads = true }.stdout
    assert(tonumber(sockets) >= count, "only " .. sockets .. " sockets are open")
  end
  wait { function() return arrived >= count end, every = "50ms", timeout = "120s", what = "all of them" }
  there.run { "true", reads = true }
end, { forks = count })
assert(arrived == count)
print(io.open("/proc/self/status"):read "a":match "VmHWM:%s*(%d+)")
