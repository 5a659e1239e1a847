-- setup/join-client for several hosts at once, from outside over ssh: both join, a second run changes nothing on them, --check
-- says before what a run then does; the configuration may come from a host that is a member. As root:
-- `MOONBOOK_PATH=$PWD/tests build/moonbook tests/host/fleet_join.lua`
-- lab: --acls srv1 srv2 srv3 c1 c2
local tap = require "tap"
local lab = require "lab"
local outside = require "outside"

local CONSUL, NOMAD = "/etc/consul.d/consul.hcl", "/etc/nomad.d/nomad.hcl"
local c1, c2 = lab.host "c1", lab.host "c2"
local c = consul { addr = lab.server() .. ":8500", token = lab.token "management" }

-- ---- files for every host ----

-- One text for both: each host finds its own address when the agents start.
local function for_all(path)
  local text = c1:read(path)
  return (text:gsub('(%w*_addr%s*=%s*)"10[^"]*"', '%1"{{ GetPrivateIP }}"'))
end

-- Files of the operator's machine; not readable by others, as they hold tokens.
local function operator_file(name, text)
  local path = outside.folder() .. "/" .. name
  file.present { path, content = text, mode = "0600" }
  return path
end

local consul_hcl = operator_file("consul.hcl", for_all "/root/lab/consul.hcl")
local nomad_hcl = operator_file("nomad.hcl", for_all "/root/lab/nomad.hcl")

local function join(hosts, options)
  local set = lab.parameters()
  set.consul_hcl, set.nomad_hcl, set.consul_dns = consul_hcl, nomad_hcl, lab.server() .. "#8600"
  for name, value in pairs(options and options.set or {}) do set[name] = value end
  local words = { "run", "setup/join-client", "--on", hosts, "--json", token = "management", env = options and options.env }
  for name, value in pairs(set) do
    if value then table.move({ "--set", name .. "=" .. value }, 1, 2, #words + 1, words) end
  end
  if options and options.check then words[#words + 1] = "--check" end
  return outside.run(words)
end

-- {c1 = {"kind target", ...}, ...}: the changes of a run on each host.
local function by_host(events)
  local lists = { c1 = {}, c2 = {} }
  for _, event in ipairs(events) do
    if event.event == "change" then table.insert(lists[event.host], event.kind .. " " .. event.target) end
  end
  return lists
end

-- What tells that a unit was started anew.
local function starts(host)
  return (host:sh("systemctl show -p ActiveState,InvocationID,NRestarts,MainPID,ExecMainStartTimestampMonotonic " ..
    "consul nomad dnsmasq"))
end

-- ---- two hosts ----

local predicted

tap.test("--check says what is to be done on each, and does nothing", function()
  local before = { c1:files(), c2:files() }
  local run = join("c1,c2", { check = true })
  tap.equal(run.code, 0, lab.why(run))
  predicted = by_host(run.events)
  tap.equal(#predicted.c1, 15)
  tap.equal(predicted.c2, predicted.c1)
  tap.equal(lab.difference(before[1], c1:files()), {}, "files of c1")
  tap.equal(lab.difference(before[2], c2:files()), {}, "files of c2")
end)

tap.test("--check says that a run would not be allowed to, and with --sudo what it would do", function()
  local run = join("ops@c1", { check = true })
  tap.equal(run.code, 1, lab.why(run))
  tap.match(lab.event(run.events, "run.end").error.message, "needs to be root on c1")
  tap.match(lab.event(run.events, "run.end").error.hint, "%-%-sudo")
end)

tap.test("a host without sudo is told so, not that a password would help", function()
  c1:sh "mv /usr/bin/sudo /root/sudo"
  local run = outside.run { "--on", "ops@c1", "--sudo", "-e", "host.run { 'true', reads = true }" }
  c1:sh "mv /root/sudo /usr/bin/sudo"
  tap.equal(run.code, 1)
  tap.match(run.said, "what to do: there is no sudo")
end)

tap.test("both join, by just the changes that were predicted", function()
  local run = join "c1,c2"
  tap.equal(run.code, 0, lab.why(run))
  tap.equal(by_host(run.events), predicted)
  for _, host in ipairs { c1, c2 } do
    local found
    for _, row in ipairs(c.catalog.list_service_nodes "nomad-client") do
      found = found or row.Node == host.name and row.ServiceAddress == host.address
    end
    tap.ok(found, host.name .. " in the catalog at its own address")
    tap.equal(host:sh("stat -c '%a %U:%G' " .. CONSUL .. " " .. NOMAD), "640 root:consul\n640 root:root")
    tap.equal(host:read(CONSUL), file.read(consul_hcl))
  end
end)

tap.test("a second run changes nothing and touches nothing on either", function()
  local before = { c1:files(), c2:files(), starts(c1), starts(c2) }
  local run = join "c1,c2"
  tap.equal(run.code, 0, lab.why(run))
  tap.equal(by_host(run.events), { c1 = {}, c2 = {} })
  tap.equal(lab.difference(before[1], c1:files()), {}, "files of c1")
  tap.equal(lab.difference(before[2], c2:files()), {}, "files of c2")
  tap.equal({ starts(c1), starts(c2) }, { before[3], before[4] })
end)

tap.test("a token that the cluster refuses ends the proof, without waiting for what cannot come", function()
  for token, hint in pairs { [""] = "no token was set", ["11111111-2222-3333-4444-555555555555"] = "deleted or has expired" } do
    local run = join("c1", { set = { patience = "4m" }, env = { CONSUL_HTTP_TOKEN = token ~= "" and token } })
    local problem = lab.event(run.events, "run.end").error
    tap.equal(run.code, 1, lab.why(run))
    tap.equal(problem.kind, "permission")
    tap.match(problem.hint, hint .. ".* run this again")
    tap.equal(by_host(run.events).c1, {})
  end
end)

-- ---- from a member ----

local FROM = { consul_hcl = false, nomad_hcl = false, config_from = "c1" }

tap.test("a fresh host takes its configuration from a member, where the tokens stay out of sight", function()
  c2:reset()
  local first = join("c2", { set = FROM, check = true })
  tap.equal(first.code, 0, lab.why(first))
  local run = join("c2", { set = FROM })
  tap.equal(run.code, 0, lab.why(run))
  tap.equal(#by_host(run.events).c2, 15)
  tap.equal(by_host(run.events).c2[8], "file.present " .. CONSUL)
  tap.equal(by_host(first.events), by_host(run.events))
  tap.equal(c2:read(CONSUL), c1:read(CONSUL))
  tap.equal(c2:read(NOMAD), c1:read(NOMAD))
  tap.equal(c2:sh("stat -c '%a %U:%G' " .. CONSUL .. " " .. NOMAD), "640 root:consul\n640 root:root")
  for _, text in ipairs { first.said, run.said } do
    for _, name in ipairs { "agent", "nomad" } do tap.ok(not text:find(lab.token(name), 1, true), name .. "'s token") end
  end
  tap.equal(by_host(join("c2", { set = FROM }).events).c2, {})
end)

tap.test("what changes there leads to that change and one restart", function()
  c1:sh("echo '# one line more' >>" .. CONSUL)
  local before = c2:sh "systemctl show -p InvocationID nomad"
  local run = join("c2", { set = FROM })
  tap.equal(by_host(run.events).c2, { "file.present " .. CONSUL, "systemd.running consul.service" }, lab.why(run))
  tap.equal(c2:sh "systemctl show -p InvocationID nomad", before)
end)

tap.test("the operator's machine keeps nothing of the files' content", function()
  for _, path in ipairs(file.glob(outside.folder() .. "/state/moonbook/runs/*/journal.jsonl")) do
    for _, name in ipairs { "agent", "nomad", "management" } do
      tap.ok(not file.read(path):find(lab.token(name), 1, true), name .. "'s token in " .. path)
    end
  end
end)

-- Refused on c2 before anything is changed there; the error has each of the patterns.
local function is_refused(set, code, ...)
  local before = c2:files()
  local run = join("c2", { set = set })
  tap.equal(run.code, code, run.said)
  for _, pattern in ipairs { ... } do tap.match(run.said, pattern) end
  tap.equal(by_host(run.events).c2, {})
  tap.equal(lab.difference(before, c2:files()), {}, "files of c2")
end

tap.test("exactly one way to give the configuration", function()
  is_refused({ config_from = "c1" }, 64, "config_from and consul_hcl are both given")
  is_refused({ consul_hcl = false, nomad_hcl = false }, 64, "which configuration%?")
  is_refused({ nomad_hcl = false }, 64, "nomad_hcl is missing")
end)

tap.test("another host's address is not taken over: this one's stands in its place", function()
  c1:sh(("cp -p %s /root/consul; cp -p %s /root/nomad"):format(CONSUL, NOMAD))
  c1:sh(([[sed -i 's/^bind_addr .*/bind_addr = "%s"/' %s]]):format(c1.address, CONSUL))
  c1:sh("printf 'advertise {\\n  http = \"10.1.2.3:4646\"\\n}\\n' >>" .. NOMAD)
  local run = join("c2", { set = FROM })
  tap.equal(run.code, 0, lab.why(run))
  tap.match(c2:read(CONSUL), '\nbind_addr = "' .. c2.address:gsub("%.", "%%.") .. '"\n')
  tap.match(c2:read(NOMAD), '\nadvertise {\n  http = "' .. c2.address:gsub("%.", "%%.") .. ':4646"\n}\n')
  c1:sh(("cat /root/consul >%s; cat /root/nomad >%s"):format(CONSUL, NOMAD))
end)

tap.test("a host that has none, or does not answer, is named", function()
  is_refused({ consul_hcl = false, nomad_hcl = false, config_from = "srv2" }, 1, "srv2")
  is_refused({ consul_hcl = false, nomad_hcl = false, config_from = "10.213.77.250" }, 1, "10%.213%.77%.250:22")
end)

tap.test("a server for DNS with a port in another notation than dnsmasq's is refused before anything is changed", function()
  is_refused({ consul_dns = "10.0.0.1:8600" }, 1, "consul_dns: .*10%.0%.0%.1:8600.* is no server", "ADDRESS#PORT")
end)

-- ---- is it fit? ----

local function accept(hosts, set, env)
  local words = { "run", "setup/accept-agent", "--on", hosts, "--json", token = "management", env = env }
  for name, value in pairs(set or {}) do table.move({ "--set", name .. "=" .. value }, 1, 2, #words + 1, words) end
  local run = outside.run(words)
  run.text = ""
  for _, event in ipairs(run.events) do run.text = run.text .. (event.event == "log" and event.message .. "\n" or "") end
  return run
end

tap.test("accept-agent: both are fit for work, and nothing is changed to see it", function()
  wait { function() return accept("c1,c2").code == 0 end, timeout = "120s", every = "1s", what = "both to be accepted" }
  local run = accept "c1,c2"
  tap.equal(by_host(run.events), { c1 = {}, c2 = {} })
  tap.match(run.text, "address in Consul +ok +" .. c1.address:gsub("%.", "%%."))
  tap.match(run.text, "ready, says Nomad +ok +ready, eligible")
end)

tap.test("accept-agent: what the operator's token may not see is no fault of the agent", function()
  local run = accept("c1", {}, { CONSUL_HTTP_TOKEN = false })
  local problem = lab.event(run.events, "run.end").error
  tap.equal(run.code, 1)
  tap.match(run.text, "registrations +unknown +Consul answers 403")
  tap.ok(not run.text:find "FAILED", run.text)
  tap.match(problem.message, "not known: 3 of 8 checks were refused, none failed")
  tap.match(problem.hint, "CONSUL_HTTP_TOKEN")
end)

tap.test("accept-agent: what is wrong is named, the run fails", function()
  local run = accept("c1", { address = "10.213.77.99" })
  tap.equal(run.code, 1)
  tap.match(run.text, "address in Nomad +FAILED +10%.213%.77%.11; it should be 10%.213%.77%.99")
  c2:sh "systemctl stop nomad; systemctl disable --quiet consul"
  run = accept "c1,c2"
  tap.equal(run.code, 1)
  tap.match(run.text, "service nomad +FAILED +%l+, enabled; see journalctl %-u nomad")
  tap.match(run.text, "service consul +FAILED +active, disabled; it will not start after a boot")
  tap.match(run.text, "nobody answers at 10%.213%.77%.12:4646 %(as c2 sees it%)")
  local kind = c1:sh "stat -f -c %T /sys/fs/cgroup" == "cgroup2fs" and "v1" or "v2"
  tap.match(accept("c1", { cgroup = kind }).text, "cgroups +FAILED +v%d[^\n]*; " .. kind .. " is wanted")
end)

tap.finish()
