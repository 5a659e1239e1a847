-- Purpose: a thousand fibers asleep at once; prints the most memory that the process had resident, in KiB.

local sleepers = {}
for i = 1, 1000 do
  sleepers[i] = function() sleep(0.5) end
end
parallel(sleepers)
print(io.open("/proc/self/status"):read "a":match "VmHWM:%s*(%d+)")
