# 10-tls.hcl: only what differs from the rest of the folder
tls {
  http = true
  rpc  = true

  # /etc/puppet is going away, see the ticket
  ca_file   = "/etc/puppet/certs/ca.pem"
  cert_file = "/etc/puppet/certs/agent.pem"
  key_file  = "/etc/puppet/certs/agent-key.pem"

  tls_cipher_suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
  tls_min_version   = "tls12"
  rpc_upgrade_mode  = false
}
