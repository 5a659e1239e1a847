acl {
  enabled = true
  enable_token_persistence = true
  tokens {
    master      = "@MASTER@"
    agent       = "@AGENT@"   # node policy
    default     = ""
    replication = "@REPLICATION@"
  }
}

auto_encrypt { tls = true }
auto_config {
  enabled = true
  intro_token_file = "/etc/consul.d/intro"
  server_addresses = [ "consul1:8300" ]
}
gossip_lan { gossip_nodes = 3, probe_timeout = "500ms", retransmit_mult = 4 }
primary_datacenter = "dc1"
encrypt_verify_incoming = false
