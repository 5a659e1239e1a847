-- What setup/join-client makes of other hosts' configurations: addresses, roles, paths, secrets, reserved resources; and how
-- it looks at certificates (real ones, by OpenSSL).
package.path = "tests/lib/?.lua;scripts/lib/?.lua;" .. package.path
local tap = require "tap"
local agent_config = require "agent_config"
local agent_files = require "agent_files"
local certificates = require "certificates"
local machine = require "machine"

local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("%s+$", "")

-- The lines that changed, as {"-old", "+new"}.
local function changed(before, after)
  local function set(text)
    local lines = {}
    for line in (text .. "\n"):gmatch "(.-)\n" do lines[line] = (lines[line] or 0) + 1 end
    return lines
  end
  local old, new, list = set(before), set(after), {}
  for line in (before .. "\n"):gmatch "(.-)\n" do if not new[line] then list[#list + 1] = "-" .. line end end
  for line in (after .. "\n"):gmatch "(.-)\n" do if not old[line] then list[#list + 1] = "+" .. line end end
  return list
end

local function open(text, product)
  return agent_config.open(text, product, "c9:/etc/x.hcl")
end

-- [[ addresses ]]

tap.test("Consul: wherever the other host's address is its own, this host's stands; others stay", function()
  local text = [[
# managed by Puppet
bind_addr   = "10.0.0.5" # eth0
client_addr = "127.0.0.1 10.0.0.5"
addresses { http = "10.0.0.5" }
advertise_addr_wan = "192.0.2.5"
retry_join  = ["10.0.0.1", "10.0.0.5"]
recursors   = ["10.0.0.5"]
node_meta { rack = "10.0.0.50" }
]]
  local config = open(text, "consul")
  config:take_address "10.0.0.7"
  tap.equal(changed(text, config.text), {
    '-bind_addr   = "10.0.0.5" # eth0', '-client_addr = "127.0.0.1 10.0.0.5"', '-addresses { http = "10.0.0.5" }',
    '-advertise_addr_wan = "192.0.2.5"',
    '+bind_addr   = "10.0.0.7" # eth0', '+client_addr = "127.0.0.1 10.0.0.7"', '+addresses { http = "10.0.0.7" }',
    '+advertise_addr_wan = "10.0.0.7"',
  })
end)

tap.test("Consul: an agent that binds everything advertises this address; what it computes by itself is left alone", function()
  for before, after in pairs {
    ['bind_addr = "0.0.0.0"\n'] = 'bind_addr = "0.0.0.0"\nadvertise_addr = "10.0.0.7"\n',
    ['datacenter = "a"\n'] = 'datacenter = "a"\nadvertise_addr = "10.0.0.7"\n',
    ['bind_addr = "{{ GetPrivateIP }}"\n'] = 'bind_addr = "{{ GetPrivateIP }}"\n',
    ['advertise_addr = "{{ GetInterfaceIP \\"eth0\\" }}"\n'] = 'advertise_addr = "{{ GetInterfaceIP \\"eth0\\" }}"\n',
    ['bind_addr = "10.0.0.7"\n'] = 'bind_addr = "10.0.0.7"\n',
    ['{"bind_addr": "10.0.0.5", "server": false}'] = '{"bind_addr": "10.0.0.7", "server": false}',
  } do
    local config = open(before, "consul")
    config:take_address "10.0.0.7"
    tap.equal(config.text, after)
  end
end)

tap.test("Nomad: bind_addr, advertise with its ports; IPv6; a setting that Nomad has not is taken out", function()
  local config = open([[
bind_addr = "0.0.0.0"
advertise_addr = "10.0.0.5"
advertise {
  http = "10.0.0.5:4646"
  rpc  = "10.0.0.5"
}
consul { address = "10.0.0.5:8501" }
client { servers = ["10.0.0.5:4647"] }
]], "nomad")
  config:take_address "2001:db8::7"
  tap.equal(config.text, [=[
bind_addr = "0.0.0.0"
advertise {
  http = "[2001:db8::7]:4646"
  rpc  = "2001:db8::7"
}
consul { address = "[2001:db8::7]:8501" }
client { servers = ["10.0.0.5:4647"] }
]=])
  tap.match(config.notes[1], "c9:/etc/x.hcl: advertise_addr is taken out: Nomad has no such setting")
  config = open('datacenter = "a"\n', "nomad")
  config:take_address "10.0.0.7"
  tap.equal({ config:get "advertise.http", config:get "advertise.rpc", config:get "advertise.serf" },
    { "10.0.0.7", "10.0.0.7", "10.0.0.7" })
  config = open('bind_addr = "[2001:db8::5]"\n', "nomad")
  config:take_address "10.0.0.7"
  tap.equal(config.text, 'bind_addr = "10.0.0.7"\n')
end)

tap.test("whose address it is: also in lists of blocks, several words, the file of the other agent, URLs and names", function()
  for before, after in pairs {
    ['client_addr = "127.0.0.1 10.0.0.5"\nbind_addr = "{{ GetPrivateIP }}"\n'] =
      'client_addr = "127.0.0.1 10.0.0.7"\nbind_addr = "{{ GetPrivateIP }}"\n',
    ['advertise_addr_ipv4 = "10.0.0.5"\nadvertise_addr = "10.0.0.5"\nauto_config { server_addresses = ["10.0.0.5"] }\n'] =
      'advertise_addr_ipv4 = "10.0.0.7"\nadvertise_addr = "10.0.0.7"\nauto_config { server_addresses = ["10.0.0.5"] }\n',
  } do
    local config = open(before, "consul")
    config:take_address "10.0.0.7"
    tap.equal(config.text, after)
  end
  for before, after in pairs {
    ['{"advertise": [{"http": "10.0.0.5:4646"}], "client": [{"servers": ["10.0.0.5"]}]}'] =
      '{"advertise": [{"http": "10.0.0.7:4646"}], "client": [{"servers": ["10.0.0.5"]}]}',
    ['advertise { rpc = "c9.example.org:4647" }\naddresses { http = "127.0.0.1 10.0.0.5" }\n'] =
      'advertise { rpc = "10.0.0.7:4647" }\naddresses { http = "127.0.0.1 10.0.0.7" }\n',
    ['advertise { rpc = "{{ GetPrivateIP }}" }\n'] = 'advertise { rpc = "{{ GetPrivateIP }}" }\n',
    ['bind_addr = "10.0.0.5"\nconsul { address = "https://10.0.0.5:8501" }\nvault { address = "https://10.0.0.5:8200" }\n'] =
      'bind_addr = "10.0.0.7"\nconsul { address = "https://10.0.0.7:8501" }\nvault { address = "https://10.0.0.5:8200" }\n',
  } do
    local config = open(before, "nomad")
    config:take_address "10.0.0.7"
    tap.equal(config.text, after)
  end
  local config = open('advertise { http = "localhost" }\nconsul { address = "10.0.0.5:8500" }\n', "nomad")
  config:take_address("10.0.0.7", open('bind_addr = "10.0.0.5"\n', "consul"):own_addresses())
  tap.equal(config.text, 'advertise { http = "localhost" }\nconsul { address = "10.0.0.7:8500" }\n')
end)

tap.test("networks of the host: the other host's address in a cidr becomes this one's, a network stays one", function()
  local text = [[
bind_addr = "10.0.0.5"
client {
  host_network "own" { cidr = "10.0.0.5/32" }
  host_network "lan" { cidr = "10.0.0.5/24" }
  host_network "net" { cidr = "10.0.0.0/24" }
  host_network "grid" { cidr = "192.0.2.5/32" }
  options { route = "10.0.0.5/32" }
}
]]
  local config = open(text, "nomad")
  config:take_address "10.0.0.7"
  tap.equal(changed(text, config.text), {
    '-bind_addr = "10.0.0.5"', '-  host_network "own" { cidr = "10.0.0.5/32" }', '-  host_network "lan" { cidr = "10.0.0.5/24" }',
    '+bind_addr = "10.0.0.7"', '+  host_network "own" { cidr = "10.0.0.7/32" }', '+  host_network "lan" { cidr = "10.0.0.7/24" }',
  })
  tap.equal(#config.notes, 1)
  tap.match(config.notes[1], "c9:/etc/x.hcl: client.host_network%.grid%.cidr is a single address, 192.0.2.5/32")
  config = open('{"bind_addr": "10.0.0.5", "client": [{"host_network": [{"a": [{"cidr": "10.0.0.5/32"}]}]}]}', "nomad")
  config:take_address "2001:db8::7"
  tap.equal(config.text, '{"bind_addr": "2001:db8::7", "client": [{"host_network": [{"a": [{"cidr": "2001:db8::7/128"}]}]}]}')
end)

tap.test("the name and id of the other host are not taken over; a name that is this host's stays", function()
  local config = open('node_name = "c9" # by Puppet\nnode_id = "6a0f"\nserver_name = "a"\n', "consul")
  config:take_name "c7"
  tap.equal(config.text, 'server_name = "a"\n')
  tap.match(config.notes[1], "^c9:/etc/x.hcl: node_name is taken out: it is another host's")
  config = open('node_name = "c9"\nserver_name = "c9.example.org"\n', "consul")
  config:take_name "c7"
  tap.equal(config.text, "")
  config = open('name = "c9.example.org"\nclient {\n  meta { name = "x" }\n}\n', "nomad")
  config:take_name "c7"
  tap.equal(config.text, 'client {\n  meta { name = "x" }\n}\n')
  config = open('name = "c7.example.org"\n', "nomad")
  config:take_name "C7"
  tap.equal({ config.text, #config.notes }, { 'name = "c7.example.org"\n', 0 })
end)

-- [[ what it is in the cluster ]]

tap.test("a server's configuration becomes a client's, and says so", function()
  local config = open('server = true\nbootstrap_expect = 3\ndata_dir = "/opt/consul" # default\n', "consul")
  config:take_role "/build/consul"
  tap.equal(config.text, 'data_dir = "/build/consul" # default\n')
  tap.equal(#config.notes, 2)
  config = open('data_dir = "/opt/nomad"\nserver {\n  enabled = true\n}\nclient {\n  enabled = false\n}\n', "nomad")
  config:take_role "/build/nomad"
  tap.equal(config.text, 'data_dir = "/build/nomad"\nclient {\n  enabled = true\n}\n')
  local ready = 'data_dir = "/build/nomad"\nserver { enabled = false }\nclient { enabled = true }\n'
  config = open(ready, "nomad")
  config:take_role "/build/nomad"
  tap.equal({ config.text, #config.notes }, { ready, 0 })
  config = open('data_dir = "/build/nomad"\nserver { enabled = "true" }\nclient { enabled = "true" }\n', "nomad")
  config:take_role "/build/nomad"
  tap.equal(config.text, 'data_dir = "/build/nomad"\nclient { enabled = "true" }\n')
end)

tap.test("what only servers have stays behind: the keys of the cluster, and what a client agent would refuse", function()
  local config = open([[
server = true
server_name = "s1.example.org"
encrypt = "@GOSSIP@"
acl_master_token = "m-1"
auto_encrypt {
  allow_tls = true
  tls = false
}
acl {
  enabled = true
  tokens {
    master             = "m-2" # for everything
    initial_management = "m-3"
    replication        = "r-1"
    agent              = "@AGENT@"
    default            = "@DEFAULT@"
  }
}
connect {
  enabled = true
  ca_provider = "vault"
  ca_config { token = "v-1" }
}
primary_gateways = ["10.0.0.1:443"]
]], "consul")
  config:take_role "/build/consul"
  tap.equal(config.text, [[
encrypt = "@GOSSIP@"
auto_encrypt {
  tls = false
}
acl {
  enabled = true
  tokens {
    agent              = "@AGENT@"
    default            = "@DEFAULT@"
  }
}
connect {
  enabled = true
}
data_dir = "/build/consul"
]])
  local notes = table.concat(config.notes, "\n")
  for _, setting in ipairs { "acl%.tokens%.master", "acl%.tokens%.initial_management", "acl%.tokens%.replication",
    "acl_master_token", "auto_encrypt%.allow_tls", "connect%.ca_config", "primary_gateways", "server_name" } do
    tap.match(notes, "c9:/etc/x.hcl: " .. setting .. " is taken out: ")
  end
  tap.ok(not notes:find "m%-%d" and not notes:find "v%-1", "no value is said")
  config = open('{"acl": [{"tokens": {"master": "m", "agent": "a"}}]}', "consul")
  config:take_role "/build/consul"
  tap.equal(config:get "acl", { { tokens = { agent = "a" } } })

  local nomad = [[
data_dir = "/build/nomad"
client {
  enabled = true
}
server {
  enabled = %s
}
acl {
  enabled           = true
  replication_token = "m-1"
}
vault {
  enabled = true
  token   = "v-1"
}
consul { token = "c-1" }
]]
  config = open(nomad:format "true", "nomad")
  config:take_role "/build/nomad"
  tap.equal({ config:get "acl", config:get "vault", config:get "consul.token" },
    { { enabled = true }, { enabled = true }, "c-1" })
  tap.match(table.concat(config.notes, "\n"), "vault%.token is taken out: ")
  config = open(nomad:format "false", "nomad")
  config:take_role "/build/nomad"
  tap.equal({ config:get "acl.replication_token" == nil, config:get "vault.token" }, { true, "v-1" })
end)

tap.test("names in capitals, which the agents read as well, hide no server from this", function()
  for text, name in pairs {
    ['Server = true\n'] = "Server",
    ['acl { Tokens { Master = "m" } }\n'] = "acl.Tokens",
    ['{"Bootstrap_Expect": 3}'] = "Bootstrap_Expect",
  } do
    local err = tap.raises("invalid", open(text, "consul").take_role, open(text, "consul"), "/build/consul")
    tap.match(err.message, "c9:/etc/x.hcl: .*" .. name:gsub("%.", "%%."))
    tap.match(err.hint, "small letters")
  end
  for _, text in ipairs { "Server {\n  enabled = true\n}\n", "server {\n  Enabled = true\n}\n" } do
    tap.raises("invalid", open(text, "nomad").take_role, open(text, "nomad"), "/build/nomad")
  end
  open('client { meta { Rack = "A" } }\nservice { Name = "x" }\n', "nomad"):take_role "/build/nomad"
end)

tap.test("a Consul client joins no other datacenters' servers: it ends at start_join_wan", function()
  local config = open('server = true\nstart_join_wan = ["10.1.0.1"]\nretry_join_wan = ["10.1.0.1"]\nretry_join = ["10.0.0.1"]\n',
    "consul")
  config:take_role "/build/consul"
  tap.equal(config.text, 'retry_join = ["10.0.0.1"]\ndata_dir = "/build/consul"\n')
end)

tap.test("what goes is gone where it is there several times, too", function()
  local config = open('keyring "awskms" { active = true }\nkeyring "aead" { active = false }\nserver { enabled = true }\n' ..
    'client { enabled = true }\n', "nomad")
  config:take_role "/build/nomad"
  tap.equal(config.text, 'client { enabled = true }\ndata_dir = "/build/nomad"\n')
  tap.equal(#config.notes, 2)
  config = open('segments { name = "a" }\nsegments { name = "b" }\nsegments { name = "c" }\n', "consul")
  config:take_role "/build/consul"
  tap.equal(config.text, 'data_dir = "/build/consul"\n')
end)

-- [[ paths ]]

tap.test("every path below the old folder moves, and nothing that only looks like one", function()
  local text = [[
ca_file = "/etc/old/ca.pem"
tls { ca_file = "/etc/old/ca.pem", cert_file = "/etc/old/host.pem", key_file = "/etc/old/host.key" }
consul { ssl = true, cert_file = "/etc/old/sub/c.pem" }
vault { ca_path = "/etc/old" }
client {
  host_volume "grid one" {
    path = "/etc/old/grid"
  }
  host_volume "other" { path = "/etc/older/x" }
}
]]
  local config = open(text, "nomad")
  tap.equal(config:move("/etc/old/", "/etc/new"), 7)
  tap.equal(config.text, (text:gsub("/etc/old([/\"])", "/etc/new%1")))
  local kinds = {}
  for _, file in ipairs(config:files()) do kinds[#kinds + 1] = file.kind .. " " .. file.path .. " " .. (file.key or "") end
  table.sort(kinds)
  tap.equal(#open('{"client": [{"host_volume": [{"a": [{"path": "/x"}]}]}]}', "nomad"):files(), 1)
  tap.equal(kinds, { "ca /etc/new/ca.pem ", "ca /etc/new/ca.pem ", "certificate /etc/new/host.pem /etc/new/host.key",
    "certificate /etc/new/sub/c.pem ", "folder /etc/new ", "key /etc/new/host.key ", "volume /etc/new/grid ",
    "volume /etc/older/x " })
end)

-- [[ secrets ]]

tap.test("secrets stand where their markers stood, and are shown nowhere", function()
  local config = open([[
encrypt = "@GOSSIP@" # @GOSSIP@ is from Teigi
acl { tokens { default = "@TOKEN@" agent = "a-@TOKEN@-@TOKEN_2@" } }
]], "consul")
  local used, canary = {}, 'se"cr${et}\\7719'
  config:fill({ ["@GOSSIP@"] = secret.command { "printf", "%s", canary }, ["@TOKEN@"] = secret.command { "echo", "first-5512" },
    ["@TOKEN_2@"] = secret.command { "echo", "second-3301" }, ["@UNUSED@"] = secret.command { "echo", "unused" } }, used)
  tap.ok(secret.is(config.text) and not tostring(config.text):find "%d")
  tap.equal(used, { ["@GOSSIP@"] = true, ["@TOKEN@"] = true, ["@TOKEN_2@"] = true })
  local path = folder .. "/filled.hcl"
  file.present { path, content = config.text, mode = "0600" }
  local text = host.run { "cat", path, reads = true }.stdout
  host.run { "shred", "-u", path, reads = true }
  tap.match(text, "# @GOSSIP@ is from Teigi\n")
  tap.equal(text:find("first%-5512") ~= nil, true)
  for setting, wanted in pairs { encrypt = canary, ["acl.tokens.default"] = "first-5512",
    ["acl.tokens.agent"] = "a-first-5512-second-3301" } do
    local got = hcl.get(text, setting)
    tap.ok(got == wanted or got == (wanted:gsub("%${", "$${")), setting)
  end
end)

tap.test("a marker for which no secret is given is told; what only looks like one is not", function()
  local config = open('encrypt = "@GOSSIP@"\nacl { tokens { agent = "@AGENT@" } }\nnode_meta { mail = "ops@example.org @" }\n',
    "consul")
  config:fill({ ["@GOSSIP@"] = secret.command { "echo", "gossip-7719" } }, {})
  tap.equal(config.notes, { "c9:/etc/x.hcl: acl.tokens.agent is @AGENT@ still: if that is a marker, give its secret, " ..
    "--set secrets.@AGENT@=pass:..." })
end)

-- [[ reserved resources ]]

tap.test("half of the machine is reserved; figures that are nearly so stay", function()
  local half = { cpu = 8000, memory = 16001, disk = 1000 }
  local config = open("client {\n  enabled = true\n}\n", "nomad")
  config:reserve_half(half, nil)
  tap.equal(hcl.get(config.text, "client.reserved"), { cpu = 4000, memory = 8000, disk = 500 })
  config = open("client {}\n", "nomad")
  config:reserve_half(half, "client { reserved { cpu = 4010, memory = 1000, disk = 490 } }")
  tap.equal(hcl.get(config.text, "client.reserved"), { cpu = 4010, memory = 8000, disk = 490 })
  tap.equal(config:reserves_too_much(half), nil)
  tap.equal(config:reserves_too_much { cpu = 8000, memory = 7999, disk = 1000 }, { "memory", 8000, 7999 })
end)

tap.test("what the machine has is what the kernel says", function()
  local has = machine.resources "/no/such/folder/yet"
  tap.equal(has.memory, host.memory // (1024 * 1024))
  tap.ok(has.cpu >= host.cpus * 500 and has.disk > 100, json.encode(has))
end)

tap.test("what is not known of the machine is not compared; a present file that cannot be read is no reason to stop", function()
  local config = open("client {}\n", "nomad")
  config:reserve_half({ cpu = 8000, memory = 16000, disk = 1000 }, "client { reserved {")
  tap.equal(config:get "client.reserved.cpu", 4000)
  tap.equal(config:reserves_too_much { memory = 16000, disk = 1000 }, nil)
  config = open('client { reserved { memory = "9000" } }\n', "nomad")
  tap.equal(config:reserves_too_much { memory = 8000, disk = 1000 }, { "memory", "9000", 8000 })
end)

-- [[ what cannot be read ]]

tap.test("what is there twice is told with the name of the file", function()
  local config = open("client { enabled = true }\nclient { node_class = \"a\" }\n", "nomad")
  local err = tap.raises("usage", config.take_role, config, "/build/nomad")
  tap.match(err, "c9:/etc/x.hcl: client is there 2 times, on lines 1 and 2")
  tap.match(err, "make one of them there; nothing was changed")
end)

tap.test("a file with an error in it: which host, which line, and a caret", function()
  local err = tap.raises("invalid", open, 'a = 1\nb = "x\n', "nomad")
  tap.match(err, "c9:/etc/x.hcl: line 2, column")
  tap.match(err, "%^")
end)

-- [[ placing ]]

tap.test("two files that go together: if one is refused, both are as they were, and nobody sees what was in them", function()
  local first, second = folder .. "/first.conf", folder .. "/second.conf"
  local canary = secret.command { "echo", "placed-7719" }
  local function place(one, two)
    local checker = { "sh", "-c", '! grep -q bad "$1"', "sh", "%s" }
    return pcall(agent_files.place, {
      { path = first, content = one, group = "root", validate = checker, from = "c9:/etc/one" },
      { path = second, content = two, group = "root", validate = checker, from = "c9:/etc/two" },
    })
  end
  local function state(path)
    return host.run({ "sh", "-c", 'stat -c "%a %U %G" "$1" 2>&1; cat "$1" 2>&1', "sh", path, reads = true }).stdout
  end
  if host.run({ "id", "-u", reads = true }).stdout ~= "0\n" then return tap.skip("owned by root", "needs root") end

  local done, err = place(canary .. " a\n", "bad b\n")
  tap.equal({ done, err.kind, file.stat(first), file.stat(second) }, { false, "invalid" })
  tap.match(err.hint, "second.conf is left as it was; correct c9:/etc/two")

  file.present { first, content = "old\n", mode = "0604", owner = "nobody" }
  local before = state(first)
  done, err = place(canary .. " a\n", "bad b\n")
  tap.equal({ done, err.kind, state(first), file.stat(second) }, { false, "invalid", before })
  tap.equal(place("bad\n", "b\n"), false)
  tap.equal({ state(first), file.stat(second) }, { before })

  tap.ok(place(canary .. " a\n", canary .. " b\n"))
  before = state(first)
  local both = before .. state(second)
  tap.equal(select(2, both:gsub("640 root root\n[%w-]+ [ab]\n", "")), 2)
  tap.equal(place(canary .. " a\n", "bad\n"), false)
  tap.ok(state(first) .. state(second) == both)
  tap.equal(host.run({ "sh", "-c", 'ls -A "$1" | grep -c moonbook', "sh", folder, reads = true, ok = { 0, 1 } }).stdout, "0\n")
  host.run { "rm", "-f", first, second, reads = true }
end)

-- [[ certificates ]]

host.run { "sh", "-euc", [[
  cd "$1"
  make() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.pem" -days "$2" \
      -subj "/CN=$1" 2>/dev/null
  }
  make good 400; make other 400; make soon 5
  openssl x509 -in good.pem -signkey good.key -days -1 -out old.pem 2>/dev/null
  openssl pkey -in good.key -aes128 -passout pass:x -out locked.key
  echo no >no.pem; chmod 0755 .; chmod 0644 ./*; chmod 0600 other.key]], "sh", folder, reads = true }

local function certificate(name, key)
  return { kind = "certificate", path = folder .. "/" .. name, key = key and folder .. "/" .. key }
end

tap.test("good certificates pass, what is wrong is told in one error", function()
  certificates.check({ certificate("good.pem", "good.key"), { kind = "ca", path = folder .. "/other.pem" },
    { kind = "volume", path = folder } }, nil)
  certificates.check({}, "nobody")
  local done, err = pcall(certificates.check, { certificate("good.pem", "other.key"), certificate "old.pem", certificate "no.pem",
    certificate "none.pem", certificate("good.pem", "locked.key") })
  tap.equal(done, false)
  for _, part in ipairs { "good.pem and the key .*other.key do not belong together", "old.pem has expired on ",
    "no.pem holds no certificate in PEM", "none.pem is not there", "locked.key holds no private key without a passphrase" } do
    tap.match(err.message, part)
  end
  tap.match(err.hint, "cert_dir_from=")
  -- Of several authorities in one file one may be of the past; a single one may not.
  host.run { "sh", "-c", 'cat "$1/old.pem" "$1/good.pem" >"$1/both.pem"; chmod 0644 "$1/both.pem"', "sh", folder, reads = true }
  local warned, said = warn, {} -- luacheck: ignore
  warn = function(text) said[#said + 1] = text end -- luacheck: ignore
  certificates.check { { kind = "ca", path = folder .. "/both.pem" } }
  warn = warned -- luacheck: ignore
  tap.match(said[1], "both.pem, the first of several certificates, has expired on ")
  for name, kind in pairs { ["old.pem"] = "ca", ["both.pem"] = "certificate" } do
    tap.match(tap.raises("invalid", certificates.check, { { kind = kind, path = folder .. "/" .. name } }).message,
      name .. " has expired on ")
  end
  done, err = pcall(certificates.check, { { kind = "ca", path = folder .. "/a\tb.pem" } })
  tap.equal(done, false)
  tap.match(err.message, "has a tab or the end of a line in it")
end)

tap.test("who must read them can; who may is given no more", function()
  if host.run { "id", "-u", reads = true }.stdout ~= "0\n" then return tap.skip("rights of others", "needs root") end
  local key = { kind = "key", path = folder .. "/other.key" }
  local done, err = pcall(certificates.check, { key }, "nobody")
  tap.equal(done, false)
  tap.match(err.message, "other.key cannot be read by nobody")
  certificates.check({ key }, "no-such-user")
  tap.equal(certificates.lacking({ key, certificate "good.pem" }, { "nobody" }, folder),
    { { user = "nobody", rights = "r", path = key.path } })
  tap.equal(certificates.lacking({ key }, { "nobody" }, folder .. "/"),
    { { user = "nobody", rights = "r", path = key.path } })
  certificates.check({ key }, "nobody", folder .. "/")
  tap.equal(certificates.lacking({ key }, {}, folder), {})
  host.run { "sh", "-c", 'mkdir -m 0700 "$1/ca"; cp "$1/other.key" "$1/ca/one file.pem"', "sh", folder, reads = true }
  tap.equal(certificates.lacking({ { kind = "folder", path = folder .. "/ca" } }, { "nobody" }, folder), {
    { user = "nobody", rights = "r", path = folder .. "/ca/one file.pem" },
    { user = "nobody", rights = "rx", path = folder .. "/ca" },
  })
  tap.equal(certificates.lacking({ { kind = "key", path = folder .. "/../etc/shadow" } }, { "nobody" }, folder), {})
  local warned, said = warn, {} -- luacheck: ignore
  warn = function(text) said[#said + 1] = text end -- luacheck: ignore
  host.run { "sh", "-c", 'mkdir -p "$1/shut/certs"; cp "$1/other.key" "$1/shut/certs"; chmod 0700 "$1/shut"', "sh", folder,
    reads = true }
  local lacking = certificates.lacking({ { kind = "key", path = folder .. "/shut/certs/other.key" } },
    { "nobody", "no-such-user" }, folder .. "/shut/certs")
  warn = warned -- luacheck: ignore
  for _, lack in ipairs(lacking) do tap.equal(lack.user, "no-such-user") end
  tap.equal(#said, 1)
  tap.match(said[1], "^nobody may not go through .*/shut, and so reads nothing in .*/shut/certs: .*setfacl %-m u:nobody:x")
  tap.equal(certificates.lacking({ key }, { "nobody" }, "/elsewhere"), {})
end)

host.run { "rm", "-rf", folder, reads = true }
tap.finish()
