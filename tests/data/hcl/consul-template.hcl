consul {
  address = "127.0.0.1:8500"
  retry { enabled = true attempts = 12 backoff = "250ms" max_backoff = "1m" }
}
reload_signal = "SIGHUP"
kill_signal   = "SIGINT"
max_stale     = "10m"
log_level     = "warn"
pid_file      = "/run/ct.pid"
wait { min = "5s" max = "10s" }
syslog { enabled = true facility = "LOCAL5" }
deduplicate { enabled = true prefix = "consul-template/dedup/" }
template {
  source               = "/etc/haproxy/haproxy.ctmpl"
  destination          = "/etc/haproxy/haproxy.cfg"
  command              = "service haproxy restart"
  command_timeout      = "60s"
  perms                = 0600
  left_delimiter       = "[["
  right_delimiter      = "]]"
}
exec {
  command = "/usr/bin/app"
  splay = "5s"
  env { pristine = false custom = ["PATH=$PATH:/etc/myapp/bin"] whitelist = ["CONSUL_*"] }
}
