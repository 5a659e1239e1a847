locals {
  now   = timestamp()
  hosts = toset([for h in split(",", "a,b,c") : trimspace(h)])
  deep = {
    one = { two = { three = [[1, 2], [3, [4, 5]]] } }
    "quoted key" = 1
    (local.key)  = "computed"
    5 = "a number"
  }
  text  = "outer ${format("inner %s ${upper("x")}", "}")} end"
  cond  = "%{ if local.deep.one != null }yes%{ else }no%{ endif }"
  heredoc = upper(<<-EOT
    first ${local.now}
      second
  EOT
  )
  fraction = 1.5e+10 / 2 % 3
  negative = [-1, -2.5, !true]
  object = { for k, v in local.deep : k => v... if can(v.two) }
}
job "f" {
  datacenters = ["dc1"]
  group "g" {
    task "t" {
      driver = "exec"
      config {
        command = "echo"
        args = [
          for h in local.hosts :
          "${h}.example.org"
        ]
      }
    }
  }
}
