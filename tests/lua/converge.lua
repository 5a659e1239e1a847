-- What present does when the server, or somebody else, does not do as expected: a server that plays these parts.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local convergence = require "convergence"
local servers = require "server"

local server <close> = servers.start()
local env = { CONSUL_HTTP_ADDR = server.url }
local c = consul { addr = server.url, token = "" }

local function requests(method, path)
  local count = 0
  for _, request in ipairs(server:seen().requests) do
    if request.method == method and request.path:find(path, 1, true) == 1 then count = count + 1 end
  end
  return count
end

tap.test("somebody else wrote it between look and write: said, on the record, nothing written", function()
  local run = convergence.run('consul.present("kv", "taken/a", "ours")', env)
  tap.equal({ run.code, #run.changes, run.changes[1].status }, { 1, 1, "failed" }, run.said)
  tap.match(run.said, "somebody else changed it between look and write; nothing was written")
  tap.match(run.said, "run it again: it looks at what is there now")
  tap.match(server:last("/v1/kv/taken/a").path, "cas=0")
end)

tap.test("a server that stores something else than was sent is found out", function()
  local run = convergence.run('consul.present("kv", "changed/a", "ours")', env)
  tap.equal({ run.code, #run.changes, run.changes[1].status }, { 1, 1, "failed" }, run.said)
  tap.match(run.said, 'the server does not hold what was sent: %-Value: \\"ours%?\\" %+Value: \\"ours\\"')
end)

tap.test("an error of the write is the change's error, and raised", function()
  local run = convergence.run('consul.present("acl policy", "x", { Rules = "" })', env)
  tap.equal({ run.code, #run.changes }, { 1, 0 }, run.said) -- it could not even look
  run = convergence.run('local done, err = pcall(consul.present, "kv", "taken/a", "x") print(done, err.kind)', env)
  tap.equal({ run.code, run.changes[1].status }, { 0, "failed" }, run.said)
  tap.match(run.said, "false\\tfailed")
end)

tap.test("--check looks and writes nothing; its answer is that of the real run", function()
  local before = requests("PUT", "/v1/kv/")
  local chunk = 'local r = consul.present("kv", "plain/a", "x") print(json.encode(r))'
  local predicted = convergence.run(chunk, env, "--check")
  tap.equal(requests("PUT", "/v1/kv/"), before)
  local made = convergence.run(chunk, env)
  tap.equal(requests("PUT", "/v1/kv/"), before + 1)
  local function answer(run) return run.said:match '"message":"(.-)"}\n' end
  tap.equal(answer(predicted), answer(made))
  tap.match(answer(made), '\\"after\\":{\\"Value\\":\\"x\\"},\\"changed\\":true')
end)

tap.test("what only a real run can know is predicted as such", function()
  local run = convergence.run([[
    local answer = host.run { "echo", "x" }
    consul.present("kv", "plain/b", { Value = answer.stdout })
    consul.present("kv", answer.stdout, "x")]], env, "--check")
  tap.equal(run.code, 0, run.said)
  tap.equal({ run.changes[2].exact, run.changes[3].exact }, { false, false }, run.said)
  tap.equal(run.changes[3].target, "kv <unknown>")
end)

tap.test("a name or data that only a real run can know: nothing is asked, nothing refused", function()
  local run = convergence.run([[
    local answer = host.run { "echo", "x" }
    consul.present("intention", answer.stdout, { Action = "allow" })
    consul.absent("config entry", answer.stdout)
    vault.present(answer.stdout, { a = 1 })
    nomad.present("job", "x", answer.stdout)]], { CONSUL_HTTP_ADDR = server.url, VAULT_ADDR = server.url,
      VAULT_TOKEN = "a-token-of-tests", NOMAD_ADDR = server.url }, "--check")
  tap.equal({ run.code, #run.changes }, { 0, 5 }, run.said)
  for index = 2, #run.changes do tap.equal(run.changes[index].exact, false) end
  tap.equal(requests("GET", "/v1/%3C"), 0)
end)

tap.test("what a secret takes the place of is not shown, nor what is there already", function()
  c.kv.put_key("plain/s", { body = "the-old-password" })
  local chunk = 'local r = consul.present("kv", "plain/s", secret.env "WORD") print(json.encode(r), r.before.Value)'
  local with = { CONSUL_HTTP_ADDR = server.url, WORD = "the-new-password" }
  local run = convergence.run(chunk, with)
  tap.equal({ run.code, #run.changes, run.changes[1].undo }, { 0, 1, false }, run.said)
  tap.ok(not run.said:find("password", 1, true), run.said)
  run = convergence.run(chunk, with)
  tap.equal({ run.code, run.unchanged }, { 0, 1 }, run.said)
  tap.match(run.said, '<secret>"}')
end)

tap.test("fields of Vault that hold secrets are not shown where a script has them as plain text", function()
  local run = convergence.run('vault.present("nomad/config/access", { address = "here", token = "a-plain-word" })',
    { VAULT_ADDR = server.url, VAULT_TOKEN = "a-token-of-tests" }, "--check")
  tap.equal({ run.code, #run.changes }, { 0, 1 }, run.said)
  tap.match(run.changes[1].diff, "%+token: <secret>\n")
  tap.ok(not run.said:find("plain-word", 1, true), run.said)
end)

tap.test("data without an end are refused", function()
  local endless = {}
  endless.a = endless
  tap.match(tap.raises("usage", c.present, "config entry", "service-defaults/x", endless), "120 deep")
end)

tap.test("the value of a key that is no text is refused before anything is asked", function()
  for _, value in ipairs { 5, true, { 1 } } do
    tap.match(tap.raises("usage", c.present, "kv", "plain/n", { Value = value }), "is a text, not " .. type(value))
  end
end)

tap.test("the data belong to the call: what another fiber does to them meanwhile does not count", function()
  local data = { Value = "first" }
  parallel { function() c.present("kv", "plain/c", data) end, function() data.Value = "second" end }
  tap.equal(c.kv.read_key("plain/c", { raw = true }), "first")
end)

tap.test("a client made by consul{} converges with its own server and token", function()
  local other = consul { addr = server.url, token = "of-this-client" }
  other.present("kv", "plain/d", "x")
  tap.equal(server:last("/v1/kv/plain/d").headers["x-consul-token"], "of-this-client")
  other.absent("kv", "plain/d")
  tap.equal(c.kv.read_key "plain/d", nil)
end)

tap.finish()
