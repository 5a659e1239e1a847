// written by a template that knows maps only
datacenter = "eu-1"
addresses = {
  http  = "127.0.0.1 10.1.2.3"
  https = "0.0.0.0"
}
ports = {
  http = 8500,
  grpc = 8502,
}
acl = {
  enabled = true
  tokens = {
    default = "anonymous"
    agent   = "agent"
  }
}
node_meta = { "rack" = "r12", "disk_type" = "nvme" }
connect = {}
