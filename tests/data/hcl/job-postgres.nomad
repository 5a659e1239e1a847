job "postgres" {
  datacenters = ["dc1"]

  group "db" {
    # There is one of it, on the machine with the disk.
    count = 1

    volume "data" {
      type = "csi"
      read_only = false
      source = "postgres"
      attachment_mode = "file-system"
      access_mode = "single-node-writer"
      mount_options { 
        fs_type = "ext4"
        mount_flags = ["noatime"]
      }
    }

    network {
      port "db" { static = 5432 }
    }

    task "postgres" {
      driver = "docker"
      user = "999:999"

      volume_mount {
        volume = "data"
        destination = "/var/lib/postgresql/data"
      }

      config {
        image = "postgres:13"
        ports = ["db"]
      }

      template {
        data = <<EOF
POSTGRES_PASSWORD={{ with secret "secret/data/postgres" }}{{ .Data.data.password }}{{ end }}
EOF
        destination = "secrets/db.env"
        env = true
      }

      service {
        name = "postgres"
        port = "db"

        check {
          type     = "script"
          name     = "ready"
          command  = "/usr/bin/pg_isready"
          interval = "10s"
          timeout  = "2s"

          check_restart {
            limit = 3
            grace = "90s"
            ignore_warnings = false
          }
        }
      }

      resources {
        cpu = 2000
        memory = 4096
      }
    }
  }
}
