package bench

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// dumb cannot end one side.
type dumb struct{ net.Conn }

func (d dumb) Close() error { return d.Conn.Close() }

func TestCloseIsFromTheGoodbyeToThePeersEnd(t *testing.T) {
	s := newTarget(t, nil)
	plan := echoPlan(Arm{Path: "a", Dial: s.dial})
	plan.Workloads[0].Rate = 0
	b, err := Run(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := b.Workloads[0].Arms[0]
	if c := a.Phases[result.PhaseClose]; c.Count != a.Requests || a.Errors != 0 || c.MaxNS > int64(closeTimeout) {
		t.Errorf("%d of %d tunnels: %+v", c.Count, a.Requests, c)
	}
}

func TestPeerThatDoesNotEndHasNoClose(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	wrapped := newParting(conn)
	tun := &tunnel{conn: wrapped, sess: &echoSession{conn: wrapped}}
	if took, ok := tun.part(t.Context()); ok {
		t.Errorf("ended after %v, and the peer never did", took)
	}
	// The goodbye has reached the peer all the same, and the connection is closed.
	if _, err := io.ReadAll(peer); err != nil {
		t.Error(err)
	}
	if err := conn.SetDeadline(time.Now()); err == nil {
		t.Error("still open")
	}
	if _, ok := newParting(dumb{conn}).(*parting); ok {
		t.Error("a connection that cannot end one side is waited for")
	}
}
