-- `moonbook list` runs whatever it finds, in an environment in which nothing can be done. Run from the repository.
local tap = require "tap"

local folder <const> = host.run { "mktemp", "-d", reads = true }.stdout:gsub("\n$", "")
local _ <close> = setmetatable({}, { __close = function() host.run { "rm", "-rf", folder, reads = true } end })

-- What `moonbook list` says of a runbook with this text, and the texts of the files beside it afterwards.
local function listed(text)
  host.run { "tee", folder .. "/mine.lua", stdin = text, reads = true }
  local answer = host.run { os.getenv "MOONBOOK" or "build/moonbook", "list", "--json", env = { MOONBOOK_PATH = folder },
    reads = true }
  for _, entry in ipairs(json.decode(answer.stdout)) do
    if entry.name == "mine" then return entry, host.run { "ls", folder, reads = true }.stdout end
  end
end

local HEADER = "return { about = 'mine', params = {}, run = function() host.run{ 'true' } end }"

tap.test("a runbook is listed", function()
  local entry = listed("local t = file.read '/etc/hostname'; " .. HEADER)
  tap.equal({ entry.about, entry.error }, { "mine" })
end)

for name, text in pairs {
  command = "host.run{ 'touch', '%s/made', reads = true }",
  ["command of a fiber"] = "parallel{ function() host.run{ 'touch', '%s/made' } end }",
  ["file"] = "file.present{ '%s/made', content = 'x' }",
  ["Lua's own write"] = "io.open('%s/made', 'w'):write 'x'",
  ["Lua's own command"] = "os.execute 'touch %s/made'",
  download = "http.download{ '%s/made', url = 'http://127.0.0.1:1/' }",
} do
  tap.test("one that acts when it is loaded cannot: " .. name, function()
    local entry, files = listed(text:format(folder) .. " " .. HEADER)
    tap.equal(entry.path, folder .. "/mine.lua")
    tap.equal(files, "mine.lua\n")
  end)
end

tap.finish()
