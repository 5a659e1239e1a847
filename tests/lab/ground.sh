# Purpose: what every part of the lab stands on: where things are, messages, waiting on a
# condition, things built once into the cache, and processes that the lab started itself.
# shellcheck shell=bash
# shellcheck disable=SC2034  # the other parts use what is set here

CACHE=${MOONBOOK_LAB_CACHE:-/var/cache/moonbook-lab}
STATE=${MOONBOOK_LAB_STATE:-/run/moonbook-lab}
BRIDGE=moonlab0
NET=10.213.77
GATEWAY=$NET.1
HTTP_PORT=8080
STANDIN=$LAB/../standin

say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# wait_until SECONDS WHAT COMMAND...: until COMMAND succeeds, else fail and say what was missing.
wait_until() {
  local end=$((${EPOCHREALTIME/./} + $1 * 1000000)) what=$2
  local seconds=$1
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((${EPOCHREALTIME/./} < end)) || { say "waited $seconds s for: $what"; return 1; }
    sleep 0.05
  done
}

# A pid alone may long belong to somebody else, so its start time is kept with it.
start_time() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # After the name, which may hold blanks and brackets itself.
  read -ra fields <<<"${stat##*) }"
  echo "${fields[19]}"
}

# record FILE: called inside the process that is to be known, before its exec.
record() {
  # Not inside $( ), where BASHPID is another process.
  local pid=$BASHPID
  echo "$pid $(start_time "$pid")" >"$1.new" && mv "$1.new" "$1"
}

# recorded FILE: its pid, if that very process still lives.
recorded() {
  local pid start
  read -r pid start 2>/dev/null <"$1" || return 1
  [ "$(start_time "$pid")" = "$start" ] || return 1
  # A zombie has ended; only its parent has not looked yet.
  [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null)" != Z ] || return 1
  echo "$pid"
}

gone() { ! recorded "$1"; }

# end FILE: end the process that FILE names, politely first, and forget it.
end() {
  local pid
  if pid=$(recorded "$1"); then
    kill -TERM "$pid" 2>/dev/null || true
    wait_until 3 "the end of process $pid" gone "$1" || kill -KILL "$pid" 2>/dev/null || true
    wait_until 10 "the end of process $pid" gone "$1"
  fi
  rm -f "$1"
}

# cached KIND KEY BUILDER: prints the folder KIND-KEY of the cache; BUILDER FOLDER fills it first
# if it is not there. Built beside and renamed, so a killed build never looks like a whole one.
cached() {
  local target=$CACHE/$1-$2 building=$CACHE/$1.building
  mkdir -p "$CACHE"
  (
    flock 9
    [ ! -d "$target" ] || exit 0
    rm -rf --one-file-system "$building"
    mkdir "$building"
    say "building $1"
    # A process of its own, so that `set -e` holds in it wherever this was called from.
    "$LAB/lab" fill "$3" "$building" >&2 && mv "$building" "$target" && forget_older "$1" "$target"
  ) 9>"$CACHE/$1.lock" || return
  echo "$target"
}

# What an older recipe made goes, unless hosts still stand on it or it is being served.
forget_older() {
  local old
  for old in "$CACHE/$1"-*; do
    [ "$old" != "$2" ] || continue
    ! grep -qF "$old" /proc/self/mounts || continue
    [ "$(cat "$STATE/repository" 2>/dev/null)" != "$old" ] || continue
    rm -rf --one-file-system "$old"
  done
}

# One command at a time changes the state. Descriptor 8 is closed in what outlives the command,
# once that is on record.
take_state() {
  while true; do
    mkdir -p "$STATE"
    chmod 0700 "$STATE"
    exec 8>>"$STATE/lock"
    flock -w 300 8 || die "another lab command holds $STATE/lock"
    # A `lab down` that was waited for has removed it: then it guards nothing.
    [ ! "$STATE/lock" -ef /proc/self/fd/8 ] || return 0
  done
}

DEPS=(mmdebstrap systemd-container apt-utils gnupg dpkg-dev iproute2 python3 strace curl
  openssh-client debian-archive-keyring util-linux procps)

deps_missing() {
  local have package
  have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${DEPS[@]}" 2>/dev/null || true)
  for package in "${DEPS[@]}"; do
    grep -qx "installed $package" <<<"$have" || echo "$package"
  done
}

lab_deps() {
  local missing
  mapfile -t missing < <(deps_missing)
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}" >&2
}

# The mirror that this machine itself uses: the tree names none.
mirror() {
  local found
  # shellcheck disable=SC2016  # these are apt's variables
  found=$(apt-get indextargets --format '$(CREATED_BY) $(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)' |
    awk '$1 == "Packages" && $2 == "Debian" && $3 == "main" && $4 !~ /-/ { print $5; exit }')
  [ -n "$found" ] || die "apt on this machine knows no Debian mirror (has apt-get update run?)"
  echo "$found"
}

# source_line SUITE: an apt source at the machine's mirror, checked with Debian's own keys.
source_line() {
  local keyring
  keyring=$(dpkg -L debian-archive-keyring | grep -m1 '/debian-archive-keyring\.gpg$')
  echo "deb [signed-by=$keyring] $(mirror) $1 main"
}
