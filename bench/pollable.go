package bench

import (
	"context"
	"net"
)

// NetDial makes TCP connections, as net.Dialer.DialContext does.
type NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

// Pollable makes the TCP connections of dial, or of a net.Dialer where that is nil, ones that the generator can wait for by itself
// (loop_linux.go). It is for the bottom of what an arm's Dial returns: the layers above show the way down to it by NetConn or Unwrap,
// and go on reading behind a deadline that has passed, as crypto/tls does.
//
// Without it, and on other systems than Linux, requests go through workers and the runtime's poller, at two thirds more processor time.
func Pollable(dial NetDial) NetDial {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newPollable(conn), nil
	}
}

// pollableUnder is the pollable connection at the bottom of conn, nil where there is none.
func pollableUnder(conn net.Conn) *pollable {
	for {
		switch c := conn.(type) {
		case *pollable:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		case interface{ Unwrap() net.Conn }:
			conn = c.Unwrap()
		default:
			return nil
		}
	}
}

// splitter is what a session may have besides: a request in two halves of which neither waits, so that one thread serves many tunnels.
// Do is the one and then the other.
type splitter interface {
	// Start sends the request.
	Start() error
	// Finish takes what has come of the answer. While some is missing its error is os.ErrDeadlineExceeded, and it is called again.
	Finish() error
}
