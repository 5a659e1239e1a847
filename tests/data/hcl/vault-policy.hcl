# Tokens of Nomad's servers
path "auth/token/create/nomad-cluster" {
  capabilities = ["update"]
}
path "auth/token/roles/nomad-cluster" { capabilities = ["read"] }
path "secret/data/+/ci" {
  capabilities = ["create", "update"]
  required_parameters = ["owner"]
  allowed_parameters = {
    "ttl"  = ["1h", "24h"]
    "*"    = []
  }
  denied_parameters = { "admin" = [] }
  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "90s"
}
path "sys/mounts/*" {
  capabilities = [
    "read",
    "list", # never "update"
  ]
}
