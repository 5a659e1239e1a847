-- The module hcl and file.hcl, through the program: what scripts see of configurations. The editor's cases are in
-- tests/unit/test_hcl.c.
local tap = require "tap"
local convergence = require "convergence"

local dir = host.run { "mktemp", "-d" }.stdout:gsub("%s+$", "")
local CANARY = "c4nary\"with${odd}\\signs"

local number = 0
local function fresh(name)
  number = number + 1
  return ("%s/%d-%s"):format(dir, number, name or "agent.hcl")
end

local function plant(path, text, mode)
  host.run { "sh", "-c", 'cat >"$1"; chmod "$2" "$1"', "sh", path, mode or "0644", stdin = text }
end

local function text_of(path)
  return host.run { "cat", path, reads = true }.stdout
end

local function run(chunk, env, ...)
  return convergence.run(chunk, env or {}, ...)
end

local AGENT = [[
# agent
datacenter = "dc1" # here
count      = 3
client {
  enabled = true
  servers = ["a", "b"]
  host_volume "certs" {
    path = "/etc/certs"
  }
  host_volume "cvmfs" { path = "/cvmfs" }
  options = { "driver.raw_exec.enable" = "1" }
}

service { name = "x" }
service { name = "y" }
]]

---- reading ----

tap.test("get gives Lua's own values", function()
  tap.equal(hcl.get(AGENT, "datacenter"), "dc1")
  tap.equal(hcl.get(AGENT, "count"), 3)
  tap.equal(hcl.get(AGENT, "client.enabled"), true)
  tap.equal(hcl.get(AGENT, "client.servers"), { "a", "b" })
  tap.equal(hcl.get(AGENT, "client.servers[2]"), "b")
  tap.equal(hcl.get(AGENT, "nothing.there"), nil)
  tap.equal(hcl.get(AGENT, 'client.host_volume["certs"]'), { path = "/etc/certs" })
  tap.equal(hcl.get(AGENT, "client.host_volume"), { certs = { path = "/etc/certs" }, cvmfs = { path = "/cvmfs" } })
  tap.equal(hcl.get(AGENT, "client").host_volume.cvmfs.path, "/cvmfs")
  tap.equal(hcl.get(AGENT, "client").options, { ["driver.raw_exec.enable"] = "1" })
  tap.equal(hcl.get(AGENT, "service[2]"), { name = "y" })
  tap.equal(hcl.get("a = null", "a"), json.null)
  tap.equal(hcl.get("a = 1.5", "a"), 1.5)
  tap.equal(hcl.get("a = 0x1F", "a"), 31)
  tap.equal(hcl.get("a = 9223372036854775807", "a"), math.maxinteger)
  tap.equal(tostring(hcl.get("a = 18446744073709551615", "a")), "18446744073709551615")
  tap.equal(json.encode(hcl.get("a = []\nb = {}\n", "a")), "[]")
  tap.equal(tostring(hcl.get("a = var.b + 1", "a")), "var.b + 1")
  local octal = hcl.get("a = 0755", "a") -- 493 for HCL1, 755 for HCL2
  tap.equal({ type(octal), tostring(octal), hcl.set("a = 0755 # x", "a", octal) }, { "userdata", "0755", "a = 0755 # x" })
  tap.equal(hcl.get("s {\n b = 1\n}\ns {\n b = 2\n}\nt = 1\n", "s[2].b"), 2)
  tap.equal(json.encode(hcl.get("x {\n s { b = 1 }\n s { b = 2 }\n}\n", "x")), '{"s":[{"b":1},{"b":2}]}')
end)

tap.test("several of one name: how many, where, and how to pick one", function()
  local err = tap.raises("usage", hcl.get, AGENT, "service.name")
  tap.equal(err.message, "service is there 2 times, on lines 14 and 15: which one is not said")
  tap.equal(err.hint, "pick one by its number: service[1] to service[2]")
  err = tap.raises("usage", hcl.set, AGENT, "client.host_volume.path", "/x")
  tap.equal(err.message, "client.host_volume is there 2 times, on lines 7 and 10: which one is not said")
  tap.match(err.hint, 'by its label, as client.host_volume%["certs"%], or by its number')
  tap.raises("usage", hcl.remove, AGENT, "service")
end)

tap.test("an error says line, column, what is wanted, and shows the line", function()
  local err = tap.raises("invalid", hcl.get, "a = 1\nclient {\n\tbind = = 3\n}\n", "a")
  tap.equal(err.message, "line 3, column 9: a value is wanted, there is '='\n    \tbind = = 3\n    \t       ^")
  tap.equal(err.op, "hcl.get")
  err = tap.raises("invalid", hcl.set, 'token = "s3cr3t" oops\n', "a", 1)
  tap.ok(not err.message:find "s3cr3t", "a token is not shown")
  tap.match(tap.raises("usage", hcl.get, "a = 1", "a..b"), 'the path "a..b" is none: a name is wanted after "a."')
  tap.raises("usage", hcl.get, 7, "a")
  tap.raises("usage", hcl.get, "a = 1", 7)
end)

---- writing ----

tap.test("set writes Lua's values, and writes nothing where they are equal", function()
  local function set(value) return hcl.set("a = 0\n", "a", value) end
  tap.equal(set(4), "a = 4\n")
  tap.equal(set(5 / 2), "a = 2.5\n")
  tap.equal(set(4 / 2), "a = 2\n")
  tap.equal(set(math.mininteger), "a = -9223372036854775808\n")
  tap.equal(set(0.1), "a = 0.1\n")
  tap.equal(set(1e300), "a = 1e+300\n")
  tap.equal(set(json.decode "18446744073709551615"), "a = 18446744073709551615\n")
  tap.equal(set(true), "a = true\n")
  tap.equal(set(json.null), "a = null\n")
  tap.equal(set 'q"b\\s\n\t\1', 'a = "q\\"b\\\\s\\n\\t\\u0001"\n')
  tap.equal(set "${attr.cpu.arch} {{ GetPrivateIP }}", 'a = "${attr.cpu.arch} {{ GetPrivateIP }}"\n')
  tap.equal(set "$${plain}", 'a = "\\u0024{plain}"\n')
  tap.equal(set(hcl.literal "${plain} %{x"), 'a = "\\u0024{plain} \\u0025{x"\n')
  tap.equal(set(hcl.literal "$${plain}"), 'a = "$\\u0024{plain}"\n')
  tap.equal(set(hcl.expression "var.x"), "a = var.x\n")
  tap.equal(set { "x", 1 }, 'a = ["x", 1]\n')
  tap.equal(set(json.array {}), "a = []\n")
  tap.equal(set {}, "a = {}\n")
  tap.equal(hcl.set(AGENT, "client.servers", { "a", "b" }), AGENT)
  tap.equal(hcl.set(AGENT, "client", hcl.get(AGENT, "client")), AGENT)
  tap.equal(hcl.set("a = 4.0", "a", 4), "a = 4.0")
  tap.equal(hcl.set('a = "\\u0061"', "a", "a"), 'a = "\\u0061"')
  tap.equal(hcl.set("a = var.x", "a", hcl.get("a = var.x", "a")), "a = var.x")
end)

tap.test("what is no value is refused", function()
  local cyclic = {}
  cyclic.self = cyclic
  for _, value in ipairs { print, 0 / 0, 1 / 0, { 1, a = 2 }, { [3] = 1 }, cyclic, "\xff", "${x", { [{}] = 1 } } do
    tap.raises("usage", hcl.set, "", "a", value)
  end
  tap.match(tap.raises("usage", hcl.set, "", "a", nil), "hcl.remove")
  tap.match(tap.raises("usage", hcl.set, "", "a", "${x"), "hcl.literal")
  tap.raises("usage", hcl.expression, "a b")
  tap.match(tap.raises("usage", hcl.set, AGENT, "client", 1), "client is a block")
  tap.match(tap.raises("usage", hcl.set, AGENT, "count.x", 1), "count on line 3 is a number, no block")
end)

tap.test("blocks are listed with labels, lines and a path that leads to each", function()
  local list = hcl.blocks(AGENT, "client.host_volume")
  tap.equal(#list, 2)
  tap.equal(list[1], { labels = list[1].labels, line = 7, last_line = 9, path = 'client.host_volume["certs"]' })
  tap.equal({ list[1].labels[1], list[2].labels[1] }, { "certs", "cvmfs" })
  for _, block in ipairs(list) do tap.ok(hcl.get(AGENT, block.path .. ".path")) end
  tap.equal(#hcl.blocks(AGENT, "service"), 2)
  tap.equal(hcl.blocks(AGENT, "service")[2].path, "service[2]")
  tap.equal(#hcl.blocks(AGENT, "nothing"), 0)
  tap.equal(#hcl.blocks(AGENT, "client"), 1)
  local text = '{"client": {"host_volume": {"a": {"path": "/a"}, "b": {"path": "/b"}}, "reserved": {}}}'
  tap.equal(hcl.blocks(text, "client.host_volume")[2].path, 'client.host_volume["b"]')
  tap.equal(#hcl.blocks(text, "client", 0), 1)
  tap.equal(#hcl.blocks('{"service": [{"name": "x"}, {"name": "y"}]}', "service"), 2)
  tap.equal(hcl.blocks('{"service": [{"name": "x"}, {"name": "y"}]}', "service")[2].path, "service[2]")
  tap.equal(hcl.blocks('a "x" "y" {}\n', "a")[1].path, 'a["x"]["y"]')
end)

tap.test("add_block takes labels as text or list", function()
  tap.equal(hcl.add_block("", "a", "x", { b = 1 }), 'a "x" {\n  b = 1\n}\n')
  tap.equal(hcl.add_block("", "a", { "x", "y.z" }), 'a "x" "y.z" {}\n')
  tap.equal(hcl.add_block("", "a.b"), "a {\n  b {}\n}\n")
  tap.raises("usage", hcl.add_block, AGENT, "client.host_volume", "certs", {})
  tap.raises("usage", hcl.add_block, "", "a", nil, { 1, 2 })
  tap.raises("usage", hcl.add_block, "", "a", "x", "text")
  tap.raises("usage", hcl.add_block, "", "a", { 7 })
end)

---- secrets ----

tap.test("a text with a secret is a secret, and only in the file", function()
  local path = fresh "secret.hcl"
  plant(path, 'encrypt = "@KEY@"\n', "0600")
  local chunk = ([[
    local path = %q
    local text = hcl.set(file.read(path), "encrypt", secret.env "CANARY")
    print(secret.is(text), text, tostring(text))
    print(hcl.get(text, "encrypt"), secret.is(hcl.get(text, "encrypt")))
    text = hcl.set(text, "other", "plain")
    print(secret.is(text), secret.is(hcl.get(text, "other")), hcl.get(text, "other") .. "x")
    print(pcall(hcl.get, text .. "a = = 1\n", "a"))
    print(pcall(hcl.set, text, "encrypt.x", 1))
    file.present { path, content = text }
    print(file.read(path)) -- as it is written there, which is not how it was given
    file.hcl { path .. ".2", set = { ["a.b"] = secret.env "CANARY", c = { secret.env "CANARY" } }, create = true }
    error(text)
  ]]):format(path)
  local result = run(chunk, { CANARY = CANARY })
  tap.equal(result.code, 1)
  tap.ok(not result.said:find "c4nary", result.said)
  tap.match(result.said, "true")
  tap.equal(hcl.get(text_of(path), "encrypt"), "c4nary\"with$${odd}\\signs")
  tap.equal(text_of(path), 'encrypt = "c4nary\\"with\\u0024{odd}\\\\signs"\nother = "plain"\n')
  tap.equal(file.stat(path).mode, "0600")
  tap.equal(file.stat(path .. ".2").mode, "0600")
  local kept = host.run { "grep", "-r", "c4nary", os.getenv "XDG_STATE_HOME" or dir .. "/none", ok = { 0, 1, 2 }, reads = true }
  tap.ok(not kept.stdout:find "%.jsonl", kept.stdout)
end)

---- file.hcl ----

tap.test("a secret that is no text is told before it is in a file", function()
  for _, printed in ipairs { "\\377\\376binary", "abc\\0defgh" } do
    local err = tap.raises("usage", hcl.set, "a = 1\n", "a", secret.command { "printf", printed })
    tap.match(err.message, "the secret is no text in UTF%-8")
    tap.match(err.hint, "source")
  end
end)

tap.test("the line of an error gives no secret away: nor one that is cut, nor one whose name stands above", function()
  for _, text in ipairs { 'encrypt = "' .. ("C4n4ry"):rep(20) .. '" oops', 'keyring = [\n  "C4n4ry\n', '"token": "C4n4ry\n' } do
    local done, err = pcall(hcl.get, text)
    tap.equal({ done, tostring(err):find("C4n", 1, true) }, { false })
    tap.match(tostring(err), "%*%*%*%*")
  end
  local _, err = pcall(hcl.get, 'a = 1\nnames = ["x" "y"]\n')
  tap.match(tostring(err), 'names = %["x" "y"%]')
end)

tap.test("file.hcl converges: predicted, changed once, unchanged", function()
  local path = fresh()
  plant(path, AGENT)
  local changes = convergence.prove(([[
    file.hcl { %q, set = { ["client.reserved.cpu"] = 4, datacenter = "dc2", count = 3,
                           ['client.host_volume["certs"].read_only'] = true },
               remove = { "client.options", "nothing.there" } }
  ]]):format(path), {}, 1)
  tap.equal(changes[1].kind, "file.hcl")
  tap.equal(changes[1].exact, true)
  local wanted = AGENT:gsub('dc1', 'dc2'):gsub('  options = [^\n]*\n', '  reserved {\n    cpu = 4\n  }\n')
    :gsub('path = "/etc/certs"\n', '%0    read_only = true\n')
  tap.equal(text_of(path), wanted)
  local lines = {}
  for line in changes[1].diff:gmatch "[^\n]+" do
    if line:find "^[-+][^-+]" then lines[#lines + 1] = line end
  end
  tap.equal(lines, { '-datacenter = "dc1" # here', '+datacenter = "dc2" # here', "+    read_only = true",
    '-  options = { "driver.raw_exec.enable" = "1" }', "+  reserved {", "+    cpu = 4", "+  }" })
end)

tap.test("file.hcl sees what earlier steps would have done", function()
  local path = fresh()
  local result = run(([[
    file.present { %q, content = "a = 1\n" }
    file.hcl { %q, set = { a = 1 } }
    file.hcl { %q, set = { b = 2 } }
    assert(hcl.get(file.read(%q), "b") == 2)
    local text = file.read(%q)
    file.hcl { %q, set = { c = host.run { "hostname" }.stdout } }
  ]]):gsub("%%q", ("%q"):format(path)), {}, "--check")
  tap.equal(result.code, 0, result.said)
  tap.equal(#result.changes, 4, result.said)
  tap.equal({ result.changes[2].kind, result.changes[2].exact }, { "file.hcl", true })
  tap.equal({ result.changes[4].kind, result.changes[4].exact }, { "file.hcl", false })
  tap.ok(not file.exists(path))
end)

tap.test("file.hcl makes a file only when asked, in the form its name says", function()
  local path = fresh()
  tap.match(tap.raises("not-found", file.hcl, { path, set = { a = 1 } }), "create = true")
  tap.ok(file.hcl { path, set = { ["a.b"] = 1 }, create = true, mode = "0640" }.changed)
  tap.equal(text_of(path), "a {\n  b = 1\n}\n")
  tap.equal(file.stat(path).mode, "0640")
  path = fresh "agent.json"
  tap.ok(file.hcl { path, set = { ["a.b"] = 1 }, create = true }.changed)
  tap.equal(json.decode(text_of(path)), { a = { b = 1 } })
  tap.ok(not file.hcl { path, set = { ["a.b"] = 1 } }.changed)
end)

tap.test("file.hcl refuses what it cannot do, and leaves the file alone", function()
  local path = fresh()
  plant(path, AGENT)
  tap.raises("usage", file.hcl, { path, set = { ["service.name"] = "z" } })
  tap.raises("usage", file.hcl, { path, set = { ["a b"] = 1 } })
  tap.raises("usage", file.hcl, { path, set = { "a" } })
  tap.raises("usage", file.hcl, { path, set = "a" })
  tap.raises("usage", file.hcl, { path })
  tap.raises("usage", file.hcl, { path, sett = {} })
  tap.raises("usage", file.hcl, { path, remove = { "service" } })
  local err = tap.raises("invalid", file.hcl, { path, set = { a = 1 }, validate = { "sh", "-c", "echo no; exit 1" } })
  tap.match(err, "no")
  tap.equal(text_of(path), AGENT)
  plant(path, 'token = "s3cr3t"\nclient {\n', "0640")
  err = tap.raises("invalid", file.hcl, { path, set = { a = 1 } })
  tap.match(err.message, "^line 2, column 8: ")
  tap.ok(not err.message:find "client", "lines of a private file are not shown")
  plant(path, "client {\n", "0644")
  tap.match(tap.raises("invalid", file.hcl, { path, set = { a = 1 } }).message, "\n    client {\n")
  tap.raises("failed", file.hcl, { dir, set = { a = 1 } })
end)

tap.test("file.hcl: paths in order, mode and owner with or without an edit", function()
  local path = fresh()
  plant(path, "a {\n  b = 1 # kept\n  c = 2\n}\n")
  tap.ok(file.hcl { path, set = { ["a.d"] = 3, a = { b = 1 } } }.changed)
  tap.equal(text_of(path), "a {\n  b = 1 # kept\n  d = 3\n}\n")
  tap.ok(file.hcl { path, set = { ["a.d"] = 3 }, mode = "0600" }.changed)
  tap.ok(not file.hcl { path, set = { ["a.d"] = 3 }, mode = "0600" }.changed)
  tap.equal(file.stat(path).mode, "0600")
  tap.ok(file.hcl { path, remove = "a.d" }.changed)
  tap.equal(text_of(path), "a {\n  b = 1 # kept\n}\n")
end)

host.run { "rm", "-rf", dir }
tap.finish()
