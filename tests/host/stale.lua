-- troubleshoot/stale-services on a real cluster with ACLs, from outside over ssh: a client's address changes, its old
-- registration stays; exactly that is found and goes, through that host's own agent; nothing live is touched, nothing
-- secret is in a list of processes. As root: `MOONBOOK_PATH=$PWD/tests build/moonbook tests/host/stale.lua`
-- lab: --acls srv1 srv2 srv3 c1 c2
local tap = require "tap"
local lab = require "lab"
local outside = require "outside"

local RUNBOOK = "troubleshoot/stale-services"
local MOVED = "10.213.77.51"
local DEREGISTER = "consul.agent.deregister_service"
local reach = { c1 = MOVED }
local c1, c2 = lab.host "c1", lab.host "c2"
local c = consul { addr = lab.server() .. ":8500", token = lab.token "management" }

-- ---- the cluster ----

local function join(host)
  local run = host:join { json = true, env = { CONSUL_HTTP_TOKEN = lab.token "management" },
    set = { consul_dns = lab.server() .. "#8600" } }
  assert(run.code == 0, lab.why(run))
  wait { function()
    for _, member in ipairs(c.agent.list_agent_members()) do
      if member.Name == host.name then return member.Status == 1 end
    end
  end, timeout = "120s", every = "200ms", what = host.name .. " to be a living member for srv1" }
end

-- All that the catalog has of Nomad's agents: {"c1 10.213.77.11 _nomad-client-...", ...}; or of one node.
local function registered(node)
  local list = {}
  for _, name in ipairs { "nomad-client", "nomad" } do
    for _, row in ipairs(c.catalog.list_service_nodes(name)) do
      if not node or row.Node == node then
        list[#list + 1] = ("%s %s %s"):format(row.Node, row.ServiceAddress, row.ServiceID)
      end
    end
  end
  table.sort(list)
  return list
end

local function find(lines, beginning)
  for _, line in ipairs(lines) do
    if line:sub(1, #beginning) == beginning then return line end
  end
end

-- As a reboot with another address does it: Consul ends before Nomad, which then cannot take back what it registered; the
-- agent knows it from its disk.
local function move(host, from, to)
  host:sh(([[
    systemctl stop consul; systemctl stop nomad
    sed -i 's/%s\>/%s/' /etc/systemd/network/10-host0.network /etc/consul.d/consul.hcl /etc/nomad.d/nomad.hcl
    networkctl reload; networkctl reconfigure host0
    until ip -4 addr show host0 | grep -q %s/; do sleep 0.05; done
    systemctl reset-failed consul nomad; systemctl start consul nomad]]):format(from:gsub("%.", "\\."), to, to))
  wait { function() return find(registered(), ("%s %s "):format(host.name, to)) end, timeout = "120s", every = "200ms",
    what = host.name .. " at its new address in the catalog" }
end

-- ---- runs ----

local function run(options)
  local words = { "run", RUNBOOK, "--json" }
  for name, value in pairs(options.set or {}) do
    words[#words + 1] = "--set"
    words[#words + 1] = name .. "=" .. value
  end
  table.move(options, 1, #options, #words + 1, words)
  words.reach, words.before, words.env = options.reach or reach, options.before, options.env
  words.token = options.token == nil and "management" or options.token or nil
  local done = outside.run(words)
  done.text = ""
  for _, event in ipairs(done.events) do done.text = done.text .. (event.event == "log" and event.message .. "\n" or "") end
  done.changes, done.failure = lab.changes(done.events), (lab.event(done.events, "run.end").error or {}).message
  done.hosts = {}
  for _, event in ipairs(done.events) do
    if event.event == "change" then done.hosts[#done.hosts + 1] = event.host end
  end
  return done
end

local function url(id) return ("%s PUT /v1/agent/service/deregister/%s"):format(DEREGISTER, id) end

-- ---- what others can see ----

-- Reads the command line of every process, the hosts' too (their pids are ours as well), until its input ends; then says
-- how many it saw, and each in which a secret is. The secrets come on its first line.
local SAMPLER = [[
import glob, select, sys
secrets = sys.stdin.readline().split()
seen, found = set(), set()
while not select.select([sys.stdin], [], [], 0)[0]:
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try: text = open(path, "rb").read().replace(b"\0", b" ").decode(errors="replace")
        except OSError: continue
        seen.add(text)
        for secret in secrets:
            if secret in text: found.add(text)
print(len(seen))
for text in found: print(text)
]]

-- Runs fn while the command lines of all processes are read; returns how many different there were, and those with a secret.
local function watched(secrets, fn)
  local pipe <const> = outside.folder() .. "/watched"
  host.run { "mkfifo", pipe, reads = true }
  local said
  parallel {
    function()
      said = host.run { "sh", "-c", 'exec python3 -c "$PROGRAM" <"$1"', "sh", pipe, env = { PROGRAM = SAMPLER,
        PATH = os.getenv "PATH" }, reads = true, timeout = "5m" }.stdout
    end,
    function()
      local held <close> = io.open(pipe, "w")
      held:write(secrets, "\n")
      held:flush()
      fn()
    end,
  }
  host.run { "rm", pipe, reads = true }
  local count, found = said:match "^(%d+)\n(.*)$"
  return tonumber(count), found
end

-- ---- nothing to find ----

join(c1)
join(c2)
local before = registered()
local old = find(before, "c1 "):match "%S+$"

tap.test("where nobody moved nothing is stale, and no host is asked", function()
  local done = run { reach = { c1 = "10.213.77.250", c2 = "10.213.77.250" } }
  tap.equal(done.code, 0, done.said)
  tap.equal(done.changes, {})
  tap.match(done.text, "none is stale among 5 registrations of 5 nodes")
end)

tap.test("a token that sees nothing is no all-clear", function()
  local done = run { token = false }
  tap.match(done.said, "nothing was found")
  tap.match(done.said, "no token was set")
  tap.ok(not done.text:find "none is stale", done.text)
  tap.equal(done.code, 1)
end)

-- ---- a host has moved ----

move(c1, c1.address, MOVED)
local live = {}
for _, line in ipairs(registered()) do
  if not line:find(old, 1, true) then live[#live + 1] = line end
end

tap.test("the address of a client changed, and its old registration is still there", function()
  tap.ok(find(registered(), "c1 " .. c1.address .. " " .. old), "the old one")
  tap.ok(find(live, "c1 " .. MOVED), "the new one")
  tap.equal(#registered(), #live + 1)
end)

tap.test("--check finds exactly it, and changes nothing", function()
  local done = run { "--check" }
  tap.equal(done.code, 0, done.said)
  tap.equal(done.changes, { url(old) })
  tap.equal(done.hosts, { "c1" })
  tap.match(done.text, "at " .. c1.address .. ", but its Nomad is at " .. MOVED)
  tap.ok(find(registered(), "c1 " .. c1.address), "it is still there")
  -- agent:read, node:read and service:write are enough
  tap.equal(run({ "--check", token = "nomad" }).changes, { url(old) })
  local blind = run { "--check", token = "agent" }
  tap.equal({ blind.code, blind.changes }, { 1, {} }, blind.said)
  tap.match(blind.failure, "node c1 could not be looked at: [^\n]*403")
end)

tap.test("asked on the wrong host: the error names the right one", function()
  local done = run { "--yes", set = { ["hosts.c1"] = "c2" } }
  tap.equal(done.code, 1)
  tap.equal(done.changes, {})
  tap.match(done.failure, "ssh c2 leads to the node c2, but c1 registered it")
  tap.match(done.said, "hosts%.c1=NAME")
  local err = tap.raises("http", function()
    consul { addr = lab.server() .. ":8500", token = lab.token "management" }.agent.deregister_service(old)
  end)
  tap.match(err, "another agent registered it: consul.catalog.list_service_nodes names the node")
end)

tap.test("a host that cannot be reached: nothing is touched, and the run says so", function()
  local done = run { "--yes", reach = { c1 = "10.213.77.250" } }
  tap.equal(done.code, 1)
  tap.equal(done.changes, {})
  tap.match(done.failure, "node c1 could not be looked at")
  tap.match(done.text, "left alone")
  tap.match(done.said, "%-%-set reach=address takes 10%.213%.77%.51")
  tap.equal(#registered(), #live + 1)
end)

tap.test("without --yes it asks, and without a terminal it changes nothing", function()
  local done = run {}
  tap.equal({ done.code, done.changes }, { 1, {} }, done.said)
  tap.match(done.failure, "no terminal to ask on")
  tap.equal(#registered(), #live + 1)
end)

-- Another node may have the very same id, if it has the address now: that one is live.
c2:write("/root/same.json", ([[{"ID": %q, "Name": "nomad-client", "Address": %q, "Port": 4646}]]):format(old, c2.address))
c2:sh(("curl -sf -X PUT -H 'X-Consul-Token: %s' --data @/root/same.json http://127.0.0.1:8500/v1/agent/service/register")
  :format(lab.token "management"))
wait { function() return find(registered "c2", ("c2 %s %s"):format(c2.address, old)) end, timeout = "90s", every = "100ms",
  what = "the same id on c2" }
live[#live + 1] = ("c2 %s %s"):format(c2.address, old)
table.sort(live)

tap.test("it is deregistered through that host's own agent, and stays away past the agents' sync", function()
  local token, done = outside.token_file "management", nil
  local trace = outside.folder() .. "/trace"
  local daemon = c1:sh "systemctl show -p MainPID --value ssh"
  c1:sh(("strace -f -v -s 4096 -e trace=execve -o /run/execs -p %s >/dev/null 2>&1 & until [ -e /run/execs ]; do :; done")
    :format(daemon))
  local count, found = watched(lab.token "management", function()
    done = run { "--yes", token = false, set = { token = "file:" .. token },
      before = { "strace", "-f", "-v", "-s", "4096", "-e", "trace=execve", "-o", trace } }
  end)
  c1:sh "pkill -INT -x strace; while pgrep -x strace >/dev/null; do sleep 0.05; done"
  tap.equal(done.code, 0, done.said)
  tap.equal(done.changes, { url(old) })
  tap.equal(done.hosts, { "c1" })
  tap.equal(registered(), live)
  tap.match(done.text, "1 registration gone, and stayed away")
  tap.ok(lab.event(done.events, "run.end").ms > 120000, "it was watched past a sync")
  -- what was started on either machine, with its environment, and what the lists of processes showed meanwhile
  tap.ok(count > 20, "processes seen: " .. count)
  tap.equal(found, "", "processes with the token")
  for machine, text in pairs { here = file.read(trace), c1 = c1:read "/run/execs" } do
    tap.match(text, "execve%(")
    tap.ok(not text:find(lab.token "management", 1, true), "the token was given to a process: " .. machine)
  end
  tap.ok(not done.said:find(lab.token "management", 1, true), "the token was said")
  for _, path in ipairs(file.glob(outside.folder() .. "/state/moonbook/runs/*/journal.jsonl")) do
    tap.ok(not file.read(path):find(lab.token "management", 1, true), "the token is in " .. path)
  end
end)

tap.test("the watch over the processes would have seen a token", function()
  local _, found = watched("sekrit-canary", function()
    host.run { "sleep", "0.5", reads = true }
    host.run { "sh", "-c", "sleep 5; : sekrit-canary", reads = true }
    c2:sh "sleep 5; : c2 sekrit-canary"
  end)
  tap.match(found, "sleep 5; : sekrit%-canary")
  tap.match(found, "c2 sekrit%-canary")
end)

tap.test("a second run finds nothing", function()
  local done = run { "--yes" }
  tap.equal(done.code, 0, done.said)
  tap.equal(done.changes, {})
  tap.equal(registered(), live)
end)

-- ---- what comes back ----

local REGISTER = "curl -s -X PUT -H 'X-Consul-Token: %s' --data @/root/stale.json http://127.0.0.1:8500/v1/agent/service/register"

-- Registers a stale id at that host's agent, by a token which the servers may have to hear of first.
local function leave_behind(host, id, token)
  host:write("/root/stale.json", ([[{"ID": %q, "Name": "nomad-client", "Tags": ["http"], "Address": "10.9.9.9", "Port": 4646}]])
    :format(id))
  wait { function()
    host:sh(REGISTER:format(token))
    return find(registered(host.name), host.name .. " 10.9.9.9 " .. id)
  end, timeout = "120s", every = "500ms", what = id .. " in the catalog" }
end

tap.test("one that is registered again is reported as kept alive", function()
  leave_behind(c2, "_nomad-client-alive", lab.token "management")
  c2:write("/root/keep", "while :; do " .. REGISTER:format(lab.token "management") .. "; sleep 3; done\n", "0700")
  c2:sh "systemd-run --quiet --unit keeper sh /root/keep"
  local done = run { "--yes", set = { settle = "8s" } }
  tap.equal(done.code, 1, done.said)
  tap.equal(done.changes, { url "_nomad-client-alive" })
  tap.equal(done.hosts, { "c2" })
  tap.match(done.failure, "nothing deregistered; what is left:\n  _nomad%-client%-alive of c2: it was registered again")
  c2:sh "systemctl stop keeper"
  done = run { "--yes", set = { settle = "1s" } }
  tap.equal({ done.code, done.changes }, { 0, { url "_nomad-client-alive" } }, done.said)
  tap.equal(registered(), live)
end)

tap.test("one that ACLs keep in the catalog is reported with what to do", function()
  local known = file.read("/proc/sys/kernel/random/uuid"):match "%S+"
  local token = c.acl.create_acl_token { SecretID = known, Policies = { { Name = "nomad" } } }
  leave_behind(c2, "_nomad-client-blocked", known)
  c.acl.delete_acl_token(token.AccessorID) -- as a token of Nomad's that was replaced
  for _ = 1, 2 do -- and again: the agent has it no more then, the catalog does
    local done = run { "--yes", set = { settle = "1s" } }
    tap.equal(done.code, 1, done.said)
    tap.match(done.failure, "_nomad%-client%-blocked of c2: its agent does not have it any more, but Consul's servers did not")
    tap.match(done.said, 'ACLs blocked the sync: give the token of the agent on c2 [^\n]*service:write on [\\"]+nomad%-client')
  end
  c.catalog.deregister_entity { Node = "c2", ServiceID = "_nomad-client-blocked" }
end)

-- ---- nodes that are gone ----

c.catalog.register_entity { Node = "c9", Address = "10.213.77.99", Service = { ID = "_nomad-client-c9", Service = "nomad-client",
  Address = "10.213.77.99", Port = 4646 } }
c.catalog.register_entity { Node = "c9", Address = "10.213.77.99", Service = { ID = "web", Service = "web" } }

tap.test("of a node that is no member any more the catalog itself is told, of nothing else of it", function()
  local done = run { "--check" }
  tap.equal(done.changes, { "consul.catalog.deregister_entity PUT /v1/catalog/deregister" })
  done = run { "--yes", set = { settle = "1s" } }
  tap.equal(done.code, 0, done.said)
  tap.equal(done.changes, { "consul.catalog.deregister_entity PUT /v1/catalog/deregister" })
  tap.match(done.text, "node c9 is gone")
  tap.equal(registered(), live)
  tap.equal(#c.catalog.list_service_nodes "web", 1)
  c.catalog.deregister_entity { Node = "c9" }
end)

tap.test("a node that only does not answer is left alone, unless it is said that it is gone for good", function()
  c2:sh "ip link set host0 down"
  wait { function()
    local failed
    for _, member in ipairs(c.agent.list_agent_members()) do failed = failed or member.Name == "c2" and member.Status == 4 end
    for _, check in ipairs(c.health.list_node_checks "c2") do
      if check.CheckID == "serfHealth" then return failed and check.Status == "critical" end
    end
  end, timeout = "120s", every = "200ms", what = "c2 to fail" }
  local done = run { "--yes" }
  tap.equal({ done.code, done.changes }, { 0, {} }, done.said)
  tap.match(done.text, "c2 does not answer; if it is gone for good: %-%-set gone=c2")
  local there = #registered "c2"
  tap.ok(there > 0)
  local wrong = run { "--yes", set = { gone = "c2,c1" } }
  tap.match(wrong.failure, "gone: c1 is a living member of the cluster")
  done = run { "--yes", set = { gone = "c2", settle = "1s" } }
  tap.equal({ done.code, #done.changes }, { 0, there }, done.said)
  tap.equal(registered "c2", {})
end)

lab.fresh "c1"
lab.fresh "c2"
tap.finish()
