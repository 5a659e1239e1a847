-- The ways to a real Consul: https with client certificates as clusters use it, a Unix socket, a path behind a reverse
-- proxy; and what a person is told where a certificate is missing, of another authority, for another name, or expired.
-- lab: --acls srv1
local tap = require "tap"
local lab = require "lab"
local cluster = require "cluster"
local servers = require "server"

-- ---- certificates of this test alone ----

local FOLDER = cluster.folder()
local NAME = "server.dc1.consul" -- the server's certificate is for this name and not for its address

host.run { "sh", "-ec", [[
  cd "$1"; exec 2>&1
  authority() { # NAME SUBJECT
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.pem" -days 2 -subj "/CN=$2"
  }
  sign() { # NAME SUBJECT AUTHORITY DAYS
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$2"
    printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth,clientAuth' "$2" >extensions
    openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -out "$1.pem" -days "$4" -extfile extensions
  }
  authority ca "Moonbook test authority"
  authority other "Another authority"
  sign server "$2" ca 1
  sign expired-server "$2" ca -1
  sign client operator.test ca 1
  sign expired-client operator.test ca -1
  sign foreign-client operator.test other 1]], "sh", FOLDER, NAME, reads = true }

local function path(name) return FOLDER .. "/" .. name .. ".pem" end

-- Gives the server a certificate; it takes another one when it is told to reload.
local function install(name)
  for file_name, source in pairs { ["ca.pem"] = "ca.pem", ["server.pem"] = name .. ".pem", ["server.key"] = name .. ".key" } do
    cluster.server:write("/etc/consul-tls/" .. file_name, file.read(FOLDER .. "/" .. source), "0644")
  end
end

install "server"
cluster.configure(([[
  ports { https = 8501 }
  addresses {
    http  = "%s 127.0.0.1 unix:///opt/consul/http.sock"
    https = "%s"
  }
  unix_sockets { mode = "0600" }
  ca_file         = "/etc/consul-tls/ca.pem"
  cert_file       = "/etc/consul-tls/server.pem"
  key_file        = "/etc/consul-tls/server.key"
  verify_incoming = true
  verify_outgoing = true
]]):format(lab.server(), lab.server()))

local ADDRESS = lab.server() .. ":8501"
local HELLO = "print(consul.acl.read_self_acl_token().Description, consul.catalog.list_nodes()[1].Node)"

-- What the program says with these variables; those that are false are not set.
local function said(variables, chunk)
  local env = { CONSUL_HTTP_ADDR = "https://" .. ADDRESS, CONSUL_CACERT = path "ca", CONSUL_TLS_SERVER_NAME = NAME,
    CONSUL_CLIENT_CERT = path "client", CONSUL_CLIENT_KEY = FOLDER .. "/client.key" }
  for name, value in pairs(variables or {}) do env[name] = value or nil end
  return cluster.moonbook { "-e", chunk or HELLO, env = env, token = "read-only" }.said
end

-- ---- https ----

tap.test("https with a client certificate, as the environment says", function()
  tap.match(said(), "^read%-only%s+srv1\n")
  tap.match(said { CONSUL_HTTP_ADDR = ADDRESS, CONSUL_HTTP_SSL = "true" }, "^read%-only")
  tap.match(said { CONSUL_HTTP_ADDR = "HTTPS://" .. ADDRESS }, "^read%-only")
  host.run { "openssl", "rehash", FOLDER, reads = true }
  tap.match(said { CONSUL_CACERT = false, CONSUL_CAPATH = FOLDER }, "^read%-only")
  tap.match(said { CONSUL_CACERT = false, CONSUL_TLS_SERVER_NAME = false, CONSUL_HTTP_SSL_VERIFY = "false" }, "^read%-only")
end)

tap.test("the same said in the script, for one client among others", function()
  local options = { addr = "https://" .. ADDRESS, token = lab.token "read-only", ca = path "ca", server_name = NAME,
    cert = path "client", key = FOLDER .. "/client.key" }
  local c = consul(options)
  tap.equal(c.catalog.list_nodes()[1].Node, "srv1")
  for _ = 1, 3 do c.status.read_leader() end
  local index = select(2, c.kv.read_key "mb/tls").index
  tap.equal(select(2, c.kv.read_key("mb/tls", { index = index, wait = "50ms" })).index, index)
  local stream <close> = c.agent.monitor_agent { loglevel = "debug" }
  c.status.read_leader()
  tap.match(stream(), "%[%u+%]")
  local snapshot = FOLDER .. "/snapshot"
  local manager = cluster.client "management"
  options.token = lab.token "management"
  tap.equal(consul(options).snapshot.save_snapshot { to = snapshot }, true)
  tap.equal(consul(options).snapshot.restore_snapshot { from = snapshot }, true)
  tap.equal(manager.status.read_leader(), c.status.read_leader())
end)

tap.test("a server that cannot be trusted: which name, which authority", function()
  local text = said { CONSUL_CACERT = false }
  tap.match(text, "the certificate of " .. ADDRESS:gsub("%.", "%%."))
  tap.match(text, "CN = server.dc1.consul, for DNS:server.dc1.consul, issued by CN = Moonbook test authority, .*until ")
  tap.match(text, "does not verify against the system's authorities")
  tap.match(text, "what to do: name the authority that issued it in CONSUL_CACERT")
  text = said { CONSUL_CACERT = path "other" }
  tap.match(text, "issued by CN = Moonbook test authority")
  tap.match(text, "against " .. path "other":gsub("%-", "%%-") .. ": ")
  text = said { CONSUL_TLS_SERVER_NAME = false }
  tap.match(text, "for DNS:server.dc1.consul.*" .. lab.server():gsub("%.", "%%."))
  tap.match(text, "what to do: .* the name that the certificate is for, .*CONSUL_TLS_SERVER_NAME")
  text = said { CONSUL_TLS_SERVER_NAME = "server.dc2.consul" }
  tap.match(text, "for DNS:server.dc1.consul.*'server.dc2.consul'")
end)

tap.test("a client that the server does not take: how to name its certificate", function()
  local text = said { CONSUL_CLIENT_CERT = false, CONSUL_CLIENT_KEY = false }
  tap.match(text, ADDRESS:gsub("%.", "%%.") .. " wants a client certificate: ")
  tap.match(text, "CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY")
  text = said { CONSUL_CLIENT_CERT = path "foreign-client", CONSUL_CLIENT_KEY = FOLDER .. "/foreign-client.key" }
  tap.match(text, "refused the client certificate " .. path "foreign-client":gsub("%-", "%%-"))
  tap.match(text, "subject CN = operator.test, issued by CN = Another authority, until ")
  text = said { CONSUL_CLIENT_CERT = path "expired-client", CONSUL_CLIENT_KEY = FOLDER .. "/expired-client.key" }
  tap.match(text, "refused the client certificate " .. path "expired-client":gsub("%-", "%%-"))
  tap.match(text, "issued by CN = Moonbook test authority, expired on ")
end)

tap.test("client certificates that cannot be used at all", function()
  tap.match(said { CONSUL_CLIENT_CERT = FOLDER .. "/none.pem" }, "client certificate .*/none.pem")
  tap.match(said { CONSUL_CLIENT_KEY = FOLDER .. "/server.key" }, "client certificate .*/client.pem .key .*/server.key.")
  tap.match(said { CONSUL_CLIENT_KEY = false }, "client certificate .*/client.pem")
  tap.match(said { CONSUL_CACERT = FOLDER .. "/none.pem" }, "authorities in .*/none.pem")
end)

tap.test("plain http where https is, and the other way round", function()
  tap.match(said { CONSUL_HTTP_ADDR = "http://" .. ADDRESS }, "Client sent an HTTP request to an HTTPS server.*https://")
  tap.match(said { CONSUL_HTTP_ADDR = "https://" .. cluster.address }, "no TLS with .*speak plain http there")
end)

tap.test("a server whose certificate has expired", function()
  install "expired-server"
  cluster.server:sh "systemctl reload consul"
  local text = wait { function()
    local answer = said()
    return not answer:find "^read%-only" and answer
  end, every = "100ms", timeout = "90s", what = "the server to show the other certificate" }
  tap.match(text, "the certificate of " .. ADDRESS:gsub("%.", "%%.") .. " .*expired")
  tap.match(text, "CN = server.dc1.consul, .*issued by CN = Moonbook test authority, .*until ")
  tap.ok(not text:find "name the authority", text)
  tap.match(text, "what to do: .*renew")
end)

-- ---- a Unix socket ----

tap.test("unix:// to a real agent's socket", function()
  local socket = "unix://" .. host.run { "tests/lab/lab", "root", "srv1", reads = true }.stdout:gsub("\n", "") ..
    "/opt/consul/http.sock"
  local function by_socket(chunk) return cluster.moonbook { "-e", chunk, env = { CONSUL_HTTP_ADDR = socket },
    token = "management" }.said end
  tap.match(by_socket(HELLO), "Master Token%s+srv1")
  tap.match(by_socket [[
    consul.kv.put_key("mb/a b/c", { body = "through a socket" })
    print((consul.kv.read_key("mb/a b/c", { raw = true })))
    consul.kv.delete_key "mb/a b/c"
    for _ in consul.agent.monitor_agent { loglevel = "debug" } do print "a line" break end]], "through a socket\n.*a line")
  local c = consul { addr = socket, token = lab.token "read-only" }
  tap.equal(c.catalog.list_nodes()[1].Node, "srv1")
  tap.equal(c.kv.read_key "mb/none", nil)
  tap.match(tap.raises("permission", c.kv.put_key, "mb/a", { body = "x" }), "Permission denied")
  tap.match(tap.raises("unreachable", consul { addr = socket .. ".none" }.status.read_leader, { retries = 0 }),
    "cannot connect to .*http.sock.none")
end)

-- ---- a path before the API's own ----

tap.test("behind a reverse proxy: the address has a path", function()
  local proxy <close> = servers.spawn("tests/lib/reverse_proxy.py", "/site/consul", "http://" .. cluster.address)
  local address = "127.0.0.1:" .. proxy.port .. "/site/consul"
  for _, form in ipairs { "http://" .. address, "http://" .. address .. "/", address } do
    tap.match(cluster.moonbook { "-e", HELLO, env = { CONSUL_HTTP_ADDR = form }, token = "read-only" }.said, "^read%-only%s+srv1")
  end
  local c = consul { addr = address, token = lab.token "management" }
  tap.equal(c.kv.put_key("mb/a b/ü", { body = "through a proxy" }), true)
  tap.equal(c.kv.read_key("mb/a b/ü", { raw = true }), "through a proxy")
  tap.equal(c.kv.delete_key("mb/", { recurse = true }), true)
  tap.equal(c.kv.read_key "mb/a b/ü", nil)
  tap.equal(c.acl.read_acl_policy_by_name "mb-none", nil)
  tap.match(tap.raises("http", c.acl.list_templated_policies), "too old")
  tap.raises("http", consul { addr = "127.0.0.1:" .. proxy.port .. "/elsewhere" }.status.read_leader)
end)

tap.finish()
