job "jenkins" {
	datacenters = ["cern-build"]

	// Tabs, as some editors write them.
	group "master" {
		network {
			port "http"  { static = 8080 }
			port "jnlp"  { static = 50000 }
		}

		task "jenkins" {
			driver = "docker"
			config {
				image   = "jenkins/jenkins:lts"
				volumes = [
					"/build/jenkins:/var/jenkins_home",
					"/etc/localtime:/etc/localtime:ro",	# the clock
				]
			}
			env {
				JAVA_OPTS	= "-Xmx4g -Djenkins.install.runSetupWizard=false"
				TZ		= "Europe/Zurich"
			}
			resources {
				cpu		= 4000
				memory	= 6000
			}
		}
	}
}
