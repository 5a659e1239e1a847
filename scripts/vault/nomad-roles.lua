-- The token roles by which Vault gives Nomad its tokens: nomad-server, from which the token of Nomad's servers is made, and
-- nomad, from which these make a token for each task that asks for secrets. What the roles have beside that stays.

local access = require "access"

local LONGEST = 9223372036 -- seconds: where Go's durations end

local function validate(p)
  if p.period ~= math.floor(p.period) or p.period < 1 or p.period > LONGEST then
    error { message = ("period: %s is not for a role"):format(duration.format(p.period)),
            hint = "give whole seconds, at least one: Nomad wants a role whose tokens can be renewed for ever" }
  end
  for name, list in pairs { policies = p.policies, server_policies = p.server_policies } do
    if #list == 0 then
      error { message = name .. ": none at all means, for Vault, whatever the maker of a token has",
              hint = "name one, such as default" }
    end
  end
end

-- A policy that does not exist is no error for Vault: tokens just lack it, and tasks fail later.
local function check_policies(p)
  local listed, answer = pcall(vault.sys.list_acl_policies)
  if not listed then
    if answer.kind ~= "permission" then error(answer, 0) end
    warn "the token of this run may not list policies: nobody has looked whether those that the roles name exist"
    return
  end
  local exists, missing = {}, {}
  for _, name in ipairs(answer.data.keys) do exists[name] = true end
  for _, list in ipairs { p.policies, p.server_policies } do
    for _, name in ipairs(list) do
      if not exists[name:lower()] and not missing[name] then
        missing[name] = true
        missing[#missing + 1] = name
      end
    end
  end
  if #missing > 0 then
    warn(("Vault has no policy %s: a mistake? Tokens get nothing from it until it is written (vault policy write)")
      :format(table.concat(missing, ", ")))
  end
end

return {
  about = "Vault's token roles nomad-server and nomad, by which Nomad and its tasks get their tokens",
  needs = { vault = ">= 1.2" }, -- before, token_period was called period
  params = {
    { "policies", "list(string)", default = { "default", "nomad" }, about = "what the token of a task may have" },
    { "server_policies", "list(string)", default = { "default", "nomad", "nomad-server" },
      about = "what the token of Nomad's servers may have" },
    { "period", "duration", default = "1d", about = "how long the token of a task lives unless it is renewed" },
  },
  validate = validate,
  run = function(p)
    step("access", function()
      access.check()
      check_policies(p)
    end)
    step("role nomad-server", function()
      vault.present("auth/token/roles/nomad-server", { allowed_policies = p.server_policies, orphan = true })
    end)
    step("role nomad", function()
      vault.present("auth/token/roles/nomad", { allowed_policies = p.policies, orphan = true, token_period = p.period })
    end)
  end,
}
