-- The APIs of another host's own agents, through a forward: where they listen, whose token goes there, what may go wrong.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"
local silents = require "silent"
local sshds = require "sshd"

local server <close> = servers.start()
local other <close> = servers.start()
local sshd <close> = sshds.start()

for _, transport in ipairs { "ssh", "openssh" } do
  local function there(changes)
    changes = changes or {}
    changes.transport = transport
    changes.consul_addr = changes.consul_addr or "127.0.0.1:" .. server.port
    changes.nomad_addr = changes.nomad_addr or "http://127.0.0.1:" .. other.port
    return sshd:host(changes)
  end

  tap.test(transport .. ": each host's own agents are asked", function()
    local h = there()
    tap.equal(h.consul.status.read_leader(), "127.0.0.1:8300")
    h.consul.agent.deregister_service(transport .. "/id")
    tap.equal(server:last("/v1/agent/service/deregister/").path, "/v1/agent/service/deregister/" .. transport .. "%2Fid")
    tap.equal(other:last("/v1/agent/service/deregister/"), nil)
    h.nomad.nodes.list_nodes()
    tap.ok(other:last("/v1/nodes"))
  end)

  tap.test(transport .. ": another client on that host, with a token", function()
    there().consul { addr = "127.0.0.1:" .. other.port, token = "a-token-" .. transport }.catalog.list_nodes()
    tap.equal(other:last("/v1/catalog/nodes").headers["x-consul-token"], "a-token-" .. transport)
    local nowhere = there().consul { addr = "127.0.0.1:1" }
    local err = tap.raises("unreachable", nowhere.catalog.list_nodes, { retries = 0 })
    tap.match(err.host, "^127%.0%.0%.1:") -- not this machine
  end)

  tap.test(transport .. ": connections are kept, many requests at once, large answers", function()
    local h = there()
    local before = server:seen().connections
    for _ = 1, 20 do h.consul.status.read_leader() end
    tap.ok(server:seen().connections - before <= 3, "20 requests made few connections")
    local jobs = {}
    for i = 1, 30 do jobs[i] = function() return h.consul.status.read_leader() end end
    parallel(jobs)
  end)

  tap.test(transport .. ": nobody listens there", function()
    local h = there { consul_addr = "127.0.0.1:1" }
    local err = tap.raises("unreachable", h.consul.status.read_leader, { retries = 0 })
    tap.match(err, "consul_addr= of the host")
  end)

  tap.test(transport .. ": nobody listens there, said in the same words whenever it is found out", function()
    local h = there { consul_addr = "127.0.0.1:1" }
    local secure = h.consul { addr = "https://127.0.0.1:1" }
    local jobs = {}
    for i = 1, 40 do
      jobs[i] = function()
        local client = i % 4 == 0 and secure or h.consul
        local err = tap.raises("unreachable", client.kv.read_key, "key" .. ("y"):rep(i % 2 * 5000))
        tap.match(err, "nobody answers at 127%.0%.0%.1:1 %(as 127%.0%.0%.1:%d+ sees it%)")
        tap.equal(tostring(err):find("/tmp/", 1, true), nil, tostring(err))
      end
    end
    parallel(jobs)
  end)

  tap.test(transport .. ": an address that does not answer holds up nothing else", function()
    local silent <close> = silents.start "127.0.0.3"
    local h = there { nomad_addr = transport .. "3" }
    h.run { "true", reads = true }
    local over, err = false, nil
    parallel {
      function()
        err = tap.raises("timeout", h.consul { addr = silent.address .. ":" .. silent.port }.status.read_leader,
          { timeout = "8s", retries = 0 })
        over = true
      end,
      function()
        tap.equal(h.run { "echo", "here", reads = true }.stdout, "here\n")
        tap.equal(over, false, "the command waits for it")
      end,
      function()
        tap.equal(h.consul.status.read_leader(), "127.0.0.1:8300")
        tap.equal(over, false, "another forward waits for it")
      end,
    }
    tap.equal(err.kind, "timeout")
    tap.match(err, "within 8[.0]* s")
    if transport == "ssh" then tap.match(err, "127.0.0.3, port " .. silent.port .. ", does not answer there") end
    tap.equal(h.consul.status.read_leader(), "127.0.0.1:8300")
  end)

  tap.test(transport .. ": an agent that listens on a Unix socket there", function()
    local path = sshd.folder .. "/" .. transport .. ".sock"
    local process = servers.launch("python3", "-c", [[
import http.server, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ('"%s"' % self.path).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def address_string(self): return "?"
    def log_message(self, *_): pass
with socketserver.ThreadingUnixStreamServer(sys.argv[1], Handler) as s:
    print("ready", flush=True)
    s.serve_forever()
]], path)
    local _ <close> = setmetatable({}, { __close = function() host.run { "kill", process, reads = true } end })
    local h = there { consul_addr = "unix://" .. path }
    tap.equal(h.consul.status.read_leader(), "/v1/status/leader")
    tap.equal(h.consul.status.read_leader(), "/v1/status/leader")
    tap.raises("unreachable", there { consul_addr = "unix://" .. path .. ".none" }.consul.status.read_leader, { retries = 0 })
    if not sshds.root then return end
    local etc = sshd.folder .. "/etc/consul.d"
    host.run { "sh", "-c", 'mkdir -p "$1"; cat >"$1/consul.hcl"', "sh", etc, reads = true,
      stdin = ('addresses {\n  http = "unix://%s"\n}\nports { http = 1 }\n'):format(path) }
    tap.equal(sshd:host { transport = transport, nomad_addr = transport .. "4" }.consul.status.read_leader(), "/v1/status/leader")
    host.run { "rm", "-r", etc, reads = true }
  end)

  tap.test(transport .. ": the socket is nobody else's", function()
    local h = there()
    h.consul.status.read_leader()
    -- Of this program, by its descriptors: others have such sockets too.
    local sockets = host.run { "sh", "-c", [[for fd in /proc/$PPID/fd/*; do readlink "$fd"; done 2>/dev/null |
      sed -n 's/^socket:.\([0-9]*\).$/ \1 /p' | grep -F -f - /proc/net/unix | sed -n 's|.* \(/.*/moonbook-[^/]*/s\)$|\1|p']],
      reads = true }.stdout
    local mine = 0
    for path in sockets:gmatch "[^\n]+" do
      tap.equal(host.run { "stat", "-c", "%a", path:match "(.*)/", reads = true }.stdout, "700\n")
      -- curl is another process: it is not answered, whoever runs it.
      local code = host.run { "curl", "-s", "-m", "60", "--unix-socket", path, "http://x/v1/status/leader", reads = true,
        ok = true }
      tap.equal({ code.stdout, code.code ~= 28 }, { "", true })
      mine = mine + 1
    end
    tap.ok(mine > 0, "there is one")
  end)

  tap.test(transport .. ": where its own configuration says", function()
    if not sshds.root then return tap.ok(true) end
    local etc = sshd.folder .. "/etc/consul.d"
    local text = ([[
# the agents of this lab
client_addr = "0.0.0.0"   // all
ports { grpc = 8502
  http = %s }
service "web" { port = 80 /* not this one */ }
]]):format(server.port)
    host.run { "sh", "-c", 'mkdir -p "$1"; cat >"$1/consul.hcl"', "sh", etc, stdin = text, reads = true }
    local h = sshd:host { transport = transport, user = sshds.user, nomad_addr = transport }
    tap.equal(h.consul.status.read_leader(), "127.0.0.1:8300")
    -- Merged by name, the last one holds; one that cannot be understood, the hidden copy of an editor or a folder is no reason
    -- to look no further.
    host.run { "sh", "-euc", [[
      cd "$1"; mv consul.hcl 10.hcl
      echo '{"ports": {"http": 1}}' >05.json
      echo 'ports { http = 2 }' >00.hcl
      printf 'ports {\nhttp = = 3\n' >20.hcl
      printf 'ports { http = \0004 }' >30.hcl
      echo 'ports { http = 5 }' >.10.hcl.swp
      mkdir 40.hcl]], "sh", etc, reads = true }
    h = sshd:host { transport = transport, user = sshds.user, nomad_addr = transport .. "5" }
    tap.equal(h.consul.status.read_leader(), "127.0.0.1:8300")
    host.run { "sh", "-c", [[echo 'ports { http = 1 }' >"$1/50.hcl"]], "sh", etc, reads = true }
    h = sshd:host { transport = transport, user = sshds.user, nomad_addr = transport .. "6" }
    tap.match(tostring(tap.raises("unreachable", h.consul.status.read_leader, { retries = 0 })),
      "the address is from /etc/consul.d of .* but for 20.hcl, which has an error on line 2, 30.hcl")
    host.run { "sh", "-c", [[rm "$1"/*.hcl "$1"/.*.hcl* -r
      printf 'client_addr = "{{ GetPrivateIP }}"\nports { http = 1 }\n' >"$1/10.hcl"]], "sh", etc, reads = true }
    h = sshd:host { transport = transport, user = sshds.user, nomad_addr = transport .. "7" }
    local computed = tostring(tap.raises("unreachable", h.consul.status.read_leader, { retries = 0 }))
    tap.ok(computed:find("nobody answers at " .. (host.address or "127.0.0.1") .. ":1 ", 1, true), computed)
    tap.ok(not host.address or computed:find "which lets the agent compute it", computed)
    host.run { "rm", "-r", etc, reads = true }
    local silent = sshd:host { transport = transport, nomad_addr = transport .. "2" }
    local done, err = pcall(silent.consul.status.read_leader, { retries = 0 })
    tap.ok(done or tostring(err):find "the default", tostring(err))
  end)
end

tap.test("a forward goes on when its host is reached by the ssh program from now on", function()
  local old <close> = sshds.start { folder = sshd.folder }
  local h = old:host { consul_addr = "127.0.0.1:" .. server.port }
  tap.equal(h.consul.status.read_leader(), "127.0.0.1:8300")
  old:kill()
  -- The same place, with a key that libssh2 1.10 cannot use.
  local _ <close> = sshds.start { folder = sshd.folder, port = old.port, host_keys = "rsa" }
  tap.equal(h.consul.status.read_leader(), "127.0.0.1:8300")
end)

tap.test("vault is one for all hosts", function()
  local h = sshd:host()
  tap.equal(h.vault, nil)
end)

tap.finish()
