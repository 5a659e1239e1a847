-- Runs on many hosts: which hosts, how many at a time, what is said of each, and who keeps whom off.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local sshds = require "sshd"
local nomad_servers = require "nomad_server"
local servers = require "server"

local sshd <close> = sshds.start()
local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("%s+$", "")
local program = os.getenv "MOONBOOK"

-- c1..c40 are the throwaway sshd, bad1..bad9 an address where nobody listens.
file.present { folder .. "/config", content = ([[
Host c*
  Port %d
  User %s
  IdentityFile %s/id_ed25519
  UserKnownHostsFile %s/known_hosts
Host bad*
  Port 1
Host c* bad*
  HostName 127.0.0.1
  IdentitiesOnly yes
]]):format(sshd.port, sshds.user, sshd.folder, sshd.folder) }

local function write(name, content)
  local path = folder .. "/" .. name
  file.present { path, content = content, mode = "0644" }
  return path
end

-- A folder for each test, so that no hosts.lua of another is seen.
local count = 0
local function fresh(hosts)
  count = count + 1
  local path = folder .. "/" .. count
  file.directory { path, mode = "0755" }
  if hosts then file.present { path .. "/hosts.lua", content = hosts, mode = "0644" } end
  return path
end

local function moonbook(arguments)
  table.insert(arguments, 1, program)
  arguments.ok = { 0, 1, 2, 64, 130 }
  arguments.reads = true
  arguments.cwd = arguments.cwd or folder
  arguments.env = { MOONBOOK_SSH_CONFIG = folder .. "/config", XDG_STATE_HOME = folder .. "/state", HOME = folder,
    XDG_CONFIG_HOME = folder .. "/none", MOONBOOK_HOSTS = arguments.hosts or "", CANARY = "sesame7719" }
  for name, value in pairs(arguments.more or {}) do arguments.env[name] = value end
  arguments.more = nil
  arguments.hosts = nil
  return host.run(arguments)
end

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

-- The events of a run with --json, those of one name.
local function events(result, name)
  local list = {}
  for _, line in ipairs(lines(result.stdout)) do
    local event = json.decode(line)
    if event.event == name then list[#list + 1] = event end
  end
  return list
end

-- [[ which hosts ]]

local function stands_for(terms, wanted, options)
  options = options or {}
  local result = moonbook { "hosts", terms, cwd = options.cwd, options.except and "--except", options.except }
  tap.equal({ result.code, lines(result.stdout) }, { 0, wanted }, terms .. result.stderr)
end

tap.test("names, ranges, users and ports; each host once, in order", function()
  stands_for("c1", { "c1" })
  stands_for("c2,c1,root@c2", { "c2", "c1" })
  stands_for("c[01-03],x@y:2222,[::1]:22", { "c01", "c02", "c03", "y:2222", "::1" })
  stands_for("c[1-4], c[7,9]", { "c1", "c3", "c4", "c9" }, { except = "c2,c7" })
end)

tap.test("groups of hosts.lua, also of groups", function()
  local where = fresh [[
    return { groups = { pair = "c[1-2]", all = { "@pair", "c9", "c2" } },
             hosts = { c9 = { address = "127.0.0.9", port = 2200 } } }]]
  stands_for("@pair", { "c1", "c2" }, { cwd = where })
  stands_for("c5,@all", { "c5", "c1", "c2", "c9:2200" }, { cwd = where })
  stands_for("@all", { "c9:2200" }, { cwd = where, except = "@pair" })
end)

tap.test("what is wrong is said, with status 64, before anything is touched", function()
  local cycle = fresh 'return { groups = { a = "@b", b = "@a", n = 3, clients = "c1" } }'
  for terms, wanted in pairs {
    ["c[1-"] = "a bracket is not closed", ["c[9-1]"] = "runs backwards", ["c1,,c2"] = "empty name",
    ["@a"] = "holds itself", ["@n"] = "is number; write", ["@nobody"] = "no group \"nobody\"",
    ["@client"] = "did you mean @clients",
    ["c\27[31m"] = "bracket", ["c\27"] = "no name of a host", ["c\194\155"] = "no name of a host",
    ["x\7@c1"] = "no name of a host",
    ["c1,-oProxyCommand=x"] = "no name of a host",
    ["c1;id"] = "no name of a host", ["c1:99999"] = "no port",
    ["consul:"] = "write consul:SERVICE", ["nomad:"] = "write nomad:", ["c1:"] = "no port",
    ["nomad:clas=x"] = "did you mean class", ["nomad:x"] = "no FIELD=VALUE",
  } do
    for _, arguments in ipairs { { "hosts", terms }, { "-e", "host.run{'touch', '" .. folder .. "/touched'}", "--on", terms } } do
      arguments.cwd = cycle
      local result = moonbook(arguments)
      tap.equal(result.code, 64, terms)
      tap.match(result.stderr, wanted)
    end
  end
  tap.equal(moonbook { "hosts", "c1", "--except", "c1" }.code, 64)
  tap.equal(file.stat(folder .. "/touched"), nil)
end)

tap.test("a hosts.lua that is not to be trusted, or no such list, is refused", function()
  local open = fresh 'return { groups = { a = "c1" } }'
  host.run { "chmod", "0666", open .. "/hosts.lua" }
  tap.match(moonbook { "hosts", "@a", cwd = open }.stderr, "others than its owner may write")
  for content, wanted in pairs {
    ["return 1"] = "returned number", ["return { group = {} }"] = 'field "group"',
    ["return { groups = 'x' }"] = "groups is string",
    ["return {"] = "expected", ["error 'oh'"] = "oh", ["return { hosts = { c1 = 'x' } }"] = "hosts.c1 is string",
    ["return { hosts = { c1 = { adress = 'x' } } }"] = "did you mean .address",
  } do
    local result = moonbook { "hosts", "c1", cwd = fresh(content) }
    tap.equal(result.code, 64, content)
    tap.match(result.stderr, wanted)
  end
  tap.match(moonbook { "hosts", "c1", hosts = folder .. "/no-such.lua" }.stderr, "no%-such.lua cannot be read")
  tap.equal(moonbook { "hosts", "@x", cwd = fresh "x = os.execute('false') return { groups = { x = 'c1' } }" }.stdout, "c1\n",
    "loading it has no effect")
end)

tap.test("hosts.lua says how a host is reached, for --on and host() alike", function()
  local where = fresh(([[return { hosts = { far = { address = "127.0.0.1", port = %d, user = "%s", identity = "%s/id_ecdsa",
    known_hosts = "%s/known_hosts" } } }]]):format(sshd.port, sshds.user, sshd.folder, sshd.folder))
  tap.equal(moonbook { "--on", "far", "-e", "print(host.run{'id', '-un', reads=true}.stdout)", cwd = where }.stdout,
    sshds.user .. "\n\n")
  tap.equal(moonbook { "-e", "print(host'far'.run{'id', '-un', reads=true}.stdout)", cwd = where }.stdout,
    sshds.user .. "\n\n")
  local again = moonbook { "--on", sshds.user .. "@far", "-e", "print(host.run{'echo', 'x', reads=true}.stdout)", cwd = where }
  tap.equal(again.stdout, "x\n\n", "also with a user: " .. again.stderr)
  for term, wanted in pairs { ["far:1"] = "127.0.0.1:1: connection refused", ["x@far"] = "far refuses x" } do
    tap.match(moonbook { "--on", term, "-e", "host.run{'true', reads=true}", cwd = where }.stderr, wanted)
  end
  stands_for("far,x@far,far:7", { "far:" .. sshd.port, "far:7" }, { cwd = where })
end)

tap.test("nodes that Nomad knows", function()
  local server <close> = nomad_servers.start()
  local more = { NOMAD_ADDR = server.url }
  local node = server:client().nodes.list_nodes()[1]
  local function nodes(filter)
    local result = moonbook { "hosts", "nomad:" .. filter, more = more }
    return result.code == 0 and lines(result.stdout) or result.stderr
  end
  for _, filter in ipairs { "status=ready", "name=" .. node.Name, "id=" .. node.ID:sub(1, 8), "drain=false,status=ready",
    "dc=dc*", "datacenter=" .. node.Datacenter, "eligibility=eligible", "name=" .. node.Name:sub(1, 1) .. "*" } do
    tap.equal(nodes(filter), { node.Name }, filter)
  end
  tap.match(nodes "class=builder", "nomad:class=builder: no node is like that")
  tap.equal(lines(moonbook { "hosts", "c1,nomad:status=ready,drain=false,c2", more = more }.stdout), { "c1", node.Name, "c2" },
    "a filter's commas are its own")
  tap.equal(moonbook { "hosts", "nomad:status=ready", more = { NOMAD_ADDR = "http://127.0.0.1:1" } }.code, 1)
end)

tap.test("a node whose name nobody here knows is reached at the address that the cluster has", function()
  local server <close> = nomad_servers.start()
  local node = server:client().nodes.list_nodes()[1]
  file.present { folder .. "/unknown", content = ("Host %s\n  Port %d\n  User %s\n  IdentityFile %s/id_ed25519\n" ..
    "  UserKnownHostsFile %s/known_hosts\n"):format(node.Name, sshd.port, sshds.user, sshd.folder, sshd.folder) }
  local result = moonbook { "--on", "nomad:status=ready", "-e", "print(host.run{'echo', 'x', reads=true}.stdout)",
    more = { NOMAD_ADDR = server.url, MOONBOOK_SSH_CONFIG = folder .. "/unknown" } }
  tap.equal({ result.code, result.stdout }, { 0, "x\n\n" }, result.stderr)
end)

tap.test("what the cluster calls its nodes is looked at before it is believed", function()
  local server <close> = servers.spawn(write("catalog.py", [==[
import http.server, json
names = {"null": None, "number": 7, "local": "local", "steering": "c\u001b[31m", "option": "-oProxyCommand=x", "good": "c1"}
class Catalog(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = json.dumps([{"Node": names[self.path.split("/")[-1]], "Address": None}]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *arguments):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Catalog)
print(server.server_port, flush=True)
server.serve_forever()
]==]))
  for service, wanted in pairs { null = "whose name is no text", number = "whose name is no text",
    ["local"] = "whose name is local", steering = "no name of a host", option = "no name of a host" } do
    local result = moonbook { "hosts", "consul:" .. service, more = { CONSUL_HTTP_ADDR = server.url } }
    tap.equal({ result.code, result.stdout }, { 64, "" }, service)
    tap.match(result.stderr, wanted)
  end
  tap.equal(moonbook { "hosts", "consul:good", more = { CONSUL_HTTP_ADDR = server.url } }.stdout, "c1\n")
end)

tap.test("--sudo-password: from where it is, to sudo's input", function()
  if not sshds.root then return tap.skip("sudo's password", "users of its own need root") end
  local function who(...)
    return moonbook { more = { SESAME = "open sesame" }, "--on", "tester@c1", "-e",
      "print(host.run{'id', '-un', reads=true}.stdout)", ... }
  end
  local first = who("--sudo-password", "env:SESAME")
  tap.equal(first.stdout, "root\n\n", first.stderr)
  tap.equal(who().stdout, "tester\n\n")
  tap.match(who("--sudo-password", "env:CANARY").stderr, "[Pp]assword")
  tap.match(who("--sudo").stderr, "give the password: %-%-sudo%-password prompt")
  local result = who("--sudo-password", "open sesame")
  tap.equal(result.code, 64)
  tap.match(result.stderr, "not the password itself")
end)

tap.test("a wrong password is tried once: accounts are locked after few", function()
  if not sshds.root then return tap.skip("sudo's password", "users of its own need root") end
  for _, transport in ipairs { "ssh", "openssh" } do
    local result = moonbook { "--on", "tester@c1", "--transport", transport, "--sudo-password", "env:CANARY", "-e",
      "host.run{'true', reads=true}" }
    tap.equal({ result.code, select(2, result.stderr:gsub("try again", "")) }, { 1, 1 }, transport .. ": " .. result.stderr)
  end
end)

tap.test("where sudo's password is, is read when it is needed and not before, once for all", function()
  local asked = folder .. "/asked"
  local where = fresh(([[
    local how = { address = "127.0.0.1", port = %d, user = "tester", identity = "%s/id_ed25519", known_hosts = "%s/known_hosts",
      sudo = "command:echo x >>%s; echo open sesame" }
    return { hosts = { far = how, further = how }, groups = { all = "far,further" } }]]):format(sshd.port, sshd.folder,
      sshd.folder, asked))
  tap.equal(moonbook { "hosts", "@all", cwd = where }.code, 0)
  tap.equal(moonbook { "-e", "host 'far'", cwd = where }.code, 0)
  tap.equal(file.stat(asked), nil)
  if not sshds.root then return tap.skip("sudo's password", "users of its own need root") end
  for i, transport in ipairs { "ssh", "openssh" } do
    local result = moonbook { "--on", "@all", "--transport", transport, "--forks", "1", "-e",
      "io.write(host.run{'id', '-un', reads=true}.stdout)", cwd = where }
    tap.equal({ result.code, result.stdout, file.read(asked) }, { 0, "root\nroot\n", ("x\n"):rep(i) }, result.stderr)
  end
end)

tap.test("a place without a password fails the host that needs it, no other", function()
  local where = fresh 'return { hosts = { c8 = { sudo = "file:/nowhere/at-all" } } }'
  local result = moonbook { "--on", "c8,c1", "-e", "host.run{'true'}", cwd = where }
  tap.equal(result.code, 1)
  tap.match(result.stderr, "error: c8: sudo password: /nowhere/at%-all: .*1 of 2 hosts done, 1 failed: c8\n")
end)

-- [[ how many at a time ]]

-- Each host notes when it begins and when it ends; gives the notes. One ends when so many have worked at the same time, however
-- long their logins take; where that never comes about it does so after 20 s.
local function watch_schedule(together, ...)
  local log = folder .. "/schedule"
  host.run { "rm", "-f", log, log .. ".met" }
  local work = ([[echo begin >>%s; for i in $(seq 400); do
    [ ! -e %s.met ] || break
    [ $(($(grep -c begin %s) - $(grep -c end %s))) -lt %d ] || touch %s.met
    sleep 0.05
  done; sleep 0.2; echo end >>%s]]):gsub("%%s", log):format(together)
  local note = ("host.run{'sh', '-c', %q, reads=true}"):format(work)
  local result = moonbook { "-e", note, ... }
  local running, most, waves = 0, 0, {}
  for _, line in ipairs(lines(file.read(log) or "")) do
    running = running + (line == "begin" and 1 or -1)
    if line == "begin" then most = math.max(most, running) end
    waves[#waves + 1] = running
  end
  return result, most, waves
end

tap.test("--forks bounds how many work at the same time", function()
  local result, most = watch_schedule(3, "--on", "c[1-9]", "--forks", "3")
  tap.equal({ result.code, most }, { 0, 3 }, result.stderr)
  result, most = watch_schedule(6, "--on", "c[1-6]")
  tap.equal(result.code, 0)
  tap.equal(most, 6, "all of them at once")
end)

tap.test("more hosts than the limit of open files that the shell began with", function()
  for transport, hosts in pairs { ssh = "c[1-40]", openssh = "c[1-15]" } do
    local result = host.run { "sh", "-c", 'ulimit -Sn 40; exec "$@"', "sh", program, "--on", hosts, "--forks", "4", "--transport",
      transport, "-e", "host.run{'true', reads=true}", reads = true, ok = true,
      env = { MOONBOOK_SSH_CONFIG = folder .. "/config", XDG_STATE_HOME = folder .. "/state" } }
    tap.equal(result.code, 0, transport .. ": " .. result.stderr)
  end
end)

tap.test("--batch: the next begin when the last have ended", function()
  for _, batch in ipairs { "2", "34%" } do
    local wanted = batch == "2" and 2 or 3
    local result, most, waves = watch_schedule(wanted, "--on", "c[1-6]", "--batch", batch)
    tap.equal({ result.code, most }, { 0, wanted }, result.stderr)
    for i = 2 * wanted, #waves, 2 * wanted do tap.equal(waves[i], 0, "nobody runs between batches") end
  end
end)

tap.test("a host that fails does not stop the others; those that failed come last", function()
  local result = moonbook { "-e", "host.run{'true'}", "--on", "bad1,c1,c2" }
  tap.equal(result.code, 1)
  local c1, c2 = result.stderr:find "changed c1  changed: 1", result.stderr:find "changed c2  changed: 1"
  local bad = result.stderr:find "\nfailed bad1 "
  tap.ok(c1 and c2 and bad and bad > c1 and bad > c2, result.stderr)
  tap.match(result.stderr, "error: bad1: .*refused.*2 of 3 hosts done, 1 failed: bad1\n")
end)

tap.test("--max-failures: when more have failed, no further host is begun", function()
  local result = moonbook { "-e", "host.run{'true'}", "--on", "bad[1-3],c[1-2]", "--forks", "1", "--max-failures", "1" }
  tap.equal(result.code, 1)
  tap.match(result.stderr, "0 of 5 hosts done, 2 failed: bad1, bad2, 3 not begun: bad3, c1, c2\n")
  tap.match(result.stderr, "3 of 5 hosts not begun: 2 failed, and max%-failures is 1")
  result = moonbook { "-e", "host.run{'true'}", "--on", "bad[1-2],c[1-2]", "--forks", "1", "--max-failures", "2" }
  tap.match(result.stderr, "2 of 4 hosts done, 2 failed: bad1, bad2\n")
  result = moonbook { "-e", "host.run{'true'}", "--on", "bad1,c1,c2", "--forks", "1", "--max-failures", "0" }
  tap.match(result.stderr, "2 not begun: c1, c2\n")
end)

tap.test("a batch in which every host failed is the last", function()
  local result = moonbook { "-e", "host.run{'true'}", "--on", "bad1,c1,bad[2-3],c2", "--batch", "2" }
  tap.equal(result.code, 1)
  tap.match(result.stderr, "1 of 5 hosts done, 3 failed: bad1, bad2, bad3, 1 not begun: c2\n")
  tap.match(result.stderr, "every host of the last batch did")
end)

tap.test("numbers that are none are wrong usage, and so are these options without hosts", function()
  for _, arguments in ipairs { { "--on", "c1", "--forks", "0" }, { "--on", "c1", "--forks", "x" },
    { "--on", "c1", "--batch", "0" }, { "--on", "c1", "--batch", "101%" }, { "--on", "c1", "--max-failures", "-1" },
    { "--forks", "3" }, { "--batch", "3" },
    { "--max-failures", "3" }, { "--except", "c1" } } do
    local result = moonbook { "-e", "print(1)", table.unpack(arguments) }
    tap.equal({ result.code, result.stdout }, { 64, "" }, table.concat(arguments, " "))
  end
end)

tap.test("options count however many there are; those of hosts behind a script's name are not taken for its own", function()
  local many = write("many.lua", [[return { about = "x", params = { { "m", "map(string)" } },
    run = function(p) local n = 0 for _ in pairs(p.m) do n = n + 1 end print(n) end }]])
  local command = { "run", many }
  for i = 1, 100 do table.move({ "--set", "m.k" .. i .. "=v" }, 1, 2, #command + 1, command) end
  tap.equal(moonbook(command).stdout, "100\n")
  local script = write("script.lua", "print(...)")
  for _, option in ipairs { "--on", "--on=c1", "--except" } do
    local result = moonbook { script, option, "c1" }
    tap.equal({ result.code, result.stdout }, { 64, "" })
    tap.match(result.stderr, "before the script's name")
  end
  tap.equal(moonbook { script, "--", "--on", "c1" }.stdout, "--on\tc1\n")
  tap.equal(moonbook { "--on", "c1", script, "x" }.stdout, "x\n")
end)

tap.test("output that does not arrive is a failure; streams that the caller closed are no other files", function()
  local function shell(line, ...)
    return host.run { "sh", "-c", line, program, ..., reads = true, ok = true,
      env = { MOONBOOK_SSH_CONFIG = folder .. "/config", XDG_STATE_HOME = folder .. "/state" } }
  end
  for _, line in ipairs { [["$0" hosts 'c[1-9999]' >/dev/full]], [["$0" hosts c1 >/dev/full]],
    [["$0" --json --on c1,c2 -e 'print(1)' >/dev/full]] } do
    local result = shell(line)
    tap.equal(result.code, 1, line)
    tap.match(result.stderr, "standard output could not be written")
  end
  for _, closed in ipairs { ">&- 2>&-", "<&- >&- 2>&-", "2>&-", "<&-" } do
    local result = shell([["$0" --on c1,c2 -e 'host.run { "true" } warn "x" print(1)' ]] .. closed)
    tap.equal({ result.code, result.signal }, { 0 }, closed)
  end
end)

-- [[ a runbook on many hosts ]]

local book = write("book.lua", [[
  local calls = 0 -- its own on each host
  return {
    about = "writes a file",
    params = {
      { "where", "path", required = true, about = "its folder" },
      { "names", "list(string)", default = { "a" } },
      { "kernel", "string", default = function() return host.run { "uname", reads = true }.stdout:gsub("%s", "") end },
      { "token", "secret" },
    },
    validate = function(p) if #p.names > 2 then error { message = "too many names" } end end,
    run = function(p)
      calls = calls + 1
      p.names[#p.names + 1] = "mine"
      print(p.kernel, calls, #p.names)
      step("write", function()
        for _, name in ipairs(p.names) do file.present { p.where .. "/" .. name, content = p.kernel } end
      end)
      step("look", function() warn "seen" end)
    end,
  }]])

tap.test("each host computes its own parameters and has locals of its own; data is said with its host", function()
  local where = fresh()
  local result = moonbook { "run", book, "--on", "c1,c2", "--forks", "1", "--set", "where=" .. where }
  tap.equal(result.code, 0, result.stderr)
  tap.equal(lines(result.stdout), { "c1: Linux\t1\t2", "c2: Linux\t1\t2" })
  tap.match(result.stderr, "book.lua on 2 hosts\n")
  tap.match(result.stderr, "\nchanged c1  changed: 2, unchanged: 0, failed: 0[^\n]*\n" ..
    "  changed write\n +changed file.present [^\n]*/a")
  tap.match(result.stderr, "\nok      c2  changed: 0, unchanged: 2, failed: 0[^\n]*\nwarning: seen\n")
  tap.match(result.stderr, "\n2 of 2 hosts done\nchanged: 2, unchanged: 2, failed: 0 ")
end)

tap.test("--check on many hosts predicts for each, and --detailed-exitcode tells", function()
  local where = fresh()
  local result = moonbook { "run", book, "--on", "c[1-3]", "--check", "--detailed-exitcode", "--set", "where=" .. where }
  tap.equal(result.code, 2)
  for i = 1, 3 do tap.match(result.stderr, "would change c" .. i .. "  would change: 2, unchanged: 0, failed: 0") end
  tap.equal(file.glob(where .. "/*"), {})
end)

tap.test("events say which host", function()
  local where = fresh()
  local result = moonbook { "run", book, "--on", "bad1,c1", "--json", "--set", "where=" .. where,
    "--set", "token=env:CANARY" }
  tap.equal(result.code, 1)
  local start = events(result, "run.start")[1]
  tap.equal(start.hosts, { "bad1", "c1" })
  tap.equal(start.params, { where = where, names = { "a" }, token = "<secret>" })
  tap.equal(events(result, "host.start")[1].params.kernel, "Linux")
  for _, change in ipairs(events(result, "change")) do tap.equal(change.host, "c1") end
  local ends = {}
  for _, event in ipairs(events(result, "host.end")) do ends[event.host] = event end
  tap.equal({ ends.c1.status, ends.c1.changed, ends.bad1.status, ends.bad1.changed }, { "ok", 2, "failed", 0 })
  tap.equal({ ends.bad1.error.kind, ends.bad1.error.host }, { "unreachable", "bad1" })
  tap.equal(events(result, "run.end")[1].status, "failed")
end)

tap.test("parameters are refused before any host is asked; what hosts refuse of them is wrong usage too", function()
  for _, arguments in ipairs { {}, { "--set", "where=relative" }, { "--set", "wher=/tmp" } } do
    local result = moonbook { "run", book, "--on", "bad[1-2]", table.unpack(arguments) }
    tap.equal(result.code, 64, result.stderr)
    tap.ok(not result.stderr:find "bad1", "no host is asked")
  end
  local result = moonbook { "run", book, "--on", "c[1-2]", "--set", "where=/tmp", "--set", "names=a,b,c" }
  tap.equal(result.code, 64, result.stderr)
  tap.match(result.stderr, "error: c2: parameters: too many names")
end)

tap.test("one host: as on this machine, with its name", function()
  local where = fresh()
  local result = moonbook { "run", book, "--on", "c1", "--set", "where=" .. where }
  tap.equal({ result.code, result.stdout }, { 0, "Linux\t1\t2\n" }, result.stderr)
  tap.match(result.stderr, "book.lua on c1\n")
  tap.match(result.stderr, "\n  changed write\n")
  tap.match(moonbook { "run", book, "--on", "bad1", "--set", "where=" .. where }.stderr, "error: bad1: connect: ")
  tap.equal(moonbook { "--on", "local", "-e", "print(host.name)" }.stdout, host.name .. "\n")
end)

tap.test("an interrupt ends every host and says so", function()
  local result = host.run { "sh", "-c", [[
    "$0" --on c1,c2 -e 'host.run{"touch", "]] .. folder .. [[/begun", reads=true} sleep(60)' & process=$!
    while ! [ -e ]] .. folder .. [[/begun ]; do sleep 0.05; done
    kill -INT $process; wait $process]], program, ok = 130, reads = true, timeout = "2m",
    env = { MOONBOOK_SSH_CONFIG = folder .. "/config", XDG_STATE_HOME = folder .. "/state" } }
  tap.match(result.stderr, "0 of 2 hosts done, 2 interrupted: c1, c2\n")
end)

tap.test("an error of the kind cancelled that nobody's interrupt caused is a failure", function()
  local result = moonbook { "--on", "c1,c2", "-e", "error { kind = 'cancelled', message = 'the job was' }" }
  tap.equal(result.code, 1)
  tap.match(result.stderr, "0 of 2 hosts done, 2 failed: c1, c2\n")
  result = moonbook { "-e", [[
    print(select(2, pcall(fleet, "c1,c2", function() error { kind = "cancelled", message = "x" } end)))]] }
  tap.match(result.stdout, "2 of 2 hosts failed")
end)

-- On a terminal: answers the first question, once the file is there.
local function answer(word, file_name, ...)
  local script = [[set timeout 60
    eval spawn -noecho $env(argv)
    expect -re {(N\]|uit:) $} {} timeout { exit 9 }
    if {$env(WAIT) ne ""} { while {![file exists $env(WAIT)]} { after 20 } }
    send "$env(WORD)\r"
    expect eof
    exit [lindex [wait] 3] ]]
  return host.run { "expect", "-c", script, reads = true, ok = true, env = { PATH = os.getenv "PATH", TERM = "xterm",
    WORD = word, WAIT = file_name, LANG = "C", MOONBOOK_SSH_CONFIG = folder .. "/config", XDG_STATE_HOME = folder .. "/state",
    argv = table.concat({ program, ... }, " ") } }
end

tap.test("a question stays on the screen until it is answered; \"all\" answers those of the other hosts", function()
  local third = folder .. "/third" -- begins when the second has ended, and what is said of that one
  local chunk = write("asks.lua", ([[N = (N or 0) + 1
    if N == 1 then log(confirm "go on?") elseif N == 2 then warn "meanwhile"
    else host("local").run { "touch", "%s", reads = true } end]]):format(third))
  local result = answer("y", third, "--on", "c1,c2,c3", "--forks", "2", chunk)
  tap.equal(result.code, 0, result.stdout)
  tap.match(result.stdout, "c1: go on%? %[y/N%] y\r*\n.*meanwhile")
  result = answer("a", "", "--on", "c1,c2,c3", "--step", "-e", "{host.run{'true'}}")
  tap.equal(result.code, 0, result.stdout)
  local _, questions = result.stdout:gsub("uit: ", "")
  tap.equal(questions, 1, result.stdout)
end)

tap.test("os.exit on one of several hosts ends the run; 0 only where no other was left undone", function()
  local chunk = "if FIRST then sleep(60) end FIRST = true os.exit(%d)"
  for status, wanted in pairs { [0] = 1, [2] = 2 } do
    local result = moonbook { "--on", "c1,c2", "-e", chunk:format(status) }
    tap.equal(result.code, wanted, result.stderr)
    tap.match(result.stderr, "the run was not finished")
    tap.match(result.stderr, "the script ended the run: 1 of 2 hosts were not done")
  end
  tap.equal(moonbook { "--on", "c1,c2", "-e", "if FIRST then os.exit(0) end FIRST = true" }.code, 0)
  for status, wanted in pairs { [0] = "ok", [2] = "failed" } do
    local result = moonbook { "--on", "c1", "--json", "-e", ("os.exit(%d)"):format(status) }
    tap.equal({ result.code, events(result, "host.end")[1].status, events(result, "run.end")[1].status },
      { status, wanted, wanted })
  end
end)

-- [[ fleet{} ]]

local function lua(chunk)
  return moonbook { "-e", chunk }
end

tap.test("fleet: results in order, modules act on each host", function()
  local result = lua [[
    local r, failed = fleet({ "c[1-2]", host "c3", "c1" }, function(h)
      return h.run { "echo", "x", reads = true }.stdout .. host.os.id
    end)
    print(#r, failed, r[1].host, r[2].host, r[3].host, r[1].ok, (r[3].value:gsub("\n", " ")))]]
  tap.match(result.stdout, "^3\t0\tc1\tc2\tc3\ttrue\tx %l+\n")
end)

tap.test("fleet: failures are raised with all results, or given back within max_failures", function()
  local result = lua [[
    local function seven(h) return h.run { "true", reads = true } and 7 end
    local done, err = pcall(fleet, "bad1,c1", seven)
    print(done, err.kind, #err.results, err.results[1].ok, err.results[1].error.kind, err.results[2].value)
    local r, failed = fleet("bad1,c1", seven, { max_failures = 1 })
    print(failed, r[1].ok, r[1].error.host, r[2].value)
    done, err = pcall(fleet, "bad1,c[1-2]", seven, { max_failures = 0, forks = 1 })
    print(done, err.results[2].ok, err.results[2].error, err)]]
  local said = lines(result.stdout)
  tap.equal(said[1], "false\tfailed\t2\tfalse\tunreachable\t7")
  tap.equal(said[2], "1\tfalse\tbad1\t7")
  tap.match(said[3], "^false\tfalse\tnil\t.*1 of 3 hosts failed: bad1: .*; 2 of 3 hosts not begun")
end)

tap.test("fleet: under --check a wait may depend on what was predicted before it", function()
  local result = moonbook { "--check", "-e", [[host.run { "true" }
    fleet("c1,c2", function() wait { function() return false end, timeout = "1s", what = "the change" } end)]] }
  tap.equal(result.code, 0, result.stderr)
  result = moonbook { "--check", "--on", "c1,c2", "-e", [[
    if FIRST then wait { function() return false end, timeout = "1s" } end
    FIRST = true
    host.run { "true" }]] }
  tap.match(result.stderr, "1 of 2 hosts done, 1 failed: c2\n", "what is predicted for another host is no reason")
end)

tap.test("finalizers at the end find no hosts any more", function()
  local result = moonbook { "--on", "c1,c2", "-e",
    "X = setmetatable({}, { __gc = function() wait { function() return false end, timeout = 1 } end })" }
  tap.equal(result.code, 0)
  tap.ok(not result.stderr:find "of 2 done", result.stderr)
end)

tap.test("fleet: events tell each host's begin and end, and in which step", function()
  local result = moonbook { "--json", "-e", [[host.run { "true" }
    step("both", function() fleet("bad1,c1", function() host.run { "true" } end, { max_failures = 1 }) end)]] }
  local begun, ended = events(result, "host.start"), {}
  tap.equal({ #begun, begun[1].host, begun[1].step, begun[2].host }, { 2, "bad1", "both", "c1" }, result.stderr)
  for _, event in ipairs(events(result, "host.end")) do ended[event.host] = event end
  tap.equal({ ended.c1.status, ended.c1.changed, ended.c1.step }, { "ok", 1, "both" })
  tap.equal({ ended.bad1.status, ended.bad1.error.kind, ended.bad1.error.host }, { "failed", "unreachable", "bad1" })
end)

tap.test("two machines of one name are two", function()
  local spec = sshd:spec { known_hosts = write("known", "* " .. file.read(sshd.folder .. "/host_ed25519.pub")) }
  local chunk = ([[
    local spec = json.decode %q
    local function twin(address)
      spec[1], spec.address = "twin", address
      return host(spec)
    end
    local one, other = twin "127.0.0.1", twin "localhost"
    one.file.present { "%s/predicted", content = "x" }
    print(one.file.stat "%s/predicted" ~= nil, other.file.stat "%s/predicted" ~= nil,
      #fleet({ one, other, one }, function() end))]]):format(json.encode(spec), folder, folder, folder)
  local result = moonbook { "--check", "-e", chunk }
  tap.equal({ result.code, result.stdout }, { 0, "true\tfalse\t2\n" }, result.stderr)
end)

tap.test("fleet: changes count for the run; wrong options are said", function()
  local result = lua [[fleet("c1,c2", function() host.run { "true" } end)]]
  tap.match(result.stderr, "changed: 2, unchanged: 0, failed: 0")
  for chunk, wanted in pairs {
    ["fleet('c1', print, { fork = 2 })"] = "did you mean .forks", ["fleet('c1', print, { forks = 0 })"] = "forks= is 1 or more",
    ["fleet('c1', print, { batch = 'x' })"] = "batch= is a number", ["fleet(7, print)"] = "hosts are text",
    ["fleet({ 7 }, print)"] = "hosts are text", ["fleet('c1')"] = "function",
  } do tap.match(lua(chunk).stderr, wanted) end
end)

-- [[ the lock ]]

-- A run that holds the lock of c1 until it is told to end.
local function while_locked(fn)
  local gate = folder .. "/gate"
  host.run { "rm", "-f", gate, gate .. ".held" }
  host.run { "mkfifo", gate }
  parallel {
    function()
      moonbook { "--on", "c1", "-e", ("host.run{'touch', '%s.held'} host.run{'cat', '%s', reads=true}"):format(gate, gate) }
    end,
    function()
      wait { function() return file.stat(gate .. ".held") end, timeout = "30s", every = "50ms", what = "the first run" }
      local done, problem = pcall(fn)
      host.run { "sh", "-c", "echo >" .. gate, reads = true }
      if not done then error(problem, 0) end
    end,
  }
end

tap.test("a second run that would change the host is refused, with who has it; reading goes on", function()
  while_locked(function()
    local result = moonbook { "--on", "c2", "-e", "host.run{'touch', '" .. folder .. "/second'}" }
    tap.equal(result.code, 1)
    tap.match(result.stderr, "error: c2: lock: c2 is being changed by run %d+%-%d+%-%x+ of %w+@.* since %d+%-")
    tap.match(result.stderr, "what to do: wait for its end, .* `kill %d+` on c2")
    tap.equal(file.stat(folder .. "/second"), nil)
    tap.equal(moonbook { "--on", "c2", "-e", "print(host.run{'echo', 'x', reads=true}.stdout)" }.stdout, "x\n\n")
    tap.equal(moonbook { "--on", "c2", "--check", "-e", "host.run{'true'}" }.code, 0)
  end)
  tap.equal(moonbook { "--on", "c2", "-e", "host.run{'true'}" }.code, 0, "free again")
end)

tap.test("a run that was killed holds nothing; a process of the same number does not either", function()
  local lock = sshd.folder .. "/state/moonbook/lock"
  file.present { lock, content = "999999 5\nrun 20200101-000000-0000 of nobody@nowhere since then\n" }
  tap.equal(moonbook { "--on", "c1", "-e", "host.run{'true'}" }.code, 0)
  file.present { lock, content = "1 5\nrun 20200101-000000-0000 of nobody@nowhere since then\n" }
  tap.equal(moonbook { "--on", "c1", "-e", "host.run{'true'}" }.code, 0)
  file.present { lock, content = "nonsense" }
  tap.equal(moonbook { "--on", "c1", "-e", "host.run{'true'}" }.code, 0)
end)

tap.test("a holder that has ended is gone, also while its parent has not looked at it", function()
  local parent, child, start = host.sh { [[
    # Its parent must be the program that looks at nobody before it ends.
    sh -c '{ until grep -qx sleep "/proc/$$/comm"; do :; done; } & echo $! >"$0"; exec sleep 60' "$PIDS" >/dev/null 2>&1 &
    until [ -s "$PIDS" ] && read -r child <"$PIDS" && grep -q ') Z' "/proc/$child/stat"; do :; done
    echo $! "$child" "$(sed 's/.*) //' "/proc/$child/stat" | cut -d ' ' -f 20)"]], reads = true, timeout = "30s",
    env = { PIDS = folder .. "/pids" } }.stdout:match "(%d+) (%d+) (%d+)"
  file.present { sshd.folder .. "/state/moonbook/lock",
    content = ("%s %s\nrun 20200101-000000-0000 of nobody@nowhere since then\n"):format(child, start) }
  local result = moonbook { "--on", "c1", "-e", "host.run{'true'}" }
  host.run { "kill", parent, reads = true }
  tap.equal(result.code, 0, result.stderr)
end)

tap.test("a run that lost its connection has its lock again before it changes anything else", function()
  for _, transport in ipairs { "ssh", "openssh" } do
    local result = moonbook { "--on", "c1", "--transport", transport, "-e", [[
      local function lock()
        return host.sh { "read -r pid start <$XDG_STATE_HOME/moonbook/lock; [ -d /proc/$pid ] && echo $pid", reads = true,
          ok = true }.stdout
      end
      host.run { "true" }
      local first = lock()
      pcall(host.sh, { "kill -KILL " .. first, reads = true })
      wait { function() return host.run { "true", reads = true } end, every = "50ms" }
      host.run { "true" }
      local second = lock()
      print(first ~= "", second ~= "", first ~= second)]] }
    tap.equal({ result.code, result.stdout }, { 0, "true\ttrue\ttrue\n" }, transport .. result.stderr)
  end
end)

-- Run by the host as its look at a new file, in the middle of a change: stops the run, and when what the look said is on this
-- side cuts the connection and has another one take the lock, before the run goes on and sees any of it.
local cuts = write("cuts", [[
  lock=$XDG_STATE_HOME/moonbook/lock run=$(cat "$1/run")
  read -r login start <"$lock"
  kill -STOP "$run"
  echo >"$1/stopped"
  (
    while pgrep -r D,R,S -P "$run" -f ControlMaster=no; do sleep 0.02; done
    kill -KILL "$login"
    while pgrep -r D,R,S -P "$run"; do sleep 0.02; done
    sleep 300 & other=$!
    echo $other >"$1/other"
    start=$(sed 's/.*) //' "/proc/$other/stat" | cut -d ' ' -f 20)
    printf '%s %s\nrun 20200101-000000-0000 of another@desk since then\n' $other "$start" >"$lock"
    kill -CONT "$run"
  ) >/dev/null 2>&1 </dev/null &
]])

tap.test("a change whose connection was lost unseen does not go on where another run has the lock by now", function()
  local path = folder .. "/guarded"
  file.present { path, content = "as it was\n" }
  local result = host.run { "sh", "-c", 'echo $$ >"$1/run"; shift; exec "$@"', "sh", folder, program, "--on", "c1",
    "--transport", "openssh", "-e", ("file.present{%q, content = 'another\\n', validate = {'sh', %q, %q, '%%s'}}"):format(
      path, cuts, folder), reads = true, ok = true, timeout = "60s",
    env = { MOONBOOK_SSH_CONFIG = folder .. "/config", XDG_STATE_HOME = folder .. "/state" } }
  host.run { "sh", "-c", 'kill "$(cat "$1/other")"', "sh", folder, reads = true }
  tap.equal({ result.code, file.read(path) }, { 1, "as it was\n" }, result.stderr)
  tap.match(result.stderr, "c1 is being changed by run 20200101%-000000%-0000 of another@desk since then")
end)

tap.test("nor does another change there of the same run, begun under the same lock", function()
  local first, second = folder .. "/first", folder .. "/second"
  host.run { "rm", "-f", folder .. "/stopped" }
  local chunk = ([[
    local function change(path, ...)
      return pcall(file.present, { path, content = "another\n", validate = { ... } })
    end
    local waiting = "until [ -e %s/stopped ]; do sleep 0.02; done"
    local one, two
    parallel {
      function() one = change(%q, "sh", "-c", waiting, "sh", "%%s") end,
      function() two = change(%q, "sh", %q, %q, "%%s") end,
    }
    print(one, two, file.exists(%q), file.exists(%q))]]):format(folder, first, second, cuts, folder, first, second)
  local result = host.run { "sh", "-c", 'echo $$ >"$1/run"; shift; exec "$@"', "sh", folder, program, "--on", "c1",
    "--transport", "openssh", "-e", chunk, reads = true, ok = true, timeout = "60s",
    env = { MOONBOOK_SSH_CONFIG = folder .. "/config", XDG_STATE_HOME = folder .. "/state" } }
  host.run { "sh", "-c", 'kill "$(cat "$1/other")"', "sh", folder, reads = true }
  tap.match(result.stdout, "false\tfalse\tfalse\tfalse", result.stderr)
end)

tap.test("a run that the holder began works under its lock", function()
  local result = moonbook { "-e", ("host.run{'true'} host.run{%q, '-e', 'host.run{\"true\"}'}"):format(program) }
  tap.equal(result.code, 0, result.stderr)
end)

host.run { "rm", "-rf", folder, reads = true }
tap.finish()
