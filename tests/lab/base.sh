# Purpose: the folder that every lab host stands on: a fresh Debian 12 with systemd, ssh and
# dnsmasq, built once into the cache.
# shellcheck shell=bash

BASE_SUITE=bookworm
BASE_PACKAGES=(
  systemd systemd-sysv dbus libnss-systemd libnss-myhostname
  iproute2 iputils-ping procps sudo acl curl ca-certificates gnupg python3 strace
  dnsmasq openssh-server
  # What moonbook links, and what its sanitizer build loads.
  liblua5.4-0 libuv1 libcurl4 libyajl2 libjansson4 libssh2-1 libedit2 lua-cjson libasan8 libubsan1
)

base_key() { sha256sum <"$LAB/base.sh" | cut -c1-12; }

lab_base() { cached base "$(base_key)" build_base; }

build_base() {
  local root=$1 include
  include=$(IFS=, && echo "${BASE_PACKAGES[*]}")
  source_line "$BASE_SUITE" |
    mmdebstrap --quiet --variant=minbase --include="$include" "$BASE_SUITE" "$root" -
  make_host_of "$root"
}

# What makes a folder of packages a host of the lab.
make_host_of() {
  local root=$1
  # No way out: with Debian's own sources `apt-get update` would wait minutes for a mirror that
  # never answers and hold the lock meanwhile.
  rm -f "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/*
  # Made anew for each host.
  rm -f "$root"/etc/ssh/ssh_host_*_key* "$root/etc/hostname"
  : >"$root/etc/machine-id"
  # dnsmasq answers on the host itself, and knows no upstream until a runbook gives it one.
  printf 'nameserver 127.0.0.1\noptions timeout:2 attempts:1\n' >"$root/etc/resolv.conf"
  systemctl --quiet --root="$root" enable systemd-networkd
  # They would hold apt's lock at moments that no test can foresee.
  systemctl --quiet --root="$root" disable apt-daily.timer apt-daily-upgrade.timer
  # Somebody who is not root, for what goes through sudo.
  chroot "$root" useradd --create-home --shell /bin/bash ops
  echo 'ops ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/ops"
  chmod 0440 "$root/etc/sudoers.d/ops"
}
