// Package backendtest has the one contract that every backend is held to, whatever its driver: the same requests and the same answers, asked by the
// real clients. It is for tests only, since it links the testing package, and internal/arrows keeps it so.
package backendtest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/process"
)

const (
	startTimeout = 2 * time.Minute
	closeTimeout = 30 * time.Second
)

// contracts by kind.
var contracts = map[string]func(*testing.T, *backend.Running){
	backend.Witness: witnessContract, backend.Postgres: postgresContract, backend.MySQL: mysqlContract, backend.SSH: sshContract, backend.HTTP: httpContract,
	backend.Kube: kubeContract,
}

// Run starts a backend by a driver, holds it to the contract of its kind, and ends it; nothing may be left then. A missing program or engine is
// a failure that says what to do.
func Run(t *testing.T, driver string, spec backend.Spec) {
	t.Helper()
	before := process.Descendants(os.Getpid())
	r := Start(t, driver, spec)
	if r.Info.Name != spec.Name || r.Info.Kind != spec.Kind || r.Info.Driver != driver || r.Info.Product == "" || r.Info.Version == "" || r.Info.Note == "" {
		t.Errorf("incomplete info %+v", r.Info)
	}
	if note := r.Info.Note; driver == backend.Embedded && (!strings.HasPrefix(note, "protocol server: ") || !strings.Contains(note, "It does not do: ")) {
		t.Errorf("the note does not say that it is a protocol server, and what it does not do: %s", note)
	}
	if r.Ready <= 0 || r.Info.ReadyMS <= 0 {
		t.Errorf("ready after %v, reported as %v ms", r.Ready, r.Info.ReadyMS)
	}
	if host, _, _ := net.SplitHostPort(r.Address); host != "127.0.0.1" {
		t.Errorf("listens on %s", r.Address)
	}
	Contract(t, r)
	Close(t, r)
	if c, err := net.DialTimeout("tcp", r.Address, time.Second); err == nil {
		c.Close()
		t.Error("still listens after Close")
	}
	for _, pid := range process.Descendants(os.Getpid()) {
		if !slices.Contains(before, pid) {
			t.Errorf("process %d is left behind", pid)
		}
	}
}

// Contract holds a running backend, started with Spec, to what every driver of its kind answers. It may close it.
func Contract(t *testing.T, r *backend.Running) {
	t.Helper()
	contract := contracts[r.Info.Kind]
	if contract == nil {
		t.Fatalf("kind %s has no contract: add one to internal/backend/backendtest", r.Info.Kind)
	}
	contract(t, r)
}

// authorities are those of every backend here: one of servers, one of clients.
var authorities = sync.OnceValues(func() (a struct{ servers, clients *certs.CA }, err error) {
	if a.servers, err = certs.NewCA("servers"); err == nil {
		a.clients, err = certs.NewCA("clients")
	}
	return a, err
})

// Spec is a backend with everything that the lab gives one, in a folder of its own.
func Spec(t *testing.T, kind string) backend.Spec {
	t.Helper()
	spec := backend.Spec{Name: "the-" + kind, Kind: kind, Dir: Dir(t)}
	a, err := authorities()
	if err != nil {
		t.Fatal(err)
	}
	leaf := certs.Leaf{CommonName: spec.Name, DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	if spec.Certificate, err = a.servers.Issue(leaf); err != nil {
		t.Fatal(err)
	}
	spec.CA, spec.ClientCA = a.servers.PEM(), a.clients.PEM()
	return spec
}

// Start starts a backend and ends it with the test.
func Start(t *testing.T, driver string, spec backend.Spec) *backend.Running {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	r, err := backend.Start(ctx, driver, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(t, r) })
	t.Logf("ready in %v: %s %s at %s (%s)", r.Ready.Round(time.Millisecond), r.Info.Product, r.Info.Version, r.Address, r.Info.Note)
	return r
}

// Close ends a backend; a second time does nothing.
func Close(t *testing.T, r *backend.Running) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), closeTimeout)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

// Dir is a folder that the accounts of local backends can reach, unlike t.TempDir. What is left in it at the end is an error.
func Dir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tlsroute-bench-test-") //nolint:usetesting // other accounts cannot reach t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

type numbered struct {
	N   int
	Sum string
}

func series(from, to int) []numbered {
	var rows []numbered
	for n := from; n <= to; n++ {
		sum := md5.Sum([]byte(strconv.Itoa(n)))
		rows = append(rows, numbered{n, hex.EncodeToString(sum[:])})
	}
	return rows
}
