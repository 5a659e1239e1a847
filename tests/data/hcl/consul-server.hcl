server           = true
bootstrap_expect = 3
ui               = true

/* The three servers.
   Their addresses never change. */
retry_join = [
  "consul1.example.org", # rack 1
  "consul2.example.org", # rack 2
  "consul3.example.org", # rack 4, since the move
]

datacenter = "dc1"
data_dir = "/var/lib/consul"
bind_addr = "{{ GetPrivateInterfaces | include \"network\" \"10.0.0.0/8\" | attr \"address\" }}"
client_addr = "0.0.0.0"

performance {
  raft_multiplier = 1
}

autopilot {
  cleanup_dead_servers      = true
  last_contact_threshold    = "200ms"
  max_trailing_logs         = 250
  server_stabilization_time = "10s"
}

connect { enabled = true }

limits { http_max_conns_per_client = 500 }
