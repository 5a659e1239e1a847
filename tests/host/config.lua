-- setup/join-client makes the configuration of a "Puppet-managed" host fit for a bare one, from outside over ssh: addresses,
-- role, certificates, secrets, half of the machine; a changed source is one change and one restart, also after a kill; what
-- is wrong is said before anything is changed. As root: `MOONBOOK_PATH=$PWD/tests build/moonbook tests/host/config.lua`
-- lab: --acls srv1 srv2 srv3 c1 c2
local tap = require "tap"
local lab = require "lab"
local outside = require "outside"

local CONSUL, NOMAD = "/etc/consul.d/consul.hcl", "/etc/nomad.d/nomad.hcl"
local OLD, NEW = "/etc/grid-security/host", "/etc/certs"
local bare, managed = lab.host "c1", lab.host "c2"
bare:reset()
managed:reset()

-- ---- the managed host: files in its own words ----

local function plain(text) return (text:gsub("[%-%.%+%[%]%(%)%$%^%%%?%*]", "%%%0")) end

local texts = {}

-- What Puppet would have written there: markers for secrets, its own addresses and paths.
local function manage()
  local consul_text = managed:read "/root/lab/consul.hcl"
  consul_text = consul_text:gsub(plain(lab.token "agent"), "@CONSUL_AGENT@"):gsub('"/build/consul"', '"/var/lib/consul"')
  texts[CONSUL] = "# Managed by Puppet: do not edit.\r\n" .. consul_text .. ([[

/* The grid's certificates. */
ca_file   = "%s/ca.pem" # not the host's own
cert_file = "%s/host.pem"
key_file  = "%s/host.key"
]]):format(OLD, OLD, OLD)
  local nomad_text = managed:read "/root/lab/nomad.hcl"
  nomad_text = nomad_text:gsub(plain(lab.token "nomad"), "@NOMAD@")
  texts[NOMAD] = "# Managed by Puppet: do not edit.\n" .. nomad_text:gsub("client {\n", "client {\n" .. ([[
  # what builds may see
  host_volume "grid" { path = "%s" }
]]):format(OLD)) .. ([[

advertise {
	http = "%s:4646"
	rpc  = "%s"
}
tls {
  http      = false
  ca_file   = "%s/ca.pem"
  cert_file = "%s/host.pem"
  key_file  = "%s/host.key"
}]]):format(managed.address, managed.address, OLD, OLD, OLD)
  for path, text in pairs(texts) do
    managed:sh("mkdir -p " .. path:match "^(.*)/")
    managed:write(path, text, "0600")
  end
end
manage()

-- ---- the bare one: its own certificates, users of the CI ----

local function certify(days, key)
  bare:sh(([[
    mkdir -p %s; chmod 0700 %s; cd %s
    make() {
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.pem" -days 400 \
        -subj "/CN=$1" 2>/dev/null
    }
    make ca; rm ca.key; make host
    %s
    %s
    chmod 0600 host.key]]):format(NEW, NEW, NEW,
    days and "openssl x509 -in host.pem -signkey host.key -days -1 -out host.pem 2>/dev/null" or "true",
    key and "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out host.key 2>/dev/null" or "true"))
end
certify()
bare:sh "useradd -M mesosci"

local function secret_file(name, content)
  local path = outside.folder() .. "/" .. name
  file.present { path, content = content .. "\n", mode = "0600" }
  return "file:" .. path
end

local function words(set, options)
  local parameters = lab.parameters()
  parameters.consul_hcl, parameters.nomad_hcl = nil, nil
  parameters.consul_dns = lab.server() .. "#8600"
  parameters.config_from, parameters.cert_dir_from, parameters.cert_dir = "c2", OLD, NEW
  parameters["secrets.@CONSUL_AGENT@"] = secret_file("agent", lab.token "agent")
  parameters["secrets.@NOMAD@"] = secret_file("nomad", lab.token "nomad")
  parameters.reserve = "half"
  for name, value in pairs(set or {}) do parameters[name] = value or nil end
  local list = { "run", "setup/join-client", "--on", "c1", "--json", token = "management" }
  for name, value in pairs(parameters) do table.move({ "--set", name .. "=" .. value }, 1, 2, #list + 1, list) end
  if options and options.check then list[#list + 1] = "--check" end
  list.before = options and options.before
  return list
end

local function join(set, options) return outside.run(words(set, options)) end

-- The lines that one text has and the other has not.
local function lines_changed(before, after)
  local list = {}
  for _, line in ipairs(lab.difference(before, after)) do list[#list + 1] = (line:gsub("\r", "")) end
  return list
end

-- ---- right input ----

tap.test("--check predicts, the run does it, the services run with it", function()
  local predicted = join(nil, { check = true })
  tap.equal(predicted.code, 0, lab.why(predicted))
  local run = join()
  tap.equal(run.code, 0, lab.why(run))
  tap.equal(lab.changes(run.events), lab.changes(predicted.events))
  tap.equal(bare:sh "systemctl is-active consul nomad", "active\nactive")
  tap.equal(bare:sh("stat -c '%a %U:%G' " .. CONSUL .. " " .. NOMAD), "640 root:consul\n640 root:root")
end)

tap.test("only what concerns the other host has changed in the files, every comment stands", function()
  local address, other = bare.address, managed.address
  tap.equal(lines_changed(texts[CONSUL], bare:read(CONSUL)), {
    '+     agent = "' .. lab.token "agent" .. '"',
    '+ advertise_addr = "' .. address .. '"', '+ bind_addr      = "' .. address .. '"',
    '+ ca_file   = "/etc/certs/ca.pem" # not the host\'s own', '+ cert_file = "/etc/certs/host.pem"',
    '+ data_dir       = "/build/consul"', '+ key_file  = "/etc/certs/host.key"',
    '-     agent = "@CONSUL_AGENT@"',
    '- advertise_addr = "' .. other .. '"', '- bind_addr      = "' .. other .. '"',
    '- ca_file   = "/etc/grid-security/host/ca.pem" # not the host\'s own', '- cert_file = "/etc/grid-security/host/host.pem"',
    '- data_dir       = "/var/lib/consul"', '- key_file  = "/etc/grid-security/host/host.key"',
  })
  local text = bare:read(NOMAD)
  tap.equal({ hcl.get(text, "bind_addr"), hcl.get(text, "advertise.http"), hcl.get(text, "advertise.rpc") },
    { address, address .. ":4646", address })
  tap.equal(hcl.get(text, 'client.host_volume["grid"].path'), NEW)
  tap.equal(hcl.get(text, "tls.key_file"), NEW .. "/host.key")
  tap.match(text, "^# Managed by Puppet: do not edit.\n")
  tap.match(text, "\n  # what builds may see\n")
  tap.match(text, "\n\thttp = ")
end)

tap.test("half of the machine is reserved", function()
  local reserved = hcl.get(bare:read(NOMAD), "client.reserved")
  local memory = tonumber((bare:sh "sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"))
  tap.equal(reserved.memory, memory // 1024 // 2)
  tap.ok(reserved.cpu > 0 and reserved.disk > 0)
end)

tap.test("a host named alissandra reserves half by itself, another one does not", function()
  local function predicted() return lab.changes(join({ reserve = false }, { check = true }).events) end
  tap.equal(predicted(), { "file.present " .. NOMAD, "systemd.running nomad.service" })
  bare:sh "hostname alissandra07"
  local alissandra = predicted()
  bare:sh "hostname c1"
  tap.equal(alissandra, {})
end)

tap.test("the CI's user may read what the files name, by access lists; others may not", function()
  tap.equal(bare:sh("runuser -u mesosci -- cat " .. NEW .. "/host.key >/dev/null && echo may"), "may")
  tap.match(bare:sh("runuser -u nobody -- cat " .. NEW .. "/host.key 2>&1 || true"), "Permission denied")
  tap.equal(bare:sh("runuser -u mesosci -- ls " .. NEW .. " >/dev/null 2>&1 || echo no"), "no")
end)

tap.test("a second run changes nothing", function()
  local before = bare:files()
  local run = join()
  tap.equal({ run.code, lab.changes(run.events) }, { 0, {} }, lab.why(run))
  tap.equal(lab.difference(before, bare:files()), {})
end)

tap.test("a changed source is one change and one restart", function()
  managed:write(CONSUL, texts[CONSUL] .. "# one line more\n", "0600")
  local nomad_unit = bare:sh "systemctl show -p InvocationID nomad"
  local run = join()
  tap.equal(lab.changes(run.events), { "file.present " .. CONSUL, "systemd.running consul.service" }, lab.why(run))
  tap.equal(bare:sh "systemctl show -p InvocationID nomad", nomad_unit)
  tap.equal(lab.changes(join().events), {})
end)

tap.test("killed between the write and the restart, the next run owes just the restart", function()
  managed:write(CONSUL, texts[CONSUL] .. "# another line\n", "0600")
  local unit = bare:sh "systemctl show -p InvocationID consul"
  local killed = join(nil, { before = { "python3", "tests/host/killer.py", json.encode { event = "change", kind = "file.present",
    target = CONSUL, whom = "tree", state = outside.folder() .. "/state" } } })
  local result = json.decode(killed.stdout)
  tap.equal({ result.signal, result.fired and result.fired.target }, { 9, CONSUL }, killed.said)
  tap.match(bare:read(CONSUL), "# another line\n")
  tap.equal(bare:sh "systemctl show -p InvocationID consul", unit, "it was not restarted")
  wait { function() return bare:sh "pgrep -c sshd || true" == "1" end, timeout = "90s", what = "the killed run's login to end" }
  tap.equal(lab.changes(join().events), { "systemd.running consul.service" })
  tap.ok(bare:sh "systemctl show -p InvocationID consul" ~= unit)
  tap.equal(lab.changes(join().events), {})
end)

tap.test("the secrets are in their files and nowhere else", function()
  for _, name in ipairs { "agent", "nomad" } do
    local token = lab.token(name)
    local here = host.run { "grep", "-rlF", token, outside.folder(), reads = true, ok = { 0, 1 } }.stdout
    tap.equal(here, outside.folder() .. "/" .. name .. "\n")
    local there = bare:sh("grep -rlF -- " .. token .. " /etc /var /tmp /root /run 2>/dev/null | sort || true")
    for path in there:gmatch "[^\n]+" do
      tap.ok(path == CONSUL or path == NOMAD or path:find "^/var/lib/moonbook/undo/" or path:find "^/root/lab/", path)
    end
    tap.equal(managed:sh("grep -lF -- " .. token .. " " .. CONSUL .. " " .. NOMAD .. " || true"), "")
  end
end)

-- ---- wrong input ----

-- The run ends with the status, says each of the patterns and changes nothing on the bare host.
local function is_refused(set, code, ...)
  local before = bare:files()
  local run = join(set)
  tap.equal(run.code, code, run.said)
  for _, pattern in ipairs { ... } do tap.match(run.said, pattern) end
  tap.equal(lab.changes(run.events), {})
  tap.equal(lab.difference(before, bare:files()), {}, "files of c1")
end

tap.test("a secret's source that is none, or is not there", function()
  is_refused({ ["secrets.@NOMAD@"] = "hunter2" }, 64, "a secret is never given itself")
  is_refused({ ["secrets.@NOMAD@"] = "file:/no/such" }, 64, "/no/such")
  is_refused({ ["secrets.@NOMAD@"] = "env:NOT_THERE_AT_ALL" }, 64, "NOT_THERE_AT_ALL is not set")
end)

tap.test("a marker that is in neither file", function()
  is_refused({ ["secrets.@OTHER@"] = secret_file("other", "something") }, 1, "the marker @OTHER@ is in neither", "what to do: ")
end)

tap.test("certificates that are not there, have expired, do not fit their key", function()
  is_refused({ cert_dir = "/etc/nowhere" }, 1, "/etc/nowhere/ca.pem is not there", "what to do: ")
  is_refused({ cert_dir = false }, 64, "cert_dir_from is given, but not cert_dir")
  certify(true)
  is_refused(nil, 1, "/etc/certs/host.pem has expired on ")
  certify(nil, true)
  is_refused(nil, 1, "/etc/certs/host.pem and the key /etc/certs/host.key do not belong together")
  certify()
  certify()
  bare:sh(("mkdir -p %s; cp %s/* %s"):format(OLD, NEW, OLD))
  is_refused({ cert_dir_from = false, cert_dir = false }, 1, plain(OLD) .. "/host.key cannot be read by consul")
  bare:sh("rm -r " .. OLD)
end)

tap.test("more reserved than the machine has", function()
  managed:write(NOMAD, (texts[NOMAD]:gsub("client {\n", "client {\n  reserved {\n    memory = 99999999\n  }\n")), "0600")
  is_refused({ reserve = "none" }, 1, "c2:/etc/nomad.d/nomad.hcl: client.reserved.memory is 99999999, but this machine has %d+")
  managed:write(NOMAD, texts[NOMAD], "0600")
end)

tap.test("a syntax error on the source host: whose file, which line, a caret", function()
  managed:write(CONSUL, texts[CONSUL] .. 'encrypt "x"\n', "0600")
  is_refused(nil, 1, "c2:/etc/consul.d/consul.hcl: line %d+, column", "%^")
  managed:write(CONSUL, texts[CONSUL], "0600")
end)

tap.finish()
