package selftest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// oneLock writes one piece at a time, whatever the connection.
func oneLock() fault {
	var mu sync.Mutex
	return func(dst, src net.Conn) {
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			mu.Lock()
			_, werr := dst.Write(buf[:n])
			mu.Unlock()
			if err != nil || werr != nil {
				return
			}
		}
	}
}

// oneBuffer now and then writes what another connection has read.
func oneBuffer() fault {
	const size = 1024
	var mu sync.Mutex // guards kept and count
	var kept []byte
	count := 0
	return func(dst, src net.Conn) {
		for {
			buf := make([]byte, size)
			n, err := src.Read(buf)
			out := buf[:n]
			mu.Lock()
			if count++; n == size && count%20 == 0 {
				if kept != nil {
					out, kept = kept, out
				} else {
					kept = bytes.Clone(out)
				}
			}
			mu.Unlock()
			if _, werr := dst.Write(out); err != nil || werr != nil {
				return
			}
		}
	}
}

// byRecord passes a session on record by record, as pass decides: what it returns goes on, nil ends the session.
func byRecord(pass func(rec wire.RawRecord) []byte) fault {
	return func(dst, src net.Conn) {
		var head [5]byte
		for {
			if _, err := io.ReadFull(src, head[:]); err != nil {
				return
			}
			rec := wire.RawRecord{Type: head[0], Version: uint16(head[1])<<8 | uint16(head[2]), Fragment: make([]byte, int(head[3])<<8|int(head[4]))}
			if _, err := io.ReadFull(src, rec.Fragment); err != nil {
				return
			}
			out := pass(rec)
			if out == nil {
				return
			}
			if _, err := dst.Write(out); err != nil {
				return
			}
		}
	}
}

func asItCame(rec wire.RawRecord) []byte { return wire.Record(rec.Type, rec.Version, rec.Fragment) }

// place is far behind the orders and the sanity of a path.
const place = 50_000

// moves carries a connection on to another backend when much has passed, and begins it there as the client began it.
func moves(t *testing.T) conformance.Target {
	l := newLab(t)
	elsewhere := l.witnesses[l.fixture.WitnessB].Address
	l.backendFor = func(r conformance.FixtureRoute, address string) string {
		if r.Name != "a" {
			return address
		}
		return serve(t, address, func(c net.Conn, dial func() net.Conn) {
			b := dial()
			if b == nil {
				return
			}
			defer b.Close()
			line := readLine(c)
			if _, err := b.Write(line); err != nil {
				return
			}
			down := make(chan struct{})
			go func() { defer close(down); _, _ = io.Copy(c, b) }()
			_, err := io.CopyN(b, c, place)
			_ = b.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // dialled above
			<-down
			if err != nil {
				return
			}
			other, err := net.Dial("tcp", elsewhere)
			if err != nil {
				return
			}
			defer other.Close()
			if _, err := other.Write(line); err == nil {
				_ = readLine(other)
				both(c, other)
			}
		})
	}
	return l.start(t, nil)
}

func readLine(c net.Conn) (line []byte) {
	for one := make([]byte, 1); !bytes.HasSuffix(line, []byte("\n")); line = append(line, one[0]) {
		if _, err := io.ReadFull(c, one); err != nil {
			return line
		}
	}
	return line
}

func init() {
	addMutant("TUN-10", "writes under one lock, to clients", directOnly(behind("a", nil, oneLock())))
	addMutant("TUN-10", "writes under one lock, to backends", directOnly(behind("a", oneLock(), func(dst, src net.Conn) {
		_, _ = io.Copy(dst, src)
		_ = src.Close() // lets go whoever waits with the lock
	})))
	addMutant("TUN-11", "shares a buffer on the way to backends", behind("a", oneBuffer(), nil))
	addMutant("TUN-11", "shares a buffer on the way to clients", behind("a", nil, oneBuffer()))
	addMutant("TUN-12", "drops empty records", instancesBehind(byRecord(func(rec wire.RawRecord) []byte {
		if len(rec.Fragment) == 0 {
			return []byte{}
		}
		return asItCame(rec)
	})))
	addMutant("TUN-12", "ends at a type that it does not know", instancesBehind(byRecord(func(rec wire.RawRecord) []byte {
		if rec.Type < 20 || rec.Type > 24 {
			return nil
		}
		return asItCame(rec)
	})))
	addMutant("TUN-12", "writes versions of its own", instancesBehind(byRecord(func(rec wire.RawRecord) []byte { return wire.Record(rec.Type, min(rec.Version, 0x0303), rec.Fragment) })))
	addMutant("TUN-14", "moves on", moves)
	addMutant("TUN-14", "starts anew", otherwise(func(l conformance.Launcher, i conformance.Instance) conformance.Instance { return &restarter{i, l} }))
}
