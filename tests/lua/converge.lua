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
