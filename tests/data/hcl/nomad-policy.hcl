namespace "default" {
  policy       = "read"
  capabilities = ["submit-job", "dispatch-job", "read-logs"]
}
namespace "web-*" { policy = "write" }
agent { policy = "read" }
node { policy = "read" }
quota { policy = "read" }
host_volume "prod-*" {
  policy = "deny"
}
plugin { policy = "list" }
