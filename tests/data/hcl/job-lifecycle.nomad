job "lifecycle" {
  datacenters = ["dc1"]
  group "g" {
    shutdown_delay             = "5s"
    stop_after_client_disconnect = "1h"

    scaling {
      enabled = true
      min     = 1
      max     = 10
      policy {
        cooldown = "2m"
        check "load" {
          source = "prometheus"
          query  = "avg(rate(http_requests_total{job=\"web\",code!~\"5..\"}[1m])) by (instance) > 1e3"
          strategy "target-value" { target = 70.5 }
        }
      }
    }

    task "wait-for-db" {
      lifecycle {
        hook    = "prestart"
        sidecar = false
      }
      driver = "exec"
      config {
        command = "sh"
        args    = ["-c", "while ! nc -z db.service.consul 5432; do sleep 1; done"]
      }
    }

    task "main" {
      driver = "exec"
      leader = true
      config { command = "main" }
      csi_plugin {
        id        = "org.example.csi"
        type      = "monolith"
        mount_dir = "/csi"
      }
    }
  }
  multiregion {
    strategy {
      max_parallel = 1
      on_failure   = "fail_all"
    }
    region "west" {
      count       = 2
      datacenters = ["west-1"]
      meta { "my-key" = "w1" }
    }
    region "east" { count = 1 }
  }
}
