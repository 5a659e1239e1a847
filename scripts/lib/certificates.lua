-- The certificates, keys and folders that an agent's configuration names, looked at on the host where they are: they exist,
-- who must read them can, a key belongs to its certificate, none has expired. Keys stay where they are.

local certificates = {}

local function is_below(path, folder)
  return folder ~= nil and path:sub(1, #folder + 1) == folder .. "/" and not (path .. "/"):find "/%.%./"
end

-- "/etc/certs/", as the shell completes it, is the folder "/etc/certs".
local function without_slash(folder)
  return folder and folder:gsub("(.)/+$", "%1")
end

-- Lines "KIND<tab>PATH<tab>KEY" come in, "PROBLEM<tab>PATH<tab>MORE" go out. As root the user's own rights are tried.
local LOOK = [[
user=$1
tab=$(printf '\t')
readable() {
  if [ -d "$1" ]; then set -- "$1" -x; else set -- "$1" -r; fi
  if [ -n "$user" ] && [ "$(id -u)" = 0 ]; then runuser -u "$user" -- test "$2" "$1"; else test "$2" "$1"; fi
}
certificate() { # two programs a certificate that is well: each start of openssl is what takes the time
  said=$(openssl x509 -noout -enddate -pubkey -checkend 1209600 -in "$1" 2>/dev/null)
  lasts=$?
  case $said in *notAfter=*) ;; *) echo "no certificate$tab$1"; return ;; esac
  if [ $lasts != 0 ]; then
    end=$(echo "${said#*notAfter=}" | head -n 1)
    if openssl x509 -checkend 0 -noout -in "$1" >/dev/null; then echo "expires$tab$1$tab$end"
    elif [ "$kind" = ca ] && [ "$(grep -c -e '-BEGIN .*CERTIFICATE-' "$1")" -gt 1 ]; then echo "past$tab$1$tab$end"
    else echo "expired$tab$1$tab$end"; fi
  fi
  [ -n "$2" ] && [ -e "$2" ] || return 0
  if ! public=$(openssl pkey -pubout -in "$2" -passin pass: 2>/dev/null); then echo "no key$tab$2"; return; fi
  case $said in *"$public"*) ;; *) echo "mismatch$tab$1$tab$2" ;; esac
}
while IFS=$tab read -r kind path key; do
  if ! [ -e "$path" ]; then echo "missing$tab$path"; continue; fi
  case $kind in *+) kind=${kind%+} ;; *) readable "$path" || echo "unreadable$tab$path$tab$user" ;; esac
  case $kind in ca|certificate)
    if command -v openssl >/dev/null; then certificate "$path" "$key"; else echo "unchecked$tab$path"; fi ;;
  esac
done]]

local PROBLEMS = {
  missing = "%s is not there",
  unreadable = "%s cannot be read by %s",
  ["no certificate"] = "%s holds no certificate in PEM",
  ["no key"] = "%s holds no private key without a passphrase",
  expired = "%s has expired on %s",
  mismatch = "%s and the key %s do not belong together",
}
local REMARKS = {
  expires = "%s expires on %s",
  past = "%s, the first of several certificates, has expired on %s",
  unchecked = "%s is not looked into: there is no openssl on this host",
}

-- Looks at the files (agent_config's list) in one go. `user` must be able to read them, where that user exists; nil: who runs.
-- Not so what is below `folder`: access to that will be given. Raises "invalid" with all that is wrong; what is only to be
-- known is warned of.
function certificates.check(files, user, folder)
  if #files == 0 then return end
  folder = without_slash(folder)
  local lines, wrong = {}, {}
  for _, file in ipairs(files) do
    local kind = file.kind .. (is_below(file.path, folder) and "+" or "")
    if (file.path .. (file.key or "")):find "[\t\n]" then
      wrong[#wrong + 1] = ("%q has a tab or the end of a line in it"):format(file.path)
    else
      lines[#lines + 1] = table.concat({ kind, file.path, file.key or "" }, "\t")
    end
  end
  if user and not host.users[user] then user = nil end -- its package is not installed yet
  local said = host.run { "sh", "-c", LOOK, "sh", user or "", stdin = table.concat(lines, "\n") .. "\n", reads = true,
    timeout = "60s" }.stdout
  for line in said:gmatch "[^\n]+" do
    local problem, path, more = line:match "^([^\t]*)\t([^\t]*)\t?(.*)$"
    if PROBLEMS[problem] then
      wrong[#wrong + 1] = PROBLEMS[problem]:format(path, more ~= "" and more or "who runs this")
    elseif REMARKS[problem] then
      warn(REMARKS[problem]:format(path, more))
    end
  end
  if #wrong == 0 then return end
  error { kind = "invalid", message = "certificates and folders: " .. table.concat(wrong, "; "),
    hint = "put right files there, or say where they are: --set cert_dir_from=OLD --set cert_dir=NEW; nothing was changed" }
end

-- Which of the users may not read which of the files: {user=, path=, rights= "r", "x" or "rx"}; also the folders on the way, "-"
-- for the one that holds LIMIT. Lines "KIND<tab>PATH" come in: of a "folder" all that is in it is read. A user that a package
-- is still to bring may what nobody may.
local ACCESS = [[
above=$(dirname "$LIMIT")
tab=$(printf '\t')
look() { # PATH: what the user lacks there and on the way to it
  at=$1 as=$user
  id "$user" >/dev/null 2>&1 || as=nobody
  while [ "$at" != / ] && [ -n "$at" ]; do
    if ! [ -d "$at" ]; then right=r; elif [ "$at$kind" = "$1folder" ]; then right=rx; else right=x; fi
    case $right in rx) runuser -u "$as" -- test -r "$at" -a -x "$at" ;; *) runuser -u "$as" -- test "-$right" "$at" ;; esac ||
      printf '%s\t%s\t%s\n' "$user" "$right" "$at"
    at=$(dirname "$at")
    case $at in "$LIMIT"|"$LIMIT"/*) ;; *) break ;; esac
  done
}
lacking=$(while IFS=$tab read -r kind path; do
  for user do
    look "$path"
    [ "$kind" = folder ] || continue
    for inside in "$path"/*; do [ ! -f "$inside" ] || look "$inside"; done
  done
done | sort -u)
[ -n "$lacking" ] || exit 0
for user do
  ! id "$user" >/dev/null 2>&1 || runuser -u "$user" -- test -x "$above" || printf '%s\t-\t%s\n' "$user" "$above"
done
printf '%s\n' "$lacking"]]

-- Of what is there twice, that with more rights: an access list has one entry for a user.
function certificates.merge(lacking)
  local list, places = {}, {}
  for _, lack in ipairs(lacking) do
    local place = lack.user .. "\t" .. lack.path
    local known = places[place]
    if not known then
      list[#list + 1], places[place] = lack, lack
    elseif #lack.rights > #known.rights then
      known.rights = lack.rights
    end
  end
  return list
end

-- What the users lack to read the files in and below the folder. To whom the way to it is closed, nothing there would help.
function certificates.lacking(files, users, folder)
  local lines, lacking = {}, {}
  folder = without_slash(folder)
  for _, file in ipairs(files) do
    if is_below(file.path .. (file.kind == "folder" and "/" or ""), folder) then
      lines[#lines + 1] = file.kind .. "\t" .. file.path
    end
  end
  if #lines == 0 or #users == 0 then return lacking end
  local command = { "sh", "-c", ACCESS, "sh", stdin = table.concat(lines, "\n") .. "\n", reads = true, timeout = "60s",
    env = { LIMIT = folder } }
  table.move(users, 1, #users, 5, command)
  local closed = {}
  for user, rights, path in host.run(command).stdout:gmatch "([^\t\n]+)\t([%a-]+)\t([^\n]+)" do
    if rights == "-" then
      warn(("%s may not go through %s, and so reads nothing in %s: give it a way, as by setfacl -m u:%s:x"):format(user, path,
        folder, user))
      closed[user] = true
    elseif not closed[user] then
      lacking[#lacking + 1] = { user = user, rights = rights, path = path }
    end
  end
  return certificates.merge(lacking)
end

return certificates
