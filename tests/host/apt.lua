-- The apt module on a host of the lab: each prediction is held against the run that follows, each run against a second
-- one that must find nothing to do. From outside: `moonbook tests/host/apt.lua` as root.
local tap = require "tap"
local lab = require "lab"

local h = lab.host("apt")
local URL, KEY, OLD_KEY = lab.url(), lab.fingerprint(), lab.fingerprint("old")
local KEYRING = "/usr/share/keyrings/hashicorp-archive-keyring.gpg"
local SOURCES = "/etc/apt/sources.list.d/hashicorp.sources"

local function repository(extra, fingerprint)
  return ("apt.repository{ 'hashicorp', uri=%q, key=%q, fingerprints={%q}, comment='Added today by alice', %s }")
    :format(URL, URL .. "/gpg", fingerprint or KEY, extra or "")
end

-- Predicts, checks that nothing was touched, makes it, checks that it was as predicted, and that a second run is quiet.
local function converges(chunk)
  h:sh("mkdir -p /var/lib/moonbook; sleep 0.02; touch /run/stamp; sleep 0.02")
  local predicted = h:run(chunk, "--check")
  tap.equal(predicted.code, 0, tostring(predicted.stderr))
  tap.equal(h:sh("find /etc /usr /opt /var /run -xdev -newercc /run/stamp -not -path '/run/systemd/*' " ..
    "-not -path '/var/log/journal/*' -not -path '/run/log/*' -not -path '/run/stamp' -not -path '/run' -not -path " ..
      "'/var/tmp*' -not -path '/var/lib/moonbook*' | head"), "",
    "touched by --check")
  local real = h:run(chunk)
  tap.equal(real.code, 0, real.stderr)
  tap.equal(real.list, predicted.list, "the real run's changes")
  local again = h:run(chunk)
  tap.equal(again.list, {}, "changes of a second run")
  tap.equal(again.code, 0)
  return real, predicted
end

---- apt.repository ----

tap.test("a repository is added as predicted; a second run asks the network nothing", function()
  local real = converges(repository())
  tap.equal(real.list, { "apt.repository " .. KEYRING, "apt.repository " .. SOURCES, "apt.updated " .. URL .. " bookworm" })
  tap.equal(h:sh("stat -c '%a %U' " .. KEYRING .. " " .. SOURCES), "644 root\n644 root")
  tap.equal(h:sh("cat " .. SOURCES), "# Added today by alice\nTypes: deb\nURIs: " .. URL ..
    "\nSuites: bookworm\nComponents: main\nArchitectures: " .. h:sh("dpkg --print-architecture") ..
    "\nSigned-By: " .. KEYRING)
  tap.match(h:sh("apt-cache policy consul"), "Candidate: 1.8.7%-1")
  local before = lab.requests()
  local again = h:run(repository())
  tap.equal(lab.requests(), before, "requests")
  tap.ok(again.ms < 10000, "a fast second run")
end)

tap.test("the comment is set once", function()
  h:sh("sed -i 's/^# .*/# Added in 2019 by bob/' " .. SOURCES .. "; apt-get update -qq")
  tap.equal(h:run(repository()).list, {})
  h:sh("sed -i 's/^Suites: .*/Suites: jammy/' " .. SOURCES)
  local real = converges(repository())
  tap.equal(real.list, { "apt.repository " .. SOURCES, "apt.updated " .. URL .. " bookworm" })
  tap.match(h:sh("head -1 " .. SOURCES), "^# Added in 2019 by bob$")
end)

tap.test("lists that are missing are read, whatever the reason", function()
  h:sh("rm -f /var/lib/apt/lists/*InRelease")
  tap.equal(converges(repository()).list, { "apt.updated " .. URL .. " bookworm" })
  h:sh("touch " .. SOURCES) -- a run that died after writing the source
  tap.equal(converges(repository()).list, { "apt.updated " .. URL .. " bookworm" })
end)

tap.test("older entries for the same URI are taken out", function()
  h:reset()
  local d = "/etc/apt/sources.list.d/"
  h:write("/etc/apt/sources.list", "# mine\n")
  h:write(d .. "consul.list", "# Added long ago\ndeb [arch=amd64 signed-by=/tmp/x.gpg] " .. URL .. "/ bookworm main\n\n")
  h:write(d .. "mixed.list", "deb [trusted=yes] file:/srv/none ./\ndeb-src " .. URL .. " bookworm main\n#deb " .. URL .. " x\n")
  h:write(d .. "old.sources", "Types: deb\nURIs: " .. URL .. "\nSuites: jammy\nComponents: main\n\n# other\nTypes: deb\n" ..
    "URIs: file:/srv/none\nSuites: ./\nTrusted: yes\n")
  h:write(d .. "zz.sources", "# once\nTypes: deb\nuris: http://other.example " .. URL ..
    "//\nSuites: jammy\nComponents: main\n")
  local real = converges(repository())
  tap.equal(real.list, { "apt.repository " .. KEYRING, "apt.repository " .. d .. "consul.list",
    "apt.repository " .. d .. "mixed.list", "apt.repository " .. d .. "old.sources", "apt.repository " .. d .. "zz.sources",
    "apt.repository " .. SOURCES, "apt.updated " .. URL .. " bookworm" })
  tap.equal(h:sh("ls " .. d), "hashicorp.sources\nmixed.list\nold.sources\nzz.sources")
  tap.equal(h:sh("cat " .. d .. "mixed.list"), "deb [trusted=yes] file:/srv/none ./\n#deb " .. URL .. " x")
  tap.equal(h:sh("cat " .. d .. "old.sources"), "# other\nTypes: deb\nURIs: file:/srv/none\nSuites: ./\nTrusted: yes")
  tap.match(h:sh("cat " .. d .. "zz.sources"), "URIs: http://other.example\nSuites: jammy")
  tap.equal(real.changes[2].after.type, "absent")
end)

tap.test("what not everybody may read is not shown, and stays so", function()
  h:reset()
  local path = "/etc/apt/sources.list.d/private.list"
  h:write(path, "deb " .. URL .. " bookworm main\ndeb http://other.example/swordfish-1 x main\n", "0600")
  h:write("/usr/local/bin/grep", "#!/bin/sh\necho \"$*\" >>/root/grep.log\nexec /bin/grep \"$@\"\n", "0755")
  local uri = URL:gsub("://", "://alice:swordfish-2@")
  local chunk = repository() .. ("apt.repository{ 'own', uri=%q, key=%q, fingerprints={%q} }"):format(uri, URL .. "/gpg", KEY)
  for _, flags in ipairs { "--check", "", "" } do
    local shown = h:sh(("moonbook --json %s -e \"%s\" 2>&1; moonbook %s -e \"%s\" 2>&1"):format(flags, chunk:gsub('"', "'"),
      flags, chunk:gsub('"', "'")))
    tap.ok(not shown:find "swordfish", shown)
  end
  tap.equal(h:sh("/bin/grep -c swordfish /root/grep.log; rm /usr/local/bin/grep; grep -rl swordfish /var/lib/moonbook/runs"), "0")
  tap.equal(h:sh("stat -c %a " .. path .. "; cat " .. path), "600\ndeb http://other.example/swordfish-1 x main")
  tap.match(h:sh "cat /etc/apt/sources.list.d/own.sources", "URIs: " .. uri:gsub("%p", "%%%0"))
end)

tap.test("a file that an earlier step wrote is seen, in the order that a real run has", function()
  h:reset()
  local d = "/etc/apt/sources.list.d/"
  h:write(d .. "bb.list", "deb " .. URL .. " bookworm main\n")
  local chunk = ("if not file.stat %q then file.present{ %q, content = %q } end "):format(SOURCES, d .. "aa.list", "deb " ..
    URL .. " jammy main\n")
  local real = converges(chunk .. repository() .. " assert(not file.stat '/etc/apt/sources.list.d/aa.list')")
  tap.equal(real.list, { "file.present " .. d .. "aa.list", "apt.repository " .. KEYRING, "apt.repository " .. d .. "aa.list",
    "apt.repository " .. d .. "bb.list", "apt.repository " .. SOURCES, "apt.updated " .. URL .. " bookworm" })
end)

tap.test("a key with another fingerprint is refused and nothing is touched", function()
  h:reset()
  local result = h:run(repository("", "798AEC654E5C15428C8E42EEAA16FCBCA621E701"))
  tap.equal(result.failure.kind, "invalid")
  tap.match(result.failure.message, KEY .. ".*798AEC654E5C15428C8E42EEAA16FCBCA621E701")
  tap.equal(result.list, {})
  tap.equal(h:sh("ls /etc/apt/sources.list.d " .. KEYRING .. " 2>/dev/null"), "/etc/apt/sources.list.d:")
end)

tap.test("a keyring without the wanted key is replaced, and so is one that does not sign", function()
  local both = ("apt.repository{ 'hashicorp', uri=%q, key=%q, fingerprints={%q,%q} }"):format(URL, URL .. "/gpg", OLD_KEY, KEY)
  local plant = "curl -sf " .. URL .. "/gpg-old >" .. KEYRING .. ".asc || python3 -c \"import urllib.request,sys;" ..
    "sys.stdout.write(urllib.request.urlopen('" .. URL .. "/gpg-old').read().decode())\" >" .. KEYRING .. ".asc; " ..
    "python3 -c \"import base64,sys;t=open(sys.argv[1]).read().split('\\n\\n',1)[1].split('\\n=')[0];" ..
    "open(sys.argv[2],'wb').write(base64.b64decode(t))\" " .. KEYRING .. ".asc " .. KEYRING
  h:sh(plant)
  local real = converges(repository())
  tap.equal(real.list[1], "apt.repository " .. KEYRING)
  h:reset()
  h:sh(plant)
  tap.equal(converges(both).list[1], "apt.repository " .. KEYRING)
  local good = h:sh("sha256sum " .. KEYRING)
  h:sh("cp " .. KEYRING .. " /root/good; " .. plant .. "; cat " .. KEYRING .. " >>/root/good; cp /root/good " .. KEYRING)
  tap.equal(converges(repository()).list[1], "apt.repository " .. KEYRING, "the right key and one that nobody wants")
  tap.equal(h:sh("sha256sum " .. KEYRING), good)
end)

tap.test("a suite that is not there is refused with those that are", function()
  h:reset()
  local result = h:run(repository("suite='noble',"))
  tap.equal(result.failure.kind, "not-found")
  tap.match(result.failure.message, "no suite noble")
  tap.match(result.failure.hint, "bookworm.*bullseye.*jammy")
  tap.equal(result.list, {})
end)

tap.test("the key may be a text or a path on the operator's machine", function()
  h:write("/root/key.asc", h:sh("python3 -c \"import urllib.request;print(urllib.request.urlopen('" .. URL ..
    "/gpg').read().decode())\""))
  converges(("apt.repository{ 'hashicorp', uri=%q, key='/root/key.asc', fingerprints={%q} }"):format(URL, KEY:lower()))
  h:sh("rm " .. KEYRING)
  converges(("apt.repository{ 'hashicorp', uri=%q, key=file.read('/root/key.asc') }"):format(URL))
end)

tap.test("nonsense is refused as usage", function()
  for _, chunk in ipairs{ "apt.repository{'a/b', uri='http://x'}", "apt.repository{'a'}",
    "apt.repository{'a', uri='http://x', sweet=1}",
    "apt.repository{'a', uri='http://x', fingerprints={'12'}}", "apt.repository{'a', uri='http://x', key='http://x/gpg'}",
    "apt.repository{'a', uri='http://x', keyring='x.gpg'}", "apt.repository{'a', uri='http://x', " ..
      "components={'main\\nTrusted: yes'}}",
    "apt.installed{}", "apt.installed{'Consul'}", "apt.installed{'a b'}", "apt.installed{'consul', version='> '}",
    "apt.installed{'consul','nomad', version='1'}", "apt.installed{'--help'}" } do
    tap.equal(h:run(chunk).failure.kind, "usage", chunk)
  end
end)

---- apt.installed ----

local BRINGS = "brings={users={'consul'}, groups={'consul'}, units={'consul'}, files={'/etc/consul.d/consul.hcl'}},"

tap.test("packages of a repository that is not there yet are predicted without a version", function()
  h:reset()
  local real, predicted = converges(repository() .. " apt.installed{ 'consul', 'nomad', " .. BRINGS .. " }")
  tap.equal(predicted.changes[4].exact, false)
  tap.equal(predicted.changes[4].after.version, json.null)
  tap.equal(real.changes[4].after.version, "1.8.7-1")
  tap.match(real.changes[5].after.version, "^%d") -- a real nomad has its own
  tap.equal(h:sh("systemctl is-active consul nomad; ls /usr/sbin/policy-rc.d 2>&1"),
    "inactive\ninactive\nls: cannot access '/usr/sbin/policy-rc.d': No such file or directory")
end)

tap.test("versions: a range downgrades, a glob and an exact one choose, one that satisfies stays", function()
  tap.equal(converges("apt.installed{ 'moonbook-test-versions' }").changes[1].after.version, "1.10.0-1")
  local real, predicted = converges("apt.installed{ 'moonbook-test-versions', version='< 1.10' }")
  tap.equal(real.changes[1].before.version, "1.10.0-1")
  tap.equal(real.changes[1].after.version, "1.9.7-1")
  tap.equal(predicted.changes[1].after.version, "1.9.7-1")
  tap.equal(predicted.changes[1].exact, true)
  tap.equal(h:run("apt.installed{ 'moonbook-test-versions' }").list, {})
  tap.equal(h:run("apt.installed{ 'moonbook-test-versions', version='>= 1.8, < 1.10' }").list, {})
  tap.equal(converges("apt.installed{ 'moonbook-test-versions', version='1.8.*' }").changes[1].after.version, "1.8.4-1")
  tap.equal(converges("apt.installed{ 'moonbook-test-versions', version='1.9.7-1' }").changes[1].after.version, "1.9.7-1")
  tap.equal(h:run("apt.installed{ 'moonbook-test-versions', version='1.9.7' }").list, {})
  local refused = h:run("apt.installed{ 'moonbook-test-versions', version='> 2' }")
  tap.equal(refused.failure.kind, "not-found")
  tap.match(refused.failure.message, "1.10.0%-1, 1.9.7%-1, 1.8.4%-1")
end)

tap.test("a package that nobody has is refused with the name that was meant", function()
  for _, flag in ipairs{ "--check", "--json" } do
    local result = h:run("apt.installed{ 'consul', 'nomda' }", flag)
    tap.equal(result.failure.kind, "not-found")
    tap.match(result.failure.message, "nomda")
    tap.match(result.failure.hint, "nomad")
  end
end)

tap.test("what brings= says is verified", function()
  h:run("apt.absent{ 'consul' }")
  local result = h:run("apt.installed{ 'consul', brings={ users={'consul','mallory'}, units={'consul','x.timer'} } }")
  tap.equal(result.failure.kind, "failed")
  tap.match(result.failure.message, "user mallory, ?unit x.timer")
  tap.equal(result.list, { "apt.installed consul" })
  local again = h:run("apt.installed{ 'consul', brings={ users={'consul','mallory'}, groups={'nobodys'}, " ..
    "units={'consul','x.timer'}, files={'/etc/consul.d', '/etc/consul.e'} } }")
  tap.match(tostring(again.failure and again.failure.message),
    "user mallory, ?group nobodys, ?unit x.timer, ?file /etc/consul.e$")
  tap.equal(again.list, {})
  tap.equal(h:run("apt.installed{ 'consul', " .. BRINGS .. " }").code, 0)
end)

---- packages of our own: what starts a service, and what takes its time ----

-- Makes a package in the host's own repository. `postinst` is shell text.
local function make_package(name, postinst)
  h:write("/srv/tree/DEBIAN/control", ("Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b>\nDescription: " ..
    "x\n"):format(name))
  h:write("/srv/tree/lib/systemd/system/" .. name .. ".service",
    "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n")
  h:write("/srv/tree/DEBIAN/postinst", "#!/bin/sh\n" .. postinst, "0755")
  h:sh(([[set -e; mkdir -p /srv/repo; dpkg-deb --root-owner-group -b /srv/tree /srv/repo/%s.deb >/dev/null; rm -r /srv/tree
    cd /srv/repo; : >Packages
    for f in *.deb; do dpkg-deb -f $f >>Packages; echo "Filename: ./$f
Size: $(stat -c %%s $f)
SHA256: $(sha256sum $f | cut -d' ' -f1)
" >>Packages; done
    echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list.d/own.list
    apt-get update -qq 2>&1]]):format(name))
end

local STARTS = "systemctl daemon-reload; systemctl -q enable %s; deb-systemd-invoke start %s.service; exit 0\n"

tap.test("no service starts; a foreign policy-rc.d decides itself; a stale one of ours does not", function()
  make_package("starter", STARTS:gsub("%%s", "starter"))
  converges("apt.installed{ 'starter', brings={ units={'starter'} } }")
  tap.equal(h:sh("systemctl is-active starter"), "inactive")
  h:run("apt.absent{ 'starter', purge=true }")
  h:write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 0\n", "0755")
  converges("apt.installed{ 'starter' }")
  tap.equal(h:sh("systemctl is-active starter; cat /usr/sbin/policy-rc.d"), "active\n#!/bin/sh\nexit 0")
  h:sh("systemctl stop starter; dpkg --purge starter")
  h:write("/usr/sbin/policy-rc.d", "#!/bin/sh\n# moonbook: no service starts while it installs packages\nexit 0\n", "0755")
  converges("apt.installed{ 'starter' }")
  tap.equal(h:sh("systemctl is-active starter; ls /usr/sbin/policy-rc.d* 2>/dev/null"), "inactive")
end)

tap.test("our policy-rc.d denies only while its maker lives", function()
  make_package("slow", "cp /usr/sbin/policy-rc.d /root/policy; /usr/sbin/policy-rc.d x start; echo $? >/root/answer; exit 0\n")
  converges("apt.installed{ 'slow' }")
  tap.equal(h:sh("cat /root/answer"), "101")
  tap.equal(h:sh("sh /root/policy x start; echo $?"), "0")
end)

tap.test("a run that was killed in the middle is finished by the next", function()
  make_package("halting", "[ -e /root/second ] || { touch /root/second; sleep 60; }; exit 0\n")
  h:sh("(moonbook -e \"apt.installed{ 'halting' }\" >/dev/null 2>&1 &) ; while [ ! -e /root/second ]; do sleep 0.05; done; " ..
    "killall -9 moonbook apt-get dpkg halting.postinst sleep 2>/dev/null || " ..
    "for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in moonbook|apt-get|dpkg|*postinst|sleep) kill -9 " ..
      "${p#/proc/};; esac; done; sleep 0.3")
  tap.match(h:sh("dpkg-query -W -f '${db:Status-Abbrev}' halting"), "^iF")
  tap.equal(converges("apt.installed{ 'halting' }").list, { "apt.installed halting" })
  tap.match(h:sh("dpkg-query -W -f '${db:Status-Abbrev}' halting; ls /usr/sbin/policy-rc.d* 2>/dev/null"), "^ii %s*$")
end)

tap.test("a package that fails is an error that says why", function()
  make_package("broken", "echo 'the cellar is flooded' >&2; exit 3\n")
  local result = h:run("apt.installed{ 'broken' }")
  tap.equal(result.failure.kind, "failed")
  tap.match(result.failure.message, "half installed")
  tap.equal(result.changes[1].status, "failed")
  h:sh("dpkg --purge broken; rm -f /srv/repo/broken.deb")
end)

---- locks ----

-- For that many seconds: more than the program may need to meet it. Returns who holds it.
local function hold_lock(path, seconds)
  return h:sh(("python3 -c \"import " ..
    "fcntl,time,sys;f=open('%s','w');fcntl.lockf(f,fcntl.LOCK_EX);open('/run/held','w');time.sleep(%s)\" " ..
    ">/dev/null 2>&1 & while [ ! -e /run/held ]; do sleep 0.02; done; rm /run/held; echo $!"):format(path, seconds))
end

tap.test("locks are waited for, and in the end their holder is named", function()
  for _, path in ipairs{ "/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/cache/apt/archives/lock" } do
    h:sh("dpkg --purge starter >/dev/null 2>&1")
    hold_lock(path, 5)
    local result = h:run("apt.installed{ 'starter' }")
    tap.equal(result.list, { "apt.installed starter" }, path)
    tap.ok(result.ms > 1000, "it waited")
  end
  h:sh("dpkg --purge starter >/dev/null 2>&1")
  hold_lock("/var/lib/dpkg/lock", 5)
  tap.match(h:sh("moonbook -e \"apt.installed{ 'starter' }\" 2>&1"), "waiting for python3 %(pid %d+")
  local holder = hold_lock("/var/lib/apt/lists/lock", 120)
  local late = h:run("apt.updated{ max_age=0, lock_timeout='1s' }")
  h:sh("kill " .. holder)
  tap.equal(late.failure.kind, "timeout")
  tap.match(late.failure.message, "python3 %(pid %d+.*lists/lock")
  tap.equal(late.changes[1].status, "failed")
end)

---- the rest ----

tap.test("absent, purged, held", function()
  h:run("apt.installed{ 'starter', 'slow' }")
  converges("apt.absent{ 'starter', 'slow' }")
  converges("apt.installed{ 'starter' } apt.held{ 'starter' }")
  tap.equal(h:sh("apt-mark showhold"), "starter")
  local refused = h:run("apt.installed{ 'starter', version='2.*' }")
  tap.match(refused.failure.message, "held at 1.0")
  tap.equal(h:run("apt.held{ 'consulate' }").failure.kind, "not-found")
  h:sh("apt-mark unhold starter")
  converges("apt.absent{ 'starter', purge=true }")
  local there_and_back = "apt.installed{'slow'} apt.absent{'slow'} apt.installed{'slow'}"
  local wanted = { "apt.installed slow", "apt.absent slow", "apt.installed slow" }
  tap.equal(h:run(there_and_back, "--check").list, wanted)
  tap.equal(h:run(there_and_back).list, wanted)
end)

tap.test("updated: by age and by new sources", function()
  h:run("apt.updated{ max_age=0 }")
  h:sh("rm -f /etc/apt/sources.list.d/own.list; apt-get update -qq")
  tap.equal(h:run("apt.updated{}").list, {})
  tap.equal(h:run("apt.updated()").list, {})
  h:sh("touch " .. SOURCES)
  tap.equal(converges("apt.updated{}").list, { "apt.updated all sources" })
end)

tap.test("version and versions", function()
  local result = h:run("print(apt.version('consul'), apt.version'nothing-at-all'); " ..
    "print(table.concat(apt.versions('moonbook-test-versions'), ' '), #apt.versions'nothing-at-all')")
  tap.equal(result.output, { "1.8.7-1\tnil", "1.10.0-1 1.9.7-1 1.8.4-1\t0" })
end)

tap.test("without root: permission, and nothing begins to look half done", function()
  local result = h:sh("cp /usr/local/bin/moonbook /tmp/; setpriv --reuid 65534 --regid 65534 --clear-groups env " ..
    "HOME=/tmp XDG_STATE_HOME=/tmp/s " ..
    "/tmp/moonbook -e \"apt.absent{ 'dnsmasq' }\" 2>&1; true")
  tap.match(result, "this needs root")
end)

tap.finish()
