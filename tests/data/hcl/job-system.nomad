job "node-exporter" {
  datacenters = ["*"]
  type     = "system"
  priority = 90

  group "exporter" {
    constraint { distinct_hosts = true }
    affinity {
      attribute = "${meta.rack}"
      operator  = "set_contains_any"
      value     = "r1,r2"
      weight    = -50
    }
    spread {
      attribute = "${node.datacenter}"
      weight    = 100
      target "dc1" { percent = 70 }
      target "dc2" { percent = 30 }
    }
    volume "certs" {
      type      = "host"
      source    = "certs"
      read_only = true
    }
    ephemeral_disk { size = 300 migrate = true }
    task "exporter" {
      driver = "exec"
      kill_timeout = "20s"
      config {
        command = "node_exporter"
        args = ["--path.rootfs=/host", "--collector.filesystem.ignored-mount-points=^/(sys|proc|dev)($|/)"]
      }
      artifact {
        source      = "https://example.org/node_exporter-1.0.1.linux-amd64.tar.gz"
        destination = "local/"
        options { checksum = "sha256:3369b76cd2b0ba678b6d618deab320e565c3d93ccb5c2a0d5db51a53857768ae" }
      }
      volume_mount {
        volume      = "certs"
        destination = "/etc/certs"
      }
      logs { max_files = 3 max_file_size = 10 }
    }
  }
}
