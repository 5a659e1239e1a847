-- A small TAP producer: each test is a function, the plan comes last, the exit status tells.
--
--   local tap = require "tap"
--   tap.test("adds", function() tap.equal(1 + 1, 2) end)
--   tap.finish()
local tap = { count = 0, failed = 0 }

local function show(value, depth)
  if type(value) == "string" then return string.format("%q", value) end
  if type(value) ~= "table" or (depth or 0) > 3 then return tostring(value) end
  local parts = {}
  for key, item in pairs(value) do
    parts[#parts + 1] = "[" .. show(key, 4) .. "]=" .. show(item, (depth or 0) + 1)
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b and math.type(a) == math.type(b) end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- What is wrong with a check, raised so that the test ends there; `level` points at the line of the test.
local function fail(message)
  error({ tap = message, where = debug.traceback("", 3):match("([^\n\t ]+%.lua:%d+): in [fl]") }, 0)
end

function tap.ok(value, what)
  if not value then fail((what or "a true value") .. " wanted, got " .. show(value)) end
  return value
end

-- Equal by content; 1 and 1.0 differ, as they do for the servers.
function tap.equal(got, wanted, what)
  if not same(got, wanted) then
    fail((what and what .. ": " or "") .. "got " .. show(got) .. ", wanted " .. show(wanted))
  end
end

function tap.match(text, pattern)
  if not tostring(text):find(pattern) then fail(show(tostring(text)) .. " does not match " .. show(pattern)) end
end

-- The function must raise. `wanted` is an error's kind, or a Lua pattern of its text; the error is returned.
function tap.raises(wanted, fn, ...)
  local done, err = pcall(fn, ...)
  if done then fail("no error, wanted " .. wanted) end
  local kind = type(err) == "table" and err.kind
  if kind ~= wanted and not tostring(err):find(wanted) then
    fail("the error is " .. tostring(kind) .. ": " .. tostring(err) .. ", wanted " .. wanted)
  end
  return err
end

function tap.test(name, fn)
  tap.count = tap.count + 1
  local done, err = xpcall(fn, function(err)
    if type(err) == "table" and err.tap then return err end
    return { tap = tostring(err), where = debug.traceback("", 2) }
  end)
  if done then
    print("ok " .. tap.count .. " - " .. name)
    return
  end
  tap.failed = tap.failed + 1
  print("not ok " .. tap.count .. " - " .. name)
  print("# " .. (err.tap .. "\nat " .. tostring(err.where)):gsub("\n", "\n# "))
end

function tap.skip(name, why)
  tap.count = tap.count + 1
  print("ok " .. tap.count .. " - " .. name .. " # SKIP " .. why)
end

-- Prints the plan; a failed test makes the script fail: by an error, so that what the script holds is closed.
function tap.finish()
  print("1.." .. tap.count)
  if tap.failed > 0 then error(tap.failed .. " of " .. tap.count .. " tests failed", 0) end
end

return tap
