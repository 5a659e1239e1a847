job "build-package" {
  datacenters = ["dc1"]
  type        = "batch"

  parameterized {
    payload       = "optional"
    meta_required = ["package", "architecture"]
    meta_optional = ["debug"]
  }

  meta {
    debug = "false"
  }

  group "build" {
    reschedule { attempts = 0 unlimited = false }

    task "build" {
      driver = "docker"

      vault {
        policies = ["build", "sign"]
        change_mode = "restart"
      }

      dispatch_payload { file = "input.json" }

      config {
        image      = "registry.example.org/builder:${NOMAD_META_architecture}"
        command    = "build"
        args       = ["${NOMAD_META_package}", "$${literally}", "%%{too}"]
        privileged = true
        mounts = [
          {
            type   = "bind"
            source = "/build/mirror"
            target = "/mirror"
            readonly = true
          },
          { type = "tmpfs", target = "/tmp", tmpfs_options = { size = 100000000 } },
        ]
        ulimit { nofile = "4096:8192" }
      }
    }
  }
}
