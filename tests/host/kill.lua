-- setup/join-client, ended at every change and in between, in several ways: the next run finishes the job, a third finds
-- nothing to do, and at no moment is a file half-written. From outside, as root: `moonbook tests/host/kill.lua`.
local tap = require "tap"
local lab = require "lab"

local KILLER = "/usr/local/bin/killer.py"
local SEED = 20250117
-- Each may be absent, as its package or Debian brings it, or as the runbook wants it, and nothing else.
local FILES = { "/usr/share/keyrings/hashicorp-archive-keyring.gpg", "/etc/apt/sources.list.d/hashicorp.sources",
  "/etc/consul.d/consul.hcl", "/etc/nomad.d/nomad.hcl", "/etc/dnsmasq.conf" }

local POLICY = "[ ! -e /usr/sbin/policy-rc.d ] || /usr/sbin/policy-rc.d consul start; echo $?"

local hosts = { lab.host "w1", lab.host "w2" }
for _, h in ipairs(hosts) do h:write(KILLER, file.read "tests/host/killer.py", "0755") end

local function fresh(h)
  h:reset()
  h:write(KILLER, file.read "tests/host/killer.py", "0755")
end

-- Runs setup/join-client until the point (killer.py): {fired, code, signal, stdout, stderr, seconds}.
local function ended(h, point, before)
  local words = { KILLER, json.encode(point) }
  table.move(before or {}, 1, #(before or {}), #words + 1, words)
  words[#words + 1] = "moonbook"
  local joining = h:join_words {}
  table.move(joining, 1, #joining, #words + 1, words)
  return json.decode(h:run(words).stdout)
end

-- What the last run noted: the events of its journal.
local function journal(h)
  local events = {}
  for line in h:sh("cat $(ls -td /var/lib/moonbook/runs/* | head -1)/journal.jsonl"):gmatch "[^\n]+" do
    events[#events + 1] = json.decode(line)
  end
  return events
end

-- What must hold after each end. `seen` collects the contents that each file had; `whom` was ended.
local function still_sane(h, seen, whom)
  if whom == "tree" then -- an apt that an earlier run left alone may still be at work
    wait { function() return h:sh(POLICY) == "0" end, timeout = "90s", every = "100ms", what = "policy-rc.d allows services" }
  end
  local sums = h:sh("sha256sum " .. table.concat(FILES, " ") .. " 2>/dev/null")
  for sum, path in sums:gmatch "(%x+)  (%S+)" do
    seen[path] = seen[path] or {}
    seen[path][sum] = true
  end
  tap.equal(h:sh "find /etc /usr /build -name '*moonbook-*' ! -name '.*' 2>/dev/null", "", "files that a program may read")
end

-- The next run finishes; the host is a member; the one after it has nothing to do; nothing is left lying about.
local function finishes(h, seen)
  local done = h:join()
  tap.equal(done.code, 0, done.stderr)
  still_sane(h, seen)
  for path, sums in pairs(seen) do
    local count = 0
    for _ in pairs(sums) do count = count + 1 end
    tap.ok(count <= 2, path .. " is as its package or as the runbook has it, nothing else; it had contents: " .. count)
  end
  local third = h:join { json = true }
  tap.equal({ third.code, lab.changes(third.events) }, { 0, {} }, "a third run: " .. third.stderr)
  local member = false
  for _, entry in ipairs(lab.consul.catalog.list_service_nodes "nomad-client") do
    member = member or entry.Node == h.name and entry.ServiceAddress == h.address
  end
  tap.ok(member, h.name .. " in Consul's catalog")
  tap.equal(h:sh "dpkg --audit; dpkg -l consul nomad | grep -c '^ii'", "2", "dpkg's state")
  tap.equal(h:sh [[find / -xdev -name '*.moonbook*' -not -path '/proc/*']], "", "files left lying about")
  tap.equal(h:sh(POLICY), "0", "policy-rc.d allows services")
  tap.equal(h:sh "systemctl is-active consul nomad dnsmasq; systemctl is-enabled consul nomad",
    "active\nactive\nactive\nenabled\nenabled")
end

local function was_killed(result, code)
  return result.signal == 9 or (code and result.code == code)
end

-- A file on its way to the disk: before and after its content is written. The journal is synced with fdatasync.
local function at_call(name)
  return { "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" .. name, "-e", "inject=" .. name .. ":signal=KILL:when=1" }
end

-- Ends a run at its first change, again at its first file, again behind its first change, and so on until nothing is left
-- to change. Returns the points.
local function walk(h, whom)
  local seen, points = {}, {}
  local steps = {
    { event = "change.start", whom = whom },
    { event = "change", whom = "tree", before = at_call "fchown" },
    { event = "change", whom = "tree", before = at_call "fsync" }, -- where no file is written, the run is ended behind it
    { event = "change", whom = whom },
  }
  for _ = 1, 25 do
    for _, step in ipairs(steps) do
      local result = ended(h, { event = step.event, whom = step.whom }, step.before)
      still_sane(h, seen, step.whom)
      if result.code == 0 then
        finishes(h, seen)
        return points
      end
      tap.ok(was_killed(result) or step.before, "ended by a signal, not: " .. tostring(result.stderr))
      if result.fired then points[#points + 1] = table.concat({ step.event, result.fired.kind, result.fired.target }, " ") end
    end
  end
  error "there is no end of changes"
end

tap.test("killed at each change, before and after, with all that it started, or alone: the next run goes on", function()
  local points = parallel({ { hosts[1], "tree" }, { hosts[2], "alone" } }, function(how) return walk(how[1], how[2]) end)
  for i = 1, 2 do
    print("# " .. hosts[i].name .. ": " .. #points[i] .. " points")
    tap.ok(#points[i] >= 20, "fewer points than the runbook has changes: " .. table.concat(points[i], ", "))
  end
end)

tap.test("killed while dpkg unpacks and configures", function()
  parallel(hosts, function(h, i)
    fresh(h)
    local seen, struck = {}, 0
    for _, package in ipairs { "consul", "nomad" } do
      for _, state in ipairs { "half-installed", "unpacked", "half-configured" } do
        local result = ended(h, { dpkg = state, package = package, whom = i == 1 and "tree" or "alone" })
        if was_killed(result) then struck = struck + 1 end
        still_sane(h, seen, i == 1 and "tree" or "alone")
      end
    end
    finishes(h, seen)
    print("# " .. h.name .. ": struck " .. struck .. " of 6")
    tap.ok(struck >= 2, "dpkg was met at work")
  end)
end)

tap.test("a package that was torn by a kill is unpacked anew", function()
  local h = hosts[1]
  for _, state in ipairs { "reinstreq unpacked", "reinstreq half-configured", "reinstreq half-installed", "ok half-installed",
    "ok half-configured" } do
    h:sh("sed -i '/^Package: consul$/,/^$/s/^Status: .*/Status: install " .. state .. "/' /var/lib/dpkg/status")
    local result = h:lua "apt.installed{ 'consul', version = '1.8.*' }"
    tap.equal({ result.code, result.list }, { 0, { "apt.installed consul" } }, state .. ": " .. result.stderr)
    tap.equal(h:sh "dpkg-query -Wf '${Status} ${Version}' consul", "install ok installed 1.8.7-1", state)
  end
end)

tap.test("killed at random times", function()
  math.randomseed(SEED)
  local plans = { {}, {} }
  for round = 1, 3 do
    for i = 1, 2 do
      plans[i][round] = {}
      for try = 1, 4 do
        plans[i][round][try] = { seconds = 0.02 + math.random() * (try == 4 and 6 or 0.9),
          whom = math.random(2) == 1 and "tree" or "alone" }
      end
    end
  end
  parallel(hosts, function(h, i)
    for _, plan in ipairs(plans[i]) do
      fresh(h)
      local seen = {}
      for _, point in ipairs(plan) do
        local result = ended(h, point)
        tap.ok(was_killed(result, 0), "killed or through, not: " .. result.stderr)
        still_sane(h, seen, point.whom)
      end
      finishes(h, seen)
    end
  end)
end)

-- ---- asked to stop ----

local function last(events, name)
  for i = #events, 1, -1 do
    if events[i].event == name then return events[i] end
  end
end

-- Interrupts at the point on h: exit 130, the journal is ended, the change under way is in it.
local function interrupted(h, point)
  local result = ended(h, point)
  tap.equal({ result.code, result.signal }, { 130 }, result.stderr)
  local events = journal(h)
  tap.equal(last(events, "run.end").status, "interrupted")
  local begun, finished = last(events, "change.start"), last(events, "change")
  tap.equal(finished.number, begun.number, "the change under way is in the journal")
  tap.match(result.stderr, "stopped: ")
  tap.match(result.stderr, "what to do: run it again")
  return result, finished, events
end

tap.test("SIGINT and SIGTERM: the change under way is finished, nothing more is begun; the next run goes on", function()
  parallel(hosts, function(h, i)
    fresh(h)
    local signal = i == 1 and "INT" or "TERM"
    local result, change = interrupted(h, { event = "change.start", kind = "apt.installed", delay = 0.1, signal = signal })
    tap.equal({ change.target, change.status }, { "consul", "changed" })
    tap.ok(not result.stderr:find "installed nomad", "nomad is not begun")
    tap.equal(h:sh "dpkg-query -Wf '${db:Status-Abbrev}' consul; dpkg --audit", "ii ")
    -- While it only watches: at once.
    result = interrupted(h, { event = "change", kind = "systemd.running", target = "consul", delay = 0.3, signal = signal })
    tap.ok(result.seconds < 2.5, "it ends at once, not after " .. result.seconds .. " s")
    finishes(h, {})
  end)
end)

tap.test("SIGINT twice: the change under way is cut short; the next run goes on", function()
  parallel(hosts, function(h, i)
    fresh(h)
    local result, change = interrupted(h, { event = "change.start", kind = "apt.installed", delay = 0.15 * i, signal = "INT",
      again = 0.05 })
    tap.ok(result.seconds < 30, "it ends soon, not after " .. result.seconds .. " s")
    print("# " .. h.name .. ": " .. change.target .. " " .. change.status)
    finishes(h, {})
  end)
end)

tap.finish()
