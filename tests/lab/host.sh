# Purpose: one throwaway host: an overlay over the base, booted by systemd-nspawn with a real
# systemd; running commands in it, and throwing it away.
# shellcheck shell=bash

host_folder() { echo "$STATE/hosts/$1"; }

# The hosts' names become folder, interface and machine names.
check_name() { [[ $1 =~ ^[a-z][a-z0-9-]{0,10}$ ]] || die "not a host name of the lab: '$1'"; }

# srvN is .1+N and cN is .10+N, always; another name has the address that it got when it was first up.
lab_address() {
  check_name "$1"
  case $1 in
    srv[1-8]) echo "$NET.$((1 + ${1#srv}))" ;;
    c[1-9] | c[1-9][0-9]) echo "$NET.$((10 + ${1#c}))" ;;
    *) cat "$STATE/addresses/$1" 2>/dev/null || die "no host $1 in this lab" ;;
  esac
}

# The name is on record from then on; a free address, from .120 on, is for names that have none of their own.
know_address() {
  local file=$STATE/addresses/$1 last
  [ ! -s "$file" ] || return 0
  mkdir -p "$STATE/addresses"
  if [[ $1 =~ ^(srv[1-8]|c[1-9][0-9]?)$ ]]; then
    lab_address "$1" >"$file"
  else
    last=$(cat "$STATE/addresses"/* 2>/dev/null | sed 's/.*\.//' | sort -n | tail -1)
    echo "$NET.$((${last:-0} < 120 ? 120 : last + 1))" >"$file"
  fi
}

lab_list() {
  local folder name
  for folder in "$STATE"/hosts/*/; do
    [ -d "$folder" ] || continue
    name=$(basename "$folder")
    echo "$name $(lab_address "$name") $(lab_pid "$name" 2>/dev/null || echo -)"
  done
}

# --- making its disk -------------------------------------------------------------------------

prepare_disk() {
  local folder
  folder=$(host_folder "$1")
  mkdir -p "$folder/upper" "$folder/work" "$folder/root"
  mount -t overlay "moonlab-$1" "$folder/root" \
    -o "lowerdir=$(lab_base),upperdir=$folder/upper,workdir=$folder/work"
  name_host "$1" "$folder/root"
  let_in "$1" "$folder/root"
}

name_host() {
  local name=$1 root=$2 other
  echo "$name" >"$root/etc/hostname"
  {
    echo '127.0.0.1 localhost'
    for other in "$STATE"/addresses/*; do echo "$(cat "$other") $(basename "$other")"; done
  } >"$root/etc/hosts"
  cat >"$root/etc/systemd/network/10-host0.network" <<END
[Match]
Name=host0
[Network]
Address=$(lab_address "$name")/24
# Nothing is forwarded there; it is here because a real host has a default route.
Gateway=$GATEWAY
LinkLocalAddressing=no
IPv6AcceptRA=no
END
}

# Each host has keys of its own; they stay with the name through a reset, as does what knows them.
let_in() {
  local name=$1 root=$2 keys=$STATE/ssh/$1 begun home key
  if [ ! -d "$keys" ]; then # made beside it: who is killed in the middle leaves none with half of the keys
    begun=$(mktemp -d "$STATE/ssh/begun.XXXXXX")
    mkdir -p "$begun/etc/ssh"
    ssh-keygen -A -f "$begun" >/dev/null
    for key in "$begun"/etc/ssh/*.pub; do
      echo "$name,$(lab_address "$name") $(cut -d' ' -f1,2 "$key")" >>"$STATE/ssh/known_hosts"
    done
    write_ssh_config "$name"
    mv -T "$begun" "$keys" 2>/dev/null || rm -rf "$begun" # what a killed one had begun was quicker
  fi
  cp -p "$keys"/etc/ssh/* "$root/etc/ssh/"
  for home in root home/ops; do
    install -d -m 0700 "$root/$home/.ssh"
    install -m 0600 "$STATE/ssh/id.pub" "$root/$home/.ssh/authorized_keys"
  done
  chown -R "$(stat -c %u:%g "$root/home/ops")" "$root/home/ops/.ssh"
}

ssh_key() {
  [ ! -s "$STATE/ssh/id" ] || return 0
  mkdir -p "$STATE/ssh"
  ssh-keygen -q -t ed25519 -N '' -C moonbook-lab -f "$STATE/ssh/id"
}

write_ssh_config() {
  cat >>"$STATE/ssh/config" <<END
Host $1 $(lab_address "$1")
  HostName $(lab_address "$1")
  User root
  IdentityFile $STATE/ssh/id
  IdentitiesOnly yes
  UserKnownHostsFile $STATE/ssh/known_hosts
END
}

# --- booting ---------------------------------------------------------------------------------

# Where a process can be put so that all that a host runs is found again, also after a crash:
# the systemd hierarchy, and the unified one where there is one beside it.
cgroup_tops() {
  if [ -e /sys/fs/cgroup/cgroup.procs ]; then
    echo /sys/fs/cgroup
  else
    echo /sys/fs/cgroup/systemd
    [ ! -d /sys/fs/cgroup/unified ] || echo /sys/fs/cgroup/unified
  fi
}

boot() {
  local name=$1 folder top
  folder=$(host_folder "$name")
  (
    record "$folder/nspawn.pid"
    for top in $(cgroup_tops); do
      mkdir -p "$top/moonlab/$name"
      echo "$BASHPID" >"$top/moonlab/$name/cgroup.procs"
    done
    exec setsid systemd-nspawn -q -D "$folder/root" -M "$name" --register=no --keep-unit \
      --console=pipe --network-bridge="$BRIDGE" --resolv-conf=off --timezone=off --link-journal=no --boot 8>&-
  ) </dev/null >"$folder/console.log" 2>&1 &
}

# Pid 1 of the host, as the machine counts it.
lab_pid() {
  local nspawn pid children
  nspawn=$(recorded "$(host_folder "$1")/nspawn.pid") || return 1
  # The kernel ends the list without a newline, for which read fails after reading it.
  read -ra children 2>/dev/null <"/proc/$nspawn/task/$nspawn/children" || true
  for pid in "${children[@]}"; do
    # Pid 1 of a namespace below ours, and already systemd: before its exec it is not ready to enter.
    [[ $(sed -n 's/^NSpid:\t//p' "/proc/$pid/status") =~ ^[0-9]+[[:space:]]+1$ ]] || continue
    [ "$(cat "/proc/$pid/comm")" = systemd ] || continue
    echo "$pid"
    return
  done
  return 1
}

booted() {
  case $(enter "$1" systemctl is-system-running) in
    running | degraded) return 0 ;;
    *) return 1 ;;
  esac
}

wait_booted() {
  wait_until 60 "$1 to boot" booted "$1" || {
    tail -20 "$(host_folder "$1")/console.log" >&2
    return 1
  }
  touch "$(host_folder "$1")/ready"
}

# A host is whole when it was once ready and its pid 1 lives; anything else is a leftover.
whole() { [ -e "$(host_folder "$1")/ready" ] && lab_pid "$1" >/dev/null; }

# --- using it --------------------------------------------------------------------------------

# exec_in NAME COMMAND...: this process becomes the command. So whoever ends `lab exec` ends the command
# too: nsenter waits for it, and --pdeathsig tells it when nsenter is gone.
exec_in() {
  local pid
  pid=$(lab_pid "$1") || die "host $1 is not up"
  # Seen once in some dozen boots: the kernel denies for a moment that pid 1 has a root.
  [ -d /proc/"$pid"/root/root ] || wait_until 60 "the root folder of $1" test -d /proc/"$pid"/root/root
  shift
  join_cgroup "$pid" || die "cannot put the command among the host's processes"
  exec nsenter --all --root=/proc/"$pid"/root --wd=/proc/"$pid"/root/root --target "$pid" \
    /usr/bin/env -i HOME=/root USER=root LOGNAME=root SHELL=/bin/bash LANG=C.UTF-8 "TERM=${TERM:-dumb}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/bin/setpriv --pdeathsig TERM -- "$@" 8>&-
}

enter() (exec_in "$@")

# The command belongs to the host's tree of processes, not to the one who asked.
join_cgroup() {
  local line path top
  while IFS= read -r line; do
    case $line in
      0::*) top=/sys/fs/cgroup/unified; [ -d "$top" ] || top=/sys/fs/cgroup ;;
      *:name=systemd:*) top=/sys/fs/cgroup/systemd ;;
      *) continue ;;
    esac
    path=$top${line#*:*:}
    path=${path%/init.scope}/lab.exec
    mkdir -p "$path" || return
    echo "$BASHPID" >"$path/cgroup.procs" || return
  done <"/proc/$1/cgroup"
}

lab_exec() {
  local name=$1
  shift
  [ "${1:-}" != -- ] || shift
  [ $# -gt 0 ] || usage
  exec_in "$name" "$@"
}

lab_put() {
  local name=$1 from=$2 to=$3 mode
  # shellcheck disable=SC2016  # the host's shell is to expand these
  if [ -d "$from" ]; then
    tar -C "$from" -c . | enter "$name" sh -c 'mkdir -p "$1" && tar -C "$1" -x --no-same-owner' put "$to"
  else
    mode=$(stat -L -c %a "$from")
    # shellcheck disable=SC2016
    enter "$name" sh -c 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"' put "$to" "$mode" <"$from"
  fi
}

# Through the process rather than the disk: so /run and /tmp of the host are seen too.
lab_root() {
  local pid
  pid=$(lab_pid "$1") || die "host $1 is not up"
  echo "/proc/$pid/root"
}

# --- throwing it away ------------------------------------------------------------------------

# All that the host ever started is in its cgroup. Killing pid 1 takes its whole namespace along;
# nspawn itself then ends.
kill_host() {
  local top pid
  if pid=$(lab_pid "$1"); then
    kill -KILL "$pid" 2>/dev/null || true
    wait_until 5 "nspawn of $1 to end" gone "$(host_folder "$1")/nspawn.pid" || true
  fi
  for top in $(cgroup_tops); do
    [ -d "$top/moonlab/$1" ] || continue
    wait_until 60 "the end of all processes of $1" emptied "$top/moonlab/$1"
  done
}

emptied() {
  local pids
  pids=$(find "$1" -name cgroup.procs -exec cat {} + 2>/dev/null)
  # shellcheck disable=SC2086  # one word each
  [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
  find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
  [ ! -d "$1" ]
}

unmounted() {
  ! mountpoint -q "$1" || umount "$1"
  ! mountpoint -q "$1"
}

host_down() {
  local folder
  folder=$(host_folder "$1")
  [ -d "$folder" ] || return 0
  rm -f "$folder/ready"
  kill_host "$1"
  # nspawn's note that the disk is in use; it stays behind when nspawn is killed.
  [ ! -d "$folder/root" ] || rm -f "/run/systemd/nspawn/locks/inode-$(stat -c %d:%i "$folder/root")"
  wait_until 60 "the disk of $1 to be free" unmounted "$folder/root"
  rm -rf --one-file-system "$folder"
}
