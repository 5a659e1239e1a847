# Purpose: the lab's own bridge and the HTTP server that stands in for the vendor's site on it.
# shellcheck shell=bash

# Recorded before it is made: what is in the state folder is ours and may be removed.
bridge_up() {
  if ip link show "$BRIDGE" >/dev/null 2>&1; then
    [ -e "$STATE/bridge" ] || die "interface $BRIDGE exists and is not this lab's (state folder $STATE)"
    return
  fi
  [ -z "$(ip -4 route show root "$NET.0/24")" ] || die "addresses $NET.0/24 are already in use on this machine"
  echo "$BRIDGE" >"$STATE/bridge"
  ip link add "$BRIDGE" type bridge forward_delay 0
  ip addr add "$GATEWAY/24" dev "$BRIDGE"
  ip link set "$BRIDGE" up
}

bridge_down() {
  [ -e "$STATE/bridge" ] || return 0
  ! ip link show "$BRIDGE" >/dev/null 2>&1 || ip link delete "$BRIDGE"
  rm -f "$STATE/bridge"
}

lab_url() { echo "http://$GATEWAY:$HTTP_PORT"; }

# Straight to the lab, whatever proxy the environment names.
fetch() { curl --noproxy '*' --silent --show-error --fail --max-time 10 "$@"; }

site_up() {
  local repository
  repository=$(lab_repository)
  if recorded "$STATE/site.pid" >/dev/null; then
    [ "$(cat "$STATE/repository")" != "$repository" ] || return 0
    end "$STATE/site.pid"
  fi
  echo "$repository" >"$STATE/repository"
  (
    record "$STATE/site.pid"
    exec setsid /usr/bin/python3 -u -m http.server --bind "$GATEWAY" --directory "$repository/www" "$HTTP_PORT" 8>&-
  ) </dev/null >/dev/null 2>>"$STATE/requests.log" &
  wait_until 60 "the repository's HTTP server" fetch -o /dev/null "$(lab_url)/gpg"
}

site_down() {
  end "$STATE/site.pid"
  rm -f "$STATE/repository"
}
