package lab

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

const withFaults = `
name: faults
topology:
  paths: [alb-https]
  load_balancers: {alb: {nodes: 2}, other: {real: haproxy}}
  faults:
    - {at: 30ms, load_balancer: alb, kind: target-death, hop: target, for: 100ms}
    - {at: 10ms, load_balancer: alb, kind: latency, hop: client, direction: down, delay: 100ms, for: 10m}
    - {at: 0s, load_balancer: alb, kind: node-rotation}
    - {at: 10m, load_balancer: alb, kind: stall, hop: client}
backends: [{name: witness, kind: witness}]
routes: [{name: echo, sni: [echo.example.test], alpn: [tlsroute-echo], mode: terminate, backend: witness}]
`

// TestFaultsHappenOnTheirTimeline sees each of three from the client's end; the fourth is due when all is over.
func TestFaultsHappenOnTheirTimeline(t *testing.T) {
	sc, err := scenario.Parse("faults.yaml", []byte(withFaults), scenario.Vocabulary{Topology: Check})
	if err != nil {
		t.Fatal(err)
	}
	l := startLab(t, sc, Options{})
	c, _ := l.chain("alb-https")
	before := c.address()
	open, _, err := tunnelTo(t, l, "alb-https", "websocket")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var done []result.Fault
	ended := make(chan error, 1)
	go func() {
		var err error
		done, err = l.RunFaults(ctx, 1)
		ended <- err
	}()
	// The death of the target resets what stands.
	if err := open.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := open.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the tunnel lives on: %d bytes, %v", n, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for i, f := range done {
		kinds = append(kinds, f.Kind)
		if f.LoadBalancer != "alb" || i > 0 && f.AtNS < done[i-1].AtNS {
			t.Errorf("%+v", f)
		}
	}
	if got := strings.Join(kinds, " "); got != "node-rotation latency target-death" {
		t.Errorf("%s happened", got)
	}
	if c.address() == before {
		t.Errorf("the first node is still %s", before)
	}
	for end := time.Now().Add(10 * time.Second); ; { // the target comes back
		begin := time.Now()
		if _, _, err = tunnelTo(t, l, "alb-https", "websocket"); err == nil {
			// The answers to a handshake, to the request and to the inner handshake are late, each by the delay.
			if took := time.Since(begin); took < 200*time.Millisecond {
				t.Errorf("a tunnel in %v", took)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestFaultsThatCannotBeAreSaid(t *testing.T) {
	for change, want := range map[[2]string]string{
		{"alb, kind: latency", "gone, kind: latency"}:  `faults.yaml:8:33: no load balancer is called "gone" (alb, other)`,
		{"alb, kind: latency", "other, kind: latency"}: `load balancer "other" is a real product: faults are the simulator's`,
		{"nodes: 2", "nodes: 1"}:                       `load balancer "alb" has no node to spare`,
		{"delay: 100ms, ", ""}:                         `fault.delay: latency needs it`,
		{"kind: stall", "kind: stal"}:                  `"stal": no such kind of fault`,
		{"kind: stall, hop: client", "kind: stall"}:    `fault.hop: "": must be client or target`,
	} {
		text := strings.Replace(withFaults, change[0], change[1], 1)
		if text == withFaults {
			t.Fatalf("%q is not there", change[0])
		}
		_, err := scenario.Parse("faults.yaml", []byte(text), scenario.Vocabulary{Topology: Check})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", change[1], err)
		}
	}
}
