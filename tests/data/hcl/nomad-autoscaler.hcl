nomad {
  address = "http://127.0.0.1:4646"
}

apm "prometheus" {
  driver = "prometheus"
  config = {
    address = "http://prometheus.service.consul:9090"
  }
}

strategy "target-value" { driver = "target-value" }

target "aws-asg" {
  driver = "aws-asg"
  config = { aws_region = "eu-central-1", dry-run = "true" }
}

dynamic_application_sizing {
  evaluate_after = "24h"
  metrics_preload_threshold = "72h"
}
policy_eval {
  ack_timeout = "5m"
  workers = {
    cluster    = 10
    horizontal = 2
  }
}
