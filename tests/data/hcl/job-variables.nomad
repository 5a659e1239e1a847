variable "region" {
  type    = string
  default = "global"
  description = "where it runs"
}

variable "datacenters" {
  type    = list(string)
  default = ["dc1", "dc2"]

  validation {
    condition     = length(var.datacenters) > 0
    error_message = "At least one datacenter is needed."
  }
}

variables {
  image = "redis:6"
  count = 1
}

locals {
  name   = "cache-${var.region}"
  ports  = { for i, p in ["db", "admin"] : p => 6379 + i }
  sizes  = [for s in [1, 2, 3] : s * 256 if s != 2]
  memory = var.count > 3 ? 1024 : 512
}

job "cache" {
  region      = var.region
  datacenters = var.datacenters

  group "cache" {
    count = var.count

    dynamic "network" {
      for_each = local.ports
      labels   = ["x"]
      content {
        mode = "host"
        port "db" { to = network.value }
      }
    }

    task "redis" {
      driver = "docker"
      config {
        image = upper("${var.image}") == "" ? "redis:latest" : var.image
        args  = concat(["--maxmemory", format("%dmb", local.memory)], [
          "--save", "",
        ])
      }
      env = {
        NAME   = local.name
        SIZES  = jsonencode(local.sizes)
        FIRST  = local.sizes[0]
        NEG    = -local.memory
        BOTH   = (var.count > 1 && !false) || local.memory <= 512
        SPLAT  = join(",", local.list.*.id)
        SPLAT2 = join(",", local.list[*].id)
      }
      resources {
        cpu    = 2 * 250
        memory = local.memory
      }
    }
  }
}
