# Purpose: a cluster with ACLs on and default deny (`lab up --acls`): its tokens, made for this lab alone, and what each
# of them may do.
# shellcheck shell=bash

# The secrets are settled before the servers start; a lab that has them is one with ACLs.
TOKENS=$STATE/tokens

has_acls() { [ -d "$TOKENS" ]; }

make_tokens() {
  local name
  rm -rf "$TOKENS.new"
  mkdir "$TOKENS.new"
  for name in management agent nomad read-only; do cat /proc/sys/kernel/random/uuid >"$TOKENS.new/$name"; done
  head -c 32 /dev/urandom | base64 >"$TOKENS.new/gossip"
  mv "$TOKENS.new" "$TOKENS"
}

lab_token() {
  has_acls || die "this lab has no ACLs: 'lab up --acls' makes one that has"
  case $1 in
    management | agent | nomad | read-only) cat "$TOKENS/$1" ;;
    *) die "not a token of the lab: '$1'" ;;
  esac
}

# For curl's -H @FILE: so it is in no list of processes.
acl_header() { ! has_acls || printf 'X-Consul-Token: %s\n' "$(cat "$TOKENS/$1")"; }

# fill_in_tokens TEXT: lines that begin with "#acl# " are for a cluster with ACLs.
fill_in_tokens() {
  local text=$1 name
  if ! has_acls; then
    grep -v '^#acl# ' <<<"$text"
    return
  fi
  text=${text//$'\n#acl# '/$'\n'}
  for name in management agent nomad gossip; do text=${text//@${name^^}@/$(cat "$TOKENS/$name")}; done
  printf '%s\n' "$text"
}

# --- what each may do ------------------------------------------------------------------------

rules_of() {
  case $1 in
    agent)
      cat <<'END'
node_prefix ""    { policy = "write" }
service_prefix "" { policy = "read" }
END
      ;;
    nomad)
      cat <<'END'
agent_prefix ""   { policy = "read" }
node_prefix ""    { policy = "read" }
service_prefix "" { policy = "write" }
END
      ;;
    read-only)
      cat <<'END'
acl      = "read"
keyring  = "read"
operator = "read"
agent_prefix ""   { policy = "read" }
event_prefix ""   { policy = "read" }
key_prefix ""     { policy = "read" }
node_prefix ""    { policy = "read" }
query_prefix ""   { policy = "read" }
service_prefix "" {
  policy     = "read"
  intentions = "read"
}
session_prefix "" { policy = "read" }
END
      ;;
  esac
}

# An agent with its token tells the catalog of its node, once it looks.
told() { consul_api "catalog/node/$1" | grep -q '"lan":'; }

# Makes the tokens known to the servers, and gives each server its agent token. What is there already stays.
grant() {
  local name server
  # A leader answers consistent reads once it has taken up all its work.
  wait_until 120 "the management token to work" consul_api 'acl/token/self?consistent' || return
  for name in agent nomad read-only; do grant_one "$name" || return; done
  while read -r server; do
    printf '{"Token": "%s"}' "$(cat "$TOKENS/agent")" |
      CONSUL_SERVER=$(lab_address "$server") consul_api agent/token/agent -X PUT --data-binary @- || return
    wait_until 120 "$server to be in the catalog as its agent tells" told "$server" || return
  done <"$STATE/servers"
}

grant_one() {
  consul_api "acl/policy/name/$1" >/dev/null 2>&1 ||
    rules_of "$1" | json_of "$1" | consul_api acl/policy -X PUT --data-binary @- >/dev/null || return
  CONSUL_TOKEN=$1 consul_api acl/token/self >/dev/null 2>&1 ||
    printf '{"SecretID": "%s", "Description": "%s", "Policies": [{"Name": "%s"}]}' "$(cat "$TOKENS/$1")" "$1" "$1" |
    consul_api acl/token -X PUT --data-binary @- >/dev/null
}

# json_of NAME: a policy with the rules on standard input.
json_of() {
  python3 -c 'import json, sys
print(json.dumps({"Name": sys.argv[1], "Rules": sys.stdin.read()}))' "$1"
}
