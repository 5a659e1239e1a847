#!/bin/sh
# Purpose: the rival of a run with nothing to do: what setup/join-client checks on a joined host, by hand, in one
# script. Silent and 0 when all is as it should be, else one line and 1.
#   join-check.sh CONSUL_HCL NOMAD_HCL REPOSITORY FINGERPRINT DNS
set -eu
export LC_ALL=C

consul_hcl=$1 nomad_hcl=$2 repository=$3 fingerprint=$4 dns=$5
data_dir=/build
keyring=/usr/share/keyrings/hashicorp-archive-keyring.gpg
sources=/etc/apt/sources.list.d/hashicorp.sources

differs() { echo "differs: $*" >&2; exit 1; }

# ---- input ----

address=$(ip -4 route get 192.0.2.1 | sed -n 's/.* src \([0-9.]*\).*/\1/p')
[ -n "$address" ] || differs "no default route"
. /etc/os-release
case $ID in debian | ubuntu) ;; *) differs "this is $ID" ;; esac
grep -q "^ *data_dir *= *\"$data_dir/consul\"" "$consul_hcl" || differs "data_dir in $consul_hcl"
grep -q "^ *data_dir *= *\"$data_dir/nomad\"" "$nomad_hcl" || differs "data_dir in $nomad_hcl"

# ---- package repository ----

gpg --show-keys --with-colons "$keyring" 2>/dev/null | grep -q "^fpr:.*:$fingerprint:" || differs "$keyring"
[ "$(grep -v '^#' "$sources")" = "Types: deb
URIs: $repository
Suites: $VERSION_CODENAME
Components: main
Architectures: $(dpkg --print-architecture)
Signed-By: $keyring" ] || differs "$sources"
others=$(grep -slF "$repository" /etc/apt/sources.list /etc/apt/sources.list.d/* || true)
[ "$others" = "$sources" ] || differs "other sources of $repository: $others"

# ---- packages ----

# shellcheck disable=SC2016  # dpkg's variables
packages=$(dpkg-query -W -f '${Package} ${db:Status-Status} ${Version}\n' consul nomad dnsmasq)
for package in consul nomad dnsmasq; do
  case $packages in *"$package installed "*) ;; *) differs "package $package" ;; esac
done
version=${packages##*nomad installed }
dpkg --compare-versions "${version%%
*}" lt 1.10 || differs "nomad is $version"

# ---- folders and files ----

wanted="$data_dir/consul consul consul 755
$data_dir/nomad root root 755
/etc/consul.d/consul.hcl root consul 640
/etc/nomad.d/nomad.hcl root root 640"
found=$(stat -c '%n %U %G %a' $data_dir/consul $data_dir/nomad /etc/consul.d/consul.hcl /etc/nomad.d/nomad.hcl)
[ "$found" = "$wanted" ] || differs "owners and modes: $found"
cmp -s "$consul_hcl" /etc/consul.d/consul.hcl || differs /etc/consul.d/consul.hcl
cmp -s "$nomad_hcl" /etc/nomad.d/nomad.hcl || differs /etc/nomad.d/nomad.hcl
for other in /etc/consul.d/*.hcl /etc/consul.d/*.json /etc/nomad.d/*.hcl /etc/nomad.d/*.json; do
  case $other in */consul.d/consul.hcl | */nomad.d/nomad.hcl | *'*'*) ;; *) echo "read as well: $other" >&2 ;; esac
done

# ---- DNS ----

[ "$(grep '^server=/consul/' /etc/dnsmasq.conf)" = "server=/consul/$dns" ] || differs /etc/dnsmasq.conf

# ---- services ----

# check_unit UNIT FILE: enabled, active, and started after the file's last change.
check_unit() {
  state=$(systemctl show --timestamp=us+utc -p ActiveState,UnitFileState,ExecMainStartTimestamp "$1")
  case $state in *ActiveState=active*) ;; *) differs "$1 is not active" ;; esac
  case $state in *UnitFileState=enabled*) ;; *) differs "$1 is not enabled" ;; esac
  started=${state#*ExecMainStartTimestamp=}
  started=$(date -d "${started%%
*}" +%s%6N)
  changed=$(stat -c %.6Z "$2")
  [ "${changed%.*}${changed#*.}" -le "$started" ] || differs "$1 is older than $2"
}
check_unit dnsmasq /etc/dnsmasq.conf
check_unit consul /etc/consul.d/consul.hcl
check_unit nomad /etc/nomad.d/nomad.hcl

# ---- the agents and the cluster ----

consul=http://127.0.0.1:8500/v1 nomad=http://$address:4646/v1
self=$(curl -sf "$consul/agent/self") || differs "Consul does not answer"
case $self in *"\"DataDir\":\"$data_dir/consul\""*) ;; *) differs "Consul keeps its data elsewhere" ;; esac
case $(curl -sf "$nomad/agent/self") in
  *"\"DataDir\":\"$data_dir/nomad\""*) ;;
  *) differs "Nomad keeps its data elsewhere" ;;
esac
node=${self#*'"NodeName":"'}
node=${node%%'"'*}
curl -sf "$consul/catalog/service/nomad-client" | sed 's/{"ID":/\n&/g' | grep "\"Node\":\"$node\"" |
  grep -q "\"ServiceAddress\":\"$address\"" || differs "nomad-client of $node in Consul's catalog"
curl -sf "$nomad/nodes" | sed 's/{"Address":/\n&/g' | grep "^{\"Address\":\"$address\"" |
  grep -q '"Status":"ready"' || differs "this host among Nomad's nodes"
