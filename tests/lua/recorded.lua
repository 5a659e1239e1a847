-- What real servers answered (tests/lua/recordings): each recorded request that an endpoint's function can make is made
-- by that function, is the same request, and its answer comes out as it was. Run from the repository.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"

local SERVERS = { { "consul", "consul-1.8.7", 70 }, { "nomad", "nomad-1.1.2", 61 }, { "vault", "vault-1.8", 79 } }

local rows = {}
for _, entry in ipairs(json.decode(servers.moonbook { "api", "--json" }.stdout)) do
  if entry.kind == "endpoint" then rows[#rows + 1] = entry end
end

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- The row's path as a pattern, and the names of what it captures.
local function pattern_of(row)
  local names = {}
  local pattern = row.path:gsub("[%-.]", "%%%0"):gsub("{([^}]+)}", function(name)
    names[#names + 1] = name
    return (name == "path" or name == "key" or name == "prefix") and "(.*)" or "([^/]+)"
  end)
  return "^" .. pattern .. "$", names
end

local function same_method(product, one, other)
  if product ~= "consul" and one == "PUT" then one = "POST" end
  if product ~= "consul" and other == "PUT" then other = "POST" end
  return one == other
end

-- The row of a request and the values of its path parameters: the row with the least that is not literal.
local function find_row(product, exchange)
  local path, best, values, score = exchange.path:gsub("%?.*", ""), nil, nil, nil
  for _, row in ipairs(rows) do
    if row.product == product and same_method(product, row.method, exchange.method) then
      local pattern, names = pattern_of(row)
      local found = { path:match(pattern) }
      if exchange.method == "LIST" and not found[1] and #names > 0 then found = { (path .. "/"):match(pattern) } end
      local blanks = #names - #row.path / 1000 -- of equally many the longer path
      if found[1] and (not score or blanks < score) then
        best, values, score = row, {}, blanks
        for index, name in ipairs(names) do values[name] = unescape(found[index]) end
      end
    end
  end
  return best, values
end

-- The Lua arguments that make the recorded request; nil where a function cannot make it (that is what it is for).
local function arguments_of(row, values, exchange)
  local arguments, options = {}, { retries = 0 }
  for name in row.path:gmatch "{([^}]+)}" do
    if name == "mount" and row.mount then
      options.mount = values.mount
    else
      arguments[#arguments + 1] = values[name]
    end
  end
  for name, value in (exchange.path:match "%?(.*)" or ""):gmatch "([^&=]+)=?([^&]*)" do
    name = name:gsub("-", "_")
    local bare = not exchange.path:find(name .. "=", 1, true)
    options[name] = bare or unescape(value)
  end
  local body = exchange.request
  if row.body == "raw" then
    options.body = body
  elseif row.body == "{key}" then
    if type(body) ~= "table" then return end
    arguments[#arguments + 1] = body
  elseif type(body) == "table" then
    for name, value in pairs(body) do options[name] = value end
  elseif type(body) == "string" then
    return
  end
  for name in (row.body or ""):gmatch "([^,]+)%*" do
    if options[name] == nil then return end
  end
  arguments[#arguments + 1] = options
  return arguments
end

-- Is the answer what the server said? Secret values stand for whatever it was.
local function agrees(got, said, name)
  if tostring(got) == "<secret>" then return type(said) == "string" or math.type(said) end
  if said == json.null or said == nil then return got == nil or got == true or got == json.null or next(got) == nil end
  if type(got) ~= "table" or type(said) ~= "table" then
    return got == said or (type(said) == "string" and got == json.decode(said)), name
  end
  for key, value in pairs(said) do
    if not agrees(got[key], value) then return false, tostring(key) end
  end
  for key in pairs(got) do
    if said[key] == nil and got[key] ~= json.null then return false, tostring(key) end
  end
  return true
end

local function is_absence(row, exchange)
  local body = exchange.response
  if exchange.status ~= 404 or row.effect ~= "read" then return false end
  if type(body) == "table" then return body.errors and #body.errors == 0 end
  return body == nil or body == json.null or tostring(body):find "not found" ~= nil
end

local SPECIAL = { -- ends that this way of replaying cannot know
  ["/v1/client/metadata"] = true, -- 404 without a word from a server that is too old
  ["/v1/node/d9c41bdc"] = true,   -- completed to the whole id
}

-- Makes one; returns true, or false where no function makes it.
local function replay(product, client, server, exchange)
  local row, values = find_row(product, exchange)
  local arguments = row and not SPECIAL[exchange.path] and arguments_of(row, values, exchange)
  if not arguments then return false end
  local fn = { [product] = client }
  for part in row.name:gmatch "[^.]+" do fn = fn[part] end
  local what = exchange.method .. " " .. exchange.path .. " by " .. row.name
  if row.returns == "stream" then return false end
  local done, answer, meta = pcall(fn, table.unpack(arguments))
  local seen = server:seen().requests
  local count = #seen
  while seen[count].path == "/v1/internal/acl/authorize" do count = count - 1 end -- why a list was empty
  local request = seen[count]
  tap.equal(unescape(request.path:gsub("%?.*", "")), (exchange.path:gsub("%?.*", "")), what)
  if type(exchange.request) == "table" then tap.equal(json.decode(request.body), exchange.request, what) end
  if is_absence(row, exchange) then
    tap.equal({ done, answer }, { true, nil }, what)
  elseif exchange.status >= 300 and not (row.answers or ""):find(exchange.status) and
      not (exchange.status == 404 and type(exchange.response) == "table" and exchange.response.data) then
    tap.ok(not done, what)
    tap.equal(answer.status, exchange.status, what)
    local said = type(exchange.response) == "table" and exchange.response.errors[1] or tostring(exchange.response)
    local word = said:match "(%a+)%A*$"
    tap.ok(tostring(answer):find(word, 1, true), what .. ": " .. tostring(answer))
  else
    tap.ok(done, what .. ": " .. tostring(answer))
    tap.equal(meta.status, exchange.status, what)
    local fine, where = agrees(answer, exchange.response)
    tap.ok(fine, what .. ": " .. tostring(where))
  end
  return true
end

for _, entry in ipairs(SERVERS) do
  local product, recording, least = table.unpack(entry)
  tap.test("every answer of a real " .. recording .. " is understood", function()
    local path = "tests/lua/recordings/" .. recording .. ".jsonl"
    local server <close> = servers.start("--replay=" .. path)
    local client = _G[product] { addr = server.url, token = "" }
    local made, left, number = 0, {}, 0
    for line in io.lines(path) do
      local exchange = json.decode(line)
      number = number + 1
      http.get(server.url .. "/turn/" .. number)
      if replay(product, client, server, exchange) then
        made = made + 1
      else
        left[#left + 1] = exchange.method .. " " .. exchange.path
      end
    end
    tap.ok(made >= least, made .. " made; left: " .. table.concat(left, ", "))
  end)
end

tap.finish()
