telemetry {
	collection_interval	= "10s"
	prometheus_metrics	= true
	publish_allocation_metrics = true	// tabs and blanks
	publish_node_metrics = true
	datadog_tags = ["a:b",	"c:d"]

	filter_default	= false
	prefix_filter	= [
		"+nomad.raft",
		"-nomad.client",
	]
}
sentinel {
	import "custom-plugin" {
		path = "/usr/bin/sentinel-custom-plugin"
		args = ["-verbose", "foo"]
	}
}
