# nightly clean-up
job "clean" {
  datacenters = ["dc1"]
  type = "batch"

  periodic {
    cron             = "0 3 * * * *"
    prohibit_overlap = true
    time_zone        = "Europe/Zurich"
  }

  group "clean" {
    task "clean" {
      driver = "raw_exec"
      config {
        command = "/bin/bash"
        args    = ["-c", "find /build -xdev -mtime +7 -name '*.tmp' -delete; echo \"done: $?\""]
      }
      resources { cpu = 100 }
    }
  }
}
