# Full configuration options can be found in the vendor's documentation.

# datacenter
# This flag controls the datacenter in which the agent is running.
#datacenter = "my-dc-1"

# data_dir
data_dir = "/opt/consul"

# client_addr
#client_addr = "0.0.0.0"

# ui
#ui_config{
#  enabled = true
#}

# server
#server = true

# Bind addr
#bind_addr = "[::]" # Listen on all IPv6
#bind_addr = "0.0.0.0" # Listen on all IPv4

# encrypt
#encrypt = "..."

# retry_join
#retry_join = ["consul.domain.internal"]
#retry_join = ["10.0.4.67"]
