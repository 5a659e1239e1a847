job "crlf" {
	datacenters = ["dc1"]
	group "g" {
		task "t" {
			driver = "exec"
			config { command = "cmd.exe" }
			template {
				data = <<EOF
line one
line two
EOF
				destination = "local\\x.txt"
			}
		}
	}
}