-- Vault: its connection, redirects, errors and absences, and what is secret in the answers of all three products,
-- against tests/lua/http_server.py. Run from the repository.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"
local server <close> = servers.start()
local v = vault { addr = server.url, token = "a-good-token" }

local function ask(env, chunk, ...)
  env.PATH, env.HOME = os.getenv "PATH", env.HOME or "/nonexistent"
  local words = { ... }
  table.move({ "-e", chunk }, 1, 2, #words + 1, words)
  words.env = env
  local run = servers.moonbook(words)
  return run.stdout .. run.stderr
end

local function is_secret(value) return tostring(value) == "<secret>" end

tap.test("any path: read, write, list, delete, with parameters and data", function()
  v.write("kv1/x", { a = 1, timeout = "data, not an option" }, { timeout = "9s" })
  local request = server:last "/v1/kv1/x"
  tap.equal({ request.method, request.body }, { "POST", '{"a":1,"timeout":"data, not an option"}' })
  tap.equal(request.headers["x-vault-token"], "a-good-token")
  tap.equal(request.headers["x-vault-request"], "true")
  tap.equal(v.read("/sys/health", { standbyok = true }).sealed, true) -- 503 is an answer by this name too
  tap.equal(server:last("/v1/sys/health").path, "/v1/sys/health?standbyok=true")
  pcall(v.list, "kv1/")
  request = server:last "/v1/kv1"
  tap.equal({ request.method, request.path }, { "LIST", "/v1/kv1" })
  pcall(v.delete, "kv1/a b")
  request = server:last "/v1/kv1/a"
  tap.equal({ request.method, request.path }, { "DELETE", "/v1/kv1/a%20b" })
  tap.raises("usage", v.write, "kv1/x")
  tap.raises("usage", v.read, "")
  pcall(v.kv_v2.patch_secret, "p", { data = { a = 1 } })
  tap.equal(server:last("/v1/secret/data/p").headers["content-type"], "application/merge-patch+json")
end)

tap.test("mount= for engines that are elsewhere", function()
  pcall(v.kv_v2.read_secret, "a/b", { mount = "/team/kv/", version = 3 })
  tap.equal(server:last("/v1/team/kv/").path, "/v1/team/kv/data/a/b?version=3")
  pcall(v.auth.approle.read_role, "ci", { mount = "builders" })
  tap.ok(server:last "/v1/auth/builders/role/ci")
  tap.raises("usage", v.kv_v2.read_secret, "a", { mount = "" })
  tap.raises("usage", v.sys.read_seal_status, { mount = "x" })
end)

tap.test("the environment, as the vault command takes it", function()
  local self = "local d = vault.auth.token.lookup_self().data; print(d.display_name, d.id)"
  tap.match(ask({ VAULT_ADDR = server.url, VAULT_TOKEN = "from-the-environment" }, self), "me%s+<secret>")
  tap.equal(server:last("/v1/auth/token/lookup-self").headers["x-vault-token"], "from-the-environment")
  local home = os.tmpname()
  os.remove(home)
  file.directory { home }
  file.present { home .. "/.vault-token", content = "from-the-home\n" }
  tap.match(ask({ VAULT_ADDR = server.url, HOME = home }, self), "me%s+<secret>")
  tap.equal(server:last("/v1/auth/token/lookup-self").headers["x-vault-token"], "from-the-home")
  host.run { "rm", "-r", home }
  ask({ VAULT_ADDR = "http://127.0.0.1:1", VAULT_AGENT_ADDR = server.url, VAULT_TOKEN = "of-the-agent",
    VAULT_NAMESPACE = "team/a", VAULT_WRAP_TTL = "5m", VAULT_HEADERS = '{"X-Site":"cern"}' }, self)
  local headers = server:last("/v1/auth/token/lookup-self").headers
  tap.equal({ headers["x-vault-namespace"], headers["x-vault-wrap-ttl"], headers["x-site"] }, { "team/a", "5m", "cern" })
  pcall(vault { addr = server.url, token = "a-good-token", namespace = "other" }.auth.token.lookup_self)
  tap.equal(server:last("/v1/auth/token/lookup-self").headers["x-vault-namespace"], "other")
  tap.match(ask({ VAULT_ADDR = server.url, VAULT_HEADERS = "[1" }, self), "VAULT_HEADERS: not a JSON object")
  tap.match(ask({ VAULT_ADDR = server.url, VAULT_HEADERS = '{"X-Vault-Token":"t"}' }, self), "is Vault's own")
  tap.match(ask({ VAULT_ADDR = server.url, VAULT_CLIENT_TIMEOUT = "soon" }, self), '"soon" is no duration')
  tap.match(ask({ VAULT_ADDR = server.url .. "/slow/3?", VAULT_CLIENT_TIMEOUT = "1", VAULT_MAX_RETRIES = "0" }, self),
    "within 1%.%d s")
  tap.match(ask({ VAULT_ADDR = "https://127.0.0.1:1", VAULT_MAX_RETRIES = "0" }, self), "the address is from VAULT_ADDR")
end)

tap.test("errors in Vault's words, with what to do", function()
  local nobody = vault { addr = server.url, token = "" }
  tap.match(tap.raises("permission", nobody.auth.token.lookup_self), "no token was set: set VAULT_TOKEN")
  local err = tap.raises("permission", v.sys.read_acl_policy, "refused")
  tap.match(err, "403: permission denied")
  tap.match(err, 'read_self_capabilities{paths = {"sys/policies/acl/refused"}}')
  err = tap.raises("http", v.read, "gone/x") -- its words end in "not found", but it is the mount that is missing
  tap.match(err, "nothing is mounted there")
end)

tap.test("what is not there is nil; what is data is data", function()
  tap.equal(v.identity.lookup_entity { name = "nobody" }, nil)
  local value, meta = v.kv_v2.read_secret "none"
  tap.equal({ value, meta.status }, { nil, 404 })
  tap.equal(v.kv_v2.read_secret("deleted").data.metadata.version, 2)
  value, meta = v.sys.read_health()
  tap.equal({ value.sealed, meta.status }, { true, 503 })
  tap.equal(select(2, v.sys.check_health()).status, 503)
  local err = tap.raises("http", v.sys.read_key_status, { retries = 0 })
  tap.match(err, "Vault is sealed")
  tap.match(err, "vault operator unseal")
end)

tap.test("307: the token follows to the leader of the cluster and nowhere else", function()
  local active <close> = servers.start()
  local thief <close> = servers.start()
  http.put(server.url .. "/store/leader", { body = active.url })
  http.put(server.url .. "/store/redirect", { body = active.url })
  tap.equal(v.auth.token.lookup_self().data.display_name, "me")
  tap.equal(active:last("/v1/auth/token/lookup-self").headers["x-vault-token"], "a-good-token")
  tap.equal(server:last("/v1/sys/leader").headers["x-vault-token"], nil)
  v.auth.token.create_token { policies = { "default" } }
  tap.equal(active:last("/v1/auth/token/create").body, '{"policies":["default"]}')
  http.put(server.url .. "/store/redirect", { body = thief.url })
  local err = tap.raises("http", v.auth.token.lookup_self)
  tap.match(err, "redirected to .*, not followed")
  tap.match(err, "what the server names as its leader")
  tap.equal(#thief:seen().requests, 0)
  http.delete(server.url .. "/store/redirect")
end)

tap.test("secrets in answers are secret values; what is no secret stays", function()
  local answer = v.read "kv/a"
  for _, name in ipairs { "password", "pin", "short" } do tap.ok(is_secret(answer.data[name]), name) end
  tap.ok(is_secret(answer.data.list[1]) and is_secret(answer.data.list[2]))
  tap.equal({ answer.data.none, answer.data.on }, { "", true })
  tap.ok(is_secret(v.read("team/kv/a").data.password))
  tap.equal(v.read("identity/entity/name/me").data.name, "me") -- an endpoint of Vault's own: known to be none
  tap.ok(is_secret(v.read("auth/token/lookup-self").data.id))
  local auth = v.auth.token.create_token({}).auth
  tap.ok(is_secret(auth.client_token))
  tap.equal(auth.accessor, "acc-1")
  local issued = v.pki.issue_cert("web", { common_name = "web.example", format = "pem_bundle" }).data
  tap.ok(is_secret(issued.certificate) and is_secret(issued.private_key))
  tap.equal(issued.serial_number, "39:dd")
  local connection = v.database.read_connection("ci").data
  tap.ok(is_secret(connection.connection_details.pem_bundle))
  tap.equal(connection.plugin_name, "influxdb-database-plugin")
  local root = v.sys.start_root_generation {}
  tap.ok(is_secret(root.otp))
  tap.equal({ root.nonce, root.encoded_token }, { "n", "" })
  local rings = consul { addr = server.url }.operator.list_keyring_keys()
  local key, count = next(rings[1].Keys)
  tap.ok(is_secret(key) and count == 1)
  tap.ok(is_secret(nomad { addr = server.url }.variables.read_variable("a/b").Items.db_password))
end)

tap.test("a refusal that tells what is there instead shows none of its secrets", function()
  local variables = nomad({ addr = server.url }).variables
  for _, refused in ipairs { { variables.put_variable, "taken", { Items = { key = "mine" }, cas = 3 } },
    { variables.delete_variable, "taken", { cas = 3 } } } do
    local err = tap.raises("http", table.unpack(refused))
    tap.match(err, "answers 409: not shown, it may hold secrets.*somebody else has changed it")
    tap.ok(not tostring(err):find("somebody-elses", 1, true), err)
  end
end)

tap.test("a secret of an answer goes back to a server, and is neither shown nor written down", function()
  local out = ask({ VAULT_ADDR = server.url, VAULT_TOKEN = "a-good-token", XDG_STATE_HOME = os.getenv "XDG_STATE_HOME" }, [[
    local answer = vault.read "kv/a"
    vault.write("kv/copy", answer.data)
    print(answer.data.password, json.encode{ a = 1 })
    local done, err = pcall(vault.read, "kv/" .. "hunter2-and-more")
    print(err)
    error("the password is hunter2-and-more") ]], "--json")
  tap.ok(not out:find("hunter2-and-more", 1, true), out)
  tap.equal(json.decode(server:last("/v1/kv/copy").body).password, "hunter2-and-more")
end)

tap.test("--check: what creates credentials is not asked for, by whatever name", function()
  local before = #server:seen().requests
  local out = ask({ VAULT_ADDR = server.url, VAULT_TOKEN = "a-good-token" }, [[
    vault.database.generate_credentials("ci")
    vault.read("database/creds/ci")
    vault.read("team/db/creds/ci")
    vault.kv_v1.read_secret("ci", { mount = "database/creds" })
    vault.write("kv/a", { a = 1 })
    vault.write("kv/decrypt/a", { a = 1 })
    vault.write("auth/other/role/r/secret-id/lookup", { secret_id = "x" })
    vault.delete("kv/b")
    print("read", vault.read("secret/data/creds/x"))
    vault.write("auth/token/lookup-self", { a = vault.read("kv/a") })
    print("ttl", vault.auth.token.lookup_self().data.ttl)
    vault.write("sys/capabilities-self", { paths = { "x" } }) ]], "--check", "--json")
  local _, predicted = out:gsub('"status":"predicted"', "")
  local requests, sent = server:seen().requests, {}
  for index = before + 1, #requests do sent[#sent + 1] = requests[index].method .. " " .. requests[index].path end
  tap.equal(predicted, 8)
  local reads_before_writes = { "GET /v1/kv/a", "GET /v1/kv/decrypt/a", "GET /v1/auth/other/role/r/secret-id/lookup",
    "GET /v1/kv/b" }
  local reads = { "GET /v1/secret/data/creds/x", "GET /v1/auth/token/lookup-self", "POST /v1/sys/capabilities-self" }
  tap.equal(sent, table.move(reads, 1, #reads, #reads_before_writes + 1, reads_before_writes), out)
end)

tap.test("what needs a WebSocket says so", function()
  tap.match(tap.raises("failed", v.sys.subscribe_events, "kv*"), "talks over a WebSocket")
  local n = nomad { addr = server.url }
  tap.match(tap.raises("failed", n.client.exec_allocation, "7f553388", { command = '["sh"]' }), "command line")
end)

tap.finish()
