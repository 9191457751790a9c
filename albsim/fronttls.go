package albsim

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// frontTLS builds an HTTPS or TLS listener's TLS configuration.
func (s *Server) frontTLS(l *listenerPlan) *tls.Config {
	cfg := s.baseTLS(l)
	if l.network != nil {
		s.alpn(cfg, l.network.alpn)
		return cfg
	}
	clientAuth(cfg, l)
	offer := slices.Clone(s.plan.profile.ALPNOffer)
	if !s.plan.set.http2 {
		offer = slices.DeleteFunc(offer, func(p string) bool { return p == "h2" })
	}
	s.alpn(cfg, offer)
	return cfg
}

// baseTLS is what every listener with TLS has: certificates, policy and ticket key.
func (s *Server) baseTLS(l *listenerPlan) *tls.Config {
	cfg := &tls.Config{
		KeyLogWriter: s.opt.FrontKeyLog,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			chosen := chooseCertificate(l.certs, hello)
			if raw, ok := hello.Conn.(*rawConn); ok {
				raw.chosen = chosen
			}
			return chosen, nil
		},
	}
	l.policy.apply(cfg)
	cfg.SetSessionTicketKeys([][32]byte{s.ticketKey}) // one key for all that a listener may answer with
	return cfg
}

// serveTLS completes the handshake and hands over to the protocol agreed on.
func (s *Server) serveTLS(ctx context.Context, c *connState, raw *rawConn) {
	conn := tls.Server(raw, c.l.tls)
	handshake, cancel := context.WithTimeout(ctx, s.scaled(s.plan.set.idle))
	err := conn.HandshakeContext(handshake)
	cancel()
	state := conn.ConnectionState()
	s.frontHello(raw, &state, err)
	raw.hello = nil
	c.cert = chosenARN(raw.chosen, state.DidResume)
	if err == nil {
		s.connectionLog(c, &state, time.Since(c.established), "Success")
	} else {
		s.count.clientTLSErrors.Add(1)
		s.connectionLog(c, &state, time.Since(c.established), handshakeCode(err))
		s.log.Debug("front handshake failed", "client", raw.RemoteAddr(), "err", err)
		var notTLS tls.RecordHeaderError
		if errors.As(err, &notTLS) && notTLS.Conn != nil && looksLikeHTTP(notTLS.RecordHeader) && s.plan.profile.PlainOnTLS == "400" {
			s.refusePlain(c, raw)
		}
		return
	}
	above := raw.overTLS(conn)
	if state.NegotiatedProtocol == "h2" {
		s.serveH2(ctx, c, above, &state)
		return
	}
	s.serveH1(ctx, c, above, &state)
}

// chosenARN is the access log's word for the certificate of a connection.
func chosenARN(c *tls.Certificate, resumed bool) string {
	switch {
	case resumed:
		return "session-reused"
	case c == nil:
		return ""
	}
	sum := sha256.Sum256(c.Certificate[0])
	return fmt.Sprintf(certARN, sum[:8])
}

func (s *Server) frontHello(raw *rawConn, state *tls.ConnectionState, err error) {
	if s.opt.OnFrontHello == nil || raw.hello == nil {
		return
	}
	s.opt.OnFrontHello(HelloEvent{
		Time: time.Now(), SNI: raw.hello.ServerName, ALPN: raw.hello.SupportedProtos,
		Versions: raw.hello.SupportedVersions, ClientCert: len(state.PeerCertificates) > 0,
		Remote: raw.RemoteAddr().String(), Local: raw.LocalAddr().String(), Negotiated: state.NegotiatedProtocol, Err: err,
	})
}

func looksLikeHTTP(header [5]byte) bool {
	for _, c := range header[:3] { // crypto/tls has consumed five bytes; every method has three
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

// refusePlain answers plaintext HTTP on an HTTPS listener.
func (s *Server) refusePlain(c *connState, raw *rawConn) {
	f := newH1(s, c, raw, nil)
	f.refuse(&request{received: time.Now(), class: classification{severe, "BadMethod"}}, 400)
}

// chooseCertificate is the default without SNI and for a name that none has; never an alert (ALB-TLS-08, -09). Of several
// that match: ECDSA before RSA, then the longer key, then the one valid longest.
func chooseCertificate(certs []tls.Certificate, hello *tls.ClientHelloInfo) *tls.Certificate {
	best := -1
	for i := range certs {
		c := &certs[i]
		if hello.ServerName == "" || c.Leaf.VerifyHostname(hello.ServerName) != nil || hello.SupportsCertificate(c) != nil {
			continue
		}
		if best < 0 || smarter(c, &certs[best]) {
			best = i
		}
	}
	return &certs[max(best, 0)]
}

// named tells whether a certificate, the default included, covers the name.
func named(certs []tls.Certificate, name string) bool {
	return slices.ContainsFunc(certs, func(c tls.Certificate) bool { return c.Leaf.VerifyHostname(name) == nil })
}

func smarter(a, b *tls.Certificate) bool {
	algA, bitsA := keyRank(a.Leaf)
	algB, bitsB := keyRank(b.Leaf)
	switch {
	case algA != algB:
		return algA > algB
	case bitsA != bitsB:
		return bitsA > bitsB
	}
	return a.Leaf.NotAfter.After(b.Leaf.NotAfter)
}

func keyRank(leaf *x509.Certificate) (algorithm, bits int) {
	switch k := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return 2, k.Params().BitSize
	case *rsa.PublicKey:
		return 1, k.N.BitLen()
	}
	return 0, 0
}
