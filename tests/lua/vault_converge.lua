-- vault.present and vault.absent against a Vault: a stand-in held to the recordings, or a real one on PATH.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local convergence = require "convergence"
local examples = require "examples"
local vaults = require "vault_server"

local server <close> = vaults.start()
local v = server:client()
local env = { VAULT_ADDR = server.url, VAULT_TOKEN = server.token }

local function prove(chunk, count) return convergence.prove(chunk, env, count) end

tap.test("a role: durations in any form, lists in any order, the rest left alone", function()
  local changes = prove([[vault.present("auth/token/roles/nomad",
    { allowed_policies = { "nomad", "default" }, orphan = true, token_period = "1d" })]], 1)
  tap.equal(v.read "auth/token/roles/nomad".data.token_period, 86400)
  tap.equal({ changes[1].before, changes[1].after.token_period, changes[1].undo }, { json.null, 86400, true })
  for _, same in ipairs { '{ token_period = "24h" }', "{ token_period = 86400 }", '{ token_period = "86400s" }',
    '{ allowed_policies = { "default", "nomad" } }', '{ allowed_policies = "default,nomad" }', "{ orphan = true }",
    '{ orphan = "true" }', "{}" } do
    local run = convergence.run('vault.present("auth/token/roles/nomad", ' .. same .. ")", env)
    tap.equal({ run.code, #run.changes, run.unchanged }, { 0, 0, 1 }, same .. run.said)
  end
  changes = prove([[vault.present("auth/token/roles/nomad", { token_period = "2d" })]], 1)
  tap.equal(changes[1].diff, "-token_period: 86400 (1 d)\n+token_period: 172800 (2 d)\n")
  tap.equal({ changes[1].before, changes[1].after }, { { token_period = 86400 }, { token_period = 172800 } })
  local role = v.read "auth/token/roles/nomad".data
  tap.equal({ role.orphan, role.allowed_policies }, { true, json.array { "default", "nomad" } })
  prove([[vault.present("auth/token/roles/nomad", { allowed_policies = {}, token_period = json.null })]], 1)
  tap.equal(v.read "auth/token/roles/nomad".data.token_period, 0)
  prove([[vault.absent("auth/token/roles/nomad")]], 1)
  tap.equal(v.read "auth/token/roles/nomad", nil)
end)

tap.test("the default life of tokens, 100 years of it; policies as text", function()
  prove([[
    vault.present("sys/auth/token/tune", { default_lease_ttl = 3155760000, max_lease_ttl = "36525d" })
    vault.present("sys/policies/acl/web", { policy = 'path "secret/*" {\n  capabilities = ["read"]\n}\n' })]], 2)
  tap.equal(v.read "sys/auth/token/tune".data.max_lease_ttl, 3155760000)
  local changes = prove([[
    vault.present("sys/policies/acl/web", { policy = 'path "kv/*" {\n  capabilities = ["read"]\n}\n' })]], 1)
  tap.match(changes[1].diff, '%-path "secret/%*" {\n%+path "kv/%*" {\n')
end)

tap.test("versioned secrets: compared without being shown, written with compare-and-set, undone by version", function()
  local first = [[vault.present("secret/data/ci", { data = { user = "ci", password = "correct-horse-battery" } })]]
  local _, run = prove(first, 1)
  tap.ok(not run.said:find "correct%-horse", run.said)
  tap.equal(v.kv_v2.read_secret "ci".data.metadata.version, 1)
  local changes
  changes, run = prove([[vault.present("secret/data/ci", { data = { password = "battery-staple" } })]], 1)
  tap.ok(not run.said:find "staple" and not run.said:find "horse", run.said)
  tap.equal(changes[1].diff, "-password: <secret>\n+password: <secret>\n")
  tap.equal(changes[1].undo, true)
  local secret = v.kv_v2.read_secret "ci".data
  tap.equal({ secret.metadata.version, tostring(secret.data.user) }, { 2, "<secret>" })
  tap.equal(#prove([[vault.absent("secret/data/ci")]], 1), 1)
  tap.equal(v.kv_v2.read_secret "ci".data.data, json.null)
  prove([[vault.present("secret/data/ci", { data = { user = "ci", port = 5432 } })]], 1) -- after a deleted version
  tap.equal(v.kv_v2.read_secret "ci".data.metadata.version, 3)
end)

tap.test("unversioned secrets keep what is not named, whatever is in them", function()
  prove([[
    vault.present("sys/mounts/kv1", { type = "kv", options = { version = "1" }, description = "ours" })
    vault.present("kv1/a", { user = "u", period = "60s", list = { "b", "a" } })]], 2)
  prove([[vault.present("kv1/a", { user = "v" })]], 1)
  local secret = v.read "kv1/a".data
  local copy = http.get(server.url .. "/v1/kv1/a", { headers = { ["X-Vault-Token"] = server.token } }).json.data
  tap.equal(copy, { user = "v", period = "60s", list = json.array { "b", "a" } })
  tap.equal(tostring(secret.period), "<secret>")
  prove([[vault.present("kv1/a", { list = { "a", "b" }, period = json.null })]], 1) -- order is part of a secret
  prove([[vault.absent("kv1/a")]], 1)
end)

tap.test("engines and auth methods: made, tuned, and not made over", function()
  local changes = prove([[
    vault.present("sys/mounts/extra", { type = "kv", config = { max_lease_ttl = "1d" } })
    vault.present("sys/auth/people", { type = "userpass", description = "people" })]], 2)
  tap.equal(changes[1].undo, true)
  prove([[
    vault.present("sys/mounts/extra", { type = "kv", description = "more", config = { max_lease_ttl = "48h" } })
    vault.present("sys/auth/people", { config = { default_lease_ttl = 3600 } })]], 2)
  tap.equal(v.sys.list_mounts().data["extra/"].config.max_lease_ttl, 172800)
  local err = tap.raises("usage", v.present, "sys/mounts/extra", { type = "transit" })
  tap.match(err, "the type of a mount cannot be changed")
  prove([[vault.absent("sys/mounts/extra")]], 1)
end)

tap.test("an engine that would only be tuned is looked into by the same check", function()
  prove([[vault.present("secret/data/tuned", { data = { a = "of-the-tuned" } })]], 1)
  local changes = prove([[
    vault.present("sys/mounts/secret", { description = "tuned" })
    vault.present("secret/data/tuned", { data = { a = "of-the-tuned" } })]], 1)
  tap.equal(changes[1].target, "sys/mounts/secret")
  prove([[
    vault.present("sys/mounts/fresh", { type = "kv", options = { version = "2" } })
    vault.present("fresh/data/x", { data = { a = "of-the-fresh" } })]], 2)
  changes = prove([[vault.absent("sys/mounts/fresh")]], 1)
  tap.equal(changes[1].undo, false, "what was in it is gone")
  prove([[vault.present("sys/mounts/secret", { description = "key/value secret storage" })]], 1)
end)

tap.test("names of policies are kept in lower case, however they are written", function()
  prove([[vault.present("auth/token/roles/lower", { allowed_policies = { "Web", "ops" }, disallowed_policies = "Root" })]], 1)
  tap.equal(v.read "auth/token/roles/lower".data.allowed_policies, json.array { "ops", "web" })
end)

tap.test("what cannot be read back is sent when the thing is made, and only then", function()
  local err = tap.raises("usage", v.present, "auth/people/users/bob", { password = "a-long-word", token_ttl = "1h" })
  tap.match(err, "password cannot be read back")
  tap.match(err, "create = {...}")
  local _, run = prove([[vault.present("auth/people/users/bob", { token_ttl = "1h", token_policies = { "web" } },
    { create = { password = "a-long-word" } })]], 1)
  tap.ok(not run.said:find "a%-long%-word", run.said)
  tap.equal(v.read "auth/people/users/bob".data.token_ttl, 3600)
  tap.ok(v.auth.userpass.login("bob", { password = "a-long-word", mount = "people" }).auth)
end)

tap.test("wrong data is refused before anything is written", function()
  local function refused(message, hint, ...)
    local text = tap.raises("usage", v.present, ...)
    tap.match(text, message)
    if hint then tap.match(text, hint) end
  end
  refused('Vault knows no field "orphn" there', "did you mean orphan", "auth/token/roles/x", { orphn = true })
  refused('token_period: "tomorrow" is no duration', "7d", "auth/token/roles/x", { token_period = "tomorrow" })
  refused('token_period: "tomorrow" is no duration', "7d", "auth/token/roles/lower", { token_period = "tomorrow" })
  refused('token_period: "1500ms" is no duration of whole seconds', nil, "auth/token/roles/x", { token_period = "1500ms" })
  refused("secret/ is a KV engine of version 2", "secret/data/ci", "secret/ci", { a = 1 })
  refused("fields are below data", "{data = {...}}", "secret/data/ci", { a = 1 })
  refused("it is no path of a thing", nil, "secret/", {})
  refused("the path is empty", nil, "", {})
  refused("the path is a text, not nil", nil)
  refused("the data are a table, not number", nil, "sys/policies/acl/x", 7)
  refused("there is no option", "create", "sys/policies/acl/x", {}, { creat = {} })
  refused("cannot be read", "vault.write", "auth/token/create", {})
  tap.match(tap.raises("http", v.present, "nowhere/x", { a = 1 }), "nothing is mounted there")
  tap.equal(v.read "auth/token/roles/x", nil)
end)

tap.test("credentials are never made by looking", function()
  local run = convergence.run([[vault.present("database/creds/ci", {})]], env)
  tap.equal({ run.code, #run.changes }, { 1, 0 })
  tap.match(run.said, "reading there makes something new each time")
end)

tap.test("the examples of the module run", function() examples.run("vault", env, 2) end)

tap.test("without the right to it, and on a sealed server", function()
  v.sys.put_acl_policy("reader", { policy = 'path "sys/policies/acl/*" { capabilities = ["read"] }' })
  local token = v.auth.token.create_token { policies = { "reader" } }.auth.client_token
  local reader = server:client(token)
  tap.match(tap.raises("permission", reader.present, "sys/policies/acl/web", { policy = "" }), "403")
  tap.equal(reader.present("sys/policies/acl/reader", {}).changed, false)
  v.sys.seal()
  tap.match(tap.raises("http", v.present, "sys/policies/acl/web", { policy = "" }), "unseal it")
end)

tap.finish()
