-- setup/join-client on real hosts: from nothing to a member of a real Consul's cluster; a second run touches nothing;
-- what changed leads to that change and one restart. From outside, as root, on c1 and c2:
-- `MOONBOOK_PATH=$PWD/tests build/moonbook tests/host/join.lua`
local tap = require "tap"
local lab = require "lab"

local c1, c2 = lab.host "c1", lab.host "c2"
local CONSUL, NOMAD = "/etc/consul.d/consul.hcl", "/etc/nomad.d/nomad.hcl"
local SOURCES, KEYRING = "/etc/apt/sources.list.d/hashicorp.sources", "/usr/share/keyrings/hashicorp-archive-keyring.gpg"
local UNITS = { "dnsmasq", "consul", "nomad" }

-- Joins must end well; the DNS server is the lab's Consul. Returns the changes, as {"kind target", ...}, and the run.
local function join(host, set)
  set = set or {}
  set.consul_dns = lab.server() .. "#8600"
  local run = host:join { json = true, set = set }
  tap.equal(run.code, 0, lab.why(run))
  local last = lab.event(run.events, "run.end")
  tap.equal({ last.status, last.changed, last.failed }, { "ok", #lab.changes(run.events), 0 })
  return lab.changes(run.events), run
end

-- What Consul's servers and Nomad's say of a host's address, asked from here, not through the host.
local function in_catalog(address)
  local found = {}
  for _, entry in ipairs(lab.consul.catalog.list_service_nodes "nomad-client") do
    local at = entry.ServiceAddress ~= "" and entry.ServiceAddress or entry.Address
    if at == address then found[#found + 1] = entry.Node .. " " .. entry.Address end
  end
  return found
end

local function in_nodes(address)
  local found, known = {}, {}
  for _, node in ipairs(lab.nomad.nodes.list_nodes()) do
    local name = node.Address == address and node.Status == "ready" and node.Name
    -- a real Nomad keeps the node of a folder that was left behind until its heartbeats are missed
    if name and not known[name] then found[#found + 1] = name end
    known[name or ""] = true
  end
  return found
end

-- {unit = {what tells that it was restarted}}.
local function starts(host)
  local list = {}
  for _, unit in ipairs(UNITS) do
    list[unit] = host:sh("systemctl show -p ActiveState,InvocationID,NRestarts,MainPID,ActiveEnterTimestampMonotonic," ..
      "ExecMainStartTimestampMonotonic " .. unit)
  end
  return list
end

-- The units that were started anew between two answers of starts.
local function restarted(before, after)
  local list = {}
  for _, unit in ipairs(UNITS) do
    if before[unit] ~= after[unit] then list[#list + 1] = unit end
    tap.match(after[unit], "ActiveState=active\n")
    tap.match(after[unit], "NRestarts=0\n")
  end
  return list
end

-- ---- from nothing ----

-- c1 tells what a package's script would be told about starting a service, c2 has such a policy of its own, and an /opt
-- in which nothing can be made.
local FOREIGN = "#!/bin/sh\n# the site's own\necho \"$@\" >>/root/asked\nexit 101\n"
c1:write("/root/spy", "[ -x /usr/sbin/policy-rc.d ] && /usr/sbin/policy-rc.d consul start; echo $? >>/root/told\n")
c1:write("/etc/apt/apt.conf.d/99spy", 'DPkg::Pre-Install-Pkgs { "sh /root/spy"; };\n')
c2:write("/usr/sbin/policy-rc.d", FOREIGN, "0755")
c2:sh "mount -t tmpfs -o ro tmpfs /opt"

local first
tap.test("two fresh hosts join", function()
  local runs = {}
  parallel {
    function() runs.c1 = { join(c1) } end,
    function() runs.c2 = { join(c2) } end,
  }
  first = runs.c1[2]
  tap.equal(runs.c1[1], { "apt.repository " .. KEYRING, "apt.repository " .. SOURCES,
    "apt.updated " .. lab.url() .. " bookworm", "apt.installed consul", "apt.installed nomad",
    "file.directory /build/consul", "file.directory /build/nomad", "file.present " .. CONSUL, "file.present " .. NOMAD,
    "file.line /etc/dnsmasq.conf", "systemd.running dnsmasq.service", "systemd.enabled consul.service",
    "systemd.enabled nomad.service", "systemd.running consul.service", "systemd.running nomad.service" })
  tap.equal(runs.c2[1], runs.c1[1])
end)

tap.test("Consul's catalog and Nomad's node list show them", function()
  for _, host in ipairs { c1, c2 } do
    tap.equal(in_catalog(host.address), { host.name .. " " .. host.address })
    tap.equal(in_nodes(host.address), { host.name })
  end
end)

tap.test("the run prints where it found itself", function()
  local said = {}
  for _, event in ipairs(first.events) do
    if event.event == "log" then said[#said + 1] = event.message end
  end
  said = table.concat(said, "\n")
  tap.match(said, "consul +c1 +" .. c1.address)
  tap.match(said, "nomad +c1 +" .. c1.address .. " +ready")
end)

tap.test("no service started during installation, and the policy against it is gone", function()
  tap.equal(c1:read "/root/told", "101\n101\n")
  tap.equal(c1:read "/usr/sbin/policy-rc.d", nil)
  tap.equal(c2:read "/usr/sbin/policy-rc.d", FOREIGN)
end)

tap.test("files have their owners and modes; the packages' defaults are gone", function()
  tap.equal(c1:sh("stat -c '%a %U:%G %n' /build /build/consul /build/nomad " .. table.concat({ CONSUL, NOMAD, KEYRING, SOURCES,
    "/etc/dnsmasq.conf" }, " ")), table.concat({ "755 root:root /build", "755 consul:consul /build/consul",
    "755 root:root /build/nomad", "640 root:consul " .. CONSUL, "640 root:root " .. NOMAD, "644 root:root " .. KEYRING,
    "644 root:root " .. SOURCES, "644 root:root /etc/dnsmasq.conf" }, "\n"))
  tap.equal(c1:read(CONSUL), c1:read "/root/lab/consul.hcl")
  tap.equal(c1:read(NOMAD), c1:read "/root/lab/nomad.hcl")
  tap.equal(c1:sh "cd /etc; ls -A consul.d nomad.d", "consul.d:\nconsul.env\nconsul.hcl\n\nnomad.d:\nnomad.env\nnomad.hcl")
end)

tap.test("the repository is signed by the key with the fingerprint", function()
  tap.match(c1:sh("gpg --show-keys --with-colons " .. KEYRING), "fpr:+" .. lab.fingerprint() .. ":")
  local sources = c1:read(SOURCES)
  tap.match(sources, "^# Added %d%d%d%d%-%d%d%-%d%d by root\n")
  for _, line in ipairs { "Types: deb", "URIs: " .. lab.url(), "Suites: bookworm", "Components: main",
    "Architectures: " .. c1:sh "dpkg --print-architecture", "Signed-By: " .. KEYRING } do
    tap.ok(("\n" .. sources):find("\n" .. line .. "\n", 1, true), line)
  end
  tap.equal(c1:sh "ls -A /etc/apt/sources.list.d", "hashicorp.sources")
end)

tap.test("dnsmasq forwards .consul to Consul, which knows the host", function()
  tap.equal(c1:sh "grep -c '^server=/consul/' /etc/dnsmasq.conf", "1")
  tap.equal(c1:sh "tail -n 1 /etc/dnsmasq.conf", "server=/consul/" .. lab.server() .. "#8600")
  tap.match(c1:sh "getent ahostsv4 c1.node.consul", "^" .. c1.address .. " ")
  -- Consul names a service once its first check has passed: ten seconds with a real Nomad
  tap.ok(wait { function() return c1:sh("getent ahostsv4 nomad-client.service.consul"):find "^10%.213%.77%." end,
    timeout = "120s", every = "500ms", what = "nomad-client.service.consul" })
end)

tap.test("all three run and will after a boot", function()
  tap.equal(c1:sh "systemctl is-active consul nomad dnsmasq; systemctl is-enabled consul nomad dnsmasq",
    "active\nactive\nactive\nenabled\nenabled\nenabled")
end)

-- ---- again ----

tap.test("a second run changes nothing and touches nothing", function()
  local files, units, asked = c1:files(), starts(c1), lab.requests(c1.address)
  local run = c1:join { set = { consul_dns = lab.server() .. "#8600" } }
  tap.equal(run.code, 0, lab.why(run))
  tap.match(run.stdout .. run.stderr, "changed: 0, unchanged: %d+, failed: 0")
  tap.equal(lab.difference(files, c1:files()), {}, "files that are different")
  tap.equal(starts(c1), units)
  tap.equal(lab.requests(c1.address), asked, "requests to the repository")
  for _, path in ipairs { CONSUL, "/usr/bin/consul", "/var/lib/dpkg/status", "/var/lib/apt/lists/partial", "/build/nomad" } do
    tap.ok(files:find("\n" .. path .. " ", 1, true), path .. " was compared")
  end
end)

tap.test("a configuration that changed is placed, and its service restarted once", function()
  c1:sh "echo '# one line more' >>/root/lab/consul.hcl"
  local before = starts(c1)
  tap.equal((join(c1)), { "file.present " .. CONSUL, "systemd.running consul.service" })
  tap.equal(restarted(before, starts(c1)), { "consul" })
  tap.equal(c1:read(CONSUL), c1:read "/root/lab/consul.hcl")
end)

tap.test("a restart that a killed run still owes is made up for, also when the file looks old", function()
  c1:sh("echo '# and one more' >>/root/lab/consul.hcl; cp -p " .. CONSUL .. " /etc/consul.d/new; " ..
    "cat /root/lab/consul.hcl >/etc/consul.d/new; touch -d 2020-01-01 /etc/consul.d/new; mv /etc/consul.d/new " .. CONSUL)
  local before = starts(c1)
  tap.equal((join(c1)), { "systemd.running consul.service" })
  tap.equal(restarted(before, starts(c1)), { "consul" })
  local again = starts(c1)
  tap.equal((join(c1)), {})
  tap.equal(restarted(again, starts(c1)), {})
end)

tap.test("services that run are stopped when their data folder moves, and only then", function()
  c1:sh "cd /root/lab; sed 's,/build/,/data/,' consul.hcl >moved-consul.hcl; sed 's,/build/,/data/,' nomad.hcl >moved-nomad.hcl"
  local set = { data_dir = "/data", consul_hcl = "/root/lab/moved-consul.hcl", nomad_hcl = "/root/lab/moved-nomad.hcl" }
  local before = starts(c1)
  tap.equal((join(c1, set)), { "file.directory /data/consul", "file.directory /data/nomad",
    "file.present " .. CONSUL, "file.present " .. NOMAD,
    "systemd.stopped nomad.service", "systemd.stopped consul.service",
    "systemd.running consul.service", "systemd.running nomad.service" })
  tap.equal(restarted(before, starts(c1)), { "consul", "nomad" })
  tap.ok(c1:read "/data/consul/node-id", "Consul keeps its data there")
  tap.equal(in_catalog(c1.address), { "c1 " .. c1.address })
  tap.equal(in_nodes(c1.address), { "c1" })
  tap.equal((join(c1, set)), {})
end)

-- ---- the record ----

tap.test("history shows the runs, the newest first, and what one changed", function()
  local runs = json.decode(c1:moonbook { "history", "--json" }.stdout)
  local counts = {}
  for index, run in ipairs(runs) do
    tap.equal(run.runbook, "setup/join-client")
    tap.equal(run.status, "ok")
    counts[index] = run.changed
  end
  tap.equal(counts, { 0, 8, 0, 1, 2, 0, 15 })
  tap.equal(runs[#runs].run, first.events[1].run)
  local listed = c1:moonbook { "history" }.stdout
  tap.match(listed, "^" .. runs[1].run:gsub("%-", "%%-") .. " +ok +changed: 0 +setup/join%-client\n")
  local one = c1:moonbook { "history", first.events[1].run }
  tap.equal(one.code, 0)
  for _, change in ipairs(lab.changes(first.events, true)) do
    tap.ok(one.stdout:gsub(" +", " "):find(change, 1, true), change .. " in " .. one.stdout)
  end
end)

tap.finish()
