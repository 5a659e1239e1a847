datacenter = "dc1" data_dir = "/opt/consul" server = false
ports { http = 8500, https = -1, dns = 8600 }
acl { enabled = true, tokens { default = "00000000-0000-0000-0000-000000000002" } }
addresses { http = "unix:///run/consul.sock" }
telemetry {}
