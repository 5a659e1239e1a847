pid_file = "/run/vault-agent.pid"

vault {
  address = "https://vault.example.org:8200"
  retry { num_retries = 5 }
}

auto_auth {
  method "approle" {
    mount_path = "auth/approle"
    config = {
      role_id_file_path   = "/etc/vault/role-id"
      secret_id_file_path = "/etc/vault/secret-id"
      remove_secret_id_file_after_reading = false
    }
  }

  sink "file" {
    wrap_ttl = "5m"
    config   = { path = "/run/vault/token", mode = 0640 }
  }
}

template {
  contents = <<EOT
{{ with secret "secret/data/ci" -}}
PASSWORD="{{ .Data.data.password }}"
{{- end }}
EOT
  destination = "/etc/ci/env"
  perms       = "0640"
  command     = "systemctl reload ci || true"
}

template {
  source      = "/etc/vault/nginx.ctmpl"
  destination = "/etc/nginx/tls.conf"
}
