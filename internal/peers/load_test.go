//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// roleRouter is the reference router, for tests: it serves the document it is given until its input ends.
const roleRouter = "router"

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && slices.Contains([]string{roleSink, roleLoad}, os.Args[1]):
		main()
	case len(os.Args) == 4 && os.Args[1] == roleRouter:
		if err := serve(os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		goleak.VerifyTestMain(m)
	}
}

func serve(config string) error {
	data, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var c router.Config
	if err := decoder.Decode(&c); err != nil {
		return err
	}
	server, err := router.New(c, router.Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := server.Listen(ctx); err != nil {
		return err
	}
	return server.Serve(ctx)
}

// begin starts the backend and our router, which is this test binary again.
func begin(t *testing.T) *arm {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	st, err := newStage(t.TempDir(), self)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.sink.stop)
	a, err := st.start(t.Context(), ours, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.process.stop)
	return a
}

// Every kind of job by every way it is used: none of them measures nothing.
func TestJobsMeasureOurRouter(t *testing.T) {
	a := begin(t)
	const conns = 40
	for _, r := range table(options{rounds: 1, tunnels: conns, duration: 50 * time.Millisecond, held: 50 * time.Millisecond}) {
		t.Run(strings.ReplaceAll(r.name, " ", "-"), func(t *testing.T) {
			j := r.job
			j.Addr, j.PIDs, j.Conns, j.Bytes = a.address(j.Via), a.pids, min(j.Conns, conns), min(j.Bytes, 8<<20)
			if j.Kind == kindUpload || j.Kind == kindDownload || j.Kind == kindPingPong || j.Kind == kindConnect {
				j.Warm, j.Duration = 0, 500*time.Millisecond
			}
			s, err := run(t.Context(), j)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case s.Bytes+s.Ops == 0, s.Seconds == 0:
				t.Errorf("nothing was measured: %+v", s)
			case j.Kind == kindPingPong && s.P50 == 0:
				t.Errorf("no time was measured: %+v", s)
			case j.Bytes != s.Bytes && j.Bytes > 0:
				t.Errorf("moved %d of %d bytes", s.Bytes, j.Bytes)
			case j.Kind == kindTransfer && j.Via == viaTLS && s.Copied < j.Bytes:
				t.Errorf("the control shows %d bytes copied of %d", s.Copied, s.Bytes)
			case (j.Kind == kindIdle || j.Kind == kindHeld) && (s.Tunnels != conns || s.Lost != 0 || s.FDs < 2*conns):
				t.Errorf("%d tunnels, %d lost, %d descriptors", s.Tunnels, s.Lost, s.FDs)
			}
		})
	}
}

func TestLostTunnelsAreCounted(t *testing.T) {
	a := begin(t)
	o, err := newOpener(job{Service: serviceEcho, Via: viaPassthrough, Addr: a.pass})
	if err != nil {
		t.Fatal(err)
	}
	tunnels, err := o.openAll(10)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{0, 1, 2} {
		if lost, err := sayAll(t.Context(), tunnels, 0); err != nil || lost != want {
			t.Errorf("%d lost, want %d (%v)", lost, want, err)
		}
		if err := unix.Shutdown(int(tunnels[i].(socket)), unix.SHUT_RDWR); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range tunnels {
		s.close()
	}
}

func TestARouterThatDoesNotStartSaysWhy(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	st, err := newStage(dir, self)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.sink.stop)
	st.Cert = filepath.Join(dir, "absent.pem")
	if _, err := st.start(t.Context(), ours, false); err == nil || !strings.Contains(err.Error(), "absent.pem") {
		t.Errorf("%v", err)
	}
}
