// Package probe says what a path does to TLS, from one handshake that offered ALPN: direct, terminated, intercepted, broken or
// unknown, always with a reason ([Classify]). It sends nothing itself; the handshake is the caller's, over a [Recorder] that
// notes what crypto/tls does not hand out.
//
// crypto/tls keeps the number of an alert to itself: over TCP a remote alert is a *net.OpError around an unexported type,
// tls.AlertError is made for QUIC alone, and errors.As finds nothing. The Recorder reads the number off the wire instead. Texts
// of errors are never looked at.
//
// Sources: shared/facts/tls-routing.md section 1.5 (the outcomes, and which of them the deployed test gets wrong) and section
// 6, points 1 and 4.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

// Class is what the probe concludes.
type Class string

// The classes.
const (
	Direct      Class = "direct"      // the routed ALPN was confirmed by the router itself
	Terminated  Class = "terminated"  // somebody in front of the router ends TLS and does not pass ALPN on
	Intercepted Class = "intercepted" // the certificate is neither the router's nor the load balancer's
	Broken      Class = "broken"      // the handshake got no answer, or none that is TLS
	Unknown     Class = "unknown"     // an answer that says nothing about ALPN
)

// Identity is whose certificate was presented.
type Identity string

// The identities.
const (
	Unseen   Identity = ""         // the handshake did not come to the certificate
	Router   Identity = "router"   // verified by the inner roots for the inner name
	Frontend Identity = "frontend" // verified by the outer roots for the outer name
	Stranger Identity = "stranger" // verified by neither
)

// AlertNoApplicationProtocol is RFC 7301's answer to a list without a common name.
const AlertNoApplicationProtocol = 120

// Seen is what was noted beside the handshake's own result.
type Seen struct {
	Identity Identity
	// Trusting says that the caller does not verify (insecure): a stranger then counts as whoever its ALPN makes it.
	Trusting bool
	// Asked says that the server wanted a client certificate.
	Asked bool
	// Alert is the peer's fatal alert, -1 for none.
	Alert int
	// ServerHello says that the peer answered with one.
	ServerHello bool
	// ServerALPN is the ALPN in a ServerHello of TLS 1.2; that of TLS 1.3 is encrypted.
	ServerALPN string
}

// Verdict is a class with the evidence in words.
type Verdict struct {
	Class      Class
	Reason     string
	Negotiated string
	// Cause is the handshake's error, nil when it completed.
	Cause error
}

// An IdentityError is a certificate that is neither the router's nor the load balancer's. A VerifyConnection returns it,
// crypto/tls passes it on.
type IdentityError struct {
	Subject      string // of the leaf
	Issuer       string
	Inner, Outer error // why each verification failed
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("certificate of %q issued by %q is neither the router's (%v) nor the load balancer's (%v)",
		e.Subject, e.Issuer, e.Inner, e.Outer)
}

// Unwrap gives both reasons.
func (e *IdentityError) Unwrap() []error { return []error{e.Inner, e.Outer} }

// Classify judges a handshake that offered want. state is what the connection knows at its end; it may be nil when err is set.
func Classify(state *tls.ConnectionState, err error, want []string, seen Seen) Verdict {
	var v Verdict
	if err == nil && state != nil {
		v = classifyAnswer(state, want, seen)
	} else {
		var byPeer bool
		v, byPeer = classifyFailure(err, want, seen)
		accepted := seen.Identity == Router || seen.Identity == Frontend || seen.Identity == Stranger && seen.Trusting
		if byPeer && accepted && state != nil {
			// The certificate comes behind the ALPN, so both are known: only the server's last word was another, as that of a server
			// which misses a client certificate under TLS 1.2.
			end := v.Reason
			v = classifyAnswer(state, want, seen)
			v.Reason += "; then " + end
		}
		v.Cause = err
	}
	if seen.Asked {
		v.Reason += " (the server asked for a client certificate)"
	}
	return v
}

func classifyAnswer(state *tls.ConnectionState, want []string, seen Seen) Verdict {
	v := Verdict{Negotiated: state.NegotiatedProtocol}
	name := state.NegotiatedProtocol
	confirmed := name != "" && slices.Contains(want, name)
	switch {
	case seen.Identity == Stranger && !seen.Trusting:
		v.Class, v.Reason = Intercepted, "the certificate is neither the router's nor the load balancer's"
	case len(want) == 0 && seen.Identity == Router:
		v.Class, v.Reason = Direct, "no ALPN was offered, the certificate is the router's"
	case len(want) == 0:
		v.Class, v.Reason = Terminated, "no ALPN was offered, the certificate is not the router's"
	case name == "":
		v.Class, v.Reason = Terminated, "the server answered without ALPN"
		if seen.Identity == Router {
			v.Reason += ", though with a certificate for the router's name"
		}
	case !confirmed:
		v.Class, v.Reason = Terminated, fmt.Sprintf("the server chose ALPN %q, which was not offered", name)
	case seen.Identity == Frontend:
		// A terminator that echoes whatever it is offered: the deployed test calls this direct.
		v.Class, v.Reason = Terminated, fmt.Sprintf("ALPN %q was echoed by the load balancer, not confirmed by the router", name)
	case seen.Identity == Router:
		v.Class, v.Reason = Direct, fmt.Sprintf("the router confirmed ALPN %q", name)
	default:
		v.Class, v.Reason = Direct, fmt.Sprintf("ALPN %q was confirmed, the certificate was not verified", name)
	}
	return v
}

// classifyFailure also tells whether it was the peer, or the network, that ended the handshake, and not a certificate or a signature
// that we refused.
func classifyFailure(err error, want []string, seen Seen) (v Verdict, byPeer bool) {
	var identity *IdentityError
	var header tls.RecordHeaderError
	alert := seen.Alert
	if alert < 0 {
		alert = remoteAlert(err)
	}
	switch {
	case errors.As(err, &identity):
		return Verdict{Class: Intercepted, Reason: identity.Error()}, false
	case alert == AlertNoApplicationProtocol:
		return Verdict{Class: Terminated, Reason: "alert 120 (no_application_protocol): the server knows none of the offered ALPN names"}, false
	case alert >= 0:
		return Verdict{Class: Unknown, Reason: fmt.Sprintf("the server answered with alert %d", alert)}, true
	case seen.ServerALPN != "" && !slices.Contains(want, seen.ServerALPN):
		return Verdict{Class: Terminated, Reason: fmt.Sprintf("the server chose ALPN %q, which was not offered", seen.ServerALPN)}, false
	case errors.As(err, &header) && string(header.RecordHeader[:]) == "HTTP/":
		return Verdict{Class: Broken, Reason: "the answer is not TLS but plaintext HTTP: an address with http:// asks for an upgrade there"}, true
	case errors.As(err, &header):
		return Verdict{Class: Broken, Reason: fmt.Sprintf("the answer is not TLS: it begins with %q", header.RecordHeader[:])}, true
	case isTimeout(err):
		return Verdict{Class: Broken, Reason: "no answer in time" + after(seen)}, true
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Verdict{Class: Broken, Reason: "connection reset" + after(seen)}, true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Verdict{Class: Broken, Reason: "connection closed" + after(seen)}, true
	case isNet(err):
		return Verdict{Class: Broken, Reason: "connection failed" + after(seen)}, true
	case seen.ServerHello && seen.Identity == Unseen && err != nil:
		// What is left between the ServerHello and the certificate is the server's extensions: crypto/tls refuses an ALPN it
		// did not offer there, with an error that has no type. TLS 1.3 encrypts them.
		const reason = "the server's parameters were refused before its certificate, as when it chooses an ALPN that was not offered"
		return Verdict{Class: Terminated, Reason: reason}, false
	}
	return Verdict{Class: Unknown, Reason: "the handshake failed for a reason that says nothing about ALPN"}, false
}

func after(seen Seen) string {
	if seen.ServerHello {
		return " after the ServerHello"
	}
	return " after the ClientHello"
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

func isNet(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op != "remote error" && op.Op != "local error"
}
