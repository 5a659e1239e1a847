# Services that no Nomad job registers.

services {
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

services {
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

services { name = "node-exporter" port = 9100 }
