//go:build linux

package main

import (
	"fmt"
	"time"
)

// heldTunnels is the number: two descriptors each, and a thousand to spare.
const heldTunnels = 9500

// row is one thing that is measured, on some routers, by one job a round.
type row struct {
	name   string
	arms   []string
	rounds int
	// fresh has a router of its own for each sample: memory that others' tunnels left behind is not a tunnel's.
	fresh bool
	// counted has the system calls counted meanwhile.
	counted bool
	// balancer has load balancers for arms.
	balancer bool
	job      job
	figures  []figure
}

// figure is one number of a sample.
type figure struct {
	unit   string
	of     func(sample) float64
	target *target
}

// target is what a figure is to reach: a limit, or a limit of the ratio to a peer's. Nil is none.
type target struct {
	peer    string // empty: the limit is absolute
	limit   float64
	atLeast bool
}

// bestPeer stands for the peer with the best median.
const bestPeer = "best peer"

func (t *target) String() string {
	if t == nil {
		return "-"
	}
	sign := "≤"
	if t.atLeast {
		sign = "≥"
	}
	if t.peer == "" {
		return fmt.Sprintf("%s %g", sign, t.limit)
	}
	return fmt.Sprintf("%s %.4g × %s", sign, t.limit, t.peer)
}

func (t *target) holds(value float64) bool {
	if t.atLeast {
		return value >= t.limit
	}
	return value <= t.limit
}

const kib, gib = 1 << 10, 1 << 30

var (
	cpuPerGiB = func(s sample) float64 { return s.CPU / (float64(s.Bytes) / gib) }
	gbits     = func(s sample) float64 { return float64(s.Bytes) * 8 / 1e9 / s.Seconds }
	perSecond = func(s sample) float64 { return float64(s.Ops) / s.Seconds }
	cpuPerOp  = func(s sample) float64 { return s.CPU * 1e6 / float64(s.Ops) }
	p50       = func(s sample) float64 { return float64(s.P50) / float64(time.Microsecond) }
	memory    = func(s sample) float64 { return float64(s.PSS) / kib / opened(s) }
	open      = func(s sample) float64 { return float64(s.Tunnels) }
	lost      = func(s sample) float64 { return float64(s.Lost) }
	fds       = func(s sample) float64 { return float64(s.FDs) / opened(s) }
)

// opened is never zero: a tunnel that does not open fails the job.
func opened(s sample) float64 { return float64(s.Tunnels + s.Lost) }

// table is the issue's, in its order.
func table(o options) []row {
	const warm = 200 * time.Millisecond
	below := &target{peer: haproxySplice, limit: 1}
	above := &target{peer: haproxySplice, limit: 1, atLeast: true}
	var rows []row
	for _, kind := range []string{kindUpload, kindDownload} {
		service := serviceDiscard
		if kind == kindDownload {
			service = serviceSource
		}
		for _, conns := range []int{1, 4} {
			rows = append(rows, row{
				name: fmt.Sprintf("%s %d", kind, conns), arms: everyArm, rounds: o.rounds,
				job:     job{Kind: kind, Service: service, Via: viaPassthrough, Conns: conns, Warm: warm, Duration: o.duration},
				figures: []figure{{"CPU-s/GiB", cpuPerGiB, below}, {"Gbit/s", gbits, above}},
			})
		}
	}
	trips := job{Kind: kindPingPong, Service: serviceEcho, Via: viaPassthrough, Conns: 1, Warm: warm, Duration: o.duration}
	many := trips
	many.Conns = 16
	connections := trips
	connections.Kind, connections.Conns = kindConnect, 8
	handshakes := connections
	handshakes.Via = viaTLS
	still := job{Kind: kindIdle, Service: serviceEcho, Via: viaPassthrough, Conns: o.tunnels, Warm: o.settle}
	upgraded, terminated := still, still
	upgraded.Via, terminated.Via = viaUpgrade, viaTLS
	minute := still
	minute.Kind, minute.Conns, minute.Duration = kindHeld, heldTunnels, o.held
	two := figure{"fds/tunnel", fds, &target{limit: 2}}
	rows = append(rows,
		row{name: "ping-pong 1", arms: everyArm, rounds: o.rounds, job: trips, figures: []figure{
			{"p50 µs", p50, below}, {"CPU µs/trip", cpuPerOp, nil},
		}},
		row{name: "ping-pong 16", arms: everyArm, rounds: o.rounds, job: many, figures: []figure{
			{"trips/s", perSecond, above}, {"CPU µs/trip", cpuPerOp, nil},
		}},
		row{name: "idle passthrough", arms: everyArm, rounds: 1, fresh: true, job: still, figures: []figure{
			{"KiB/tunnel", memory, &target{limit: 1}}, two,
		}},
		row{name: "idle upgrade", arms: []string{ours}, rounds: 1, fresh: true, job: upgraded, figures: []figure{
			{"KiB/tunnel", memory, &target{limit: 1.2}}, two,
		}},
	)
	// Not in the table, for want of peers that could do the same.
	for _, way := range []struct{ name, via string }{
		{"idle websocket", viaWebSocket}, {"idle upgrade in TLS", viaUpgradeTLS}, {"idle websocket in TLS", viaFramedTLS},
	} {
		layered := still
		layered.Via = way.via
		rows = append(rows, row{name: way.name, arms: []string{ours}, rounds: 1, fresh: true, job: layered, figures: []figure{
			{"KiB/tunnel", memory, nil}, two,
		}})
	}
	rows = append(rows,
		row{name: "idle terminated", arms: []string{ours, haproxyPlain, nginxPlain}, rounds: 1, fresh: true, job: terminated, figures: []figure{
			{"KiB/tunnel", memory, &target{limit: 15}}, {"fds/tunnel", fds, nil},
		}},
		row{name: "handshake", arms: []string{ours, haproxyPlain, nginxPlain}, rounds: o.rounds, job: handshakes, figures: []figure{
			{"CPU µs each", cpuPerOp, &target{peer: bestPeer, limit: 1}}, {"each/s", perSecond, nil},
		}},
		row{name: "new passthrough", arms: everyArm, rounds: o.rounds, job: connections, figures: []figure{
			{"CPU µs each", cpuPerOp, below}, {"each/s", perSecond, nil},
		}},
		row{name: "held", arms: []string{ours}, rounds: 1, fresh: true, job: minute, figures: []figure{
			{"tunnels", open, &target{limit: heldTunnels, atLeast: true}},
			{"lost", lost, &target{limit: 0}},
			{"fds/tunnel", fds, nil},
		}},
	)
	return append(rows, proofs()...)
}
