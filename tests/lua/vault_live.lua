-- The vault module against a server that answers, keeps and refuses as Vault does: a real one where there is one on
-- PATH, else the stand-in (tests/standin/vault). Run from the repository.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"
local vaults = require "vault_server"
local server <close> = vaults.start()
local v = server:client()

local function is_secret(value) return tostring(value) == "<secret>" end

-- Runs a chunk by the program itself, with the options given, and gives all that it said.
local function ask(env, chunk, ...)
  env.PATH, env.HOME, env.VAULT_ADDR = os.getenv "PATH", env.HOME or "/nonexistent", server.url
  env.XDG_STATE_HOME = os.getenv "XDG_STATE_HOME"
  local words = { ... }
  table.move({ "-e", chunk }, 1, 2, #words + 1, words)
  words.env = env
  local run = servers.moonbook(words)
  return run.stdout .. run.stderr
end

-- A token of its own for whoever may do what the rules say, with the client that has it.
local function person(name, rules)
  v.sys.put_acl_policy(name, { policy = rules })
  local auth = v.auth.token.create_token { policies = { name }, ttl = "1h", display_name = name }.auth
  return server:client(auth.client_token), auth
end

tap.test("any path: written, read, listed, deleted; what is not there is nil", function()
  tap.equal(v.read "secret/data/first", nil)
  local value, meta = v.list "secret/metadata"
  tap.equal({ value, meta.status }, { nil, 404 })
  v.write("secret/data/first", { data = { user = "ci", port = 5432, deep = { list = { 1, "two" } } } })
  local secret = v.read "secret/data/first"
  tap.ok(is_secret(secret.data.data.user) and is_secret(secret.data.data.deep.list[2]))
  tap.equal(v.read("secret/metadata/first").data.cas_required, false)
  tap.equal(v.list("secret/metadata").data.keys, { "first" })
  tap.equal(v.list("secret/metadata/").data.keys, { "first" })
  v.delete "secret/metadata/first"
  tap.equal(v.read "secret/metadata/first", nil)
  tap.match(tap.raises("http", v.read, "no/such/path"), "no handler for route 'no/such/path'.*nothing is mounted there")
  tap.match(tap.raises("http", v.write, "secret/data/", { data = {} }), "cannot write to a path ending in '/'")
end)

tap.test("names with slashes, spaces and letters of other scripts are one key each", function()
  for _, name in ipairs { "a/b c", "ключ/ü", "100%+&?#" } do
    v.kv_v2.write_secret(name, { data = { name = name } })
    tap.equal(v.kv_v2.read_metadata(name).data.current_version, 1, name)
  end
  local listed = v.kv_v2.list_secrets("").data.keys
  tap.equal({ listed[1], listed[2], listed[3] }, { "100%+&?#", "a/", "ключ/" })
  for _, name in ipairs { "a/b c", "ключ/ü", "100%+&?#" } do v.kv_v2.delete_metadata(name) end
end)

tap.test("KV version 2: versions, check-and-set, deleted, undeleted, destroyed", function()
  v.kv_v2.write_secret("db", { data = { password = "one" }, options = { cas = 0 } })
  v.kv_v2.write_secret("db", { data = { password = "two" }, options = { cas = 1 } })
  tap.match(tap.raises("http", v.kv_v2.write_secret, "db", { data = {}, options = { cas = 1 } }),
    "check%-and%-set parameter did not match.*read the secret again")
  tap.equal(v.kv_v2.read_secret("db").data.metadata.version, 2)
  tap.equal(v.kv_v2.read_secret("db", { version = 1 }).data.metadata.version, 1)
  tap.equal(v.kv_v2.read_secret("db", { version = 9 }), nil)
  v.kv_v2.delete_secret "db"
  local gone, meta = v.kv_v2.read_secret "db"
  tap.equal({ gone.data.data, gone.data.metadata.version, meta.status }, { json.null, 2, 404 })
  v.kv_v2.undelete_versions("db", { versions = { 2 } })
  tap.ok(is_secret(v.kv_v2.read_secret("db").data.data.password))
  v.kv_v2.destroy_versions("db", { versions = { 1 } })
  tap.equal(v.kv_v2.read_secret("db", { version = 1 }).data.metadata.destroyed, true)
  v.kv_v2.delete_versions("db", { versions = { 2 } })
  tap.ok(v.kv_v2.read_metadata("db").data.versions["2"].deletion_time ~= "")
  v.kv_v2.put_metadata("db", { max_versions = 5, cas_required = true, delete_version_after = "1h" })
  local about = v.kv_v2.read_metadata("db").data
  tap.equal({ about.max_versions, about.cas_required, about.delete_version_after }, { 5, true, "1h0m0s" })
  v.kv_v2.configure { max_versions = 3 }
  tap.equal(v.kv_v2.read_config().data.max_versions, 3)
end)

tap.test("KV version 1, where it is mounted; integers keep all their digits", function()
  v.sys.enable_mount("plain", { type = "kv", options = { version = "1" } })
  v.kv_v1.write_secret("a/b", { count = 1600000000000000001, word = "x" }, { mount = "plain" })
  local read = v.kv_v1.read_secret("a/b", { mount = "plain" })
  tap.ok(is_secret(read.data.count) and is_secret(read.data.word))
  v.kv_v1.write_secret("copy", read.data, { mount = "plain" })
  local raw = http.get(server.url .. "/v1/plain/copy", { headers = { ["X-Vault-Token"] = server.token } })
  tap.match(raw.body, '"word":"x"')
  tap.match(raw.body, '"count":"?1600000000000000001')
  tap.equal(v.kv_v1.list_secrets("", { mount = "plain" }).data.keys, { "a/", "copy" })
  v.kv_v1.delete_secret("a/b", { mount = "plain" })
  tap.equal(v.kv_v1.read_secret("a/b", { mount = "plain" }), nil)
  v.sys.disable_mount "plain"
  tap.raises("http", v.kv_v1.read_secret, "copy", { mount = "plain" })
end)

tap.test("tokens: created, looked up, renewed, revoked with their children, once and again", function()
  local auth = v.auth.token.create_token { policies = { "root" }, ttl = "1h", display_name = "parent" }.auth
  tap.ok(is_secret(auth.client_token) and not is_secret(auth.accessor))
  local parent = server:client(auth.client_token)
  local child = parent.auth.token.create_token({ policies = { "default" }, ttl = "10m" }).auth
  local orphan = parent.auth.token.create_orphan_token({ policies = { "default" }, ttl = "10m" }).auth
  local about = v.auth.token.lookup_token({ token = child.client_token }).data
  tap.equal({ about.orphan, about.policies, about.creation_ttl }, { false, { "default" }, 600 })
  tap.ok(is_secret(about.id))
  tap.equal(v.auth.token.lookup_token_by_accessor({ accessor = orphan.accessor }).data.orphan, true)
  tap.equal(server:client(child.client_token).auth.token.renew_self({ increment = "20m" }).auth.lease_duration, 1200)
  v.auth.token.revoke_token { token = auth.client_token }
  v.auth.token.revoke_token { token = auth.client_token } -- gone is what was asked for
  tap.match(tap.raises("permission", parent.auth.token.lookup_self), "permission denied")
  tap.match(tap.raises("http", v.auth.token.lookup_token_by_accessor, { accessor = child.accessor }), "invalid accessor")
  v.auth.token.revoke_token_by_accessor { accessor = orphan.accessor }
  tap.match(tap.raises("http", v.auth.token.revoke_token_by_accessor, { accessor = orphan.accessor }),
    "invalid accessor.*no token has this accessor any more")
  tap.match(tap.raises("permission", v.auth.token.lookup_token, { token = child.client_token }),
    "bad token.*was revoked or has expired")
end)

tap.test("the children of a token that is revoked as an orphan's parent live on", function()
  local auth = v.auth.token.create_token { policies = { "root" }, ttl = "1h" }.auth
  local child = server:client(auth.client_token).auth.token.create_token({ policies = { "default" }, ttl = "1h" }).auth
  v.auth.token.revoke_token_orphan_children { token = auth.client_token }
  tap.equal(v.auth.token.lookup_token_by_accessor({ accessor = child.accessor }).data.orphan, true)
  tap.match(tap.raises("http", v.auth.token.revoke_token_orphan_children, { token = auth.client_token }), "not found")
end)

tap.test("roles: what is not named stays, durations come back as seconds, a role that is not there is nil", function()
  tap.equal(v.auth.token.list_token_roles(), nil)
  tap.equal(v.auth.token.read_token_role "nomad", nil)
  v.auth.token.put_token_role("nomad", { allowed_policies = { "default", "nomad" }, orphan = true })
  v.auth.token.put_token_role("nomad", { token_period = "24h" })
  local role = v.auth.token.read_token_role("nomad").data
  tap.equal({ role.token_period, role.orphan, role.allowed_policies }, { 86400, true, { "default", "nomad" } })
  local err = tap.raises("http", v.auth.token.put_token_role, "nomad", { token_period = "1d" })
  tap.match(err, 'parsing "1d"')
  tap.match(err, "durations as seconds only: 86400")
  local auth = v.auth.token.create_token_with_role("nomad", { policies = { "nomad" } }).auth
  tap.equal({ auth.lease_duration, auth.orphan, auth.policies }, { 86400, true, { "default", "nomad" } })
  tap.match(tap.raises("http", v.auth.token.create_token_with_role, "nomad", { policies = { "root" } }),
    "must be subset of the role's allowed policies")
  tap.equal(v.auth.token.list_token_roles().data.keys, { "nomad" })
  v.auth.token.delete_token_role "nomad"
  tap.equal(v.auth.token.read_token_role "nomad", nil)
end)

tap.test("lifetimes: tuned by either path, past 2^31 seconds, sudo only for the one", function()
  local operator = person("tuner", [[
    path "sys/auth/token/tune"       { capabilities = ["read", "update"] }
    path "sys/mounts/auth/token/tune" { capabilities = ["read", "update"] }]])
  local long = { default_lease_ttl = 3155760000, max_lease_ttl = 3155760000 }
  tap.raises("permission", operator.sys.tune_auth_method, "token", long)
  operator.sys.tune_mount("auth/token", long)
  local tuning = v.sys.read_auth_tuning "token"
  tap.equal({ tuning.data.default_lease_ttl, tuning.data.max_lease_ttl }, { 3155760000, 3155760000 })
  tap.equal(v.auth.token.create_token({ policies = { "default" } }).auth.lease_duration, 3155760000)
  v.sys.tune_auth_method("token", { default_lease_ttl = "system", max_lease_ttl = "system" })
  tap.equal(v.sys.read_mount_tuning("auth/token").data.max_lease_ttl, 2764800)
end)

tap.test("refused: who has no token, a wrong one, or no right, is told what to do", function()
  local nobody = server:client ""
  tap.match(tap.raises("http", nobody.auth.token.lookup_self), "missing client token.*no token was set")
  tap.match(tap.raises("permission", server:client("s.wrong").auth.token.lookup_self), "permission denied")
  local reader = person("reader", 'path "secret/data/ci/*" { capabilities = ["read"] }')
  v.kv_v2.write_secret("ci/a", { data = { x = "1" } })
  tap.ok(is_secret(reader.kv_v2.read_secret("ci/a").data.data.x))
  local err = tap.raises("permission", reader.kv_v2.write_secret, "ci/a", { data = { x = "2" } })
  tap.match(err, "403: .*permission denied")
  tap.match(err, 'read_self_capabilities{paths = {"secret/data/ci/a"}}')
  tap.equal(reader.sys.read_self_capabilities({ paths = { "secret/data/ci/a" } }).data.capabilities, { "read" })
  tap.raises("permission", reader.kv_v2.read_secret, "other")
  tap.equal(reader.kv_v2.read_secret("ci/none"), nil)
  tap.match(tap.raises("permission", reader.read, "no/such/path"), "permission denied")
end)

tap.test("policies, methods and their users, identities", function()
  tap.equal(v.sys.read_acl_policy "none", nil)
  v.sys.put_acl_policy("some", { policy = 'path "a/*" { capabilities = ["read"] }' })
  tap.match(v.sys.read_acl_policy("some").data.policy, "a/%*")
  tap.match(tap.raises("http", v.sys.put_acl_policy, "some", { policy = "path {" }), "failed to parse policy: At 1:8")
  v.sys.enable_auth_method("userpass", { type = "userpass" })
  tap.match(tap.raises("http", v.sys.enable_auth_method, "userpass", { type = "userpass" }), "path is already in use")
  v.auth.userpass.put_user("bob", { password = "correct horse", token_policies = { "some" }, token_ttl = "1h" })
  local user = v.auth.userpass.read_user("bob").data
  tap.equal({ user.token_ttl, user.token_policies }, { 3600, { "some" } })
  local auth = server:client("").auth.userpass.login("bob", { password = "correct horse" }).auth
  tap.ok(is_secret(auth.client_token))
  tap.equal(auth.policies, { "default", "some" })
  tap.match(tap.raises("http", server:client("").auth.userpass.login, "bob", { password = "wrong" }),
    "invalid username or password")
  local me = server:client(auth.client_token).auth.token.lookup_self().data
  tap.equal({ me.display_name, me.meta.username }, { "userpass-bob", "bob" })
  tap.equal(v.identity.read_entity(me.entity_id).data.aliases[1].name, "bob")
  tap.equal(v.identity.lookup_entity { name = "nobody" }, nil)
  v.sys.disable_auth_method "userpass"
  tap.raises("permission", server:client(auth.client_token).auth.token.lookup_self)
end)

tap.test("approle: ids and secret ids; what logs in is secret", function()
  v.sys.enable_auth_method("approle", { type = "approle" })
  v.auth.approle.put_role("ci", { token_policies = { "some" }, secret_id_num_uses = 1, token_ttl = 600 })
  local id = v.auth.approle.read_role_id("ci").data.role_id
  local made = v.auth.approle.create_secret_id("ci").data
  tap.ok(is_secret(made.secret_id) and not is_secret(made.secret_id_accessor))
  tap.equal(v.auth.approle.lookup_secret_id("ci", { secret_id = made.secret_id }).data.secret_id_num_uses, 1)
  local login = server:client("").auth.approle.login
  tap.equal(login({ role_id = id, secret_id = made.secret_id }).auth.lease_duration, 600)
  tap.match(tap.raises("http", login, { role_id = id, secret_id = made.secret_id }), "invalid secret id")
end)

tap.test("an answer that is wrapped is fetched once, with all that it holds secret", function()
  local wrapper = vault { addr = server.url, token = server.token, wrap_ttl = "5m" }
  v.kv_v2.write_secret("wrapped", { data = { x = "1" } })
  local wrapped = wrapper.kv_v2.read_secret "wrapped"
  tap.ok(is_secret(wrapped.wrap_info.token))
  tap.equal(v.sys.lookup_wrapping({ token = wrapped.wrap_info.token }).data.creation_path, "secret/data/wrapped")
  tap.ok(is_secret(v.sys.unwrap({ token = wrapped.wrap_info.token }).data.data.x))
  tap.match(tap.raises("http", v.sys.unwrap, { token = wrapped.wrap_info.token }), "wrapping token is not valid")
end)

tap.test("the token of ~/.vault-token, after that of the environment", function()
  local home = os.tmpname()
  os.remove(home)
  file.directory { home }
  file.present { home .. "/.vault-token", content = server.token .. "\n", mode = "0600" }
  local self = "print(vault.auth.token.lookup_self().data.policies[1])"
  tap.match(ask({ HOME = home }, self), "^root\n")
  tap.match(ask({ HOME = home, VAULT_TOKEN = "s.wrong" }, self), "permission denied")
  tap.match(ask({}, self), "no token was set")
  host.run { "rm", "-r", home }
end)

tap.test("--check changes nothing and asks for no credentials, but reads", function()
  local before = v.auth.token.list_token_accessors().data.keys
  v.kv_v2.write_secret("kept", { data = { x = "1" } })
  local out = ask({ VAULT_TOKEN = server.token }, [[
    print("version", vault.kv_v2.read_secret("kept").data.metadata.version)
    vault.kv_v2.write_secret("kept", { data = { x = "2" } })
    vault.write("secret/data/kept", { data = { x = "3" } })
    vault.delete("secret/metadata/kept")
    vault.auth.token.create_token { policies = { "default" } }
    vault.write("auth/token/create", { policies = { "default" } })
    vault.sys.put_acl_policy("made", { policy = 'path "x" { policy = "read" }' })
    vault.auth.approle.create_secret_id("ci")
    vault.sys.seal()
    vault.auth.token.revoke_self()
    print("capability", vault.sys.read_self_capabilities({ paths = { "a" } }).data.capabilities[1]) ]], "--check")
  tap.match(out, "version%s+1\n")
  tap.match(out, "capability%s+root\n")
  local _, predicted = out:gsub("would", "")
  tap.ok(predicted >= 8, out)
  tap.equal(v.kv_v2.read_metadata("kept").data.current_version, 1)
  tap.equal(v.sys.read_acl_policy "made", nil)
  tap.equal(v.auth.approle.list_secret_id_accessors "ci", nil)
  local after = v.auth.token.list_token_accessors().data.keys
  table.sort(before)
  table.sort(after)
  tap.equal(after, before)
end)

tap.test("a value that a server kept secret is not written down by a run that copies it", function()
  v.kv_v2.write_secret("source", { data = { password = "hunter2-of-the-live-server" } })
  local out = ask({ VAULT_TOKEN = server.token }, [[
    local read = vault.kv_v2.read_secret("source").data
    vault.kv_v2.write_secret("copy", { data = read.data })
    print(read.data.password)
    error("it is " .. "hunter2-of-the-live-server") ]], "--json")
  tap.ok(not out:find("hunter2-of-the-live-server", 1, true), out)
  local raw = http.get(server.url .. "/v1/secret/data/copy", { headers = { ["X-Vault-Token"] = server.token } })
  tap.match(raw.body, "hunter2%-of%-the%-live%-server")
  local run = host.run { "grep", "-rlF", "hunter2-of-the-live-server", os.getenv "XDG_STATE_HOME", reads = true,
    ok = { 0, 1 } }
  tap.equal(run.stdout, "")
end)

tap.test("with wrapping each answer is a token made: --check predicts such a read, and what it looks up comes plain", function()
  local before = #v.auth.token.list_token_accessors().data.keys
  local env = { VAULT_WRAP_TTL = "5m", VAULT_TOKEN = server.token }
  local out = ask(env, [[
    vault.kv_v2.read_secret("wrapped")
    vault.present("auth/token/roles/wrapped", { orphan = true })
    vault.sys.put_acl_policy("default", { policy = "" })]], "--check", "--json")
  local _, predicted = out:gsub('"status":"predicted"', "")
  tap.equal(predicted, 3, out)
  tap.equal(#v.auth.token.list_token_accessors().data.keys, before)
  out = ask(env, [[print(vault.present("auth/token/roles/wrapped", { orphan = true }).changed)
    print(vault.present("auth/token/roles/wrapped", { orphan = true }).changed)]])
  tap.match(out, "true\nfalse")
end)

tap.test("sealed: its state is data, all else is refused with what to do; unsealed again, all is there", function()
  v.kv_v2.write_secret("before", { data = { x = "1" } })
  v.sys.seal()
  local health, meta = v.sys.read_health()
  tap.equal({ health.sealed, meta.status }, { true, 503 })
  tap.equal(v.sys.read_seal_status().sealed, true)
  local sealed = vault { addr = server.url, token = server.token }
  local err = tap.raises("http", sealed.kv_v2.read_secret, "before", { retries = 0 })
  tap.match(err, "Vault is sealed")
  tap.match(err, "vault operator unseal")
  tap.match(tap.raises("http", sealed.kv_v2.write_secret, "before", { data = {} }), "Vault is sealed")
  tap.match(tap.raises("http", v.sys.unseal, { key = "AAAA" }), "invalid key")
  tap.equal(v.sys.unseal({ key = server.key }).sealed, false)
  tap.equal(v.kv_v2.read_secret("before").data.metadata.version, 1)
end)

tap.test("a field of what Vault has is a source of secrets: parameters, secret.vault, sudo; nothing of it shows", function()
  v.write("secret/data/ci/deploy", { data = { password = "correct-horse-7719", user = "ci", ["odd#name"] = "battery-5512" } })
  v.write("sys/mounts/plain", { type = "kv", options = { version = "1" } })
  v.write("plain/deploy", { password = "staple-3301" })
  local env = { VAULT_TOKEN = server.token }
  local function hash(where)
    return ask(env, ([[
      local value = secret.vault %q
      assert(secret.is(value) and not tostring(value):find "[%%d]")
      print(host.run { "sha256sum", stdin = value, reads = true }.stdout)
      print(("x" .. value), json.encode { tostring(value) })]]):format(where))
  end
  local function sum(text) return host.run { "sha256sum", stdin = text, reads = true }.stdout:match "%x+" end
  for where, content in pairs { ["secret/data/ci/deploy#password"] = "correct-horse-7719", ["secret/ci/deploy#user"] = false,
    ["secret/ci/deploy#password"] = "correct-horse-7719", ["plain/deploy#password"] = "staple-3301" } do
    local said = hash(where)
    if content then
      tap.match(said, "^" .. sum(content))
      tap.equal(said:find(content, 1, true), nil)
    else
      tap.match(said, "less than four characters")
    end
  end
  tap.match(hash "secret/ci/deploy#pass", 'has no field "pass".*it has [^\n]*password')
  tap.match(hash "secret/ci/none#password", "there is nothing at secret/ci/none")
  tap.match(hash "secret/ci/deploy", "is no path and field")
  tap.match(hash "#x", "is no path and field")
  -- Who may read this one secret alone may not even ask at the path without data/.
  local _, auth = person("least", 'path "secret/data/ci/*" { capabilities = ["read"] }')
  env.VAULT_TOKEN = auth.client_token
  tap.match(hash "secret/ci/deploy#password", "^" .. sum "correct-horse-7719")
  tap.match(hash "plain/deploy#password", "plain/deploy.*permission denied")
  env.VAULT_TOKEN = "s.nobody"
  tap.match(hash "secret/ci/deploy#password", "permission denied")
end)

tap.test("a parameter may be in Vault", function()
  local book = os.tmpname() .. ".lua"
  file.present { book, content = [[return { about = "x", params = { { "token", "secret", required = true } }, run = function(p)
    print(p.token, host.run { "wc", "-c", stdin = p.token, reads = true }.stdout) end }]] }
  local result = servers.moonbook { "run", book, "--set", "token=vault:secret/ci/deploy#password",
    env = { PATH = os.getenv "PATH", VAULT_ADDR = server.url, VAULT_TOKEN = server.token,
      XDG_STATE_HOME = os.getenv "XDG_STATE_HOME" } }
  tap.match(result.stdout, "^<secret>\t18\n")
  file.absent { book }
end)

tap.finish()
