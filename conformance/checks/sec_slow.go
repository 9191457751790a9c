package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of the checks of what strangers can take.
const (
	starved  conformance.Outcome = "starved"  // others were not served meanwhile
	inBound  conformance.Outcome = "in-bound" // memory
	over     conformance.Outcome = "over-bound"
	capped   conformance.Outcome = "capped"
	uncapped conformance.Outcome = "not-capped"
	stuck    conformance.Outcome = "not-recovered"
)

const (
	slowHeaders  = 100 // connections of SEC-03
	slowHellos   = 300 // of SEC-04, for the catalogue's 10,000
	openers      = 16
	slowSteps    = 10 // bytes that a slow client sends in the time it has
	undecided    = 100
	undecidedKiB = 256 // a connection, SEC-05: a ClientHello of 64 KiB three times over, and a goroutine or two
	perIP        = 8   // of SEC-06
	inAll        = 12
)

// probeEvery is the pause between two clients that are timed beside slow ones.
const probeEvery = 10 * time.Millisecond

func init() {
	register := func(c conformance.Check) {
		c.Role, c.Origin = conformance.Router, conformance.Policy
		c.Features = append([]string{"terminate"}, c.Features...)
		if c.Transports == nil {
			c.Transports = directOnly
		}
		c.Clauses, c.Timeout = clauses(policy("section 5, limits")), 30*time.Second
		c.Control = opens("a")
		conformance.Register(c)
	}
	slow := map[conformance.Outcome]string{
		stays: "a client that sends a byte now and then keeps its place for ever", early: "closed before the declared time",
		starved: "others were not served while slow clients were there",
	}
	register(conformance.Check{
		ID: "SEC-03", Slug: "slow-headers", Level: conformance.Must, Transports: upgraded, Features: []string{"upgrade", "hello-timeout"},
		Tags:  []string{conformance.RawHTTP, conformance.Timing, conformance.Crowd},
		Title: "HTTP headers that never end are cut off at the declared time, and others are served meanwhile",
		Why: "Slowloris needs one laptop: each connection sends a header line now and then, and a timer that starts again with every byte never " +
			"fires. When the places are gone nobody else gets in.",
		Accept: pass("every slow connection is closed when it is due, and others are served", inTime), Forbid: slow,
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			head := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nX-Slow: ", t.Path.Upgrade.Path, t.Path.Upgrade.Host)
			return slowly(ctx, t, slowHeaders, []byte(head), func(ctx context.Context) (net.Conn, error) { return t.HTTP(ctx) })
		},
	})
	register(conformance.Check{
		ID: "SEC-04", Slug: "slow-ch", Level: conformance.Must, Features: []string{"hello-timeout"}, Tags: []string{conformance.Timing, conformance.Crowd},
		Title: "ClientHellos that drip are cut off at the declared time, and others are served meanwhile",
		Why: "A ClientHello that comes byte by byte holds a connection, a buffer and a goroutine before anything is known of who sends it. It " +
			"costs the sender nothing.",
		Accept: pass("every dripping connection is closed when it is due, and others are served", inTime), Forbid: slow,
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			hello := wire.Records(wire.NewHello(wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}, PadTo: 4096}))[0]
			return slowly(ctx, t, slowHellos, hello[:64], func(ctx context.Context) (net.Conn, error) { return t.TCP(ctx) })
		},
	})
	register(conformance.Check{
		ID: "SEC-05", Slug: "mem-per-conn", Level: conformance.Must,
		Setup: &conformance.Setup{Name: "memory", Alone: true, Change: func(_ conformance.Fixture, doc *door.Router) { doc.Limits.ClientHelloTimeout = "30s" }},
		Title: "A connection that has not been routed yet holds no more memory than it is allowed to",
		Why: "Before the route is known anybody may connect. A buffer of a megabyte for each is a gigabyte for a thousand sockets, which a single " +
			"host opens in a second.",
		Accept: pass(fmt.Sprintf("at most %d KiB of resident memory each, a policy of this suite", undecidedKiB), inBound), Run: memoryBefore,
		Forbid: map[conformance.Outcome]string{over: fmt.Sprintf("more than %d KiB each", undecidedKiB)},
	})
	register(conformance.Check{
		ID: "SEC-06", Slug: "conn-limits", Level: conformance.Should, Features: []string{"connection-limits"},
		Setup: &conformance.Setup{Name: "limits", Alone: true, Change: func(_ conformance.Fixture, doc *door.Router) {
			doc.Limits.Connections, doc.Limits.ConnectionsPerIP = inAll, perIP
		}},
		Title: "One connection too many, of an address or in all, is closed at once, and a place that is given back is free again",
		Why: "A limit that lets clients wait in a queue hides the overload from them and from whoever retries elsewhere. One that counts wrong " +
			"locks everybody out for good.",
		Accept: pass("closed without a wait, and served again when there is room", capped), Run: limits,
		Forbid: map[conformance.Outcome]string{
			uncapped: "one more than the limit was served", stuck: "a place that was given back stayed taken", conformance.Timeout: "one too many was left to wait",
		},
	})
}

// slowly opens n connections, sends head on each, and then a byte now and then, until each has ended; others connect meanwhile.
func slowly(ctx context.Context, t *conformance.T, n int, head []byte, open func(context.Context) (net.Conn, error)) (conformance.Observation, error) {
	limit := t.Target.HelloTimeout
	if limit <= 0 || limit > maxWaitForSilence {
		return conformance.Observation{}, &conformance.NotRunError{Reason: fmt.Sprintf("the declared timeout is %v; only one of up to %v is sat out", limit, maxWaitForSilence)}
	}
	ends := make([]slowEnd, n)
	var wg, opening sync.WaitGroup
	for w := range openers {
		opening.Go(func() {
			for i := w; i < n; i += openers {
				before := time.Now()
				c, err := open(ctx)
				if err == nil {
					err = bounded(t, c, head)
				}
				if err != nil {
					ends[i].fault = err
					return
				}
				wg.Go(func() { ends[i] = dripUntilEnd(ctx, t, c, before, limit) })
			}
		})
	}
	opening.Wait()
	gone := make(chan struct{})
	go func() { wg.Wait(); close(gone) }()
	took, err := serveBeside(ctx, t, gone)
	wg.Wait()
	detail := fmt.Sprintf("%d slow connections, declared %v; %d others meanwhile, p99 %v", n, limit, len(took), p99(took).Round(time.Millisecond))
	if err != nil {
		return conformance.Observation{Outcome: starved, Detail: fmt.Sprintf("%s: %v", detail, err)}, nil
	}
	for i, e := range ends {
		at := fmt.Sprintf("%s; number %d: %s after %v", detail, i+1, e.out, e.least.Round(time.Millisecond))
		switch {
		case e.fault != nil:
			return conformance.Observation{}, e.fault
		case e.out == conformance.Timeout || e.least > limit+limit/2+t.Wait():
			return conformance.Observation{Outcome: stays, Detail: at}, nil
		case e.atMost < limit-limit/5:
			return conformance.Observation{Outcome: early, Detail: at}, nil
		}
	}
	return conformance.Observation{Outcome: inTime, Detail: detail}, nil
}

// slowEnd is how a slow connection ended. The router's clock starts between the two looks at ours.
type slowEnd struct {
	atMost, least time.Duration
	out           conformance.Outcome
	fault         error
}

func dripUntilEnd(ctx context.Context, t *conformance.T, c net.Conn, before time.Time, limit time.Duration) slowEnd {
	start := time.Now()
	over := start.Add(2*limit + t.Wait())
	ended := make(chan error, 1)
	_ = c.SetDeadline(over)
	go func() {
		var err error
		for buf := make([]byte, 512); err == nil; {
			_, err = c.Read(buf) // an answer, such as 408, comes before the end
		}
		ended <- err
	}()
	tick := time.NewTicker(limit / slowSteps)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return slowEnd{atMost: time.Since(before), least: time.Since(start), out: t.Outcome(err)}
		case <-tick.C:
			_, _ = c.Write([]byte{'x'}) // an end shows in Read
		case <-ctx.Done():
			_ = c.SetDeadline(time.Now())
			return slowEnd{fault: errors.Join(ctx.Err(), <-ended)}
		}
	}
}

// serveBeside opens route a again and again until gone, and says how long each took.
func serveBeside(ctx context.Context, t *conformance.T, gone <-chan struct{}) (took []time.Duration, err error) {
	for {
		start := time.Now()
		if err := opens("a")(ctx, t); err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
		select {
		case <-gone:
			return took, nil
		case <-time.After(probeEvery):
		}
	}
}

func p99(list []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, len(sorted)*99/100)]
}

// foreign is the process of the instance, when it is one of its own.
func foreign(t *conformance.T) (int, error) {
	switch pid := t.Instance.PID(); pid {
	case 0:
		return 0, &conformance.NotRunError{Reason: "the target does not say which process it is"}
	case os.Getpid():
		return 0, &conformance.NotRunError{Reason: "the target runs in the process of the harness, whose memory and descriptors are not its own"}
	default:
		return pid, nil
	}
}

func memoryBefore(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	pid, err := foreign(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	hello := wire.Records(wire.NewHello(wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}, PadTo: 4096}))[0]
	hold := func(n int) (last int64, err error) {
		for range n {
			c, err := t.TCP(ctx)
			if err == nil {
				err = bounded(t, c, hello[:len(hello)-1])
			}
			if err != nil {
				return 0, err
			}
		}
		return settled(ctx, func() (int64, error) { return resident(pid) })
	}
	before, err := hold(openers) // what the first of their kind cost is no slope
	if err != nil {
		return conformance.Observation{}, err
	}
	after, err := hold(undecided)
	if err != nil {
		return conformance.Observation{}, err
	}
	each := float64(after-before) / 1024 / undecided
	o := conformance.Observation{Outcome: inBound, Detail: fmt.Sprintf("%.1f KiB of resident memory for each of %d connections with a ClientHello that lacks a byte", each, undecided)}
	if each > undecidedKiB {
		o.Outcome = over
	}
	return o, nil
}
