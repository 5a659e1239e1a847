// as they were written for Nomad 0.11 and before
job "old" {
  region = "global"
  datacenters = [ "dc1", "dc2" ]
  group "app" {
    count = 0x2
    task "app" {
      driver = "docker"
      config {
        image = "app:1"
        port_map { http = 80, "admin" = 8081 }
        labels { "com.example.team" = "ci", group = "x" }
        logging { type = "gelf" config { gelf-address = "udp://10.0.0.1:12201" } }
        dns_servers = ["172.17.0.1"]
      }
      resources {
        network { mbits = 10 port "http" {} port "admin" { static = "8081" } }
      }
      service {
        name = "app" port = "http"
        check { type = "tcp" interval = "10s" timeout = "2s" }
        check { type = "script", command = "/bin/true", interval = "1m", timeout = "5s", args = [] }
      }
    }
  }
}
