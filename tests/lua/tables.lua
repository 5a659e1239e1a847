-- The endpoint tables: complete against the catalogues, callable row by row, and honest about what changes something.
-- Run from the repository.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"
local server <close> = servers.start()

local PRODUCTS = { "consul", "nomad", "vault" }

local rows, by_name = {}, {}
for _, entry in ipairs(json.decode(servers.moonbook { "api", "--json" }.stdout)) do
  if entry.kind == "endpoint" then
    rows[#rows + 1] = entry
    tap.ok(not by_name[entry.name], entry.name .. " once")
    by_name[entry.name] = entry
  end
end

-- The catalogue of a product, without what needs an enterprise server.
local function catalogue(product)
  local list, columns = {}, nil
  for line in io.lines("tests/data/api/" .. product .. ".tsv") do
    local fields = {}
    for field in (line .. "\t"):gmatch "([^\t]*)\t" do fields[#fields + 1] = field end
    if not columns then
      columns = fields
    else
      local row = {}
      for index, column in ipairs(columns) do row[column] = fields[index] end
      if row.since ~= "ent" then list[#list + 1] = row end
    end
  end
  return list
end

-- The name that a row has in Lua.
local function lua_name(product, row)
  local group = row.group:gsub("^secret/", ""):gsub("/", ".")
  return (product .. "." .. group .. "." .. row.name):gsub("-", "_")
end

local function has_all(words, list)
  local known = {}
  for word in (list or ""):gmatch "[^,]+" do known[word:gsub("[*!]$", "")] = true end
  for word in words:gmatch "[^,]+" do
    if not known[word:gsub("%*$", "")] then return false, word end
  end
  return true
end

for _, product in ipairs(PRODUCTS) do
  tap.test(product .. ": nothing of the catalogue is missing, and nothing was made up", function()
    local found, count = {}, 0
    for _, row in ipairs(rows) do
      if row.product == product then
        local key = row.method .. " " .. row.path
        found[key] = found[key] or {}
        table.insert(found[key], row)
        count = count + 1
      end
    end
    local wanted = catalogue(product)
    for _, row in ipairs(wanted) do
      local match
      for _, each in ipairs(found[row.method .. " " .. row.path] or {}) do
        if each.name == lua_name(product, row) then match = each end
      end
      tap.ok(match, row.method .. " " .. row.path)
      tap.ok(has_all(row.query, match.query), row.name .. ": query")
      tap.ok(has_all(row.body, match.body), row.name .. ": body")
      tap.equal(match.blocking, row.blocking == "yes", row.name)
      tap.equal(match.since or "", row.since, row.name)
      tap.equal(match.doc, row.doc, row.name)
    end
    tap.equal(count, #wanted)
    tap.ok(count > 100)
  end)
end

tap.test("moonbook api tells of one, of some, of all", function()
  local function ask(...)
    local run = servers.moonbook { "api", ... }
    return run.stdout, run.code, run.stderr
  end
  local one = ask "consul.kv.read_key"
  tap.match(one, "^consul.kv.read_key%(key, {recurse=")
  tap.match(one, "GET /v1/kv/{key}")
  tap.match(one, "effect +read")
  tap.match(ask "vault.kv_v2.read_secret", "mount +secret")
  tap.match(ask "vault.read", "^vault.logical.read%(path, {...}%)")
  tap.match(ask "vault.write", "vault.logical.write%(path, data%)")
  tap.match(ask "file.present", "example: ")
  local all = ask()
  for _, name in ipairs { "apt", "consul", "file", "nomad", "systemd", "vault" } do
    tap.match(all, "\n" .. name .. ": ")
  end
  tap.match(ask "read_leaf", "consul.agent.read_leaf_certificate") -- no such name: found by a part of it
  local _, code, err = ask "no-such-thing"
  tap.equal(code, 64)
  tap.match(err, 'is called "no%-such%-thing"')
  local found = json.decode((ask("--json", "nomad.jobs.plan_job")))
  tap.equal({ #found, found[1].product, found[1].method, found[1].path, found[1].effect },
    { 1, "nomad", "POST", "/v1/job/{job_id}/plan", "read" })
end)

-- ---- calling each ----

-- Lua that calls every row with dummy arguments, one after another; it prints how many calls there were.
local CALL_ALL = [==[
  local clients = { consul = consul { addr = ADDRESS, token = "" }, nomad = nomad { addr = ADDRESS, token = "" },
    vault = vault { addr = ADDRESS, token = "" } }
  local count = 0
  for _, row in ipairs(ROWS) do
    local fn = clients
    for part in row.name:gmatch "[^.]+" do fn = fn[part] end
    local arguments, options = {}, { retries = 0 }
    for parameter in row.path:gmatch "{([^}]+)}" do
      if parameter ~= "mount" or not row.mount then arguments[#arguments + 1] = "x-" .. parameter end
    end
    if row.body == "raw" then
      options.body = "bytes"
    elseif row.body == "{key}" then
      arguments[#arguments + 1] = { a = "b" }
    else
      for field in (row.body or ""):gmatch "([^,]+)%*" do options[field] = "y" end
    end
    arguments[#arguments + 1] = options
    if row.returns ~= "websocket" then
      local done, answer = pcall(fn, table.unpack(arguments))
      if done and type(answer) == "userdata" and row.returns == "stream" then answer:close() end
      count = count + 1
    end
  end
  print("calls", count)
]==]

-- Runs it; returns the requests that left, as {["GET /path"] = {request, ...}}, and the run.
local function call_all(...)
  local before = #server:seen().requests
  local chunk = "local ROWS = json.decode(file.read(os.getenv 'ROWS'))\nlocal ADDRESS = '" .. server.url .. "'\n" .. CALL_ALL
  local path = os.tmpname()
  local ordered = {} -- reads first: a predicted change makes a read of the same path unknown
  for _, reads in ipairs { true, false } do
    for _, row in ipairs(rows) do
      if (row.effect == "read") == reads then ordered[#ordered + 1] = row end
    end
  end
  file.present { path, content = json.encode(ordered) }
  local words = { ... }
  table.move({ "-e", chunk }, 1, 2, #words + 1, words)
  words.env = { ROWS = path, PATH = os.getenv "PATH", HOME = "/nonexistent", XDG_STATE_HOME = os.getenv "XDG_STATE_HOME" }
  local run = servers.moonbook(words)
  os.remove(path)
  local sent, requests = {}, server:seen().requests
  for index = before + 1, #requests do
    local request = requests[index]
    local key = request.method .. " " .. request.path:gsub("%?.*", "")
    sent[key] = sent[key] or {}
    table.insert(sent[key], request)
  end
  return sent, run
end

-- What a call of the row with those arguments asks for.
local function dummy(row)
  local path = row.path:gsub("{([^}]+)}", function(name)
    return name == "mount" and row.mount or "x-" .. name
  end)
  return row.method .. " " .. path
end

tap.test("every function sends the request of its row", function()
  local sent, run = call_all()
  tap.match(run.stdout .. run.stderr, "calls")
  for _, row in ipairs(rows) do
    if row.returns ~= "websocket" then
      tap.ok(sent[dummy(row)], row.name .. ": " .. dummy(row))
    end
  end
end)

-- POSTs that only read, and GETs that do not: the whole list, so that a slip in a table shows.
local POST_READS = [[
  consul.acl.preview_templated_policy consul.agent.authorize_connection consul.discovery_chain.compile_discovery_chain
  consul.internal.authorize_acl
  nomad.jobs.parse_job nomad.jobs.plan_job nomad.jobs.query_job_statuses nomad.jobs.validate_job
  nomad.search.search_fuzzy nomad.search.search_prefix
  vault.auth.approle.lookup_secret_id vault.auth.approle.lookup_secret_id_by_accessor vault.auth.token.lookup_self_post
  vault.auth.token.lookup_token vault.auth.token.lookup_token_by_accessor vault.identity.introspect_oidc_token
  vault.identity.lookup_entity vault.identity.lookup_group vault.identity.oidc_userinfo_post vault.pki.query_ocsp
  vault.ssh.list_roles_by_ip vault.sys.create_openapi vault.sys.decode_token vault.sys.generate_random
  vault.sys.generate_random_bytes vault.sys.generate_random_from_source vault.sys.generate_random_source_bytes
  vault.sys.hash_audit_value vault.sys.hash_data vault.sys.hash_data_with_algorithm vault.sys.lookup_lease
  vault.sys.lookup_wrapping vault.sys.read_capabilities vault.sys.read_capabilities_by_accessor
  vault.sys.read_self_capabilities vault.transit.decrypt vault.transit.generate_csr vault.transit.generate_random
  vault.transit.generate_random_bytes vault.transit.generate_random_from_source
  vault.transit.generate_random_source_bytes vault.transit.hash vault.transit.hash_with_algorithm vault.transit.hmac
  vault.transit.hmac_with_algorithm vault.transit.rewrap vault.transit.sign vault.transit.sign_with_algorithm
  vault.transit.verify vault.transit.verify_with_algorithm
]]
local GET_CHANGES = [[
  consul.agent.read_leaf_certificate nomad.client.exec_allocation nomad.client.gc_allocation nomad.client.gc_client
  nomad.jobs.run_job_action vault.auth.jwt.oidc_callback vault.database.generate_credentials
  vault.identity.generate_oidc_token vault.identity.oidc_authorize vault.pki.acme_new_nonce
  vault.pki.issuer_acme_new_nonce vault.pki.issuer_role_acme_new_nonce vault.pki.role_acme_new_nonce
  vault.pki.rotate_crl vault.pki.rotate_delta_crl vault.transit.back_up_key
]]

local function set(text)
  local words = {}
  for word in text:gmatch "%S+" do words[word] = true end
  return words
end

tap.test("the effect follows the method, but for those that are known not to", function()
  local post_reads, get_changes = set(POST_READS), set(GET_CHANGES)
  for _, row in ipairs(rows) do
    local reads = row.method == "GET" or row.method == "LIST" or row.method == "HEAD"
    if post_reads[row.name] or get_changes[row.name] then reads = not reads end
    tap.equal(row.effect == "read", reads, row.name)
    post_reads[row.name], get_changes[row.name] = nil, nil
  end
  tap.equal(next(post_reads), nil)
  tap.equal(next(get_changes), nil)
end)

tap.test("--check: only reads leave, whichever function is called", function()
  local sent, run = call_all("--check", "--json")
  tap.equal(run.code, 0, run.stderr)
  local reads, changes = {}, 0
  for _, row in ipairs(rows) do
    if row.effect == "read" then reads[dummy(row)] = true end
    if row.effect ~= "read" and row.returns ~= "websocket" then changes = changes + 1 end
  end
  for request in pairs(sent) do tap.ok(reads[request], request) end
  for request in pairs(reads) do
    tap.ok(sent[request] or request:find("/sys/events/subscribe/", 1, true), request)
  end
  local _, predicted = run.stdout:gsub('"status":"predicted"', "")
  tap.equal(predicted, changes)
end)

tap.test("a row that is not well formed ends the build", function()
  local lines = {}
  for line in io.lines "bindings/consul.tsv" do lines[#lines + 1] = line end
  local function build(...)
    local text = table.concat({ lines[1], ... }, "\n") .. "\n"
    local run = host.run { "awk", "-f", "bindings/rows.awk", stdin = text, reads = true, ok = { 0, 1 } }
    return run.code, run.stdout .. run.stderr
  end
  tap.equal((build(lines[2], lines[3])), 0)
  local function refuses(why, ...)
    local code, said = build(...)
    tap.equal(code, 1)
    tap.match(said, why)
  end
  refuses("is there twice", lines[2], lines[3], lines[2])
  refuses("columns, not 13", (lines[2]:gsub("\t", "", 1)))
  refuses("none of read, change, creates", (lines[2]:gsub("\tcreates\t", "\tboth\t")))
  refuses("PUT is no read", (lines[2]:gsub("\tcreates\t", "\tread\t")))
  refuses("returns page", (lines[2]:gsub("\tjson\t", "\tpage\t")))
end)

tap.finish()
