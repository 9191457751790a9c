package bench

import (
	"slices"
	"time"
)

// The metrics that are rates, one number a window, of which more is better.
const (
	// metricBytes is what was moved, in bytes of checked payload a second of transfer.
	metricBytes = "bytes_per_s"
	// metricThroughput is the answers a second of a closed loop. In an open one the schedule makes the rate.
	metricThroughput = "throughput"
)

var rateMetrics = []string{metricBytes, metricThroughput}

func isRate(metric string) bool { return slices.Contains(rateMetrics, metric) }

// moved counts what transfers moved, and how long they took from when they were sent.
type moved struct {
	transfers, bytes int64
	took             time.Duration
}

func (m *moved) add(o moved) {
	m.transfers += o.transfers
	m.bytes += o.bytes
	m.took += o.took
}

func (m moved) perSecond() float64 {
	if m.took <= 0 {
		return 0
	}
	return float64(m.bytes) / m.took.Seconds()
}

// stat is a window's throughput in the place of a latency, so that it is paired and compared as those are.
func (m moved) stat() windowStat {
	return rateStat(m.transfers, m.perSecond())
}

func rateStat(n int64, rate float64) windowStat {
	return windowStat{n: n, q: [3]float64{rate, rate, rate}}
}

// rates adds what the window has of them.
func (w *window) rates(stats map[string]windowStat) {
	if w.tally.moved.transfers > 0 {
		stats[metricBytes] = w.tally.moved.stat()
	}
	if turned := w.turned.Load(); turned > 0 {
		stats[metricThroughput] = rateStat(turned, float64(turned)/(w.length-w.guard).Seconds())
	}
}
