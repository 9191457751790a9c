package lab

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

// Every workload in every variant, against every driver of its backend. Nothing is timed: whether the machine was busy is no matter here.
func TestWorkloadsAgainstEveryDriver(t *testing.T) {
	shapes := map[string][]bench.Shape{
		"echo":        {{}, {Size: 64 << 10}, {Active: 25}},
		"handshake":   {{}},
		"storm":       {{Burst: 20}},
		"bulk":        {{Direction: bench.Up, Bytes: 1<<20 + 3}, {Direction: bench.Down, Bytes: 1<<20 + 5}, {Direction: bench.Duplex, Bytes: 1<<20 + 7}},
		"half-close":  {{}, {Bytes: 1 << 20}},
		"slow-reader": {{Bytes: 1 << 20, ReadRate: 4 << 20, Queue: 1<<20 - 1}},
		"postgres":    {{}, {Variant: "simple"}, {Variant: "pool"}, {Variant: "copy", Bytes: 300_000}},
		"mysql":       {{}, {Variant: "prepared"}},
		"ssh":         {{}, {Variant: "copy"}, {Variant: "copy", Direction: bench.Duplex, Bytes: 300_001}},
		"http":        {{}, {Variant: "h2"}, {Variant: "h2", Streams: 8}},
	}
	// What needs tables or files is refused by a protocol server.
	needReal := map[string][]bench.Shape{
		"postgres": {{Variant: "select-only"}, {Variant: "tpcb"}},
		"mysql":    {{Variant: "point-select"}, {Variant: "point-select"}}, // the second finds its table there
		"ssh":      {{Variant: "sftp", Bytes: 300_001}},
	}
	kinds := map[string][]string{} // of backends, the workloads
	for _, name := range bench.WorkloadNames() {
		if shapes[name] == nil {
			t.Errorf("workload %s is not tried here", name)
		}
		kinds[bench.WorkloadBackend(name)] = append(kinds[bench.WorkloadBackend(name)], name)
	}
	for kind, names := range kinds {
		for _, driver := range backend.Drivers(kind) {
			t.Run(kind+"/"+driver, func(t *testing.T) {
				r, err := backend.Start(t.Context(), driver, backend.Spec{Name: "behind", Kind: kind})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
						t.Error(err)
					}
				})
				for _, name := range names {
					for _, s := range shapes[name] {
						tryWorkload(t, r, name, s)
					}
					for _, s := range needReal[name] {
						if driver == backend.Embedded {
							refuseWorkload(t, r, name, s)
						} else {
							tryWorkload(t, r, name, s)
							noticeWhatIsWrong(t, r, name, s)
						}
					}
				}
			})
		}
	}
}

func tryWorkload(t *testing.T, r *backend.Running, name string, s bench.Shape) {
	t.Helper()
	b := runUntilAsked(t, workloadPlan(r, name, s))
	a := b.Workloads[0].Arms[0]
	if a.Errors > 0 || a.Requests == 0 {
		t.Errorf("%s %+v: %d requests, %d errors: %q; %q", name, s, a.Requests, a.Errors, a.ErrorSamples, b.Validity.Reasons)
	}
	if (s.Bytes > 0) != (a.Bytes > 0) && name != "half-close" && s.Variant != "copy" && s.Variant != "sftp" {
		t.Errorf("%s %+v: %d bytes of payload in the report", name, s, a.Bytes)
	}
	if s.Variant == "sftp" && a.Bytes == 0 {
		t.Errorf("%s %+v: no bytes of payload in the report", name, s)
	}
	if s.Active > 0 && !strings.Contains(strings.Join(a.Notes, "\n"), "3 of 3 idle tunnels answered at the end") {
		t.Errorf("%s %+v: notes %q", name, s, a.Notes)
	}
}

// refuseWorkload wants one sentence in the place of a measurement.
func refuseWorkload(t *testing.T, r *backend.Running, name string, s bench.Shape) {
	t.Helper()
	b, err := bench.Run(t.Context(), workloadPlan(r, name, s), bench.Options{})
	if err != nil {
		t.Fatalf("%s %+v: %v", name, s, err)
	}
	if a := b.Workloads[0].Arms[0]; a.Requests > 0 {
		t.Errorf("%s %+v: %d requests", name, s, a.Requests)
	}
	if got, want := strings.Join(b.Validity.Reasons, "\n"), "variant "+s.Variant+" needs a real "; !strings.Contains(got, want) || !strings.Contains(got, "--backends local") {
		t.Errorf("%s %+v: %q, want %q", name, s, got, want)
	}
}

func workloadPlan(r *backend.Running, name string, s bench.Shape) bench.Plan {
	access := bench.Access{User: r.Access.User, Password: r.Access.Password, Database: r.Access.Database, SSHKey: r.Access.ClientKey, HostKey: r.Access.HostKey}
	if r.Witness != nil {
		access.Witness = r.Info.Name
	}
	dial := func(ctx context.Context, _ func(string, time.Duration)) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", r.Address)
	}
	w := bench.WorkloadPlan{Name: name, Backend: r.Info.Name, Access: access, Arms: []bench.Arm{{Path: "plain", Dial: dial}}, Rate: 20, ConnectRate: 10, Tunnels: 4, Shape: s}
	if _, err := bench.CheckShape(name, s, w.Rate, w.ConnectRate, true); err != nil {
		w.Rate = 0 // a tunnel an exchange
	}
	return bench.Plan{
		Workloads: []bench.WorkloadPlan{w}, Window: 200 * time.Millisecond, Guard: 20 * time.Millisecond, Drain: 20 * time.Second, Pairs: 2, Seed: 1,
	}
}
