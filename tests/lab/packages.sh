# Purpose: the packages of the lab's repository, each laid out as the vendor lays out its own:
# where the files are, what the unit starts, what installing does and does not do.
# shellcheck shell=bash

# pack TREE OUT: TREE holds the files and DEBIAN/. Little compression: built often, sent nowhere.
pack() { dpkg-deb --root-owner-group -Zgzip -z1 --build "$1" "$2" >/dev/null; }

control() {
  local tree=$1 package=$2 version=$3
  mkdir -p "$tree/DEBIAN"
  cat >"$tree/DEBIAN/control" <<END
Package: $package
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: Moonbook's lab <lab@localhost>
Section: default
Priority: extra
Depends: ${4:-libc6}
Description: $package for the hosts of Moonbook's lab
 Stands in for the vendor's package of the same name.
END
}

# maintainer_script TREE NAME: the script comes on standard input.
maintainer_script() {
  cat >"$1/DEBIAN/$2"
  chmod 0755 "$1/DEBIAN/$2"
}

# --- consul: the real program, with files like the vendor's --------------------------------------

consul_package() {
  local tree=$1 version=$2 program=$3
  install -D -m 0755 "$program" "$tree/usr/bin/consul"
  install -d "$tree/lib/systemd/system" "$tree/etc/consul.d"
  consul_unit >"$tree/lib/systemd/system/consul.service"
  : >"$tree/etc/consul.d/consul.env"
  consul_default >"$tree/etc/consul.d/consul.hcl"
  control "$tree" consul "$version"
  printf '/etc/consul.d/%s\n' consul.env consul.hcl >"$tree/DEBIAN/conffiles"
  maintainer_script "$tree" postinst <<'END'
#!/bin/sh
# Like the vendor's: user, folders, nothing started. A folder that cannot be made is only said.
if [ "$1" = configure ]; then
  id -u consul >/dev/null 2>&1 ||
    useradd --system --user-group --home-dir /etc/consul.d --no-create-home --shell /bin/false consul
  chown -R consul:consul /etc/consul.d
  mkdir /opt/consul
  [ ! -d /opt/consul ] || chown consul:consul /opt/consul
  [ ! -d /run/systemd/system ] || systemctl --system daemon-reload >/dev/null || true
fi
exit 0
END
}

consul_unit() {
  cat <<'END'
[Unit]
Description="HashiCorp Consul - A service mesh solution"
Requires=network-online.target
After=network-online.target
ConditionFileNotEmpty=/etc/consul.d/consul.hcl

[Service]
Type=notify
EnvironmentFile=-/etc/consul.d/consul.env
User=consul
Group=consul
ExecStart=/usr/bin/consul agent -config-dir=/etc/consul.d/
ExecReload=/bin/kill --signal HUP $MAINPID
KillMode=process
KillSignal=SIGTERM
Restart=on-failure
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
END
}

consul_default() {
  cat <<'END'
# The default of the package: everything but the data folder is left to the operator.

#datacenter = "my-dc-1"

data_dir = "/opt/consul"

#client_addr = "0.0.0.0"

#ui_config {
#  enabled = true
#}

#server = true

#bind_addr = "0.0.0.0"
#advertise_addr = "127.0.0.1"

#bootstrap_expect = 3

#encrypt = "..."

#retry_join = ["consul.domain.internal"]
END
}

# --- nomad: a real one where the machine has it, else the stand-in -----------------------------------

nomad_package() {
  local tree=$1 version=$2 program=$3 depends=$4
  install -D -m 0755 "$program" "$tree/usr/bin/nomad"
  install -d "$tree/usr/lib/systemd/system" "$tree/etc/nomad.d"
  nomad_unit "$version" >"$tree/usr/lib/systemd/system/nomad.service"
  : >"$tree/etc/nomad.d/nomad.env"
  nomad_default >"$tree/etc/nomad.d/nomad.hcl"
  control "$tree" nomad "$version" "$depends"
  printf '/etc/nomad.d/%s\n' nomad.env nomad.hcl >"$tree/DEBIAN/conffiles"
  maintainer_script "$tree" preinst <<'END'
#!/bin/sh
id -u nomad >/dev/null 2>&1 || useradd --system --user-group --shell /bin/false nomad
END
  maintainer_script "$tree" postinst <<'END'
#!/bin/sh
# Like the vendor's: where /opt is not ours the folder fails, with a message, and dpkg goes on.
mkdir -p /opt/nomad/data
chown nomad:nomad /opt/nomad/data
chown -R nomad:nomad /etc/nomad.d
[ ! -d /run/systemd/system ] || systemctl --system daemon-reload >/dev/null || true
exit 0
END
  maintainer_script "$tree" postrm <<'END'
#!/bin/sh
[ "$1" != purge ] || userdel nomad || true
exit 0
END
}

# Only a recent Nomad tells systemd that it is ready; an older one must not be waited for.
nomad_unit() {
  local type=notify
  ! dpkg --compare-versions "$1" lt 1.9 || type=simple
  cat <<END
[Unit]
Description=Nomad
Wants=network-online.target
After=network-online.target

[Service]
User=root
Group=root
Type=$type
EnvironmentFile=-/etc/nomad.d/nomad.env
ExecReload=/bin/kill -HUP \$MAINPID
ExecStart=/usr/bin/nomad agent -config /etc/nomad.d
KillMode=process
KillSignal=SIGINT
LimitNOFILE=65536
LimitNPROC=infinity
Restart=on-failure
RestartSec=2
TasksMax=infinity

[Install]
WantedBy=multi-user.target
END
}

nomad_default() {
  cat <<'END'
# The default of the package: a server and a client in one, for a single machine.

data_dir  = "/opt/nomad/data"
bind_addr = "0.0.0.0"

server {
  # license_path is only for the Enterprise edition
  #license_path = "/etc/nomad.d/license.hclic"
  enabled          = true
  bootstrap_expect = 1
}

client {
  enabled = true
  servers = ["127.0.0.1"]
}
END
}

# standin_nomad OUT VERSION: the stand-in as one program, which answers with that version.
standin_nomad() {
  local source
  source=$(mktemp -d)
  cp "$STANDIN"/nomad/*.py "$STANDIN"/nomad/*.json "$source/"
  sed -i "s/^VERSION = .*/VERSION = \"$2\"/" "$source/release.py"
  python3 -m zipapp --python /usr/bin/python3 --output "$1" "$source"
  rm -rf "$source"
}

# versions_package TREE VERSION: a package that is nothing but its version, for what chooses one. Also where a real nomad,
# which has only its own, is in the repository.
versions_package() { control "$1" moonbook-test-versions "$2"; }

# --- units that do not stay up, for what judges a unit ------------------------------------------------

failing_package() {
  local tree=$1
  install -d "$tree/usr/lib/systemd/system" "$tree/usr/bin"
  printf '#!/bin/sh\necho "moonbook-test: about to die"\nsleep 0.3\necho "moonbook-test: dying" >&2\nexit 1\n' \
    >"$tree/usr/bin/moonbook-test-dies"
  chmod 0755 "$tree/usr/bin/moonbook-test-dies"
  cat >"$tree/usr/lib/systemd/system/moonbook-test-dies.service" <<'END'
[Unit]
Description=Starts, and dies after a third of a second
[Service]
ExecStart=/usr/bin/moonbook-test-dies
[Install]
WantedBy=multi-user.target
END
  cat >"$tree/usr/lib/systemd/system/moonbook-test-loops.service" <<'END'
[Unit]
Description=Dies again and again, and looks active now and then
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/moonbook-test-dies
Restart=always
RestartSec=200ms
[Install]
WantedBy=multi-user.target
END
  control "$tree" moonbook-test-dies 1.0-1
}
