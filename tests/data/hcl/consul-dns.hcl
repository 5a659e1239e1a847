recursors = ["137.138.16.5", "137.138.17.5"]
domain = "consul."
dns_config {
  allow_stale = true
  max_stale = "87600h"
  node_ttl = "30s"
  service_ttl {
    "*" = "5s"
    web = "30s"
    "_nomad-client" = "0s"
  }
  enable_truncate = true
  only_passing = false
  soa { min_ttl = 30 }
}
