-- Files of agents that go together: each is placed if its program takes it, and if one is refused, all are as they were.

local agent_files = {}

local function put_back(path, text, was)
  local done, problem = pcall(text and file.present or file.absent,
    { path, content = text, mode = text and was.mode, owner = text and was.owner, group = text and was.group })
  if not done then warn(("%s has its new content still: %s"):format(path, tostring(problem))) end
end

-- Each is {path=, content=, group=, validate= a checker's argv or nil, from= what to correct if it is refused}: root's, 0640.
function agent_files.place(files)
  local placed = {}
  for i, each in ipairs(files) do
    local to_come = false -- may there be a reason to put this one back?
    for later = i + 1, #files do to_come = to_come or files[later].validate ~= nil end
    local text
    if to_come and not checking() then text = file.read(each.path) end
    local done, result = pcall(file.present, { each.path, content = each.content, owner = "root", group = each.group,
      mode = "0640", validate = each.validate })
    if not done then
      if type(result) == "table" and result.kind == "invalid" then
        result.hint = ("%s is left as it was; correct %s"):format(each.path, each.from)
        for last = #placed, 1, -1 do put_back(table.unpack(placed[last], 1, 3)) end
      end
      error(result, 0)
    end
    if to_come and result.changed then placed[#placed + 1] = { each.path, text, result.before } end
  end
end

return agent_files
