disable_cache = true
listener "tcp" { address = "[::]:8200" cluster_address = "[::]:8201" tls_disable = "true" }
storage "file" { path = "/opt/vault/file" }
ha_storage "consul" {
  address      = "127.0.0.1:8500"
  path         = "vault-ha/"
  scheme       = "https"
  service_tags = "a,b"
}
service_registration "kubernetes" { namespace = "x" pod_name = "y" }
seal "transit" {
  address            = "https://vault:8200"
  token              = "@SEAL@"
  disable_renewal    = "false"
  key_name           = "transit_key_name"
  mount_path         = "transit/"
  tls_skip_verify    = "true"
}
log_level = "Debug"
