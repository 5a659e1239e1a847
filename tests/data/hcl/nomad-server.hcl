data_dir  = "/var/lib/nomad"
bind_addr = "0.0.0.0"

server {
  enabled          = true
  bootstrap_expect = 3

  # Tasks of old allocations are kept for a day.
  job_gc_threshold  = "24h"
  eval_gc_threshold = "1h"

  server_join {
    retry_join     = ["10.0.0.1:4648", "10.0.0.2:4648", "10.0.0.3:4648"]
    retry_max      = 3
    retry_interval = "15s"
  }

  default_scheduler_config {
    scheduler_algorithm = "spread"

    preemption_config {
      batch_scheduler_enabled   = true
      system_scheduler_enabled  = true
      service_scheduler_enabled = false
    }
  }
}

acl {
  enabled    = true
  token_ttl  = "30s"
  policy_ttl = "60s"
}

vault {
  enabled          = true
  address          = "http://active.vault.service.consul:8200"
  create_from_role = "nomad-cluster"
  task_token_ttl   = "1h"
  token            = "@VAULT_TOKEN@"
}

audit {
  enabled = true
  sink "audit" {
    type               = "file"
    delivery_guarantee = "enforced"
    format             = "json"
    path               = "/var/log/nomad/audit.log"
    rotate_bytes       = 100
    rotate_duration    = "24h"
    rotate_max_files   = 10
  }
}
telemetry { publish_node_metrics = true }
limits {
  https_handshake_timeout   = "5s"
  http_max_conns_per_client = 400
}
