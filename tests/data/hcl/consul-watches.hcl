watches = [
  {
    type    = "checks"
    handler_type = "script"
    args    = ["/usr/local/bin/notify", "--channel", "#ops"]
  },
  {
    type = "keyprefix"
    prefix = "config/"
    handler_type = "http"
    http_handler_config {
      path    = "https://hooks.example.org/consul"
      method  = "POST"
      header  = { "x-token" = ["abc", "def"] }
      timeout = "10s"
      tls_skip_verify = false
    }
  }
]
disable_update_check = true
leave_on_terminate = true
