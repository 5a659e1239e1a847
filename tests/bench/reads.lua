-- Purpose: reads one key of Consul through the API, as a script would, and looks at what comes.
--   moonbook reads.lua COUNT FIBERS     COUNT reads in all, FIBERS of them at a time

local left, fibers = tonumber(arg[1]), tonumber(arg[2])

local function read()
  while left > 0 do
    left = left - 1
    local found = consul.kv.read_key "bench/key"
    assert(found[1].Key == "bench/key" and found[1].Value)
  end
end

local readers = {}
for i = 1, fibers do
  readers[i] = read
end
parallel(readers)
