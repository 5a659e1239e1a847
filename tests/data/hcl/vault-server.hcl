# Vault backed by Consul

ui = true
cluster_name = "site"
disable_mlock = true
api_addr     = "https://vault1.example.org:8200"
cluster_addr = "https://10.0.0.1:8201"

default_lease_ttl = "768h"
max_lease_ttl     = "876000h" # a hundred years

storage "consul" {
  address = "127.0.0.1:8500"
  path    = "vault/"
  token   = "@STORAGE_TOKEN@"
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/vault.d/vault.pem"
  tls_key_file  = "/etc/vault.d/vault-key.pem"
  tls_client_ca_file = "/etc/vault.d/ca.pem"
  tls_require_and_verify_client_cert = "false"
}

listener "tcp" {
  address     = "127.0.0.1:8100"
  tls_disable = 1
  telemetry { unauthenticated_metrics_access = true }
}

telemetry {
  statsite_address = "127.0.0.1:8125"
  disable_hostname = true
}
