-- What goes wrong over SSH, as a person meets it, on both transports: the message says where, what, why and what to do; it comes
-- within the time that was given; nothing half-made is left; no secret is seen in a list of processes.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local silents = require "silent"
local sshds = require "sshd"

local sshd <close> = sshds.start()
local keys = sshd.folder
local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("%s+$", "")
local number = 0
local moonbook = os.getenv "MOONBOOK" or "build/moonbook"
local transports = { "ssh", "openssh" }

local function shell(line, ...)
  local command = { "sh", "-c", line, "sh", ... }
  command.reads = true
  return (host.run(command).stdout:gsub("%s+$", ""))
end

local function note(text)
  number = number + 1
  local path = ("%s/%d"):format(folder, number)
  host.run { "sh", "-c", 'umask 077; cat >"$1"', "sh", path, stdin = text, reads = true }
  return path
end

local function public(name) return shell('cut -d" " -f1,2 "$1"', keys .. "/" .. name .. ".pub") end

-- The program itself, with `h` the host of that description; `config` lines of the SSH configuration. It has two minutes, which
-- is more than any of these may take with the limits that they set.
local function child(spec, chunk, config, env)
  local text = ("local h = host(json.decode %q) "):format(json.encode(spec)) .. chunk
  env = env or {}
  env.MOONBOOK_SSH_CONFIG = note(config or "# none\n")
  return host.run { moonbook, "-e", text, reads = true, ok = true, timeout = "2m", env = env }
end

-- It fails, and all of these are said.
local function fails(result, ...)
  tap.equal(result.code, 1, result.stdout .. result.stderr)
  for _, words in ipairs { ... } do tap.match(result.stderr, words) end
end

local function each(name, test)
  for _, transport in ipairs(transports) do
    tap.test(transport .. ": " .. name, function() test(transport) end)
  end
end

local works = "io.write(h.run{'echo', 'here', reads = true}.stdout)"

-- [[ keys ]]

each("keys of all kinds", function(transport)
  for _, key in ipairs { "id_ed25519", "id_ecdsa", "id_rsa", "id_certified" } do
    local beyond = transport == "ssh" and (key == "id_rsa" or key == "id_certified")
    local result = child(sshd:spec { transport = transport, identity = keys .. "/" .. key }, works)
    if beyond then
      fails(result, sshds.user .. ".*publickey", "what to do: transport = \"openssh\" can use " ..
        (key == "id_rsa" and "the key .*/id_rsa" or "a user certificate"))
    else
      tap.equal({ result.code, result.stdout }, { 0, "here\n" }, key .. result.stderr)
    end
  end
end)

each("a key of the agent", function(transport)
  local agent = folder .. "/agent-" .. transport
  local process = shell("ssh-agent -a \"$1\" | sed -n 's/.*AGENT_PID=\\([0-9]*\\);.*/\\1/p'; SSH_AUTH_SOCK=$1 ssh-add -q \"$2\"",
    agent, keys .. "/id_ecdsa")
  local result = child(sshd:spec { transport = transport, identity = false }, works, "IdentityFile /nowhere/none\n",
    { SSH_AUTH_SOCK = agent })
  host.run { "kill", process, reads = true }
  tap.equal({ result.code, result.stdout }, { 0, "here\n" }, result.stderr)
end)

each("a key with a passphrase, and nobody to ask", function(transport)
  fails(child(sshd:spec { transport = transport, identity = keys .. "/id_locked" }, works), "127.0.0.1",
    transport == "ssh" and "passphrase" or "Permission denied", "what to do: .*agent")
end)

each("a wrong key", function(transport)
  fails(child(sshd:spec { transport = transport, identity = keys .. "/id_wrong" }, works), "127.0.0.1",
    transport == "ssh" and "refuses .*: tried .*id_wrong; it takes publickey" or "Permission denied .publickey",
    "what to do: let ")
end)

-- [[ host keys ]]

each("an unknown host, and one whose key has changed", function(transport)
  local place = ("[127.0.0.1]:%d "):format(sshd.port)
  fails(child(sshd:spec { transport = transport, known_hosts = note "# none\n" }, works), "127.0.0.1", "is not known", "SHA256:",
    "what to do: compare it .*%-%-accept%-new")
  fails(child(sshd:spec { transport = transport, known_hosts = note(place .. public "id_wrong" .. "\n") }, works), "127.0.0.1",
    "is not the one on record", "SHA256:", "what to do: compare it .*console.*ssh%-keygen %-R")
end)

-- [[ no way there ]]

each("a closed port", function(transport)
  fails(child(sshd:spec { transport = transport, port = 1 }, works), "127.0.0.1", "[Cc]onnection refused", "what to do: ")
end)

each("a silent host", function(transport)
  local silent <close> = silents.start "127.0.0.3"
  local result = child(sshd:spec { transport = transport, address = silent.address, port = math.tointeger(silent.port) }, works,
    "ConnectTimeout 2\n")
  fails(result, "127.0.0.3", transport == "ssh" and "did not answer within 2 s" or "timed out", "what to do: ")
end)

-- [[ in the middle ]]

each("sshd is killed in the middle of a command", function(transport)
  local mortal <close> = sshds.start { folder = keys }
  fails(child(mortal:spec { transport = transport }, ([[
    h.run{'sh', '-c', 'kill -KILL %s $(ps -o ppid= $(ps -o ppid= $$)) $(ps -o ppid= $$); sleep 30', reads = true,
      timeout = '30s'}
    ]]):format(mortal.process)), "sh: the connection to 127.0.0.1[:%d]* was lost", "what to do: .*may have gone on")
end)

each("a command killed by a signal, and one whose child holds the output", function(transport)
  local h = sshd:host { transport = transport }
  local err = tap.raises("exit", h.run, { "sh", "-c", "echo why >&2; kill -SEGV $$", reads = true })
  tap.match(err, "ended by signal 11 .*Segmentation fault.*why")
  -- The timeout is the child's to reach, not the command's.
  local result = h.run { "sh", "-c", "sleep 60 & echo $!", reads = true, timeout = "20s" }
  h.run { "kill", result.stdout:match "%d+", reads = true }
end)

each("50 MB of errors alone", function(transport)
  local h = sshd:host { transport = transport }
  local result = h.run { "sh", "-c", "head -c 50000000 /dev/zero | tr '\\0' e >&2", reads = true, timeout = "5m" }
  tap.equal({ #result.stdout, #result.stderr }, { 0, 50000000 })
  tap.ok(not result.stderr:find "[^e]", "nothing else is among them")
end)

-- [[ the network is cut ]]

-- A network, an sshd behind it, and what cuts and mends it.
local networks = 0
local function beyond(...)
  networks = networks + 1
  local name = ("mb%s-%d"):format(shell "echo $PPID", networks)
  local address = host.run { "tests/ssh/network", name, reads = true }.stdout:gsub("%s+$", "")
  local there = sshds.start { folder = keys, address = address, inside = { "ip", "netns", "exec", name },
    "ClientAliveInterval 1", "ClientAliveCountMax 3", ... }
  local self = { name = name, address = address, sshd = there }
  function self.up() host.run { "ip", "link", "set", name, "up", reads = true } end
  -- Cuts it as soon as that file has text, and makes another beside it then.
  function self.cut_when(mark)
    shell('(until [ -s "$2" ]; do sleep 0.01; done; ip link set "$1" down; touch "$2.cut") >/dev/null 2>&1 </dev/null &', name,
      mark)
  end
  function self.spec(transport) return there:spec { address = address, transport = transport } end
  return setmetatable(self, { __close = function()
    there:kill()
    host.run { "sh", "-c", 'ip link delete "$1"; ip netns delete "$1"', "sh", name, reads = true, ok = true }
  end })
end

local function root_each(name, test)
  for _, transport in ipairs(transports) do
    local title = transport .. ": " .. name
    if sshds.root then tap.test(title, function() test(transport) end) else tap.skip(title, "needs a network of its own") end
  end
end

local alive = "ServerAliveInterval 1\nConnectTimeout 5\n"

root_each("the network is cut while a file is written", function(transport)
  local bin, mark = folder .. "/bin-" .. transport, folder .. "/began-" .. transport
  local net <close> = beyond(("SetEnv PATH=%s:/usr/bin:/bin XDG_STATE_HOME=%s/state"):format(bin, keys))
  -- The host's cat, which writes the file: the network is cut after the first megabyte, and only then it goes on.
  host.run { "sh", "-c", 'mkdir "$1"; cat >"$1/cat"; chmod 755 "$1/cat"', "sh", bin, reads = true, stdin = ([[#!/bin/sh
case $(readlink /proc/$$/fd/9) in *.moonbook-*) ;; *) exec /bin/cat ;; esac
[ -e %s ] || { /usr/bin/head -c 1000000 >&9; echo >%s; until [ -e %s.cut ]; do sleep 0.01; done; }
exec /bin/cat
]]):format(mark, mark, mark) }
  local path = folder .. "/cut-" .. transport
  local left = ("%s/.cut-%s.moonbook-*"):format(folder, transport)
  file.present { path, content = "as it was\n" }
  net.cut_when(mark)
  fails(child(net.spec(transport), ("h.file.present{%q, content = ('x'):rep(32 << 20)}"):format(path), alive),
    "file.present " .. path:gsub("%p", "%%%0"), "the connection to " .. net.address:gsub("%.", "%%.") .. "[:%d]* was lost",
    "what to do: ")
  tap.equal(file.read(path), "as it was\n")
  -- The host sees it too. What its writer leaves when it is killed there goes with the next write.
  local living = "for f in " .. left .. "; do p=${f##*moonbook-}; [ ! -e $f ] || [ ! -d /proc/${p%%-*} ] || echo $p; done"
  wait { function() return shell(living) == "" end, timeout = "90s", every = "100ms",
    what = "the host has given the writer up" }
  net.up()
  local dead = shell "sh -c 'echo $$'"
  host.run { "touch", ("%s/.cut-%s.moonbook-%s-00000001"):format(folder, transport, dead), reads = true }
  local again = child(net.spec(transport), ("h.file.present{%q, content = 'new'}"):format(path), alive)
  tap.equal({ again.code, file.read(path) }, { 0, "new" }, again.stderr)
  tap.equal(shell("ls -A " .. folder .. " | grep -c 'cut-" .. transport .. ".moonbook' || true"), "0")
end)

-- What a connection that is cut leaves running there: the process whose number is in the file ends with the test.
local function ends_with_test(mark)
  return setmetatable({}, { __close = function() shell("kill $(cat " .. mark .. ") 2>/dev/null || true") end })
end

root_each("the network is cut while a command runs: the keep-alive tells", function(transport)
  local net <close> = beyond()
  local mark = folder .. "/runs-" .. transport
  local _ <close> = ends_with_test(mark)
  net.cut_when(mark)
  fails(child(net.spec(transport), ("h.run{'sh', '-c', 'echo $$ >%s; exec sleep 600', reads = true}"):format(mark), alive),
    "sh: the connection to " .. net.address:gsub("%.", "%%.") .. "[:%d]* was lost" ..
    (transport == "ssh" and ": it did not answer for %d+ s" or ""), "what to do: .*may have gone on or not")
end)

root_each("the network is cut while a command runs: its timeout tells", function(transport)
  local net <close> = beyond()
  local mark = folder .. "/times-" .. transport
  local _ <close> = ends_with_test(mark)
  net.cut_when(mark)
  local chunk = ("h.run{'sh', '-c', 'echo $$ >%s; exec sleep 600', reads = true, timeout = '3s'}"):format(mark)
  fails(child(net.spec(transport), chunk, "ServerAliveInterval 60\n"), "sh: did not end within 3 s")
end)

-- [[ secrets ]]

-- What everybody sees of all processes, of both sides: they are on one machine. With the name of a file: once that is there.
local list = [[cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" " "]]

root_each("no password of sudo, no forwarded token in a list of processes", function(transport)
  local silent <close> = silents.start "127.0.0.3"
  local token = ("s3cr3t-token-%s-%d"):format(transport, sshd.port)
  local spec = sshd:spec { transport = transport, user = "tester" }
  -- The forward is asked for while the list is made: through the ssh program, one that is seen in it.
  local asked = transport == "ssh" and "" or "until cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | " ..
    "grep -q 'ssh -S .*-W127[.]0[.]0[.]3'; do sleep 0.05; done; "
  local result = child(spec, ([[
    local s = json.decode %q
    s.sudo = secret.file %q
    h = host(s)
    local token = secret.file %q
    local _, err = pcall(parallel, {
      function() pcall(h.consul{addr = %q, token = token}.status.read_leader, {timeout = "100s", retries = 0}) end,
      function()
        io.write(h.run{"sh", "-c", %q, reads = true}.stdout, h.run{"id", "-un", reads = true}.stdout)
        error("seen", 0)
      end,
    })
    if err ~= "seen" then error(err, 0) end]]):format(json.encode(spec), note "open sesame", note(token),
    silent.address .. ":" .. silent.port, asked .. list))
  tap.equal(result.code, 0, result.stderr)
  tap.match(result.stdout, "root\n")
  tap.match(result.stdout, transport == "ssh" and "sudo" or "ssh %-S .*%-W127.0.0.3")
  for _, text in ipairs { result.stdout, result.stderr } do
    tap.equal({ text:find("open sesame", 1, true), text:find(token, 1, true) }, {})
  end
end)

tap.test("ssh: no passphrase in a list of processes", function()
  local script = note(([[
set timeout 60
spawn %s -e {io.write(host(json.decode %q).run{"sh", "-c", %q, reads = true}.stdout, "all of them\n")}
expect {
  -re "Passphrase for the key" { send "correct horse\r" }
  timeout { exit 3 }
}
expect {
  "all of them" { exit 0 }
  timeout { exit 4 }
}
exit 5
]]):format(moonbook, json.encode(sshd:spec { identity = keys .. "/id_locked", transport = "ssh" }), list:gsub("\\", "\\\\")))
  local result = host.run { "expect", script, reads = true, ok = true }
  tap.equal(result.code, 0, result.stdout)
  tap.match(result.stdout, "sshd: ")
  tap.equal(result.stdout:find("correct horse", 1, true), nil)
end)

host.run { "rm", "-rf", folder, reads = true }
tap.finish()
