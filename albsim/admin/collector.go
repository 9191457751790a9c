package admin

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

// collector turns a snapshot of the simulator's counters into metrics at each scrape, so nothing is counted twice.
type collector struct{ server *albsim.Server }

var _ prometheus.Collector = collector{}

// Describe implements prometheus.Collector. It names nothing: which metrics there are depends on the document.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	groups := c.server.GroupMetrics()
	grouped := map[string]bool{}
	for group, metrics := range groups {
		for name, value := range metrics {
			grouped[name] = true
			ch <- prometheus.MustNewConstMetric(desc(name, "TargetGroup"), kind(name), value, group)
		}
	}
	for name, value := range c.server.Metrics() {
		if !grouped[name] { // the sum is for whoever asks to make
			ch <- prometheus.MustNewConstMetric(desc(name), kind(name), float64(value))
		}
	}
}

func desc(name string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, "CloudWatch's metric of that name in AWS/ApplicationELB.", labels, nil)
}

// kind tells what is of the moment from what only grows.
func kind(name string) prometheus.ValueType {
	switch {
	case name == "ActiveConnectionCount", name == "TargetResponseTime", name == "RequestCountPerTarget",
		strings.HasSuffix(name, "HostCount"), strings.HasPrefix(name, "HealthyState"), strings.HasPrefix(name, "UnhealthyState"):
		return prometheus.GaugeValue
	}
	return prometheus.CounterValue
}
