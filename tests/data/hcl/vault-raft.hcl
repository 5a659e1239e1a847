storage "raft" {
  path    = "/opt/vault/data"
  node_id = "node_1"
  retry_join { leader_api_addr = "https://10.0.0.2:8200" }
  retry_join {
    leader_api_addr         = "https://10.0.0.3:8200"
    leader_ca_cert_file     = "/opt/vault/tls/ca.pem"
    leader_client_cert_file = "/opt/vault/tls/cert.pem"
    leader_client_key_file  = "/opt/vault/tls/key.pem"
  }
  performance_multiplier = 1
}
seal "awskms" {
  region     = "us-east-1"
  access_key = "AKIAEXAMPLE"
  secret_key = "example"
  kms_key_id = "19ec80b0-dfdd-4d97-8164-c6examplekey"
}
listener "unix" { address = "/run/vault.sock" socket_mode = "0660" }
cluster_addr = "https://127.0.0.1:8201"
raw_storage_endpoint = false
entropy "seal" { mode = "augmentation" }
