package selftest

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/strength"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// fault spoils one direction of a connection: it copies src to dst in its own way and returns when src has ended. nil copies
// faithfully.
type fault func(dst, src net.Conn)

// faultProxy listens before address and returns where. up is the direction from the client, down the one to it. Every end is passed on
// as a regular one. The test's cleanup ends it.
func faultProxy(t *testing.T, address string, up, down fault) string {
	t.Helper()
	return serve(t, address, strength.Pipe(up.shared(), down.shared()))
}

// shared is the fault as the proxy of conformance/strength takes it.
func (f fault) shared() strength.Copy {
	if f == nil {
		return strength.FINForRST
	}
	return func(dst, src net.Conn) error {
		f(dst, src)
		return nil
	}
}

func copyWith(f fault, dst, src net.Conn) {
	_ = f.shared()(dst, src)
	_ = netx.CloseWrite(dst)
}

// inFront is the reference router behind a fault proxy, for the direct path and the upgraded one.
func inFront(up, down fault) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := newLab(t).start(t, nil)
		address := faultProxy(t, target.Paths[0].Address, up, down)
		for i := range target.Paths {
			target.Paths[i].Address = address
		}
		return target
	}
}

// behind is the reference router with a fault proxy between it and the witness of one route.
func behind(route string, up, down fault) func(t *testing.T) conformance.Target {
	return handledBehind(route, func() strength.Handler { return strength.Pipe(up.shared(), down.shared()) })
}

// spoiledBehind is behind, with a fault of conformance/strength.
func spoiledBehind(route, name string) func(t *testing.T) conformance.Target {
	return handledBehind(route, spoil(name))
}

func handledBehind(route string, handler func() strength.Handler) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		l := newLab(t)
		l.backendFor = func(r conformance.FixtureRoute, address string) string {
			if r.Name == route {
				return serve(t, address, handler())
			}
			return address
		}
		return l.start(t, nil)
	}
}

// spoil is a fault of the catalogue, which has it: mutants are made before there is a test to fail.
func spoil(name string) func() strength.Handler {
	list, err := strength.Select([]string{name})
	if err != nil {
		panic(err)
	}
	return list[0].New
}

// recordVersion rewrites the version of the first record that passes.
func recordVersion(dst, src net.Conn) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(src, head); err != nil {
		return
	}
	head[1], head[2] = 3, 2
	if _, err := dst.Write(head); err == nil {
		_, _ = io.Copy(dst, src)
	}
}

// unsolicitedALPN puts an ALPN extension into every ServerHello of TLS 1.2, where it can be done without keys.
var unsolicitedALPN = inFront(nil, func(dst, src net.Conn) {
	for {
		rec, err := wire.ReadRecord(src)
		if err != nil {
			return
		}
		if types, err := wire.ServerHelloExtensions(rec.Fragment); rec.Type == 22 && err == nil && !slices.Contains(types, wire.ExtSupportedVersions) {
			rec.Fragment = withALPN(rec.Fragment)
		}
		if _, err := dst.Write(wire.Record(rec.Type, rec.Version, rec.Fragment)); err != nil {
			return
		}
	}
})

// withALPN adds the extension to the ServerHello that the fragment begins with.
func withALPN(fragment []byte) []byte {
	size := 4 + (int(fragment[1])<<16 | int(fragment[2])<<8 | int(fragment[3]))
	body, rest := fragment[4:size], fragment[size:]
	id := int(body[34])
	at := 35 + id + 3
	exts := body[at+2:]
	ext := binary.BigEndian.AppendUint16(nil, wire.ExtALPN)
	ext = append(ext, wire.Vec(2, wire.ALPNBody("trb-a"))...)
	grown := append(append([]byte(nil), body[:at]...), wire.Vec(2, append(append([]byte(nil), exts...), ext...))...)
	return append(wire.Handshake(2, grown), rest...)
}
