package lab

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// wrongConn changes what passes: in and out are given the number of bytes before, and the bytes, which they may change.
type wrongConn struct {
	net.Conn
	in, out     func(at int, p []byte)
	end         int // ends the inward stream cleanly behind so many bytes; 0 does not
	read, wrote int
}

func (c *wrongConn) Read(p []byte) (int, error) {
	if c.end > 0 {
		if p = p[:min(len(p), c.end-c.read)]; len(p) == 0 {
			return 0, io.EOF
		}
	}
	n, err := c.Conn.Read(p)
	if c.in != nil {
		c.in(c.read, p[:n])
	}
	c.read += n
	return n, err
}

func (c *wrongConn) Write(p []byte) (int, error) {
	if c.out != nil {
		q := slices.Clone(p)
		c.out(c.wrote, q)
		p = q
	}
	n, err := c.Conn.Write(p)
	c.wrote += n
	return n, err
}

func (c *wrongConn) CloseWrite() error { return netx.CloseWrite(c.Conn) }

// flip changes a bit of byte number n.
func flip(n int) func(int, []byte) {
	return func(at int, p []byte) {
		if n >= at && n < at+len(p) {
			p[n-at] ^= 1
		}
	}
}

// swap exchanges two neighbouring words of eight bytes, once both are there.
func swap(n int) func(int, []byte) {
	return func(at int, p []byte) {
		if n >= at && n+16 <= at+len(p) {
			for i := range 8 {
				p[n-at+i], p[n-at+8+i] = p[n-at+8+i], p[n-at+i]
			}
		}
	}
}

// replace changes one text into another of the same length.
func replace(from, to string) func(int, []byte) {
	return func(_ int, p []byte) {
		if i := bytes.Index(p, []byte(from)); i >= 0 {
			copy(p[i:], to)
		}
	}
}

// digit changes the first digit between two others behind byte n, so that what frames the rows stays as it is.
func digit(n int) func(int, []byte) {
	isDigit := func(b byte) bool { return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' }
	return func(at int, p []byte) {
		if n < at || n >= at+len(p) {
			return
		}
		for i := max(1, n-at); i+1 < len(p); i++ {
			if isDigit(p[i-1]) && isDigit(p[i]) && isDigit(p[i+1]) && p[i] != 'f' && p[i] != '9' {
				p[i]++
				return
			}
		}
	}
}

// A check that cannot fail is none: here each is shown what it is there for.
func TestWorkloadsNoticeWhatIsWrong(t *testing.T) {
	const ten = "d3d9446802a44259755d38e6d163e820" // md5 of "10", in the first answer
	for name, c := range map[string]struct {
		workload string
		shape    bench.Shape
		in, out  func(int, []byte)
		end      int
		want     string
	}{
		"echo":               {workload: "echo", shape: bench.Shape{Size: 4096}, in: flip(2000), want: "echo: sent"},
		"handshake goes on":  {workload: "handshake", end: 0, out: replace("close", "stall"), want: "handshake: want the end"},
		"bulk down":          {workload: "bulk", shape: bench.Shape{Bytes: 100_000}, in: flip(50_000), want: "is another than was sent"},
		"bulk down, swapped": {workload: "bulk", shape: bench.Shape{Bytes: 100_000}, in: swap(50_000), want: "is another than was sent"},
		"bulk up":            {workload: "bulk", shape: bench.Shape{Bytes: 100_000, Direction: bench.Up}, out: flip(50_000), want: "arrived as another"},
		"bulk duplex":        {workload: "bulk", shape: bench.Shape{Bytes: 100_000, Direction: bench.Duplex}, out: flip(50_000), want: "arrived as another"},
		"bulk, cut off":      {workload: "bulk", shape: bench.Shape{Bytes: 100_000}, end: 50_000, want: "bulk: read"},
		"half-close":         {workload: "half-close", in: flip(5000), want: "is another than was sent"},
		"half-close, cut":    {workload: "half-close", end: 5000, want: "half-close: the end came behind byte"},
		"slow-reader":        {workload: "slow-reader", shape: bench.Shape{Bytes: 1 << 20, ReadRate: 2 << 20, Queue: 1024}, want: "slow-reader: the path held"},
		"slow-reader, other": {workload: "slow-reader", shape: bench.Shape{Bytes: 1 << 20, ReadRate: 2 << 20, Queue: 1<<20 - 1}, in: flip(5000), want: "is another than was sent"},
		"postgres simple":    {workload: "postgres", shape: bench.Shape{Variant: "simple"}, in: replace(ten, strings.Replace(ten, "d3", "d4", 1)), want: "postgres: row 10 carries"},
		"postgres pool":      {workload: "postgres", shape: bench.Shape{Variant: "pool"}, in: replace(ten, strings.Replace(ten, "d3", "d4", 1)), want: "postgres: row 10 carries"},
		"postgres copy in":   {workload: "postgres", shape: bench.Shape{Variant: "copy", Bytes: 100_000}, out: digit(20_000), want: "postgres: after the copy in: the server has"},
		"postgres copy out":  {workload: "postgres", shape: bench.Shape{Variant: "copy", Bytes: 100_000}, in: digit(20_000), want: "postgres: copy out"},
		"mysql prepared":     {workload: "mysql", shape: bench.Shape{Variant: "prepared"}, in: replace(ten, strings.Replace(ten, "d3", "d4", 1)), want: "mysql: row 10 carries"},
		"http h1":            {workload: "http", in: replace("/bench-", "/bench_"), want: "http: asked GET"},
		"http h2":            {workload: "http", shape: bench.Shape{Variant: "h2", Streams: 2}, in: replace("/bench-", "/bench_"), want: "http: asked GET"},
		"http h2 is h1":      {workload: "http", shape: bench.Shape{Variant: "h2"}, in: replace("HTTP/2.0", "HTTP/1.1"), want: "http: asked GET"},
		"ssh copy":           {workload: "ssh", shape: bench.Shape{Variant: "copy", Bytes: 100_000}, out: flip(50_000), want: "ssh: "},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := backend.Start(t.Context(), backend.Embedded, backend.Spec{Name: "behind", Kind: bench.WorkloadBackend(c.workload)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			}()
			samples := wrongRun(t, r, c.workload, c.shape, func(conn net.Conn) net.Conn {
				return &wrongConn{Conn: conn, in: c.in, out: c.out, end: c.end}
			})
			if !strings.Contains(samples, c.want) {
				t.Errorf("got %q, want an error with %q", samples, c.want)
			}
		})
	}
}

// noticeWhatIsWrong does the same for what a real server answers alone.
func noticeWhatIsWrong(t *testing.T, r *backend.Running, name string, s bench.Shape) {
	t.Helper()
	wrong, ok := map[string]struct {
		in   func(int, []byte)
		want string
	}{
		"select-only":  {flipAfter("D\x00\x00\x00\x16\x00\x02\x00\x00\x00\x04"), "postgres: asked for account"}, // a row of two integers
		"tpcb":         {replace("UPDATE 1", "UPDATE 0"), `the server says "UPDATE 0", not "UPDATE 1"`},
		"point-select": {flipAfter("\x00\x00\x77"), "mysql: row "}, // a binary row of one text of 119 bytes
	}[s.Variant]
	if !ok {
		return // under SSH's own encryption nothing can be changed
	}
	samples := wrongRun(t, r, name, s, func(conn net.Conn) net.Conn { return &wrongConn{Conn: conn, in: wrong.in} })
	if !strings.Contains(samples, wrong.want) {
		t.Errorf("%s %s: got %q, want an error with %q", name, s.Variant, samples, wrong.want)
	}
}

// flipAfter changes a bit of the fourth byte behind a text.
func flipAfter(text string) func(int, []byte) {
	return func(_ int, p []byte) {
		if i := bytes.Index(p, []byte(text)); i >= 0 && i+len(text)+3 < len(p) {
			p[i+len(text)+3] ^= 1
		}
	}
}

func TestWorkloadsNoticeAnotherWitness(t *testing.T) {
	r, err := backend.Start(t.Context(), backend.Embedded, backend.Spec{Name: "other", Kind: backend.Witness})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	r.Info.Name = "behind"
	if got := wrongRun(t, r, "echo", bench.Shape{}, func(c net.Conn) net.Conn { return c }); !strings.Contains(got, `"other" answered, and the route leads to "behind"`) {
		t.Errorf("got %q", got)
	}
}

// wrongRun opens new tunnels only, so that each begins anew, and returns the errors.
func wrongRun(t *testing.T, r *backend.Running, name string, s bench.Shape, wrap func(net.Conn) net.Conn) string {
	t.Helper()
	access := bench.Access{User: r.Access.User, Password: r.Access.Password, Database: r.Access.Database, SSHKey: r.Access.ClientKey, HostKey: r.Access.HostKey}
	if r.Witness != nil {
		access.Witness = r.Info.Name
	}
	dial := func(ctx context.Context, _ func(string, time.Duration)) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", r.Address)
		if err != nil {
			return nil, err
		}
		return wrap(c), nil
	}
	plan := bench.Plan{
		Workloads: []bench.WorkloadPlan{{
			Name: name, Backend: r.Info.Name, Access: access, Arms: []bench.Arm{{Path: "plain", Dial: dial}},
			ConnectRate: 20, Arrival: bench.ArrivalConstant, Shape: s,
		}},
		Window: 100 * time.Millisecond, Guard: 10 * time.Millisecond, Drain: 5 * time.Second, Pairs: 1, Seed: 1,
	}
	a := runUntilAsked(t, plan).Workloads[0].Arms[0]
	if a.Errors == 0 || a.Errors != a.Requests {
		t.Errorf("%d of %d requests are errors; dropped %d", a.Errors, a.Requests, a.Dropped)
	}
	return strings.Join(a.ErrorSamples, "\n")
}

// runUntilAsked repeats a run whose windows the machine slept through: then nothing was asked, and there is nothing to judge.
func runUntilAsked(t *testing.T, plan bench.Plan) *result.Bench {
	t.Helper()
	for attempt := 1; ; attempt++ {
		b, err := bench.Run(t.Context(), plan, bench.Options{})
		if err != nil {
			t.Fatalf("%s %+v: %v", plan.Workloads[0].Name, plan.Workloads[0].Shape, err)
		}
		if b.Workloads[0].Arms[0].Requests > 0 || attempt == 5 {
			return b
		}
	}
}
