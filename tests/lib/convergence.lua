-- Proves that a chunk of present and absent converges: what --check predicts is what the first run does, and a second
-- run changes nothing.
--
--   local convergence = require "convergence"
--   convergence.prove(chunk, { VAULT_ADDR = ... }, 3)   -- three changes; returns them as events
--   local run = convergence.run(chunk, env, "--check")  -- {code=, changes=, said=, unchanged=, requests}
local servers = require "server"
local tap = require "tap"

local M = {}

function M.run(chunk, env, ...)
  env.PATH, env.HOME, env.XDG_STATE_HOME = os.getenv "PATH", "/nonexistent", os.getenv "XDG_STATE_HOME"
  env.ASAN_OPTIONS = os.getenv "ASAN_OPTIONS"
  local run = servers.moonbook { "-e", chunk, "--json", env = env, ... }
  local result = { code = run.code, said = run.stdout .. run.stderr, changes = {}, warnings = {} }
  for line in run.stdout:gmatch "[^\n]+" do
    local event = json.decode(line)
    if event.event == "change" then table.insert(result.changes, event) end
    if event.event == "warning" then table.insert(result.warnings, event.message) end
    if event.event == "run.end" then result.unchanged = event.unchanged end
  end
  return result
end

-- What a change says, without what differs from run to run.
local function essence(changes)
  local list = {}
  for index, change in ipairs(changes) do
    list[index] = { kind = change.kind, target = change.target, before = change.before, after = change.after,
      diff = change.diff, undo = change.undo, exact = change.exact }
  end
  return list
end

function M.prove(chunk, env, count)
  local predicted = M.run(chunk, env, "--check")
  tap.equal(predicted.code, 0, predicted.said)
  local first = M.run(chunk, env)
  tap.equal(first.code, 0, first.said)
  tap.equal(#first.changes, count, first.said)
  tap.equal(essence(predicted.changes), essence(first.changes))
  for index, change in ipairs(first.changes) do
    tap.equal({ change.status, predicted.changes[index].status }, { "changed", "predicted" })
  end
  local second = M.run(chunk, env)
  tap.equal({ second.code, #second.changes }, { 0, 0 }, second.said)
  tap.ok(second.unchanged >= count, second.said)
  return first.changes, first
end

return M
