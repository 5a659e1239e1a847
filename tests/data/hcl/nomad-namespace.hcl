name        = "dev"
description = "Namespace for developers"
quota = "dev-quota"
capabilities {
  enabled_task_drivers  = ["docker", "exec"]
  disabled_task_drivers = ["raw_exec"]
}
meta {
  owner = "contact@example.org"
}
