-- Purpose: reads one key through the forward to another host's own agent, one read after another.
--   moonbook forward.lua HOST ADDRESS COUNT     ADDRESS: where the agent listens there

local there = host { arg[1], consul_addr = arg[2] }
for _ = 1, tonumber(arg[3]) do
  local found = there.consul.kv.read_key "bench/key"
  assert(found[1].Key == "bench/key" and found[1].Value)
end
