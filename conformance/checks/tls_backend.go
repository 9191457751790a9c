package checks

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of TLS to the backend.
const (
	ownHello     conformance.Outcome = "reoriginated"
	sameHello    conformance.Outcome = "client-hello-reused"
	plainBackend conformance.Outcome = "backend-in-the-clear"
	otherBackend conformance.Outcome = "backend-unverified"
)

// secured is the fixture with two routes that go on in TLS to witness A: that of name a, where the router is told the name in the
// witness's certificate, and that of name b, where it is told another.
var secured = &conformance.Setup{Name: "backend-tls", Change: func(f conformance.Fixture, doc *door.Router) {
	pass := routeOf(doc, "pass")
	if pass == nil {
		return
	}
	for route, name := range map[string]string{"a": "pass", "b": "wrong"} {
		backend := pass.Backend
		backend.TLS, backend.CA, backend.ServerName = "on", f.WitnessCA, f.Name(name)
		doc.Routes = append(doc.Routes, door.Route{Name: "tls-" + route, SNI: []string{f.Name(route)}, ALPN: []string{backendALPN}, Mode: conformance.ModeTerminate, Backend: backend})
	}
}}

const backendALPN = "trb-tls"

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-27", Slug: "reoriginate", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "TLS to a backend begins with a hello of the router's own, and the backend's certificate is verified",
		Why: "Where a router ends TLS and begins it anew, it is the backend's client: nobody else can verify the backend. One that does not lets " +
			"whoever holds the address read everything, and one that passes the client's values on promises what it cannot keep.",
		Clauses: clauses(rfc(9846, "9.3")), Transports: everywhere, Features: []string{"terminate", "backend-tls"},
		Setup:  secured,
		Accept: pass("an own random and name at the good backend; nothing from a backend of the wrong name", ownHello),
		Forbid: map[conformance.Outcome]string{
			sameHello: "the client's hello, or its random, was used towards the backend", plainBackend: "the backend was not spoken to in TLS",
			otherBackend: "a backend with a certificate for another name was used", conformance.Timeout: "the client was left to wait",
		},
		Control: opens("a"), Run: reoriginate,
	})
}

func reoriginate(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	if t.Target.Fixture.WitnessCA == "" {
		return conformance.Observation{}, &conformance.NotRunError{Reason: "the fixture lacks a file to verify the witnesses by"}
	}
	cfg, err := t.Config("a", backendALPN)
	if err != nil {
		return conformance.Observation{}, err
	}
	cfg.InsecureSkipVerify = true // whoever answers, the witness's record tells what it is
	stream, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	sent := wire.NewSplitConn(stream, 0, func(raw []byte) [][]byte { return [][]byte{raw} })
	conn, err := t.TLS(ctx, sent, cfg)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "the good backend: " + err.Error()}, nil
	}
	o, rec := t.Served(ctx, conn, witnessOf(t, "a"))
	if o.Outcome != conformance.Routed {
		o.Detail = "the good backend: " + o.Detail
		return o, nil
	}
	own, _, err := wire.ParseHello(sent.Sent())
	switch {
	case err != nil:
		return conformance.Observation{}, fmt.Errorf("reading our own hello: %w", err)
	case rec.TLS == nil:
		return conformance.Observation{Outcome: plainBackend, Detail: "the witness saw no TLS"}, nil
	case rec.TLS.Random == hex.EncodeToString(own.Random), rec.TLS.HelloSHA256 == hashOf(own.Message):
		return conformance.Observation{Outcome: sameHello, Detail: "the witness saw the random " + rec.TLS.Random}, nil
	}
	bad, err := t.Open(ctx, "b", backendALPN)
	if err != nil {
		if out := t.Outcome(err); !isRefusal(out) {
			return conformance.Observation{Outcome: out, Detail: "the wrong backend: " + err.Error()}, nil
		}
		return conformance.Observation{Outcome: ownHello, Detail: "the wrong backend: " + err.Error()}, nil
	}
	o = ask(ctx, t, bad, "")
	switch {
	case o.Outcome == served:
		o.Outcome = otherBackend
	case isRefusal(o.Outcome), o.Outcome == conformance.Truncated:
		o = conformance.Observation{Outcome: ownHello, Detail: fmt.Sprintf("name %q and a random of its own at the backend; of the wrong one: %s", rec.TLS.SNI, o.Outcome)}
	}
	return o, nil
}
