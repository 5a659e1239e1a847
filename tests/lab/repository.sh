# Purpose: a signed package repository that stands in for the vendor's: its suites, its key, and an
# older key; built once into the cache.
# shellcheck shell=bash

REPOSITORY_SUITES=(bookworm bullseye jammy)

repository_key() {
  {
    cat "$LAB/repository.sh" "$LAB/packages.sh" "$STANDIN"/nomad/*.py "$STANDIN"/nomad/*.json
    real_nomad && nomad version
  } 2>/dev/null | sha256sum | cut -c1-12
}

# FOLDER/www is what is served; FOLDER/keys what tests need to know about it.
lab_repository() { cached repository "$(repository_key)" build_repository; }

build_repository() {
  mkdir -p "$1/www/pool/main" "$1/keys" "$1/work"
  make_packages "$1/www/pool/main" "$1/work"
  index_and_sign "$1"
  rm -rf "$1/work"
}

make_packages() {
  local pool=$1 work=$2 version
  debian_consul "$work"
  # Two versions of one program, for what pins a version.
  for version in 1.8.6-1 1.8.7-1; do
    consul_package "$work/tree" "$version" "$work/consul/usr/bin/consul"
    finish "$work/tree" "$pool"
  done
  if real_nomad; then
    version=$(nomad version | sed -n 's/^Nomad v\([0-9.]*\).*/\1/p')
    nomad_package "$work/tree" "$version-1" "$(command -v nomad)" libc6
    finish "$work/tree" "$pool"
  else
    # Newest below 1.10 is what setup/join-client must choose.
    for version in 1.8.4-1 1.9.7-1 1.10.0-1; do
      standin_nomad "$work/nomad" "${version%-*}"
      nomad_package "$work/tree" "$version" "$work/nomad" python3
      finish "$work/tree" "$pool"
    done
  fi
  for version in 1.8.4-1 1.9.7-1 1.10.0-1; do
    mkdir -p "$work/tree"
    versions_package "$work/tree" "$version"
    finish "$work/tree" "$pool"
  done
  failing_package "$work/tree"
  finish "$work/tree" "$pool"
}

# A nomad on PATH that is a program, not a script such as the stand-in.
real_nomad() { command -v nomad >/dev/null && [ "$(head -c 4 "$(command -v nomad)" | tail -c 3)" = ELF ]; }

finish() {
  pack "$1" "$2"
  rm -rf "$1"
}

# Debian 11 has the real program. apt, told to know that one suite only, fetches and verifies it.
debian_consul() {
  local work=$1 apt
  mkdir -p "$work"/apt/{lists/partial,archives/partial,parts} "$work/consul"
  source_line bullseye >"$work/apt/sources.list"
  apt=(apt-get -q -o APT::Sandbox::User=root -o Dir::Etc::SourceList="$work/apt/sources.list"
    -o Dir::Etc::SourceParts="$work/apt/parts" -o Dir::State::Lists="$work/apt/lists"
    -o Dir::Cache="$work/apt" -o Dir::Etc::PreferencesParts="$work/apt/parts" -o Acquire::Languages=none)
  "${apt[@]}" update
  (cd "$work" && "${apt[@]}" download consul)
  dpkg-deb --extract "$work"/consul_*.deb "$work/consul"
}

# --- index and signature ---------------------------------------------------------------------------

index_and_sign() {
  local www=$1/www keys=$1/keys suite
  (
    # A home of its own, short enough for the agent's socket; the secret keys go with it.
    GNUPGHOME=$(mktemp -d)
    export GNUPGHOME
    trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
    new_key current "$keys"
    new_key old "$keys"
    cp "$keys/current.asc" "$www/gpg"
    cp "$keys/old.asc" "$www/gpg-old"
    for suite in "${REPOSITORY_SUITES[@]}"; do index_suite "$www" "$suite"; done
  )
}

# new_key NAME FOLDER: NAME.asc and NAME.fingerprint.
new_key() {
  gpg --batch --quiet --passphrase '' --quick-generate-key "Moonbook lab, $1 <$1@localhost>" rsa3072 sign never
  gpg --batch --armor --export "$1@localhost" >"$2/$1.asc"
  gpg --batch --with-colons --list-keys "$1@localhost" | awk -F: '$1 == "fpr" { print $10; exit }' >"$2/$1.fingerprint"
}

index_suite() {
  local www=$1 suite=$2 arch dist
  arch=$(dpkg --print-architecture)
  dist=dists/$suite
  mkdir -p "$www/$dist/main/binary-$arch"
  (
    cd "$www" || exit
    apt-ftparchive packages pool/main >"$dist/main/binary-$arch/Packages"
    gzip -9nk "$dist/main/binary-$arch/Packages"
    apt-ftparchive -o APT::FTPArchive::Release::Origin=Moonbook-lab -o APT::FTPArchive::Release::Label=Moonbook-lab \
      -o APT::FTPArchive::Release::Suite="$suite" -o APT::FTPArchive::Release::Codename="$suite" \
      -o APT::FTPArchive::Release::Architectures="$arch" -o APT::FTPArchive::Release::Components=main \
      release "$dist" >"$dist/Release.new"
    mv "$dist/Release.new" "$dist/Release"
    gpg --batch --quiet -u current@localhost --clearsign -o "$dist/InRelease" "$dist/Release"
    gpg --batch --quiet -u current@localhost --armor --detach-sign -o "$dist/Release.gpg" "$dist/Release"
  )
}
