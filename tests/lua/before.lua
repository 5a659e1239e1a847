-- Before a write the present state is read, where the API has a read of the same path: for the journal, --diff and the
-- way back. Never what is secret, and never what makes something.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local convergence = require "convergence"
local servers = require "server"
local vaults = require "vault_server"

local server <close> = vaults.start()
local plain <close> = servers.start()
local env = { VAULT_ADDR = server.url, VAULT_TOKEN = server.token, CONSUL_HTTP_ADDR = plain.url, NOMAD_ADDR = plain.url }

-- Runs the chunk; its changes with what the journal says of their undo.
local function changes(chunk, ...)
  local run = convergence.run(chunk, env, ...)
  tap.equal(run.code, 0, run.said)
  local id = run.said:match '"run":"([^"]+)"'
  local journal = env.XDG_STATE_HOME .. "/moonbook/runs/" .. id .. "/journal.jsonl"
  for line in (file.stat(journal) and file.read(journal) or ""):gmatch "[^\n]+" do
    local entry = json.decode(line)
    if entry.event == "change.start" then run.changes[entry.number].way_back = entry.undo end
  end
  return run.changes, run
end

tap.test("an update: the fields that differ, and the whole call that goes back", function()
  local made = changes [[
    vault.sys.put_acl_policy("web", { policy = "path \"a\" {}" })
    vault.sys.put_acl_policy("web", { policy = "path \"b\" {}" })
    vault.auth.token.put_token_role("r", { orphan = true, token_period = 60 })
    vault.auth.token.put_token_role("r", { token_period = 90, allowed_policies = { "x" } })]]
  tap.equal({ made[1].before, made[1].diff }, { json.null, json.null })
  tap.equal({ made[1].way_back["function"], made[1].way_back.arguments },
    { "vault.sys.delete_acl_policy", json.array { "web" } })
  tap.equal({ made[2].before, made[2].diff },
    { { policy = 'path "a" {}' }, '-policy: "path \\"a\\" {}"\n+policy: "path \\"b\\" {}"\n' })
  tap.equal(made[2].way_back.arguments, json.array { "web", { policy = 'path "a" {}' } })
  tap.equal(made[4].before, { token_period = 60, allowed_policies = json.array {} })
  local back = made[4].way_back
  tap.equal({ back.op, back.addr, back["function"], back.arguments[1], back.arguments[2].token_period,
    back.arguments[2].orphan }, { "call", server.url, "vault.auth.token.put_token_role", "r", 60, true })
  vault { addr = server.url, token = server.token }.auth.token.put_token_role("r", back.arguments[2])
  local role = vault { addr = server.url, token = server.token }.read "auth/token/roles/r".data
  tap.equal({ role.token_period, role.orphan, #role.allowed_policies }, { 60, true, 0 })
end)

tap.test("what is removed is on the record, and comes back where a write of the path makes it anew", function()
  local made = changes [[
    vault.sys.delete_acl_policy("web")
    vault.sys.delete_acl_policy("web")]]
  tap.equal({ made[1].before.policy, made[1].way_back["function"] }, { 'path "b" {}', "vault.sys.put_acl_policy" })
  tap.equal({ made[2].before, made[2].way_back }, { json.null, json.null })
end)

tap.test("versioned secrets go back by version; no value is written down", function()
  local made, run = changes [[
    vault.kv_v2.write_secret("ci", { data = { word = "first-of-its-kind" } })
    vault.kv_v2.write_secret("ci", { data = { word = "second-to-none" } })
    vault.write("secret/data/ci", { data = { word = "third-time-lucky" } })
    vault.delete("secret/data/ci")]]
  tap.equal(made[1].before, json.null)
  tap.equal(made[2].before.data, { word = "<secret>" })
  tap.equal({ made[2].way_back.op, made[2].way_back.name, made[2].way_back.version },
    { "vault.rollback", "secret/data/ci", 1 })
  tap.equal({ made[3].way_back.op, made[3].way_back.version }, { "vault.rollback", 2 })
  tap.equal({ made[4].way_back.op, made[4].way_back.version }, { "vault.undelete", 3 })
  for _, word in ipairs { "first%-of", "second%-to", "third%-time" } do
    tap.ok(not run.said:find(word), run.said)
    tap.equal(host.run { "grep", "-rlE", word:gsub("%%", ""), env.XDG_STATE_HOME, reads = true, ok = { 0, 1 } }.stdout, "")
  end
end)

tap.test("other secrets cannot be undone, and a password that is never given back stays out", function()
  local made, run = changes [[
    vault.sys.enable_mount("kv1", { type = "kv", options = { version = "1" } })
    vault.write("kv1/a", { word = "of-an-old-engine" })
    vault.write("kv1/a", { word = "of-the-old-engine" })
    vault.sys.enable_auth_method("userpass", { type = "userpass" })
    vault.auth.userpass.put_user("bob", { password = "never-told-again", token_ttl = 60 })
    vault.auth.userpass.put_user("bob", { password = "nor-this-one-here", token_ttl = 90 })]]
  tap.equal({ made[3].before, made[3].way_back, made[3].diff }, { { word = "<secret>" }, json.null, json.null })
  tap.equal({ made[6].before, made[6].diff }, { { token_ttl = 60 }, "-token_ttl: 60\n+token_ttl: 90\n" })
  tap.equal(made[6].way_back, json.null) -- nobody can give the old password back
  for _, word in ipairs { "%-engine", "never%-told", "nor%-this" } do tap.ok(not run.said:find(word), run.said) end
end)

tap.test("what creates is not read: credentials, lists, what has no read", function()
  changes [[
    pcall(vault { addr = os.getenv "NOMAD_ADDR" }.auth.token.create_token, { policies = { "default" } })
    pcall(vault { addr = os.getenv "NOMAD_ADDR" }.database.generate_credentials, "ci")
    pcall(nomad.jobs.register_job, { Job = { ID = "x" } })]]
  local asked = {}
  for _, request in ipairs(plain:seen().requests) do asked[#asked + 1] = request.method .. " " .. request.path end
  tap.equal(asked, { "POST /v1/auth/token/create", "GET /v1/database/creds/ci", "POST /v1/jobs" })
end)

tap.test("keys of Consul go back to their value and flags; under --check it is read all the same", function()
  http.put(plain.url .. "/v1/kv/k", { body = "one" })
  local made = changes('consul.kv.put_key("k", { body = "two" })', "--check")
  tap.equal({ made[1].status, made[1].before.Value }, { "predicted", "b25l" })
  made = changes 'consul.kv.put_key("k", { body = "two" }) consul.kv.delete_key("k") consul.kv.delete_key("k")'
  tap.equal({ made[1].way_back.op, made[1].way_back.kind, made[1].way_back.name, made[1].way_back.data.Value },
    { "consul.present", "kv", "k", "one" })
  tap.equal(made[2].way_back.data.Value, "two")
  tap.equal(made[3].way_back.op, "consul.absent")
end)

tap.test("a state that cannot be read stops nothing; a server that cannot be reached is said once", function()
  local v = vault { addr = server.url, token = server.token }
  v.sys.put_acl_policy("writer", { policy = 'path "sys/policies/acl/w*" { capabilities = ["update"] }' })
  local token = v.auth.token.create_token { policies = { "writer" } }.auth.client_token
  vault { addr = server.url, token = token }.sys.put_acl_policy("writer", { policy = "# none" })
  tap.equal(v.sys.read_acl_policy "writer".data.policy, "# none")
  env.VAULT_ADDR = "http://127.0.0.1:1"
  local run = convergence.run('vault.sys.put_acl_policy("x", { policy = "x", retries = 0 })', env)
  env.VAULT_ADDR = server.url
  tap.equal({ run.code, #run.changes }, { 1, 0 }, run.said) -- no change was begun
  tap.match(run.said, "cannot connect to 127.0.0.1:1")
end)

tap.finish()
