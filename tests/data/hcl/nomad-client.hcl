# Nomad client, ready for any machine of the farm

name       = "alissandra001"
region     = "global"
datacenter = "cern-build"
data_dir   = "/build/nomad"
log_level  = "WARN"
enable_syslog = true

bind_addr = "{{ GetInterfaceIP \"eth0\" }}"

advertise {
  http = "10.0.3.17"
  rpc  = "10.0.3.17"
  serf = "10.0.3.17"
}

client {
  enabled    = true
  node_class = "build"
  max_kill_timeout = "3m"

  // what belongs to the system
  reserved {
    cpu    = 1000   # MHz
    memory = 2048   # MB
    disk   = 10240
  }

  host_volume "certs" {
    path      = "/etc/puppet/certs"
    read_only = true
  }

  host_volume "cvmfs" {
    path = "/cvmfs"
    read_only = true
  }

  host_volume "scratch" { path = "/build/scratch" }

  meta {
    "os.family" = "el7"
    gpu = "none"
  }

  options = {
    "driver.raw_exec.enable"    = "1"
    "docker.volumes.enabled"    = "true"
    "docker.privileged.enabled" = "true"
  }
}

consul {
  address   = "127.0.0.1:8501"
  ssl       = true
  ca_file   = "/etc/puppet/certs/ca.pem"
  cert_file = "/etc/puppet/certs/agent.pem"
  key_file  = "/etc/puppet/certs/agent-key.pem"
  token     = "@CONSUL_TOKEN@"
}

vault {
  enabled   = true
  address   = "https://vault.example.org:8200"
  ca_file   = "/etc/puppet/certs/ca.pem"
}

tls {
  http = true
  rpc  = true
  ca_file   = "/etc/puppet/certs/ca.pem"
  cert_file = "/etc/puppet/certs/agent.pem"
  key_file  = "/etc/puppet/certs/agent-key.pem"
  verify_server_hostname = true
  verify_https_client    = false
}

plugin "docker" {
  config {
    allow_privileged = true
    volumes {
      enabled      = true
      selinuxlabel = "z"
    }
    gc {
      image       = true
      image_delay = "24h"
    }
  }
}

plugin "raw_exec" { config { enabled = true } }
