-- A secret given through each source is in the file that it is for and nowhere else: not in what is printed, the journal, errors,
-- any command line while it runs, temporary files, copies for undo, a core.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local sshds = require "sshd"
local vaults = require "vault_server"

local sshd <close> = sshds.start()
local vault_server <close> = vaults.start()
local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("%s+$", "")
local program = os.getenv "MOONBOOK"
local CANARY = "canary-" .. folder:match "%w+$" .. "-sings" -- nobody else's, who may be seen in the same list of processes

local function sh(script, ...)
  return (host.run { reads = true, timeout = "2m", "sh", "-euc", script, "sh", folder, ... }.stdout:gsub("\n$", ""))
end

sh([[
  cd "$1"; mkdir tmp state home operator
  cat >config <<END
Host there
  HostName 127.0.0.1
  Port $2
  User $3
  IdentityFile $4/id_ed25519
  IdentitiesOnly yes
  UserKnownHostsFile $4/known_hosts
END]], tostring(sshd.port), sshds.user, sshd.folder)

-- What a runbook does with a secret, and what goes wrong around it.
file.present { folder .. "/book.lua", mode = "0644", content = [[
return {
  about = "uses a secret", params = { { "token", "secret", required = true }, { "where", "path", required = true } },
  run = function(p)
    print(p.token, "x" .. p.token, json.encode { tostring(p.token) })
    log(p.token) warn("the token is " .. tostring(p.token))
    step("file", function()
      file.present { p.where, content = "# by the runbook\ntoken = " .. p.token .. "\n", mode = "0640" }
      file.line { p.where .. ".line", line = "again = " .. p.token, create = true, mode = "0640" }
      file.hcl { p.where .. ".hcl", set = { ["acl.token"] = p.token }, create = true, mode = "0640" }
    end)
    step("command", function()
      host.run { "sh", "-c", "cat >/dev/null; sleep 0.3", stdin = p.token, env = { TOKEN = p.token } }
      host.run { "sh", "-c", "cat; cat >&2; exit 3", stdin = p.token, ok = 3 }
    end)
    step("request", function()
      pcall(http.request, { "http://127.0.0.1:1/?t=1", headers = { Authorization = "Bearer " .. p.token }, retries = 0 })
    end)
    step("failure", function()
      host.run { "sh", "-c", "cat; echo of no use >&2; exit 4", stdin = p.token }
    end)
  end,
}]] }

-- Runs it on the other host while the command lines of all processes are collected.
local function run(source, env, input)
  env = env or {}
  env.MOONBOOK_SSH_CONFIG, env.XDG_STATE_HOME, env.TMPDIR = folder .. "/config", folder .. "/state", folder .. "/tmp"
  env.HOME, env.PATH, env.TERM = env.HOME or folder .. "/operator", os.getenv "PATH", "dumb"
  local where = folder .. "/" .. source:match "^%w*" .. ".conf"
  sh([[rm -f "$2"* "$1/cmdlines"]], where)
  local result = host.run { "sh", "-c", [[
    ( while [ -e "$1/sampling" ]; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' '; echo; done >"$1/cmdlines" ) &
    shift; "$@"; status=$?; rm "$FOLDER/sampling"; wait; exit $status]], "sh", folder,
    program, "run", folder .. "/book.lua", "--on", "there", "--diff", "-v", "--set", "token=" .. source,
    "--set", "where=" .. where,
    env = (function() env.FOLDER = folder; file.present { folder .. "/sampling", content = "" }; return env end)(),
    stdin = input, reads = true, ok = { 0, 1, 64 }, timeout = "2m" }
  return result, where
end

-- Where the canary is among the files of the folders.
local function found_in(...)
  return sh([[shift; grep -rlF "]] .. CANARY .. [[" "$@" 2>/dev/null | sort || true]], ...)
end

local function sings_nowhere(source, env, input)
  local result, where = run(source, env, input)
  tap.equal(result.code, 1, "the last step fails: " .. result.stderr)
  tap.match(result.stderr, "of no use")
  local said = result.stdout .. result.stderr
  tap.equal(said:find(CANARY, 1, true), nil, said)
  tap.match(result.stdout, "<secret>\t<secret>")
  tap.equal(found_in(folder .. "/state", folder .. "/tmp", folder .. "/cmdlines", folder .. "/home", sshd.folder .. "/state",
    sshd.folder .. "/log." .. sshd.port), "", "files beside the one it is for")
  tap.ok(#file.read(folder .. "/cmdlines") > 1000, "command lines were collected")
  tap.equal(sh([[cat "$2"]], where), "# by the runbook\ntoken = " .. CANARY)
  tap.equal(sh([[cat "$2.line"]], where), "again = " .. CANARY)
  tap.equal(sh([[stat -c %a "$2"*]], where), "640\n640\n640")
  sh([[rm "$2"*]], where)
end

tap.test("from the environment", function() sings_nowhere("env:CAGE", { CAGE = CANARY }) end)

tap.test("from a file", function()
  file.present { folder .. "/home/secret", content = "not it\n", mode = "0600" }
  sh([[printf '%s\nsecond line\n' "]] .. CANARY .. [[" >"$1/operator/secret"]])
  sings_nowhere("file:" .. folder .. "/operator/secret")
end)

tap.test("from a command", function()
  sings_nowhere(("command:cat %s/operator/secret | head -n 1"):format(folder))
end)

tap.test("from standard input", function() sings_nowhere("-", {}, CANARY .. "\nrest\n") end)

tap.test("from Vault", function()
  vault_server:client().write("secret/data/ci", { data = { token = secret.command { "echo", CANARY } } })
  sings_nowhere("vault:secret/ci#token", { VAULT_ADDR = vault_server.url, VAULT_TOKEN = vault_server.token })
end)

tap.test("from pass", function()
  sh([[
    export GNUPGHOME=$1/operator/.gnupg HOME=$1/operator
    mkdir -m 700 "$GNUPGHOME"
    gpg -q --batch --pinentry-mode loopback --passphrase '' --quick-generate-key tests@localhost rsa2048 encr never 2>/dev/null
    pass init tests@localhost >/dev/null
    printf '%s\nuser: somebody\n' "]] .. CANARY .. [[" | pass insert -m ops/token >/dev/null]])
  local done, problem = pcall(sings_nowhere, "pass:ops/token", { GNUPGHOME = folder .. "/operator/.gnupg" })
  sh [[GNUPGHOME=$1/operator/.gnupg gpgconf --kill all]]
  if not done then error(problem, 0) end
end)

tap.test("from the keyboard, which does not show it", function()
  file.present { folder .. "/prompt.exp", content = ([[
    set timeout 60
    spawn %s run %s/book.lua --on there --diff --set token=prompt --set where=%s/prompt.conf
    expect "token: " { send "%s\r" }
    expect eof]]):format(program, folder, folder, CANARY) }
  local said = host.run { "expect", folder .. "/prompt.exp", reads = true, timeout = "90s", ok = { 0, 1 },
    env = { MOONBOOK_SSH_CONFIG = folder .. "/config", XDG_STATE_HOME = folder .. "/state", TMPDIR = folder .. "/tmp",
      TERM = "xterm", HOME = folder .. "/operator" } }.stdout
  tap.match(said, "of no use")
  tap.equal(said:find(CANARY, 1, true), nil, said)
  tap.equal(sh [[cat "$1/prompt.conf"]], "# by the runbook\ntoken = " .. CANARY)
  sh [[rm "$1/prompt.conf"*]]
end)

tap.test("each one is asked for by its name; standard input is no source for two", function()
  file.present { folder .. "/two.lua", content = [[
    return { about = "x", params = { { "token", "secret" }, { "secrets", "map(secret)", default = {} } }, run = function(p)
      print(p.token == p.secrets["@A@"], p.secrets["@A@"] == p.secrets["@B@"], p.secrets["@B@"] == secret.env "THIRD")
    end }]] }
  file.present { folder .. "/two.exp", content = ([[
    set timeout 60
    spawn %s run %s/two.lua --set token=prompt --set secrets.@A@=prompt --set secrets.@B@=prompt
    expect "token: " { send "the-first\r" }
    expect "secrets.@A@: " { send "the-second\r" }
    expect "secrets.@B@: " { send "the-third\r" }
    expect eof]]):format(program, folder) }
  local env = { XDG_STATE_HOME = folder .. "/state", TERM = "dumb", THIRD = "the-third" }
  local said = host.run { "expect", folder .. "/two.exp", reads = true, timeout = "90s", ok = { 0, 1 }, env = env }.stdout
  tap.match(said, "false%s+false%s+true")
  file.present { folder .. "/stop.exp", content = ([[
    set timeout 60
    spawn %s run %s/two.lua --set secrets.@A@=prompt --set token=prompt
    expect "secrets.@A@: " { send "\003" }
    expect eof
    exit [lindex [wait] 3] ]]):format(program, folder) }
  local stopped = host.run { "expect", folder .. "/stop.exp", reads = true, timeout = "90s", ok = true, env = env }
  tap.equal(stopped.code, 130, stopped.stdout)
  tap.equal(stopped.stdout:find "map%(secret%)", nil)
  local words = { program, "run", folder .. "/two.lua", "--set", "token=-", "--set", "secrets.@A@=-" }
  words.stdin, words.env, words.ok, words.reads = "the-first\nthe-second\n", env, { 64 }, true
  tap.match(host.run(words).stderr, "secrets %(map%(secret%)%): @A@: standard input: it is read for token already, and has one")
  words[7] = "token=env:THIRD"
  tap.match(host.run(words).stderr, "token %(secret%): given twice")
  words[5], words[7] = "secrets.@A@=env:THIRD", "secrets.@A@=env:TERM"
  tap.match(host.run(words).stderr, "secrets %(map%(secret%)%): @A@: given twice")
  words[7] = "secrets.@B@=hunter22"
  said = host.run(words).stderr
  tap.match(said, "@B@: a secret is never given itself")
  tap.equal(said:find "hunter", nil)
end)

tap.test("the program that holds it leaves no core", function()
  if sh([[grep -qa __asan_init "$2" && echo yes || echo no]], program) == "yes" then return end
  local said = host.run { "python3", "-c", [[
import os, resource, signal, subprocess, sys
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
child = subprocess.Popen([sys.argv[1], "-e", "print(secret.env 'CAGE'); sleep(60)"], stdout=subprocess.PIPE, cwd=sys.argv[2])
child.stdout.readline()
os.kill(child.pid, signal.SIGSEGV)
_, status = os.waitpid(child.pid, 0)
child.returncode = 0
print(os.WTERMSIG(status), os.WCOREDUMP(status), os.listdir(sys.argv[2]))]], program, folder .. "/tmp", reads = true,
    timeout = "30s", env = { CAGE = CANARY, XDG_STATE_HOME = folder .. "/state" } }.stdout
  tap.equal(said, "11 False []\n")
end)

sh [[rm -rf "$1"]]
tap.finish()
