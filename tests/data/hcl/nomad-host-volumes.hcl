client {
  enabled = true

  # every certificate the jobs need
  host_volume "ca" { path = "/etc/ssl/ca" read_only = true }

  host_volume "grid-security" {
    path      = "/etc/grid-security"
    read_only = true
  }

  # the one with a blank in its name
  host_volume "shared data" {
    path = "/srv/shared data"
  }

  host_network "public" {
    cidr           = "203.0.113.0/24"
    reserved_ports = "22,80"
  }
  host_network "private" {
    cidr = "10.0.0.0/8"
    interface = "eth1"
  }
  artifact { http_read_timeout = "30m" }
  template {
    function_denylist = ["plugin"]
    disable_file_sandbox = false
    max_stale = "87600h"
    wait { min = "5s" max = "4m" }
  }
}
