Kind      = "service-router"
Name      = "web"
Namespace = "default"

Routes = [
  {
    Match {
      HTTP {
        PathPrefix = "/admin"
      }
    }

    Destination {
      Service = "admin"
    }
  },
  {
    Match { HTTP { Header = [ { Name = "x-debug" Exact = "1" } ] } }
    Destination {
      Service       = "web"
      ServiceSubset = "canary"
      NumRetries    = 0x05
    }
  },
]
