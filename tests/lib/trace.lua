-- What a program in a host of the lab did, by strace: which programs it started, what it wrote, what it asked of whom.
--
--   local done = host:moonbook{ "run", ..., before = trace.start(host) }
--   local seen = trace.read(host)
--   seen.writes      {"moonbook: openat /etc/x", ...}: each successful write outside the allowed places
--   seen.commands    {{"moonbook", "run", ...}, ...}: argv of each program that was started
--   seen.writers     those that are not known to read only
--   seen.requests    {"GET /v1/agent/self 127.0.0.1:8500", ...}: the first line of all that went out over TCP
--   seen.text        the whole trace: argv, environments and all that was written to descriptors
local trace = {}

local FOLDER = "/run/moonbook-trace"

-- Words to put in front of a command. One file a process, so that no call is split in two.
function trace.start(host)
  host:sh("rm -rf " .. FOLDER .. " && mkdir " .. FOLDER)
  -- the leak sanitizer, where the program has it, refuses to work under strace
  return { "env", "ASAN_OPTIONS=detect_leaks=0", "strace", "-ff", "-yy", "-s", "8192",
    "-e", "abbrev=!execve", "-o", FOLDER .. "/t", "-e", "trace=%file,%process," ..
    "sendto,sendmsg,sendmmsg,bind,write,writev,pwrite64,pwritev,ftruncate,fallocate,fchmod,fchown,fsetxattr,fremovexattr," ..
    "kill,tkill,pidfd_send_signal,io_uring_setup,mknodat,sethostname,settimeofday,clock_settime" }
end

-- Calls that change what their path or descriptor names.
local CHANGING = {}
for name in ([[rename renameat renameat2 unlink unlinkat rmdir mkdir mkdirat mknod mknodat link linkat symlink symlinkat
  truncate ftruncate fallocate chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat utime utimes utimensat
  futimesat setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr]]):gmatch "%S+" do CHANGING[name] = true end

-- Calls that a reader never makes.
local NEVER = {}
for name in ([[mount umount2 pivot_root swapon swapoff sethostname settimeofday clock_settime io_uring_setup
  move_mount fsmount]]):gmatch "%S+" do NEVER[name] = true end

-- Programs that only read when they have these arguments; env and sh show in the programs that they start.
local READERS = {
  moonbook = { "" }, env = { "" }, sh = { "^%-c " }, uname = { "^%-m$" }, ip = { "^%-[46] route get " }, id = { "" },
  dpkg = { "^%-%-print%-architecture$", "^%-%-compare%-versions " }, ["dpkg-query"] = { "^%-W ", "^%-s ", "^%-S " },
  ["apt-cache"] = { "^policy ", "^madison ", "^show " }, ["apt-config"] = { "^dump", "^shell " },
  ["apt-get"] = { "^indextargets" }, getent = { "^%-%- passwd ", "^%-%- group " }, grep = { "" }, cat = { "" },
  stat = { "" }, nproc = { "" }, ls = { "" }, test = { "" }, readlink = { "" }, diff = { "^%-u " }, date = { "^%+%S+$" },
  systemctl = { "^show ", "^is%-active ", "^is%-enabled ", "^cat " }, dnsmasq = { "^%-%-test %-%-conf%-file=%-$" },
  consul = { "^validate " }, nomad = { "^config validate " },
}

-- Where the program under --check may write: its own runs.
local function own(path)
  return path == "/dev/null" or path == "/dev/tty" or path:find "^/memfd:" or path == "/var/lib/moonbook"
    or path == "/var/lib/moonbook/runs" or path:find "^/var/lib/moonbook/runs/"
end

local function unescape(text)
  return (text:gsub("\\(.)", { n = "\n", t = "\t", r = "\r", ['"'] = '"', ["\\"] = "\\" }))
end

-- The strings in quotes of a text.
local function quoted(text)
  local list, from = {}, 1
  while true do
    local start = text:find('"', from, true)
    if not start then return list end
    local stop = start + 1
    while text:sub(stop, stop) ~= '"' and stop <= #text do
      stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
    end
    list[#list + 1] = text:sub(start + 1, stop - 1)
    from = stop + 1
  end
end

-- The paths that a call names, a relative one resolved by the folder that strace shows in front of it.
local function paths(arguments)
  local list = {}
  for _, text in ipairs(quoted(arguments)) do
    if text:sub(1, 1) ~= "/" then
      local at = arguments:find('"' .. text .. '"', 1, true)
      text = (arguments:sub(1, at):match '<([^<>]*)>, "$' or "?") .. "/" .. text
    end
    list[#list + 1] = text
  end
  if not list[1] then list[1] = arguments:match "^%d+<([^<>]*)" end
  return list
end

local function opened_for_writing(name, arguments)
  return name == "creat" or name:find "^open" and arguments:find '", .*O_[WCT][RM]' or name:find "^open"
    and arguments:find '", .*O_RDWR'
end

local function read_execve(seen, arguments)
  local argv = {}
  for _, word in ipairs(quoted(arguments:match '^".-", (%b[])' or "")) do argv[#argv + 1] = unescape(word) end
  table.insert(seen.commands, argv)
  local program = (argv[1] or "?"):match "[^/]+$"
  local rest, reads = table.concat(argv, " ", 2), false
  for _, pattern in ipairs(READERS[program] or {}) do reads = reads or rest:find(pattern) end
  if not reads then table.insert(seen.writers, program .. " " .. rest) end
  return program
end

local function read_sent(seen, arguments)
  local peer, text = arguments:match '^%d+<TCP[^<]-%->([^%]>]+)%]>, .-"(.*)'
  if peer then table.insert(seen.requests, (text:match "^%u+ %S+" or "?") .. " " .. peer) end
end

local function read_call(seen, program, name, arguments, result)
  local function note(what) table.insert(seen.writes, ("%s: %s %s"):format(program, name, what)) end
  if name:find "^send" or name:find "^p?writev?" then
    read_sent(seen, arguments)
  elseif opened_for_writing(name, arguments) then
    local path = result:match "^%d+<([^<>]*)" or "?"
    if not own(path) then note(path) end
  elseif CHANGING[name] then
    for _, path in ipairs(paths(arguments)) do
      if not own(path) then note(path) end
    end
  elseif NEVER[name] or name == "bind" and arguments:find 'sun_path="' then
    note(arguments)
  elseif name:find "kill$" or name == "pidfd_send_signal" then
    local target = arguments:match "^%-?(%d+)"
    if not seen.processes[target] and not arguments:find ", 0$" then note(arguments) end
  end
end

local function read_process(seen, text)
  local program = "moonbook" -- a child is what its parent was until it becomes another
  for line in text:gmatch "[^\n]+" do
    local name, arguments, result = line:match "^([%w_]+)%((.*)%)%s+= (.+)$"
    if name and not result:find "^%-1" then
      if name == "execve" then
        program = read_execve(seen, arguments)
      else
        read_call(seen, program, name, arguments, result)
      end
    end
  end
end

function trace.read(host)
  local text = host:sh("cd " .. FOLDER .. ' && for f in t.*; do echo "=== ${f#t.}"; cat "$f"; done; rm -rf ' .. FOLDER)
  local seen = { text = text, writes = {}, commands = {}, writers = {}, requests = {}, processes = {} }
  for process in text:gmatch "=== (%d+)\n" do seen.processes[process] = true end
  for process in (text .. "\n=== "):gmatch "(.-)\n=== " do read_process(seen, process) end
  return seen
end

return trace
