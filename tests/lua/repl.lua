-- Sessions: driven through pipes, and in a real terminal by expect.
local tap = require "tap"
local nomad_servers = require "nomad_server"
local vault_servers = require "vault_server"

local program = os.getenv "MOONBOOK" or "build/moonbook"
local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("%s+$", "")
local _ <close> = setmetatable({}, { __close = function() host.run { "rm", "-rf", folder } end })

local function note(name, text)
  local path = folder .. "/" .. name
  file.present { path, content = text }
  return path
end

local function clean(text)
  return (text:gsub("==%d+==WARNING: ASan doesn't fully support[^\n]*\n", ""))
end

-- A session whose input comes through a pipe.
local function pipe(input, ...)
  local command = { program, "repl", ... }
  command.stdin = type(input) == "table" and table.concat(input, "\n") .. "\n" or input
  command.reads, command.ok, command.timeout = true, true, "3m"
  command.env = { XDG_STATE_HOME = folder .. "/state" }
  local answer = host.run(command)
  answer.stderr = clean(answer.stderr)
  return answer
end

-- ---- a terminal ----

local function tcl(text)
  return '"' .. text:gsub('[\\"$%[%]{}]', "\\%0"):gsub("%c", function(c) return ("\\%03o"):format(c:byte()) end) .. '"'
end

local TAB, INTERRUPT, END = "\t", "\3", "\4"

-- What is typed and awaited in turn: a text is typed with Enter behind it, { keys = } without it, { wait = } is a regular
-- expression that is awaited, { tab = } one that Tab is to give, pressed again where nothing came in its time (of a machine that
-- is busy), { tcl = } stands as it is. Returns what was on the screen.
local function terminal(steps, options)
  options = options or {}
  local script = {
    "set timeout 60",
    "log_user 1",
    "match_max 400000",
    "proc tab {re step} {",
    "  set timeout 2",
    "  for {set i 0} {$i < 30} {incr i} {",
    "    send -- \"\\t\"",
    "    expect {",
    "      -re $re { return }",
    "      timeout {}",
    "      eof { puts \"\\nended before: $re\"; exit $step }",
    "    }",
    "  }",
    "  puts \"\\nnot offered: $re\"",
    "  exit $step",
    "}",
    "proc want {re step} {",
    "  expect {",
    "    -re $re {}",
    "    timeout { puts \"\\nnot seen: $re\"; exit $step }",
    "    eof { puts \"\\nended before: $re\"; exit $step }",
    "  }",
    "}",
    "set env(TERM) " .. (options.term or "xterm"),
    "set env(XDG_STATE_HOME) " .. tcl(options.state or folder .. "/state"),
    "set env(PAGER) " .. tcl(options.pager or "cat"),
    "set env(HOME) " .. tcl(folder),
    options.env or "",
    "set stty_init {rows 50 columns " .. (options.columns or 100) .. "}",
    "spawn -noecho " .. (options.command or program .. " repl " .. (options.arguments or "")),
  }
  for i, step in ipairs(steps) do
    if type(step) == "string" then
      script[#script + 1] = "send -- " .. tcl(step .. "\r")
    elseif step.keys then
      script[#script + 1] = "send -- " .. tcl(step.keys)
    elseif step.tab then
      script[#script + 1] = "tab " .. tcl(step.tab) .. " " .. (i + 100)
    elseif step.tcl then
      script[#script + 1] = step.tcl
    else
      script[#script + 1] = "want " .. tcl(step.wait) .. " " .. (i + 100)
    end
  end
  script[#script + 1] = "expect {\n eof {}\n timeout { puts \"\\nit did not end\"; exit 99 }\n}\n" ..
    "catch wait result\nexit [lindex $result 3]"
  local path = note("script.exp", table.concat(script, "\n") .. "\n")
  local result = host.run { "expect", path, reads = true, ok = true, timeout = "5m" }
  result.code = result.code == (options.status or 0) and 0 or result.code
  tap.equal(result.code, 0, result.stdout .. result.stderr)
  return clean(result.stdout)
end

local PROMPT = { wait = "> $" }

-- ---- through a pipe ----

tap.test("expressions print, statements do not, chunks continue until they are complete", function()
  local answer = pipe { "1 + 1", "=2 * 3", "nil", "x = 5", "for i = 1, 2 do", "print(i * x)", "end", "'text'", "x, 'two'" }
  tap.equal(answer.stdout, "2\n6\nnil\n5\n10\ntext\n5\ntwo\n")
  tap.equal(answer.stderr, "")
  tap.equal(answer.code, 0)
end)

tap.test("a local stays for the lines after it, what was last shown is _", function()
  local answer = pipe { "local a, b = 1, 'x'", "a", "local function f() return b end", "f()", "_ .. '!'",
    "do local inner = 1 end", "inner" }
  tap.equal(answer.stdout, "1\nx\nx!\nnil\n")
end)

tap.test("an error is one line, the session goes on, a pipe's exit status tells, :trace has the rest", function()
  local answer = pipe { "local function deep() error('boom') end deep()", ":trace", "'still here'", "1 +* 2", "f(", }
  tap.match(answer.stderr, "^error: input:1: boom\n")
  tap.match(answer.stdout, "stack traceback.-'deep'.*still here")
  tap.match(answer.stderr, "unexpected symbol near")
  tap.match(answer.stderr, "ends before it is complete")
  tap.equal(answer.code, 1)
end)

tap.test("a zero byte in a pipe is one error, and nothing behind it runs", function()
  local answer = pipe "print 'before'\nif false then -- \0\nprint 'inside'\nend\nprint 'behind'\n"
  tap.equal(answer.stdout, "before\n")
  tap.match(answer.stderr, "^there is a zero byte in the input[^\n]*\n$")
  tap.equal(answer.code, 1)
end)

tap.test("records are lines, rows are columns cut to the width, what is nested is a count", function()
  local answer = pipe {
    "{ { Name = 'web', Port = 80, Meta = { a = 1, b = 2 }, Tags = { 'http', 'v2' } }, { Name = 'db' } }",
    "{ ID = 'c1', CreateTime = 1700000000, ttl = 86400, Size = 1536, Interval = 10000000000, MemoryMB = 512,"
      .. " Deep = { 1, { 2 } } }",
    ":unfold", "{ one = { x = 1 }, two = { x = 2 } }", "{ 'a', 'b' }", "{}", "json.array {}", "json.null" }
  tap.match(answer.stdout, "^Name  Port  Meta  Tags\nweb   80    {2}   http, v2\ndb\n%(2 rows%)\n")
  tap.match(answer.stdout, "ttl +86400 %(1 d%)\n")
  tap.match(answer.stdout, "CreateTime +1700000000 %(2023%-11%-1%d %d%d:%d%d:20%)\n")
  tap.match(answer.stdout, "Size +1536 %(1.5 KiB%)\n")
  tap.match(answer.stdout, "Interval +10000000000 %(10 s%)\n")
  tap.match(answer.stdout, "MemoryMB +512 %(512 MiB%)\n")
  tap.match(answer.stdout, "Deep +%[2%]\n")
  tap.match(answer.stdout, "Deep:\n  %- 1\n  %-\n    %- 2\n")
  tap.match(answer.stdout, "     x\none  1\ntwo  2\n%(2 rows%)\na\nb\n{}\n%[%]\nnull\n$")
end)

tap.test("no line of a table is longer than the screen, and what is left out is named", function()
  local answer = pipe {
    "t = {} for i = 1, 3 do t[i] = { ID = i } for c = 97, 122 do t[i][string.char(c):rep(6)] = ('v'):rep(7) end end",
    "t" }
  for line in answer.stdout:gmatch "[^\n]+" do
    tap.ok(#line <= 80 or line:find "^%(3 rows; also: ", line)
  end
  tap.match(answer.stdout, "%(3 rows; also: .*zzzzzz%)")
end)

tap.test("what comes from elsewhere does not steer the terminal", function()
  local answer = pipe { "{ { Name = 'a\\27[2Jb' } }", "'x\\27]0;title\\7y'", "{ a = '\\27[0m' }",
    "{ { ['a\\27[2Jb'] = 1, ['n\\nl'] = 2 } }", "{ ['\\27[2J'] = { 1 } }", ":unfold" }
  tap.equal(answer.stdout:find "\27", nil)
  tap.match(answer.stdout, "\na%?%[2Jb  n l\n1 ")
end)

tap.test("a secret that is cut to the width shows no part of itself", function()
  local answer = pipe { "long = ('0123456789'):rep(9)", "uuid = '7c1e0c5e-9d1f-4a9b-8c55-d5a6f0a6b3aa'",
    "a = secret.command { 'echo', ('0123456789'):rep(9) }, secret.command { 'echo', uuid }", "=secret.command { 'echo', uuid }",
    "{ { T = long } }", "{ { A = ('x'):rep(43), B = uuid } }", "{ { T = ('x'):rep(20) .. long } }" }
  tap.equal(answer.code, 0, answer.stderr)
  tap.equal(answer.stdout:find "01234", nil, answer.stdout)
  tap.equal(answer.stdout:find "7c1e", nil, answer.stdout)
end)

tap.test("a table that holds itself ends where it does", function()
  local answer = pipe { "t = { n = 1 } t.a, t.b = t, { t, t }", ":unfold t", "'on'" }
  tap.match(answer.stdout, "on\n$")
  tap.ok(#answer.stdout < 500, #answer.stdout)
end)

tap.test(":json, :time, :help, and a command that is none", function()
  local answer = pipe { "{ a = { 1, 2 } }", ":json", ":json { b = 1 }", ":time sleep(0.01)", ":help duration", ":help", ":tiem 1",
    ":time", ":help no.such.name" }
  tap.match(answer.stdout, '{"a":%[1,2%]}\n{"b":1}\n')
  tap.match(answer.stdout, "%(%d+%.%d+ ms%)\n")
  tap.match(answer.stdout, "duration%(TEXT%) %-> seconds\n.-example: assert")
  tap.match(answer.stdout, ":watch SECONDS EXPRESSION")
  tap.match(answer.stderr, "there is no command :tiem; did you mean :time; :help lists them\n")
  tap.match(answer.stderr, "it is :time EXPRESSION\n")
  tap.match(answer.stderr, "no.such.name")
end)

tap.test("no line of :help is longer than 80 columns", function()
  for line in pipe({ ":help" }).stdout:gmatch "[^\n]+" do tap.ok(#line <= 80, line) end
end)

tap.test("nothing changes where nobody can be asked; --check predicts; --yes trusts", function()
  local path = folder .. "/made"
  local command = { "setsid", "-w", program, "repl", stdin = ("file.present { %q, content = 'x' }\n"):format(path),
    reads = true, ok = true, env = { XDG_STATE_HOME = folder .. "/state" } }
  local answer = host.run(command)
  tap.match(answer.stderr, "there is no terminal to ask on.-start the session with %-%-yes")
  tap.equal(file.stat(path), nil)
  answer = pipe(command.stdin, "--check")
  tap.match(answer.stderr, "would change file.present")
  tap.equal(file.stat(path), nil)
  answer = pipe(command.stdin, "--yes")
  tap.match(answer.stderr, "changed: 1")
  tap.equal(file.read(path), "x")
end)

tap.test("os.exit ends it with that status; :quit ends it", function()
  tap.equal(pipe { "os.exit(7)", "print 'no'" }.code, 7)
  tap.equal(pipe { ":quit", "print 'no'" }.stdout, "")
end)

tap.test("a host that is not there is an error, not the end", function()
  local answer = pipe { ":on nobody@127.0.0.1:1", "host.run { 'true', reads = true }", ":on local", "'here'", ":on a,b" }
  tap.match(answer.stderr, "127.0.0.1:1")
  tap.match(answer.stderr, "a session is on one host")
  tap.equal(answer.stdout, "here\n")
end)

tap.test("the lock of a host is not kept between inputs", function()
  local answer = pipe({ ("file.present { %q, content = '1' }"):format(folder .. "/one"),
    ("file.read(%q)"):format(folder .. "/state/moonbook/lock") }, "--yes")
  tap.match(answer.stdout, "\n\n$")
end)

tap.test(":http shows requests, without secrets", function()
  local server <close> = require("server").start()
  local answer = pipe { "token = secret.file '" .. note("token", "very-secret-thing") .. "'", ":http",
    ("http.get('%s/echo?a=1').status"):format(server.url), ":http off", ("http.get('%s/echo?b=2').status"):format(server.url) }
  tap.match(answer.stderr, "GET http://127.0.0.1:%d+/echo%?a=1 %-> 200, %d+ bytes, %d+ ms\n")
  tap.equal(answer.stderr:find "b=2", nil)
  tap.equal((answer.stdout .. answer.stderr):find "very%-secret", nil)
end)

tap.test("another host: --on, :on, one that vanishes; the session stays", function()
  local sshd <close> = require("sshd").start()
  local spec = json.encode(sshd:spec())
  local hosts = note("hosts.lua", ("return { hosts = { c1 = {%s} }, groups = { all = 'c1' } }"):format(
    spec:sub(2, -2):gsub('"([%w_]+)":', "%1 = ")))
  local command = ("env MOONBOOK_HOSTS=%s %s repl --on c1"):format(hosts, program)
  note("with blank", "in it")
  local kill = ("exec sh -c {set -- $(pgrep -P %s) %s; kill -KILL $*; %s}"):format(sshd.process, sshd.process,
    require("sshd").await_end)
  terminal({ { wait = "c1:\\d+> $" }, "host.run { 'echo', 'over', 'there', reads = true }.stdout",
    { wait = "lover there\r\n.*c1:\\d+> $" }, ":hosts", { wait = "@all.*c1:\\d+> $" }, ":on local", { wait = "moonbook> $" },
    { keys = ":on c" .. TAB }, { wait = ":on c.*1" }, "", { wait = "c1:\\d+> $" },
    { keys = ('file.read("%s/with bl'):format(folder) }, { tab = "ank" }, '")', { wait = "in it\r\n.*c1:\\d+> $" },
    { keys = ('file.read("%s/zz'):format(folder) .. TAB .. "x" }, { wait = "zz[^*]*x$" }, { keys = INTERRUPT },
    { wait = "\\^C\r\n.*> $" }, { tcl = kill }, "host.run { 'true', reads = true }",
    { wait = "error:.*c1:\\d+> $" }, "'still'",
    { wait = "still\r\n.*c1:\\d+> $" }, ":on local", { wait = "moonbook> $" },
    "host.run { 'echo', 'here', reads = true }.stdout", { wait = "lhere\r\n.*> $" }, { keys = END } }, { command = command })
end)

-- ---- :save ----

tap.test("what :save wrote runs and does the same again", function()
  local book, made = folder .. "/book.lua", folder .. "/saved"
  local answer = pipe({
    ("local path = %q"):format(made),
    "local words = { 'a', 'b' }",
    "function joined() return table.concat(words, '-') end",
    "error 'not this one'",
    "file.present { path, content = joined() .. ' 42' }",
    "for i = 1, 2 do local inner = i words[i] = inner end",
    "words",
    (":save %s where=%s text=' 42'"):format(book, made),
  }, "--yes")
  tap.match(answer.stdout, "6 steps; moonbook run ")
  tap.equal(file.read(made), "a-b 42")
  local again = folder .. "/again"
  local run = host.run { program, "run", book, "--set", "where=" .. again, "--set", "text=!", reads = true, ok = true }
  tap.equal(run.code, 0, run.stderr)
  tap.equal(file.read(again), "a-b!")
  tap.equal(run.stdout, "[1,2]\n")
  run = host.run { program, "run", book, "--check", "--detailed-exitcode", reads = true, ok = true }
  tap.equal(run.code, 0, run.stderr) -- the same as the session did: nothing is left to do
  tap.match(pipe { "1", ":save " .. book }.stderr, "is there already")
end)

tap.test(":save writes nothing under --check, it shows what it would", function()
  local book = folder .. "/unwritten.lua"
  local answer = pipe({ "word = 'hello'", "print(word)", (":save %s greeting=hello"):format(book) }, "--check")
  tap.equal(answer.code, 0, answer.stderr)
  tap.equal(file.stat(book), nil)
  tap.match(answer.stdout, 'return {.-{ "greeting", "string", default = "hello" }.-word = p.greeting.-\n}\n')
  tap.match(answer.stdout, "unwritten.lua is not written; it would have 2 steps\n$")
end)

tap.test(":save in a session on another host: the hosts are a parameter, nothing is done on --on's unseen", function()
  local sshd <close> = require("sshd").start()
  local spec = json.encode(sshd:spec()):sub(2, -2):gsub('"([%w_]+)":', "%1 = ")
  local hosts = note("save_hosts.lua", ("return { hosts = { c1 = {%s}, c2 = {%s} } }"):format(spec, spec))
  local book, made = folder .. "/there.lua", folder .. "/there"
  local environment = { XDG_STATE_HOME = folder .. "/state", MOONBOOK_HOSTS = hosts, PATH = os.getenv "PATH" }
  local function call(input, ...)
    return host.run { program, reads = true, ok = true, env = environment, stdin = input, ... }
  end
  local answer = call(("file.present { %q, content = '1' }\n:save %s\n"):format(made, book), "repl", "--on", "c1", "--yes")
  tap.equal(answer.code, 0, answer.stderr)
  tap.match(file.read(book), '{ "hosts", "string", default = "c1[:%d]*", .-\n      fleet%(p.hosts, function%(%)\n')
  tap.match(file.read(book), 'host.name ~= host%("local"%).name')
  local run = call(nil, "run", book, "-v")
  tap.equal(run.code, 0, run.stderr)
  tap.match(run.stderr, "as wanted file.present")
  run = call(nil, "run", book, "--set", "hosts=c[1-2]")
  tap.equal(run.code, 0, run.stderr)
  tap.match(run.stderr, "unchanged: 2,")
end)

tap.test(":save takes a literal behind a name, a comment, _ and a number beside its text", function()
  local book = folder .. "/idioms.lua"
  local answer = pipe { "t = { 'nginx' } -- list", "t -- look", "#_", "(tostring 'nginx')", "tostring'7' .. 7 + 1 .. 'x'",
    ":save " .. book .. " pkg=nginx n=7" }
  tap.match(answer.stdout, "5 steps")
  local run = host.run { program, "run", book, "--set", "pkg=vim", "--set", "n=5", reads = true, ok = true }
  tap.equal(run.code, 0, run.stderr .. file.read(book))
  tap.match(run.stdout, "^%[\"vim\"%]\n1\nvim\n58x\n$")
end)

tap.test("a runbook with what looks like a secret is the operator's alone, and it is said", function()
  local book = folder .. "/private.lua"
  tap.match(pipe { "password = '0therS3cret'", ":save " .. book }.stderr, "looks like a secret")
  tap.equal(file.stat(book).mode, "0600")
end)

tap.test(":run runs a runbook with its parameters; what it raises is an error of the input", function()
  local book = note("small.lua", [[return { about = "x",
    params = { { "name", "string", required = true }, { "n", "integer", default = 2 } },
    run = function(p) step("say", function() print(p.name:rep(p.n)) end) end }]])
  local answer = pipe { (":run %s name='a b' n=3"):format(book), (":run %s"):format(book), "'on'" }
  tap.equal(answer.stdout, "a ba ba b\non\n")
  tap.match(answer.stderr, "name")
end)

-- ---- --repl-on-error ----

tap.test("what a session had for its tasks is of no use after it", function()
  local book = note("keeps.lua", [[return { about = "x", run = function()
      step("one", function() error "stop here" end)
      print(pcall(kept, function() end))
    end }]])
  local answer = host.run { program, "run", book, "--repl-on-error", stdin = "_G.kept = task\n:skip\n", reads = true, ok = true }
  tap.match(answer.stdout, "false\t[^\n]*task: its session is over")
end)

tap.test("a failed step: its variables, :retry with another value, :skip, :abort", function()
  local book = note("fails.lua", [[local limit = 10
    return { about = "x", run = function()
      local outer = 7
      step("one", function()
        local n = outer + 1
        if outer < limit then error("too small: " .. n) end
        print("outer is", outer)
      end)
      step("two", function() step("inner", function() error "never" end) end)
      step("three", function() print "three" end)
    end }]])
  local function run(...)
    return host.run { program, "run", book, "--repl-on-error", stdin = table.concat({ ... },
      "\n") .. "\n", reads = true, ok = true }
  end
  local answer = run("outer, n", ":locals", "limit", "outer = 11", ":retry", ":skip")
  tap.match(answer.stdout, "^7\n8\n.-n +8.-\n10\nouter is\t11\nthree\n$")
  tap.match(answer.stderr, 'step "one" failed on ')
  tap.match(answer.stderr, 'step "two: inner" failed and was skipped')
  tap.match(answer.stderr, "\n  skipped +two: inner\n")
  tap.equal(answer.code, 0)
  answer = run(":skip", ":abort")
  tap.equal(answer.code, 1)
  tap.match(answer.stderr, "two: inner.*never")
  local _, sessions = answer.stderr:gsub(":retry runs it again", "")
  tap.equal(sessions, 2, "a session at the inner step only")
  tap.equal(run().code, 1)
end)

-- ---- memory and size ----

local sanitized = host.run { "grep", "-qa", "__asan_init", program, reads = true, ok = { 0, 1 } }.code == 0

tap.test("10,000 lines leave nothing behind", function()
  if sanitized then return end -- it keeps what is freed, and looks for leaks itself
  local lines = { "function rss() collectgarbage() collectgarbage() return tonumber(" ..
    "file.read('/proc/self/status'):match('VmRSS:%s*(%d+)')) end" }
  local function burst()
    for i = 1, 5000 do lines[#lines + 1] = i % 50 == 0 and "{ { Name = 'x', n = " .. i .. " } }" or "local y = " .. i end
  end
  for _ = 1, 1000 do lines[#lines + 1] = "x = 1" end
  lines[#lines + 1] = "before = rss()"
  burst() burst()
  lines[#lines + 1] = "print('grown', (rss() - before) < 3000, rss() - before)"
  local answer = pipe(lines)
  tap.match(answer.stdout, "grown\ttrue")
end)

tap.test("a table of 10,000 rows is shown whole", function()
  local answer = pipe {
    "t = {} for i = 1, 10000 do t[i] = { Name = 'node-' .. i, Address = '10.0.0.' .. i % 250, Port = i,"
    .. " Status = 'passing', Meta = { a = i }, CreateIndex = i } end", "t" }
  local _, lines = answer.stdout:gsub("\n", "")
  tap.equal(lines, 10002)
  tap.match(answer.stdout, "\nnode%-10000 .-\n%(10000 rows%)\n$")
end)

-- ---- in a terminal ----

tap.test("a prompt, results, Ctrl-C clears the line, Ctrl-D ends", function()
  terminal { { wait = "moonbook> $" }, "40 + 2", { wait = "42\r\n.*> $" }, { keys = "garbage" }, { wait = "garbage" },
    { keys = INTERRUPT },
    { wait = "\\^C\r\n.*> $" }, "'clear'", { wait = "clear\r\n.*> $" }, { keys = END } }
end)

tap.test("Ctrl-C cancels the call that runs within 100 ms and keeps the session; computing Lua too", function()
  local steps = { PROMPT, "kept = 'kept'", PROMPT }
  for _ = 1, 15 do -- the machine may be busy now and then
    table.move({ "print 'began' sleep(600)", { wait = "lbegan" }, { tcl = "set before [clock milliseconds]" },
      { keys = INTERRUPT }, { wait = "interrupted" }, { tcl = "puts \"TOOK [expr {[clock milliseconds] - $before}]\"" },
      PROMPT }, 1, 7, #steps + 1, steps)
  end
  table.move({ "kept", { wait = "kept\r\n.*> $" }, "print 'spins' while true do end", { wait = "lspins" }, { keys = INTERRUPT },
    { wait = "interrupted" }, PROMPT, "print 'runs' host.run { 'sleep', '600', reads = true }", { wait = "lruns" },
    { keys = INTERRUPT }, { wait = "interrupted" }, PROMPT, { keys = END } }, 1, 13, #steps + 1, steps)
  local fastest = math.huge
  for took in terminal(steps):gmatch "TOOK (%d+)" do fastest = math.min(fastest, tonumber(took)) end
  tap.ok(fastest < 100, "cancelled after " .. fastest .. " ms")
end)

tap.test("Ctrl-C in a change is heard: it is finished first, the second cuts it short", function()
  local begun = folder .. "/change-begun" -- the command is on its own by then: one that only starts is still of the terminal
  terminal({ PROMPT, ("os.execute 'touch %s; sleep 600'"):format(begun), { wait = "sleep 600 \\.\\.\\." },
    { tcl = "while {![file exists " .. tcl(begun) .. "]} { after 20 }" }, { keys = INTERRUPT },
    { wait = "finished first.*again" }, { keys = INTERRUPT }, { wait = "cut short\r\n.*> $" },
    { keys = END } }, { arguments = "--yes" })
end)

tap.test("Ctrl-C ends a read that waits for what is typed", function()
  terminal { PROMPT, "print 'began' io.read()", { wait = "lbegan\r\n" }, { tcl = "after 200" }, { keys = INTERRUPT },
    { wait = "interrupted\r\n.*> $" }, "(print 'reads' or io.read())", { wait = "lreads\r\n" }, "a word",
    { wait = "a word\r\n.*a word\r\n.*> $" },
    "print 'again' for line in io.lines() do print('<' .. line) end", { wait = "again\r\n" }, { tcl = "after 200" }, "x",
    { wait = "<x" }, { keys = INTERRUPT }, { wait = "interrupted\r\n.*> $" }, { keys = END } }
end)

tap.test("a session makes no file that was not asked for", function()
  local answer = pipe { "name = os.tmpname()", "io.open(name) == nil", "f = io.tmpfile()", "f:write 'x' == f" }
  tap.equal(answer.stdout, "true\ntrue\n")
end)

tap.test("what is pasted is one input that can still be changed, history finds it again", function()
  terminal { PROMPT, { keys = "\27[200~function pasted()\r  return 'from the paste'\rend\r\27[201~" }, { wait = "end" },
    { keys = "\r" },
    { wait = "> $" }, "pasted()", { wait = "from the paste\r\n.*> $" }, { keys = "\18return 'fr" },
    { keys = "\r" },
    { wait = "> $" }, "'again'", { wait = "again\r\n.*> $" }, { keys = "\27[A\r" }, { wait = "again\r\n.*> $" }, { keys = END } }
  local history = file.read(folder .. "/state/moonbook/history")
  tap.match(history, "function pasted%(%)\\n  return 'from the paste'\\nend\n")
  tap.equal(file.stat(folder .. "/state/moonbook/history").mode, "0600")
end)

tap.test("secrets are not kept in the history", function()
  local state = folder .. "/secret-state"
  terminal({ PROMPT, "a = secret.env 'HOME'", PROMPT, "'" .. folder .. "'", PROMPT,
    "token = 'hvs.CAESIJ7wvdE0nRu2VnNp6mMvqQj'", PROMPT,
    "consul { token = 'b1gs33cr3t' }", PROMPT, ":run none.lua db_password=0therS3cret", PROMPT,
    "h = { Authorization = 'Bearer abcdef123456' }", PROMPT, "argv = { 'mysql', '--password', 'hunter2' }", PROMPT,
    "argv = { 'curl', '-H', 'Authorization: Bearer zyxwvu98' }", PROMPT, "argv = { 'tool', '--token=zyxwvu98', 'x' }", PROMPT,
    "z = [[curl -H 'X-Vault-Token: zyxwvu98' x]]", PROMPT, "z = 'DB_PASSWORD=zyxwvu98 ./run'", PROMPT,
    "z = 'mysql --password zyxwvu98'", PROMPT,
    "y = [[hvs.CAESIJ7wvdE0nRu2VnNp6mMvqQj]]", PROMPT, "x = 'kept'", PROMPT, "x = 'auth/token/lookup-self'", PROMPT,
    "x = 'the token of ours'", PROMPT, "x = 'secret/ci#password'", PROMPT,
    "x = 'a=b token=$TOKEN --password-file /etc/x'", PROMPT,
    { keys = END } }, { state = state })
  tap.equal(file.read(state .. "/moonbook/history"), "a = secret.env 'HOME'\nx = 'kept'\n" ..
    "x = 'auth/token/lookup-self'\nx = 'the token of ours'\nx = 'secret/ci#password'\n" ..
    "x = 'a=b token=$TOKEN --password-file /etc/x'\n")
end)

tap.test("every change is shown and asked for: no, difference, yes, all", function()
  local path = folder .. "/asked"
  local present = ("file.present { %q, content = "):format(path)
  local screen = terminal {
    PROMPT, present .. "'one' }", { wait = "before.*after.*apply\\? .*uit: $" }, "n", PROMPT,
    ("file.stat(%q)"):format(path), { wait = "nil\r\n.*> $" },
    present .. "'two' }", { wait = "uit: $" }, "d", { wait = "\\+two.*uit: $" }, "y", PROMPT,
    ("file.read(%q)"):format(path), { wait = "two\r\n.*> $" },
    present .. "'three' }", { wait = "uit: $" }, { keys = INTERRUPT }, { wait = "\\^C\r\ninterrupted" }, PROMPT,
    present .. "'three' }", { wait = "uit: $" }, { keys = END }, { wait = "^\r\n.*error.*end of input" }, PROMPT,
    present .. "'four' }", { wait = "uit: $" }, "a", PROMPT, present .. "'five' }", { wait = "changed" }, PROMPT,
    { keys = END } }
  tap.match(screen, "changed: 3.*declined: 1")
  tap.equal(file.read(path), "five")
end)

tap.test("what was typed before a question was seen answers none", function()
  local path, typed = folder .. "/ahead", folder .. "/typed"
  local present = ("file.present { %q, content = 'x' }"):format(path)
  terminal { PROMPT, ("print 'waits' while not file.exists(%q) do sleep(0.02) end "):format(typed) .. present,
    { wait = "lwaits" }, "apt = 1", { tcl = "exec touch " .. tcl(typed) }, { wait = "uit: $" }, "apt = 1", PROMPT,
    present, { wait = "uit: $" }, "n", PROMPT, { keys = END } }
  tap.equal(file.stat(path), nil)
end)

tap.test("a question steers no terminal: neither by what is changed nor by its difference", function()
  local screen = terminal { PROMPT, ("file.present { %q .. '\\27[31m', content = '\\27[32m' }"):format(folder .. "/odd"),
    { wait = "uit: $" }, "d", { wait = "uit: $" }, "n", PROMPT, { keys = END } }
  tap.equal(screen:find("\27[31m", 1, true), nil)
  tap.equal(screen:find("\27[32m", 1, true), nil)
end)

tap.test("print shows a terminal what steers it as ?, and gives a pipe what it is", function()
  local screen = terminal { PROMPT, "print('a\\27[31mb')", { wait = "a.*31mb\r\n.*> $" }, { keys = END } }
  tap.equal(screen:find("\27[31m", 1, true), nil)
  tap.match(screen, "a%?%[31mb\r\n")
  tap.equal(pipe { "print('a\\27[31mb')" }.stdout, "a\27[31mb\n")
end)

tap.test("what is typed where no locale is set stays what it is", function()
  terminal({ PROMPT, "#'ü€'", { wait = "l5\r\n.*> $" }, { keys = END } }, { env = "set env(LC_ALL) C" })
end)

tap.test("Tab writes a text as Lua reads it, and what steers a terminal not at all", function()
  note('quo"te', "it")
  note("steer\27[31m1", "") note("steer\27[31m2", "")
  local screen = terminal { PROMPT, { keys = 'file.read("' .. folder .. "/quo" .. TAB }, { wait = 'quo.*"te' }, '")',
    { wait = "it\r\n.*> $" }, { keys = 'file.read("' .. folder .. "/steer" .. TAB .. TAB }, { wait = "027.31m" },
    { keys = INTERRUPT }, { wait = "\\^C\r\n.*> $" }, { keys = END } }
  tap.equal(screen:find("\27[31m", 1, true), nil)
end)

tap.test("candidates stand in columns by what they take on the screen", function()
  note("wide-ab", "") note("wide-日本語x", "")
  terminal { PROMPT, { keys = 'file.read("' .. folder .. "/wide-" .. TAB }, { wait = "\nwide-ab {7}wide-[^ -~]" },
    { keys = INTERRUPT }, { wait = "\\^C\r\n.*> $" }, { keys = END } }
end)

tap.test("Tab completes names, fields, methods, endpoints, options, paths, commands", function()
  local function completes(text, wanted)
    return { keys = text .. TAB }, { wait = wanted }, { keys = INTERRUPT }, { wait = "\\^C\r\n.*> $" }
  end
  local steps = { PROMPT, "mine = { alpha = 1, go = function() end }", PROMPT }
  local function add(...) table.move({ completes(...) }, 1, 4, #steps + 1, steps) end
  add("consul.agent.dereg", "ister_")
  add("consul.agent.dereg" .. TAB, "deregister_check *deregister_service")
  add("mine.al", "pha")
  add("mine:g", "o")
  add("('x'); min", "e")
  add("nomad.nodes.list_nodes { fil", "ter = ")
  add("file.present { '/tmp/x', mo", "de = ")
  add("file.read('/etc/host", "host.*")
  add("host('c1').syst", "emd")
  add(":wat", "ch ")
  add(":help systemd.run", "ning")
  add(":run setup/jo", "in-client")
  add(":run " .. note("by-path.lua", ""):sub(1, -6), ".lua")
  steps[#steps + 1] = { keys = END }
  terminal(steps)
end)

tap.test("Tab changes nothing where Vault is to wrap its answers", function()
  local safe <close> = vault_servers.start()
  local screen = terminal({ PROMPT, { keys = "vault.read('sec" }, { tab = "ret/" }, { keys = INTERRUPT },
    { wait = "\\^C\r\n.*> $" }, { keys = END } },
    { env = ("set env(VAULT_ADDR) %s\nset env(VAULT_TOKEN) %s\nset env(VAULT_WRAP_TTL) 60s"):format(safe.url, safe.token) })
  tap.equal(screen:find("apply?", 1, true), nil)
end)

tap.test("Tab offers the values that exist: nodes, paths in Vault, units, hosts; what does not answer gives none", function()
  local server <close> = nomad_servers.start()
  local safe <close> = vault_servers.start()
  for _, name in ipairs { "deploy", "build", "team/key" } do
    safe:client().write("secret/data/ci/" .. name, { data = { password = "x" } })
  end
  safe:client().sys.put_acl_policy("operators", { policy = 'path "x" { capabilities = ["read"] }' })
  host.run { "mkdir", folder .. "/bin" }
  file.present { folder .. "/bin/systemctl", mode = "0755", content = "#!/bin/sh\n" ..
    "case $1 in list-units) echo 'nomad.service loaded active running Nomad' ;; *) echo 'nothing-else.timer enabled' ;; esac\n" }
  note("hosts.lua", "return { hosts = { builder07 = { address = '127.0.0.7' } } }")
  local environment = ("set env(NOMAD_ADDR) %s\nset env(VAULT_ADDR) %s\nset env(VAULT_TOKEN) %s\nset env(CONSUL_HTTP_ADDR) " ..
    "127.0.0.1:1\nset env(PATH) %s:$env(PATH)\nset env(MOONBOOK_HOSTS) %s"):format(server.url, safe.url, safe.token,
    folder .. "/bin", folder .. "/hosts.lua")
  local steps = { PROMPT }
  local function add(text, wanted)
    table.move({ { keys = text }, { tab = wanted }, { keys = INTERRUPT }, { wait = "\\^C\r\n.*> $" } }, 1, 4, #steps + 1,
      steps)
  end
  local id = server:client().nodes.list_nodes()[1].ID
  add('nomad.nodes.read_node("', id)
  add(('nomad.nodes.read_node("%s'):format(id:sub(1, 6)), id:sub(7))
  add('host("local").nomad.nodes.read_node("' .. id:sub(1, 6), id:sub(7))
  add("vault.read('secret/data/ci/de", "ploy")
  add("vault.read('secret/data/ci/te", "am/")
  add("vault.read('sec", "ret/")
  add("vault.sys.read_acl_policy('oper", "ators")
  add("vault.kv_v2.read_secret('x', { mount = 'sec", "ret/")
  add("systemd.running { 'nom", "ad.service")
  add("systemd.status 'noth", "ing-else.timer")
  add("host 'buil", "der07")
  add('consul.agent.deregister_service("_nom', "_nom")
  steps[#steps + 1] = { keys = END }
  terminal(steps, { env = environment })
end)

tap.test("a task outlives the step and the fleet that began it, and is no part of them", function()
  local state = folder .. "/outlives"
  local answer = host.run { program, "repl", "--yes", reads = true, ok = true, timeout = "60s", env = { XDG_STATE_HOME = state },
    stdin = [[
step("first", function() fleet("local", function() task(function() sleep(0.3) host.run{"true"} over = true end) end) end)
collectgarbage()
wait { function() return over end, timeout = "30s" }
]] }
  tap.equal(answer.code, 0, answer.stderr)
  local journal = file.read(file.glob(state .. "/moonbook/runs/*/journal.jsonl")[1])
  local change = json.decode(journal:match '[^\n]*"event":"change"[^\n]*')
  tap.equal({ change.target, change.step }, { "true" })
end)

tap.test("task runs on, its end is told without breaking the line that is typed", function()
  terminal { PROMPT, "task(function() sleep(0.3) return 'from behind' end)", PROMPT, { keys = "1 + " },
    { wait = "from behind.*1 \\+ " },
    { keys = "41\r" }, { wait = "42\r\n.*> $" }, "task(function() sleep(600) end)", PROMPT, ":tasks",
    { wait = "task 2 is running" }, PROMPT,
    ":cancel 2", { wait = "task 2 is cancelled" }, "'x'", PROMPT, { keys = END } }
end)

tap.test("a task that asks gets its answer while a line is typed", function()
  local path, typed = folder .. "/by-task", folder .. "/typed-too"
  local waits = ("while not file.exists(%q) do sleep(0.02) end"):format(typed)
  terminal { PROMPT, ("task(function() %s file.present { %q, content = 'x' } end)"):format(waits, path), PROMPT,
    { keys = "20 + " }, { wait = "20 \\+ " }, { tcl = "exec touch " .. tcl(typed) }, { wait = "uit: $" }, "y",
    { wait = "task 1 is done.*20 \\+ " }, { keys = "3\r" }, { wait = "23\r\n.*> $" }, { keys = END } }
  tap.equal(file.read(path), "x")
end)

tap.test("a stream prints as it comes, until Ctrl-C", function()
  terminal { PROMPT,
    "stream = function() local n = 0 return function() n = n + 1 sleep(0.02) return 'line ' .. n end, nil, nil, "
      .. "setmetatable({}, { __close = function() print 'closed' end }) end", PROMPT,
    "stream()", { wait = "line 3\r\n" }, { keys = INTERRUPT }, { wait = "closed.*interrupted" }, PROMPT, { keys = END } }
end)

tap.test(":watch shows it again and again, marks what changed, ends at a key", function()
  local screen = terminal { PROMPT, "n = 0", PROMPT,
    ":watch 0.1 (function() n = n + 1 return { { Name = 'a', Count = n } } end)()",
    { wait = "every 100 ms" }, { wait = "\27\\[7m3\27\\[0m" }, { keys = "q" }, { wait = "> $" }, "'over'",
    { wait = "over\r\n.*> $" }, { keys = END } }
  tap.ok(not screen:find("\27[7ma\27[0m", 1, true), "what did not change is not marked")
end)

tap.test(":watch goes on when what it watches goes away, but ends at Ctrl-C, and where nothing was ever seen", function()
  terminal { PROMPT, "n = 0", PROMPT, ":watch 0.1 (function() n = n + 1 if n == 3 then error 'away' end return { n = n } end)()",
    { wait = "away.*\27\\[7m4\27\\[0m" }, { keys = "q" }, { wait = "> $" },
    ":watch 0.1 error 'never'", { wait = "never\r\n.*> $" }, "m = 0", PROMPT,
    ":watch 0.1 (function() m = m + 1 if m == 2 then print 'waits' sleep(60) end return m end)()", { wait = "waits\r\n" },
    { keys = INTERRUPT }, { wait = "interrupted\r\n.*> $" }, { keys = END } }
end)

tap.test("long output goes through $PAGER", function()
  local seen = folder .. "/paged"
  terminal({ PROMPT, "t = {} for i = 1, 200 do t[i] = 'row ' .. i end", PROMPT, "t", { wait = "THROUGH" }, PROMPT, "'short'",
    { wait = "short\r\n" }, PROMPT, { keys = END } }, { pager = ("cat >%s; echo THROUGH"):format(seen) })
  tap.match(file.read(seen), "^row 1\n.*row 200\n%(200%)\n$")
end)

tap.test("a pager that is left by Ctrl-C has shown it; without one all of it is", function()
  local steps = { PROMPT, "t = {} for i = 1, 200 do t[i] = 'row ' .. i end", PROMPT, "t", { wait = "row 1\r\n.*> $" },
    { keys = END } }
  tap.equal(terminal(steps, { pager = "head -n 3; kill -INT $$" }):find("row 199", 1, true), nil)
  tap.match(terminal(steps, { pager = "/nonexistent/pager" }), "row 199")
end)

tap.test(":edit runs what the editor left, :run asks for parameters", function()
  local editor = note("editor", "#!/bin/sh\necho \"print('edited', $(cat \"$1\"))\" >\"$1\"\n")
  host.run { "chmod", "+x", editor }
  local book = note("asks.lua", [[return { about = "x", params = { { "who", "string", required = true, about = "whom" },
    { "n", "integer", default = 2 } }, run = function(p) print((p.who .. "!"):rep(p.n)) end }]])
  terminal({ PROMPT, "7 * 6", PROMPT, ":edit", { wait = "edited\t? *42" }, PROMPT, ":run " .. book,
    { wait = "who .string., whom: $" },
    "ada", { wait = "n .integer. \\[2\\]: $" }, "", { wait = "ada!ada!\r\n.*> $" }, { keys = END } },
    { command = "env EDITOR=" .. editor .. " " .. program .. " repl" })
end)

tap.test(":save leaves out what was declined", function()
  local book, path = folder .. "/declined.lua", folder .. "/not-wanted"
  terminal { PROMPT, ("file.present { %q, content = 'x' }"):format(path), { wait = "uit: $" }, "n", PROMPT, "print(7)", PROMPT,
    ":save " .. book, { wait = "for 7.*: $" }, "", { wait = "left out of .*1 inputs.*1 steps" }, PROMPT, { keys = END } }
  tap.equal(host.run { program, "run", book, "--yes", reads = true }.stdout, "7\n")
  tap.equal(file.stat(path), nil)
end)

tap.test(":save asks which literals are parameters", function()
  local book = folder .. "/asked.lua"
  terminal { PROMPT, "print('hello ' .. 'ops')", PROMPT, ":save " .. book, { wait = "for 'hello '.*: $" }, "",
    { wait = "for 'ops'.*: $" }, "who",
    { wait = "1 steps" }, PROMPT, { keys = END } }
  tap.equal(host.run { program, "run", book, "--set", "who=all", reads = true }.stdout, "hello all\n")
end)

tap.test("a dumb terminal", function()
  local screen = terminal({ PROMPT, "6 * 7", { wait = "42\r\n.*> $" }, "print 'began' sleep(600)", { wait = "\nbegan" },
    { keys = INTERRUPT }, { wait = "interrupted" }, PROMPT, "'x'", { wait = "x\r\n.*> $" }, { keys = END } }, { term = "dumb" })
  tap.equal(screen:find "\27", nil)
end)

tap.test("all of one session is not all of the next", function()
  local book = note("twice.lua", [[return { about = "x", run = function()
    step("one", function() error "low" end) step("two", function() error "lower" end) end }]])
  local present = ("file.present { %q, content = "):format(folder .. "/each")
  terminal({ { wait = "failed.*> $" }, present .. "'1' }", { wait = "uit: $" }, "a", PROMPT, ":skip",
    { wait = "lower.*> $" }, present .. "'2' }", { wait = "uit: $" }, "n", PROMPT, ":skip" },
    { command = program .. " run " .. book .. " --repl-on-error" })
  tap.equal(file.read(folder .. "/each"), "1")
end)

tap.test("--repl-on-error in a terminal", function()
  local book = note("stops.lua", [[return { about = "x", run = function() local n = 1
    step("one", function() if n < 2 then error "low" end print("went on with", n) end) end }]])
  terminal({ { wait = "failed.*> $" }, { keys = "1 +" .. INTERRUPT }, { wait = "\\^C\r\n.*> $" }, "n = 2", PROMPT, ":retry",
    { wait = "went on with" } }, { command = program .. " run " .. book .. " --repl-on-error" })
end)

tap.finish()
