package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/internal/procstat"
)

// components are what a path goes through, from the client inwards, and how each is read. A path through a peer has the peer alone.
func (l *Lab) components(path string) []bench.Component {
	if p, ok := l.peer(path); ok {
		return []bench.Component{{Name: p.name, Product: p.running.String(), Meter: processMeter(p.running.PID())}}
	}
	if l.remote { // it is not for this process to see
		return nil
	}
	var list []bench.Component
	if c, ok := l.chain(path); ok {
		for _, n := range c.nodes {
			comp := bench.Component{Name: n.Key, Product: "simulator, " + n.Profile}
			switch {
			case n.real != nil:
				comp.Product, comp.Meter = n.real.Product+" "+n.real.Version, processMeter(n.real.PID())
			case n.own != nil:
				comp.Meter = processMeter(n.own.child.PID())
			}
			list = append(list, comp)
		}
	}
	ours := bench.Component{Name: "router", Product: "tlsroute-bench router"}
	if own := l.router.own; own != nil {
		ours.Meter = &routerMeter{meter: processMeter(own.child.PID()), metrics: "http://" + own.ready.Addresses["admin"] + "/metrics"}
	}
	return append(list, ours)
}

// meter reads processes. It knows nothing of the bytes they move: what recv and send copy is counted nowhere.
type meter struct{ group procstat.Group }

func processMeter(pid int) *meter { return &meter{procstat.Family(pid)} }

func (m *meter) CPU() (total, system time.Duration, err error) {
	c, err := m.group.CPU()
	return c.Total, c.System, err
}

func (m *meter) Hold() (bench.Holding, error) {
	h, err := m.group.Hold()
	return bench.Holding{PSS: h.PSS, Descriptors: h.Descriptors}, err
}

// routerMeter reads our router, which says what the kernel moved for it and copies by read and write.
type routerMeter struct {
	*meter
	metrics string
}

// splicedMetric is of refimpl/router/admin.
const splicedMetric = "tlsroute_router_spliced_bytes_total "

const (
	metricsTimeout = 5 * time.Second
	metricsMost    = 1 << 20
)

func (m *routerMeter) Hold() (bench.Holding, error) {
	h, err := m.group.Hold()
	if err != nil {
		return bench.Holding{}, err
	}
	spliced, err := m.spliced()
	// What it writes is what it copies, handshakes and the lab's own questions included.
	return bench.Holding{PSS: h.PSS, Descriptors: h.Descriptors, Moved: true, Spliced: spliced, Copied: h.Written}, err
}

func (m *routerMeter) spliced() (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), metricsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.metrics, nil)
	if err != nil {
		return 0, err
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return 0, fmt.Errorf("metrics of the router: %w", err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(io.LimitReader(resp.Body, metricsMost)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), splicedMetric); ok {
			n, err := strconv.ParseFloat(value, 64)
			return int64(n), err
		}
	}
	return 0, errors.New("the metrics of the router do not tell what was spliced")
}
