package bench

import "time"

// metricBytes is the metric of what was moved, in bytes of checked payload a second of transfer. More is better.
const metricBytes = "bytes_per_s"

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
	rate := m.perSecond()
	return windowStat{n: m.transfers, q: [3]float64{rate, rate, rate}}
}
