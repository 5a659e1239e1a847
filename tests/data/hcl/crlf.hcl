datacenter = "dc1"
data_dir   = "/opt/consul"

# Windows wrote this
ports {
  http  = 8500
  https = -1
}

service {
  name = "web"
  tags = [
    "a",
    "b",
  ]
}
