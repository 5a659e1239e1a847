mixed = 1
other = 2
client {
	enabled = true
  servers = ["a"]
}


