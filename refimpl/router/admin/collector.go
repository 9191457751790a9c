package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// collector turns a snapshot of the router's counters into metrics at each scrape, so nothing is counted twice.
type collector struct {
	server *router.Server

	ended, active, tunnels, bytes, spliced, upgrades, generation, reloads, failures, failovers, draining *prometheus.Desc
}

var _ prometheus.Collector = (*collector)(nil)

func newCollector(s *router.Server) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tlsroute_router_"+name, help, labels, nil)
	}
	return &collector{
		server:     s,
		ended:      desc("connections_total", "Connections that are over, by route (empty: none was reached) and outcome.", "route", "outcome"),
		active:     desc("connections_active", "Connections that are open."),
		tunnels:    desc("tunnels_active", "Open connections that are joined to a backend."),
		bytes:      desc("bytes_total", "Payload of ended connections: in goes to backends, out comes from them.", "direction"),
		spliced:    desc("spliced_bytes_total", "Payload that the kernel moved between sockets without a copy, of open tunnels too."),
		upgrades:   desc("upgrades_total", "Granted connection upgrades, by type.", "type"),
		generation: desc("config_generation", "Documents that have been in force; each reload counts it up."),
		reloads:    desc("reloads_total", "Documents that a reload put in force."),
		failures:   desc("reload_failures_total", "Documents that a reload refused."),
		failovers:  desc("failovers_total", "Connections that reached their backend at another address than the first tried."),
		draining:   desc("draining", "1 while the router drains."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.ended, c.active, c.tunnels, c.bytes, c.spliced, c.upgrades, c.generation, c.reloads, c.failures, c.failovers, c.draining} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.server.Stats()
	counter := func(d *prometheus.Desc, value int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	gauge := func(d *prometheus.Desc, value int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value))
	}
	for key, n := range s.Ended {
		counter(c.ended, n, key.Route, key.Outcome)
	}
	for typ, n := range s.Upgrades {
		counter(c.upgrades, n, typ)
	}
	counter(c.bytes, s.In, "in")
	counter(c.bytes, s.Out, "out")
	counter(c.spliced, s.Spliced)
	counter(c.reloads, int64(s.Generation-1))
	counter(c.failures, s.ReloadFailures)
	counter(c.failovers, s.Failovers)
	gauge(c.active, s.Active)
	gauge(c.tunnels, s.Tunnels)
	gauge(c.generation, s.Generation)
	draining := 0
	if s.Draining {
		draining = 1
	}
	gauge(c.draining, draining)
}
