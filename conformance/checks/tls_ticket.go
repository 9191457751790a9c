package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

// Outcomes of tickets.
const (
	crossed conformance.Outcome = "resumed-under-another-name" // in TLS 1.2, whose sessions belong to a name
	stayed  conformance.Outcome = "resumed-on-the-right-route" // in TLS 1.3, whose tickets do not
	stale   conformance.Outcome = "route-of-the-ticket"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-23", Slug: "ticket-cross-sni", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A ticket from one name neither opens another one's route nor stands in for its client certificate",
		Why: "One router has many names and often one ticket key. Where a ticket that anybody can get at an open name is taken at one that " +
			"demands a certificate, there is no client authentication (CVE-2025-23419 in nginx, GHSA-gv8r-9rw9-9697).",
		Clauses: clauses(rfc(6066, "3"), rfc(9846, "4.3.11"), cve("CVE-2025-23419")), Transports: everywhere, Features: []string{"terminate"},
		Accept: slices.Concat(pass("a full handshake with the right route, or a refusal", conformance.Routed),
			tolerate("RFC 9846 section 4.3.11: in TLS 1.3 a ticket need not belong to a name", stayed)),
		Forbid: map[conformance.Outcome]string{
			served: "the ticket stood in for a client certificate", crossed: "RFC 6066 section 3: a session was resumed under another name",
			conformance.Misrouted: "the ticket decided the route", conformance.Timeout: "held in place of routed or refused",
		},
		Control: both(opens("a"), opens("b")), Run: ticketElsewhere,
	})
	conformance.Register(conformance.Check{
		ID: "TLS-24", Slug: "resumed-sni", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A resumed session is routed by the name in its own ClientHello, not by that of the session before",
		Why: "The name is sent anew with each resumption. A router that keeps the old one with the session, in whatever place asks for it, " +
			"sends the client of one service to another as soon as a client may use a ticket under two names.",
		Clauses: clauses(rfc(9846, "4.7.1")), Transports: everywhere, Features: []string{"terminate"},
		Accept:  pass(byWitness, conformance.Routed),
		Forbid:  map[conformance.Outcome]string{stale: "the name of the session before decided", conformance.Timeout: "held in place of routed"},
		Control: both(opens("a"), opens("b")), Run: resumedName,
	})
}

// wallet is a session cache that hands out the one ticket it holds, whatever the name.
type wallet struct {
	mu      sync.Mutex // guards session
	session *tls.ClientSessionState
}

func (w *wallet) Get(string) (*tls.ClientSessionState, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session, w.session != nil
}

func (w *wallet) Put(_ string, s *tls.ClientSessionState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s != nil {
		w.session = s
	}
}

// spare is a cache that shows the ticket and takes in none.
type spare struct{ *wallet }

func (spare) Put(string, *tls.ClientSessionState) {}

// ticket makes a session of that version at a route and returns what was given. A ticket of TLS 1.3 comes behind the handshake: the
// answer of the witness is read so that it is met. False means that none was given.
func ticket(ctx context.Context, t *conformance.T, route string, version uint16, alpn string) (*wallet, bool, error) {
	cfg, err := t.Config(route, alpn)
	if err != nil {
		return nil, false, err
	}
	w := &wallet{}
	cfg.ClientSessionCache, cfg.MinVersion, cfg.MaxVersion = w, version, version
	o := reach(ctx, t, cfg, witnessOf(t, route))
	if o.Outcome == conformance.Alert(70) {
		return w, false, nil // the version is off
	}
	if o.Outcome != conformance.Routed {
		return nil, false, fmt.Errorf("a first session at route %s, %s: %s: %s", route, tls.VersionName(version), o.Outcome, o.Detail)
	}
	_, ok := w.Get("")
	return w, ok, nil
}

// use opens a route without a client certificate, with a ticket from elsewhere.
func (w *wallet) use(ctx context.Context, t *conformance.T, route string, version uint16, alpn string) (o conformance.Observation, resumed bool, err error) {
	cfg, err := t.Config(route, alpn)
	if err != nil {
		return o, false, err
	}
	cfg.GetClientCertificate = nil
	cfg.InsecureSkipVerify = true // or crypto/tls would not offer a ticket of another name
	cfg.ClientSessionCache, cfg.MinVersion, cfg.MaxVersion = spare{w}, version, version
	stream, err := t.Stream(ctx)
	if err != nil {
		return o, false, err
	}
	defer stream.Close()
	conn, err := t.TLS(ctx, stream, cfg)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, false, nil
	}
	return ask(ctx, t, conn, witnessOf(t, route)), conn.ConnectionState().DidResume, nil
}

func ticketElsewhere(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	type move struct{ from, fromALPN, to, toALPN string }
	var moves []move
	if has(t, "mtls") {
		moves = []move{{"a", "trb-a", "mtls", "trb-mtls"}, {"mtls", "trb-mtls", "mtls2", "trb-mtls"}, {"mtls2", "trb-mtls", "mtls", "trb-mtls"}}
	}
	moves = append(moves, move{"a", "trb-both", "b", "trb-both"}, move{"b", "trb-b", "a", "trb-a"}, move{"deep", "trb-wild", "wild", "trb-wild"})
	var seen []conformance.Observation
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, m := range moves {
			w, ok, err := ticket(ctx, t, m.from, version, m.fromALPN)
			if err != nil {
				return conformance.Observation{}, err
			}
			if !ok {
				t.Logf("no ticket at %s, %s", m.from, tls.VersionName(version))
				continue
			}
			o, resumed, err := w.use(ctx, t, m.to, version, m.toALPN)
			if err != nil {
				return conformance.Observation{}, err
			}
			o.Outcome = moved(o.Outcome, resumed, version, strings.HasPrefix(m.to, "mtls"))
			o.Detail = fmt.Sprintf("ticket of %s at %s, %s, resumed %v: %s", m.from, m.to, tls.VersionName(version), resumed, o.Detail)
			seen = append(seen, o)
		}
	}
	if len(seen) == 0 {
		return conformance.Observation{}, &conformance.NotRunError{Reason: "the target gives no tickets"}
	}
	o := worst(t, seen)
	if o.Outcome == conformance.Routed {
		o.Detail = fmt.Sprintf("%d tickets taken elsewhere, none of them resumed", len(seen))
	}
	return o, nil
}

// moved is what came of a ticket at another route. Where a certificate is demanded, none was shown: a refusal is what is right.
func moved(o conformance.Outcome, resumed bool, version uint16, demanding bool) conformance.Outcome {
	switch {
	case isRefusal(o):
		return conformance.Routed // one way or the other, nothing was opened
	case demanding && (o == conformance.Routed || o == conformance.Misrouted):
		return served
	case o == conformance.Routed && resumed && version == tls.VersionTLS12:
		return crossed
	case o == conformance.Routed && resumed:
		return stayed
	}
	return o
}

func resumedName(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	tried, resumptions := 0, 0
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, m := range []struct{ from, to, alpn string }{
			{"a", "a", "trb-both"}, {"a", "b", "trb-both"}, {"b", "a", "trb-both"}, {"deep", "wild", "trb-wild"}, {"exact", "wild", "trb-wild"},
		} {
			w, ok, err := ticket(ctx, t, m.from, version, m.alpn)
			if err != nil {
				return conformance.Observation{}, err
			}
			if !ok {
				continue
			}
			tried++
			o, resumed, err := w.use(ctx, t, m.to, version, m.alpn)
			if err != nil {
				return conformance.Observation{}, err
			}
			if resumed {
				resumptions++
			}
			refusedElsewhere := m.from != m.to && isRefusal(o.Outcome) // TLS-23 says what else may come of it
			if o.Outcome == conformance.Misrouted && m.from != m.to {
				o.Outcome = stale
			}
			if o.Outcome != conformance.Routed && !refusedElsewhere {
				o.Detail = fmt.Sprintf("ticket of %s at %s, %s, resumed %v: %s", m.from, m.to, tls.VersionName(version), resumed, o.Detail)
				return o, nil
			}
		}
	}
	if tried == 0 {
		return conformance.Observation{}, &conformance.NotRunError{Reason: "the target gives no tickets"}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: fmt.Sprintf("%d tickets shown, %d sessions resumed, each at the name that it asked for", tried, resumptions)}, nil
}
