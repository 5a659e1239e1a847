-- The runbooks of scripts/vault against a live Vault: the first run changes, --check says before what it will, the second changes
-- nothing, wrong input is refused, and no token shows anywhere. Run from the repository.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"

local server <close> = require("vault_server").start()
local root = server:client()

local folder = os.tmpname()
os.remove(folder)
file.directory { folder, mode = "0700" }
local home <close> = setmetatable({}, { __close = function() host.run { "rm", "-r", folder, reads = true } end })
assert(home)

-- ---- runs ----

-- Tokens as texts: what must not show.
local known = { server.token }

-- A token for a test, a child of `client`'s or of nobody: the file that holds it, its accessor, itself as a secret.
local made = 0
local function make_token(fields, client)
  local answer = client and client.auth.token.create_token(fields) or root.auth.token.create_orphan_token(fields)
  made = made + 1
  local path = folder .. "/token" .. made
  file.present { path, content = answer.auth.client_token, mode = "0600" }
  known[#known + 1] = file.read(path)
  return path, answer.auth.accessor, answer.auth.client_token
end

local function put_policy(name, rules)
  root.sys.put_acl_policy(name, { policy = rules })
end

local function lines_of(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = json.decode(line) end
  return list
end

-- Runs a runbook: {code, events, changes, said = all that was said, journal}. `as`: the file of the token that it runs with.
local function run(options)
  local runbook = options[1]
  local words = { "run", "vault/" .. runbook, "--json", table.unpack(options, 2) }
  local state = folder .. "/state"
  words.env = { PATH = os.getenv "PATH", HOME = folder, XDG_STATE_HOME = state, VAULT_ADDR = server.url, VICTIM = options.victim,
    VAULT_TOKEN = options.as and file.read(options.as) or server.token, ASAN_OPTIONS = os.getenv "ASAN_OPTIONS" }
  words.stdin, words.ok = options.stdin, { 0, 1, 2, 64 }
  local answer = servers.moonbook(words)
  local journal = ""
  for _, path in ipairs(file.glob(state .. "/moonbook/runs/*/journal.jsonl")) do journal = journal .. file.read(path) end
  host.run { "rm", "-rf", state, reads = true }
  local result = { code = answer.code, events = lines_of(answer.stdout), said = answer.stdout .. answer.stderr,
    journal = journal, changes = {}, steps = 0, warnings = "", log = "" }
  for _, event in ipairs(result.events) do
    if event.event == "change" then result.changes[#result.changes + 1] = event end
    if event.event == "step.start" then result.steps = result.steps + 1 end
    if event.event == "warning" then result.warnings = result.warnings .. event.message .. "\n" end
    if event.event == "log" then result.log = result.log .. event.message .. "\n" end
  end
  for _, token in ipairs(known) do
    tap.ok(not (result.said .. journal):find(token, 1, true), runbook .. " shows a token")
  end
  return result
end

local function plain(changes)
  local list = {}
  for index, change in ipairs(changes) do
    list[index] = { change.kind, change.target, change.before or "none", change.after or "none", change.exact ~= false }
  end
  return list
end

-- --check says what the run does, the run does it, and the next has nothing left to do. Returns check and run.
local function changes_once(count, options)
  local function with(...)
    local copy = { table.unpack(options) }
    for name, value in pairs(options) do if type(name) == "string" then copy[name] = value end end
    for _, word in ipairs { ... } do copy[#copy + 1] = word end
    return run(copy)
  end
  local check = with("--check", "--detailed-exitcode")
  tap.equal({ check.code, #check.changes }, { 2, count }, check.said)
  local first = with("--yes", "--detailed-exitcode")
  tap.equal({ first.code, #first.changes }, { 2, count }, first.said)
  tap.equal(plain(check.changes), plain(first.changes))
  for index = 1, count do
    tap.equal({ check.changes[index].status, first.changes[index].status }, { "predicted", "changed" })
  end
  for _, option in ipairs { "--check", "--yes" } do
    local again = with(option, "--detailed-exitcode")
    tap.equal({ again.code, #again.changes }, { 0, 0 }, again.said)
  end
  return check, first
end

-- Wrong parameters: 64, nothing begun.
local function check_refused(pattern, ...)
  local answer = run { ... }
  tap.equal({ answer.code, #answer.events, answer.journal }, { 64, 0, "" }, answer.said)
  tap.match(answer.said, pattern)
end

-- An error of the run, without a change.
local function check_fails(pattern, options)
  local answer = run(options)
  tap.equal({ answer.code, #answer.changes }, { 1, 0 }, answer.said)
  tap.match(answer.said, pattern)
  return answer
end

-- ---- nomad-roles ----

tap.test("nomad-roles: the two roles, once", function()
  local check, first = changes_once(2, { "nomad-roles" })
  for _, answer in ipairs { check, first } do
    tap.match(answer.warnings, "no policy nomad, nomad%-server: a mistake")
  end
  local servers_role, role = root.auth.token.read_token_role("nomad-server").data, root.auth.token.read_token_role("nomad").data
  tap.equal({ servers_role.allowed_policies, servers_role.orphan, servers_role.token_period or 0 },
    { { "default", "nomad", "nomad-server" }, true, 0 })
  tap.equal({ role.allowed_policies, role.orphan, role.token_period }, { { "default", "nomad" }, true, 86400 })
end)

tap.test("nomad-roles: what is not named stays, what differs is changed alone", function()
  root.auth.token.put_token_role("nomad", { path_suffix = "ours", token_period = 3600 })
  local _, first = changes_once(1, { "nomad-roles", "--set", "period=12h" })
  tap.match(json.encode(first.changes[1].before), "3600")
  tap.match(json.encode(first.changes[1].after), "43200")
  local role = root.auth.token.read_token_role("nomad").data
  tap.equal({ role.path_suffix, role.token_period, role.orphan }, { "ours", 43200, true })
  root.auth.token.put_token_role("nomad", { path_suffix = "" })
  changes_once(1, { "nomad-roles", "--set", "period=86400" })
end)

tap.test("nomad-roles: other policies, in whatever order", function()
  put_policy("nomad", 'path "secret/*" { capabilities = ["read"] }')
  put_policy("nomad-server", 'path "auth/token/create/nomad" { capabilities = ["update"] }')
  put_policy("extra", 'path "extra/*" { capabilities = ["read"] }')
  local _, first = changes_once(1, { "nomad-roles", "--set", "policies=nomad,extra,default" })
  tap.equal(first.warnings, "")
  tap.equal(root.auth.token.read_token_role("nomad").data.allowed_policies, { "default", "extra", "nomad" })
  changes_once(1, { "nomad-roles", "--set", "policies=nomad,default" })
  tap.match(run({ "nomad-roles", "--check", "--set", "server_policies=nomad-servers" }).warnings, "no policy nomad%-servers:")
end)

tap.test("nomad-roles: wrong parameters, and tokens that may not", function()
  check_refused("period: 0 ms is not for a role", "nomad-roles", "--set", "period=0")
  check_refused("period: 1.5 s is not for a role", "nomad-roles", "--set", "period=1.5s")
  check_refused("period %(duration%)", "nomad-roles", "--set", "period=always")
  check_refused("policies: none at all means", "nomad-roles", "--set", "policies=[]")
  local weak = make_token { policies = { "default" }, ttl = "1h" }
  local answer = check_fails("403: .*permission denied", { "nomad-roles", as = weak })
  tap.match(answer.warnings, "may not list policies")
  file.present { folder .. "/bad", content = "s.of-nobody-at-all" }
  check_fails("does not know the token of this run", { "nomad-roles", as = folder .. "/bad" })
end)

-- ---- token-lifetime ----

local function tuning()
  local data = root.sys.read_mount_tuning("auth/token").data
  return { data.default_lease_ttl, data.max_lease_ttl }
end

tap.test("token-lifetime: 100 years, both values together", function()
  local before = tuning()
  local check, first = changes_once(1, { "token-lifetime" })
  tap.match(first.changes[1].target, "sys/auth/token/tune")
  for _, answer in ipairs { check, first } do
    tap.match(answer.warnings, "live for 100 years unless they are revoked")
  end
  tap.ok(before[1] ~= 3155760000)
  tap.equal(tuning(), { 3155760000, 3155760000 })
  changes_once(1, { "token-lifetime", "--set", "lifetime=768h" })
  tap.equal(tuning(), { 2764800, 2764800 })
end)

tap.test("token-lifetime: without sudo by the other path; without either not at all", function()
  put_policy("tuner", 'path "sys/mounts/auth/token/tune" { capabilities = ["read", "update"] }')
  local tuner = make_token { policies = { "tuner" }, ttl = "1h" }
  local _, first = changes_once(1, { "token-lifetime", "--set", "lifetime=30d", as = tuner })
  tap.match(first.changes[1].target, "sys/mounts/auth/token/tune")
  tap.equal(tuning(), { 2592000, 2592000 })
  put_policy("half", 'path "sys/auth/token/tune" { capabilities = ["read", "update"] }')
  for _, policy in ipairs { "default", "half" } do
    local weak = make_token { policies = { policy }, ttl = "1h" }
    check_fails("it needs read and update on sys/mounts/auth/token/tune", { "token-lifetime", as = weak })
  end
  put_policy("sudo", 'path "sys/auth/token/tune" { capabilities = ["read", "update", "sudo"] }')
  local sudo = make_token { policies = { "sudo" }, ttl = "1h" }
  _, first = changes_once(1, { "token-lifetime", "--set", "lifetime=40d", as = sudo })
  tap.match(first.changes[1].target, "sys/auth/token/tune")
end)

tap.test("token-lifetime: wrong values", function()
  for _, value in ipairs { "0", "1.5s", "300000d" } do
    check_refused("lifetime: .* is not for Vault.*292 years", "token-lifetime", "--set", "lifetime=" .. value)
  end
  check_refused("lifetime %(duration%)", "token-lifetime", "--set", "lifetime=100y")
end)

-- ---- revoke-token ----

-- What Vault knows of the accessor, or nil.
local function alive(accessor)
  local found, answer = pcall(root.auth.token.lookup_token_by_accessor, { accessor = accessor })
  if not found then tap.match(answer, "invalid accessor") end
  return found and answer.data or nil
end

-- A token that may make tokens, and a child of it: file, accessor, accessor of the child.
local function make_family()
  put_policy("parent", 'path "auth/token/create" { capabilities = ["update"] }')
  local path, accessor, token = make_token { policies = { "parent" }, ttl = "1h", display_name = "parent",
    meta = { owner = "alice" } }
  local _, child = make_token({ policies = { "parent" } }, server:client(token))
  return path, accessor, child
end

tap.test("revoke-token: by the token, wherever it is kept, with its children", function()
  local path, accessor, child = make_family()
  local check, first = changes_once(1, { "revoke-token", "--set", "token=file:" .. path })
  for _, answer in ipairs { check, first } do
    for _, part in ipairs { "accessor +" .. accessor, "name +token%-parent", "policies +default, parent", "metadata +owner=alice",
        "made +.* ago by auth/token/create", "lives +another", "children +at most 1: " } do
      tap.match(answer.log, part)
    end
    tap.match(answer.warnings, "cannot be brought back.*its children go too")
  end
  tap.equal({ alive(accessor), alive(child) }, {})
  tap.equal(first.changes[1].undo, false)
  path, accessor = make_token { policies = { "default" }, ttl = "1h" }
  changes_once(1, { "revoke-token", "--set", "token=env:VICTIM", victim = file.read(path) })
  tap.equal(alive(accessor), nil)
  path, accessor = make_token { policies = { "default" }, ttl = "1h" }
  changes_once(1, { "revoke-token", "--set", "token=-", stdin = file.read(path) .. "\n" })
  tap.equal(alive(accessor), nil)
end)

tap.test("revoke-token: by the accessor", function()
  local _, accessor, child = make_family()
  local _, first = changes_once(1, { "revoke-token", "--set", "accessor=" .. accessor })
  tap.match(first.log, "children +at most 1: ")
  tap.equal({ alive(accessor), alive(child) }, {})
  local again = run { "revoke-token", "--set", "accessor=" .. accessor }
  tap.equal(again.code, 0)
  tap.match(again.said, "Vault knows no such token")
end)

tap.test("revoke-token: orphan=true leaves the children", function()
  local path, accessor, child = make_family()
  local _, first = changes_once(1, { "revoke-token", "--set", "token=file:" .. path, "--set", "orphan=true" })
  tap.match(first.log, "children +stay alive, as orphans")
  tap.ok(not first.warnings:find "children")
  tap.equal({ alive(accessor), alive(child).orphan }, { nil, true })
  _, first = changes_once(1, { "revoke-token", "--set", "accessor=" .. child })
  tap.match(first.log, "children +none")
end)

tap.test("revoke-token: what does not go together", function()
  local path, accessor, token = make_token { policies = { "default" }, ttl = "1h" }
  assert(token)
  check_refused("which token%?", "revoke-token")
  check_refused("which token%?", "revoke-token", "--set", "accessor=")
  check_refused("both given", "revoke-token", "--set", "token=file:" .. path, "--set", "accessor=" .. accessor)
  check_refused("only together with its children.*give the token itself", "revoke-token", "--set", "accessor=" .. accessor,
    "--set", "orphan=true")
  check_refused("a secret is never given itself", "revoke-token", "--set", "token=" .. file.read(path))
  check_refused("looks like a token", "revoke-token", "--set", "accessor=" .. file.read(path))
  tap.ok(alive(accessor))
end)

tap.test("revoke-token: the token of the run itself only when asked for", function()
  put_policy("revoker", [[path "auth/token/lookup" { capabilities = ["update"] }
    path "auth/token/lookup-accessor" { capabilities = ["update"] }
    path "auth/token/revoke" { capabilities = ["update"] }
    path "auth/token/revoke-accessor" { capabilities = ["update"] }]])
  local path, accessor = make_token { policies = { "revoker" }, ttl = "1h" }
  for _, option in ipairs { "--check", "--yes" } do
    local answer = check_fails("the token that this run itself uses.*own=true",
      { "revoke-token", "--set", "accessor=" .. accessor, option, as = path })
    tap.match(answer.log, "children +not known: to list tokens takes sudo")
  end
  local own = run { "revoke-token", "--set", "accessor=" .. accessor, "--set", "own=true", "--yes", as = path }
  tap.equal({ own.code, #own.changes }, { 0, 1 }, own.said)
  tap.match(own.warnings, "the token of this run is gone with it")
  tap.equal(alive(accessor), nil)
  check_fails("does not know the token of this run", { "revoke-token", "--set", "accessor=" .. accessor, as = path })
end)

tap.test("revoke-token: no permission is not taken for no token", function()
  local weak = make_token { policies = { "default" }, ttl = "1h" }
  local path, accessor = make_token { policies = { "default" }, ttl = "1h" }
  check_fails("403: permission denied", { "revoke-token", "--set", "accessor=" .. accessor, "--yes", as = weak })
  check_fails("403: permission denied", { "revoke-token", "--set", "token=file:" .. path, "--yes", as = weak })
  check_fails("403: permission denied", { "revoke-token", "--set", "accessor=of-nobody", "--yes", as = weak })
  put_policy("looker", 'path "auth/token/lookup-accessor" { capabilities = ["update"] }')
  local looker = make_token { policies = { "looker" }, ttl = "1h" }
  local answer = run { "revoke-token", "--set", "accessor=" .. accessor, "--yes", as = looker }
  tap.equal({ answer.code, #answer.changes, answer.changes[1].status }, { 1, 1, "failed" }, answer.said)
  tap.ok(alive(accessor))
end)

tap.test("revoke-token: a batch token cannot be revoked", function()
  local path = make_token { policies = { "default" }, ttl = "1h", type = "batch" }
  check_fails("batch token, which Vault cannot revoke.*it ends in", { "revoke-token", "--set", "token=file:" .. path, "--yes" })
end)

-- Runs it on a terminal and answers the question.
local function answer_with(word, accessor, options)
  local script = [[set timeout 60
    spawn -noecho sh -c {exec "$MOONBOOK" run vault/revoke-token --set accessor="$ACCESSOR" $OPTIONS}
    expect -re {(N\]|uit:) $} { send "$env(WORD)\r" } timeout { exit 9 }
    expect eof
    exit [lindex [wait] 3] ]]
  return host.run { "expect", "-c", script, reads = true, ok = true, env = { PATH = os.getenv "PATH", WORD = word, TERM = "dumb",
    MOONBOOK = os.getenv "MOONBOOK" or "build/moonbook", ACCESSOR = accessor, OPTIONS = options or "",
    XDG_STATE_HOME = folder .. "/state", VAULT_ADDR = server.url, VAULT_TOKEN = server.token,
    ASAN_OPTIONS = os.getenv "ASAN_OPTIONS" } }
end

tap.test("revoke-token: asks first, and without a terminal does nothing", function()
  local _, accessor = make_token { policies = { "default" }, ttl = "1h" }
  check_fails("no terminal to ask on.*%-%-yes", { "revoke-token", "--set", "accessor=" .. accessor })
  local no = answer_with("n", accessor)
  tap.equal(no.code, 0, no.stdout)
  tap.match(no.stdout, "revoke the token " .. accessor .. " of token%? %[y/N%] n.*not revoked.*changed: 0")
  local declined = answer_with("n", accessor, "--yes --step") -- the other question: that of the gate
  tap.equal(declined.code, 0, declined.stdout)
  tap.ok(alive(accessor))
  local yes = answer_with("y", accessor)
  tap.equal(yes.code, 0, yes.stdout)
  tap.match(yes.stdout, "changed: 1")
  tap.equal(alive(accessor), nil)
end)

tap.finish()
