-- What a machine has, in the units of Nomad's configuration: cpu in MHz over all cores, memory and disk in MB. Not every
-- kernel tells the clock (that of an ARM machine may not): then there is no cpu.

local machine = {}

-- The highest clock where the kernel tells it, as Nomad counts; of the disk, the file system that holds the folder or will.
local LOOK = [[
at=$1
while ! [ -e "$at" ]; do at=$(dirname "$at"); done
frequency=/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq
if [ -r "$frequency" ]; then mhz=$(($(cat "$frequency") / 1000))
else mhz=$(sed -n 's/^cpu MHz[^:]*: *\([0-9]*\).*/\1/p' /proc/cpuinfo | head -n 1); fi
echo "$(nproc) ${mhz:-0} $(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) $(df -Pk "$at" | awk 'END { print $2 }')"]]

function machine.resources(folder)
  local said = host.run { "sh", "-c", LOOK, "sh", folder, reads = true, timeout = "30s" }.stdout
  local cores, mhz, memory, disk = said:match "(%d+) (%d+) (%d+) (%d+)"
  if not cores then error { message = "what this machine has is not known: " .. said } end
  return { cpu = mhz ~= "0" and cores * mhz or nil, memory = memory // 1024, disk = disk // 1024 }
end

return machine
