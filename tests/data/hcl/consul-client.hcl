# Consul agent on the build machines.
# Managed by Puppet; local changes are lost.

datacenter  = "cern-build"
data_dir    = "/build/consul"
log_level   = "INFO"
node_name   = "alissandra001"

# This agent listens on its own address only.
bind_addr      = "10.0.3.17"
advertise_addr = "10.0.3.17"
client_addr    = "127.0.0.1"

retry_join = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]

encrypt = "@GOSSIP_KEY@"   # put in place by the operator

ca_file   = "/etc/puppet/certs/ca.pem"
cert_file = "/etc/puppet/certs/agent.pem"
key_file  = "/etc/puppet/certs/agent-key.pem"

verify_incoming        = true
verify_outgoing        = true
verify_server_hostname = true

acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    agent = "@AGENT_TOKEN@"
  }
}

ports {
  http  = -1     // no plain HTTP
  https = 8501
  grpc  = 8502
}

telemetry {
  prometheus_retention_time = "60s"
  disable_hostname          = true
}
