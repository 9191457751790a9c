package albsim

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net/netip"
	"strconv"
	"time"
)

// handshakeCode is the connection log's word for a failed handshake.
func handshakeCode(err error) string {
	if v, ok := errors.AsType[*verifyFailure](err); ok {
		return "Failed:" + v.code
	}
	return "Failed:UnmappedConnectionError"
}

// connectionLog writes the line of one connection: alb.md section 10. state is nil on an HTTP listener.
func (s *Server) connectionLog(c *connState, state *tls.ConnectionState, took time.Duration, verdict string) {
	if s.plan.logs.Connection == "" {
		return
	}
	ip, port := "-", "-"
	if peer, err := netip.ParseAddrPort(c.conn.RemoteAddr().String()); err == nil {
		ip, port = peer.Addr().String(), strconv.Itoa(int(peer.Port()))
	}
	version, suite, latency, subject, valid, serial, group := "-", "-", "-", "-", "-", "-", "-"
	if state != nil && state.Version != 0 {
		version, latency = versionName(state.Version), secs(took)
		if state.CipherSuite != 0 {
			suite = suiteName(state.CipherSuite)
		}
		if state.CurveID != 0 {
			group = state.CurveID.String()
		}
		if len(state.PeerCertificates) > 0 {
			leaf := state.PeerCertificates[0]
			subject, valid, serial = quote(leaf.Subject.String()), validity(leaf), leaf.SerialNumber.Text(16)
		}
	}
	err := s.connLog.line(time.Now().UTC().Format(logTime), ip, port, strconv.Itoa(c.l.port), version, suite, latency,
		subject, valid, serial, verdict, c.traceID, group)
	if err != nil {
		s.log.Error("connection log not written", "err", err)
	}
}

// newConnTrace is the word by which the lines of both logs find each other.
func newConnTrace() string {
	var b [16]byte
	rand.Read(b[:])
	return "TID_" + hex.EncodeToString(b[:])
}
