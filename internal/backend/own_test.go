package backend

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// free is an address at which nobody listens.
func free(t *testing.T) string {
	t.Helper()
	address, release, err := netx.Refuse()
	if err == nil {
		err = release()
	}
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// serveOwn runs one until stop, and returns its admin port when it answers.
func serveOwn(t *testing.T, o Own) (p *OwnPort, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- o.Serve(ctx) }()
	stop = func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		served <- nil
	}
	t.Cleanup(stop)
	p = NewOwnPort(o.Admin, slog.New(slog.DiscardHandler))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) { // it is as another process
		info, err := p.Probe(ctx, o.Listen)
		if err == nil {
			if info.Kind != o.Kind || info.Name != o.Name || info.Driver != Embedded || info.Product != "tlsroute-bench "+o.Kind || !strings.HasPrefix(info.Note, "protocol server: ") {
				t.Errorf("it says of itself %+v", info)
			}
			return p, stop
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestOwnSaysElsewhereWhatItIs(t *testing.T) {
	_, clients, _ := tlsSpec(t)
	dir := t.TempDir()
	cert, err := certs.SelfSigned(certs.Leaf{CommonName: "own"})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := certs.WritePEM(dir, "own", cert)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, clients.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{HTTP, Kube} {
		o := Own{Kind: kind, Name: "web", Listen: free(t), Admin: free(t), Cert: chain, Key: key, ClientCA: ca}
		_, stop := serveOwn(t, o)
		stop()
		for _, address := range []string{o.Listen, o.Admin} {
			if c, err := net.Dial("tcp", address); err == nil {
				c.Close()
				t.Errorf("%s: %s still listens", kind, address)
			}
		}
	}
	if err := (Own{Kind: Kube, Cert: ca, Key: key}).Serve(t.Context()); err == nil {
		t.Error("an authority is taken for a certificate")
	}
	if err := (Own{Kind: HTTP, Listen: "127.0.0.1:0", Admin: "256.0.0.1:0"}).Serve(t.Context()); err == nil {
		t.Error("it serves without its admin port")
	}
}

// The log from elsewhere is the log: what a client was told is there, and what cannot be asked is no answer.
func TestAWitnessElsewhereTellsItsLog(t *testing.T) {
	o := Own{Kind: Witness, Name: "w", Listen: free(t), Admin: free(t)}
	p, stop := serveOwn(t, o)
	before := p.Accepted()
	if before < 1 {
		t.Errorf("%d accepted behind the probe", before)
	}
	conn, err := net.Dial("tcp", o.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	told, err := witness.Ask(conn, witness.Order{Nonce: "n/1 &é", Do: witness.Sink})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]witness.Record{told}, p.Find(told.Nonce)); diff != "" {
		t.Errorf("told and found (-told +found):\n%s", diff)
	}
	if n := p.Accepted(); n != before+1 {
		t.Errorf("%d accepted, and %d before one more", n, before)
	}
	if recs := p.Find("other"); len(recs) != 0 {
		t.Errorf("of a nonce that has not come: %+v", recs)
	}
	for nonce, want := range map[string]string{told.Nonce: "has come, its connection is not over", "other": "has not come"} {
		gone := errors.New("gone")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, gone)
		if _, err := p.Wait(ctx, nonce, true); !errors.Is(err, gone) || !strings.Contains(err.Error(), want) {
			t.Errorf("waiting for %s: %v", nonce, err)
		}
		cancel()
	}
	waited := make(chan error, 1)
	go func() {
		rec, err := p.Wait(t.Context(), told.Nonce, true)
		if err == nil && (!rec.Finished || rec.In != 5 || rec.End != "eof") {
			err = errors.New("its end is not told")
		}
		waited <- err
	}()
	if _, err := conn.Write([]byte("bytes")); err != nil {
		t.Fatal(err)
	}
	if err := netx.CloseWrite(conn); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	stop()
	if recs := p.Find(told.Nonce); recs != nil {
		t.Errorf("of a witness that is gone: %+v", recs)
	}
	if a, b := p.Accepted(), p.Accepted(); a >= 0 || b >= 0 || a == b {
		t.Errorf("a witness that is gone has accepted %d, then %d", a, b)
	}
}
