-- The module file, through the program: every function creates, finds its work done the second time, and says what
-- is wrong with wrong input. `moonbook tests/lua/file.lua`; MOONBOOK names the program for the runs under --check.
local tap = require "tap"

local program = os.getenv("MOONBOOK") or "build/moonbook"
local dir = host.run{"mktemp", "-d"}.stdout:gsub("%s+$", "")
local root = host.run{"id", "-u", reads = true}.stdout == "0\n"

local number = 0
-- A path that no other test uses.
local function fresh(name)
  number = number + 1
  return ("%s/%d-%s"):format(dir, number, name or "file")
end

-- Writes without the module under test.
local function plant(path, text, mode)
  host.run{"sh", "-c", 'cat > "$1"; chmod "$2" "$1"', "sh", path, mode or "0644", stdin = text}
end

-- Reads without the module under test.
local function text_of(path)
  return host.run{"cat", path, reads = true}.stdout
end

local function stat_of(path, format)
  return (host.run{"stat", "-c", format, path, reads = true}.stdout:gsub("\n$", ""))
end

-- Runs a chunk in a program of its own; returns its result and its change events.
local function run(chunk, options)
  options = options or {}
  local argv = { program }
  for _, flag in ipairs(options.flags or { "--check", "--json" }) do argv[#argv + 1] = flag end
  argv[#argv + 1] = "-e"
  argv[#argv + 1] = chunk
  argv.reads, argv.ok, argv.env = true, { 0, 1 }, options.env
  local result = host.run(argv)
  local events = {}
  for line in result.stdout:gmatch("[^\n]+") do
    if line:sub(1, 1) == "{" then
      local event = json.decode(line)
      if event.event == (options.event or "change") then events[#events + 1] = event end
    end
  end
  return result, events
end

-- Predicts; the chunk sees `path` as P.
local function check(path, chunk, options)
  return run(("local P = %q\n"):format(path) .. chunk, options)
end

local function changes(result) tap.equal(result.changed, true, "changed") end
local function keeps(result) tap.equal(result.changed, false, "changed") end

-- Nothing with a temporary name is left.
local function clean()
  local left = host.run{"find", dir, "-name", ".*moonbook-*", reads = true}.stdout
  tap.equal(left, "", "left over")
end

---- file.present ----

tap.test("present creates, then keeps", function()
  local path = fresh()
  local result = file.present{path, content = "a\n"}
  changes(result)
  tap.equal(result.before.type, "absent")
  tap.equal(result.after.type, "file")
  tap.equal(result.after.mode, "0644")
  tap.equal(text_of(path), "a\n")
  tap.equal(stat_of(path, "%a"), "644")
  keeps(file.present{path, content = "a\n"})
  changes(file.present{path, content = "b\n"}) -- same size
  tap.equal(text_of(path), "b\n")
  changes(file.present{path, content = "longer\n"})
  keeps(file.present{path, content = "longer\n", mode = "0644"})
  clean()
end)

tap.test("present without content makes an empty file and leaves a full one", function()
  local path = fresh()
  changes(file.present{path})
  tap.equal(text_of(path), "")
  plant(path, "x")
  keeps(file.present{path})
  tap.equal(text_of(path), "x")
  changes(file.present{path, content = ""})
  tap.equal(text_of(path), "")
  keeps(file.present{path, content = ""})
end)

tap.test("present sets the mode and keeps it", function()
  local path = fresh()
  changes(file.present{path, content = "a", mode = "0600"})
  tap.equal(stat_of(path, "%a"), "600")
  changes(file.present{path, content = "b"})
  tap.equal(stat_of(path, "%a"), "600", "kept mode")
  local result = file.present{path, mode = "0640"}
  changes(result)
  tap.equal(result.before.mode, "0600")
  tap.equal(result.after.mode, "0640")
  tap.equal(text_of(path), "b", "content under a change of mode")
  keeps(file.present{path, mode = 0x1A0})
end)

tap.test("present sets the owner", function()
  if not root then return end
  local path = fresh()
  changes(file.present{path, content = "a", owner = "daemon", group = "bin"})
  tap.equal(stat_of(path, "%U:%G"), "daemon:bin")
  keeps(file.present{path, owner = "daemon"})
  keeps(file.present{path, owner = stat_of(path, "%u"), group = stat_of(path, "%g")})
  changes(file.present{path, owner = "root"})
  tap.equal(stat_of(path, "%U:%G"), "root:bin")
  plant(path, "a", "4755")
  changes(file.present{path, owner = "daemon", mode = "4755"})
  tap.equal(stat_of(path, "%a"), "4755", "set-user-ID over a change of owner")
  changes(file.present{path, content = "new"})
  tap.equal(stat_of(path, "%U:%G %a"), "daemon:bin 4755", "kept over new content")
end)

tap.test("present writes bytes as they are", function()
  local path = fresh()
  local bytes = "\0\1\255\r\n\0"
  changes(file.present{path, content = bytes})
  keeps(file.present{path, content = bytes})
  tap.equal(file.read(path), bytes)
end)

tap.test("present keeps a symbolic link", function()
  local target, link = fresh("target"), fresh("link")
  plant(target, "old")
  host.run{"ln", "-s", target:match("[^/]+$"), link}
  local result = file.present{link, content = "new", mode = "0600"}
  changes(result)
  tap.equal(result.before.path, target)
  tap.equal(stat_of(link, "%F"), "symbolic link")
  tap.equal(text_of(target), "new")
  tap.equal(stat_of(target, "%a"), "600")
  keeps(file.present{link, content = "new", mode = "0600"})
  changes(file.present{link, mode = "0644"})
  tap.equal(stat_of(target, "%a"), "644")
  host.run{"rm", target}
  changes(file.present{link, content = "again"})
  tap.equal(text_of(target), "again")
end)

tap.test("present takes a source of the operator's machine", function()
  local path, source = fresh(), fresh("source")
  plant(source, "from there", "0600")
  changes(file.present{path, source = source})
  tap.equal(text_of(path), "from there")
  tap.equal(stat_of(path, "%a"), "600", "what the source hides stays hidden")
  keeps(file.present{path, source = source})
  tap.raises("not-found", function() file.present{path, source = dir .. "/none"} end)
  tap.raises("is no file but a directory", function() file.present{path, source = dir} end)
end)

tap.test("present says what is wrong", function()
  local path = fresh()
  tap.raises("usage", function() file.present{} end)
  tap.raises("usage", function() file.present{""} end)
  tap.raises("usage", function() file.present(path) end)
  tap.raises("ends in a slash", function() file.present{path .. "/"} end)
  tap.raises("content", function() file.present{path, contents = "a"} end)
  tap.raises("usage", function() file.present{path, content = {}} end)
  tap.raises("both given", function() file.present{path, content = "a", source = "b"} end)
  tap.raises("usage", function() file.present{path, mode = "0999"} end)
  tap.raises("no user 'nobody%-knows'", function() file.present{path, content = "a", owner = "nobody-knows"} end)
  tap.raises("no group 'nobody%-knows'", function() file.present{path, content = "a", group = "nobody-knows"} end)
  tap.raises("usage", function() file.present{path, content = "a", validate = {}} end)
  tap.raises("not-found", function() file.present{dir .. "/none/file", content = "a"} end)
  tap.raises("is a directory, no file", function() file.present{dir, content = "a"} end)
  tap.raises("device", function() file.present{"/dev/null", content = "a"} end)
  plant(path, "x")
  tap.raises("is no directory", function() file.present{path .. "/below", content = "a"} end)
  local loop = fresh("loop")
  host.run{"ln", "-s", loop, loop}
  tap.raises("failed", function() file.present{loop, content = "a"} end)
  tap.equal(text_of(path), "x")
end)

tap.test("an error says where and what to do", function()
  local message = tostring(tap.raises("not-found", function() file.present{dir .. "/none/file", content = "a"} end))
  tap.ok(message:find("file.present " .. dir, 1, true), message)
  tap.ok(message:find("file.directory{", 1, true), message)
  tap.equal(message:find("\n"), nil, message)
end)

---- validate ----

tap.test("a checker on standard input", function()
  local path = fresh()
  plant(path, "good\n")
  local checker = { "sh", "-c", "grep -q good || { echo 'line 1: not good' >&2; exit 3; }" }
  local failure = tap.raises("invalid", function() file.present{path, content = "bad\n", validate = checker} end)
  tap.match(failure, "line 1: not good")
  tap.equal(text_of(path), "good\n")
  changes(file.present{path, content = "very good\n", validate = checker})
  keeps(file.present{path, content = "very good\n", validate = { "false" }})
  tap.raises("not-found", function() file.present{path, content = "good", validate = { "no-such-checker" }} end)
  -- How ssh says that a program is missing.
  tap.raises("not-found", function() file.present{path, content = "good", validate = { "sh", "-c", "exit 127" }} end)
  tap.equal(text_of(path), "very good\n")
end)

tap.test("a checker that reads a file", function()
  local path, seen = fresh(), fresh("seen")
  plant(path, "old", "0600")
  local function checker(status)
    return { "sh", "-c", 'echo "$1" > "$2"; stat -c "%a" "$1" >> "$2"; cat "$1" >> "$2"; exit ' .. status,
      "sh", "%s", seen }
  end
  changes(file.present{path, content = "new", validate = checker(0)})
  local candidate, mode, content = text_of(seen):match("^(.-)\n(.-)\n(.*)$")
  tap.equal(candidate:match("^(.*)/%.[^/]*%.moonbook%-%d+%-%x+$"), dir)
  tap.equal(mode, "600")
  tap.equal(content, "new")
  tap.raises("invalid", function() file.present{path, content = "bad", validate = checker(1)} end)
  tap.equal(text_of(path), "new")
  tap.raises("not-found", function() file.present{path, content = "bad", validate = { "no-such-checker", "%s" }} end)
  clean()
end)

---- file.line ----

tap.test("line adds, replaces and removes", function()
  local path = fresh()
  plant(path, "one\nserver=1\ntwo\nserver=2\n")
  changes(file.line{path, line = "three"})
  tap.equal(text_of(path), "one\nserver=1\ntwo\nserver=2\nthree\n")
  keeps(file.line{path, line = "three"})
  keeps(file.line{path, line = { "three", "one" }})
  changes(file.line{path, line = "server=3", matching = "^server="})
  tap.equal(text_of(path), "one\nserver=3\ntwo\nthree\n")
  keeps(file.line{path, line = "server=3", matching = "^server="})
  changes(file.line{path, line = { "server=3", "server=4" }, matching = "^server="})
  tap.equal(text_of(path), "one\nserver=3\nserver=4\ntwo\nthree\n")
  keeps(file.line{path, line = { "server=4", "server=3" }, matching = "^server="})
  changes(file.line{path, line = {}, matching = "^server="})
  tap.equal(text_of(path), "one\ntwo\nthree\n")
  changes(file.line{path, line = "1a", after = "^one"})
  changes(file.line{path, line = "2a", before = "^t"})
  changes(file.line{path, line = "end", after = "no such line"})
  tap.equal(text_of(path), "one\n1a\n2a\ntwo\nthree\nend\n")
end)

tap.test("line keeps endings and attributes", function()
  local path = fresh()
  plant(path, "a\r\nb\r\n", "0600")
  changes(file.line{path, line = "c"})
  tap.equal(text_of(path), "a\r\nb\r\nc\r\n")
  tap.equal(stat_of(path, "%a"), "600")
  keeps(file.line{path, line = "b"})
  plant(path, "a\nb")
  changes(file.line{path, line = "c"})
  tap.equal(text_of(path), "a\nb\nc")
  changes(file.line{path, line = "c", mode = "0640"})
  tap.equal(text_of(path), "a\nb\nc")
end)

tap.test("line makes a file when told to", function()
  local path = fresh()
  tap.raises("create = true", function() file.line{path, line = "a"} end)
  changes(file.line{path, line = "a", create = true})
  tap.equal(text_of(path), "a\n")
  tap.equal(stat_of(path, "%a"), "644")
  keeps(file.line{path, line = "a", create = true})
end)

tap.test("line says what is wrong", function()
  local path = fresh()
  plant(path, "a\n")
  tap.raises("line is missing", function() file.line{path} end)
  tap.raises("empty list", function() file.line{path, line = {}} end)
  tap.raises("line break", function() file.line{path, line = "a\nb"} end)
  tap.raises("number", function() file.line{path, line = 1} end)
  tap.raises("usage", function() file.line{path, line = { true }} end)
  tap.raises("no Lua pattern", function() file.line{path, line = "b", matching = "["} end)
  tap.raises("no Lua pattern", function() file.line{path, line = "b", after = "("} end)
  tap.raises("both given", function() file.line{path, line = "b", after = "a", before = "a"} end)
  tap.raises("is a directory", function() file.line{dir, line = "b"} end)
  tap.equal(text_of(path), "a\n")
end)

---- file.block ----

tap.test("block", function()
  local path = fresh()
  plant(path, "a\nb\n")
  changes(file.block{path, content = "x\ny\n", marker = "m"})
  tap.equal(text_of(path), "a\nb\n# BEGIN m\nx\ny\n# END m\n")
  keeps(file.block{path, content = "x\ny", marker = "m"})
  changes(file.block{path, content = "z\n", marker = "m"})
  changes(file.block{path, content = "k\n", comment = "//", after = "^a"})
  tap.equal(text_of(path), "a\n// BEGIN moonbook\nk\n// END moonbook\nb\n# BEGIN m\nz\n# END m\n")
  changes(file.block{path, content = "", marker = "m"})
  changes(file.block{path, content = "", comment = "//"})
  tap.equal(text_of(path), "a\nb\n")
  keeps(file.block{path, content = "", marker = "m"})
  tap.raises("content is missing", function() file.block{path, marker = "m"} end)
  tap.raises("one line", function() file.block{path, content = "x", marker = "a\nb"} end)
  tap.raises("another marker", function() file.block{path, content = "# END m", marker = "m"} end)
  plant(path, "# BEGIN m\nx\n")
  tap.raises("invalid", function() file.block{path, content = "x", marker = "m"} end)
  plant(path, ("# BEGIN m\n# END m\n"):rep(2))
  tap.raises("more than once", function() file.block{path, content = "x", marker = "m"} end)
  tap.raises("not-found", function() file.block{fresh(), content = "x"} end)
end)

---- file.directory ----

tap.test("directory with parents", function()
  local path = fresh("tree")
  host.run{"sh", "-c", 'umask 077; exec "$0" -e "$1"', program,
    ("file.directory{%q, mode = '0750'}"):format(path .. "/u/v")}
  tap.equal(stat_of(path .. "/u", "%a"), "755", "parents do not follow the umask")
  tap.equal(stat_of(path .. "/u/v", "%a"), "750")
  local result = file.directory{path .. "/a/b", mode = "0700"}
  changes(result)
  tap.equal(result.after.type, "directory")
  tap.equal(stat_of(path, "%a"), "755")
  tap.equal(stat_of(path .. "/a", "%a"), "755")
  tap.equal(stat_of(path .. "/a/b", "%a"), "700")
  keeps(file.directory{path .. "/a/b/", mode = "0700"})
  changes(file.directory{path .. "/a/b", mode = "2750"})
  tap.equal(stat_of(path .. "/a/b", "%a"), "2750")
  changes(file.directory{path .. "/a/b", mode = "0750"})
  tap.equal(stat_of(path .. "/a/b", "%a"), "750", "set-group-ID taken away")
  if root then
    changes(file.directory{path .. "/c", owner = "daemon", group = "bin"})
    tap.equal(stat_of(path .. "/c", "%U:%G %a"), "daemon:bin 755")
    keeps(file.directory{path .. "/c", owner = "daemon", group = "bin"})
    tap.equal(stat_of(path, "%U"), "root")
  end
end)

-- Runs a chunk with programs of its own in front of the real ones: what they do in the middle of a change.
local function run_with(programs, chunk)
  local folder = fresh("bin")
  host.run{"mkdir", folder}
  for name, text in pairs(programs) do
    plant(folder .. "/" .. name, "#!/bin/sh\n" .. text .. "\nPATH=${PATH#*:} exec " .. name .. ' "$@"\n', "0755")
  end
  return host.run{ program, "-e", chunk, env = { PATH = folder .. ":" .. os.getenv "PATH" }, ok = true, reads = true }
end

tap.test("a directory is never there half made", function()
  local path = fresh("tree")
  local killed = "kill -9 $PPID; exit 1"
  run_with({ chmod = killed, chown = killed }, ("file.directory{%q, mode = '0751'}"):format(path .. "/a"))
  tap.ok(not file.exists(path .. "/a") or stat_of(path .. "/a", "%a") == "751", "all or nothing")
  host.run{ "sh", "-c", 'rm -rf "$1"; mkdir -p "$1/.a.moonbook-999999999-00000000" "$1/.a.moonbook-$$-00000000/x"', "sh", path }
  changes(file.directory{ path .. "/a" })
  tap.equal(host.run{ "ls", "-A", path, reads = true }.stdout:gsub("%.a%.moonbook%-%d+%-00000000", "kept"), "kept\na\n")
  host.run{ "rm", "-r", path }
end)

tap.test("what was put in the place of a file or directory is left alone", function()
  local path, other = fresh("tree"), fresh("other")
  for _, word in ipairs{ "directory", "present" } do
    host.run{ "sh", "-c", 'rm -rf "$1" "$2"; mkdir "$1"; $3 "$1/x" "$2"; chmod 711 "$2"', "sh", path, other,
      word == "directory" and "mkdir" or "touch" }
    local swap = ('rm -rf "%s/x"; ln -s "%s" "%s/x"'):format(path, other, path)
    run_with({ chmod = swap, chown = swap }, ("file.%s{%q, mode = '0777', group = %q}"):format(word, path .. "/x",
      stat_of(other, "%g")))
    tap.equal(stat_of(other, "%a"), "711", word)
  end
end)

tap.test("directory says what is in the way", function()
  local path = fresh()
  plant(path, "x")
  tap.raises("in the way: it is a file", function() file.directory{path} end)
  tap.raises("in the way: it is a file", function() file.directory{path .. "/a/b"} end)
  tap.raises("not-found", function() file.directory{dir .. "/new", owner = "nobody-knows"} end)
  tap.equal(file.exists(dir .. "/new"), false)
  local link, target = fresh("link"), fresh("target")
  host.run{"mkdir", target}
  host.run{"ln", "-s", target, link}
  keeps(file.directory{link})
end)

---- file.link, file.absent, file.copied ----

tap.test("link", function()
  local path = fresh("link")
  changes(file.link{path, to = "/etc/hosts"})
  tap.equal(stat_of(path, "%N"):match("%-> '(.*)'"), "/etc/hosts")
  keeps(file.link{path, to = "/etc/hosts"})
  local result = file.link{path, to = "../nowhere"}
  changes(result)
  tap.equal(result.before.target, "/etc/hosts")
  tap.equal(file.stat(path).target, "../nowhere")
  changes(file.link{path, to = dir}) -- to a directory: the link is replaced, not filled
  changes(file.link{path, to = "/etc"})
  tap.equal(file.stat(path).target, "/etc")
  tap.raises("to is missing", function() file.link{path} end)
  tap.raises("in the way: it is a directory", function() file.link{dir, to = "/etc"} end)
  tap.raises("not-found", function() file.link{dir .. "/none/link", to = "/etc"} end)
  clean()
end)

tap.test("absent", function()
  local path, tree, link = fresh(), fresh("tree"), fresh("link")
  keeps(file.absent{path})
  plant(path, "x", "0400")
  changes(file.absent{path})
  keeps(file.absent{path})
  host.run{"mkdir", tree}
  changes(file.absent{tree})
  host.run{"mkdir", "-p", tree .. "/a/b"}
  tap.raises("recursive = true", function() file.absent{tree} end)
  host.run{"ln", "-s", tree, link}
  changes(file.absent{link, recursive = true})
  tap.equal(file.exists(tree .. "/a/b"), true, "what the link led to")
  local result = file.absent{tree, recursive = true}
  changes(result)
  tap.equal(result.after.type, "absent")
  tap.equal(file.exists(tree), false)
end)

tap.test("absent refuses what a system needs", function()
  for _, path in ipairs{ "/", "//", "/etc", "/etc/", "/usr/./lib", "/var/lib/../lib", dir .. "/../.." } do
    tap.raises("usage", function() file.absent{path, recursive = true} end)
  end
end)

tap.test("copied", function()
  local path, source = fresh(), fresh("source")
  plant(source, "copy me", "0640")
  changes(file.copied{path, source = source})
  tap.equal(text_of(path), "copy me")
  tap.equal(stat_of(path, "%a"), "640")
  keeps(file.copied{path, source = source})
  keeps(file.copied{path, source = source, from = host("local")})
  changes(file.copied{path, source = source, mode = "0600"})
  tap.raises("source is missing", function() file.copied{path} end)
  tap.raises("usage", function() file.copied{path, source = source, from = "builder"} end)
  tap.raises("not-found", function() file.copied{path, source = dir .. "/none"} end)
end)

---- reads ----

tap.test("read, stat, exists, glob", function()
  local path = fresh("read me")
  tap.equal(file.read(path), nil)
  tap.equal(file.stat(path), nil)
  tap.equal(file.exists(path), false)
  plant(path, "text", "0604")
  tap.equal(file.read(path), "text")
  local stat = file.stat(path)
  tap.equal(stat.type, "file")
  tap.equal(stat.mode, "0604")
  tap.equal(stat.size, 4)
  tap.equal(stat.owner, stat_of(path, "%U"))
  tap.equal(math.floor(stat.mtime), tonumber(stat_of(path, "%Y")))
  tap.ok(stat.ctime > 1.6e9)
  tap.equal(file.exists(path), true)
  tap.equal(file.stat(dir).type, "directory")
  plant(dir .. "/g1; touch x.conf", "")
  plant(dir .. "/g2.conf", "")
  plant(dir .. "/.g3.conf", "")
  tap.equal(table.concat(file.glob(dir .. "/g*.conf"), "|"), dir .. "/g1; touch x.conf|" .. dir .. "/g2.conf")
  plant(dir .. "/with space.conf", "")
  tap.equal(file.glob(dir .. "/with s*")[1], dir .. "/with space.conf")
  tap.equal(#file.glob(dir .. "/none*"), 0)
  tap.equal(#file.glob(dir .. "/$(touch " .. dir .. "/bad)*"), 0)
  tap.equal(file.exists(dir .. "/bad"), false)
  tap.raises("usage", function() file.read() end)
  tap.raises("usage", function() file.stat("") end)
  tap.raises("directory", function() file.read(dir) end)
end)

---- under --check ----

tap.test("check changes nothing and predicts what a run does", function()
  local path = fresh()
  local chunk = [[
    file.directory{P .. "/sub/deep", mode = "0750"}
    file.present{P .. "/sub/deep/f", content = "one\ntwo\n"}
    file.line{P .. "/sub/deep/f", line = "three"}
    file.line{P .. "/sub/deep/f", line = "three"}
    file.link{P .. "/sub/l", to = "deep/f"}
    assert(file.read(P .. "/sub/l") == "one\ntwo\nthree\n")
    assert(file.stat(P .. "/sub/deep").mode == "0750")
    assert(file.stat(P .. "/sub/deep/f").size == 14)
    assert(#file.glob(P .. "/sub/*") == 2)
    file.copied{P .. "/sub/copy", source = P .. "/sub/deep/f"}
    file.absent{P .. "/sub/deep/f"}
    assert(not file.exists(P .. "/sub/deep/f"))
    file.absent{P .. "/sub/deep"}
    file.absent{P, recursive = true}
    assert(not file.exists(P .. "/sub/copy") and not file.exists(P))
    file.directory{P}
    file.absent{P}
  ]]
  local result, predicted = check(path, chunk)
  tap.equal(result.stderr:find("assertion", 1, true), nil, result.stderr)
  tap.equal(result.code, 0, result.stderr)
  tap.equal(file.exists(path), false, "touched")
  local _, made = check(path, chunk, { flags = { "--json" } })
  tap.equal(#predicted, 10)
  tap.equal(#made, #predicted)
  for i, event in ipairs(predicted) do
    tap.equal(event.status, "predicted")
    tap.equal(event.exact, true)
    for _, field in ipairs{ "kind", "target", "diff" } do tap.equal(event[field], made[i][field], field) end
    tap.equal(event.before.sha256, made[i].before.sha256)
    tap.equal(event.after.sha256, made[i].after.sha256)
    tap.equal(event.after.mode, made[i].after.mode)
    tap.equal(made[i].status, "changed")
  end
end)

tap.test("check sees what is there behind what it predicts", function()
  local path = fresh("tree")
  host.run{"mkdir", "-p", path .. "/sub"}
  plant(path .. "/sub/a", "real\n")
  plant(path .. "/b", "b\n")
  local result = check(path, [[
    file.present{P .. "/sub/a", mode = "0600"}
    assert(file.read(P .. "/sub/a") == "real\n" and file.stat(P .. "/sub/a").mode == "0600")
    file.line{P .. "/sub/a", line = "more"}
    file.present{P .. "/sub/a", mode = "0640"}
    assert(file.read(P .. "/sub/a") == "real\nmore\n")
    assert(table.concat(file.glob(P .. "/*/*")) == P .. "/sub/a")
    assert(not pcall(file.absent, {P .. "/sub"}))
    file.absent{P .. "/sub/a"}
    assert(#file.glob(P .. "/*/*") == 0)
    file.absent{P .. "/sub"}
    file.absent{P, recursive = true}
    assert(not file.exists(P .. "/b"))
    file.directory{P}
    assert(not file.exists(P .. "/b") and file.read(P .. "/b") == nil)
  ]])
  tap.equal(result.code, 0, result.stderr)
  tap.equal(text_of(path .. "/sub/a"), "real\n")
end)

tap.test("check raises what a run would raise", function()
  local path = fresh()
  for chunk, message in pairs{
    ['file.present{P .. "/a", content = "x"}'] = "does not exist",
    ['file.present{P, content = "x", owner = "nobody-knows"}'] = "no user",
    ['file.line{P, line = "x"}'] = "create = true",
    ['file.absent{"/etc"}'] = "never removed",
    ['file.present{P, content = "x", validate = {"false"}}'] = "refuses",
    ['file.directory{P} file.present{P, content = "x"}'] = "is a directory",
    ['file.directory{P .. "/a"} file.absent{P}'] = "recursive = true",
    ['file.present{P} file.directory{P .. "/a"}'] = "in the way",
  } do
    local result = check(path, chunk)
    tap.equal(result.code, 1, chunk)
    tap.ok((result.stderr .. result.stdout):find(message, 1, true), chunk .. ": " .. result.stderr)
    tap.equal(file.exists(path), false)
  end
end)

tap.test("check names checkers that it cannot run", function()
  local path = fresh()
  local result, warnings = check(path, [[
    file.present{P, content = "a", validate = {"no-such-checker"}}
    file.present{P, content = "b", validate = {"no-such-checker", "%s"}}
    file.present{P, content = "c", validate = {"true"}}
  ]], { event = "warning" })
  tap.equal(result.code, 0, result.stderr)
  tap.equal(#warnings, 2)
end)

tap.test("what only a run can know is inexact", function()
  local path = fresh()
  local result, events = check(path, [[
    file.present{P, content = host.run{"date"}.stdout}
    file.line{P, line = "x"}
  ]])
  tap.equal(result.code, 0, result.stderr)
  tap.equal(#events, 3)
  for i = 2, 3 do
    tap.equal(events[i].exact, false)
    tap.equal(events[i].after.sha256, nil)
  end
end)

---- what the record may say ----

tap.test("diffs show what everybody may read", function()
  local path = fresh()
  local _, events = check(path, [[
    file.present{P, content = "one\ntwo\n"}
    file.present{P, content = "one\n2\n"}
    file.present{P, content = "hidden\n", mode = "0640"}
    file.present{P, content = "hidden too\n", mode = "0644"}
    file.present{P, content = "a\0b"}
  ]], { flags = { "--json" } })
  tap.equal(#events, 5)
  tap.equal(events[2].diff, ("--- %s (before)\n+++ %s (after)\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"):format(path, path))
  for i = 3, 5 do tap.ok(events[i].diff == nil or events[i].diff == json.null, "diff " .. i) end
  tap.equal(#events[3].after.sha256, 64)
  local shown = fresh()
  local said = check(shown, [[
    file.present{P, content = "hidden\n", mode = "0640"}
    file.present{P, mode = "0600"}
    file.present{P .. "2", content = secret.env "HOME", mode = "0644"}
    file.present{P .. "3", content = "open\n"}
  ]], { flags = { "--diff" } }).stderr
  tap.match(said, "file\n +%(contents are not shown: not everybody may read the file%)\n")
  tap.match(said, "file2\n +%(contents are not shown: a secret is in them%)\n")
  local _, count = said:gsub("contents are not shown", "")
  tap.equal(count, 2, said)
end)

tap.test("a secret is written and never shown", function()
  local path, state = fresh(), fresh("state")
  local word = "hunter2-is-secret"
  local result, events = check(path, [[
    file.present{P, content = secret.env "WORD"}
    file.present{P, mode = "0644"}
    file.line{P, line = { "x = " .. secret.env "WORD" }}
    file.block{P, content = secret.env "WORD", marker = "m"}
    pcall(file.present, {P, content = secret.env "WORD", validate = {"sh", "-c", "cat >&2; exit 1"}})
    local ok, e = pcall(file.present, {P, content = secret.env "WORD", validate = {"sh", "-c", "cat >&2; exit 1"}})
    print(ok, e)
  ]], { flags = { "--json" }, env = { WORD = word, XDG_STATE_HOME = state } })
  tap.equal(#events, 4, result.stderr)
  tap.equal(text_of(path), word .. "\nx = " .. word .. "\n# BEGIN m\n" .. word .. "\n# END m")
  tap.equal(events[1].after.mode, "0600")
  tap.equal((result.stdout .. result.stderr):find(word, 1, true), nil)
  for _, event in ipairs(events) do tap.ok(event.diff == nil or event.diff == json.null, "diff") end
  local run_id = events[1].run
  local journal = host.run{"grep", "-rlF", word, state .. "/moonbook/runs/" .. run_id, reads = true, ok = { 0, 1 }}
  tap.equal(journal.stdout, "")
end)

tap.test("clean-up", function()
  file.absent{dir, recursive = true}
end)
tap.finish()
