-- Wrong input and wrong circumstances: each ends in one readable error (host, step, what, why, what to do), with the right
-- exit status, and leaves nothing half-written. From outside, as root: `moonbook tests/host/wrong.lua`.
local tap = require "tap"
local lab = require "lab"

local SHOW = os.getenv "SHOW" -- prints every message, for who wants to read them all

local h = lab.host "w1"

-- ---- what is looked at ----

-- Everything that a run could touch, as one text: to compare before and after. What lives by itself is left out.
local function state(host)
  return host:sh [[
    find /etc /usr /opt /srv /root /home /build /var /boot -xdev \( -path /var/log -o -path /var/lib/systemd \
      -o -path /var/lib/private -o -path /var/tmp \) -prune -o -printf '%p %m %u %g %s %C@\n' 2>/dev/null | sort
    systemctl show -p Id -p ActiveState -p ExecMainStartTimestampMonotonic consul nomad dnsmasq 2>/dev/null]]
end

local function count_lines(text)
  return select(2, text:gsub("[^\n]+", ""))
end

-- The result of a run is one error that can be read: `wanted` has its exit status, then patterns that its text has, all of
-- them in the error itself; lines = how many it may have where it quotes a program.
local function is_error(result, wanted)
  local text = result.stderr
  if SHOW then print((("\n----\n" .. text):gsub("\n", "\n# "))) end
  tap.equal(result.code, wanted[1], text)
  local from = text:find("error: ", 1, true) or text:find("moonbook: ", 1, true) or text:find("stopped: ", 1, true)
  local message = tap.ok(from, "an error in: " .. text) and text:sub(from)
  for i = 2, #wanted do tap.match(message, wanted[i]) end
  tap.ok(not text:find "traceback" and not text:find "[C]:", "no traceback in: " .. text)
  tap.ok(select(2, ("\n" .. text):gsub("\nerror: ", "")) <= 1, "one error in: " .. text)
  message = message:gsub("\nthe run was .*", ""):gsub("\nchanged: .*", "")
  tap.ok(count_lines(message) <= (wanted.lines or 3), "a few lines, not: " .. message)
  tap.ok(#message < 1500, "a short message, not: " .. message)
end

-- As is_error for a run that is refused before its start: the host is as it was, and the history has no run of it.
local function is_refused(host, run, wanted)
  local before = state(host)
  is_error(run(), wanted)
  tap.equal(state(host) == before, true, "the host is as it was")
end

local function joins_with(set, host)
  return function() return (host or h):join { set = set } end
end

local function moonbook(...)
  local words = { ... }
  return function() return h:moonbook(words) end
end

-- A shell script in the host, with its status and stderr.
local function shell(script)
  return function()
    local _, code, stderr = h:sh(script)
    return { code = code, stderr = stderr }
  end
end

tap.test("the test itself notices a change", function()
  for _, change in ipairs { "touch /etc/hosts", "mkdir /build", "chmod 0600 /etc/hosts", "systemctl restart dnsmasq" } do
    local before = state(h)
    tap.equal(state(h) == before, true, "nothing changes by itself")
    h:sh(change)
    tap.ok(state(h) ~= before, "seen: " .. change)
  end
  h:reset()
end)

-- ---- refused before anything begins: 64 ----

tap.test("parameters: unknown, of a wrong type, missing, given twice", function()
  local cases = {
    { { adress = "10.0.0.1" }, 'no parameter "adress"', "did you mean address%?" },
    { { address = "10.213.77.999" }, "address", "ip", "10.213.77.999", "192.0.2.7" },
    { { data_dir = "build" }, "data_dir", '"build" is no path', "absolute path" },
    { { repository = "ftp://vendor.example" }, "repository", "ftp://vendor.example", "https://" },
    { { patience = "soon" }, "patience", '"soon" is no duration', "90s" },
    { { follow = "maybe" }, "follow", '"maybe" is no boolean', "true or false" },
    { { consul_dns = '["127.0.0.1"' }, "consul_dns", "list" },
    { { consul_hcl = false }, "consul_hcl is missing", "what to do: give %-%-set consul_hcl=" },
    { { consul_hcl = false, nomad_hcl = false }, "which configuration%?", "%-%-set config_from=HOST" },
    { { config_from = "c1" }, "config_from and consul_hcl are both given" },
  }
  for _, case in ipairs(cases) do is_refused(h, joins_with(case[1]), { 64, table.unpack(case, 2) }) end
  is_refused(h, function() return h:join { flags = { "--set", "data_dir=/a", "--set", "data_dir=/b" } } end,
    { 64, "data_dir", "given twice" })
  is_refused(h, moonbook("run", "setup/join-client", "--set", "address"), { 64, "NAME=VALUE", '"address"' })
end)

tap.test("the command line", function()
  is_refused(h, moonbook("rum", "setup/join-client"), { 64, '"rum" is no command', "did you mean run%?", "moonbook %-%-help" })
  is_refused(h, moonbook("setup/join-client"), { 64, "is no command", "did you mean moonbook run setup/join%-client%?" })
  is_refused(h, moonbook("run", "setup/join-cleint"), { 64, '"setup/join%-cleint"', "did you mean setup/join%-client" })
  is_refused(h, moonbook("run"), { 64, "RUNBOOK", "moonbook %-%-help" })
  is_refused(h, moonbook(), { 64, "moonbook %-%-help" })
  is_refused(h, moonbook("run", "--chekc", "setup/join-client"), { 64, "unknown option %-%-chekc" })
  is_refused(h, moonbook("run", "setup/join-client", "w1", "w2"), { 64, '"w1"' })
  is_refused(h, moonbook("run", "setup/join-client", "--timeout", "later"), { 64, "%-%-timeout", '"later"' })
  is_refused(h, moonbook("run", "setup/join-client", "--set"), { 64, "%-%-set needs a value" })
  is_refused(h, moonbook("list", "--check"), { 64, "%-%-check is not for" })
  is_refused(h, moonbook("show", "nothing/here"), { 64, '"nothing/here"' })
  is_refused(h, moonbook("edit", "nothing/here"), { 64, '"nothing/here"' })
  is_refused(h, moonbook("run", "/root/missing.lua"), { 64, "/root/missing.lua", "[Nn]o such file" })
end)

tap.test("--vars", function()
  h:write("/root/broken.json", '{ "address": "10.0.0.1", \n "data_dir" "/a" }')
  h:write("/root/unknown.json", '{ "adress": "10.0.0.1" }')
  h:write("/root/type.json", '{ "patience": [1] }')
  h:write("/root/list.json", '"text"')
  h:write("/root/broken.lua", "return { data_dir = ")
  local function with(path) return moonbook("run", "setup/join-client", "--vars", path) end
  is_refused(h, with "/root/broken.json", { 64, "/root/broken.json" })
  is_refused(h, with "/root/unknown.json", { 64, '"adress"', "did you mean address%?" })
  is_refused(h, with "/root/type.json", { 64, "patience", "duration" })
  is_refused(h, with "/root/list.json", { 64, "/root/list.json holds no table" })
  is_refused(h, with "/root/broken.lua", { 64, "/root/broken.lua:1" })
  is_refused(h, with "/root/missing.json", { 64, "/root/missing.json", "[Nn]o such file" })
end)

tap.test("runbooks that are none", function()
  h:write("/root/rb/syntax.lua", "return {\n  about = 'x',\n  run = function( end }\n")
  h:write("/root/rb/silent.lua", "return { run = function() end }")
  h:write("/root/rb/newer.lua", "return { about = 'x', neds = {}, run = function() end }")
  h:write("/root/rb/nothing.lua", "local x = 1")
  h:write("/root/rb/raises.lua", "error 'not today'")
  h:write("/root/rb/type.lua", "return { about = 'x', params = { { 'a', 'adress' } }, run = function() end }")
  h:write("/root/rb/open.lua", "return { about = 'x', run = function() end }", "0666")
  h:write("/root/rb/default.lua",
    "return { about = 'x', params = { { 'a', 'port', default = function() return 0 end } }, run = print }")
  local function run(name) return moonbook("run", "/root/rb/" .. name .. ".lua") end
  is_refused(h, run "syntax", { 64, "syntax.lua:3:" })
  is_refused(h, run "silent", { 64, "silent.lua", "about = " })
  is_refused(h, run "newer", { 64, '"neds"' })
  is_refused(h, run "nothing", { 64, "returned nil" })
  is_refused(h, run "raises", { 64, "not today" })
  is_refused(h, run "type", { 64, '"adress" is no type' })
  is_refused(h, run "default", { 64, "a %(port%)", '"0" is no port' })
  h:sh [[mkdir -p /srv/work/scripts
    echo 'return { about = "x", run = function() file.present{ "/root/owned" } end }' >/srv/work/scripts/mine.lua]]
  local function mine() return shell "cd /srv/work && moonbook run mine" end
  h:sh "chown -R ops /srv/work/scripts"
  is_refused(h, mine(), { 64, "/srv/work/scripts", "another user", "what to do: " })
  h:sh "chown -R root /srv/work/scripts; chmod 0666 /srv/work/scripts/mine.lua"
  is_refused(h, mine(), { 64, "/srv/work/scripts/mine.lua", "others .* may write", "chmod go%-w" })
  h:sh "chmod 0644 /srv/work/scripts/mine.lua; chmod 0777 /srv/work/scripts"
  is_refused(h, mine(), { 64, "/srv/work/scripts", "others .* may write", "chmod go%-w" })
  h:sh "chmod 0755 /srv/work/scripts"
  tap.equal(mine()().code, 0, "it runs once it can be trusted")
end)

tap.test("--step where nobody can be asked", function()
  is_refused(h, shell "setsid -w moonbook run --step setup/join-client --set consul_hcl=/a --set nomad_hcl=/b </dev/null",
    { 64, "%-%-step", "no terminal", "what to do: " })
end)

-- ---- refused by the first step, nothing touched ----

local function unchanged_but_history(host, run, wanted)
  local function kept() return (state(host):gsub("/var/lib/moonbook[^\n]*\n", ""):gsub("/var/lib %d[^\n]*\n", "")) end
  local before = kept()
  is_error(run(), wanted)
  tap.equal(kept() == before, true, "the host is as it was")
end

tap.test("configuration files that are missing, or cannot be right", function()
  unchanged_but_history(h, joins_with { consul_hcl = "/root/lab/nothing.hcl" },
    { 1, "w1", 'step "input"', "consul_hcl", "/root/lab/nothing.hcl", "what to do: " })
  unchanged_but_history(h, joins_with { nomad_hcl = "/root/lab" }, { 1, "w1", 'step "input"', "/root/lab", "what to do: " })
  h:write("/root/lab/broken.hcl", 'data_dir = "/build/nomad"\nclient { enabled = \n')
  unchanged_but_history(h, joins_with { nomad_hcl = "/root/lab/broken.hcl" },
    { 1, "w1", 'step "input"', "/root/lab/broken.hcl: line 2, column", "client { enabled = ", "%^", "what to do: ", lines = 4 })
end)

tap.test("somebody who is not root", function()
  local words = h:join_words {}
  for i, word in ipairs(words) do words[i] = "'" .. word .. "'" end
  local as_ops = "setpriv --reuid=ops --regid=ops --init-groups env HOME=/home/ops XDG_STATE_HOME=/tmp/ops-state moonbook "
  local join = as_ops .. table.concat(words, " ")
  unchanged_but_history(h, shell(join), { 1, "w1", 'step "input"', "/root/lab/%w+.hcl", "[Pp]ermission denied", "what to do: " })
  h:sh "mkdir -p /srv/cfg; cp /root/lab/*.hcl /srv/cfg/; chmod 0644 /srv/cfg/*"
  unchanged_but_history(h, shell((join:gsub("/root/lab", "/srv/cfg"))),
    { 1, "w1", 'step "package repository"', "root", "what to do: " })
end)

tap.test("the repository: wrong fingerprint, key not there, no key, nobody there, no such suite", function()
  local url = lab.url()
  local cases = {
    { { fingerprints = lab.fingerprint "old" }, "fingerprint is " .. lab.fingerprint(), lab.fingerprint "old" },
    { { fingerprints = "1234" }, '"1234" is no fingerprint: 40' },
    { { key = url .. "/nothing" }, "/nothing", "404", "what to do: .*key=" },
    { { key = url .. "/dists/bookworm/Release" }, "/dists/bookworm/Release", "key" },
    { { key = "http://10.213.77.1:9/gpg" }, "10.213.77.1:9", "refused" },
    { { suite = "noble" }, "no suite noble", "what to do: .*bookworm bullseye jammy" },
  }
  for _, case in ipairs(cases) do
    unchanged_but_history(h, joins_with(case[1]),
      { 1, "w1", 'step "package repository"', "apt.repository", table.unpack(case, 2) })
  end
end)

tap.test("a repository that does not answer: what was written is whole, the next run puts it right", function()
  is_error(h:join { set = { repository = "http://10.213.77.1:9" } },
    { 1, "w1", 'step "package repository"', "apt.updated http://10.213.77.1:9", "refused", "what to do: ", lines = 4 })
  is_error(h:join { set = { nomad_version = "9.9.9" } }, { 1, 'step "packages"', "no version of nomad" })
  tap.equal(h:sh "grep -r URIs /etc/apt/sources.list.d", "/etc/apt/sources.list.d/hashicorp.sources:URIs: " .. lab.url())
end)

-- ---- circumstances ----

-- Calls fn while something is mounted in the host.
local function while_mounted(options, place, fn)
  h:sh(("mkdir -p %s && mount %s %s"):format(place, options, place))
  local _ <close> = setmetatable({}, { __close = function() h:sh("umount " .. place) end })
  fn()
end

tap.test("no place for the journal: nothing is touched", function()
  while_mounted("-t tmpfs -o size=16k,nr_inodes=3 tmpfs", "/var/lib/moonbook", function()
    unchanged_but_history(h, joins_with {}, { 1, "journal", "/var/lib/moonbook", "[Nn]o space", "what to do: .*df " })
  end)
  while_mounted("-t tmpfs -o ro tmpfs", "/var/lib/moonbook", function()
    unchanged_but_history(h, joins_with {}, { 1, "journal", "/var/lib/moonbook", "[Rr]ead%-only", "what to do: " })
  end)
end)

tap.test("the journal's disk gets full: no change is made that is not on record; with room the next run goes on", function()
  h:reset()
  while_mounted("-t tmpfs -o size=8k tmpfs", "/var/lib/moonbook", function()
    is_error(h:join(), { 1, "w1", "step ", "[Nn]o space", "what to do: " })
    local journal = h:sh "cat /var/lib/moonbook/runs/*/journal.jsonl"
    for line in journal:gmatch "[^\n]+" do json.decode(line) end -- whole lines only
    for _, path in ipairs { "/etc/apt/sources.list.d/hashicorp.sources", "/build/consul", "/build/nomad" } do
      tap.ok(h:sh("ls -d " .. path) == "" or journal:find('"target":"' .. path .. '"', 1, true), path .. " is not on record")
    end
    tap.equal(h:sh "systemctl is-active consul nomad", "inactive\ninactive", "it stopped before the services")
  end)
end)

tap.test("/etc cannot be written", function()
  h:reset()
  while_mounted("--bind -o ro /etc", "/etc", function()
    is_error(h:join(), { 1, "w1", 'step "package repository"', "/etc/apt", "[Rr]ead%-only", "what to do: .*findmnt" })
  end)
  tap.equal(h:sh "find /etc /usr -name '*moonbook*' ! -path '/usr/local/*'", "", "half-written files")
end)

tap.test("versions and packages that are not there", function()
  is_error(h:join { set = { nomad_version = "9.9.9" } },
    { 1, "w1", 'step "packages"', "no version of nomad is 9.9.9", "1%.%d+%.%d+%-1", "what to do: " })
  is_error(h:join { set = { consul_version = "= =" } }, { 1, 'step "packages"', '"= =" is no version', "1.9.%*" })
  local result = h:moonbook { "-e", 'step("packages", function() apt.installed{ "consull" } end)' }
  is_error(result, { 1, "w1", 'step "packages"', "no package consull", "did you mean consul%?" })
end)

-- In another process of the host: holds the lock for that many seconds, or for ever. Returns its pid.
local function hold(path, seconds)
  return h:sh(([[
    cat >/run/holder.py <<'END'
import fcntl, os, sys, time
file = open(sys.argv[1], "a+")
fcntl.lockf(file, fcntl.LOCK_EX)
open("/run/holder.ready", "w").close()
time.sleep(float(sys.argv[2]))
END
    rm -f /run/holder.ready
    setsid python3 /run/holder.py %s %s </dev/null >/dev/null 2>&1 &
    while [ ! -e /run/holder.ready ]; do sleep 0.02; done
    echo $!]]):format(path, seconds))
end

tap.test("apt's locks: it waits and says for whom, goes on when they are free, and ends at the timeout", function()
  local repository = h:join { set = { nomad_version = "9.9.9" } } -- as far as the packages
  tap.equal(repository.code, 1)
  local update = ("apt.repository{ 'hashicorp', uri = %q, key = %q, fingerprints = { %q }, suite = 'jammy', " ..
    "lock_timeout = '1s' }"):format(lab.url(), lab.url() .. "/gpg", lab.fingerprint())
  local install = "apt.installed{ 'moonbook-test-dies', lock_timeout = '%s' }"
  local cases = {
    { "/var/lib/dpkg/lock-frontend", install },
    { "/var/lib/dpkg/lock", install },
    { "/var/cache/apt/archives/lock", install },
    { "/var/lib/apt/lists/lock", update },
  }
  for _, case in ipairs(cases) do
    local path, chunk = case[1], case[2]
    local pid = hold(path, 60)
    local result = h:moonbook { "-e", ("step('packages', function() %s end)"):format(chunk:format "1s") }
    is_error(result, { 1, "w1", 'step "packages"', "python3 %(pid " .. pid .. ":", path:gsub("%p", "%%%0"), "after 1 s",
      "never delete", lines = 3 })
    tap.match(result.stderr, "waiting for python3 %(pid " .. pid)
    h:sh("kill " .. pid)
    pid = hold(path, 5)
    result = h:moonbook { "-e", (chunk:gsub("%%s", "90s"):gsub("'1s'", "'90s'")) }
    tap.equal(result.code, 0, result.stderr)
    tap.match(result.stderr, "waiting for python3 %(pid " .. pid)
    h:sh "apt-get -q -y remove moonbook-test-dies; rm -f /etc/apt/sources.list.d/hashicorp.sources"
    if path ~= "/var/lib/apt/lists/lock" then h:join { set = { nomad_version = "9.9.9" } } end
  end
end)

tap.test("units that do not stay: the error has their journal", function()
  h:reset()
  h:join { set = { nomad_version = "9.9.9" } }
  tap.equal(h:lua("apt.installed{ 'moonbook-test-dies' }").code, 0)
  for _, unit in ipairs { "moonbook-test-dies", "moonbook-test-loops" } do
    local result = h:moonbook { "-e", ("step('services', function() systemd.running{ %q, stable = '2s' } end)"):format(unit) }
    is_error(result, { 1, "w1", 'step "services"', unit:gsub("%p", "%%%0"), "does not stay active", "moonbook%-test: dying",
      "journalctl %-u", lines = 20 })
  end
  is_error(h:moonbook { "-e", "systemd.running{ 'nommad' }" }, { 1, "w1", "nommad", "what to do: " })
end)

tap.test("configuration that the programs refuse: the package's file stays, no half one beside it", function()
  h:write("/root/lab/typo.hcl", 'data_dir = "/build/consul"\nretry_joins = ["10.213.77.2"]\n')
  is_error(h:join { set = { consul_hcl = "/root/lab/typo.hcl" } },
    { 1, "w1", 'step "configuration"', "/etc/consul.d/consul.hcl", "consul refuses", "retry_joins",
      "what to do: .* left as it was; correct /root/lab/typo.hcl", lines = 5 })
  local own = h:sh "sha256sum </etc/consul.d/consul.hcl"
  tap.equal(h:sh "dpkg -V consul", "", "the package's own consul.hcl")
  h:write("/root/lab/broken.hcl", 'data_dir = "/build/nomad"\nclient { enabled = true }\nserverz { enabled = false }\n')
  local refused = h:join { set = { nomad_hcl = "/root/lab/broken.hcl" } }
  if not h:sh("nomad config 2>&1"):find "validate" then -- a real Nomad before 1.3 says it at its start
    is_error(refused, { 1, "w1", 'step "services"', "nomad.service", "serverz", "what to do: ", lines = 12 })
    h:reset()
    return
  end
  is_error(refused,
    { 1, "w1", 'step "configuration"', "/etc/nomad.d/nomad.hcl", "nomad refuses",
      "what to do: .* left as it was; correct /root/lab/broken.hcl", lines = 5 })
  tap.equal(h:sh "sha256sum </etc/consul.d/consul.hcl", own, "consul.hcl came first and is put back")
  tap.equal(h:sh "dpkg -V nomad", "", "the package's own nomad.hcl")
  tap.equal(h:sh "ls -A /etc/consul.d /etc/nomad.d | grep moonbook", "", "half-written files")
  tap.equal(h:sh "systemctl is-active consul nomad", "inactive\ninactive")
end)

tap.test("dnsmasq refuses its file: it is as before and dnsmasq runs", function()
  is_error(h:join { set = { consul_dns = "not an address" } },
    { 1, "w1", 'step "input"', 'consul_dns: "not an address"', "what to do: .*#PORT" })
  h:sh "cp -p /etc/dnsmasq.conf /root/; echo 'no-such-option=1' >>/etc/dnsmasq.conf"
  local before = h:sh "stat -c '%i %z' /etc/dnsmasq.conf; systemctl show -p MainPID dnsmasq"
  is_error(h:join(),
    { 1, "w1", 'step "DNS"', "/etc/dnsmasq.conf", "dnsmasq refuses", "line %d+", "what to do: .*left as it was" })
  tap.equal(h:sh "stat -c '%i %z' /etc/dnsmasq.conf; systemctl show -p MainPID dnsmasq", before)
  tap.equal(h:sh "systemctl is-active dnsmasq; ls -A /etc | grep moonbook", "active")
  h:sh "cp -p /root/dnsmasq.conf /etc/dnsmasq.conf"
end)

tap.test("--timeout: the change under way is finished, the error says what to do", function()
  h:sh "rm -rf /build"
  local result = h:join { flags = { "--timeout", "1s" } } -- it watches dnsmasq for two
  is_error(result, { 1, "%-%-timeout", "1 s", "what to do: " })
  -- One that lasts beyond the time, begun well within it.
  result = h:moonbook { "--timeout", "6s", "-e", [[step("long", function() host.sh "sleep 9; touch /srv/finished" end)
    step("next", function() host.sh "touch /srv/begun" end)]] }
  is_error(result, { 1, "%-%-timeout", "6 s", "what to do: " })
  tap.match(result.stderr, "changed host.sh ")
  tap.equal(h:sh "cd /srv; ls -d finished begun 2>/dev/null; rm -f finished begun", "finished")
end)

tap.test("Consul does not answer, or does not show the host: the proof says what it last saw", function()
  for _, product in ipairs { "consul", "nomad" } do -- agents that find out their address by themselves
    local text = h:read("/root/lab/" .. product .. ".hcl"):gsub('(%w*_addr%s*=%s*)"10[^"]*"', '%1"{{ GetPrivateIP }}"')
    h:write("/root/lab/own-" .. product .. ".hcl", text)
  end
  is_error(h:join { set = { address = "10.213.77.77", patience = "1s", consul_hcl = "/root/lab/own-consul.hcl",
    nomad_hcl = "/root/lab/own-nomad.hcl" } },
    { 1, "w1", 'step "proof"', "nomad%-client", "10.213.77.77", "last seen: .*, not at 10.213.77.77", "what to do: " })
  h:write("/root/lab/silent.hcl", h:read "/root/lab/consul.hcl" .. "ports { http = 8555 }\n")
  is_error(h:join { set = { consul_hcl = "/root/lab/silent.hcl", patience = "1s" } },
    { 1, "w1", 'step "proof"', "nomad%-client", "8500", "refused", "what to do: " })
end)

-- ---- with a terminal ----

-- moonbook in the host under `script`, which gives it a terminal; the answers are typed one after the other.
local function with_terminal(command, answers)
  local typed = {}
  for i, answer in ipairs(answers) do typed[i] = answer .. "\\n" end
  local _, code, stderr = h:sh(("printf '%s' | NO_COLOR=1 script -qefc '%s' /dev/null >/run/typescript 2>&1")
    :format(table.concat(typed), command))
  return { code = code, stderr = stderr, screen = h:read "/run/typescript" }
end

tap.test("--step: yes, no, all the rest, quit", function()
  h:write("/root/steps.lua", [[
    for i = 1, 5 do file.present{ "/srv/step" .. i, content = "x" } end]])
  local function made() return (h:sh "cd /srv; ls -d step* 2>/dev/null; rm -f step*":gsub("\n", " ")) end
  local run = "moonbook --step /root/steps.lua"
  local result = with_terminal(run, { "y", "n", "a" })
  tap.equal({ result.code, made() }, { 0, "step1 step3 step4 step5" }, result.screen)
  tap.match(result.screen, "file.present /srv/step1")
  tap.match(result.screen, "changed: 4, .*declined: 1")
  result = with_terminal(run, { "y", "q" })
  tap.equal({ result.code, made() }, { 130, "step1" }, result.screen)
  tap.match(result.screen, "stopped by the operator")
  result = with_terminal(run, { "n", "", "x", "n", "n" })
  tap.equal({ result.code, made() }, { 0, "" }, result.screen)
end)

-- ---- edit ----

tap.test("edit copies a shipped runbook once; the copy wins; a second edit keeps it", function()
  h:sh "rm -rf /root/.config/moonbook"
  local first = h:moonbook { "edit", "setup/join-client" }
  tap.equal(first.code, 0, first.stderr)
  local copy = "/root/.config/moonbook/scripts/setup/join-client.lua"
  tap.match(first.stderr, copy:gsub("%p", "%%%0"))
  h:sh("sed -i 's/about = \"join/about = \"really join/' " .. copy)
  tap.equal(h:moonbook({ "edit", "setup/join-client" }).code, 0)
  tap.match(h:moonbook({ "list" }).stdout, "really join")
  h:sh "chmod 0777 /root/.config/moonbook/scripts"
  is_refused(h, joins_with {}, { 64, "/root/.config/moonbook/scripts", "may write" })
  h:sh "rm -rf /root/.config/moonbook"
end)

tap.finish()
