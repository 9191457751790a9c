package checks

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"net"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-19", Slug: "ech-split", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "In split mode the inner name decides, and the backend gets the inner hello and all that follows as the client meant it",
		Why: "Split mode lets a router see which service is meant without ending its TLS. One that routes by the outer name sends everybody to " +
			"one place, and one that forgets its keys between two hellos breaks whenever a backend asks for another key share.",
		Clauses: clauses(rfc(9849, "7.1"), rfc(9849, "7.1.1")), Transports: everywhere, Features: []string{"passthrough", "ech-split"},
		Accept: pass("the handshake is that of the inner hello, with the inner name's backend, and the hash of its record is ours", conformance.Routed),
		Forbid: map[conformance.Outcome]string{
			conformance.Misrouted: "another witness answered", conformance.Corrupted: "the backend's hello is not the inner one",
			tornApart: "who answered did not see the inner hello", conformance.Timeout: "the hello, or what answers it, did not arrive",
		},
		Control: opens("pass"), Run: echSplit,
	})
}

// hidden is a connection whose hello is encrypted.
type hidden struct {
	stream net.Conn
	sealer *wire.ECHSealer
	outer  []byte
	inner  []byte
	key    *ecdh.PrivateKey
}

// hide opens a connection and sends an encrypted hello for sni, without a key share when bare is set.
func hide(ctx context.Context, t *conformance.T, config wire.ECHConfig, sni string, bare bool) (*hidden, error) {
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	make13 := wire.HelloTLS13
	if bare {
		make13 = wire.HelloWithoutShare
	}
	h := &hidden{}
	var err error
	if h.inner, h.key, err = make13(wire.HelloOptions{
		SNI: sni, ALPN: []string{"trb-pass"}, SessionID: id, Last: []wire.Extension{{Type: wire.ExtECH, Body: []byte{wire.ECHInner}}},
	}); err != nil {
		return nil, err
	}
	if h.outer, _, err = wire.HelloTLS13(wire.HelloOptions{SNI: config.PublicName, ALPN: []string{"trb-b"}, SessionID: id}); err != nil {
		return nil, err
	}
	if h.sealer, err = wire.NewECHSealer(config); err != nil {
		return nil, err
	}
	if h.stream, err = t.Stream(ctx); err != nil {
		return nil, err
	}
	return h, h.send(t, h.inner, 0x0301)
}

func (h *hidden) send(t *conformance.T, inner []byte, version uint16) error {
	sealed, err := h.sealer.Seal(h.outer, inner)
	if err != nil {
		return err
	}
	return bounded(t, h.stream, wire.Record(22, version, sealed))
}

func echSplit(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	if len(t.Target.Fixture.ECHConfigs) == 0 {
		return conformance.Observation{}, &conformance.NotRunError{Reason: "the fixture lacks the target's ECHConfigList"}
	}
	config, err := wire.ParseECHConfigs(t.Target.Fixture.ECHConfigs)
	if err != nil {
		return conformance.Observation{}, err
	}
	for _, bare := range []bool{false, true} {
		sni := t.Name("hidden.pass")
		h, err := hide(ctx, t, config, sni, bare)
		if err != nil {
			return conformance.Observation{}, err
		}
		s, err := h.finish(t, bare)
		if err != nil {
			o := broken(t, err)
			o.Detail = fmt.Sprintf("with a HelloRetryRequest %v: %s", bare, o.Detail)
			return o, nil
		}
		o, rec := t.Served(ctx, s, witnessOf(t, "pass"))
		if o.Outcome == conformance.Routed && (rec.TLS == nil || rec.TLS.SNI != sni || rec.TLS.HelloSHA256 != hashOf(h.inner)) {
			o = conformance.Observation{Outcome: conformance.Corrupted, Detail: fmt.Sprintf("the witness's TLS record: %+v", rec.TLS)}
		}
		if o.Outcome != conformance.Routed {
			o.Detail = fmt.Sprintf("with a HelloRetryRequest %v: %s", bare, o.Detail)
			return o, nil
		}
		_ = s.Close()
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: "under public name " + config.PublicName + ", with and without a HelloRetryRequest"}, nil
}

// finish completes the handshake of the inner hello, with a second one if the first had no key share.
func (h *hidden) finish(t *conformance.T, bare bool) (*wire.Session, error) {
	if !bare {
		return wire.Connect(h.stream, h.inner, h.key)
	}
	retry, err := wire.ReadRetry(h.stream)
	if err != nil {
		return nil, err
	}
	second, err := retry.Again(h.inner, h.key)
	if err != nil {
		return nil, err
	}
	if err := h.send(t, slices.Clone(second), 0x0303); err != nil {
		return nil, err
	}
	return retry.Connect(h.stream, h.inner, second, h.key)
}
