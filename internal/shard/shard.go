// Package shard keeps the processes together that send parts of one plan: they meet at each point of it, and one of them, or a process
// that sends nothing, coordinates and gets what each measured.
//
// # Protocol
//
// One TCP connection an agent, on which each side sends lines of JSON, bounded in size: the agent a [message], the coordinator one for
// each. First the agent asks for the coordinator's clock a few times, and keeps the answer that took the least time: it is off by half
// of that at most. Then it says who it is and what it was given: the hashes of plan and binary must be equal in all agents and the indexes
// be 0 to N-1, or everybody is refused with the reason. From then on each agent names the next point that it has come to, with numbers
// to be added up; when all are there, each is told the sums and an instant of the coordinator's clock, shortly after. At last each delivers its part.
//
// Windows begin at such instants, so that all agents switch from arm to arm together; how far their clocks are off only shifts windows
// against each other, for every latency is taken on one clock.
//
// An agent that is gone, comes to another point than the others, or does not come to it within the patience, fails the whole: what the
// others had sent meanwhile is not the planned load.
//
// Beyond loopback both sides need certificates of one authority (TLS 1.3). Source: facts/performance.md section 5.
package shard

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

const (
	// maxLine bounds a line before the last, maxPart that of a part.
	maxLine = 64 << 10
	maxPart = 256 << 20
	// DefaultPatience is how long is waited for those who are missing at a point.
	DefaultPatience = 2 * time.Minute
	// MaxShards bounds a plan.
	MaxShards = 1000
)

// Hello is who an agent is and what it was given.
type Hello struct {
	result.Shard
	Of int `json:"of"`
	// Descriptors is how many it may have open.
	Descriptors uint64 `json:"nofile"`
	// RoundTripNS is the least time that the coordinator took to tell its clock.
	RoundTripNS int64 `json:"rtt_ns"`
}

// Part is what an agent measured: its report, and its interval logs by name.
type Part struct {
	Report json.RawMessage   `json:"report"`
	Logs   map[string][]byte `json:"logs"`
}

// message is one line of either side; what it is about is the field that is set.
type message struct {
	// Clock asks for the coordinator's, and is the answer, in nanoseconds.
	Clock int64 `json:"clock,omitempty"`
	// Hello is answered by an empty message.
	Hello *Hello `json:"hello,omitempty"`
	// Point is where an agent is, with its Values; the answer has the sums in Values, and StartNS.
	Point   string    `json:"point,omitempty"`
	Values  []float64 `json:"values,omitempty"`
	StartNS int64     `json:"start_ns,omitempty"`
	// Part is answered by an empty message when all parts are there.
	Part *Part `json:"part,omitempty"`
	// Error ends it all.
	Error string `json:"error,omitempty"`
}

// clock is a wall clock that is not set while it is used.
type clock struct{ base time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) now() int64 { return c.base.UnixNano() + int64(time.Since(c.base)) }

// at is the instant of a reading.
func (c clock) at(ns int64) time.Time { return c.base.Add(time.Duration(ns - c.base.UnixNano())) }

// line is a connection that carries messages.
type line struct {
	conn net.Conn
	in   *bufio.Reader
}

func newLine(c net.Conn) *line { return &line{conn: c, in: bufio.NewReaderSize(c, maxLine)} }

func (l *line) send(m message, patience time.Duration) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	limit := maxLine
	if m.Part != nil {
		limit = maxPart
	}
	if len(data) >= limit {
		return fmt.Errorf("a message of %d bytes, %d are allowed", len(data), limit-1)
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = l.conn.Write(append(data, '\n'))
	return err
}

// receive reads one message of at most limit bytes.
func (l *line) receive(limit int, patience time.Duration) (message, error) {
	var m message
	if err := l.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return m, err
	}
	var data []byte
	for {
		piece, err := l.in.ReadSlice('\n')
		if len(data)+len(piece) > limit {
			return m, fmt.Errorf("a line of more than %d bytes", limit)
		}
		data = append(data, piece...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return m, err
		}
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("no message: %w", err)
	}
	return m, nil
}

// Listen is for the coordinator. Without TLS it refuses to listen anywhere but on loopback.
func Listen(ctx context.Context, address string, secure *tls.Config) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		return tls.NewListener(l, secure), nil
	}
	if err := loopback(l.Addr()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Dial reaches the coordinator, which may come up later than the agent. Without TLS it refuses any but one on loopback.
func Dial(ctx context.Context, address string, secure *tls.Config, patience time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		conn, err := dial(ctx, address, secure)
		if err == nil {
			return conn, nil
		}
		if fatal, ok := errors.AsType[*loopbackError](err); ok {
			return nil, fatal
		}
		if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, fmt.Errorf("coordinator %s: %w", address, certificate)
		}
		wait := time.NewTimer(200 * time.Millisecond)
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, fmt.Errorf("coordinator %s is not reached within %v: %w", address, patience, err)
		case <-wait.C:
		}
	}
}

func dial(ctx context.Context, address string, secure *tls.Config) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if secure == nil {
		if err := loopback(conn.RemoteAddr()); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
	config := secure.Clone()
	if config.ServerName == "" {
		if config.ServerName, _, err = net.SplitHostPort(address); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	session := tls.Client(conn, config)
	if err := session.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return session, nil
}

// loopbackError is an address that plaintext is not for.
type loopbackError struct{ addr net.Addr }

func (e *loopbackError) Error() string {
	return fmt.Sprintf("%s is no loopback address: the agents need certificates (--cert, --key, --ca)", e.addr)
}

func loopback(a net.Addr) error {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return nil
	}
	return &loopbackError{a}
}
