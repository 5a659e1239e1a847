job "template" {
  datacenters = ["dc1"]

  group "g" {
    task "t" {
      driver = "exec"
      config { command = "/bin/cat" }

      template {
        destination = "local/nginx.conf"
        change_mode = "signal"
        change_signal = "SIGHUP"
        data = <<EOF_CONF
upstream backend {
{{ range service "backend" }}
  server {{ .Address }}:{{ .Port }}; # { unbalanced
{{ else }}server 127.0.0.1:65535; # force a 502
{{ end }}
}
"quotes" and \backslashes\ and ${NOMAD_PORT_http} stay
EOF_CONF
      }

      template {
        data = <<-EOH
          ---
            indented: {{ key "service/geo-api/log-verbosity" }}
          level: 'x'
        EOH
        destination = "local/file.yml"
        env = false
      }

      template {
        data        = "KEY={{ env \"NOMAD_ALLOC_ID\" }}\n"
        destination = "secrets/env"
        env         = true
      }
    }
  }
}
