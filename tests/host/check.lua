-- --check predicts what a real run of setup/join-client then does, and changes nothing; the journal keeps what an undo
-- will need, and no secret. From outside, as root, on c2: `MOONBOOK_PATH=$PWD/tests build/moonbook tests/host/check.lua`
local tap = require "tap"
local lab = require "lab"
local trace = require "trace"

local c2 = lab.host "c2"
local CONSUL, NOMAD, DNSMASQ = "/etc/consul.d/consul.hcl", "/etc/nomad.d/nomad.hcl", "/etc/dnsmasq.conf"
local CANARY = "s3cr3t-canary-9b1f"

-- The change events of a run.
local function changes(events)
  local list = {}
  for _, event in ipairs(events) do
    if event.event == "change" then list[#list + 1] = event end
  end
  return list
end

-- Each prediction against what the real run did: kind, target and order always, the rest where it was called exact.
local function came_true(predictions, events)
  tap.equal(lab.changes(events), lab.changes(predictions))
  events = changes(events)
  for index, event in ipairs(changes(predictions)) do
    for _, key in ipairs { "step", "undo", event.exact and "before", event.exact and "after", event.exact and "diff" } do
      if key then tap.equal(events[index][key], event[key], event.target .. ": " .. key) end
    end
    tap.equal(events[index].status, "changed", event.target)
  end
end

local function only_reads(seen)
  tap.equal(seen.writes, {}, "written")
  tap.equal(seen.writers, {}, "programs that may write")
  for _, request in ipairs(seen.requests) do tap.match(request, "^GET /") end
end

local prediction -- the events of the latest run under --check

-- A run under --check, traced: it must succeed, write nothing, send nothing but reads, and be sure of all its
-- predictions but those for `unsure` = {target = true}.
local function predicted(options, unsure)
  options.check, options.json, options.before = true, true, trace.start(c2)
  local before = c2:files()
  local run = c2:join(options)
  local seen = trace.read(c2)
  prediction = run.events
  tap.equal(run.code, 0, lab.why(run))
  tap.equal(lab.difference(before, c2:files()), {}, "files that are different")
  only_reads(seen)
  for _, event in ipairs(changes(run.events)) do
    tap.equal(event.status, "predicted")
    tap.equal(event.exact, not (unsure or {})[event.target], event.target .. ": exact")
  end
  return run, seen
end

local function has_request(seen, pattern)
  for _, request in ipairs(seen.requests) do
    if request:find(pattern) then return true end
  end
end

-- The journal of a run that c2:join returned: its events, its text, the run's name.
local function journal(run)
  local name = run.events[1] and run.events[1].run or (run.stdout .. run.stderr):match "run (%d+%-%d+%-%x+)%)"
  local text, events = c2:read("/var/lib/moonbook/runs/" .. name .. "/journal.jsonl"), {}
  for line in text:gmatch "[^\n]+" do events[#events + 1] = json.decode(line) end
  return events, text, name
end

-- Each change of the run that overwrote a file kept it, out of others' sight; returns {target = kept text}.
local function kept(done)
  local events, _, run = journal(done)
  tap.equal(c2:sh("stat -c '%a %U' /var/lib/moonbook /var/lib/moonbook/undo /var/lib/moonbook/undo/" .. run),
    "700 root\n700 root\n700 root")
  local texts = {}
  for _, event in ipairs(events) do
    if event.event == "change.start" and event.before.type == "file" then
      tap.match(event.kept, "^/var/lib/moonbook/undo/" .. run:gsub("%-", "%%-") .. "/")
      tap.equal(c2:sh("sha256sum < " .. event.kept):match "%x+", event.before.sha256)
      texts[event.target] = c2:read(event.kept)
    elseif event.event == "change.start" then
      tap.equal(event.kept, json.null, event.target)
    end
  end
  return texts
end

-- ---- the tracer itself, or the rest proves nothing ----

tap.test("the trace sees writes, writers and requests", function()
  local command = trace.start(c2)
  table.move({ "sh", "-c", [[cd /tmp; touch x; mv x y; chmod 600 y; rm y; echo >/tmp/z; systemctl start dnsmasq
    curl -s -X PUT -d x ]] .. lab.url() .. "/none; kill -CONT 1" }, 1, 3, #command + 1, command)
  c2:run(command)
  local seen = trace.read(c2)
  for _, wanted in ipairs { "touch: openat /tmp/x", "mv: renameat2 /tmp/y", "chmod: fchmodat /tmp/y", "rm: unlinkat /tmp/y",
    "sh: openat /tmp/z", "sh: kill 1, SIGCONT" } do
    tap.ok(table.concat(seen.writes, "\n"):find(wanted, 1, true), wanted)
  end
  tap.ok(table.concat(seen.writers, "\n"):find "systemctl start dnsmasq", "the writer")
  tap.ok(has_request(seen, "^PUT /none "), "the request")
end)

-- ---- a fresh host ----

tap.test("on a fresh host --check writes nothing, starts no writer and sends only reads", function()
  local asked = lab.requests(c2.address)
  -- Which version, and what is in its default files, is not known before the repository's lists are there.
  local run, seen = predicted({}, { consul = true, nomad = true, [CONSUL] = true, [NOMAD] = true })
  tap.equal(#lab.changes(run.events), 15)
  tap.ok(has_request(seen, "/dists/bookworm/InRelease "), "the repository was asked")
  local count, log = lab.requests(c2.address)
  tap.ok(count > asked, "requests in the log")
  for index = asked + 1, count do tap.match(log[index], '"GET /') end
  local last = lab.event(run.events, "run.end")
  tap.equal({ last.status, last.changed, last.predicted, last.failed }, { "ok", 0, 15, 0 })
end)

tap.test("--detailed-exitcode says 2 where a run would change something", function()
  tap.equal(c2:join { check = true, flags = { "--detailed-exitcode" } }.code, 2)
end)

local dnsmasq_before, first = c2:read(DNSMASQ), nil
tap.test("the real run makes exactly the predicted changes, in order", function()
  local run = c2:join { json = true, flags = { "--detailed-exitcode" } }
  tap.equal(run.code, 2, lab.why(run))
  first = run
  came_true(prediction, run.events)
  tap.equal(lab.event(run.events, "run.end").changed, 15)
end)

tap.test("what was overwritten is kept for an undo: the packages' defaults and dnsmasq's file", function()
  local texts = kept(first)
  tap.match(texts[NOMAD], 'data_dir *= *"/opt/nomad')
  tap.match(texts[CONSUL], "/opt/consul")
  tap.equal(texts[DNSMASQ], dnsmasq_before)
end)

-- ---- a host that has joined ----

tap.test("on a joined host there is nothing to change: --check and the run say 0", function()
  local run, seen = predicted { flags = { "--detailed-exitcode" } }
  tap.equal(lab.changes(run.events), {})
  tap.ok(has_request(seen, "GET /v1/agent/self 127.0.0.1:8500"), "Consul was asked")
  tap.ok(has_request(seen, "GET /v1/nodes " .. c2.address:gsub("%.", "%%.") .. ":4646"), "Nomad was asked")
  tap.equal(c2:join { flags = { "--detailed-exitcode" } }.code, 0)
end)

tap.test("with changed files and another DNS server --check predicts the rest and sends only reads", function()
  c2:sh("echo '# one line more' >>/root/lab/consul.hcl")
  c2:sh("chmod 600 /root/lab/nomad.hcl; echo '# token " .. CANARY .. "' >>/root/lab/nomad.hcl")
  local run, seen = predicted { set = { consul_dns = "10.213.77.2#8600" }, flags = { "--diff" } }
  tap.equal(lab.changes(run.events), { "file.present " .. CONSUL, "file.present " .. NOMAD, "file.line " .. DNSMASQ,
    "systemd.running dnsmasq.service", "systemd.running consul.service", "systemd.running nomad.service" })
  tap.ok(has_request(seen, "GET /v1/agent/self "), "the agents were asked")
  tap.ok(not run.stdout:find(CANARY, 1, true), "no canary on stdout")
end)

-- Runs for real, traced; the canary must be nowhere but in the files themselves.
local function without_canary(options)
  options.before = { "env", "ASAN_OPTIONS=detect_leaks=0", "strace", "-f", "-o", "/run/started",
    "-s", "65536", "-e", "abbrev=!execve", "-e", "trace=execve" }
  local run = c2:join(options)
  tap.equal(run.code, 0, lab.why(run))
  local _, text = journal(run)
  tap.match(text, "change.start")
  for name, said in pairs { stdout = run.stdout, stderr = run.stderr, journal = text, processes = c2:read "/run/started" } do
    tap.ok(not said:find(CANARY, 1, true), "no canary: " .. name)
  end
  tap.equal(c2:sh("grep -rl " .. CANARY .. " /var/lib/moonbook/runs /var/log /tmp; journalctl | grep " .. CANARY), "")
  return run
end

tap.test("the run then does the same, and a file's content that not all may read shows nowhere", function()
  local run = without_canary { set = { consul_dns = "10.213.77.2#8600" }, json = true, flags = { "--diff" } }
  came_true(prediction, run.events)
  tap.ok(c2:read(NOMAD):find(CANARY, 1, true), "the canary is in the file")
  local texts = kept(run)
  tap.ok(texts[CONSUL] and texts[NOMAD] and texts[DNSMASQ], "all three files were kept")
end)

tap.test("neither does what such a file held before; it is kept for an undo", function()
  c2:sh "sed -i /canary/d /root/lab/nomad.hcl"
  local run = without_canary { set = { consul_dns = "10.213.77.2#8600" }, flags = { "--diff", "--verbose" } }
  tap.match(run.stdout .. run.stderr, "changed: 2,")
  tap.ok(kept(run)[NOMAD]:find(CANARY, 1, true), "it is kept")
  tap.ok(not c2:read(NOMAD):find(CANARY, 1, true), "it is gone from the file")
end)

tap.finish()
