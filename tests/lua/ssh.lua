-- The ssh transports themselves: keys, host keys, what may go wrong on the way and in the middle.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local sshds = require "sshd"
local server = require "server"
local silents = require "silent"

local sshd <close> = sshds.start()
local keys = sshd.folder
local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("%s+$", "")
local number = 0

local function shell(line, ...)
  local command = { "sh", "-c", line, "sh", ... }
  command.reads = true
  return (host.run(command).stdout:gsub("%s+$", ""))
end
-- A file of this test with that text.
local function note(text, mode)
  number = number + 1
  local path = ("%s/%d"):format(folder, number)
  host.run { "sh", "-c", 'cat >"$1"; chmod "$2" "$1"', "sh", path, mode or "0600", stdin = text, reads = true }
  return path
end

local function public(name) return shell('cut -d" " -f1,2 "$1"', keys .. "/" .. name .. ".pub") end
local function name_of(port) return ("[127.0.0.1]:%d"):format(port or sshd.port) end

-- The host with those lines as its only known hosts.
local function known(lines, changes)
  changes = changes or {}
  changes.known_hosts = note(lines)
  return sshd:host(changes), changes.known_hosts
end

local function works(h) tap.equal(h.run { "echo", "here", reads = true }.stdout, "here\n") end

-- [[ host keys ]]

tap.test("an unknown host is refused with its fingerprint and how to accept it", function()
  local h = known("# nothing\n")
  local err = tap.raises("permission", h.run, { "true", reads = true })
  local print = shell("ssh-keygen -lf " .. keys .. "/host_ed25519.pub"):match("SHA256:%S+")
  tap.ok(tostring(err):find(print, 1, true), "the fingerprint is named: " .. tostring(err))
  tap.match(err, "%-%-accept%-new")
end)

tap.test("--accept-new notes it, --check notes nothing, the next time it is known", function()
  local path = note("# a line without an end")
  host.run { "truncate", "-s", "-1", path, reads = true }
  local chunk = ("local h = host(json.decode %q) print(h.run{'echo', 'here', reads = true}.stdout)"):format(
    json.encode(sshd:spec { known_hosts = path }))
  local before = file.read(path)
  local checked = server.moonbook { "-e", chunk, "--accept-new", "--check" }
  tap.equal({ checked.code, file.read(path) }, { 0, before })
  tap.equal(server.moonbook { "-e", chunk, "--accept-new" }.code, 0)
  tap.equal(#file.read(path) > #before, true)
  tap.equal(server.moonbook({ "-e", chunk }).code, 0)
end)

tap.test("--accept-new by many logins to one server at once notes it once", function()
  local path = note ""
  local result = server.moonbook { "-e", ([[local spec, jobs = json.decode %q, {}
    for i = 1, 8 do
      spec[1] = "c" .. i
      local h = host(spec)
      jobs[i] = function() h.run { "true", reads = true } end
    end
    parallel(jobs)]]):format(json.encode(sshd:spec { known_hosts = path, transport = "ssh" })), "--accept-new" }
  tap.equal({ result.code, select(2, file.read(path):gsub("\n", "")) }, { 0, 1 }, result.stderr)
end)

tap.test("the types on record are preferred, lines that make no sense are passed over", function()
  works((known("nonsense\n\n# c\n@foo bar baz\n" .. name_of() .. " ssh-ed25519 AAAA\n" .. name_of() .. " " ..
    public "host_ecdsa" .. " comment\n")))
  works((known("*,!other " .. public "host_ed25519" .. "\n")))
  works((known("127.0.0.1 " .. public "host_ed25519" .. "\n"))) -- as ssh: the plain name, where the key is the same
end)

tap.test("hashed names", function()
  local path = note(name_of() .. " " .. public "host_ed25519" .. "\n")
  host.run { "ssh-keygen", "-q", "-H", "-f", path, reads = true }
  tap.match(file.read(path), "^|1|")
  works(sshd:host { known_hosts = path })
end)

tap.test("arguments of any length, names of variables that are none", function()
  for _, transport in ipairs { "ssh", "openssh" } do
    local h = sshd:host { transport = transport }
    for _, size in ipairs { 20, 30, 40, 64, 96, 120 } do
      tap.equal(#h.run { "printf", "%s", ("x"):rep(size << 10), reads = true }.stdout, size << 10)
    end
    local trace = folder .. "/trace"
    tap.raises("usage", h.run, { "true", env = { ["A$(touch " .. trace .. ")"] = "x" }, reads = true })
    tap.equal(file.exists(trace), false)
  end
  tap.raises("usage", host, "h$(id)")
end)

tap.test("a changed host key is always fatal", function()
  for _, type in ipairs { "ed25519", "ecdsa" } do
    local other = shell('ssh-keygen -q -t "$1" -N "" -f "$2/other_$1" && cut -d" " -f1,2 "$2/other_$1.pub"', type, folder)
    local spec = sshd:spec { known_hosts = note(name_of() .. " " .. other .. "\n") }
    local chunk = ("host(json.decode %q).run{'true', reads = true}"):format(json.encode(spec))
    local result = server.moonbook { "-e", chunk, "--accept-new" }
    if type == "ed25519" then tap.equal(result.code, 1) end
    tap.match(result.stderr, "not the one on record")
  end
  -- Another type than the one on record would pass for a new host, were types not compared.
  local h = known(name_of() .. " " .. public "host_rsa" .. "\n", { transport = "ssh" })
  tap.match(tap.raises("invalid", h.run, { "true", reads = true }), "not the one on record")
  tap.raises("permission", known("127.0.0.1 " .. public "id_wrong" .. "\n").run, { "true", reads = true })
end)

tap.test("a revoked key is refused", function()
  local key = public "host_ed25519"
  local h = known(name_of() .. " " .. key .. "\n@revoked * " .. key .. "\n")
  tap.match(tap.raises("invalid", h.run, { "true", reads = true }), "revoked")
end)

tap.test("what is said of all hosts does not hide the keys of the plain name on another port", function()
  local key, wrong = public "host_ed25519", public "id_wrong"
  for _, transport in ipairs { "ssh", "openssh" } do
    local function try(...)
      local path = note(table.concat({ ... }, "\n") .. "\n")
      local before = file.read(path)
      local chunk = ("host(json.decode %q).run{'true', reads = true}"):format(
        json.encode(sshd:spec { known_hosts = path, transport = transport }))
      local result = server.moonbook { "-e", chunk, "--accept-new" }
      return result.code, result.stderr, file.read(path) == before
    end
    for _, marker in ipairs { "@revoked", "@cert-authority" } do
      local code, said, kept = try(marker .. " * " .. wrong, "127.0.0.1 " .. key)
      tap.equal({ code, kept }, { 0, true }, transport .. " " .. marker .. said)
    end
    local code, said = try("@revoked * " .. key, "127.0.0.1 " .. key)
    tap.equal(code, 1)
    tap.match(said, "revoked")
    -- Another machine's may be another: new, not changed.
    for _, line in ipairs { "127.0.0.1 " .. wrong, "@revoked * " .. wrong .. "\n127.0.0.1 " .. wrong } do
      local entered, words, kept = try(line)
      tap.equal({ entered, kept }, { 0, false }, words)
    end
  end
end)

-- [[ keys ]]

tap.test("ed25519 and ecdsa keys", function()
  works(sshd:host { identity = keys .. "/id_ed25519" })
  works(sshd:host { identity = keys .. "/id_ecdsa" })
end)

tap.test("a wrong key: what was tried, what the host takes", function()
  local err = tap.raises("permission", sshd:host { identity = keys .. "/id_wrong" }.run, { "true", reads = true })
  tap.match(err, "refuses " .. sshds.user .. ": tried .*/id_wrong")
  tap.match(err, "publickey")
end)

tap.test("a key that is not there", function()
  tap.raises("permission", sshd:host { identity = keys .. "/id_none" }.run, { "true", reads = true })
end)

tap.test("a key with a passphrase, and nobody to ask", function()
  local err = tap.raises("permission", sshd:host { identity = keys .. "/id_locked" }.run, { "true", reads = true })
  tap.match(err, "passphrase")
end)

tap.test("the passphrase is asked for once", function()
  local chunk = ([[local a = json.decode %q
    local b = {} for k, v in pairs(a) do b[k] = v end b.address = "127.0.0.2"
    for _, spec in ipairs { a, a } do assert(host(spec).run{"true", reads = true}) end
    spec = a spec.consul_addr = "another" assert(host(spec).run{"true", reads = true}) print("twice in")]]):format(
    json.encode(sshd:spec { identity = keys .. "/id_locked" }))
  local script = note(([[
set timeout 60
spawn %s -e {%s}
expect {
  -re "Passphrase for the key" { send "wrong one\r" }
  timeout { exit 3 }
}
expect {
  -re "does not open it. Passphrase for the key" { send "correct horse\r" }
  timeout { exit 4 }
}
expect {
  -re "Passphrase" { exit 5 }
  -re "twice in" { exit 0 }
  timeout { exit 6 }
}
exit 7
]]):format(os.getenv "MOONBOOK" or "build/moonbook", chunk))
  local result = host.run { "expect", script, reads = true, ok = true }
  tap.equal(result.code, 0, result.stdout)
  tap.equal(result.stdout:find("correct horse", 1, true), nil)
end)

tap.test("a password is asked for where a person is, and shows nowhere", function()
  if not sshds.root then return end
  shell('ssh-keygen -q -t rsa -N "" -f "$1"', keys .. "/id_rsa_wrong") -- which the ssh program could try
  for _, option in ipairs { "PasswordAuthentication yes", "KbdInteractiveAuthentication yes" } do
    local door <close> = sshds.start { folder = keys, option, option:find "Kbd" and "UsePAM yes" or "UsePAM no" }
    local chunk = ("print(host(json.decode %q).run{'id', '-un', reads = true}.stdout)"):format(
      json.encode(door:spec { user = "tester", identity = keys .. "/id_rsa_wrong", transport = "ssh" }))
    local script = note(([[
set timeout 60
spawn %s -e {%s}
expect {
  -re {tester@127.0.0.1.*assword: } { send "wrong\r" }
  timeout { exit 3 }
}
expect {
  -re {tester@127.0.0.1.*assword: } { send "open sesame\r" }
  timeout { exit 4 }
}
expect {
  -re "\r\ntester\r\n" { exit 0 }
  timeout { exit 5 }
}
exit 6
]]):format(os.getenv "MOONBOOK" or "build/moonbook", chunk))
    local result = host.run { "expect", script, reads = true, ok = true }
    tap.equal(result.code, 0, option .. result.stdout)
    tap.equal(result.stdout:find("open sesame", 1, true), nil)
  end
end)

tap.test("a host that wants a key and then a password", function()
  if not sshds.root then return end
  local door <close> = sshds.start { folder = keys, "PasswordAuthentication yes", "AuthenticationMethods publickey,password" }
  local spec = door:spec { user = "tester", transport = "ssh" }
  local script = note(([[
set timeout 60
spawn %s -e {print(host(json.decode %q).run{'id', '-un', reads = true}.stdout)}
expect {
  -re {tester@127.0.0.1.*assword: } { send "open sesame\r" }
  timeout { exit 3 }
}
expect {
  -re "\r\ntester\r\n" { exit 0 }
  timeout { exit 4 }
}
exit 5
]]):format(os.getenv "MOONBOOK" or "build/moonbook", json.encode(spec)))
  local result = host.run { "expect", script, reads = true, ok = true }
  tap.equal(result.code, 0, result.stdout)
  tap.raises("permission", door:host { user = "tester", transport = "ssh" }.run, { "true", reads = true })
end)

tap.test("keys of the agent, and only those that are named", function()
  local agent = shell("ssh-agent -a " .. folder .. "/agent | sed -n 's/.*AGENT_PID=\\([0-9]*\\);.*/\\1/p'")
  local add = "SSH_AUTH_SOCK=" .. folder .. "/agent ssh-add -q "
  shell(add .. keys .. "/id_wrong " .. keys .. "/id_ecdsa")
  local spec = sshd:spec { identity = false }
  local config = note("Host *\n  IdentityFile " .. keys .. "/none\n")
  local function try(lines)
    local chunk = ("print(host(json.decode %q).run{'echo', 'here', reads = true}.stdout)"):format(json.encode(spec))
    return host.run { os.getenv "MOONBOOK" or "build/moonbook", "-e", chunk, reads = true, ok = true,
      env = { SSH_AUTH_SOCK = folder .. "/agent", MOONBOOK_SSH_CONFIG = lines and note(lines) or config } }
  end
  local done = try()
  tap.equal({ done.code, done.stdout }, { 0, "here\n\n" }, done.stderr)
  local only = try("IdentitiesOnly yes\nIdentityFile " .. keys .. "/id_wrong.pub\n")
  tap.equal(only.code, 1)
  tap.match(only.stderr, "the agent's key id_wrong")
  tap.equal(only.stderr:find("id_ecdsa", 1, true), nil)
  host.run { "kill", agent, reads = true }
end)

-- [[ what libssh2 cannot do goes through the ssh program ]]

-- The program itself with that SSH configuration; what `host "there"` leads to.
local function through(lines, chunk, flags)
  local config = note(([[
Host there
  HostName 127.0.0.1
  User %s
  Port %d
  UserKnownHostsFile %s/known_hosts
  GlobalKnownHostsFile /dev/null
  IdentitiesOnly yes
]]):format(sshds.user, sshd.port, keys) .. lines)
  local command = { os.getenv "MOONBOOK" or "build/moonbook", "-e",
    chunk or "local h = host 'there' io.write(h.run{'echo', 'here', reads = true}.stdout)", reads = true, ok = true,
    timeout = "60s", env = { MOONBOOK_SSH_CONFIG = config, SSH_AUTH_SOCK = "" } }
  for i, flag in ipairs(flags or {}) do table.insert(command, 1 + i, flag) end
  return host.run(command)
end

tap.test("an RSA key", function()
  local h = sshd:host { identity = keys .. "/id_rsa" }
  works(h)
  works(h)
  local err = tap.raises("permission", sshd:host { identity = keys .. "/id_rsa", transport = "ssh" }.run,
    { "true", reads = true })
  tap.match(err, "openssh")
  local done = through("  IdentityFile " .. keys .. "/id_rsa\n")
  tap.equal({ done.code, done.stdout }, { 0, "here\n" }, done.stderr)
  tap.match(done.stderr, "there: through the ssh program, because of the key .*/id_rsa")
end)

tap.test("a user's certificate", function()
  works(sshd:host { identity = keys .. "/id_certified" })
end)

tap.test("a ProxyCommand", function()
  local done = through(([[
  IdentityFile %s/id_ed25519
  ProxyCommand bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d; cat <&3 & exec cat >&3'
]]):format(keys, sshd.port))
  tap.equal({ done.code, done.stdout }, { 0, "here\n" }, done.stderr)
end)

tap.test("a host that has an RSA key only, and one with a certificate", function()
  local old <close> = sshds.start { folder = keys, host_keys = "rsa" }
  local name = name_of(old.port)
  works(old:host { known_hosts = note(name .. " " .. public "host_rsa" .. "\n") })
  local err = tap.raises("permission", old:host { known_hosts = note "# none" }.run, { "true", reads = true })
  tap.match(err, "not known: ssh%-rsa SHA256:")
  shell('cd "$1" && ssh-keygen -q -s authority -I host -h -n 127.0.0.1 -V -1h:+1d host_ed25519.pub', keys)
  local certified <close> = sshds.start { folder = keys, "HostCertificate " .. keys .. "/host_ed25519-cert.pub" }
  local authority = "@cert-authority " .. name_of(certified.port) .. " " .. public "authority" .. "\n"
  works(certified:host { known_hosts = note(authority) })
  tap.raises("", certified:host { known_hosts = note("@cert-authority * " .. public "id_wrong" .. "\n") }.run,
    { "true", reads = true })
end)

tap.test("RevokedHostKeys: by ssh, or not at all", function()
  local lines = ("  IdentityFile %s/id_ed25519\n  RevokedHostKeys "):format(keys)
  local path = note(public "host_ecdsa" .. "\n" .. public "host_rsa" .. "\n")
  local done = through(lines .. path .. "\n")
  tap.equal({ done.code, done.stdout }, { 0, "here\n" }, done.stderr)
  tap.match(done.stderr, "there: through the ssh program, because of RevokedHostKeys")
  local stays = through(lines .. path .. "\n", nil, { "--transport", "ssh" })
  tap.equal(stays.code, 1)
  tap.match(stays.stderr, "has RevokedHostKeys .*transport = \"openssh\"")
  local all = note(public "host_ed25519" .. "\n" .. public "host_ecdsa" .. "\n" .. public "host_rsa" .. "\n")
  tap.equal(through(lines .. all .. "\n").code, 1)
end)

tap.test("openssh: host keys and keys are refused as with libssh2", function()
  local h = function(changes) changes.transport = "openssh" return sshd:host(changes) end
  local print = shell("ssh-keygen -lf " .. keys .. "/host_ed25519.pub"):match("SHA256:%S+")
  local unknown = tap.raises("permission", h { known_hosts = note "# none" }.run, { "true", reads = true })
  tap.ok(tostring(unknown):find(print, 1, true), "the fingerprint is named: " .. tostring(unknown))
  tap.match(unknown, "%-%-accept%-new")
  local changed = h { known_hosts = note(name_of() .. " " .. public "id_wrong" .. "\n") }
  tap.match(tap.raises("invalid", changed.run, { "true", reads = true }), "not the one on record")
  tap.raises("permission", h { identity = keys .. "/id_wrong" }.run, { "true", reads = true })
  tap.match(tap.raises("unreachable", h { port = 1 }.run, { "true", reads = true }), "refused")
  local path = note "# none"
  local chunk = ("print(host(json.decode %q).run{'true', reads = true}.code)"):format(
    json.encode(sshd:spec { known_hosts = path, transport = "openssh" }))
  local checked = server.moonbook { "-e", chunk, "--accept-new", "--check" }
  tap.equal({ checked.code, file.read(path) }, { 0, "# none" }, checked.stderr)
  tap.equal(server.moonbook({ "-e", chunk, "--accept-new" }).code, 0)
  tap.match(file.read(path), "ssh%-ed25519")
end)

tap.test("openssh: sshd is killed in the middle of a command, the next one connects anew", function()
  local mortal <close> = sshds.start { folder = keys }
  local h = mortal:host { transport = "openssh" }
  local err = tap.raises("unreachable", h.run,
    { "sh", "-c", "kill -KILL $(ps -o ppid= $(ps -o ppid= $$)); sleep 3", reads = true, timeout = "30s" })
  tap.match(err, "connection to 127.0.0.1:?%d* was lost")
  works(h)
end)

tap.test("openssh: a connection that ended while nothing was asked of it is made anew", function()
  local mortal <close> = sshds.start { folder = keys }
  local h = mortal:host { transport = "openssh" }
  local master = "pgrep -f '^ssh -M .*-p " .. mortal.port .. "'"
  works(h)
  -- Unseen: no turn of the loop is between. A stopped sshd is not waited for: the master itself is killed.
  os.execute("p=$(" .. master .. ") && kill -KILL $p && " ..
    "while [ -d /proc/$p ] && ! grep -q '^State:.Z' /proc/$p/status; do :; done")
  works(h)
  shell("kill -KILL $(" .. master .. ")") -- seen
  wait { function() return shell(master .. " || true") == "" end, timeout = "60s", every = "20ms", what = "it has ended" }
  works(h)
end)

tap.test("openssh: a RemoteCommand of the configuration does not stand in the way", function()
  local done = through("  IdentityFile " .. keys .. "/id_ed25519\n  RemoteCommand echo there\n", nil,
    { "--transport", "openssh" })
  tap.equal({ done.code, done.stdout }, { 0, "here\n" }, done.stderr)
end)

tap.test("an sshd of a test that is killed ends too", function()
  local chunk = ([[package.path = "tests/lib/?.lua" os.execute("echo " .. require "sshd".start { folder = %q }.process ..
    " >%s/left; kill -KILL $PPID")]]):format(keys, folder)
  host.run { os.getenv "MOONBOOK" or "build/moonbook", "-e", chunk, reads = true, ok = true }
  local process = file.read(folder .. "/left"):match "%d+"
  wait { function() return not shell('ps -o stat= -p "$1" || true', process):find "^[^Z]" end, timeout = "60s", every = "100ms",
    what = "it has ended" }
end)

tap.test("openssh: nothing of it is left when the program is killed", function()
  local own <close> = sshds.start { folder = keys }
  local chunk = ([[local h = host(json.decode %q) h.run{"true", reads = true}
    os.execute("pgrep -af '^ssh -M .*-p %d' >%s/master; kill -KILL $PPID")]]):format(
    json.encode(own:spec { transport = "openssh" }), own.port, folder)
  host.run { os.getenv "MOONBOOK" or "build/moonbook", "-e", chunk, reads = true, ok = true }
  local master, place = file.read(folder .. "/master"):match "^(%d+) .*(/tmp/moonbook%-%w+)/"
  wait { function() return not shell('ps -o stat= -p "$1" || true', master):find "^[^Z]" end, timeout = "60s", every = "100ms",
    what = "the master is gone" }
  wait { function() return file.stat(place) == nil end, timeout = "60s", every = "100ms", what = "its folder is gone" }
end)

-- [[ the way there ]]

tap.test("a port where nobody listens", function()
  local err = tap.raises("unreachable", sshd:host { port = 1 }.run, { "true", reads = true })
  tap.match(err, "127.0.0.1:1: connection refused")
end)

tap.test("a name that nobody knows", function()
  tap.match(tap.raises("unreachable", host { "no-such-host.invalid" }.run, { "true", reads = true }), "cannot be resolved")
end)

-- Something that listens and does what the Python text says with each connection `c`.
local function listener(code)
  local source = note(([[
import socket, threading, time, sys
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(50)
print(s.getsockname()[1], flush=True)
def serve(c):
%s
while True:
    c, _ = s.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
]]):format(code))
  local out = folder .. "/port"
  local process = shell('rm -f "$2"; python3 "$1" >"$2" 2>/dev/null </dev/null & echo $!; ' ..
    'while [ ! -s "$2" ]; do sleep 0.02; done', source, out)
  local port = math.tointeger(tonumber((file.read(out):gsub("%s", ""))))
  return setmetatable({ port = port }, { __close = function() host.run { "kill", process, reads = true } end })
end

tap.test("a host that is silent", function()
  local silent <close> = listener("    time.sleep(600)")
  local config = note("ConnectTimeout 1\n")
  local chunk = ("host(json.decode %q).run{'true', reads = true}"):format(json.encode(sshd:spec { port = silent.port }))
  local result = host.run { os.getenv "MOONBOOK" or "build/moonbook", "-e", chunk, reads = true, ok = true, timeout = "60s",
    env = { MOONBOOK_SSH_CONFIG = config } }
  tap.equal(result.code, 1)
  tap.match(result.stderr, "did not answer within 1 s")
end)

tap.test("where one address of a name is silent the next one is tried", function()
  if not sshds.root then return tap.skip("the next address", "needs a mount namespace") end
  local silent <close> = silents.start("127.0.0.3", sshd.port)
  local names = note("127.0.0.3 first both\n127.0.0.1 first\n127.0.0.1 second\n127.0.0.3 second\n127.0.0.4 both\n", "0644")
  local lines = ""
  for _, name in ipairs { "first", "second" } do
    lines = lines .. ("[%s]:%d %s\n"):format(name, sshd.port, public "host_ed25519")
  end
  local function try(name, transport)
    local chunk = ("local s = json.decode %q s[1] = %q io.write(host(s).run{'echo', 'here', reads = true}.stdout)"):format(
      json.encode(sshd:spec { address = false, known_hosts = note(lines), transport = transport }), name)
    return host.run { "unshare", "--mount", "sh", "-c", 'mount --bind "$1" /etc/hosts; shift; exec "$@"', "sh", names,
      os.getenv "MOONBOOK" or "build/moonbook", "-e", chunk, reads = true, ok = true, timeout = "2m",
      env = { MOONBOOK_SSH_CONFIG = note "ConnectTimeout 6\n" } }
  end
  local jobs = {}
  for _, transport in ipairs { "ssh", "openssh" } do
    for _, name in ipairs { "first", "second" } do
      jobs[#jobs + 1] = function()
        local result = try(name, transport)
        tap.equal({ result.code, result.stdout }, { 0, "here\n" }, transport .. " " .. name .. result.stderr)
      end
    end
  end
  jobs[#jobs + 1] = function()
    local none = try("both", "ssh")
    tap.equal(none.code, 1)
    tap.match(none.stderr, silent.address .. ": no answer")
    tap.match(none.stderr, "127.0.0.4: connection refused")
  end
  parallel(jobs)
end)

tap.test("what is no SSH server, and one that has no place at first", function()
  local web <close> = listener("    c.sendall(b'HTTP/1.1 400 Bad Request\\r\\n\\r\\n'); c.close()")
  tap.raises("unreachable", sshd:host { port = web.port }.run, { "true", reads = true })
  -- As sshd beyond MaxStartups: closed at once; the third time it is let through to the real one.
  local full <close> = listener(([[
    global n; n = globals().get("n", 0) + 1
    if n < 3: c.sendall(b'Exceeded MaxStartups\r\n'); c.close(); return
    r = socket.create_connection(("127.0.0.1", %d))
    def pipe(a, b):
        while True:
            d = a.recv(65536)
            if not d: break
            b.sendall(d)
        b.shutdown(1)
    threading.Thread(target=pipe, args=(c, r), daemon=True).start(); pipe(r, c)]]):format(sshd.port))
  works(sshd:host { port = full.port, known_hosts = note(name_of(full.port) .. " " .. public "host_ed25519" .. "\n") })
end)

tap.test("many hosts of one server at once: no more logins at a time than it takes", function()
  local door <close> = sshds.start { "MaxStartups 8:100:8", folder = keys }
  local jobs = {}
  for i = 1, 24 do
    jobs[i] = function() return door:host { consul_addr = tostring(i) }.run { "echo", tostring(i), reads = true }.stdout end
  end
  local results = table.pack(parallel(jobs))
  if type(results[1]) == "table" then results = results[1] end
  for i = 1, 24 do tap.equal(results[i], i .. "\n") end
end)

-- The program itself, to which ssh's configuration leads to hosts that are servers of this test: { NAME, PORT, further lines }.
local function among(hosts, chunk, env)
  local lines = {}
  for _, each in ipairs(hosts) do
    lines[#lines + 1] = ("Host %s\n  Port %d\n  %s"):format(each[1], each[2], table.concat(each, "\n  ", 3))
  end
  lines[#lines + 1] = ("Host *\n  HostName 127.0.0.1\n  User %s\n  IdentityFile %s/id_ed25519\n  IdentitiesOnly yes\n" ..
    "  UserKnownHostsFile %s/known_hosts\n"):format(sshds.user, keys, keys)
  env = env or {}
  env.MOONBOOK_SSH_CONFIG = note(table.concat(lines, "\n"))
  return host.run { os.getenv "MOONBOOK" or "build/moonbook", "-e", chunk, reads = true, ok = true, timeout = "60s", env = env }
end

tap.test("jump hosts, several in a row", function()
  local second <close> = sshds.start { folder = keys }
  local third <close> = sshds.start { folder = keys }
  local hosts = { { "first", sshd.port }, { "second", second.port, "ProxyJump first" },
    { "third", third.port, "ProxyJump second" } }
  local done = among(hosts,
    "local h = host 'third' io.write(h.run{'sh', '-c', 'echo $SSH_CONNECTION', reads = true}.stdout) " ..
    "io.write(#h.run{'head', '-c', '5000000', '/dev/zero', reads = true}.stdout)")
  tap.equal(done.code, 0, done.stderr)
  tap.match(done.stdout, ("127.0.0.1 %d\n5000000"):format(third.port))
  tap.match(second:log(), "Accepted publickey")
  second:stop()
  local broken = among(hosts, "host 'third'.run{'true', reads = true}")
  tap.equal(broken.code, 1)
  tap.match(broken.stderr, "second .127.0.0.1:%d+. is not reached from its jump host: .*connect failed")
end)

tap.test("a server that allows one session at a time gets one command after the other", function()
  local narrow <close> = sshds.start { folder = keys, "MaxSessions 1" }
  local h = narrow:host { transport = "ssh" }
  local jobs = {}
  for job = 1, 6 do
    jobs[job] = function()
      for i = 1, 10 do
        local text = ("%d of %d"):format(i, job)
        tap.equal(h.run { "echo", text, reads = true }.stdout, text .. "\n")
      end
    end
  end
  parallel(jobs)
  tap.equal(select(2, narrow:log():gsub("Accepted publickey", "")), 1, "logins")
  local err = tap.raises("failed", narrow:host { transport = "openssh" }.run, { "true", reads = true })
  tap.match(err, "opens no further session; the ssh program holds one for itself: see MaxSessions")
end)

tap.test("a server that allows no session says so", function()
  local shut <close> = sshds.start { folder = keys, "MaxSessions 0" }
  local err = tap.raises("failed", shut:host { transport = "ssh" }.run, { "true", reads = true })
  tap.match(err, "refused a channel")
end)

tap.test("what is said of a host is not said of its jump host, which has a key and known hosts of its own", function()
  local inner <close> = sshds.start()
  for _, transport in ipairs { "ssh", "openssh" } do
    local result = among({ { "outer", sshd.port }, { "inner", inner.port, "ProxyJump outer" } },
      ("io.write(host { 'inner', identity = '%s/id_ed25519', known_hosts = '%s/known_hosts', transport = '%s' }" ..
        ".run { 'echo', 'here', reads = true }.stdout)"):format(inner.folder, inner.folder, transport))
    tap.equal({ result.code, result.stdout }, { 0, "here\n" }, transport .. ": " .. result.stderr)
  end
end)

tap.test("the connection to a jump host that nothing goes through answers the server", function()
  local jobs = {}
  for i, line in ipairs { "RekeyLimit default 1", "MaxSessions 10", "MaxSessions 0" } do
    jobs[i] = function()
      -- The server gives up who does not answer for four seconds, or wants new keys all the time.
      local first <close> = sshds.start { folder = keys, "ClientAliveInterval 1", "ClientAliveCountMax 3", line }
      local second <close> = sshds.start { folder = keys }
      -- libssh2 1.10 forgets a copy of the host's key at each exchange of keys: no leak of ours.
      local result = among({ { "first", first.port }, { "second", second.port, "ProxyJump first" } },
        ([[local h = host 'second' h.run{'true', reads = true}
          host.run{'sh', '-c', 'kill $(pgrep -P %s)', reads = true} host.run{'sleep', '7', reads = true}
          io.write(h.run{'echo', 'here', reads = true}.stdout)]]):format(second.process), { ASAN_OPTIONS = "detect_leaks=0" })
      tap.equal({ result.code, result.stdout }, { 0, "here\n" }, result.stderr)
      tap.equal(select(2, first:log():gsub("Accepted publickey", "")), 1, line .. ": logins")
    end
  end
  parallel(jobs)
end)

tap.test("a host that does not answer behind a jump host holds up none of the others", function()
  local silent <close> = silents.start "127.0.0.3"
  local second <close> = sshds.start { folder = keys }
  local result = among({ { "dead", silent.port, "HostName 127.0.0.3", "ProxyJump first", "ConnectTimeout 6" },
    { "first", sshd.port }, { "second", second.port, "ProxyJump first" } }, [[
    host 'second'.run{'true', reads = true}
    local said = {}
    parallel {
      function() local _, err = pcall(host 'dead'.run, {'true', reads = true}) said[#said + 1] = tostring(err) end,
      -- Another connection through the same jump host.
      function()
        local done = host{'second', consul_addr = 'another'}.run{'echo', 'here', reads = true}
        said[#said + 1] = done.stdout
      end,
    }
    io.write(table.concat(said, '|'))]])
  tap.equal(result.code, 0, result.stderr)
  tap.match(result.stdout, "^here\n|dead: connect: 127.0.0.3:%d+ did not answer within 6 s")
end)

tap.test("jump hosts that lead back to one of them are refused", function()
  for _, transport in ipairs { "ssh", "openssh" } do
    local config = note "Host a\n  ProxyJump b\nHost b\n  ProxyJump c\nHost c\n  ProxyJump b\n"
    local result = host.run { os.getenv "MOONBOOK" or "build/moonbook", "-e", "host 'a'.run{'true', reads = true}",
      "--transport", transport, reads = true, ok = true, timeout = "60s", env = { MOONBOOK_SSH_CONFIG = config } }
    tap.equal(result.code, 1)
    tap.match(result.stderr, "leads back to it: a %-> b %-> c %-> b")
    tap.match(result.stderr, "correct ProxyJump")
  end
end)

-- [[ in the middle ]]

-- An sshd whose commands are looked for in that folder first. Of several SetEnv the first holds: the state folder is said again,
-- the machine's own is not for tests.
local function path_of(first)
  return ("SetEnv PATH=%s:/usr/bin:/bin XDG_STATE_HOME=%s/state"):format(first, keys)
end

tap.test("sshd is killed in the middle of a command", function()
  local mortal <close> = sshds.start { folder = keys }
  local h = mortal:host()
  local err = tap.raises("unreachable", h.run, { "sh", "-c", "kill -KILL $1; " .. sshds.await_end ..
    "; kill -KILL $(ps -o ppid= $$); sleep 3", "sh", mortal.process, reads = true })
  tap.match(err, "connection to 127.0.0.1 was lost: the host closed it")
  tap.match(tap.raises("unreachable", h.run, { "true", reads = true }), "connection refused")
end)

tap.test("a command that ends while it is looked whether it still runs is over at once", function()
  local look = folder .. "/look"
  local slow = note(([[
    case $SSH_ORIGINAL_COMMAND in *"kill -0 "*) touch %s; sleep 0.5 ;; esac
    exec sh -c "$SSH_ORIGINAL_COMMAND"]]):format(look))
  local looking <close> = sshds.start { folder = keys, "ForceCommand sh " .. slow }
  local h = looking:host()
  local took = {}
  for i = 1, 3 do -- the best of three: the machine may be busy. The next look comes two seconds after the first.
    host.run { "rm", "-f", look, reads = true }
    local before = os.time()
    h.run { "sh", "-c", "until [ -e $1 ]; do sleep 0.02; done", "sh", look, reads = true, timeout = "60s" }
    took[i] = os.time() - before
    if took[i] < 3 then return end
  end
  tap.ok(false, "seconds: " .. table.concat(took, ", "))
end)

tap.test("a command whose connection is lost says so, and the next one connects anew", function()
  local mortal <close> = sshds.start { folder = keys }
  local h = mortal:host()
  local err = tap.raises("unreachable", h.run,
    { "sh", "-c", "kill -KILL $(ps -o ppid= $$); sleep 3", reads = true, timeout = "30s" })
  tap.match(err, "connection to 127.0.0.1:?%d* was lost")
  works(h)
end)

tap.test("no half-written file when the connection is lost while it is written", function()
  local cutting = folder .. "/cutting"
  local mortal <close> = sshds.start { folder = keys, path_of(cutting) }
  local path = folder .. "/whole"
  file.present { path, content = "as it was" }
  -- The host's cat, which writes the file: after the first megabyte the connection is gone.
  host.run { "sh", "-c", 'mkdir "$1"; cat >"$1/cat"; chmod 755 "$1/cat"', "sh", cutting, reads = true, stdin = ([[#!/bin/sh
/usr/bin/head -c 1000000; touch %s/began; kill -KILL $(pgrep -P %s); exec /bin/cat
]]):format(cutting, mortal.process) }
  tap.raises("unreachable", mortal:host().file.present, { path, content = ("x"):rep(32 << 20) })
  tap.ok(file.exists(cutting .. "/began"), "it was lost in the middle")
  wait { function() return shell('ls -A "$1" | grep -c "whole.moonbook" || true', folder) == "0" end, timeout = "60s",
    every = "50ms", what = "nothing is left of it" }
  tap.equal(file.read(path), "as it was")
end)

tap.test("a host that stops answering is noticed", function()
  local mortal <close> = sshds.start { folder = keys }
  local config = note("ServerAliveInterval 1\n")
  local chunk = ([[local h = host(json.decode %q) h.run{"true", reads = true}
    os.execute("kill -STOP $(pgrep -P %s)")
    print(pcall(h.run, {"sleep", "1000", reads = true}))]]):format(json.encode(mortal:spec()), mortal.process)
  local result = host.run { os.getenv "MOONBOOK" or "build/moonbook", "-e", chunk, reads = true, ok = true, timeout = "2m",
    env = { MOONBOOK_SSH_CONFIG = config } }
  mortal:kill()
  tap.match(result.stdout, "lost: it did not answer for")
end)

tap.test("what is cut short here ends there", function()
  parallel({ "ssh", "openssh" }, function(transport)
    local mark = folder .. "/cut-" .. transport
    local chunk = ([[host(json.decode %q).run{"sh", "-c", "echo $$ >%s; exec sleep 600", reads = true}]]):format(
      json.encode(sshd:spec { transport = transport }), mark)
    local result = host.run { os.getenv "MOONBOOK" or "build/moonbook", "-e", chunk, "--timeout", "8s", reads = true, ok = true,
      timeout = "60s" }
    tap.equal(result.code, 1)
    tap.match(result.stderr, "did not end within 8 s")
    local process = file.read(mark):match "%d+"
    wait { function() return host.run { "kill", "-0", process, reads = true, ok = { 0, 1 } }.code == 1 end, timeout = "60s",
      every = "50ms", what = "the command has ended" }
  end)
end)

tap.test("what is cut short while it is looked whether it still runs ends there too", function()
  local mark = folder .. "/looked-after"
  local slow = note(([[
case $SSH_ORIGINAL_COMMAND in *'said=$(kill -0'*) echo >%s.look; exec sleep 8 ;; esac
exec sh -c "$SSH_ORIGINAL_COMMAND"
]]):format(mark))
  local looking <close> = sshds.start { folder = keys, "ForceCommand exec sh " .. slow }
  local h = looking:host { transport = "ssh" }
  tap.raises("boom", parallel, {
    function() h.run { "sh", "-c", "echo $$ >" .. mark .. "; exec sleep 600", reads = true, timeout = "5m" } end,
    function()
      wait { function() return file.exists(mark .. ".look") end, timeout = "60s", every = "20ms", what = "the look" }
      error { kind = "boom", message = "enough" }
    end,
  })
  local process = file.read(mark):match "%d+"
  wait { function() return host.run { "kill", "-0", process, reads = true, ok = { 0, 1 } }.code == 1 end, timeout = "60s",
    every = "50ms", what = "the command has ended" }
end)

-- What systemd.follow reads there, without systemd: a journal of three lines that then goes on in silence.
local bin = folder .. "/bin"
host.run { "mkdir", bin, reads = true }
for name, text in pairs {
  systemctl = "printf 'Id=x.service\\nLoadState=loaded\\nActiveState=active\\n'",
  journalctl = "echo $$ >" .. folder .. "/journal; echo 1; head -c 1000000 /dev/zero | tr '\\0' 2; echo; echo 3; exec sleep 3600",
} do
  host.run { "sh", "-c", 'cat >"$1"; chmod 755 "$1"', "sh", bin .. "/" .. name, stdin = "#!/bin/sh\n" .. text .. "\n",
    reads = true }
end

tap.test("a stream gives its lines as they come; with the loop its command ends", function()
  local there <close> = sshds.start { folder = keys, path_of(bin) }
  for _, transport in ipairs { "ssh", "openssh" } do
    local lines = {}
    for line in there:host({ transport = transport }).systemd.follow "x" do
      lines[#lines + 1] = line
      if #lines == 3 then break end
    end
    tap.ok(lines[2] == ("2"):rep(1000000), transport .. ": a long line comes whole")
    tap.equal({ lines[1], lines[3] }, { "1", "3" }, transport)
    local process = file.read(folder .. "/journal"):match "%d+"
    wait { function() return host.run { "kill", "-0", process, reads = true, ok = { 0, 1 } }.code == 1 end, timeout = "60s",
      every = "50ms", what = "the command has ended" }
  end
  host.run { "rm", bin .. "/journalctl", reads = true }
  if not shell("command -v journalctl || true"):find "^/usr/bin" then
    tap.raises("not-found", there:host().systemd.follow, "x")
  end
end)

tap.test("what is as it should be is seen on one way there, however much it is", function()
  local there <close> = sshds.start { folder = keys, path_of(bin) }
  host.run { "sh", "-c", 'cat >"$1"', "sh", bin .. "/systemctl", reads = true, stdin = [[#!/bin/sh
for unit do case $unit in *.service) printf '%sId=%s\nLoadState=loaded\nActiveState=active\n' "$empty" "$unit"
  printf 'SubState=running\nUnitFileState=enabled\n'
  date -u -d '-1 min' '+ActiveEnterTimestamp=%a %Y-%m-%d %H:%M:%S UTC'; empty='
';; esac; done
]] }
  for name, text in pairs { one = "1\n", two = "2\n", three = ("3\n"):rep(1000) } do
    file.present { folder .. "/" .. name, content = text, mode = "0644" }
  end
  for _, transport in ipairs { "ssh", "openssh" } do
    local function trips(chunk)
      local result = server.moonbook { "-e", ([[local h, F = host(json.decode %q), %q
        local function p(name) return F .. "/" .. name end h.run{"true"} %s]]):format(
        json.encode(there:spec { transport = transport }), folder, chunk), "--json" }
      tap.equal(result.code, 0, result.stderr)
      local last
      for line in result.stdout:gmatch "[^\n]+" do last = json.decode(line) end
      tap.equal({ last.event, last.changed }, { "run.end", 1 }, chunk)
      return last.round_trips
    end
    local base = trips ""
    for _, case in ipairs {
      { 1, "h.file.present{p 'one', content = '1\\n', mode = '0644'}" },
      { 1, "h.file.present{p 'three', content = ('3\\n'):rep(1000)}" },
      { 1, "h.file.line{p 'two', line = '2'}" },
      { 1, "h.file.directory{F}" },
      { 1, "h.systemd.running{'x'}" },
      { 2, "h.systemd.running{'x', fresh = {'/usr/bin/env'}}" },
      { 2, "h.systemd.running{'x', 'y', 'z', fresh = {'/usr/bin/env', '/usr/bin/head', '/usr/bin/stat', p 'none'}}" },
      { 1, "h.systemd.enabled{'x', 'y', 'z'}" },
      { 1, "local _ = h.os.codename, h.os.arch, h.cpus, h.memory" },
      { 1, "h.run{'sleep', '1.5', reads = true}" }, -- silent for so long that it is looked after
    } do
      tap.equal(trips(case[2]) - base, case[1], transport .. " " .. case[2])
    end
  end
end)

tap.test("secrets stand in no list of processes", function()
  local h = sshd:host()
  local token = "s3cr3t-" .. sshd.port
  local seen = h.run { "sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; echo; printf %s \"$T\" | wc -c",
    env = { T = secret.command { "printf", "%s", token } }, reads = true }.stdout
  tap.equal(seen:find(token, 1, true), nil)
  tap.match(seen, "\n" .. #token .. "\n")
end)

tap.test("a folder's owner can have nothing else given away", function()
  if not sshds.root then return end
  local trap, victim, open = folder .. "/trap", folder .. "/victim", folder .. "/open"
  -- The owner, at the worst moment: a link stands where the folder was just made.
  host.run { "sh", "-c", 'mkdir "$1" "$2" "$3"; chmod 700 "$2"; chmod 777 "$3"; cat >"$1/mkdir"; chmod 755 "$1/mkdir"', "sh",
    trap, victim, open, reads = true, stdin = ([[#!/bin/sh
/bin/mkdir "$@" || exit
for made do :; done
case $made in */open/*) ;; *) exit 0;; esac
mv "$made" "$made.away"; ln -s %s "$made"
]]):format(victim) }
  local swapped <close> = sshds.start { folder = keys, path_of(trap) }
  local err = tap.raises("failed", swapped:host().file.directory, { open .. "/new", owner = "nobody", mode = "0777" })
  tap.match(err, "File exists")
  tap.equal(shell('stat -c "%U %a" "$1"', victim), "root 700")
end)

host.run { "rm", "-rf", folder, reads = true }
tap.finish()
