-- Broken and hostile servers, against tests/lua/hostile_server.py: each call runs in a program of its own, so that its
-- exit status, what it said, what it wrote down, its memory and what reached whom can be looked at. Run from the repository.
--
--   ONLY=PATTERN   only the cases whose name fits     SHOW=1   every message, for who wants to read them all
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local servers = require "server"

local ONLY, SHOW = os.getenv "ONLY", os.getenv "SHOW"
local PROGRAM = os.getenv "MOONBOOK" or "build/moonbook"
local TOKEN = "hostile-2c9e41d7-5b0a-4f6e-9d13-secret-a87f0b6c5e24"
local WATCHDOG = "180s" -- nothing takes so long, whatever else the machine does
local MARGIN_MS = 20000 -- beyond a call's own timeout, whatever else the machine does
local PATIENCE = 20 -- s for a call that is to end before its timeout
local AT_ONCE, IDLE_AT_ONCE = 6, 24 -- programs that work, and that wait

-- The sanitizers' shadow and quarantine are not the program's memory.
local sanitized = host.run { "grep", "-qa", "__asan_init", PROGRAM, reads = true, ok = { 0, 1 } }.code == 0
local MEMORY = sanitized and 400000 or 160000 -- KB at the peak, of a program that needs 12 MB by itself
local MEMORY_OF_VALUES = sanitized and 1000000 or 450000 -- where the answer is JSON that fills memory on purpose

-- ---- the server, its certificates, the calls ----

local folder = host.run { "mktemp", "-d", reads = true }.stdout:match "%S+"
local _ <close> = setmetatable({}, { __close = function() host.run { "rm", "-rf", folder, reads = true } end })
host.run { "sh", "-ec", [[cd "$1"; exec 2>&1
  curve="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
  authority() { openssl req -x509 $curve -keyout "$1.key" -out "$1.pem" -days 2 -subj "/CN=$2"; }
  sign() { # NAME SUBJECT AUTHORITY FOR FROM UNTIL
    openssl req $curve -keyout "$1.key" -out "$1.csr" -subj "/CN=$2"
    printf 'subjectAltName=%s' "$4" >extensions
    openssl ca -batch -notext -config conf -cert "$3.pem" -keyfile "$3.key" -in "$1.csr" -out "$1.pem" \
      -extfile extensions -startdate "$5" -enddate "$6"; }
  printf '[ca]\ndefault_ca=a\n[a]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n' >conf
  printf 'unique_subject=no\n[p]\ncommonName=supplied\n' >>conf
  : >index; echo 01 >serial
  authority ca "Test authority"; authority other "Another authority"
  openssl req -x509 $curve -keyout self.key -out self.pem -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1
  sign good 127.0.0.1 ca IP:127.0.0.1,DNS:localhost 20200101000000Z 20990101000000Z
  sign named consul.example.invalid ca DNS:consul.example.invalid 20200101000000Z 20990101000000Z
  sign expired 127.0.0.1 ca IP:127.0.0.1 20200101000000Z 20210101000000Z
  sign early 127.0.0.1 ca IP:127.0.0.1 20700101000000Z 20990101000000Z
  sign stranger 127.0.0.1 other IP:127.0.0.1 20200101000000Z 20990101000000Z
  sign client operator ca DNS:operator 20200101000000Z 20990101000000Z
  sign client_stranger operator other DNS:operator 20200101000000Z 20990101000000Z]], "sh", folder, reads = true }
local process, said = servers.launch("python3", "tests/lua/hostile_server.py", folder)
local _ <close> = setmetatable({}, { __close = function()
  host.run { "kill", process, reads = true, ok = { 0, 1 } }
end })
local server = json.decode(said)
local ports = server.ports

local function address(port, path)
  return ("%s://127.0.0.1:%d%s"):format(port:find "^tls" and "https" or "http", ports[port] or port, path or "")
end

local function seen() return http.get(address("plain", "/seen/")).json end

-- What is called; `timeout` and `retries` are put in.
local HEADERS = "headers = { Authorization = 'Bearer ' .. secret.env 'TOKEN' }"
local TO = "os.getenv 'XDG_STATE_HOME' .. '/to'"
local CALLS = {
  consul = "return (consul.catalog.list_nodes { LIMITS })",
  nomad = "return (nomad.jobs.list_jobs { LIMITS })",
  vault = "return (vault.sys.list_mounts { LIMITS })",
  http = "return http.get(os.getenv 'URL', { LIMITS, " .. HEADERS .. " }).json",
  put = "return (consul.event.fire_event('a', { body = 'b', LIMITS }))",
  kv = "return (consul.kv.put_key('a', { body = 'b', LIMITS }))", -- the present state is read first
  stream = "for _ in consul.agent.monitor_agent { LIMITS } do end return 'ended'",
  watch = "for answer in consul.watch(consul.catalog.list_service_nodes, 'web', { LIMITS }) do print('got', answer[1].ID) end",
  short = "return (nomad.nodes.read_node('d9c4', { LIMITS }))",
  save = "return (consul.snapshot.save_snapshot { to = " .. TO .. ", LIMITS })",
  download = "return (http.download { os.getenv 'URL', to = " .. TO .. ", limit = '32M', LIMITS, " .. HEADERS .. " })",
}
local HEADERS_OF = { http = true, download = true } -- they have no variables of the environment
local READERS = { "consul", "nomad", "vault", "http" }
local EVERYBODY = { "consul", "nomad", "vault", "http", "put", "stream", "save", "download" }

-- Runs one call: {code, kind, result, peak, ms, stdout, stderr, to}; to = the file that it wrote.
local count = 0
local function call(who, base, options)
  local limits = ("timeout = %s, retries = %d"):format(options.timeout or 0.7, options.retries or 1)
  if options.ca and HEADERS_OF[who] then limits = limits .. options.ca end
  local text = (options.chunk or CALLS[who]):gsub("LIMITS", limits)
  local chunk = [[local measured <close> = setmetatable({}, { __close = function()
      print("peak", file.read "/proc/self/status":match "VmHWM:%s*(%d+)")
    end })
    local function call() ]] .. text .. [[ end
    local result = call()
    print("result", type(result) == "table" and json.encode(result) or tostring(result)) ]]
  count = count + 1
  local state = folder .. "/state-" .. count
  local env = { PATH = os.getenv "PATH", HOME = "/nonexistent", XDG_STATE_HOME = state, TOKEN = TOKEN, URL = base .. "/v1/x",
    CONSUL_HTTP_ADDR = base, CONSUL_HTTP_TOKEN = TOKEN, NOMAD_ADDR = base, NOMAD_TOKEN = TOKEN, VAULT_ADDR = base,
    VAULT_TOKEN = TOKEN, ASAN_OPTIONS = os.getenv "ASAN_OPTIONS" or "" }
  for name, value in pairs(options.env or {}) do env[name] = value end
  local command = { PROGRAM, env = env, timeout = WATCHDOG, ok = true, reads = true }
  for _, word in ipairs(options.words or { "--json" }) do command[#command + 1] = word end
  table.move({ "-e", chunk }, 1, 2, #command + 1, command)
  local done, run = pcall(host.run, command)
  if not done then return { code = "?", stdout = "", stderr = tostring(run) } end
  -- the address sanitizer's remark about swapcontext is not the program's
  local result = { code = run.code, stdout = run.stdout, to = file.stat(state .. "/to"),
    stderr = run.stderr:gsub("==%d+==WARNING: ASan doesn't fully support[^\n]*\n", "") }
  for line in run.stdout:gmatch "{[^\n]+" do
    local event = json.decode(line)
    if event.event == "log" then
      local name, value = event.message:match "^(%a+)\t(.*)"
      if name then result[name] = value end
    elseif event.event == "run.end" then
      result.kind, result.ms = event.error and event.error.kind, event.ms
    end
  end
  return result
end

-- ---- what is wanted of each ----

-- The error is one that can be read: exit status 1, one line that says what and why, one that says what to do, nothing that
-- steers a terminal; and the call took neither more time nor more memory than it may.
local function check(name, result, wanted, options)
  local text, problems = result.stderr, {}
  local function hold(value, what)
    if not value then problems[#problems + 1] = name .. ": wanted: " .. what .. ": " .. text:sub(1, 3000) end
    return value
  end
  if SHOW then print(("# %s %s ms %s KB %s"):format(name, result.ms, result.peak, (text:gsub("\n", "\n#   ")))) end
  hold(not text:find "Sanitizer" and not text:find "runtime error:", "no word of a sanitizer")
  if not hold(result.ms and result.peak, "an orderly end") then return problems end
  local most = (options.timeout or 0.7) * 1000 + (options.margin or MARGIN_MS)
  hold(result.ms < most, "an end within its time, not after " .. result.ms .. " ms")
  hold(tonumber(result.peak) < (options.memory or MEMORY), "little memory, not " .. result.peak .. " KB")
  if not wanted[1] then
    hold(result.code == 0 and text == "", "no error")
    hold(tostring(result.result):find(wanted[2]), "another result than " .. tostring(result.result):sub(1, 200))
    return problems
  end
  hold(result.code == 1, "exit status 1, not " .. tostring(result.code))
  hold(result.kind == wanted[1], "a failure of the kind " .. wanted[1] .. ", not " .. tostring(result.kind))
  local message, hint = text:match "^error: ([^\n]+)\n(.*)$"
  if not hold(message, "one line that begins with error:") then return problems end
  hold(hint == "" or hint:find "^  what to do: [^\n]+\n$", "after it only what to do")
  hold(hint ~= "" or wanted[1] == "http", "what to do")
  hold(message:find(wanted[2]), wanted[2])
  hold(hint:find(wanted[3] or ""), tostring(wanted[3]))
  hold(not text:gsub("\n", ""):find "[%c\x7f]" and utf8.len(text) and not text:find "\xc2[\x80-\x9f]", "plain text")
  hold(#text < 2600, "not so much text")
  return problems
end

-- Cases are run at the same time, before anything is judged: what is slow on purpose would take its time one by one.
local planned, results = {}, {}

local function plan(title, whos, cases, options)
  local group = { title = title, list = {}, options = options or {} }
  for names, wanted in pairs(cases) do
    for name in names:gmatch "%S+" do
      for _, who in ipairs(whos) do
        local expected = type(wanted[1]) == "table" and (wanted[who] or wanted[1]) or wanted
        if not (ONLY and not (name .. "~" .. who):find(ONLY)) and expected ~= "skip" then
          table.insert(group.list, { key = name .. "~" .. who, name = name, who = who, wanted = expected })
        end
      end
    end
  end
  table.sort(group.list, function(a, b) return a.key < b.key end)
  planned[#planned + 1] = group
end

local function run_all()
  local busy, idle = {}, {}
  for _, group in ipairs(planned) do
    local list = group.options.idle and idle or busy
    for _, item in ipairs(group.list) do
      item.options = group.options
      list[#list + 1] = item
    end
  end
  local function run(item)
    local base = item.options.base and item.options.base(item) or address("plain", "/" .. item.key)
    results[item.key] = call(item.who, base, item.options)
  end
  parallel {
    function() parallel(busy, run, { limit = AT_ONCE }) end,
    function() parallel(idle, run, { limit = IDLE_AT_ONCE }) end,
  }
  for _, group in ipairs(planned) do
    if #group.list > 0 then
      tap.test(group.title .. (" (%d)"):format(#group.list), function()
        local problems = {}
        for _, item in ipairs(group.list) do
          local found = check(item.key, results[item.key], item.wanted, group.options)
          table.move(found, 1, #found, #problems + 1, problems)
        end
        tap.equal(table.concat(problems, "\n"), "")
      end)
    end
  end
end

local REFUSED = { "unreachable", "127.0.0.1:%d+: Connection refused" }
local BROKEN, TIMEOUT = { "unreachable", "broke off" }, { "timeout", "within %d" }
local NOT_HTTP, HEAD = { "invalid", "does not answer in HTTP" }, { "invalid", "head is too long" }
local NOT_JSON, LARGE = { "invalid", "no JSON" }, { "invalid", "larger than %d+ bytes" }

-- What is wanted of a reader of JSON; a reader of bytes takes what that does not, and is left out where `others` does not
-- say what is wanted of it.
local function of_readers(wanted, others)
  others = others or {}
  return { wanted, http = others.http, put = others.put, kv = others.put, stream = others.stream or "skip",
    save = others.save or "skip", download = others.download or "skip" }
end

plan("connections that end: closed, reset, in every part of the answer", EVERYBODY, {
  ["close close-in-status close-in-body close-in-chunk"] = BROKEN,
  ["close-in-headers"] = { "unreachable", "closed within the headers" },
  ["reset reset-in-status reset-in-headers reset-in-body reset-in-chunk"] = { "unreachable", "broke off: .*reset" },
}, { timeout = PATIENCE })

plan("before a write: neither what is there nor the write takes longer", { "kv" }, {
  ["silent stall-in-body drip-100"] = TIMEOUT,
}, { idle = true })
plan("servers that fall silent or drip end with the timeout", EVERYBODY, {
  ["silent stall-in-status stall-in-headers stall-in-body stall-in-chunk"] = TIMEOUT,
  ["drip-status drip-headers drip-header drip-error drip-100"] = TIMEOUT,
  ["drip-body drip-chunks"] = of_readers(TIMEOUT, { save = TIMEOUT, download = TIMEOUT }),
}, { idle = true })

plan("heads without end", EVERYBODY, {
  ["endless-status endless-header"] = { "invalid", "a line of its head is too long" },
  ["endless-headers endless-names endless-trailers endless-100 endless-103 many-headers"] = HEAD,
  ["endless-fold"] = { "invalid", "goes on in the next line" },
}, { timeout = PATIENCE })

plan("bodies without end", EVERYBODY, {
  ["endless-body endless-chunks"] = of_readers(LARGE, { put = LARGE, download = LARGE }),
  ["endless-chunk-size"] = { "invalid", "chunked%-encoding" },
  ["endless-error"] = { "http", "500: it went wrong" },
  ["endless-403"] = { "permission", "403: nevernever" },
  ["endless-429"] = { "http", "429: busy" },
  ["endless-redirect"] = { { "http", "redirected to http://127.0.0.1:1/, not followed" }, http = REFUSED, download = REFUSED },
}, { timeout = PATIENCE })
plan("bodies without end that are to be kept whole, or hide in their frame, end with the timeout", EVERYBODY, {
  ["endless-extension"] = TIMEOUT,
})
plan("files without end", { "save" }, {
  ["endless-body endless-chunks spaces"] = TIMEOUT,
})

plan("lengths that are wrong", EVERYBODY, {
  ["length-long"] = BROKEN,
  ["length-short"] = of_readers({ "invalid", "premature EOF" }),
  ["length-negative length-word"] = { "invalid", "Invalid Content%-Length" },
  ["length-list length-beyond"] = { "invalid", "its Content%-Length is no number" },
  ["length-two"] = { "invalid", "two different Content%-Lengths" },
  ["length-exabyte"] = { LARGE, save = BROKEN, stream = BROKEN },
  ["length-and-chunks"] = { { false, "[[]]" }, stream = { false, "ended" }, save = { false, "true" },
    download = { false, "changed" } },
}, { timeout = PATIENCE })

plan("chunks and encodings that are wrong or were not asked for", EVERYBODY, {
  ["chunk-word chunk-negative chunk-huge chunk-short"] = { "invalid", "chunked%-encoding" },
  ["chunk-exabyte chunk-unended"] = BROKEN,
  ["chunk-twice transfer-gzip-bomb transfer-gzip-cut transfer-unknown"] = { "invalid", "it is encoded %(Transfer%-Encoding%)" },
  ["gzip gzip-cut gzip-bomb"] = of_readers({ "invalid", "compressed %(Content%-Encoding: gzip%)" }, { http = NOT_JSON }),
}, { timeout = PATIENCE })

plan("what is no HTTP", EVERYBODY, {
  ["status-000 status-099 status-99 status-1000 status--1 status-2x0 status-OK status-none"] =
    { "invalid", "does not answer in HTTP: Unsupported" },
  ["status-999"] = { "http", "999" },
  ["version-7 http09 ssh binary nuls alert header-nul"] = NOT_HTTP,
  ["version-word"] = { "invalid", "its first line is no HTTP status" },
  ["switch-101"] = { "invalid", "switches to another protocol" },
  ["only-100"] = BROKEN,
  ["header-none"] = of_readers({ "invalid", "it is empty" }, { http = NOT_JSON, put = { false, "true" },
    save = { "invalid", "the answer is empty" } }),
  ["header-nameless"] = of_readers({ false, "[[]]" }),
}, { timeout = PATIENCE })

plan("what is no JSON, or not what it says it is", READERS, {
  ["json-cut json-trailing json-two json-nan json-infinity json-float json-comma json-quotes"] = NOT_JSON,
  ["json-comment json-escape json-control"] = NOT_JSON,
  ["json-nul json-nul-first json-bom json-word json-blank"] = NOT_JSON,
  ["json-utf8 json-overlong json-latin1 json-utf16"] = { "invalid", "no JSON: line 1, column %d+: invalid UTF%-8" },
  ["json-surrogate json-surrogates"] = { "invalid", "half of a surrogate pair" },
  ["json-digits"] = { "invalid", "a number of more than 1024 characters" },
  ["json-deep json-deep-objects json-deep-closed"] = { "invalid", "nested deeper than 120 levels" },
  ["json-duplicate"] = { false, '"last"' },
  ["html-as-json html"] = { { "invalid", "a page for browsers, no JSON" }, http = NOT_JSON },
  ["html-error"] = { "http", " 502$" },
  ["json-as-html json-as-picture untyped"] = { false, '"a"' },
  ["nothing"] = { { "invalid", "it is empty" }, http = NOT_JSON },
}, { timeout = PATIENCE })

plan("a gigabyte of blanks, and texts that are too large", READERS, {
  ["spaces spaces-unannounced spaces-then-json string-200 string-200-unannounced"] = LARGE,
}, { timeout = PATIENCE, memory = sanitized and MEMORY or 120000 })
plan("blanks as many as an answer may have", READERS, {
  ["spaces-60"] = { { "invalid", "the text is empty" }, nomad = "skip", vault = "skip" },
  ["spaces-60-then-json"] = { { false, "[[]]" }, nomad = "skip", vault = "skip" },
}, { timeout = PATIENCE })
plan("values that are much larger than their text", READERS, {
  ["tables"] = { "invalid", "they would take more than 256 MiB" },
  ["objects numbers"] = { { "invalid", "they would take more than 256 MiB" }, nomad = "skip", vault = "skip", http = "skip" },
}, { timeout = 30, memory = MEMORY_OF_VALUES })

-- What http.get follows ends elsewhere, without the token; that is looked at below.
local FOLLOWED, NOT_FOLLOWED = { false, "stolen" }, { "http", "redirected to [^ ]+, not followed" }
local function follows(wanted)
  return { NOT_FOLLOWED, http = wanted or FOLLOWED, download = wanted or { false, "changed" } }
end
plan("redirects to elsewhere", EVERYBODY, {
  ["redirect-301 redirect-302 redirect-303 redirect-307 redirect-308"] = follows(),
  ["redirect-300 redirect-empty redirect-invalid redirect-file redirect-gopher redirect-prefix"] = NOT_FOLLOWED,
  ["redirect-name redirect-slashes"] = follows(),
  ["redirect-user redirect-backslash redirect-password"] = {
    { "http", "redirected to http://127.0.0.1:%d+/v1/elsewhere/" }, http = FOLLOWED, download = { false, "changed" } },
  ["redirect-tls"] = follows({ "unreachable", "does not verify" }),
  ["redirect-nowhere"] = { "http", "redirected to nowhere" },
  ["redirect-loop"] = NOT_FOLLOWED,
  ["redirect-long"] = { { "http", "redirected to /a+, not followed" }, http = { "http", "404" }, download = { "http", "404" } },
  ["redirect-twice"] = { NOT_FOLLOWED, http = { "http", "redirected to " }, download = { "http", "redirected to " } },
}, { timeout = PATIENCE })
plan("standbys that name the wrong leader, or none, or themselves", { "vault" }, {
  ["leader leader-loop"] = { "http", "redirected to http://127.0.0.1:%d+/[^ ]+, not followed" },
}, { timeout = PATIENCE })
plan("a standby whose leader does not answer who leads", { "vault" }, {
  ["leader-silent"] = { "http", "redirected to http://127.0.0.1:%d+/[^ ]+, not followed" },
}, { timeout = 3, idle = true })

plan("storms of 429, 502, 503 and 504 end with the timeout", EVERYBODY, {
  ["429 429-soon 429-negative 429-garbage 502 503 504"] = { "http", " %d%d%d: busy" },
  ["429-huge 429-beyond 429-date 429-year-9999 503-huge"] = { "http", " %d%d%d: busy" },
}, { retries = 20, timeout = 3, idle = true })
plan("storms: a write is sent once", { "kv" }, {
  ["429 429-huge 503"] = { "http", " %d%d%d: busy" },
}, { retries = 20, timeout = 3, idle = true })
plan("storms of 429 that may be asked again at once end with the retries", EVERYBODY, {
  ["429-now 429-past"] = { "http", "429: busy" },
}, { retries = 20, timeout = PATIENCE })
plan("a Retry-After that is a date is kept", READERS, { ["patient"] = { false, "kept" } }, { timeout = PATIENCE, idle = true })

local TOLD = { "http", " %d%d%d" }
plan("the token said back: in the text, its parts, the headers, the address", EVERYBODY, {
  ["reflect reflect-base64 reflect-at-280 reflect-at-290 reflect-at-1480 reflect-at-1490 reflect-at-4060 reflect-at-4080"] = TOLD,
  ["reflect-vault reflect-vault-at-1490"] = { "http", "400" },
  ["reflect-vault-escaped"] = { { "http", "400: bad token <secret>$" }, http = "skip", download = "skip" },
  ["reflect-reason reflect-header"] = { "http", "500: no" },
  ["reflect-403"] = { "permission", "<secret>" },
  ["reflect-json"] = of_readers(NOT_JSON),
  ["reflect-location reflect-location-at-280 reflect-location-at-290 reflect-location-at-1480 reflect-location-at-1490"] = {
    NOT_FOLLOWED, http = REFUSED, download = REFUSED },
  ["reflect-location-at-4060 reflect-location-at-4080"] = { NOT_FOLLOWED, http = REFUSED, download = REFUSED },
}, { timeout = PATIENCE })

plan("texts that would steer a terminal", EVERYBODY, {
  ["ansi ansi-8bit ansi-json"] = { "http", "500: .*before.*after" },
  ["ansi-location"] = { { "http", "302" }, http = { "http", "302" } },
  ["ansi-reason"] = { "http", " 500$" },
  ["ansi-200"] = of_readers(NOT_JSON),
  ["lines"] = { "http", "500: one +two.error: forged +three$" },
  ["long-line"] = { "http", "500: much to say much to say" },
}, { timeout = PATIENCE })

plan("ids by their beginning: the question for them is as bounded", { "short" }, {
  ["silent drip-body"] = TIMEOUT,
}, { idle = true })
plan("ids by their beginning: answers that are none", { "short" }, {
  ["json-cut json-deep html"] = { "invalid", "" },
  ["tables"] = { "invalid", "256 MiB" },
  ["endless-error redirect-307"] = { "http", "Nomad answers %d%d%d" },
  ["short-ids"] = { "usage", "several nodes begin with d9c4: d9c4before.*, d9c4/../../x" },
}, { memory = MEMORY_OF_VALUES, timeout = PATIENCE })

plan("blocking queries of a server that does not wait are not asked again and again", { "watch" }, {
  ["index-same"] = { "timeout", "the run did not end within" },
  ["index-word index-beyond index-none"] = { "usage", "no index" },
}, { words = { "--json", "--timeout", "4s" }, timeout = PATIENCE })

plan("streams that are none", { "stream" }, {
  ["stream-cut"] = { "invalid", "the stream ended within an object" },
  ["stream-unopened stream-scalar"] = { "invalid", "no object begins where one should" },
  ["stream-frames"] = { "invalid", "not base64" },
}, { timeout = PATIENCE })
-- A stream may last for ever, as long as something comes: the run's own time ends it.
plan("streams without end end with the run", { "stream" }, {
  ["drip-body drip-chunks endless-body endless-chunks spaces spaces-unannounced spaces-then-json"] =
    { "timeout", "the run did not end within" },
}, { words = { "--json", "--timeout", "1s" }, timeout = 30 })
plan("streams of lines that are too long are cut", { "stream" }, {
  ["tables objects numbers string-200"] = { false, "ended" },
}, { timeout = 30 })

local function at_port(item) return address(item.name) end
plan("ports where nobody listens, or nobody answers", EVERYBODY, {
  ["refused"] = { { "unreachable", "cannot connect to 127.0.0.1:%d+: Connection refused", "systemctl status" },
    http = REFUSED, download = REFUSED },
  ["accept_close"] = BROKEN,
  ["accept_reset"] = { "unreachable", "reset" }, -- seen while connecting, or after
}, { base = at_port, timeout = PATIENCE })
plan("a port where somebody listens who says nothing", EVERYBODY, {
  ["accept_silent"] = TIMEOUT,
}, { base = at_port, idle = true })

local function trusting(more)
  local env, names = {}, { CACERT = "ca.pem", CLIENT_CERT = more and more .. ".pem", CLIENT_KEY = more and more .. ".key" }
  for name, path in pairs(names) do
    for _, product in ipairs { "CONSUL_", "NOMAD_", "VAULT_" } do env[product .. name] = folder .. "/" .. path end
  end
  local ca = (", ca = '%s/ca.pem'"):format(folder)
  if more then ca = ca .. (", cert = '%s/%s.pem', key = '%s/%s.key'"):format(folder, more, folder, more) end
  return { env = env, ca = ca, timeout = PATIENCE,
    base = function(item) return ("https://127.0.0.1:%d/fine~%s"):format(ports[item.name:gsub("%-.*", "")], item.key) end }
end
local CERTIFICATE = "certificate of 127.0.0.1:%d+ %(subject CN = .*%) does not verify against .*ca.pem: .*"
plan("certificates", { "consul", "nomad", "vault", "http", "put" }, {
  ["good"] = { false, '"a"' },
  ["expired"] = { "unreachable", CERTIFICATE .. "expired", "renew" },
  ["early"] = { "unreachable", CERTIFICATE .. "not yet valid", "clock" },
  ["self"] = { "unreachable", CERTIFICATE .. "self.signed", "authority" },
  ["stranger"] = { "unreachable", CERTIFICATE .. "local issuer", "authority" },
  ["named"] = { "unreachable", CERTIFICATE .. "name", "[_sS][eE][rR][vV][eE][rR]_[nN][aA][mM][eE]" },
  ["client"] = { "unreachable", "wants a client certificate", "client certificate" },
  ["client12"] = { "unreachable", "", "client certificate" },
  ["tls_garbage tls_cut"] = { "unreachable", "no TLS with 127.0.0.1:%d+: " },
  ["plain"] = { "unreachable", "no TLS with 127.0.0.1:%d+: ", "plain http" },
}, trusting())
plan("handshakes that stall", { "consul", "nomad", "vault", "http", "put" }, {
  ["tls_silent-stall"] = { "timeout", "no connection to 127.0.0.1:%d+ within" },
}, { base = trusting().base, idle = true })
plan("client certificates", { "consul", "nomad", "vault", "http", "put" }, {
  ["client-right client12-right"] = { false, '"a"' },
}, trusting "client")
plan("client certificates of another authority", { "consul", "nomad", "vault", "http", "put" }, {
  ["client-wrong client12-wrong"] = { "unreachable", "refused the client certificate .*client_stranger.pem" },
}, trusting "client_stranger")
plan("plain HTTP to a port with TLS", EVERYBODY, {
  ["good-plain"] = { "unreachable", "broke off" },
}, { base = function() return "http://127.0.0.1:" .. ports.good end, timeout = PATIENCE })

run_all()

-- ---- after all of them ----

-- Pieces of the token, too: a text that is cut must not end within it.
tap.test("the token is nowhere: not in what was said, nor written down", function()
  local parts = { TOKEN:sub(1, 8), TOKEN:sub(-8), "2c9e41d7" }
  for key, result in pairs(results) do
    for _, part in ipairs(parts) do
      tap.ok(not (result.stdout .. result.stderr):find(part, 1, true), key .. " does not show the token: " .. result.stderr)
    end
  end
  local found = host.run { "grep", "-rlaF", "-e", parts[1], "-e", parts[2], folder, "--include=*.jsonl",
    reads = true, ok = { 0, 1 } }
  tap.equal(found.stdout, "")
end)

tap.test("nobody else got a request that he should not get, and nobody the token", function()
  local all = seen()
  for _, text in ipairs(all.elsewhere) do
    tap.ok(text:find "~http " or text:find "~download ", "only http.get and http.download go elsewhere, not: " .. text)
    tap.ok(not text:find(TOKEN, 1, true), "without the token: " .. text)
  end
  tap.ok(ONLY or #all.elsewhere > 10, "they do")
  for key in pairs(all.requests) do
    tap.ok(not key:find "^fine~" or key:find "^fine~good" or key:find "-right~", "no request after a bad handshake: " .. key)
  end
end)

tap.test("retries: as many as were allowed, none of a change, none where the server says later than there is time", function()
  local requests = seen().requests
  for key, list in pairs(requests) do
    local name, who = key:match "^(.*)~(.*)$"
    if name and (name:find "^429" or name:find "^50") then
      if who == "kv" then -- the question for the present state is none
        local writes = 0
        for _, head in ipairs(list) do writes = writes + (head:find "^PUT" and 1 or 0) end
        tap.equal(writes, 1, key)
      end
      local once = who == "put" or who == "save" or who == "stream" or name:find "huge" or name:find "beyond" or name:find "date"
        or name:find "9999" or name:find "soon"
      tap.ok(#list == 1 or who == "kv" or (not once and #list <= 21), key .. ": " .. #list .. " requests")
    end
  end
  local asked = #(requests["index-same~watch"] or {})
  tap.ok(asked < 10, "a question a second, not " .. asked .. " in four")
  if ONLY then return end
  tap.equal({ #requests["429-now~vault"], #requests["429-past~http"], #requests["429-huge~nomad"] }, { 21, 21, 1 })
end)

tap.test("a certificate that does not verify, of a server that then falls silent: the call's time is all there is", function()
  local options, fastest = trusting(), math.huge
  options.timeout = 2 -- a second look at a certificate may take 3 s where there is time
  parallel({ "self_once", "self_once2", "self_once3" }, function(name) -- the machine may be busy once
    local result = call("consul", options.base { name = name, key = name .. "~consul" }, options)
    tap.equal(check(name, result, { "unreachable", "certificate of 127.0.0.1:%d+ does not verify", "authority" }, options), {})
    fastest = math.min(fastest, result.ms)
  end)
  tap.ok(fastest < 2900, fastest .. " ms")
end)

tap.test("what was not got whole is not kept, and nothing is left beside it", function()
  for key, result in pairs(results) do
    if result.code == 1 then tap.equal(result.to, nil, key) end
  end
  tap.equal(host.run { "find", folder, "-name", "to.*", reads = true }.stdout, "")
end)

tap.test("each misbehaviour that the server knows was met", function()
  if ONLY then return end
  local met = { fine = true, v1 = true, ["endless-lines"] = true }
  for key in pairs(results) do met[key:match "^[^~]+"] = true end
  for _, name in ipairs(server.cases) do tap.ok(met[name], name .. " is in a plan") end
end)

-- ---- what people see, without --json ----

tap.test("plain output: neither the token nor what steers a terminal, in a change that failed", function()
  for _, name in ipairs { "reflect", "reflect-at-1490", "ansi", "ansi-8bit", "ansi-json", "lines" } do
    local result = call("put", address("plain", "/" .. name .. "~plainly"), { words = {} })
    tap.equal(result.code, 1)
    tap.ok(not result.stderr:find("2c9e41d7", 1, true) and not result.stderr:find(TOKEN:sub(1, 8), 1, true), result.stderr)
    tap.ok(not result.stderr:gsub("\n", ""):find "[%c\x7f\x9b]", result.stderr)
    tap.equal(select(2, result.stderr:gsub("\nerror: ", "")), 1)
  end
  local chunk = [[print(pcall(consul.catalog.list_nodes))
    warn(select(2, pcall(consul.catalog.list_nodes)))
    log(http.get(os.getenv "URL", { ok = 500 }).body)]]
  local result = call("", address("plain", "/ansi~printed"), { words = {}, chunk = chunk })
  tap.ok(not (result.stdout .. result.stderr):gsub("[\n\t]", ""):find "[%c\x7f\x9b]", result.stdout .. result.stderr)
end)

tap.test("a stream that always has more lets others go on", function()
  local result = call("", address("plain", "/endless-lines~shared"), { timeout = 30, chunk = [[
    local lines, ticks = 0, 0
    pcall(parallel, {
      function()
        for _ in consul.agent.monitor_agent() do
          lines = lines + 1
          if lines == 1000000 then error "enough" end
        end
      end,
      function() while true do sleep(0.001) ticks = ticks + 1 end end,
    })
    return lines .. (ticks > 3 and " and ticks" or " alone")]] })
  tap.equal(result.result, "1000000 and ticks")
end)

-- ---- proxies, and sockets without a network ----

local PROXY = address "proxy"
local function proxied(who, base, env, more)
  env.http_proxy = env.http_proxy or PROXY
  env.https_proxy = env.https_proxy or env.http_proxy
  local options = more or {}
  for name, value in pairs(options.env or {}) do env[name] = env[name] or value end
  options.env, options.timeout = env, PATIENCE
  return call(who, base, options)
end

tap.test("the environment's proxies are for other hosts, never for this machine", function()
  for _, who in ipairs(READERS) do
    for _, base in ipairs { address("plain", "/fine~local"), ("http://localhost:%d/fine~local"):format(ports.plain) } do
      local result = proxied(who, base, { HTTP_PROXY = PROXY, ALL_PROXY = PROXY, all_proxy = PROXY, HTTPS_PROXY = PROXY })
      tap.match(result.result, '"a"')
    end
    tap.equal(#seen().proxy, 0)
  end
  for _, who in ipairs(READERS) do
    tap.match(proxied(who, "http://consul.example.invalid:8500", {}).result, "by the proxy")
    local asked = seen().proxy
    tap.match(asked[#asked], "^GET http://consul.example.invalid:8500/v1/[%w/]+ HTTP/1.1")
  end
  local before = #seen().proxy
  tap.match(proxied("consul", "http://consul.example.invalid", { http_proxy = "", HTTP_PROXY = PROXY }).result or "none", "none")
  tap.match(call("consul", "http://consul.example.invalid", { timeout = PATIENCE, env = { HTTP_PROXY = PROXY } }).result,
    "by the proxy")
  local result = proxied("consul", "http://consul.example.invalid", { no_proxy = "example.invalid" })
  tap.match(result.stderr, "cannot reach consul.example.invalid")
  tap.equal(#seen().proxy, before + 1)
end)

tap.test("through a proxy to https: it gets neither the token nor what follows", function()
  for _, who in ipairs(READERS) do
    local before = #seen().proxy
    local options = trusting()
    local result = proxied(who, "https://consul.example.invalid:8501/fine~tunnel", {}, options)
    tap.match(result.result or result.stderr, '"a"')
    local asked = seen().proxy
    tap.equal(#asked, before + 1)
    tap.match(asked[#asked], "^CONNECT consul.example.invalid:8501 HTTP/1.1")
    tap.ok(not asked[#asked]:find(TOKEN, 1, true), asked[#asked])
  end
end)

tap.test("proxies that are down, refuse or break off are named", function()
  for _, scheme in ipairs { "http", "https" } do
    local function ask(name, env)
      return proxied("consul", scheme .. "://" .. name .. ".example.invalid:8500", env or {}, { retries = 0 }).stderr
    end
    tap.match(ask("down", { http_proxy = address "refused" }), "cannot connect to the proxy 127.0.0.1:%d+ for "
      .. "down.example.invalid:8500: Connection refused\n  what to do: see http_proxy and https_proxy")
    tap.match(ask "refusing", "407.*no_proxy names what needs none")
    tap.match(ask "broken", "broke off")
  end
end)

tap.test("Unix sockets: plain answers, and a redirect to the same server stays on the socket", function()
  local unix = "unix://" .. folder .. "/socket"
  for _, who in ipairs { "consul", "nomad", "vault", "put" } do
    tap.match(call(who, unix, { timeout = PATIENCE, env = { http_proxy = PROXY } }).result, '"a"')
  end
  local requests = table.concat(seen().requests.v1, "\n")
  tap.match(requests, "GET /v1/moved HTTP/1.1\r\nHost: localhost\r\n")
  tap.ok(select(2, requests:gsub(TOKEN:gsub("%-", "%%-"), "")) >= 4, "they got the token")
  tap.equal(http.get("http://localhost/fine~socket/x", { unix_socket = folder .. "/socket" }).json[1].ID, "a")
  tap.match(tap.raises("unreachable", consul { addr = unix .. "-none" }.status.read_leader, { retries = 0 }),
    "cannot connect to .*socket%-none: No such file")
end)

tap.finish()
