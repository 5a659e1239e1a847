job "spark" {
    type = "batch"
    datacenters = ["dc1"]
    meta {
        uuid = uuidv4()
    }
    group "master" {
        network {
            port "web"   { to = 8080 }
            port "rpc"   { static = 7077 }
        }
        task "spark" {
            driver = "docker"
            config {
                image      = "spark:3"
                entrypoint = ["/bin/bash", "-xc"]
                args       = [<<-SCRIPT
                    export SPARK_LOCAL_IP=${attr.unique.network.ip-address}
                    exec /opt/spark/sbin/start-master.sh
                    SCRIPT
                ]
                labels = {
                    "org.example.a" = "1"
                    "org.example.b" = "2"
                }
            }
        }
    }
}
