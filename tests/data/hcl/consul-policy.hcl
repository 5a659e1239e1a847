# policy of the CI's token
acl = "read"

agent_prefix "" {
  policy = "read"
}
key_prefix "ci/" {
  policy = "write"
}
key "ci/locked" { policy = "deny" }
node_prefix "" { policy = "read" }
node "alissandra001" {
  policy = "write"
}
service_prefix "" {
  policy = "read"
  intentions = "read"
}
service "ci-runner" { policy = "write" }
session_prefix "" { policy = "write" }
event "deploy" { policy = "write" }
