-- `needs` of a runbook: checked when it is loaded, shown without asking anybody, asked of the servers before a run.
-- Against tests/lua/http_server.py, which answers as the products do. Run from the repository.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"

local folder = os.tmpname()
os.remove(folder)
file.directory { folder, mode = "0700" }
local home <close> = setmetatable({}, { __close = function() host.run { "rm", "-r", folder, reads = true } end })
assert(home)

local DEAD = "http://127.0.0.1:1"

-- A server that answers path -> {status, value}; the value of nil is no body.
local function serve(answers)
  local lines = {}
  for path, answer in pairs(answers) do
    lines[#lines + 1] = json.encode { method = "GET", path = path, status = answer[1], response = answer[2] or json.null,
      response_headers = { ["Content-Type"] = type(answer[2]) == "table" and "application/json" or "text/plain" } }
  end
  local path = folder .. "/answers.jsonl"
  file.present { path, content = table.concat(lines, "\n") .. "\n" }
  return servers.start("--replay=" .. path)
end

-- Runs the program on a runbook that needs this; {code, stdout, stderr, said, runs = how many are on record}.
local function moonbook(command, needs, addresses, ...)
  local path = folder .. "/needy.lua"
  file.present { path, content = [[return { about = "needs something", needs = ]] .. needs .. [[,
    params = { { "count", "integer", default = 1 } },
    run = function() step("only step", function() print("it ran") end) end }]] }
  local words = { command, path, ... }
  words.env = { PATH = os.getenv "PATH", HOME = folder, XDG_STATE_HOME = folder .. "/state", CONSUL_HTTP_ADDR = DEAD,
    NOMAD_ADDR = DEAD, VAULT_ADDR = DEAD, ASAN_OPTIONS = os.getenv "ASAN_OPTIONS" }
  for name, value in pairs(addresses or {}) do words.env[name] = value end
  local answer = servers.moonbook(words)
  answer.said = answer.stdout .. answer.stderr
  answer.runs = #file.glob(folder .. "/state/moonbook/runs/*")
  host.run { "rm", "-rf", folder .. "/state", reads = true }
  return answer
end

local function check_refused(answer, code, ...)
  for _, pattern in ipairs { ... } do tap.match(answer.said, pattern) end
  tap.equal({ answer.code, answer.runs }, { code, 0 }, answer.said)
  tap.ok(not answer.said:find "it ran" and not answer.said:find "only step", answer.said)
end

tap.test("show tells of it and asks no server", function()
  local text = moonbook("show", '{ vault = ">= 1.0", consul = ">= 1.7, < 2" }')
  tap.match(text.stdout, "\nneeds:\n  Consul >= 1.7, < 2\n  Vault >= 1.0\n")
  local shown = json.decode(moonbook("show", '{ nomad = "~> 1.1" }', {}, "--json").stdout)
  tap.equal(shown.needs, { nomad = "~> 1.1" })
  tap.equal(json.decode(moonbook("show", "nil", {}, "--json").stdout).needs, nil)
  tap.ok(not moonbook("show", "{}").stdout:find "needs:")
end)

tap.test("what is wrong with it is said when it is loaded", function()
  for needs, said in pairs {
    ['{ valt = ">= 1.0" }'] = 'needs.valt: there is no product "valt".*did you mean vault%?',
    ['{ postgres = ">= 1.0" }'] = "needs.postgres: .*products are consul, nomad, vault",
    ["{ vault = 1.8 }"] = "needs.vault is 1.8, but a constraint is text.*write \">= 1.9\"",
    ["{ vault = {} }"] = "needs.vault is table, but a constraint is text",
    ['{ vault = ">= 1.x" }'] = 'needs.vault: ">= 1.x" is no constraint.*operators are >= > <= < = != ~>',
    ['{ vault = "" }'] = 'needs.vault: "" is no constraint',
    ['{ vault = ">= 1.0\\0" }'] = 'needs.vault: ">= 1.0" is no constraint',
    ['{ ">= 1.0" }'] = "a value without a product, >= 1.0.*write needs = { PRODUCT = \">= 1.0\" }",
    ['">= 1.0"'] = "needs is a table of products and versions, not string",
  } do
    for _, command in ipairs { "run", "show" } do check_refused(moonbook(command, needs), 64, said) end
  end
end)

tap.test("servers that fit are asked, once, and the run goes on; under --check too", function()
  local server <close> = serve { ["/v1/sys/health"] = { 200, { sealed = false, version = "1.8.4+ent" } },
    ["/v1/agent/self"] = { 200, { Config = { Version = "1.8.7" } } } }
  local addresses = { VAULT_ADDR = server.url, CONSUL_HTTP_ADDR = server.url }
  for _, option in ipairs { "--yes", "--check" } do
    local answer = moonbook("run", '{ vault = ">= 1.8, < 1.9", consul = "~> 1.8.2" }', addresses, option)
    tap.equal({ answer.code, answer.stdout, answer.runs }, { 0, "it ran\n", 1 }, answer.said)
  end
  local asked = {}
  for _, request in ipairs(server:seen().requests) do asked[#asked + 1] = request.method .. " " .. request.path end
  tap.equal(asked, { "GET /v1/agent/self", "GET /v1/sys/health", "GET /v1/agent/self", "GET /v1/sys/health" })
end)

tap.test("a server that does not fit ends it before anything: which, where, what to do", function()
  local server <close> = serve { ["/v1/sys/health"] = { 200, { version = "1.8.4" } } }
  for _, option in ipairs { "--yes", "--check", "--json" } do
    local answer = moonbook("run", '{ vault = ">= 1.9" }', { VAULT_ADDR = server.url:gsub("//", "//me:hidden-word@") },
      option)
    check_refused(answer, 64, "needs Vault >= 1.9, the server at " .. server.url .. " %(from VAULT_ADDR%) is 1.8.4",
      "use a server that fits")
    tap.ok(not answer.said:find "hidden%-word", answer.said)
  end
  local answer = moonbook("run", '{ vault = "< 1.8" }', { VAULT_ADDR = server.url })
  check_refused(answer, 64, "needs Vault < 1.8")
end)

tap.test("Vault tells its version in whatever state it is", function()
  for _, status in ipairs { 429, 472, 473, 501, 503 } do
    local server <close> = serve { ["/v1/sys/health"] = { status, { sealed = status == 503, version = "1.9.0" } } }
    local answer = moonbook("run", '{ vault = "= 1.9" }', { VAULT_ADDR = server.url })
    tap.equal({ answer.code, answer.stdout }, { 0, "it ran\n" }, status .. ": " .. answer.said)
  end
  local other <close> = serve { ["/v1/sys/health"] = { 403, { errors = { "permission denied" } } },
    ["/v1/sys/seal-status"] = { 200, { version = "1.7.3" } } }
  check_refused(moonbook("run", '{ vault = ">= 1.9" }', { VAULT_ADDR = other.url }), 64, "is 1.7.3")
end)

tap.test("Consul: where the agent may not be asked, its servers' members tell", function()
  local function member(role, build) return { Name = role, Tags = { role = role, build = build } } end
  local server <close> = serve { ["/v1/agent/self"] = { 403, "Permission denied" },
    ["/v1/agent/members"] = { 200, { member("node", "1.2.0:"), member("consul", "1.10.3:c976ffd2"),
      member("consul", "1.9.1:ca5c3894"), { Name = "odd" } } } }
  check_refused(moonbook("run", '{ consul = ">= 1.9.2" }', { CONSUL_HTTP_ADDR = server.url }), 64,
    "needs Consul >= 1.9.2, the server at " .. server.url .. " %(from CONSUL_HTTP_ADDR%) is 1.9.1")
  local closed <close> = serve { ["/v1/agent/self"] = { 403, "Permission denied" }, ["/v1/agent/members"] = { 200, {} } }
  check_refused(moonbook("run", '{ consul = ">= 1.7" }', { CONSUL_HTTP_ADDR = closed.url }), 1,
    "needs Consul >= 1.7, but the version of its server is not known", "403: Permission denied",
    "no token was set: set CONSUL_HTTP_TOKEN")
end)

tap.test("Nomad: servers, agents of clients, members", function()
  local function fits(answers, version)
    local server <close> = serve(answers)
    local answer = moonbook("run", '{ nomad = "= ' .. version .. '" }', { NOMAD_ADDR = server.url })
    tap.equal(answer.code, 0, answer.said)
  end
  local config = { Version = { Version = "1.1.2", VersionPrerelease = "" } }
  fits({ ["/v1/agent/self"] = { 200, { config = config, member = { Tags = { build = "1.1.2-beta1" } } } } }, "1.1.2-beta1")
  fits({ ["/v1/agent/self"] = { 200, { config = config, member = { Name = "", Tags = json.null } } } }, "1.1.2")
  fits({ ["/v1/agent/self"] = { 403, "Permission denied" }, ["/v1/agent/members"] = { 200,
    { Members = { { Tags = { role = "nomad", build = "1.3.1" } } } } } }, "1.3.1")
end)

tap.test("a server that cannot be asked, or says nothing, is a clear error", function()
  check_refused(moonbook("run", '{ vault = ">= 1.0" }'), 1, "needs Vault >= 1.0, but the version of its server is not known",
    "cannot connect to 127.0.0.1:1", "the address is from VAULT_ADDR")
  local mute <close> = serve { ["/v1/sys/health"] = { 200, { sealed = false, version = "" } },
    ["/v1/sys/seal-status"] = { 200, { sealed = false } } }
  check_refused(moonbook("run", '{ vault = ">= 1.0" }', { VAULT_ADDR = mute.url }), 1,
    "no answer of Vault names its version")
  local odd <close> = serve { ["/v1/sys/health"] = { 200, { version = "Vault, newest" } } }
  check_refused(moonbook("run", '{ vault = ">= 1.0" }', { VAULT_ADDR = odd.url }), 1,
    'says that it is "Vault, newest", which is no version')
end)

tap.test("wrong parameters are refused before a server is asked", function()
  check_refused(moonbook("run", '{ vault = ">= 1.0" }', {}, "--set", "count=many"), 64, "count %(integer%)")
end)

tap.finish()
