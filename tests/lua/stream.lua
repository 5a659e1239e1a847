-- Answers that are not held in memory: streams as iterators, bodies to and from files, against tests/lua/http_server.py.
-- Run from the repository.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"
local server <close> = servers.start()
local c, n = consul { addr = server.url }, nomad { addr = server.url }
local ALLOCATION = "7f553388-eda9-cee8-2f99-3c5f4df3d16d"

local function collect(...)
  local list = {}
  for item in ... do list[#list + 1] = item end
  return list
end

tap.test("text comes as lines, objects as tables, frames as the lines in them", function()
  tap.equal(collect(c.agent.monitor_agent()), { "2026 [INFO] one", "2026 [WARN] {two}", "", "last" })
  local events = collect(n.event.stream_events { topic = { "Job", "Node" } })
  tap.equal({ #events, events[1].Index, events[1].Events[1].Key, events[2].Index }, { 2, 1, 'a "}{ b', 2 })
  tap.equal(server:last("/v1/event/stream").path, "/v1/event/stream?topic=Job&topic=Node")
  tap.equal(collect(n.fs.stream_logs(ALLOCATION, { task = "t", type = "stdout", follow = true })),
    { "first line", 'second {\\"line', "third" })
  tap.equal(collect(n.fs.stream_logs(ALLOCATION, { task = "t", type = "stdout", plain = true })),
    { '{"a": "line of the program\'s own"}', "second" })
end)

tap.test("watch: each change once, and anew where the index goes back", function()
  local seen, options = {}, { wait = "1s" }
  for answer, meta in consul.watch(c.catalog.list_service_nodes, "watched", options) do
    seen[#seen + 1] = answer[1].ServiceID .. " " .. meta.index
    if #seen == 4 then break end
  end
  tap.equal(seen, { "at-5 5", "at-9 9", "at-3 3", "at-5 5" })
  tap.equal(options, { wait = "1s" })
  local indexes = {}
  for _, request in ipairs(server:seen().requests) do
    indexes[#indexes + 1] = request.path:match "service/watched.*index=(%d+)"
  end
  tap.equal(indexes, { "0", "5", "5", "9", "0" })
  local absent = consul.watch(c.catalog.list_service_nodes, "gone")()
  tap.equal(absent, false)
  tap.raises("usage", consul.watch, "catalog")
  tap.match(tap.raises("usage", consul.watch(c.status.read_leader)), "index")
end)

tap.test("a reader that stops is waited for, and leaving the loop ends the stream", function()
  local count = 0
  for line in c.agent.monitor_agent { loglevel = "endless" } do
    tap.equal(line, "a line of the log, of some length")
    count = count + 1
    if count == 20000 then sleep(0.5) end -- the server goes on as far as it can
    if count == 40000 then break end
  end
  wait { function() return server:seen().sent.closed == 1 end, timeout = "60s", what = "the server sees the end" }
  local sent = server:seen().sent.monitor
  tap.ok(sent < 24e6, sent) -- 40000 lines are 1.4 MB; the rest is in the sockets
end)

tap.test("errors: refused, broken off, silent, closed", function()
  tap.match(tap.raises("permission", c.agent.monitor_agent, { loglevel = "none" }), "403: Permission denied")
  local lines = {}
  local err = tap.raises("unreachable", function()
    for line in c.agent.monitor_agent { loglevel = "broken" } do lines[#lines + 1] = line end
  end)
  tap.match(err, "broke off")
  tap.equal(lines, { "one" })
  local stream <close> = c.agent.monitor_agent { loglevel = "silent", timeout = "2s" }
  tap.equal(stream(), "one")
  tap.raises("timeout", stream)
  stream:close()
  tap.match(tap.raises("usage", stream), "closed")
  local shared <close> = c.agent.monitor_agent { loglevel = "silent" }
  tap.equal(shared(), "one")
  local function read() shared() end
  tap.match(tap.raises("usage", parallel, { read, read }), "another fiber reads this stream")
  local down = consul { addr = "127.0.0.1:1" }
  tap.match(tap.raises("unreachable", down.agent.monitor_agent), "systemctl status consul")
end)

tap.test("a hostile stream: no end of a line or an object, no JSON, too deep", function()
  local wide = c.agent.monitor_agent { loglevel = "wide" }
  tap.equal(#wide(), 1 << 20)
  wide:close()
  local function read(level)
    local count = 0
    local err = tap.raises("invalid", function()
      for _ in c.agent.monitor_agent { loglevel = level } do count = count + 1 end
    end)
    return tostring(err), count
  end
  tap.match(read "object", "larger than 16 MiB")
  local err, count = read "garbage"
  tap.match(err, "no JSON")
  tap.equal(count, 1)
  tap.match(read "deep", "no JSON")
end)

tap.test("streams are cancelled and left open without harm", function()
  local run = servers.moonbook { "--timeout", "5s", "-e", string.format([[
    local forgotten = consul { addr = "%s" }.agent.monitor_agent { loglevel = "silent" }
    for line in consul { addr = "%s" }.agent.monitor_agent { loglevel = "silent" } do print(line) end]],
    server.url, server.url), ok = { 0, 1, 130 } }
  tap.match(run.stdout, "one")
  tap.ok(run.code ~= 0)
end)

tap.test("a snapshot goes to a file and comes from one; --check writes none", function()
  local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("\n", "")
  local path = folder .. "/snapshot"
  local command = { "-e", string.format([[
    local function peak() return tonumber(file.read "/proc/self/status":match "VmHWM:%%s*(%%d+)") end
    local before = peak()
    consul { addr = "%s" }.snapshot.save_snapshot { to = "%s" }
    print("grew", peak() - before)]], server.url, path) }
  tap.equal(servers.moonbook { "--check", table.unpack(command) }.code, 0)
  tap.equal(file.stat(path), nil)
  local run = servers.moonbook { table.unpack(command) }
  tap.equal(run.code, 0, run.stderr)
  local grew = tonumber(run.stdout:match "grew%s+(%d+)")
  tap.ok(grew < 30000, grew .. " kB more memory for 80 MB")
  local stat = file.stat(path)
  tap.equal({ stat.size, stat.mode }, { 80000000, "0600" })
  tap.equal(host.run { "ls", folder, reads = true }.stdout, "snapshot\n") -- nothing left beside it
  tap.equal(c.snapshot.restore_snapshot { from = path }, true)
  local err = tap.raises("permission", vault { addr = server.url .. "/status/403?" }.sys.raft_save_snapshot,
    { to = folder .. "/none" })
  tap.equal(err.status, 403)
  tap.equal(file.stat(folder .. "/none"), nil)
  tap.raises("not-found", c.snapshot.restore_snapshot, { from = folder .. "/none" })
  tap.raises("usage", c.snapshot.restore_snapshot, { from = path, body = "x" })
  host.run { "rm", "-r", folder }
end)

tap.finish()
