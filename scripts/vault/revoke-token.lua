-- Revokes a token of Vault, given by itself (from where it is kept, never on the command line) or by its accessor. Shows
-- first whose it is, asks, and looks afterwards that it is gone. What is gone already is left at that.

local access = require "access"

local tokens = vault.auth.token

-- Children are looked for among so many tokens at most: each is a question to the server.
local MOST_TOKENS = 500

local function validate(p)
  if p.token and p.accessor then
    error { message = "token and accessor are both given", hint = "leave one out: both would have to name the same token" }
  end
  if not p.token and (p.accessor or "") == "" then
    error { message = "which token?", hint = "give --set token=prompt (or pass:NAME, file:PATH, -), or --set accessor=..." }
  end
  for _, prefix in ipairs { "s%.", "b%.", "hv[sb]%." } do
    if p.accessor and p.accessor:find("^" .. prefix) then
      error { message = "accessor: what was given looks like a token, which others can see on a command line",
              hint = "give --set token=prompt, or the accessor, which is no secret" }
    end
  end
  if p.orphan and p.accessor then
    error { message = "orphan: by its accessor Vault revokes a token only together with its children",
            hint = "give the token itself, --set token=prompt, or leave orphan out" }
  end
end

-- The words in which the servers say that there is no such token, whatever status comes with them. A caller without
-- permission hears "permission denied" instead.
local function says_unknown(problem)
  local text = tostring(problem.message)
  return text:find("bad token", 1, true) or text:find("invalid accessor", 1, true)
end

-- What Vault knows of it; nil where it knows no such token.
local function find(p)
  local asked, answer
  if p.token then
    asked, answer = pcall(tokens.lookup_token, { token = p.token })
  else
    asked, answer = pcall(tokens.lookup_token_by_accessor, { accessor = p.accessor })
  end
  if asked then return answer and answer.data end
  if says_unknown(answer) then return nil end
  error(answer, 0)
end

-- How many tokens could be its children. Vault keeps to itself which token is whose child: it says of each only whether
-- it has a parent at all. So this is a bound, but none is none (batch tokens aside, which have no accessor).
local function count_children(token)
  local listed, answer = pcall(tokens.list_token_accessors)
  if not listed then return "not known: to list tokens takes sudo on auth/token/accessors" end
  local accessors = answer.data.keys
  if #accessors > MOST_TOKENS then return ("not counted: there are %d tokens"):format(#accessors) end
  local possible = 0
  parallel(accessors, function(accessor)
    local found, other = pcall(tokens.lookup_token_by_accessor, { accessor = accessor })
    if not found then -- it may have ended since
      if says_unknown(other) then return end
      error(other, 0)
    end
    other = other.data
    if not other.orphan and accessor ~= token.accessor and other.creation_time >= token.creation_time then
      possible = possible + 1
    end
  end, { limit = 16 })
  if possible == 0 then return "none" end
  return ("at most %d: so many of %d tokens have a parent and are younger (Vault does not tell whose they are)")
    :format(possible, #accessors)
end

local function join(map)
  local parts = {}
  for name, value in pairs(type(map) == "table" and map or {}) do parts[#parts + 1] = name .. "=" .. tostring(value) end
  table.sort(parts)
  return table.concat(parts, " ")
end

local function lifetime(token)
  if token.ttl == 0 then return "until it is revoked" end
  local text = "another " .. duration.format(token.ttl)
  if (token.period or 0) > 0 then text = text .. ", and " .. duration.format(token.period) .. " at each renewal" end
  return text
end

local function show(token, children)
  columns {
    { "accessor", token.accessor },
    { "name", token.display_name },
    { "policies", table.concat(token.policies or {}, ", ") },
    { "made", duration.format(math.max(1, os.time() - token.creation_time)) .. " ago by " .. token.path },
    { "lives", lifetime(token) },
    { "metadata", join(token.meta) },
    { "children", children },
  }
end

local function check_revocable(p, token, own)
  if token.type == "batch" then
    error { message = "it is a batch token, which Vault cannot revoke",
            hint = "it ends in " .. duration.format(token.ttl) .. " by itself, and with its parent if that is revoked" }
  end
  if own and own.accessor == token.accessor and not p.own then
    error { message = "it is the token that this run itself uses",
            hint = "use another one for the call, or say --set own=true: nothing can be done with it any more then" }
  end
end

-- What Vault answers: true. Where nothing was sent (--check, --step) it is something else.
local function revoke(p)
  if p.orphan then return tokens.revoke_token_orphan_children { token = p.token } end
  if p.token then return tokens.revoke_token { token = p.token } end
  return tokens.revoke_token_by_accessor { accessor = p.accessor }
end

-- Is it gone? With it the token of this run may be, as its child: then nobody is left to ask.
local function prove(p)
  wait { function()
    local asked, found = pcall(find, p)
    if asked then return not found end
    if pcall(access.check) then error(found, 0) end
    warn "the token of this run is gone with it: Vault cannot be asked any more"
    return true
  end, timeout = "10s", every = "200ms", what = "the token to be gone" }
end

return {
  about = "revoke a token of Vault, after showing whose it is",
  needs = { vault = ">= 1.0" },
  params = {
    { "token", "secret", about = "the token, by where it is: prompt, pass:NAME, file:PATH, - (standard input)" },
    { "accessor", "string", about = "or its accessor" },
    { "orphan", "boolean", default = false, about = "leave its children alive, as orphans; with token only" },
    { "own", "boolean", default = false, about = "also if it is the token that this run itself uses" },
  },
  validate = validate,
  run = function(p)
    local token
    step("look up", function()
      local known, own = pcall(access.check)
      if not known and own.kind ~= "permission" then error(own, 0) end
      local asked, found = pcall(find, p)
      -- Whose own token is not known hears the same of every other.
      if not known and not (asked and found) then error(own, 0) end
      if not asked then error(found, 0) end
      if not found then
        log "Vault knows no such token: it was revoked or has expired, or was never one of this Vault; nothing to do"
        return
      end
      show(found, p.orphan and "stay alive, as orphans" or count_children(found))
      check_revocable(p, found, known and own)
      token = found
    end)
    if not token then return end
    warn("a revoked token cannot be brought back, nor what was leased with it" ..
      (p.orphan and "" or "; its children go too"))
    if not confirm(("revoke the token %s of %s?"):format(token.accessor, token.display_name)) then
      log "not revoked"
      return
    end
    step("revoke " .. token.accessor, function()
      if revoke(p) == true then prove(p) end
    end)
  end,
}
