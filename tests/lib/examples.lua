-- The examples beside the functions of a product, run against a server of it:
--
--   require("examples").run("vault", { VAULT_ADDR = ..., VAULT_TOKEN = ... }, 2)   -- at least two
local convergence = require "convergence"
local servers = require "server"
local tap = require "tap"

local M = {}

function M.run(module, env, least)
  local ran = 0
  for _, entry in ipairs(json.decode(servers.moonbook { "api", module, "--json" }.stdout)) do
    if entry.kind == "function" and entry.name ~= module then
      tap.ok(entry.example, entry.name .. " has no example")
      local run = convergence.run(entry.example, env)
      tap.equal(run.code, 0, entry.name .. ": " .. run.said)
      ran = ran + 1
    end
  end
  tap.ok(ran >= least, ran .. " examples")
end

return M
