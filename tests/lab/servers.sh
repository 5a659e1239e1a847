# Purpose: the cluster that a lab host joins: srv1 with a real Consul server and a Nomad server,
# the configuration of a client, and forgetting a host that was thrown away.
# shellcheck shell=bash

# The programs come from the repository's own packages, put in before the first boot.
provision_server() {
  local root=$1 pool
  pool=$(lab_repository)/www/pool/main
  cp "$(newest "$pool"/consul_*.deb)" "$root/tmp/consul.deb"
  cp "$(newest "$pool"/nomad_*.deb)" "$root/tmp/nomad.deb"
  chroot "$root" dpkg --install /tmp/consul.deb /tmp/nomad.deb >/dev/null
  rm "$root/tmp/consul.deb" "$root/tmp/nomad.deb"
  fill_in "$LAB/config/consul-server.hcl.in" srv1 >"$root/etc/consul.d/consul.hcl"
  fill_in "$LAB/config/nomad-server.hcl.in" srv1 >"$root/etc/nomad.d/nomad.hcl"
  systemctl --quiet --root="$root" enable consul nomad
}

# The newest below Nomad 1.10, which left out what this cluster's way with Vault needs.
newest() { printf '%s\n' "$@" | grep -v '_1\.1[0-9]' | sort -V | tail -1; }

# fill_in TEMPLATE NAME: a configuration of host NAME.
fill_in() {
  sed -e "s/@ADDRESS@/$(lab_address "$2")/g" -e "s/@SERVER@/$(lab_address srv1)/g" -e "s/@NAME@/$2/g" "$1"
}

# lab config NAME DIR: the two files that an operator would hand to setup/join-client.
lab_config() {
  local product
  mkdir -p "$2"
  for product in consul nomad; do fill_in "$LAB/config/$product.hcl.in" "$1" >"$2/$product.hcl"; done
}

consul_api() { local path=$1 && shift && fetch "$@" "http://$(lab_address srv1):8500/v1/$path"; }
nomad_api() { local path=$1 && shift && fetch "$@" "http://$(lab_address srv1):4646/v1/$path"; }

has_leader() { [ "$("$1" status/leader | tr -d '"[:space:]')" != "" ]; }

wait_cluster() {
  wait_until 60 "Consul's leader on srv1" has_leader consul_api || return
  wait_until 60 "Nomad's leader on srv1" has_leader nomad_api
}

# --- forgetting a host -----------------------------------------------------------------------

forget() {
  recorded "$(host_folder srv1)/nspawn.pid" >/dev/null || return 0
  wait_until 30 "Consul to forget $1" forgotten_by_consul "$1" || return
  wait_until 30 "Nomad to forget $1" forgotten_by_nomad "$1"
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
