package checks

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// idleHop is a hop of the check's own before the path's address, which cuts what has been silent for as long as idle says. It listens
// when this returns; stop ends it and waits for it.
func idleHop(ctx context.Context, t *conformance.T, idle *atomic.Int64) (address string, stop func(), err error) {
	ln, err := t.Listen(ctx)
	if err != nil {
		return "", nil, err
	}
	to := t.Path.Address
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { hop(ctx, c, to, func() time.Duration { return time.Duration(idle.Load()) }) })
		}
	})
	return ln.Addr().String(), func() {
		cancel()
		_ = ln.Close()
		wg.Wait()
	}, nil
}

func hop(ctx context.Context, c net.Conn, to string, idle func() time.Duration) {
	defer c.Close()
	var d net.Dialer
	b, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer b.Close()
	closeBoth := func() {
		_ = c.Close()
		_ = b.Close()
	}
	timer := time.AfterFunc(idle(), closeBoth)
	defer timer.Stop()
	defer context.AfterFunc(ctx, closeBoth)()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, b}, {b, c}} {
		wg.Go(func() {
			for buf := make([]byte, 16<<10); ; {
				n, err := way[0].Read(buf)
				if n > 0 {
					timer.Reset(idle())
					if _, err := way[1].Write(buf[:n]); err != nil {
						break
					}
				}
				if err != nil {
					break
				}
			}
			_ = wire.CloseWrite(way[1])
		})
	}
	wg.Wait()
}

// closePings has tunnels of each type that has pings carry a byte right behind a ping and then be silent for two intervals: who leaves
// out a ping for the byte is silent for longer than the hop allows.
func closePings(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var idle atomic.Int64
	idle.Store(int64(time.Minute)) // while the tunnels are made
	address, stop, err := idleHop(ctx, t, &idle)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer stop()
	t.Path.Address = address // a copy of this check's own
	types := []string{wire.WebSocket}
	if slices.Contains(t.Path.Upgrade.Types, wire.ALPNPing) {
		types = append(types, wire.ALPNPing)
	}
	type end struct {
		conn   *tlsConn
		tunnel wire.Pinged
	}
	ends := map[string]end{}
	var names []string
	for _, typ := range types {
		for i := range 2 {
			conn, tunnel, err := overTunnel(ctx, t, typ)
			if err != nil {
				return conformance.Observation{}, err
			}
			if _, err := t.Ask(conn, witness.Order{Do: witness.Echo}); err != nil {
				return conformance.Observation{}, err
			}
			name := fmt.Sprintf("%s %d", typ, i+1)
			names = append(names, name)
			ends[name] = end{conn, tunnel.(wire.Pinged)} //nolint:forcetypeassert // both types count
		}
	}
	idle.Store(int64(closeIdle)) // from the next byte on
	return inParallel(t, names, func(name string) (conformance.Observation, error) {
		e := ends[name]
		for cycle := range closeTimes {
			before := e.tunnel.Pings()
			quiet := func(d time.Duration) error { // answers the pings meanwhile
				_ = e.conn.SetWriteDeadline(time.Time{}) // pongs go out below, for as long as this takes
				_ = e.conn.SetReadDeadline(time.Now().Add(d))
				_, err := e.conn.Read(make([]byte, 1))
				return err
			}
			err := quiet(5 * time.Millisecond)
			for until := time.Now().Add(2 * closePing); t.Outcome(err) == conformance.Timeout && e.tunnel.Pings() == before && time.Now().Before(until); {
				err = quiet(5 * time.Millisecond)
			}
			if t.Outcome(err) == conformance.Timeout {
				if err = roundTrip(t, e.conn); err == nil {
					err = quiet(2 * closePing)
				}
			}
			if t.Outcome(err) != conformance.Timeout {
				return conformance.Observation{Outcome: cut, Detail: fmt.Sprintf("in cycle %d, behind %d pings: %v", cycle+1, e.tunnel.Pings(), err)}, nil
			}
		}
		if err := roundTrip(t, e.conn); err != nil {
			return conformance.Observation{Outcome: cut, Detail: fmt.Sprintf("in the end: %v", err)}, nil
		}
		return conformance.Observation{Outcome: alive, Detail: fmt.Sprintf("%d cycles, %d pings every %v under %v", closeTimes, e.tunnel.Pings(), closePing, closeIdle)}, nil
	})
}
