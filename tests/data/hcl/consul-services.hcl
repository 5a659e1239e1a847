# Services that no Nomad job registers.

service {
  name = "apache"
  id   = "apache-front"
  port = 443
  tags = ["front", "client-certificate"]

  check {
    id       = "apache-tcp"
    name     = "TCP on 443"
    tcp      = "localhost:443"
    interval = "10s"
    timeout  = "1s"
  }
}

service {
  name = "squid"
  port = 3128
  meta {
    owner = "cvmfs"
    "rack.unit" = "17"
  }
  checks = [
    {
      id       = "squid-up"
      args     = ["/usr/lib/nagios/plugins/check_squid", "-w", "80"]
      interval = "30s"
    },
    {
      ttl = "5m"
      notes = "fed by cron"
    }
  ]
}

service { name = "node-exporter" port = 9100 }
