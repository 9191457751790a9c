package conformance

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// TestChecksThatWaitNeedADeclaredTimeout: a path that does not say when it is cut is not judged by when it is cut.
func TestChecksThatWaitNeedADeclaredTimeout(t *testing.T) {
	target := Target{Role: Router, Paths: []Path{{Name: "never"}, {Name: "soon", IdleTimeout: time.Second}}}
	waits := Check{Role: Router, Tags: []string{NeedsIdle}}
	if got := Applicable(waits, target); len(got) != 1 || got[0].Name != "soon" {
		t.Errorf("a check that waits is put to %+v", got)
	}
	if got := Applicable(Check{Role: Router}, target); len(got) != 2 {
		t.Errorf("a check that does not wait is put to %+v", got)
	}
}

// TestInfoNeverFails: a check that records may name what should never be seen, and says so, but turns no run red.
func TestInfoNeverFails(t *testing.T) {
	c := Check{Level: Info, Accept: []Accepted{{Routed, result.CheckPass, ""}}, Forbid: map[Outcome]string{Misrouted: "because"}}
	for outcome, want := range map[Outcome]result.CheckVerdict{
		Routed: result.CheckPass, FIN: result.CheckTolerated, Misrouted: result.CheckTolerated,
	} {
		got, seen, detail := verdict(c, sighting{observation: Observation{Outcome: outcome}})
		if got != want || seen != string(outcome) || outcome == Misrouted && !strings.Contains(detail, "because") {
			t.Errorf("%s at level INFO is %s (%s: %s), want %s", outcome, got, seen, detail, want)
		}
	}
}

// TestPlayedServerSeesTheHelloAndIsClosed: what a check opens to play the server is gone when the check is over.
func TestPlayedServerSeesTheHelloAndIsClosed(t *testing.T) {
	e := &engine{logger: discard}
	tt := e.newT(Check{ID: "CLI-01"}, &Path{Name: "dial"})
	ln, err := tt.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		raw, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			failed <- err
			return
		}
		defer raw.Close()
		err = tls.Client(raw, &tls.Config{ServerName: "name.example.test", NextProtos: []string{"p"}, MinVersion: tls.VersionTLS13}).Handshake()
		_, _ = io.Copy(io.Discard, raw) // until the check is over
		failed <- err
	}()
	raw, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := tt.Adopt(t.Context(), raw, "server")
	if err != nil {
		t.Fatal(err)
	}
	// Without a certificate the handshake cannot end well; the hello has been seen all the same.
	_, hello, err := tt.ServeTLS(t.Context(), c, &tls.Config{})
	if err == nil || hello.SNI != "name.example.test" || len(hello.ALPN) != 1 || hello.ALPN[0] != "p" {
		t.Errorf("hello %q %q, %v", hello.SNI, hello.ALPN, err)
	}
	tt.closeAll()
	if err := <-failed; err == nil {
		t.Error("the client finished a handshake with a server without a certificate")
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("the listener is still open")
	}
	if _, err := tt.Listen(context.Background()); err == nil {
		t.Error("a listener was opened after the end of the check")
	}
}
