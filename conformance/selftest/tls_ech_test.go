package selftest

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// echKey is that of the naive router in split mode, for the public name b.
type echKey struct {
	private hpke.PrivateKey
	config  wire.ECHConfig

	outerName bool // the outer hello decides
	forgets   bool // a second hello is passed on as it came
}

// splitting is the naive router as a client-facing server.
func splitting(bug echKey) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		key := bug
		key.private = must(hpke.DHKEM(ecdh.X25519()).GenerateKey())(t)
		n := newLab(t)
		n.fixture.ECHConfigs = wire.NewECHConfigs(7, key.private.PublicKey().Bytes(), n.fixture.Name("b"))
		key.config = must(wire.ParseECHConfigs(n.fixture.ECHConfigs))(t)
		router := n.naive(t, bugs{tls2: tls2{ech: &key}})
		target := router.target(router.ln.Addr().String(), false)
		target.Features = append(target.Features, "ech-split")
		return target
	}
}

// split serves a client whose hello is encrypted to this router; false means that it is not.
func (n *naive) split(c net.Conn, raw []byte, h wire.Hello) bool {
	if n.ech == nil || !h.HasECH || h.InnerECH || n.ech.outerName {
		return false
	}
	outer := echOuter(h.Message)
	context, err := hpke.NewRecipient(outer.enc, n.ech.private, hpke.HKDFSHA256(), hpke.AES128GCM(), n.ech.config.Info())
	if err != nil {
		return false
	}
	inner, err := outer.open(context)
	if err != nil {
		return false // GREASE, or somebody else's key
	}
	hello, err := wire.ParseMessage(inner)
	if err != nil {
		n.alert(c, 47)
		return true
	}
	route, _, code := n.decide(wire.Hello{SNI: hello.SNI, ALPN: hello.ALPN, Message: inner})
	if code != 0 || route.Mode != conformance.ModePassthrough {
		n.alert(c, max(code, 47))
		return true
	}
	b, err := net.Dial("tcp", n.address(route))
	if err != nil {
		return true
	}
	n.keep(b)
	defer n.drop(b)
	if _, err := b.Write(wire.Record(22, 0x0301, inner)); err != nil {
		return true
	}
	var wg sync.WaitGroup
	wg.Go(func() { copyWith(nil, c, b) })
	n.forward(wire.WithPrefix(c, raw[len(h.Raw):]), b, context)
	_ = netx.CloseWrite(b)
	wg.Wait()
	return true
}

// forward passes a client's records on; a second hello is opened with the keys of the first.
func (n *naive) forward(c, b net.Conn, context *hpke.Recipient) {
	for {
		rec, err := wire.ReadRecord(c)
		if err != nil {
			return
		}
		if rec.Type == 22 && bytes.HasPrefix(rec.Fragment, []byte{1}) && !n.ech.forgets {
			if rec.Fragment, err = echOuter(rec.Fragment).open(context); err != nil {
				return
			}
		}
		if _, err := b.Write(wire.Record(rec.Type, rec.Version, rec.Fragment)); err != nil {
			return
		}
	}
}

// sealed is an encrypted hello, taken apart: RFC 9849 section 5.
type sealed struct{ aad, enc, payload, id []byte }

func echOuter(message []byte) sealed {
	s := sealed{id: message[39 : 39+int(message[38])]}
	aad, err := wire.Edit(message, func(list []wire.Extension) []wire.Extension {
		for i, e := range list {
			if e.Type != wire.ExtECH || len(e.Body) < 8 {
				continue
			}
			size := int(e.Body[6])<<8 | int(e.Body[7])
			body := slices.Clone(e.Body)
			s.enc, s.payload = e.Body[8:8+size], e.Body[8+size+2:]
			clear(body[8+size+2:])
			list[i].Body = body
		}
		return list
	})
	if err == nil {
		s.aad = aad[4:]
	}
	return s
}

// open returns the inner hello as the client knows it.
func (s sealed) open(context *hpke.Recipient) ([]byte, error) {
	encoded, err := context.Open(s.aad, s.payload)
	if err != nil {
		return nil, err
	}
	if len(encoded) < 43 {
		return nil, errors.New("the inner hello is cut short")
	}
	at := 35 // behind the session id, which is left out
	at += 2 + (int(encoded[at])<<8 | int(encoded[at+1]))
	at += 1 + int(encoded[at])
	at += 2 + (int(encoded[at])<<8 | int(encoded[at+1])) // what follows is padding
	return wire.Handshake(1, slices.Concat(encoded[:34], wire.Vec(1, s.id), encoded[35:at])), nil
}

func init() {
	right = append(right, conforming{
		name: "naive router in split mode", role: conformance.Router, only: []string{"TLS-17", "TLS-18", "TLS-19"}, target: splitting(echKey{}),
	})
	addMutant("TLS-19", "routes by the outer name", splitting(echKey{outerName: true}))
	addMutant("TLS-19", "passes a second hello on as it came", splitting(echKey{forgets: true}))
}
