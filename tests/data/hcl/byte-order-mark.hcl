# a byte order mark
server {
  enabled = true
}
name = "x"
