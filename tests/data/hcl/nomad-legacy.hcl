# From before 0.8: names that are still found on old machines
data_dir = "/opt/nomad"
ports { http = 4646 rpc = 4647 serf = 4648 }
addresses { http = "127.0.0.1" }
client {
  enabled = true
  servers = [ "nomad1:4647","nomad2:4647" ]
  options { "user.checked_drivers" = "exec,raw_exec", "fingerprint.blacklist" = "env_gce" }
  chroot_env { "/bin" = "/bin" "/etc" = "/etc" "/lib" = "/lib" }
  reserved { cpu = 500 memory = 512 disk = 1024 reserved_ports = "22,80,8500-8600" }
  network_speed=1000
}
atlas { infrastructure = "example/none", join = false }
disable_update_check=true
