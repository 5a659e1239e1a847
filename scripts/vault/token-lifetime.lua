-- How long Vault's tokens may live. Nomad's servers and agents hold tokens that end after a month by default, and the
-- cluster with them; with a lifetime of 100 years they hold until they are revoked.

local access = require "access"

-- Both tune the token method. The first takes sudo beside read and update.
local PATHS = { "sys/auth/token/tune", "sys/mounts/auth/token/tune" }

local LONGEST = 9223372036 -- seconds: where Go's durations end
local YEAR = 31557600

local function validate(p)
  if p.lifetime ~= math.floor(p.lifetime) or p.lifetime < 1 or p.lifetime > LONGEST then
    error { message = ("lifetime: %s is not for Vault"):format(duration.format(p.lifetime)),
            hint = "give whole seconds, from 1 to " .. LONGEST .. " (292 years), such as 768h or 36525d" }
  end
end

local function may_use(path, capabilities)
  local may = {}
  for _, name in ipairs(capabilities or {}) do may[name] = true end
  return may.root or (may.read and may.update and (path ~= PATHS[1] or may.sudo))
end

-- Whether it can be read tells, where Vault does not say what the token may do.
local function is_readable(path)
  local read, answer = pcall(vault.read, path)
  if not read and answer.kind ~= "permission" then error(answer, 0) end
  return read
end

-- The path that the token of this run may use.
local function choose_path()
  local told, answer = pcall(vault.sys.read_self_capabilities, { paths = PATHS })
  if not told and answer.kind ~= "permission" then error(answer, 0) end
  for _, path in ipairs(PATHS) do
    if told and may_use(path, answer.data[path]) or not told and is_readable(path) then return path end
  end
  error { message = "the token of this run may not tune the token method",
          hint = ("it needs read and update on %s, or these and sudo on %s"):format(PATHS[2], PATHS[1]) }
end

local function years(seconds)
  if seconds < YEAR then return duration.format(seconds) end
  return ("%.4g years"):format(seconds / YEAR)
end

return {
  about = "how long Vault's tokens live unless they are revoked",
  needs = { vault = ">= 1.0" },
  params = {
    { "lifetime", "duration", default = "36525d", about = "default and longest lifetime; default: 100 years" },
  },
  validate = validate,
  run = function(p)
    local path, result
    step("access", function()
      access.check()
      path = choose_path()
    end)
    step("lifetime of tokens", function()
      -- Both at once: the default may not be above the longest. It is read again by present.
      result = vault.present(path, { default_lease_ttl = p.lifetime, max_lease_ttl = p.lifetime })
    end)
    if result.changed then
      warn(("tokens that are made or renewed from now on live for %s unless they are revoked: one that leaks stays good"
        .. " until then (vault/revoke-token)"):format(years(p.lifetime)))
    end
  end,
}
