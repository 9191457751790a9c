package selftest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/strength"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// hostility is what is at the other end in place of an implementation. It counts what it got rid of on one connection.
type hostility func(c net.Conn, sent *atomic.Int64)

var hostile = map[string]hostility{
	"hangs":          func(c net.Conn, _ *atomic.Int64) { _, _ = io.Copy(io.Discard, c) },
	"closes at once": func(net.Conn, *atomic.Int64) {},
	"talks nonsense": func(c net.Conn, _ *atomic.Int64) {
		_, _ = io.WriteString(c, "\x00\xffwelcome to nothing\r\n\r\n\x16\x03")
	},
	"floods":         floods([]byte("x")),
	"floods headers": floods([]byte("HTTP/1.1 101 Switching Protocols\r\nX: x\r\n")),
	"floods records": floods(append([]byte{22, 3, 3, 0x40, 0, 2, 0, 0x3f, 0xfc}, make([]byte, 0x3ffc)...)),
}

// mostFlooded bounds what is read of a flood on one connection: a few hundred KiB by the harness, and what the kernel holds.
const mostFlooded = 16 << 20

// floods writes a piece, and its last bytes again and again.
func floods(piece []byte) hostility {
	return func(c net.Conn, sent *atomic.Int64) {
		if tcp := netx.TCP(c); tcp != nil {
			_ = tcp.SetWriteBuffer(64 << 10) // what lies there has not been read
		}
		for again := bytes.Repeat(piece, 1+(64<<10)/len(piece)); ; {
			n, err := c.Write(again)
			if sent.Add(int64(n)) > 4*mostFlooded || err != nil {
				return // far beyond the bound: the test has seen enough
			}
		}
	}
}

// enemy is a proxy before something good, which turns hostile for good with a connection by number; 0 is hostile from the start.
type enemy struct {
	proxy *strength.Proxy
	worst atomic.Int64 // of the bytes sent on one connection
	came  atomic.Int64
	turn  int64
	be    hostility // nil: it dies, its port is closed
	dying sync.WaitGroup
}

func newEnemy(t *testing.T, before string, turn int64, be hostility) *enemy {
	t.Helper()
	e := &enemy{turn: turn, be: be}
	ready := make(chan struct{}) // a connection may come before proxy is set
	e.proxy = must(strength.Listen(func() (net.Conn, error) { return net.Dial("tcp", before) }, func(c net.Conn, dial func() net.Conn) {
		<-ready
		switch n := e.came.Add(1); {
		case n < e.turn:
			strength.Pipe(nil, nil)(c, dial)
		case e.be == nil:
			e.dying.Go(e.proxy.Close)
		default:
			var sent atomic.Int64
			e.be(c, &sent)
			for worst := e.worst.Load(); sent.Load() > worst && !e.worst.CompareAndSwap(worst, sent.Load()); worst = e.worst.Load() {
			}
		}
	}))(t)
	close(ready)
	t.Cleanup(func() { e.proxy.Close(); e.dying.Wait() })
	return e
}

// enemies are each hostility from the start, and each from the middle of the run on.
func enemies(run func(name string, turn int64, be hostility)) {
	for name, be := range hostile {
		run(name, 0, be)
		run(name+" after a while", 12, be)
	}
	run("dies at its first connection", 0, nil)
	run("dies after a while", 12, nil)
	run("dies later", 16, nil)
}

// TestHostileServers puts routers and load balancers that are none, or no longer, to the engine, on a path beside that to a good one.
func TestHostileServers(t *testing.T) {
	for role, c := range map[string]struct {
		target func(t *testing.T) conformance.Target
		only   []string
	}{
		"router": {func(t *testing.T) conformance.Target { return newLab(t).start(t, nil) }, []string{"DET-0[1-3]", "TLS-0[1-3]", "TUN-01", "UPG-0[1-3]"}},
		"lb":     {simulated(nil), []string{"ALB-TLS-0[1-3]", "ALB-UPG-0[1-3]", "UPG-0[1-3]", "ALB-HDR-04"}},
	} {
		enemies(func(name string, turn int64, be hostility) {
			t.Run(role+" "+name, func(t *testing.T) {
				t.Parallel()
				target := c.target(t)
				e := newEnemy(t, target.Paths[0].Address, turn, be)
				for _, p := range slices.Clone(target.Paths) {
					p.Name, p.Address = "hostile "+p.Name, e.proxy.Address()
					target.Paths = append(target.Paths, p)
				}
				got := must(conformance.Run(t.Context(), target, conformance.Options{Only: c.only, Seed: 1, Parallel: 2}))(t)
				others := 0
				for _, p := range target.Paths {
					bad := strings.HasPrefix(p.Name, "hostile ")
					results := slices.DeleteFunc(slices.Clone(got.Results), func(r result.CheckResult) bool { return r.Path != p.Name })
					if bad {
						accuses(t, results, turn == 0)
						continue
					}
					for _, r := range results {
						if others++; r.Verdict != result.CheckPass && r.Verdict != result.CheckTolerated && r.Verdict != result.CheckUnsupported {
							t.Errorf("%s on %s, where all is well: %s: %s", r.Check, r.Path, r.Verdict, r.Detail)
						}
					}
				}
				if others == 0 || e.came.Load() < max(1, turn) {
					t.Errorf("%d results on other paths, %d connections to the hostile one: nothing was looked at", others, e.came.Load())
				}
				if worst := e.worst.Load(); worst > mostFlooded {
					t.Errorf("%d bytes of a flood were read", worst)
				}
			})
		})
	}
}

// accuses fails for a verdict that a target which is not there cannot have earned: anything but INCONCLUSIVE, with what came, from the
// group on in which it went; and before that a FAIL.
func accuses(t *testing.T, results []result.CheckResult, gone bool) {
	t.Helper()
	var lost []string // groups
	for _, r := range results {
		if r.Verdict == result.CheckInconclusive && !slices.Contains(lost, r.Group) {
			lost = append(lost, r.Group)
		}
	}
	if len(lost) == 0 {
		t.Error("nothing is INCONCLUSIVE")
	}
	for _, r := range results {
		switch r.Verdict { //nolint:exhaustive // every other is looked at below
		case result.CheckNotRun, result.CheckUnsupported:
			continue
		case result.CheckInconclusive:
			if r.Detail == "" {
				t.Errorf("%s on %s is INCONCLUSIVE, and nothing says why", r.Check, r.Path)
			}
			continue
		case result.CheckDepFailed:
			if gone = gone || slices.Contains(lost, r.Group); gone {
				continue
			}
		}
		gone = gone || slices.Contains(lost, r.Group)
		if gone || r.Verdict == result.CheckFail {
			t.Errorf("%s on %s: %s (%s) of a target that is gone", r.Check, r.Path, r.Verdict, r.Detail)
		}
	}
}

// endless is a tunnel that is none: what is read of it is the flood, nothing, or an end.
type endless struct {
	net.Conn
	piece []byte
	read  *atomic.Int64
}

func (c endless) Read(p []byte) (int, error) {
	if len(c.piece) == 0 {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = c.piece[i%len(c.piece)]
	}
	c.read.Add(int64(len(p)))
	return len(p), nil
}

func (c endless) Write(p []byte) (int, error) { return len(p), nil }

// TestHostileClients puts clients that are none, or no longer, to the engine.
func TestHostileClients(t *testing.T) {
	var read atomic.Int64
	none := func(context.Context) (net.Conn, error) { return nil, errors.New("segmentation fault") }
	tunnel := func(piece string) func(context.Context) (net.Conn, error) {
		return func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			return endless{ours, []byte(piece), &read}, theirs.Close()
		}
	}
	for name, be := range map[string]func(context.Context) (net.Conn, error){
		"crashes": none, "floods": tunnel("x"), "talks nonsense": tunnel("\x16\x03\x00nonsense"), "closes at once": tunnel(""),
		"hangs": func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, context.Cause(ctx) },
	} {
		for _, turn := range []int64{0, 1, 2, 3} {
			t.Run(name+map[bool]string{true: " after a while"}[turn > 0], func(t *testing.T) {
				t.Parallel()
				var dials atomic.Int64
				target := clientTarget(func(ctx context.Context, req conformance.DialRequest) (net.Conn, conformance.DialReport, error) {
					if dials.Add(1) <= turn {
						return referenceDial(ctx, req)
					}
					conn, err := be(ctx)
					return conn, conformance.DialReport{Class: "terminated", Upgrade: req.Upgrade}, err
				})
				got := must(conformance.Run(t.Context(), target, conformance.Options{Seed: 1, Parallel: 1}))(t)
				accuses(t, got.Results, turn == 0)
				if dials.Load() <= turn {
					t.Errorf("%d dials: nothing was looked at", dials.Load())
				}
			})
		}
	}
	t.Cleanup(func() {
		if n := read.Load(); n == 0 || n > mostFlooded {
			t.Errorf("%d bytes were read of tunnels that flood", n)
		}
	})
}
