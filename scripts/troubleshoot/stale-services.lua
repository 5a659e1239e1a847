-- Deregisters what Nomad registered in Consul and nobody took away: a host changes its address, its Consul agent stays a
-- member under the same name, and the old registration with it. Each is deregistered through the agent that registered it,
-- over ssh; any other agent answers that it knows no such service, and Consul's catalog alone would be told again by the
-- agent. What is live is never touched: the node itself is asked before.

local registrations = require "registrations"

local AT_ONCE = 8 -- hosts that are acted on at a time
local SYNC = 130 -- seconds: an agent tells the catalog all that it has every one to two minutes, in a cluster of up to 128
local GONE_WITHIN = 20 -- seconds that the catalog may take to show what was deregistered

-- ---- whom to ask ----

-- What registrations.look needs to know.
local function make_source(p)
  local function with_token(module) return p.token and module { token = p.token } or module end
  local gone, from = {}, { patterns = p.services, timeout = p.patience, nomad = nomad }
  for _, name in ipairs(p.gone) do gone[name] = true end
  from.gone, from.by_name = gone, p.reach == "name"
  from.consul = with_token(consul)
  local addresses = {}
  if p.reach == "address" then
    for _, node in ipairs(from.consul.catalog.list_nodes()) do addresses[node.Node] = node.Address end
  end
  function from.ssh_name(node) return p.hosts[node] or addresses[node] or node end
  function from.client_of(node)
    local there = host(from.ssh_name(node))
    return { consul = with_token(there.consul), nomad = there.nomad }
  end
  return from
end

-- ---- what is shown ----

-- Two lines each: an id alone is 46 wide.
local function show(title, entries)
  local rows = { { "node", title } }
  for _, entry in ipairs(entries) do
    rows[#rows + 1] = { entry.node, entry.id }
    rows[#rows + 1] = { "", ("at %s, but %s"):format(entry.address, entry.why) }
  end
  columns(rows)
end

local function count(number, what)
  return ("%d %s%s"):format(number, what, number == 1 and "" or "s")
end

local function tell(look)
  if not look.nomad then
    log "Nomad's servers were not asked (NOMAD_ADDR says where they are): Consul alone tells which nodes to look at"
  end
  if #look.kept > 0 then
    show("left alone", look.kept)
  end
  if #look.stale > 0 then
    show("stale", look.stale)
  else
    log(("%s is stale among %s of %s"):format(next(look.problems) and "none that can be judged" or "none",
      count(look.seen, "registration"), count(look.nodes, "node")))
  end
end

-- ---- deregistering ----

-- Where the agent does not know what the catalog has under its name, the catalog was not told of the end.
local NOT_HELD = "its agent does not have it any more, but Consul's servers did not let it take it out of the catalog"

local function hint_acl(entry)
  return ('ACLs blocked the sync: give the token of the agent on %s (acl.tokens.agent or default) service:write on "%s"; ' ..
    "it tries again within two minutes"):format(entry.node, entry.service)
end

-- The nodes that have that id, for who asked the wrong one.
local function find_owners(from, entry)
  local owners = {}
  for _, row in ipairs(from.consul.catalog.list_service_nodes(entry.service)) do
    if row.ServiceID == entry.id then owners[#owners + 1] = row.Node end
  end
  return #owners > 0 and table.concat(owners, ", ") or "no node"
end

-- True where the request went out and was answered; not so under --check, or where --step declined it.
local function deregister(from, entry)
  if entry.by == "catalog" then
    return from.consul.catalog.deregister_entity { Node = entry.node, ServiceID = entry.id } == true
  end
  if not entry.held then
    error { message = NOT_HELD, hint = hint_acl(entry) }
  end
  local done, answer = pcall(from.client_of(entry.node).consul.agent.deregister_service, entry.id, { timeout = from.timeout })
  if done then return answer == true end
  if answer.status == 404 or tostring(answer.message):find "Unknown service" then
    answer.message = ("the agent that %s leads to does not know it; the catalog has it of %s")
      :format(from.ssh_name(entry.node), find_owners(from, entry))
    answer.hint = ("say how ssh reaches %s: --set hosts.%s=NAME; or it is gone already: run this again")
      :format(entry.node, entry.node)
  end
  error(answer, 0)
end

-- Each node's in their order, several nodes at a time. What fails is noted, and does not hold up the others.
local function deregister_all(from, entries)
  local nodes, of_node = {}, {}
  for _, entry in ipairs(entries) do
    if not of_node[entry.node] then
      of_node[entry.node] = {}
      nodes[#nodes + 1] = entry.node
    end
    table.insert(of_node[entry.node], entry)
  end
  parallel(nodes, function(node)
    for _, entry in ipairs(of_node[node]) do
      local done, answer = pcall(deregister, from, entry)
      if done then entry.sent = answer else entry.problem = answer end
      if not done and answer.kind == "cancelled" then error(answer, 0) end
    end
  end, { limit = AT_ONCE })
end

-- ---- confirming ----

-- Longer in large clusters, where agents tell less often.
local function settle_time(p, nodes)
  return p.settle or SYNC * math.max(1, math.ceil(math.log(math.max(nodes, 1), 2) - 7) + 1)
end

-- Why is it in the catalog after all?
local function explain(from, entry, came_back)
  if entry.by == "catalog" then
    return { message = "it is in the catalog again: the agent of " .. entry.node .. " lives, and told it",
             hint = "leave the node out of gone=, and run this again" }
  end
  local asked, held = pcall(from.client_of(entry.node).consul.agent.list_agent_services, { timeout = from.timeout })
  if not asked then return held end
  if held[entry.id] then
    return { message = "it was registered again: something on " .. entry.node .. " keeps it alive",
             hint = ("a Nomad there still advertises %s? See its nomad.hcl, and journalctl -u nomad"):format(entry.address) }
  end
  if came_back then return { message = "it came back to the catalog; " .. NOT_HELD, hint = hint_acl(entry) } end
  return { message = NOT_HELD, hint = hint_acl(entry) }
end

-- The ids of the node that the catalog has, and a number with which to ask what changed since.
local function ids_of(from, node, options)
  local answer, meta = from.consul.catalog.read_node_services(node, options)
  return answer and answer.Services or {}, meta and meta.index
end

-- Watches the catalog's word on one node until `settle` seconds are over; an entry that is there at the end of the first
-- while, or comes back later, is a problem.
local function watch_node(from, node, entries, settle)
  local start = os.time()
  wait { function()
    local ids = ids_of(from, node)
    for _, entry in ipairs(entries) do
      if ids[entry.id] and os.time() - start < GONE_WITHIN then return false end
    end
    return true
  end, timeout = GONE_WITHIN + 30, every = "500ms", what = "the catalog of " .. node }
  local ids, index = ids_of(from, node)
  local away = {}
  for _, entry in ipairs(entries) do
    if ids[entry.id] then entry.problem = explain(from, entry, false) else away[#away + 1] = entry end
  end
  while #away > 0 and os.time() - start < settle do
    local left = math.max(1, settle - (os.time() - start))
    ids, index = ids_of(from, node, { index = index, wait = ("%ds"):format(math.min(left, 60)) })
    for at = #away, 1, -1 do
      if ids[away[at].id] then
        away[at].problem = explain(from, away[at], true)
        table.remove(away, at)
      end
    end
  end
end

local function confirm_all(p, from, entries, nodes)
  local of_node, names = {}, {}
  for _, entry in ipairs(entries) do
    if entry.sent and not of_node[entry.node] then
      of_node[entry.node] = {}
      names[#names + 1] = entry.node
    end
    if entry.sent then table.insert(of_node[entry.node], entry) end
  end
  if #names == 0 then return end
  local settle = settle_time(p, nodes)
  log(("deregistered; the catalog is watched for %s, past the agents' next sync"):format(duration.format(settle)))
  parallel(names, function(node) watch_node(from, node, of_node[node], settle) end)
end

-- ---- the end ----

local function describe(what, problem)
  return ("%s: %s"):format(what, type(problem) == "table" and problem.message or tostring(problem))
end

-- One error for all: what failed, each with its reason, and the next step of the first.
local function finish(entries, unasked)
  local lines, hint, done = {}, nil, 0
  local function add(what, problem)
    lines[#lines + 1] = describe(what, problem)
    hint = hint or type(problem) == "table" and problem.hint or nil
  end
  for _, entry in ipairs(entries) do
    if entry.problem then add(entry.id .. " of " .. entry.node, entry.problem) end
    if entry.sent and not entry.problem then done = done + 1 end
  end
  local nodes = {}
  for node in pairs(unasked) do nodes[#nodes + 1] = node end
  table.sort(nodes)
  for _, node in ipairs(nodes) do add(("node %s could not be looked at"):format(node), unasked[node]) end
  local gone = done > 0 and count(done, "registration") .. " gone, and stayed away" or "nothing deregistered"
  if #lines > 0 then
    error { message = ("%s; what is left:\n  %s"):format(gone, table.concat(lines, "\n  ")), hint = hint }
  end
  if done > 0 then log(gone) end
end

local function why_kept(look, entry)
  for _, kept in ipairs(look.kept) do
    if kept.node == entry.node and (kept.id == entry.id or kept.id:find "^all ") then return kept.why end
  end
  return "it is not stale any more"
end

-- Of what was found before the question, what still is stale now: minutes may have passed. `problems` gets the nodes that do
-- not answer any more.
local function still_stale(from, entries, problems)
  local nodes, now, list = {}, {}, {}
  for _, entry in ipairs(entries) do nodes[entry.node] = true end
  local look = registrations.look(from, nodes)
  for node, problem in pairs(look.problems) do problems[node] = problem end
  for _, entry in ipairs(look.stale) do now[entry.node .. "\n" .. entry.id] = entry end
  for _, entry in ipairs(entries) do
    local found = now[entry.node .. "\n" .. entry.id]
    if found then
      list[#list + 1] = found
    elseif not problems[entry.node] then
      log(("%s of %s is left alone: %s"):format(entry.id, entry.node, why_kept(look, entry)))
    end
  end
  return list
end

return {
  about = "deregister what Nomad left behind in Consul when a host changed its address",
  params = {
    { "services", "list(string)", default = { "_nomad-client-*", "_nomad-server-*" },
      about = "ids to look at, with * and ?; _nomad-task-* for what allocations registered" },
    { "token", "secret", about = "Consul's token, by where it is: prompt, pass:NAME, file:PATH; default: the environment's" },
    { "hosts", "map(host)", default = {},
      about = "how ssh reaches a node that has another name there: hosts.NODE=NAME; local for this machine" },
    { "reach", "enum(name,address)", default = "name", about = "how it reaches the others: by name, or address in Consul" },
    { "gone", "list(string)", default = {}, about = "nodes that do not answer and will not come back, as you know" },
    { "patience", "duration", default = "15s", about = "how long one agent may take to answer" },
    { "settle", "duration", about = "how long each must stay away; default: past the agents' next sync, 2m10s" },
  },
  run = function(p)
    local from, look
    step("look", function()
      from = make_source(p)
      look = registrations.look(from)
      tell(look)
    end)
    local entries = look.stale
    if #entries > 0 and not confirm(("deregister %s?"):format(count(#entries, "stale registration"))) then
      log "nothing deregistered"
      return
    end
    if #entries > 0 then
      step("deregister", function()
        entries = still_stale(from, entries, look.problems)
        deregister_all(from, entries)
      end)
      step("confirm", function() confirm_all(p, from, entries, look.nodes) end)
    end
    finish(entries, look.problems)
  end,
}
