-- Hosts of the lab, driven from the operator's machine (tests/lab/README.md). A test that uses it runs as root from the
-- repository; the program under test is $MOONBOOK.
--
--   local lab = require "lab"
--   local c1 = lab.host "c1"                       -- a fresh host with moonbook installed, which the cluster does not know
--   c1:run{ "systemctl", "is-active", "consul", ok = { 0, 3 } }       -- {code, stdout, stderr}; options of host.run
--   local server = lab.at "srv1"                   -- one that is there, as it is
--   local text, code = c1:sh "cat /etc/hosts | head -1"               -- output without the last newline; any status
--   c1:write("/etc/x", "text", "0600")             -- makes the folder; c1:read(path): its text, nil where there is none
--   c1:join{ check = true, json = true }           -- moonbook run setup/join-client there, see below
--   c1:moonbook{ "history", "--json" }             -- {code, stdout, stderr, events}; any exit status is fine
--   c1.name, c1.address                            -- "c1", "10.213.77.11"
--   lab.token "management"                         -- of a cluster with ACLs (see cluster.lua)
--   lab.consul, lab.nomad                          -- clients of the cluster's servers, asked from here
local lab = {}
lab.__index = lab

local COMMAND = "tests/lab/lab"
local CONFIG = "/root/lab" -- where the host has its consul.hcl and nomad.hcl, as the operator brought them
local PROGRAM = os.getenv "MOONBOOK" or "build/moonbook"

local ANY = {}
for code = 0, 255 do ANY[code + 1] = code end

local function call(...)
  local argv = { COMMAND, ... }
  argv.reads, argv.timeout = true, "5m"
  return (host.run(argv).stdout:gsub("\n$", ""))
end

-- The lines of JSON in a text, decoded.
function lab.decoded(text)
  local events = {}
  for line in text:gmatch "[^\n]+" do
    if line:sub(1, 1) == "{" then events[#events + 1] = json.decode(line) end
  end
  return events
end

-- Calls fn with a folder that is gone afterwards.
local function with_folder(fn)
  local folder <const> = host.run { "mktemp", "-d", reads = true }.stdout:gsub("\n$", "")
  local _ <close> = setmetatable({}, { __close = function() host.run { "rm", "-rf", folder, reads = true } end })
  return fn(folder)
end

-- ---- hosts ----

-- The host of that name, as it is.
function lab.at(name)
  return setmetatable({ name = name, address = call("address", name) }, lab)
end

-- A fresh host of that name (see reset).
function lab.host(name)
  call("up", name)
  local self = lab.at(name)
  self:reset()
  return self
end

-- A server of the cluster begins anew, with the tokens that it had.
function lab.fresh(name) call("reset", name) end

-- Makes it fresh again: a new disk, forgotten by the cluster, moonbook installed by `make install`, and the
-- configuration for this host in /root/lab.
function lab:reset()
  call("reset", self.name)
  with_folder(function(folder)
    -- "-o all": the program as it is, not built anew.
    host.run { "make", "-s", "-o", "all", "install", "BUILD=" .. PROGRAM:match "^(.*)/", "PREFIX=/usr/local",
      "DESTDIR=" .. folder, reads = true, env = { MAKEFLAGS = "", MAKELEVEL = "" } }
    call("put", self.name, folder .. "/usr/local", "/usr/local")
  end)
  with_folder(function(folder)
    call("config", self.name, folder)
    self:write(CONFIG .. "/consul.hcl", file.read(folder .. "/consul.hcl"))
    self:write(CONFIG .. "/nomad.hcl", file.read(folder .. "/nomad.hcl"))
  end)
end

-- Runs a command in the host: host.run and its options. With text instead of a table: see lua.
function lab:run(command, ...)
  if type(command) == "string" then return self:lua(command, ...) end
  local argv = { COMMAND, "exec", self.name, "--" }
  table.move(command, 1, #command, #argv + 1, argv)
  for name, value in pairs(command) do
    if type(name) == "string" then argv[name] = value end
  end
  argv.reads, argv.timeout = true, command.timeout or "5m"
  if command.env then -- `lab exec` starts with an environment of its own
    local with = { "env" }
    for name, value in pairs(command.env) do with[#with + 1] = name .. "=" .. value end
    table.move(argv, 5, #argv, 5 + #with)
    table.move(with, 1, #with, 5, argv)
    argv.env = nil
  end
  return host.run(argv)
end

-- Runs shell text in the host; returns its output without the last newline, its status, and its stderr.
function lab:sh(script)
  local result = self:run { "sh", "-c", script, ok = ANY }
  return (result.stdout:gsub("\n$", "")), result.code, result.stderr
end

-- Writes a file in the host, and its folder.
function lab:write(path, text, mode)
  self:run { "sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"', "sh", path, mode or "0644",
    stdin = text }
end

-- A file's text; nil where there is none.
function lab:read(path)
  local result = self:run { "cat", path, ok = { 0, 1 } }
  return result.code == 0 and result.stdout or nil
end

-- Every file with its times, size, mode and owner, a line each: but the program's own state, and what the running agents,
-- the journal and a test's own preparations write.
function lab:files()
  return self:sh([[find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /root ]] ..
    [[-o -path /var/log/journal -o -path /var/lib/systemd/timers -o -path /var/lib/moonbook -o -path '/build/*/*' \) ]] ..
    [[-prune -o -path /var/lib -o -path '/build/*' -printf '%p %m %U:%G\n' -o -printf '%p %T@ %C@ %s %m %U:%G\n']])
end

-- The lines that only one of two texts has, marked - or +.
function lab.difference(before, after)
  local count, lines = {}, {}
  for line in before:gmatch "[^\n]+" do count[line] = -1 end
  for line in after:gmatch "[^\n]+" do count[line] = (count[line] or 0) + 1 end
  for line, number in pairs(count) do
    if number ~= 0 then lines[#lines + 1] = (number < 0 and "- " or "+ ") .. line end
  end
  table.sort(lines)
  return lines
end

-- ---- the program in the host ----

-- moonbook with these arguments; any exit status is fine. Options of run, and before = {"strace", ...}.
-- Returns {code, stdout, stderr, events = the lines of JSON on stdout, decoded}.
function lab:moonbook(arguments)
  local command = {}
  for name, value in pairs(arguments) do
    if type(name) == "string" and name ~= "before" then command[name] = value end
  end
  for _, word in ipairs(arguments.before or {}) do command[#command + 1] = word end
  command[#command + 1] = "moonbook"
  table.move(arguments, 1, #arguments, #command + 1, command)
  command.ok = command.ok or ANY
  local result = self:run(command)
  return { code = result.code, stdout = result.stdout, stderr = result.stderr, events = lab.decoded(result.stdout) }
end

-- The parameters that join this host to the lab's cluster.
function lab.parameters()
  return { repository = lab.url(), key = lab.url() .. "/gpg", fingerprints = lab.fingerprint(),
    consul_hcl = CONFIG .. "/consul.hcl", nomad_hcl = CONFIG .. "/nomad.hcl", patience = "30s" }
end

-- The words of `moonbook run setup/join-client`, for callers that start it in their own way. set = {name = value}: more
-- parameters, or false for one that is not to be given; check, json = true; flags = {"--detailed-exitcode", ...}.
function lab:join_words(options)
  local words, parameters = { "run", "setup/join-client" }, self:parameters()
  for name, value in pairs(options.set or {}) do parameters[name] = value end
  for name, value in pairs(parameters) do
    if value then table.move({ "--set", name .. "=" .. tostring(value) }, 1, 2, #words + 1, words) end
  end
  if options.check then words[#words + 1] = "--check" end
  if options.json then words[#words + 1] = "--json" end
  return table.move(options.flags or {}, 1, #(options.flags or {}), #words + 1, words)
end

-- Runs setup/join-client: join_words's options, and before=, env=, timeout= as for moonbook. Returns what moonbook returns.
function lab:join(options)
  options = options or {}
  local command = self:join_words(options)
  command.before, command.env, command.timeout = options.before, options.env, options.timeout or "3m"
  return self:moonbook(command)
end

-- The change events of a run, as {"kind target", ...} with their status in front where one is asked for.
function lab.changes(events, status)
  local list = {}
  for _, event in ipairs(events) do
    if event.event == "change" then
      list[#list + 1] = (status and event.status .. " " or "") .. event.kind .. " " .. event.target
    end
  end
  return list
end

-- The last event of that name.
function lab.event(events, name)
  for index = #events, 1, -1 do
    if events[index].event == name then return events[index] end
  end
end

-- Why a run failed, for messages of tests.
function lab.why(run)
  local last = lab.event(run.events, "run.end")
  return run.stderr .. (last and last.error and last.error.message or run.stdout:sub(-1000))
end

-- Runs a chunk in the host with these flags. Returns {code=, changes=, list=, output=, warnings=, failure=, ms=, stderr=}:
-- `list` has "kind target" of each change, `output` what it printed, `failure` the error's line.
function lab:lua(chunk, ...)
  local words = { "--json", ... }
  words[#words + 1], words[#words + 2] = "-e", chunk
  words.ok = { 0, 1, 64, 130 }
  local done = self:moonbook(words)
  local result = { code = done.code, changes = {}, list = lab.changes(done.events), output = {}, warnings = {},
    stderr = done.stderr }
  for _, event in ipairs(done.events) do
    if event.event == "change" then
      table.insert(result.changes, event)
    elseif event.event == "log" then
      table.insert(result.output, event.message)
    elseif event.event == "warning" then
      table.insert(result.warnings, event.message)
    elseif event.event == "run.end" then
      result.ms, result.failure = event.ms, event.error
    end
  end
  return result
end

-- ---- the lab's site ----

function lab.url() return call "url" end
function lab.fingerprint(which) return call("fingerprint", which) end

-- The address of srv1, the cluster's server.
function lab.server() return call("address", "srv1") end

-- The secret of a token of a cluster with ACLs: "management", "agent", "nomad", "read-only".
local tokens = {}
function lab.token(name)
  tokens[name] = tokens[name] or call("token", name)
  return tokens[name]
end

-- How many requests the repository was asked so far, by one address or by all, and the lines of its log.
function lab.requests(address)
  local lines = {}
  for line in io.lines(call "requests") do
    if not address or line:sub(1, #address + 1) == address .. " " then lines[#lines + 1] = line end
  end
  return #lines, lines
end

-- Clients of the cluster's servers, made at their first use.
local CLIENTS = {
  consul = function(address) return consul { addr = "http://" .. address .. ":8500" } end,
  nomad = function(address) return nomad { addr = "http://" .. address .. ":4646" } end,
}
return setmetatable(lab, { __index = function(self, name)
  local client = CLIENTS[name] and CLIENTS[name](lab.server())
  rawset(self, name, client)
  return client
end })
