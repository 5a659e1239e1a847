-- Fibers, steps, waits, Lua's guarded functions and the command line, through the program itself.
local tap = require "tap"

local program = os.getenv "MOONBOOK" or "build/moonbook"

-- Runs the program on a chunk: {code, stdout, stderr}.
local function chunk(text, ...)
  local command = { program, ... }
  -- the address sanitizer's remark about swapcontext is not the program's
  local function plain(answer)
    answer.stderr = answer.stderr:gsub("==%d+==WARNING: ASan doesn't fully support[^\n]*\n", "")
    return answer
  end
  table.move({ "-e", text }, 1, 2, #command + 1, command)
  command.reads, command.ok, command.timeout = true, true, "50s"
  return plain(host.run(command))
end

local function events(answer)
  local list = {}
  for line in answer.stdout:gmatch "[^\n]+" do list[#list + 1] = json.decode(line) end
  return list
end

local function first(list, name)
  for _, event in ipairs(list) do if event.event == name then return event end end
end

-- ---- fibers ----

tap.test("waits inside sort, gsub, metamethods, coroutines and close", function()
  local t = { 3, 1, 2 }
  table.sort(t, function(a, b) sleep(0.001) return a < b end)
  tap.equal(t, { 1, 2, 3 })
  tap.equal((("abc"):gsub(".", function(c) sleep(0.001) return c:upper() end)), "ABC")
  local lazy = setmetatable({}, { __index = function(_, k) sleep(0.001) return k .. "!" end })
  tap.equal(lazy.x, "x!")
  local co = coroutine.wrap(function() sleep(0.001) coroutine.yield(1) sleep(0.001) return 2 end)
  tap.equal({ co(), co() }, { 1, 2 })
  local closed
  do
    local _ <close> = setmetatable({}, { __close = function() sleep(0.001) closed = true end })
  end
  tap.ok(closed)
end)

tap.test("parallel runs at the same time and keeps the order of results", function()
  local running, most = 0, 0
  local results = parallel({ 1, 2, 3, 4 }, function(n)
    running = running + 1
    most = math.max(most, running)
    sleep(0.02)
    running = running - 1
    return n * n
  end)
  tap.equal(results, { 1, 4, 9, 16 })
  tap.equal(most, 4)
end)

tap.test("parallel keeps to its limit", function()
  local running, most = 0, 0
  parallel({ 1, 2, 3, 4, 5 }, function()
    running = running + 1
    most = math.max(most, running)
    sleep(0.005)
    running = running - 1
  end, { limit = 2 })
  tap.equal(most, 2)
end)

tap.test("a lock lets one fiber at a time past, in the order in which they asked", function()
  local order, inside = {}, 0
  parallel({ 1, 2, 3, 4, 5 }, function(n)
    local _ <close> = lock "one at a time"
    inside = inside + 1
    tap.equal(inside, 1)
    sleep(0.01)
    order[#order + 1] = n
    inside = inside - 1
  end)
  tap.equal(order, { 1, 2, 3, 4, 5 })
  local _ <close> = lock "another" -- its name is another lock
  local _ <close> = lock "one at a time"
end)

tap.test("a lock is given back by an error, and when its holder is cancelled while it waits", function()
  tap.raises("boom", function()
    local _ <close> = lock "given back"
    error { kind = "boom", message = "in it" }
  end)
  tap.raises("boom", parallel, {
    function()
      local _ <close> = lock "given back"
      sleep(60)
    end,
    function() local _ <close> = lock "given back" end,
    function() sleep(0.05) error { kind = "boom", message = "outside" } end,
  })
  local _ <close> = lock("given back", { timeout = "1s" })
end)

tap.test("who waits for a lock too long, or for its own, is told; the next in turn gets it all the same", function()
  local got
  parallel {
    function()
      local _ <close> = lock "slow"
      local err = tap.raises("usage", lock, "slow")
      tap.match(err, "slow is locked by this very fiber")
      wait { function() return got == "late" end, every = 0.01, what = "the second to give up" }
    end,
    function()
      local err = tap.raises("timeout", function() local _ <close> = lock("slow", { timeout = 0.05 }) end)
      tap.match(err, "lock: slow was not given back within 0.05 s")
      got = "late"
    end,
    function()
      local _ <close> = lock "slow"
      tap.equal(got, "late")
      got = "third"
    end,
  }
  tap.equal(got, "third")
  tap.match(tap.raises("usage", lock, "slow", { timeuot = 1 }), "timeout")
end)

tap.test("the first error of parallel cancels the others, whose <close> may wait", function()
  local closed = false
  tap.raises("boom", parallel, {
    function()
      local _ <close> = setmetatable({}, { __close = function() sleep(0.01) closed = true end })
      sleep(60)
    end,
    function() sleep(0.01) error("boom", 0) end,
  })
  tap.ok(closed, "the other's <close> run to its end")
end)

tap.test("a thousand fibers, each waiting inside gsub", function()
  local list = {}
  for i = 1, 1000 do list[i] = i end
  local results = parallel(list, function(n)
    return (("ab"):gsub(".", function(c) sleep(0.01) return c .. n end))
  end)
  tap.equal(results[1000], "a1000b1000")
end)

tap.test("wait returns what became true, and says what it last saw", function()
  local n = 0
  tap.equal(wait { function() n = n + 1 return n == 3 and n end, every = 0.001 }, 3)
  local err = tap.raises("timeout", wait, { function() return false, "two of three" end,
    timeout = 0.02, every = 0.005, what = "three servers" })
  tap.match(err, "three servers")
  tap.match(err, "two of three")
end)

tap.test("an error inside wait counts as not yet", function()
  local n = 0
  tap.ok(wait { function() n = n + 1 if n < 3 then error "no" end return true end, every = 0.001 })
end)

tap.test("a wait in __gc is refused", function()
  local refused
  setmetatable({}, { __gc = function() refused = select(2, pcall(sleep, 0.001)) end })
  collectgarbage()
  tap.match(refused, "__gc")
end)

tap.test("require loads a module once although it waits while loading", function()
  local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("\n", "")
  local name = folder .. "/slow.lua"
  host.run { "tee", name, stdin = "loads = (loads or 0) + 1 sleep(0.02) return { n = loads }", reads = true }
  local before = package.path
  package.path = folder .. "/?.lua;" .. before
  local results = parallel({ 1, 2, 3 }, function() return require("slow").n end)
  package.path = before
  host.run { "rm", "-r", folder, reads = true }
  tap.equal(results, { 1, 1, 1 })
end)

-- ---- errors and steps ----

tap.test("an error is a table whose text has host, step, what and why", function()
  local done, err = pcall(step, "outer", function()
    step("inner", function() host.run { "sh", "-c", "echo broken >&2; exit 3" } end)
  end)
  tap.ok(not done)
  tap.equal(err.kind, "exit")
  tap.equal(err.status, 3)
  tap.equal(err.step, "outer: inner")
  tap.match(err, '^[^:]+: step "outer: inner": host.run: .*broken$')
end)

tap.test("a script's own error{message=, hint=} gets host and step", function()
  local _, err = pcall(step, "own", function() error { message = "no", hint = "do it", code = 7 } end)
  tap.equal({ err.step, err.code, err.hint }, { "own", 7, "do it" })
  tap.match(err, 'step "own": no; do it')
end)

tap.test("an unknown option offers the near one", function()
  tap.match(tap.raises("usage", host.run, { "true", stdinn = "x" }), "stdin")
end)

tap.test("options hold while others change their table", function()
  local function text(letter) return letter:rep(1000000) .. os.getenv "MOONBOOK" end
  local options = { "cat", unless = { "sh", "-c", "sleep 0.1; false" } };
  (function() options.stdin = text "a" end)() -- held by the table alone
  local results = parallel {
    function() return host.run(options).stdout end,
    function()
      sleep(0.02)
      options.stdin = nil
      collectgarbage() collectgarbage()
      return text "b"
    end,
  }
  tap.ok(results[1] == text "a", "what was to be written")
end)

tap.test("a table of options may be used twice", function()
  local shell, command = { "echo hi", reads = true }, { "echo", 5, unless = { "test", 1, "=", 2 } }
  for _ = 1, 2 do
    tap.equal(host.sh(shell).stdout, "hi\n")
    tap.equal(host.run(command).stdout, "5\n")
  end
  tap.equal({ shell, command }, { { "echo hi", reads = true }, { "echo", 5, unless = { "test", 1, "=", 2 } } })
end)

tap.test("a secret is refused as an argument of a command", function()
  tap.match(tap.raises("usage", host.run, { "echo", secret.command { "echo", "canary-1234" } }), "stdin")
end)

tap.test("no part of a secret shows where text is cut", function()
  local path = os.tmpname()
  file.present { path, content = "begin-canary-finish-of-secret\n", mode = "0600" }
  local chunks = { [[for _, length in ipairs { 1490, 1990, 2990 } do
    local command = ("cat; head -c %d /dev/zero | tr '\\0' y; exit 3"):format(length)
    print(pcall(host.sh, { command, stdin = token, reads = true }))
    print(pcall(file.present, { path, content = token, validate = { "sh", "-c", command } }))
  end]] }
  for _, cut in ipairs { 6, 15, 24 } do
    local message = ("('x'):rep(4095 - %d) .. file.read(path)"):format(cut)
    chunks[#chunks + 1] = "error(" .. message .. ", 0)"
    chunks[#chunks + 1] = "error { message = " .. message .. " }"
  end
  for _, text in ipairs(chunks) do
    local answer = chunk(("local path = %q local token = secret.file(path) .. ''\n"):format(path) .. text, "--json")
    local shown = answer.stdout .. answer.stderr
    tap.ok(#shown > 1000 and not shown:find "of%-secret" and not shown:find "begin", text)
  end
  file.absent { path }
end)

-- ---- guarded functions ----

tap.test("under --check nothing passes the gate: no file without a name, no library, no original behind a function", function()
  local answer = chunk([[
    local f = assert(io.tmpfile()) f:write "kept" f:seek "set" assert(f:read "a" == "kept")
    assert(not io.open(os.tmpname()))
    local loaded, why = package.loadlib("/nonexistent.so", "*") assert(loaded == nil and why:find "predicted")
    assert(debug.getupvalue(os.remove, 1) == nil and debug.setupvalue(os.remove, 1, print) == nil)
    local up = 1 assert(select(2, debug.getupvalue(function() return up end, 1)) == 1)]], "--check", "--json")
  tap.equal(answer.code, 0, answer.stderr)
  tap.match(answer.stdout, '"kind":"package.loadlib"')
end)

tap.test("io.write and the standard files show no secret, numbers and chains are Lua's own", function()
  local path = os.tmpname()
  file.present { path, content = "0penedSecret", mode = "0600" }
  local answer = chunk(([[local path = %q
    local hidden, text = secret.file(path), file.read(path)
    io.write("a ", text, "\n"):write(text, 1, " ", 1.5, "\n")
    io.stderr:write(text, "\n")
    assert(select(2, pcall(function() io.write(hidden) end)):find "argument #1 to 'write' .*got secret")
    local f <close> = io.tmpfile() f:write(text) f:seek "set" assert(f:read "a" == text)]]):format(path))
  os.remove(path)
  tap.equal(answer.code, 0, answer.stderr)
  tap.match(answer.stdout, "^a <secret>\n<secret>1 1.5\n")
  tap.equal((answer.stdout .. answer.stderr):find "0pened", nil)
end)

tap.test("os and io functions that write pass the gate", function()
  local answer = chunk([[
    local f = assert(io.open("/tmp/moonbook-core-test", "w")) f:write "x" f:close()
    os.execute "exit 2" os.remove "/tmp/moonbook-core-test" io.popen("echo hi"):read "a"
    print(tostring(os.execute "true"))]], "--check", "--json")
  tap.equal(answer.code, 0)
  local kinds = {}
  for _, event in ipairs(events(answer)) do
    if event.event == "change" then kinds[#kinds + 1] = event.kind .. " " .. event.status end
  end
  tap.equal(kinds, { "io.open predicted", "os.execute predicted", "os.remove predicted", "io.popen predicted",
    "os.execute predicted" })
  tap.ok(not file.exists "/tmp/moonbook-core-test")
end)

tap.test("what os and io would do is seen by later steps under --check", function()
  local path = os.tmpname()
  host.run { "sh", "-c", 'echo old >"$1"; mkdir "$1.d"; echo in >"$1.d/f"', "sh", path }
  local answer = chunk(([[
    local path = %q
    assert(io.open(path, "r+"):read "a" == "old\n")
    assert(io.open(path, "a"):write "more")
    assert(select(3, io.open(path .. "/no", "w")) and not io.open(path .. ".no", "r+"))
    assert(os.rename(path .. ".d/f", path .. ".new") and file.read(path .. ".new") == "in\n")
    assert(not file.exists(path .. ".d/f"))
    file.absent { path .. ".d" }
    assert(os.remove(path .. ".new") and not file.exists(path .. ".new"))
    local done, message, number = os.remove(path .. ".new")
    assert(not done and message:find "No such file" and number == 2)
    assert(select(3, os.rename(path .. ".new", path)) == 2)
    assert(io.open(path .. ".made", "w"))
    assert(file.stat(path .. ".made").type == "file")
    os.remove(path)
    file.present { path, content = "x" }
    print(io.popen "echo hi":read "a" or "nothing")
    file.present { path .. ".2", content = "x" }]]):format(path), "--check", "--json")
  host.run { "rm", "-r", path, path .. ".d" }
  tap.equal(answer.code, 0, answer.stderr)
  local list = {}
  for _, event in ipairs(events(answer)) do
    if event.event == "change" then list[#list + 1] = event.kind .. (event.exact and "" or " inexact") end
  end
  tap.equal(list[#list], "file.present inexact")
  tap.equal(list[#list - 2], "file.present")
end)

tap.test("os.exit runs <close>, which may wait, and sets the status", function()
  local answer = chunk [[local _ <close> = setmetatable({}, { __close = function() sleep(0.01) print "closed" end })
    os.exit(7)]]
  tap.equal({ answer.code, answer.stdout }, { 7, "closed\n" })
end)

tap.test("cjson is there as scripts know it", function()
  tap.equal(require "cjson".encode { 1, 2 }, "[1,2]")
  tap.ok(require "cjson".null == json.null)
end)

tap.test("the current folder is no place for modules", function()
  tap.ok(not package.path:find("%./%?"))
  tap.ok(not package.cpath:find("%./%?"))
end)

-- ---- --check ----

tap.test("a command under --check is not run and gives an unknown value", function()
  local answer = chunk([[local r = host.run { "touch", "/tmp/moonbook-core-test" }
    host.run { "echo", r.stdout } print(tostring(r.code))]], "--check", "--json")
  local list = events(answer)
  local changes = {}
  for _, event in ipairs(list) do
    if event.event == "change" then changes[#changes + 1] = { event.status, event.exact } end
  end
  tap.equal(changes, { { "predicted", true }, { "predicted", false } })
  tap.equal(first(list, "log").message, "<unknown>")
  tap.equal(first(list, "run.end").predicted, 2)
  tap.ok(not file.exists "/tmp/moonbook-core-test")
end)

tap.test("what waits for a predicted change holds at once", function()
  local answer = chunk([[host.run { "true" } wait { function() return false end, timeout = "20s" } print "on"]],
    "--check")
  tap.equal({ answer.code, answer.stdout }, { 0, "on\n" })
end)

tap.test("unless and creates", function()
  tap.equal(host.run { "false", unless = { "true" } }.changed, false)
  tap.equal(host.run { "false", creates = "/etc/passwd" }.changed, false)
  tap.equal(host.run { "true", unless = { "false" } }.changed, true)
end)

-- ---- the command line ----

tap.test("exit statuses", function()
  tap.equal(chunk("error 'x'").code, 1)
  tap.equal(chunk("return").code, 0)
  tap.equal(host.run { program, "nosuch", reads = true, ok = true }.code, 64)
  tap.equal(host.run { program, "run", "--nosuch", reads = true, ok = true }.code, 64)
  tap.equal(chunk("host.run { 'true' }", "--detailed-exitcode").code, 2)
  tap.equal(chunk("host.run { 'true', reads = true }", "--detailed-exitcode").code, 0)
end)

tap.test("an error is one line on standard error, nothing on standard output", function()
  local answer = chunk "error 'x'"
  tap.equal({ answer.stdout, answer.stderr }, { "", "error: -e:1: x\n" })
end)

tap.test("a question without a terminal says how to answer it", function()
  local answer = chunk "confirm 'really?' print 'asked'"
  tap.equal({ answer.code, answer.stdout }, { 1, "" })
  tap.match(answer.stderr, "no terminal to ask on.*answer every question with yes by %-%-yes")
  tap.match(chunk("ask 'who?'").stderr, "no terminal to ask on.*run it from a terminal\n")
  tap.equal(chunk("print(confirm 'really?')", "--yes").stdout, "true\n")
  tap.equal(chunk("print(confirm 'really?')", "--check").stdout, "true\n")
end)

tap.test("scripts get their arguments", function()
  local path = host.run { "mktemp", "--suffix=.lua", reads = true }.stdout:gsub("\n", "")
  host.run { "tee", path, stdin = "print(select('#', ...), (select(2, ...)), arg[0] ~= nil)", reads = true }
  local answer = host.run { program, path, "a", "--own", "--check", reads = true }
  host.run { "rm", path, reads = true }
  tap.match(answer.stdout, "^2\t%-%-own\ttrue")
end)

tap.test("chunks get their arguments", function()
  tap.equal(host.run { program, "-e", "print(..., arg[1])", "a", reads = true }.stdout, "a\ta\n")
end)

tap.test("a run that nothing stops is stopped by --timeout, a busy loop too", function()
  local answer = chunk("sleep(60)", "--timeout", "200ms")
  tap.equal(answer.code, 1)
  tap.match(answer.stderr, "did not end within 0.2 s")
end)

tap.test("an interrupt ends a wait and a computation with 130", function()
  local texts = { "sleep(60)", "while true do end", "while true do pcall(error, 'x') end",
    "coroutine.wrap(function() while true do end end)()", "parallel { function() while true do end end }",
    "pcall(io.open, '/tmp', 'wq') sleep(60)" }
  for _, text in ipairs(texts) do
    local begun = os.tmpname()
    local answer = host.run { "sh", "-c", [["$0" -e "$1" & p=$!; until [ -s "$2" ]; do sleep 0.02; done; kill -INT $p; wait $p]],
      program, ("host.run { 'sh', '-c', 'echo >%s', reads = true } "):format(begun) .. text, begun, reads = true, ok = true,
      timeout = "50s" }
    file.absent { begun }
    tap.equal(answer.code, 130, text)
  end
end)

tap.test("--timeout ends a computation too", function()
  local answer = chunk("while true do end", "--timeout", "200ms")
  tap.equal(answer.code, 1)
  tap.match(answer.stderr, "did not end within 0.2 s")
end)

tap.test("--timeout and an interrupt end a read that waits for standard input, and say so", function()
  local never = "d=$(mktemp -d); mkfifo $d/in; exec 3<>$d/in; : >$d/out; "
  for _, text in ipairs { "io.read()", "io.stdin:read 'a'", "for _ in io.lines() do end" } do
    local late = host.run { "sh", "-c", never .. [["$0" --timeout 300ms -e "$1" <&3; c=$?; rm -r $d; exit $c]], program, text,
      reads = true, ok = true, timeout = "30s" }
    tap.equal(late.code, 1, text)
    tap.match(late.stderr, "did not end within 0.3 s")
    local stopped = host.run { "sh", "-c", never .. [["$0" -e "print 'began' $1" <&3 >$d/out & p=$!
      until grep -q began $d/out; do sleep 0.05; done
      kill -INT $p; wait $p; c=$?; rm -r $d; exit $c]], program, text, reads = true, ok = true, timeout = "30s" }
    tap.equal(stopped.code, 130, text)
    tap.match(stopped.stderr, "interrupted")
  end
end)

tap.test("a change that fails inside the original function has its end on the record", function()
  local answer = chunk("pcall(io.open, '/tmp/moonbook-core-test', 'wq')", "--json")
  local change = first(events(answer), "change")
  tap.equal(change and change.status, "failed")
end)

tap.test("io.output(path) passes the gate", function()
  local answer = chunk("io.output '/tmp/moonbook-core-test' io.write 'x' io.close()", "--check", "--json")
  tap.equal(first(events(answer), "change").status, "predicted")
  tap.ok(not file.exists "/tmp/moonbook-core-test")
end)

tap.test("no fiber outlives the call of parallel that an error ended", function()
  local ended = false
  local list = setmetatable({}, { __len = function() return 3 end, __index = function(_, i)
    if i == 3 then error "boom" end
    return i
  end })
  tap.raises("boom", parallel, list, function()
    local _ <close> = setmetatable({}, { __close = function() ended = true end })
    sleep(60)
  end)
  tap.equal(ended, true)
end)

tap.test("a finalizer at the program's end is refused what waits, and does no harm", function()
  local text = [[X = setmetatable({}, { __gc = function()
    for _, f in ipairs { function() host.run { "true", reads = true } end, function() sleep(1) end,
      function() os.remove "/tmp/moonbook-core-test" end, function() file.read "/etc/passwd" end } do
      io.write(tostring(pcall(f)), " ")
    end end })]]
  -- Lua finalizes nothing that a finalizer makes while the state closes: that memory goes with the process
  local answer = host.run { program, "-e", text, reads = true, env = { ASAN_OPTIONS = "detect_leaks=0" } }
  tap.match(answer.stdout, "^false false ")
end)

tap.test("a timeout ends also those of the group who ignore SIGTERM", function()
  local word = "moonbook-core" .. os.tmpname():gsub("%W", "-")
  tap.raises("timeout", host.run, { "bash", "-c", "(trap '' TERM; exec -a \"$0\" sleep 47) & wait", word,
    timeout = "300ms", reads = true })
  -- the brackets keep pgrep's own command line apart; what was killed goes as soon as the machine comes to it
  wait { function()
    return host.run { "pgrep", "-f", "^[m]" .. word:sub(2), reads = true, ok = { 0, 1 } }.stdout == ""
  end, every = "20ms", timeout = "30s", what = "the end of the group" }
end)

tap.test("what would steer the terminal is shown as ?", function()
  local answer = chunk [[host.run { "sh", "-c", "printf '\\033]0;owned\\007' >&2; exit 1", reads = true }]]
  tap.ok(not answer.stderr:find "\27")
  tap.match(answer.stderr, "%?%]0;owned")
end)

-- ---- finding runbooks ----

tap.test("list looks at headers without running anything", function()
  local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("\n", "")
  local function put(name, text)
    host.run { "sh", "-c", [[mkdir -p "$(dirname "$0")" && cat > "$0"]], folder .. "/" .. name, stdin = text, reads = true }
  end
  put("good.lua", [[local m = require "whatever"  m.x.y(1)
    os.execute("touch " .. "]] .. folder .. [[/touched")
    return { about = "is " .. "good", params = { { "n", "integer", default = 3 } }, run = function() end }]])
  put("bad.lua", "return 5")
  put("endless.lua", "while true do end")
  put("lib/module.lua", "return {}")
  local answer = host.run { program, "list", "--json", reads = true, env = { MOONBOOK_PATH = folder } }
  local found = {}
  for _, entry in ipairs(json.decode(answer.stdout)) do
    if entry.origin == "MOONBOOK_PATH" then found[entry.name] = entry.about or entry.error end
  end
  local touched = file.exists(folder .. "/touched")
  host.run { "rm", "-r", folder, reads = true }
  tap.equal(found.good, "is good")
  tap.match(found.bad, "returns a table")
  tap.match(found.endless, "does not end")
  tap.equal(found["lib/module"], nil)
  tap.ok(not touched)
end)

tap.test("a runbook that others may write to is refused", function()
  local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("\n", "")
  local path = folder .. "/open.lua"
  host.run { "sh", "-c", [[echo 'return { about = "x", run = function() print "ran" end }' > "$0"; chmod 666 "$0"]], path,
    reads = true }
  local answer = host.run { program, "run", "open", reads = true, ok = true, env = { MOONBOOK_PATH = folder } }
  host.run { "rm", "-r", folder, reads = true }
  tap.equal({ answer.code, answer.stdout }, { 64, "" })
  tap.match(answer.stderr, "chmod go%-w")
end)

tap.test("what a runbook's validate raises is wrong usage: nothing has begun", function()
  local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("\n", "")
  local function run(validate, ...)
    host.run { "tee", folder .. "/v.lua", reads = true, stdin = [[return { about = "x", validate = ]] .. validate .. [[,
      params = { { "a", "integer", default = 1 }, { "b", "integer" } }, run = function(p) print("ran", p.a) end }]] }
    local answer = host.run { program, "run", folder .. "/v.lua", reads = true, ok = true,
      env = { PATH = os.getenv "PATH", XDG_STATE_HOME = folder }, ... }
    return answer, #file.glob(folder .. "/moonbook/runs/*")
  end
  local refuse = [[function(p) if p.b then error { message = "a or b, not both", hint = "leave b out" } end p.a = p.a + 1 end]]
  local answer, runs = run(refuse, "--set", "b=2", "--json")
  tap.equal({ answer.code, answer.stdout, runs }, { 64, "", 0 })
  tap.match(answer.stderr, "parameters: a or b, not both.*leave b out")
  tap.equal(run("function(p) p.nothing.at.all = 1 end").code, 64)
  tap.match(run("5").stderr, "validate is a function%(p%), not number")
  answer, runs = run(refuse)
  tap.equal({ answer.code, answer.stdout, runs }, { 0, "ran\t2\n", 1 })
  host.run { "rm", "-r", folder, reads = true }
end)

tap.test("a parameter's name and type are text: of a number it would not last", function()
  local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("\n", "")
  for _, declaration in ipairs { [[{ 12345.25, "string", default = function()
    for _ = 1, 50 do collectgarbage() end
    local t = {}
    for i = 1, 3000 do t[i] = ("x"):rep(i % 40) end
    return "v"
  end }]], [[{ "a", 5 }]] } do
    host.run { "tee", folder .. "/n.lua", reads = true, stdin = [[return { about = "x", params = { ]] .. declaration ..
      [[ }, run = function(p) print(next(p)) end }]] }
    local answer = host.run { program, "run", folder .. "/n.lua", reads = true, ok = true,
      env = { PATH = os.getenv "PATH", XDG_STATE_HOME = folder } }
    tap.equal({ answer.code, answer.stdout }, { 64, "" })
    tap.match(answer.stderr, "params%[1%] begins with a name and a type, both text")
  end
  host.run { "rm", "-r", folder, reads = true }
end)

tap.test("the shipped runbook is shown with its parameters", function()
  local shown = json.decode(host.run { program, "show", "setup/join-client", "--json", reads = true }.stdout)
  local types = {}
  for _, parameter in ipairs(shown.params) do types[parameter.name] = parameter.type end
  tap.equal(types.address, "ip")
  tap.equal(types.consul_dns, "list(string)")
end)

tap.finish()
