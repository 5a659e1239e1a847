-- Purpose: decodes a file of JSON.
--   moonbook decode.lua FILE COUNT [cjson]     COUNT times; with the program's own codec, or with lua-cjson

local text = file.read(arg[1])
local decode = arg[3] == "cjson" and require "cjson".decode or json.decode
for _ = 1, tonumber(arg[2]) do
  assert(#decode(text) > 0)
end
