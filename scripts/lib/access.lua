-- Whether Vault lets the token of a run do anything at all.

local access = {}

-- What Vault knows of the token of this run. Asked first, so that what follows need not be told from it.
function access.check()
  local asked, answer = pcall(vault.auth.token.lookup_self)
  if asked then return answer.data end
  if answer.kind == "permission" then
    answer.hint = "this Vault does not know the token of this run (revoked, expired, of another Vault?), or it may do nothing"
  end
  error(answer, 0)
end

return access
