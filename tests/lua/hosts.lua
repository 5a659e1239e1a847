-- Operations on a host, the same for every transport: what holds here holds on another machine.
package.path = "tests/lib/?.lua;" .. package.path
local tap = require "tap"
local sshds = require "sshd"

local sshd <close> = sshds.start()
local folder = host.run { "mktemp", "-d", reads = true }.stdout:gsub("%s+$", "")

local function text_of(path) return host.run { "cat", path, reads = true }.stdout end
local function here(path, format) return (host.run { "stat", "-c", format, path, reads = true }.stdout:gsub("\n$", "")) end

-- [[ commands ]]

local suite = {}

suite["outputs, status, arguments with anything in them"] = function(h)
  local result = h.run { "sh", "-c", "echo out; echo err >&2; exit 7", ok = 7, reads = true }
  tap.equal({ result.code, result.stdout, result.stderr }, { 7, "out\n", "err\n" })
  local words = { "", " ", "a'b", '"', "$HOME `id` \\", "*", "line\nline", "-n", "ü", "\1\127" }
  local echo = { "printf", "[%s]", table.unpack(words) }
  echo.reads = true
  echo = h.run(echo)
  tap.equal(echo.stdout, "[" .. table.concat(words, "][") .. "]")
  tap.equal(h.run { "printf", "%s", ("x"):rep(120000), reads = true }.stdout, ("x"):rep(120000))
end

suite["bytes in and out"] = function(h)
  local bytes = {}
  for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
  local all = table.concat(bytes):rep(4096) -- 1 MiB: more than a window of a pipe
  local result = h.run { "cat", stdin = all, reads = true }
  tap.ok(result.stdout == all, "the same bytes")
  tap.equal(h.run { "cat", reads = true }.stdout, "", "no input is an empty one")
  tap.equal(h.run { "sh", "-c", "exit 0", stdin = all, reads = true }.code, 0, "input that nobody reads")
end

suite["much on the errors only"] = function(h)
  local result = h.run { "sh", "-c", "head -c 50000000 /dev/zero >&2", reads = true, timeout = "60s" }
  tap.equal({ #result.stdout, #result.stderr }, { 0, 50000000 })
  tap.match(tap.raises("failed", h.run, { "head", "-c", "80000000", "/dev/zero", reads = true }), "more than 64 MiB")
end

suite["a signal is not a status"] = function(h)
  local err = tap.raises("exit", h.run, { "sh", "-c", "kill -TERM $$", reads = true })
  tap.match(err, "signal 15")
  tap.match(tap.raises("exit", h.run, { "sh", "-c", "kill -KILL $$", reads = true }), "signal 9")
end

suite["no such program, no such folder, no right to run it"] = function(h)
  tap.raises("not-found", h.run, { "no-such-program", reads = true })
  tap.match(tap.raises("not-found", h.run, { "true", cwd = "/no/such", reads = true }), "/no/such")
  tap.raises("permission", h.run, { "/etc/passwd", reads = true })
  tap.equal(h.run { "sh", "-c", "exit 127", ok = 127, reads = true }.code, 127)
end

suite["environment and folder"] = function(h)
  local result = h.run { "sh", "-c", 'printf "%s|%s|" "$A" "$B"; pwd', env = { A = "it's\n\"$x\"", B = "" }, cwd = "/usr",
    reads = true }
  tap.equal(result.stdout, "it's\n\"$x\"||/usr\n")
  for _, name in ipairs { "A-B", "1A", "", "A\0", "A$(id)", "A=B" } do
    tap.raises("usage", h.run, { "true", env = { [name] = "x" }, reads = true })
  end
  tap.equal(h.run { "sh", "-c", 'cat; printf "%s" "$A"', env = { A = "2" }, stdin = "1", reads = true }.stdout, "12")
end

suite["at the timeout the whole group ends"] = function(h)
  local mark = "moonbook-test-" .. tostring({}):match("0x(%x+)")
  local line = "sh -c 'exec sleep 60' & sleep 60; echo never"
  local err = tap.raises("timeout", h.run,
    { "sh", "-c", "echo before; exec 3>&1; " .. line, "sh", mark, timeout = "1s", reads = true })
  tap.match(err, "did not end within 1 s")
  wait { function() return h.run { "pgrep", "-f", "sh " .. mark .. "$", ok = { 0, 1 }, reads = true }.stdout == "" end,
    every = "20ms", timeout = "30s", what = "the end of the group" } -- killed, it goes as soon as the machine comes to it
end

suite["a background child that holds the output"] = function(h)
  local pid
  local seconds = os.time()
  local result = h.run { "sh", "-c", "sleep 300 & echo $!; exit 0", reads = true }
  pid = result.stdout:match("%d+")
  tap.equal({ result.code, os.time() - seconds < 100 }, { 0, true })
  h.run { "kill", pid, reads = true }
end

suite["many at once"] = function(h)
  local jobs = {}
  for i = 1, 40 do
    jobs[i] = function()
      return h.run { "sh", "-c", "cat; echo $1", "sh", tostring(i), stdin = ("y"):rep(i * 1000), reads = true }.stdout
    end
  end
  local results = table.pack(parallel(jobs))
  if type(results[1]) == "table" then results = results[1] end
  for i = 1, 40 do tap.equal(results[i], ("y"):rep(i * 1000) .. i .. "\n") end
end

-- [[ files ]]

suite["files are written whole, with mode and owner, and read"] = function(h, name)
  local path = folder .. "/" .. name .. " it's"
  tap.equal(h.file.present { path, content = "one\0two\n", mode = "0640" }.changed, true)
  tap.equal({ text_of(path), here(path, "%a") }, { "one\0two\n", "640" })
  tap.equal(h.file.present { path, content = "one\0two\n", mode = "0640" }.changed, false)
  tap.equal(h.file.read(path), "one\0two\n")
  local inode = here(path, "%i")
  h.file.present { path, content = "" }
  tap.equal({ text_of(path), here(path, "%a"), here(path, "%i") ~= inode }, { "", "640", true })
  host.run { "ln", "-s", path, path .. ".link", reads = true }
  h.file.present { path .. ".link", content = "through the link" }
  tap.equal({ text_of(path), here(path .. ".link", "%F") }, { "through the link", "symbolic link" })
  if sshds.root then
    h.file.present { path, content = "hers", owner = "nobody", group = "daemon" }
    tap.equal(here(path, "%U:%G %a"), "nobody:daemon 640")
    h.file.present { path, content = "kept" }
    tap.equal(here(path, "%U:%G %a"), "nobody:daemon 640")
    tap.raises("not-found", h.file.present, { path, content = "x", owner = "no-such-user" })
  end
  tap.equal(host.run { "find", folder, "-name", "*moonbook-*", reads = true }.stdout, "")
end

suite["large files"] = function(h, name)
  local path, text = folder .. "/" .. name .. ".large", ("0123456789abcdef"):rep(1 << 18) -- 4 MiB
  h.file.present { path, content = text }
  tap.ok(text_of(path) == text, "the same bytes")
  tap.ok(h.file.read(path) == text, "the same bytes read")
end

suite["what is not there, and what may not be"] = function(h, name)
  tap.equal(h.file.read(folder .. "/none"), nil)
  tap.equal(h.file.stat(folder .. "/none"), nil)
  tap.equal(h.file.stat(folder .. "/none/below"), nil)
  tap.raises("", h.file.read, folder)
  tap.raises("not-found", h.file.present, { folder .. "/none/" .. name, content = "x" })
  tap.raises("", h.file.present, { folder, content = "x" })
end

suite["stat tells what there is"] = function(h, name)
  local path = folder .. "/" .. name .. ".stat"
  host.run { "sh", "-c", 'umask 027; echo text >"$1"; ln -s "a -> b" "$1.link"; touch -d @1600000000.25 "$1"', "sh", path,
    reads = true }
  local stat = h.file.stat(path)
  tap.equal({ stat.type, stat.mode, stat.owner, stat.size, stat.mtime }, { "file", "0640", sshds.user, 5, 1600000000.25 })
  tap.equal(h.file.stat(path .. ".link").target, "a -> b")
  tap.equal(h.file.stat("/dev/null").type, "other")
  tap.equal({ h.file.stat("/tmp").type, h.file.stat("/tmp").mode }, { "directory", "1777" })
end

suite["directories and attributes"] = function(h, name)
  local path = folder .. "/" .. name .. ".d"
  tap.equal(h.file.directory { path .. "/a/b", mode = "2750" }.changed, true)
  tap.equal({ here(path, "%a"), here(path .. "/a", "%a"), here(path .. "/a/b", "%a") }, { "755", "755", "2750" })
  tap.equal(h.file.directory { path .. "/a/b", mode = "2750" }.changed, false)
  tap.equal(h.file.directory { path .. "/a/b", mode = "0700" }.changed, true)
  tap.equal(here(path .. "/a/b", "%a"), "700")
  h.file.present { path .. "/f", content = "x", mode = "0600" }
  h.file.present { path .. "/f", content = "x", mode = "4755" }
  tap.equal(here(path .. "/f", "%a"), "4755")
  tap.raises("", h.file.directory, { path .. "/f/below" })
  h.file.absent { path, recursive = true }
  tap.equal(host.run { "ls", folder, reads = true }.stdout:find(name .. ".d\n", 1, true), nil)
end

suite["lines, links, copies"] = function(h, name)
  local path = folder .. "/" .. name .. ".conf"
  h.file.present { path, content = "a\nb\n" }
  h.file.line { path, line = "c", matching = "^b" }
  tap.equal(text_of(path), "a\nc\n")
  h.file.link { path .. ".l", to = path }
  tap.equal(here(path .. ".l", "%N"), ("'%s' -> '%s'"):format(path .. ".l", path))
  h.file.copied { path .. ".copy", from = host "local", source = "/etc/services" }
  tap.equal(text_of(path .. ".copy"), text_of "/etc/services")
end

suite["checkers see a candidate, and a refusal changes nothing"] = function(h, name)
  local path = folder .. "/" .. name .. ".checked"
  h.file.present { path, content = "good\n", validate = { "grep", "-q", "good", "%s" } }
  tap.raises("invalid", h.file.present, { path, content = "bad\n", validate = { "grep", "-q", "good", "%s" } })
  tap.equal(text_of(path), "good\n")
end

suite["left-overs of writers that are gone are removed, those of living ones stay"] = function(h, name)
  local path = folder .. "/" .. name .. ".left"
  local dead = host.run { "sh", "-c", "echo $$", reads = true }.stdout:match("%d+")
  host.run { "touch", folder .. "/." .. name .. ".left.moonbook-" .. dead .. "-00000001",
    folder .. "/." .. name .. ".left.moonbook-1-00000002", reads = true }
  h.file.present { path, content = "x" }
  local left = host.run { "sh", "-c", 'ls -A "$1" | grep "$2"', "sh", folder, name .. ".left.moonbook", reads = true }.stdout
  tap.equal(left, "." .. name .. ".left.moonbook-1-00000002\n")
  host.run { "rm", folder .. "/." .. name .. ".left.moonbook-1-00000002", reads = true }
end

suite["facts"] = function(h)
  tap.equal(h.name, host.name)
  tap.equal(h.os.arch, host.os.arch)
  tap.equal({ h.cpus, h.memory }, { host.cpus, host.memory })
  tap.equal(h.users.nobody.uid, 65534)
end

-- [[ on each ]]

local hosts = { { "local", host "local" }, { "ssh", sshd:host { transport = "ssh" } },
  { "openssh", sshd:host { transport = "openssh" } } }
if sshds.root then
  hosts[#hosts + 1] = { "ssh-sudo", sshd:host { transport = "ssh", user = "trusted", sudo = true } }
  hosts[#hosts + 1] = { "ssh-sudo-password",
    sshd:host { transport = "ssh", user = "tester", sudo = secret.command { "echo", "open sesame" } } }
  hosts[#hosts + 1] = { "openssh-sudo", sshd:host { transport = "openssh", user = "trusted", sudo = true } }
end
local only = os.getenv "ONLY"
for _, each in ipairs(hosts) do
  local name, h = table.unpack(each)
  local titles = {}
  for title in pairs(suite) do titles[#titles + 1] = title end
  table.sort(titles)
  for _, title in ipairs(titles) do
    if not only or only == name then tap.test(name .. ": " .. title, function() suite[title](h, name) end) end
  end
end

host.run { "rm", "-rf", folder, reads = true }
tap.finish()
