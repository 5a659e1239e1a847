data_dir = "/opt/nomad"
client {
  enabled = true
}