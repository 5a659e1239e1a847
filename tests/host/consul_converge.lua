-- consul.present and consul.absent against a real Consul server with ACLs on: each kind of thing is predicted, made,
-- found as wanted, changed by field and removed.
-- lab: --acls srv1
local tap = require "tap"
local lab = require "lab"
local cluster = require "cluster"
local convergence = require "convergence"
local examples = require "examples"

local c = cluster.client "management"
local env = { CONSUL_HTTP_ADDR = cluster.address, CONSUL_HTTP_TOKEN = lab.token "management" }
local ACCESSOR = "6f1c7c52-5b0a-4f0e-9d3a-2b1d3c4e5f60"

local function prove(chunk, count) return convergence.prove(chunk, env, count) end

local function unneeded(...)
  local result = c.present(...)
  tap.equal(result.changed, false, json.encode(result))
end

tap.test("keys: values of any bytes, flags, compare-and-set, undo", function()
  local changes = prove([[
    consul.present("kv", "mc/a", "one")
    consul.present("kv", "mc/ü b/c", { Value = "two", Flags = 7 })
    consul.present("kv", "mc/binary", "\0\255\254")]], 3)
  tap.equal(changes[3].after, { Value = "<3 bytes>" })
  tap.equal(c.kv.read_key("mc/binary", { raw = true }), "\0\255\254")
  unneeded("kv", "mc/ü b/c", "two") -- flags were not named
  changes = prove([[consul.present("kv", "mc/a", "three")]], 1)
  tap.equal({ changes[1].diff, changes[1].before, changes[1].undo },
    { '-Value: "one"\n+Value: "three"\n', { Value = "one" }, true })
  local _, run = convergence.prove([[consul.present("kv", "mc/s", secret.env "WORD")]],
    { CONSUL_HTTP_ADDR = cluster.address, CONSUL_HTTP_TOKEN = lab.token "management", WORD = "a-word-nobody-sees" }, 1)
  tap.ok(not run.said:find("nobody-sees", 1, true), run.said)
  tap.equal(c.kv.read_key("mc/s", { raw = true }), "a-word-nobody-sees")
  prove([[consul.absent("kv", "mc/a") consul.absent("kv", "mc/binary")]], 2)
end)

tap.test("ACL policies, roles and tokens refer to each other by name", function()
  prove([[
    consul.present("acl policy", "mc", { Rules = 'key_prefix "" { policy = "read" }', Description = "ours" })
    consul.present("acl role", "mc", { Policies = { "mc" },
      ServiceIdentities = { { ServiceName = "b" }, { ServiceName = "a" } } })
    consul.present("acl token", "]] .. ACCESSOR .. [[",
      { Description = "of the test", Policies = { "mc" }, Roles = { "mc" } })]], 3)
  unneeded("acl-policy", "mc", { Description = "ours" })
  unneeded("acl role", "mc", { ServiceIdentities = { { ServiceName = "a" }, { ServiceName = "b" } } })
  unneeded("acl token", ACCESSOR, { Policies = { { Name = "mc" } } })
  local secret_id = tostring(c.acl.read_acl_token(ACCESSOR).SecretID)
  prove('consul.present("acl token", "' .. ACCESSOR .. '", { Roles = {} })', 1)
  local run = convergence.run('consul.present("acl token", "' .. ACCESSOR .. '", { SecretID = "a-plain-secret-id" })', env,
    "--check")
  tap.ok(#run.changes == 1 and not run.said:find("a%-plain"), run.said)
  local token = c.acl.read_acl_token(ACCESSOR)
  tap.equal({ token.Description, #token.Policies, tostring(token.SecretID) }, { "of the test", 1, secret_id })
  local changes = prove([[consul.present("acl policy", "mc", { Rules = "node \"x\" { policy = \"read\" }" })]], 1)
  tap.equal(c.acl.read_acl_policy_by_name "mc".Description, "ours") -- was not named, is as it was
  tap.match(changes[1].diff, "^%-Rules: .*\n%+Rules: ")
  prove('consul.absent("acl token", "' .. ACCESSOR .. '")' .. [[
    consul.absent("acl role", "mc")
    consul.absent("acl policy", "mc")]], 3)
  tap.equal(c.acl.read_acl_policy_by_name "mc", nil)
end)

tap.test("services of the agent: tags as a set, checks only when they are made", function()
  prove([[consul.present("service", "mc-1", { Name = "mc", Port = 80, Tags = { "b", "a" }, Meta = { k = "v" } },
    { create = { Check = { TTL = "60s", CheckID = "mc-check" } } })]], 1)
  tap.ok(c.agent.list_agent_checks()["mc-check"])
  unneeded("service", "mc-1", { Tags = { "a", "b" } })
  prove([[consul.present("service", "mc-1", { Port = 81, Address = "10.0.0.1" })]], 1)
  local service = c.agent.read_agent_service "mc-1"
  tap.equal({ service.Port, service.Meta.k, service.TaggedAddresses.lan_ipv4.Address }, { 81, "v", "10.0.0.1" })
  tap.ok(c.agent.list_agent_checks()["mc-check"], "the check is still there")
  prove([[consul.present("service", "mc-1", { TaggedAddresses = { wan = { Address = "1.2.3.4", Port = 99 } } })]], 1)
  prove([[consul.present("service", "mc-1", { Port = 82 })]], 1)
  service = c.agent.read_agent_service "mc-1"
  tap.equal({ service.TaggedAddresses.lan_ipv4.Port, service.TaggedAddresses.wan.Port }, { 82, 99 })
  tap.match(tap.raises("usage", c.present, "service", "mc-1", { Check = { TTL = "1s" } }), "cannot be read back")
  prove([[consul.absent("service", "mc-1")]], 1)
end)

tap.test("config entries: durations as Go writes them, the rest of the entry kept", function()
  prove([[
    consul.present("config entry", "service-defaults/mc", { Protocol = "http" })
    consul.present("config entry", "service-resolver/mc", { ConnectTimeout = "90s", DefaultSubset = "v1",
      Subsets = { v1 = { OnlyPassing = true } } })]], 2)
  unneeded("config entry", "service-resolver/mc", { ConnectTimeout = "1m30s" })
  unneeded("config entry", "service-resolver/mc", { ConnectTimeout = 90 })
  prove([[consul.present("config entry", "service-resolver/mc", { ConnectTimeout = "1d" })]], 1)
  local entry = c.config.read_config_entry("service-resolver", "mc")
  tap.equal({ entry.ConnectTimeout, entry.DefaultSubset }, { "24h0m0s", "v1" })
  prove([[consul.absent("config entry", "service-resolver/mc")
    consul.absent("config entry", "service-defaults/mc")]], 2)
end)

tap.test("intentions and prepared queries", function()
  prove([[
    consul.present("intention", "mc-web => mc-db", { Action = "allow", Description = "x" })
    consul.present("prepared query", "mc-near",
      { Service = { Service = "mc", Tags = { "b", "a" } }, DNS = { TTL = "10s" } })]], 2)
  unneeded("intention", "mc-web=>mc-db", { Action = "allow" })
  unneeded("prepared query", "mc-near", { Service = { Tags = { "a", "b" } }, DNS = { TTL = 10 } })
  prove([[
    consul.present("intention", "mc-web => mc-db", { Action = "deny" })
    consul.present("prepared query", "mc-near", { DNS = { TTL = "1m" } })]], 2)
  prove([[consul.absent("intention", "mc-web => mc-db") consul.absent("prepared query", "mc-near")]], 2)
end)

tap.test("within one check what an earlier step would have done is seen", function()
  local run = convergence.run([[
    consul.present("kv", "mc/x", "1")
    print("value", consul.kv.read_key("mc/x")[1].Value)
    consul.present("kv", "mc/x", "1")
    consul.present("kv", "mc/x", "2")
    consul.absent("kv", "mc/x")
    consul.absent("kv", "mc/x")
    print("gone", consul.kv.read_key("mc/x"))
    consul.present("acl policy", "mc-p", { Rules = "" })
    consul.present("acl policy", "mc-p", { Description = "d" })
    consul.present("acl role", "mc-r", { Policies = { "mc-p" } })]], env, "--check")
  tap.equal({ run.code, #run.changes, run.unchanged }, { 0, 6, 2 }, run.said)
  for _, change in ipairs(run.changes) do tap.equal(change.exact, true, run.said) end
  tap.match(run.said, 'value\\tMQ==')
  tap.match(run.said, "gone\\tnil")
  tap.equal(c.kv.read_key "mc/x", nil)
end)

tap.test("wrong names and data are refused before anything is asked", function()
  local function refused(message, hint, ...)
    local text = tap.raises("usage", c.present, ...)
    tap.match(text, message)
    if hint then tap.match(text, hint) end
  end
  refused('"acl polcy" is no kind of thing', 'did you mean "acl policy"', "acl polcy", "x", {})
  refused('"nonsense" is no kind of thing', "known kinds: kv, acl policy", "nonsense", "x", {})
  refused('"Rule" is no field of an acl policy', "did you mean Rules", "acl policy", "x", { Rule = "" })
  refused('"Vale" is no field of a key', "Value = text", "kv", "x", { Vale = "" })
  refused("a UUID; its name says nothing", "uuidgen", "acl token", "ci", {})
  refused("source => destination", nil, "intention", "web", { Action = "allow" })
  refused("kind/name", nil, "config entry", "web", {})
  refused("leave ID out", nil, "service", "a", { ID = "b" })
  refused("cannot be read back", "create = {...}", "acl token", ACCESSOR, { ExpirationTTL = "1h" })
  refused("the data are a table or a text, not boolean", nil, "kv", "x", true)
  refused("too many", nil, "kv", "x", "y", {}, 1)
end)

tap.test("who may not write is told before and after; a refusal of the server is passed on", function()
  local reader = cluster.client "read-only"
  tap.match(tap.raises("permission", reader.present, "kv", "mc/forbidden", "x"), "403")
  tap.equal(c.kv.read_key "mc/forbidden", nil)
  tap.match(tap.raises("http", c.present, "acl role", "mc-r", { Policies = { "no-such-policy" } }), 'No such ACL policy')
  tap.equal(c.acl.read_acl_role_by_name "mc-r", nil)
end)

tap.test("the examples of the module run", function() examples.run("consul", env, 3) end)

c.kv.delete_key("mc/", { recurse = true })
tap.finish()
