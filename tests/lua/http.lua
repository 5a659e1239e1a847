-- http: requests, errors, redirects, retries, downloads, against tests/lua/http_server.py. Run from the repository.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"
local server <close> = servers.start()
local other <close> = servers.start()
local url = server.url

tap.test("get returns status, headers, body", function()
  local answer = http.get(url .. "/json")
  tap.equal(answer.status, 200)
  tap.equal(answer.headers["content-type"], "application/json")
  tap.equal(answer.headers["Content-Type"], "application/json")
  tap.equal(answer.json.number, 1600000000000000001)
  tap.equal(answer.url, url .. "/json")
  tap.equal(http.get { url .. "/json" }.status, 200)
end)

tap.test("query, headers and methods arrive", function()
  local echo = http.get(url .. "/echo", { query = { q = "a b&c", n = 3, list = { "x", "y" } }, headers = { ["X-A"] = "1" } }).json
  tap.equal(echo.method, "GET")
  tap.ok(echo.path:find("q=a%20b%26c", 1, true))
  tap.ok(echo.path:find("list=x&list=y", 1, true))
  tap.ok(echo.path:find("n=3", 1, true))
  tap.equal(echo.headers["x-a"], "1")
  tap.equal(http.head(url .. "/echo").body, "")
  tap.equal(http.request { url .. "/echo", method = "LIST", reads = true }.json.method, "LIST")
end)

tap.test("bodies", function()
  tap.equal(http.put(url .. "/echo", { body = "bytes\0more" }).json.body, "bytes\0more")
  local echo = http.post(url .. "/echo", { json = { a = json.array {}, n = 1 } }).json
  tap.equal(echo.method, "POST")
  tap.equal(echo.body, '{"a":[],"n":1}')
  tap.equal(echo.headers["content-type"], "application/json")
  tap.equal(http.delete(url .. "/store/x").status, 200)
end)

tap.test("error statuses raise unless they are asked for", function()
  local err = tap.raises("http", http.get, url .. "/status/404")
  tap.equal(err.status, 404)
  tap.match(err, "status 404: status 404")
  tap.equal(tap.raises("permission", http.get, url .. "/status/403").status, 403)
  tap.equal(http.get(url .. "/status/404", { ok = 404 }).status, 404)
  tap.equal(http.get(url .. "/status/410", { ok = { 404, 410 } }).status, 410)
  tap.raises("redirected to /nowhere, not followed", http.put, url .. "/redirect/307?to=/nowhere")
end)

tap.test("what cannot be reached says so", function()
  tap.match(tap.raises("unreachable", http.get, "http://127.0.0.1:1/", { retries = 0 }), "127.0.0.1:1: Connection refused")
  tap.raises("unreachable", http.get, url .. "/short")
  tap.raises("unreachable", http.get, url .. "/reset")
  tap.raises("invalid", http.get, url .. "/garbage")
  tap.match(tap.raises("invalid", http.get, url .. "/spaces", { limit = "1M" }), "larger than 1048576")
  tap.raises("invalid", function() return http.get(url .. "/broken").json end)
  tap.raises("invalid", function() return http.get(url .. "/deep").json end)
  tap.raises("timeout", http.get, url .. "/slow/5", { timeout = 0.2 })
end)

tap.test("wrong arguments", function()
  tap.match(tap.raises("usage", http.get, url, { tiemout = 1 }), 'did you mean "timeout"')
  tap.raises("usage", http.get)
  tap.raises("usage", http.get, "ftp://127.0.0.1/")
  tap.raises("usage", http.get, "no url")
  tap.raises("usage", http.get, url, { headers = { ["X-A"] = "a\r\nX-B: c" } })
  tap.raises("usage", http.put, url, { body = "a", json = 1 })
end)

tap.test("busy servers are asked again, as long as they say", function()
  tap.equal(http.get(url .. "/busy/a/2").body, "3")
  tap.equal(tap.raises("http", http.get, url .. "/busy/b/9").status, 429)
  tap.equal(#server:seen().requests > 0, true)
  tap.equal(tap.raises("http", http.put, url .. "/busy/c/1").status, 429) -- a change is sent once
  tap.equal(http.get(url .. "/busy/d/9", { ok = 429 }).status, 429)
end)

tap.test("redirects: relative, to another host without secrets, in a circle", function()
  tap.equal(http.get(url .. "/redirect/302?to=/json").json.number, 1600000000000000001)
  local secret = "very-secret-" .. server.port
  local answer = http.get(url .. "/redirect/302?to=" .. other.url .. "/echo", {
    headers = { Authorization = "Bearer " .. secret, ["X-Plain"] = "1" }, user = "u", password = secret })
  tap.equal(answer.json.headers.authorization, nil)
  tap.equal(answer.json.headers["x-plain"], "1")
  tap.ok(not http.get(other.url .. "/seen").body:find(secret, 1, true), "no secret at the other host")
  local kept = http.get(url .. "/redirect/302?to=" .. url .. "/echo", { headers = { Authorization = "Bearer " .. secret } })
  tap.ok(kept.json.headers.authorization)
  tap.equal(tap.raises("http", http.get, url .. "/loop").status, 302)
  tap.equal(http.get(url .. "/loop", { ok = 302 }).status, 302)
end)

tap.test("a password never shows", function()
  local err = tap.raises("http", http.get, "http://me:hunter22@127.0.0.1:" .. server.port .. "/status/500")
  tap.ok(not tostring(err):find("hunter22"))
  tap.ok(not http.get("http://me:hunter22@127.0.0.1:" .. server.port .. "/json").url:find("me:"))
  tap.ok(server:last("/status/500").headers.authorization)
end)

tap.test("connections are kept", function()
  local before = server:seen().connections
  for _ = 1, 20 do http.get(url .. "/json") end
  tap.equal(server:seen().connections, before)
end)

tap.test("a request leaves nothing to the next", function()
  local kinds = {
    function() http.get(url .. "/echo", { user = "me", password = "hunter22", headers = { ["X-A"] = "1" } }) end,
    function() http.put(url .. "/echo", { body = "text", headers = { ["Content-Type"] = "text/x" } }) end,
    function() http.post(url .. "/echo", { json = { 1 } }) end,
    function() http.delete(url .. "/echo") end,
    function() http.head(url .. "/echo") end,
    function() http.get(url .. "/status/500", { ok = 500 }) end,
    function() tap.raises("unreachable", http.get, url .. "/reset", { retries = 0 }) end,
    function() tap.raises("timeout", http.get, url .. "/slow/5", { timeout = "50ms" }) end,
  }
  local plain = http.get(url .. "/echo").body
  for i, ask in ipairs(kinds) do
    ask()
    tap.equal(http.get(url .. "/echo").body, plain, "after kind " .. i)
  end
end)

tap.test("no proxy stands before this machine, whatever the environment says", function()
  local function get(from)
    return host.run { os.getenv "MOONBOOK", "-e", "print(http.get(arg[1], { retries = 0 }).status)", from, reads = true,
      ok = { 0, 1 }, env = { http_proxy = "http://127.0.0.1:1", no_proxy = "" } }
  end
  tap.equal(get(url .. "/json").stdout, "200\n")
  tap.ok(get("http://host.invalid/json").stderr:find("refused", 1, true), "for others there is the one that is not there")
end)

tap.test("a request that a kept connection lost is sent once more, however often that happens", function()
  for _ = 1, 20 do
    http.get(url .. "/json")
    tap.equal(http.get(url .. "/vanish").body, "there")
  end
end)

tap.test("a kept connection that the server ends costs nothing and is not used again", function()
  local before = server:seen().connections
  for _ = 1, 3 do
    tap.equal(http.get(url .. "/leave").body, "left")
    local worked = os.clock()
    sleep(0.1)
    tap.ok(os.clock() - worked < 0.05, "the loop waits")
  end
  tap.equal(server:seen().connections, before + 3)
end)

tap.test("any Lua may wait", function()
  local list = { 3, 1, 2 }
  table.sort(list, function(a, b)
    http.get(url .. "/json")
    return a < b
  end)
  tap.equal(list, { 1, 2, 3 })
  local text = ("abc"):gsub(".", function(letter) return http.get(url .. "/echo?" .. letter).json.path:sub(-1) end)
  tap.equal(text, "abc")
  local co = coroutine.wrap(function() coroutine.yield(http.get(url .. "/json").status) end)
  tap.equal(co(), 200)
end)

tap.test("download converges, checks, and leaves a wrong file alone", function()
  local path = os.tmpname()
  local zeros = "13f02f6d60f3c1ab3ac0b8d9ddd4b4b2d2a4b2d4e0c2e0d9b1d3e4f5a6b7c8d9"
  local line = "head -c 100000 /dev/zero | tr '\\0' x | sha256sum | cut -c1-64"
  local wanted = host.run { "sh", "-c", line, reads = true }.stdout:sub(1, 64)
  tap.equal(http.download { url .. "/big/100000", to = path, sha256 = wanted, mode = "0640" }.changed, true)
  tap.equal(#file.read(path), 100000)
  tap.equal(file.stat(path).mode, "0640")
  local before = #server:seen().requests
  tap.equal(http.download { url .. "/big/100000", to = path, sha256 = wanted:upper(), mode = "0640" }.changed, false)
  tap.equal(#server:seen().requests, before) -- not even asked
  tap.equal(http.download { url .. "/big/100000", to = path }.changed, false)
  tap.raises("invalid", http.download, { url .. "/big/99999", to = path, sha256 = zeros })
  tap.equal(#file.read(path), 100000)
  tap.raises("usage", http.download, { url .. "/big/1", to = path, sha256 = "abc" })
  tap.raises("usage", http.download, { url .. "/big/1" })
  tap.equal(http.download { url .. "/big/7", to = path }.changed, true)
  tap.equal(file.read(path), "xxxxxxx")
  os.remove(path)
end)

-- An authority and a server's certificate for the name builder.test, in a folder that goes with the scope.
local function certificates()
  local folder = host.run { "mktemp", "-d", reads = true }.stdout:match("%S+")
  host.run { "sh", "-ec", [[cd "$1"; exec 2>&1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 \
      -subj "/CN=Test authority"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out csr.pem -subj "/CN=builder.test"
    printf 'subjectAltName=DNS:builder.test' > ext
    openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 1 -extfile ext
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout foreign.key -out foreign.pem -days 2 \
      -subj "/CN=Somebody else"]],
    "sh", folder, reads = true }
  return setmetatable({ folder = folder }, { __close = function()
    host.run { "rm", "-r", folder, reads = true }
  end })
end

if host.run { "sh", "-c", "command -v openssl", reads = true, ok = { 0, 127, 1 } }.code == 0 then
  tap.test("certificates: unknown authority, another name, the right one", function()
    local made <close> = certificates()
    local ca = made.folder .. "/ca.pem"
    local tls <close> = servers.start("--tls", made.folder .. "/cert.pem", made.folder .. "/key.pem")
    local err = tap.raises("unreachable", http.get, tls.url .. "/json")
    tap.match(err, "certificate of 127.0.0.1:%d+ ")
    tap.match(err, "builder.test")
    tap.match(err, "Test authority")
    tap.match(err, "the system's authorities")
    tap.match(tap.raises("unreachable", http.get, tls.url .. "/json", { ca = ca }), "127.0.0.1'?$?.*server_name=")
    local answer = http.get(tls.url .. "/echo", { ca = ca, server_name = "builder.test" })
    tap.equal(answer.json.headers.host, "127.0.0.1:" .. tls.port)
    tap.equal(http.get(tls.url .. "/json", { verify = false }).status, 200)
    tap.match(tap.raises("failed", http.get, tls.url .. "/json", { ca = "/nonexistent" }), "/nonexistent")
    tap.match(tap.raises("unreachable", http.get, url:gsub("http:", "https:") .. "/json"), "plain http")
    tap.raises("unreachable", http.get, (tls.url:gsub("https:", "http:")) .. "/json")
    local redirect = tls.url .. "/redirect/302?to=" .. url .. "/json"
    tap.raises("http", http.get, redirect, { ca = ca, server_name = "builder.test" }) -- never from https to http
    local authorities = consul { addr = tls.url, ca = ca }
    tap.match(tap.raises("unreachable", authorities.status.read_leader), "or say it in CONSUL_TLS_SERVER_NAME")
    tap.equal(consul { addr = tls.url, ca = ca, server_name = "builder.test" }.status.read_leader(), "127.0.0.1:8300")
  end)

  tap.test("client certificates", function()
    local made <close> = certificates()
    local ca, cert, key = made.folder .. "/ca.pem", made.folder .. "/cert.pem", made.folder .. "/key.pem"
    local tls <close> = servers.start("--tls", cert, key, "--client-ca", ca)
    local client = { addr = tls.url, ca = ca, server_name = "builder.test" }
    tap.match(tap.raises("unreachable", consul(client).status.read_leader), "wants a client certificate")
    client.cert, client.key = made.folder .. "/foreign.pem", made.folder .. "/foreign.key"
    for _ = 1, 20 do -- what the server says is lost now and then
      tap.match(tap.raises("unreachable", consul(client).status.read_leader),
        "refused the client certificate .*/foreign.pem .subject CN = Somebody else, .*CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY")
    end
    client.cert, client.key = cert, key
    tap.equal(consul(client).status.read_leader(), "127.0.0.1:8300")
    client.cert = "/nonexistent.pem"
    tap.match(tap.raises("failed", consul(client).status.read_leader), "/nonexistent.pem")
    -- Only the first host gets the certificate: the redirect back to the server comes to it without.
    local hop = other.url .. "/redirect/302?to=" .. tls.url .. "/json"
    tap.raises("client certificate", http.get, hop, { ca = ca, server_name = "builder.test", cert = cert, key = key,
      verify = false })
  end)
else
  tap.skip("certificates", "openssl is not installed")
end

tap.test("--check sends reads only, and what follows a predicted change is unknown", function()
  local chunk = string.format([[
    local answer = http.put("%s/store/check", { body = "x" })
    print(answer.status, http.get("%s/json").status)
    http.delete("%s/store/check")
    http.get(answer.body)]], url, url, url)
  local run = servers.moonbook { "--check", "--json", "-e", chunk }
  tap.equal(run.code, 0)
  for _, request in ipairs(server:seen().requests) do
    tap.ok(not request.path:find("/store/check"), "no change was sent")
  end
  local _, predicted = run.stdout:gsub('"status":"predicted"', "")
  tap.equal(predicted, 2)
  tap.ok(run.stdout:find('"kind":"http.put"') and run.stdout:find(url .. "/store/check", 1, true))
end)

tap.finish()
