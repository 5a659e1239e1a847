-- The systemd module on a host of the lab: each prediction is held against the run that follows, each run against a second
-- one that must find nothing to do. From outside: `moonbook tests/host/systemd.lua` as root.
local tap = require "tap"
local lab = require "lab"

local h = lab.host("units")

-- Writes a unit; systemd is told, unless `quietly`.
local function unit(name, service, quietly)
  h:write("/etc/systemd/system/" .. name, "[Unit]\nDescription=test\n[Service]\n" .. service ..
    "\n[Install]\nWantedBy=multi-user.target\n")
  if not quietly then h:sh("systemctl daemon-reload") end
end

local STATES = "systemctl show -p Id,ActiveState,InvocationID,UnitFileState sleeper fresh dies slow ghost talks " ..
  "moonbook-test-loops"

-- Predicts, makes it, checks that it was as predicted, and that a second run is quiet.
local function converges(chunk)
  local before = h:sh(STATES)
  local predicted = h:run(chunk, "--check")
  tap.equal(predicted.code, 0, tostring(predicted.stderr))
  tap.equal(h:sh(STATES), before, "units under --check")
  local real = h:run(chunk)
  tap.equal(real.code, 0, real.stderr)
  tap.equal(real.list, predicted.list, "the real run's changes")
  for i, change in ipairs(real.changes) do
    if change.kind:find("^systemd") then tap.equal(predicted.changes[i].after, change.after, "predicted state") end
  end
  local again = h:run(chunk)
  tap.equal(again.code, 0, again.stderr)
  tap.equal(again.list, {}, "changes of a second run")
  return real, predicted, again
end

local function quick(name, options) return ("systemd.running{ %q, stable='300ms', %s }"):format(name, options or "") end

unit("sleeper.service", "ExecStart=/bin/sleep 1000")

tap.test("a unit is started once, and stays", function()
  local real = converges("systemd.running{ 'sleeper', stable='1s' }")
  tap.equal(real.list, { "systemd.running sleeper.service" })
  tap.equal(real.changes[1].before, { active = "inactive" })
  tap.equal(real.changes[1].after, { active = "active", action = "start" })
  tap.ok(real.ms >= 1000, "it was watched for as long as stable says")
  h:sh("sleep 10")
  tap.ok(h:run("systemd.running{ 'sleeper', stable='10s' }").ms < 9000, "no watch for a unit that is old enough")
end)

tap.test("a file in fresh restarts it, also one that a run before changed", function()
  h:write("/etc/sleeper.conf", "a\n")
  local real = converges(quick("sleeper", "fresh={'/etc/sleeper.conf', '/etc/no-such-file'}"))
  tap.equal(real.changes[1].after.action, "restart")
  h:sh("ln -sf sleeper.conf /etc/sleeper.link; sleep 0.1; touch /etc/sleeper.conf")
  tap.equal(converges(quick("sleeper", "fresh={'/etc/sleeper.link'}")).changes[1].after.action, "restart")
  -- Written before the start and renamed after it: mtime would not tell.
  h:sh("touch /etc/sleeper.new; systemctl restart sleeper; sleep 0.05; mv /etc/sleeper.new /etc/sleeper.conf")
  tap.equal(converges(quick("sleeper", "fresh='/etc/sleeper.conf'")).changes[1].after.action, "restart")
end)

tap.test("a checker that refuses leaves the unit as it is", function()
  h:sh "touch /etc/sleeper.conf"
  local before = h:sh "systemctl show -p MainPID,InvocationID sleeper"
  local refusing = quick("sleeper", "fresh='/etc/sleeper.conf', validate={'sh', '-c', 'echo line 3 >&2; exit 1'}")
  for _, flag in ipairs { "--check", "--json" } do
    local result = h:run(refusing, flag)
    tap.equal(result.failure.kind, "invalid")
    tap.match(result.failure.message, "line 3")
    tap.equal(result.list, {})
  end
  tap.equal(h:sh "systemctl show -p MainPID,InvocationID sleeper", before)
  local real = converges(quick("sleeper", "fresh='/etc/sleeper.conf', validate={'true'}"))
  tap.equal(real.changes[1].after.action, "restart")
  -- nothing to do: nobody is asked
  tap.equal(h:run(refusing).list, {})
end)

tap.test("a predicted file predicts the restart, once", function()
  local chunk = "file.present{ '/etc/sleeper.conf', content='b\\n' }" .. quick("sleeper", "fresh={'/etc/sleeper.conf'}")
  tap.equal(converges(chunk .. chunk).list, { "file.present /etc/sleeper.conf", "systemd.running sleeper.service" })
  h:sh("mkdir -p /etc/sleeper.d; systemctl restart sleeper")
  tap.equal(converges("file.present{ '/etc/sleeper.d/a', content='x' }" .. quick("sleeper", "fresh={'/etc/sleeper.d'}")).list,
    { "file.present /etc/sleeper.d/a", "systemd.running sleeper.service" })
end)

tap.test("what is not running is only started, however new its files are", function()
  h:sh("systemctl stop sleeper; touch /etc/sleeper.conf")
  local real = converges("file.present{ '/etc/sleeper.conf', content='c\\n' }" .. quick("sleeper",
    "fresh={'/etc/sleeper.conf'}"))
  tap.equal(real.list, { "file.present /etc/sleeper.conf", "systemd.running sleeper.service" })
  tap.equal(real.changes[2].after.action, "start")
end)

tap.test("a new unit file is read, a changed one too", function()
  local new = "file.present{ '/etc/systemd/system/fresh.service', content='[Service]\\nExecStart=/bin/sleep 900\\n' }"
  tap.equal(converges(new .. quick("fresh")).list, { "file.present /etc/systemd/system/fresh.service",
    "systemd.running fresh.service" })
  local drop = "file.directory{'/etc/systemd/system/fresh.service.d'} file.present{ " ..
    "'/etc/systemd/system/fresh.service.d/x.conf', content='[Service]\\nNice=5\\n' }"
  local real = converges(drop .. quick("fresh"))
  tap.equal(real.changes[3].after.action, "daemon-reload")
  local again = drop:gsub("Nice=5", "Nice=6") .. quick("fresh", "fresh={'/etc/systemd/system/fresh.service.d/x.conf'}")
  tap.equal(converges(again).changes[2].after.action, "restart")
  tap.equal(h:sh("ps -o ni= -p $(systemctl show -p MainPID --value fresh)"):gsub("%s", ""), "6")
end)

tap.test("a unit that fails is an error with its journal", function()
  unit("dies.service", "ExecStart=/bin/sh -c 'echo the cellar is flooded; sleep 0.3; echo going down >&2; exit 7'")
  local result = h:run("systemd.running{ 'dies', stable='60s' }")
  tap.equal(result.failure.kind, "failed")
  tap.match(result.failure.message, "exit status 7")
  tap.match(result.failure.message, "the cellar is flooded\n.*going down")
  tap.ok(result.ms < 50000, "told before the watch ended")
  unit("never.service", "ExecStart=/bin/no-such-program")
  result = h:run("systemd.running{ 'never', stable=0 }")
  tap.equal(result.failure.kind, "failed")
  tap.equal(result.changes[1].status, "failed")
end)

tap.test("a unit that crashes in a loop is not running, though it looks so", function()
  unit("loops.service", "ExecStart=/bin/sh -c 'echo round and round; sleep 0.3; exit " ..
    "1'\nRestart=always\nRestartSec=100ms\nStartLimitIntervalSec=0")
  for _ = 1, 3 do
    local result = h:run("systemd.running{ 'loops', stable='2s' }")
    tap.equal(result.failure.kind, "failed")
    tap.match(result.failure.message, "round and round")
  end
  h:sh("systemctl stop loops")
end)

tap.test("a unit that failed too often can be started when it is mended", function()
  unit("dies.service", "ExecStart=/bin/false\nRestart=always\nRestartSec=10ms")
  h:sh("systemctl start dies; for i in $(seq 300); do [ \"$(systemctl is-active dies)\" != failed ] || break; sleep 0.1; done")
  tap.match(h:sh("systemctl start dies 2>&1; systemctl status dies"), "repeated too quickly")
  unit("dies.service", "ExecStart=/bin/sleep 1000")
  converges(quick("dies"))
end)

tap.test("activating is waited for, but not for ever", function()
  unit("slow.service", "Type=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'sleep 6; systemd-notify --ready; exec sleep 1000'")
  h:sh("systemctl start --no-block slow; sleep 0.1")
  local result = h:run(quick("slow"))
  tap.equal(result.list, {})
  tap.ok(result.ms > 1000, "it waited") -- if it began within five seconds
  unit("mute.service", "Type=notify\nExecStart=/bin/sh -c 'echo nobody hears me; exec sleep 1000'")
  result = h:run("systemd.running{ 'mute', timeout='5s' }")
  tap.equal(result.failure.kind, "timeout")
  tap.match(result.failure.message, "nobody hears me")
  h:sh("systemctl stop mute")
end)

tap.test("several units, in the order that was asked for", function()
  h:sh("systemctl stop sleeper slow")
  local real = converges("local r = systemd.running{ 'slow', 'sleeper', 'dies.service', stable='300ms' }; print(r.changed)")
  tap.equal(real.list, { "systemd.running slow.service", "systemd.running sleeper.service" })
end)

tap.test("stopped, enabled, disabled, masked", function()
  tap.equal(converges("systemd.enabled{ 'sleeper' }").changes[1].after.enabled, "enabled")
  tap.equal(h:sh("systemctl is-enabled sleeper"), "enabled")
  tap.equal(converges("systemd.stopped{ 'sleeper' } systemd.disabled{ 'sleeper' }").list,
    { "systemd.stopped sleeper.service", "systemd.disabled sleeper.service" })
  tap.equal(h:sh("systemctl is-enabled sleeper; systemctl is-active sleeper"), "disabled\ninactive")
  converges("systemd.enabled{ 'sleeper' }" .. quick("sleeper"))
  h:sh("systemctl stop slow")
  converges("systemd.masked{ 'ghost' }")
  for _, word in ipairs{ "running", "enabled" } do
    tap.equal(h:run("systemd." .. word .. "{ 'ghost' }").failure.kind, "invalid", word)
    tap.equal(h:run("systemd." .. word .. "{ 'ghost' }", "--check").failure.kind, "invalid", word)
  end
end)

tap.test("a unit that does not exist", function()
  for _, word in ipairs{ "running", "stopped", "enabled", "disabled" } do
    for _, flag in ipairs{ "--check", "--json" } do
      local result = h:run("systemd." .. word .. "{ 'nowhere' }", flag)
      tap.equal(result.failure.kind, "not-found", word)
      tap.match(result.failure.message, "nowhere.service")
    end
  end
  tap.equal(h:run("systemd.running{ 'a b' }").failure.kind, "usage")
  tap.equal(h:run("systemd.running{ '*' }").failure.kind, "usage")
  tap.equal(h:run("systemd.running{}").failure.kind, "usage")
  tap.equal(h:run("systemd.running{ 'sleeper', refresh={} }").failure.kind, "usage")
end)

tap.test("packages, their units and their files: predicted as they come", function()
  local URL = lab.url()
  local chunk = ([[
    apt.repository{ "hashicorp", uri=%q, key=%q, fingerprints={%q} }
    apt.installed{ "moonbook-test-dies", brings={ units={"moonbook-test-loops"} } }
    file.directory{ "/etc/systemd/system/moonbook-test-loops.service.d" }
    file.present{ "/etc/systemd/system/moonbook-test-loops.service.d/stays.conf",
      content = "[Service]\nExecStart=\nExecStart=/bin/sleep 1000\n" }
    systemd.enabled{ "moonbook-test-loops" }
    systemd.running{ "moonbook-test-loops", stable="500ms",
      fresh={"/etc/systemd/system/moonbook-test-loops.service.d/stays.conf"} }
    print(systemd.status("moonbook-test-loops").active)
  ]]):format(URL, URL .. "/gpg", lab.fingerprint())
  local real, predicted = converges(chunk)
  tap.equal(#real.list, 8)
  tap.equal(predicted.output, { "active" })
  -- The host has the unit already: what a package would bring says nothing about it.
  tap.equal(converges([[
    apt.installed{ "nomad", "moonbook-test-dies", brings={ units={"moonbook-test-loops", "nomad"} } }
    systemd.running{ "moonbook-test-loops", stable="100ms" }]]).list, { "apt.installed nomad" })
end)

tap.test("status", function()
  local result = h:run([[
    local s = systemd.status("sleeper")
    print(s.name, s.load, s.active, s.sub, s.enabled, s.pid > 1, s.started > 1e9, s.description, s.restarts)
    print(systemd.status("nowhere"))]])
  tap.equal(result.output, { "sleeper.service\tloaded\tactive\trunning\tenabled\ttrue\ttrue\ttest\t0", "nil" })
end)

tap.test("follow ends with the loop and leaves no journalctl behind", function()
  unit("talks.service", "ExecStart=/bin/sh -c 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done'")
  h:sh("systemctl start talks; sleep 0.3")
  local result = h:run([[
    local seen = 0
    for line in systemd.follow("talks", { lines = 1 }) do
      if line:find("^line %d+$") then seen = seen + 1 end
      if seen == 5 then break end
    end
    wait { function() -- closing does not
      return host.run{ "pgrep", "-x", "journalctl", reads = true, ok = { 0, 1 } }.code == 1
    end, every = "50ms", timeout = "60s", what = "journalctl's end" }
    print(seen)]])
  tap.equal({ result.code, result.output }, { 0, { "5" } }, result.stderr)
  tap.equal(h:run("for _ in systemd.follow{ 'talks', lines=2 } do end print 'ended'", "--check").output, { "ended" })
  tap.equal(h:run("systemd.follow('nowhere')").failure.kind, "not-found")
end)

tap.finish()
