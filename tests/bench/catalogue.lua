-- Purpose: prints a catalogue to decode, of BYTES bytes at least: what Consul answers to catalog/service/NAME, with as
-- many instances as that takes.
--   moonbook catalogue.lua BYTES

-- One that Nomad registered; numbers and addresses differ from one to the next.
local instance = [[{"ID":"%08x-9a56-e125-42c4-%012x","Node":"builder%d","Address":"ADDRESS","Datacenter":"dc1",]]
  .. [["TaggedAddresses":{"lan":"ADDRESS","lan_ipv4":"ADDRESS","wan":"ADDRESS","wan_ipv4":"ADDRESS"},]]
  .. [["NodeMeta":{"consul-network-segment":""},"ServiceKind":"","ServiceID":"_nomad-task-%08x-build-http",]]
  .. [["ServiceName":"build","ServiceTags":["http","ci","v%d"],"ServiceAddress":"ADDRESS","ServiceTaggedAddresses":]]
  .. [[{"lan_ipv4":{"Address":"ADDRESS","Port":%d},"wan_ipv4":{"Address":"ADDRESS","Port":%d}},]]
  .. [["ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{"external-source":"nomad"},"ServicePort":%d,]]
  .. [["ServiceEnableTagOverride":false,"ServiceProxy":{"MeshGateway":{},"Expose":{}},"ServiceConnect":{},]]
  .. [["CreateIndex":%d,"ModifyIndex":%d}]]

local function numbered(i)
  local port = 20000 + i % 12000
  local text = instance:format(i * 2654435761 % 4294967296, i, i, i, i % 7, port, port, port, 100 + i, 200 + 3 * i)
  return (text:gsub("ADDRESS", ("10.%d.%d.%d"):format(i // 65536 % 256, i // 256 % 256, i % 256)))
end

local wanted, length, i = tonumber(arg[1]), 0, 0
while length < wanted do
  i = i + 1
  local text = (i == 1 and "[" or ",") .. numbered(i)
  io.write(text)
  length = length + #text
end
io.write("]\n")
