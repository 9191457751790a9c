package selftest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// tls2 are more switches of the naive router.
type tls2 struct {
	lastOffer   bool // the last name of the client's list is taken
	refusesECH  bool // what cannot be decrypted is refused
	echBackend  bool // an inner hello is taken from anybody
	nameFirst   bool // the name has to be the first extension
	oldVersions bool // TLS 1.0 and 1.1 are good enough
	tickets     bool // of one key for all names
	authOnce    bool // a client certificate is looked at when it comes, and a resumed session brings none
	ticketRoute bool // a resumed session goes where the one before it went
	keepsPolicy bool // a reload changes nothing
	http        hostBugs
	early       earlyBugs
	ech         *echKey // nil: none
}

// ticketKey is that of every naive router with tickets.
var ticketKey = [32]byte{1}

// own sets what the switches change in the TLS that is ended here. The string is the name of the session before, once one is resumed.
func (n *naive) own(cfg *tls.Config, h wire.Hello) *string {
	before := new(string)
	if n.oldVersions {
		cfg.MinVersion = tls.VersionTLS10
	}
	if !n.tickets {
		return before
	}
	cfg.SessionTicketsDisabled = false
	cfg.SetSessionTicketKeys([][32]byte{ticketKey})
	cfg.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = [][]byte{[]byte(h.SNI)}
		return cfg.EncryptTicket(state, session)
	}
	cfg.UnwrapSession = func(identity []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := cfg.DecryptTicket(identity, state)
		if session != nil && len(session.Extra) == 1 {
			*before = string(session.Extra[0])
		}
		return session, err
	}
	return before
}

// asksOnce demands a certificate in a place that a resumed session does not come to.
func (n *naive) asksOnce(cfg *tls.Config) {
	if !n.authOnce || cfg.ClientAuth != tls.RequireAndVerifyClientCert {
		return
	}
	cfg.ClientAuth = tls.RequestClientCert
	cfg.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
		if len(raw) == 0 {
			return errors.New("no certificate")
		}
		cert, err := x509.ParseCertificate(raw[0])
		if err == nil {
			_, err = cert.Verify(x509.VerifyOptions{Roots: cfg.ClientCAs, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		}
		return err
	}
}

// refuses gives the alert for what a switch does not like, or for what no router takes.
func (n *naive) refuses(h wire.Hello) uint8 {
	switch {
	case n.refusesECH && h.HasECH:
		return 51
	case h.InnerECH && !n.echBackend:
		return 47
	case n.nameFirst && h.Extensions[0] != wire.ExtServerName:
		return 50
	}
	return 0
}

func (n *naive) prefer(offer []string) []string {
	if n.lastOffer {
		offer = slices.Clone(offer)
		slices.Reverse(offer)
	}
	return offer
}

// afterwards is the route once the handshake is done; before is the name of the session that was resumed.
func (n *naive) afterwards(conn *tls.Conn, route conformance.FixtureRoute, before string) conformance.FixtureRoute {
	if n.ticketRoute && conn.ConnectionState().DidResume {
		return n.rank(before)[0]
	}
	return route
}
