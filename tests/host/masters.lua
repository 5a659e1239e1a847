-- troubleshoot/masters on three real Consul servers, from outside over ssh: who is well, who leads, whose Vault is sealed; what
-- is wrong comes last, with why. The Vaults are files that an HTTP server gives out as a Vault answers.
-- As root: `MOONBOOK_PATH=$PWD/tests build/moonbook tests/host/masters.lua`
-- lab: --acls srv1 srv2 srv3 c1 c2
local tap = require "tap"
local lab = require "lab"
local outside = require "outside"

local SERVERS = { "srv1", "srv2", "srv3" }
local c = consul { addr = lab.server() .. ":8500", token = lab.token "management" }

local function masters(set, options)
  local words = options or {}
  table.move({ "run", "troubleshoot/masters" }, 1, 2, #words + 1, words)
  for name, value in pairs(set) do table.move({ "--set", name .. "=" .. value }, 1, 2, #words + 1, words) end
  if words.token == nil then words.token = "management" end
  words.env = { VAULT_ADDR = "http://127.0.0.1:8200" }
  return outside.run(words)
end

local function all_well()
  wait { function() return masters({ services = "consul" }).code == 0 end, timeout = "120s", every = "500ms",
    what = "all three to be well" }
end

all_well()

tap.test("a row for each server, who leads, how many peers", function()
  local run = masters { services = "consul" }
  tap.equal(run.code, 0, run.said)
  tap.match(run.stdout, "server +consul +leads +peers +sealed\n")
  for _, name in ipairs(SERVERS) do tap.match(run.stdout, name .. " +active +%S+ +3 +%-\n") end
  local leader = c.status.read_leader():match "^[^:]+"
  for _, name in ipairs(SERVERS) do
    tap.match(run.stdout, name .. " +active +" .. (lab.at(name).address == leader and "consul" or "%-") .. " ")
  end
end)

tap.test("the token may come from a file; one that may read nothing leads to what to do", function()
  local path = outside.token_file "read-only"
  tap.equal(masters({ services = "consul", token = "file:" .. path }, { token = false }).code, 0)
  local run = masters({ services = "consul" }, { token = false })
  tap.equal(run.code, 1)
  tap.match(run.stderr, "Consul shows no server of its own")
  tap.match(run.stderr, "%-%-set servers=srv1,srv2,srv3")
end)

tap.test("the one with a problem comes last, with why; who does not answer holds up nobody", function()
  lab.at("srv2"):sh "systemctl stop consul"
  -- Both others must have noticed, and agree on who leads now.
  wait { function()
    for _, name in ipairs { "srv1", "srv3" } do
      local leader = consul { addr = lab.at(name).address .. ":8500" }.status.read_leader():match "^[^:]*"
      if leader == "" or leader == lab.at("srv2").address then return false end
    end
    return true
  end, timeout = "120s", every = "200ms", what = "another leader" }
  local run = masters { services = "consul", servers = "10.213.77.250,srv2,srv1,srv3" }
  lab.at("srv2"):sh "systemctl start consul"
  tap.equal(run.code, 1)
  tap.match(run.stdout, "srv1 [^\n]+\nsrv3 [^\n]+\n10%.213%.77%.250 +%-[^\n]+\nsrv2 +%l+ ")
  tap.match(run.stderr, "2 of 4 servers have a problem:\n  10%.213%.77%.250: [^\n]*:22[^\n]*\n  srv2: consul is %l+")
  all_well()
end)

tap.test("two servers of three that are away: no leader", function()
  for _, name in ipairs { "srv2", "srv3" } do lab.at(name):sh "systemctl kill -s KILL consul; systemctl stop consul" end
  wait { function() return lab.consul.status.read_leader { retries = 0 } == "" end, timeout = "120s", every = "200ms",
    what = "the leader to be lost" }
  local run = masters { services = "consul", servers = "srv1,srv2,srv3" }
  tap.equal(run.code, 1)
  tap.match(run.stderr, "3 of 3 servers have a problem:\n  srv1: Consul has no leader\n")
  for _, name in ipairs { "srv2", "srv3" } do lab.at(name):sh "systemctl reset-failed consul; systemctl start consul" end
  all_well()
end)

-- ---- Vault ----

-- A unit vault.service: one that listens and says whether it is sealed, or one that nobody can ask.
local function be_vault(name, sealed)
  local server = lab.at(name)
  server:write("/run/vault/v1/sys/seal-status", ([[{"type": "shamir", "initialized": true, "sealed": %s, "t": 3, "n": 5,
    "progress": 0, "version": "1.8.0"}]]):format(sealed == true))
  server:write("/run/systemd/system/vault.service", "[Service]\nExecStart=" .. (sealed == nil and "/bin/sleep infinity"
    or "/usr/bin/python3 -m http.server --directory /run/vault 8200") .. "\n")
  server:sh "systemctl daemon-reload; systemctl restart vault"
  if sealed == nil then return end
  wait { function() return http.get("http://" .. server.address .. ":8200/v1/sys/seal-status").status == 200 end,
    timeout = "90s", every = "100ms", what = "the Vault of " .. name }
end

be_vault("srv1", false)
be_vault("srv2", true)
be_vault("srv3", nil)

tap.test("a sealed Vault is a problem; one that cannot be asked is, too", function()
  local run = masters { services = "consul,vault" }
  tap.equal(run.code, 1)
  tap.match(run.stdout, ("srv1 W no\nsrv2 W SEALED\nsrv3 W %-\n"):gsub("W", "+active +active +%%S+ +3 +"))
  tap.match(run.stderr, "srv2: Vault is sealed: vault operator unseal on it")
  tap.match(run.stderr, "srv3: Vault: cannot connect to " .. lab.at("srv3").address:gsub("%.", "%%.") .. ":8200")
end)

tap.test("what Vault told Consul stands in for one that cannot be asked from here", function()
  for _, case in ipairs { { "passing", "no" }, { "critical", "SEALED" } } do
    c.catalog.register_entity { Node = "srv3", Address = lab.at("srv3").address, SkipNodeUpdate = true,
      Service = { ID = "vault:8200", Service = "vault", Port = 8200 },
      Check = { Node = "srv3", CheckID = "vault-sealed", Name = "Vault Sealed Status", ServiceID = "vault:8200",
        Status = case[1] } }
    tap.match(masters({ services = "consul,vault" }).stdout, "srv3 +active +active +%S+ +3 +" .. case[2] .. "\n")
  end
end)

c.catalog.deregister_entity { Node = "srv3", ServiceID = "vault:8200" }
for _, name in ipairs(SERVERS) do
  lab.at(name):sh "systemctl stop vault; rm -r /run/systemd/system/vault.service /run/vault; systemctl daemon-reload"
end
tap.finish()
