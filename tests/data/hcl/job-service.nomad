job "web" {
  datacenters = ["cern-build"]
  type        = "service"

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  update {
    max_parallel     = 1
    min_healthy_time = "10s"
    canary           = 1
    auto_revert      = true
  }

  group "front" {
    count = 2

    network {
      mode = "bridge"
      port "http" { to = 8080 }
      port "metrics" {}
    }

    service {
      name = "web"
      port = "http"
      tags = [
        "traefik.enable=true",
        "traefik.http.routers.web.rule=Host(`web.example.org`) && PathPrefix(`/`)",
      ]

      check {
        type     = "http"
        path     = "/health?full=1#x"
        interval = "10s"
        timeout  = "2s"
      }
    }

    restart {
      attempts = 2
      interval = "30m"
      delay    = "15s"
      mode     = "fail"
    }

    task "server" {
      driver = "docker"

      config {
        image = "registry.example.org/web:1.4.2"
        ports = ["http", "metrics"]
        args  = ["-listen", "${NOMAD_ADDR_http}", "-node", "${node.unique.name}"]
      }

      env {
        PORT = "${NOMAD_PORT_http}"
        MODE = "production" # not "debug"
      }

      resources {
        cpu    = 500
        memory = 256
      }
    }
  }
}
