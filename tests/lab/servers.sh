# Purpose: the cluster that a lab host joins: real Consul servers (srv1, and more where they are asked for) with a Nomad
# server on srv1, the configuration of a client, and forgetting a host that was thrown away.
# shellcheck shell=bash

is_server() { [[ $1 =~ ^srv[1-8]$ ]]; }

# found_cluster ACLS NAME...: how the cluster is made is settled when the lab first comes up.
found_cluster() {
  local acls=$1 name servers=()
  shift
  for name in "$@"; do ! is_server "$name" || servers+=("$name"); done
  mapfile -t servers < <(printf '%s\n' "${servers[@]}" | sort -u)
  if [ ! -s "$STATE/servers" ]; then
    [ -z "$acls" ] || make_tokens
    printf '%s\n' "${servers[@]}" >"$STATE/servers"
    return
  fi
  [ -z "$acls" ] || has_acls || die "the lab is up without ACLs: 'lab down' first"
  for name in "${servers[@]}"; do
    grep -qx "$name" "$STATE/servers" || die "the lab is up with other servers than $name: 'lab down' first"
  done
}

# The programs come from the repository's own packages, put in before the first boot.
provision_server() {
  local name=$1 root=$2 pool product products=(consul)
  [ "$name" != srv1 ] || products+=(nomad)
  pool=$(lab_repository)/www/pool/main
  for product in "${products[@]}"; do
    cp "$(newest "$pool/$product"_*.deb)" "$root/tmp/$product.deb"
    chroot "$root" dpkg --install "/tmp/$product.deb" >/dev/null
    rm "$root/tmp/$product.deb"
    fill_in "$product-server" "$name" >"$root/etc/$product.d/$product.hcl"
    chmod 0640 "$root/etc/$product.d/$product.hcl"
    chroot "$root" chgrp "$product" "/etc/$product.d/$product.hcl"
  done
  systemctl --quiet --root="$root" enable "${products[@]}"
}

# The newest below Nomad 1.10, which left out what this cluster's way with Vault needs.
newest() { printf '%s\n' "$@" | grep -v '_1\.1[0-9]' | sort -V | tail -1; }

# fill_in TEMPLATE NAME: a configuration of host NAME, from config/.
fill_in() {
  local text server all=""
  while read -r server; do all+="${all:+, }\"$(lab_address "$server")\""; done <"$STATE/servers"
  text=$(fill_in_tokens "$(cat "$LAB/config/$1.hcl.in")")
  text=${text//@ADDRESS@/$(lab_address "$2")}
  text=${text//@SERVERS@/$all}
  text=${text//@SERVER@/$(lab_address srv1)}
  text=${text//@COUNT@/$(wc -l <"$STATE/servers")}
  printf '%s\n' "${text//@NAME@/$2}"
}

# lab config NAME DIR: the two files that an operator would hand to setup/join-client.
lab_config() {
  local product
  mkdir -p "$2"
  for product in consul nomad; do fill_in "$product" "$1" >"$2/$product.hcl"; done
}

# consul_api PATH [CURL OPTION...]: asks srv1, or the server at CONSUL_SERVER; with ACLs as CONSUL_TOKEN, or all may be done.
consul_api() {
  local path=$1
  shift
  fetch -H @<(acl_header "${CONSUL_TOKEN:-management}") "$@" "http://${CONSUL_SERVER:-$(lab_address srv1)}:8500/v1/$path"
}
nomad_api() { local path=$1 && shift && fetch "$@" "http://$(lab_address srv1):4646/v1/$path"; }

has_leader() { [ "$("$1" status/leader | tr -d '"[:space:]')" != "" ]; }

has_peers() { [ "$(consul_api status/peers | tr ',' '\n' | grep -c :)" -eq "$(wc -l <"$STATE/servers")" ]; }

wait_cluster() {
  wait_until 120 "Consul's leader on srv1" has_leader consul_api || return
  wait_until 120 "Consul's servers to be one cluster" has_peers || return
  ! has_acls || grant || return
  wait_until 120 "Nomad's leader on srv1" has_leader nomad_api
}

# --- forgetting a host -----------------------------------------------------------------------

forget() {
  recorded "$(host_folder srv1)/nspawn.pid" >/dev/null || return 0
  wait_until 120 "Consul to forget $1" forgotten_by_consul "$1" || return
  wait_until 120 "Nomad to forget $1" forgotten_by_nomad "$1"
}

# Leaving is quick only for a member that gossip has seen fail; of one that it still believes alive
# Consul would wait eight seconds for an answer.
forgotten_by_consul() {
  local status
  status=$(consul_api agent/members | field_of "$1" Status) || return
  case $status in
    3 | 4) consul_api "agent/force-leave/$1?prune" -X PUT; return 1 ;;
    ?*) return 1 ;;
  esac
  consul_api catalog/deregister -X PUT --data "{\"Node\":\"$1\"}" || return
  [ "$(consul_api "catalog/node/$1" | tr -d '[:space:]')" = null ]
}

forgotten_by_nomad() {
  local id ids
  ids=$(nomad_api nodes | field_of "$1" ID) || return
  for id in $ids; do nomad_api "node/$id/purge" -X PUT; done
  [ -z "$ids" ]
}

# field_of NAME FIELD: of each entry of that name in a list on standard input.
field_of() {
  python3 -c 'import json, sys
for entry in json.load(sys.stdin):
    if entry["Name"] == sys.argv[1]: print(entry[sys.argv[2]])' "$@"
}
