// Package clienthello reads a TLS ClientHello off a connection without consuming it.
//
// Peek reassembles the message from any number of TCP segments and TLS records, bounded in bytes and by one deadline, and
// returns what a router decides by, together with a connection that replays every byte read, once and unmodified, and then
// goes on reading from the network:
//
//	info, conn, err := clienthello.Peek(conn, clienthello.Limits{})
//	var bad *clienthello.Error
//	if errors.As(err, &bad) && bad.Alert != 0 {
//		clienthello.WriteAlert(conn, bad.Alert)
//	}
//
// It is a parser of its own, strict where the RFC names an alert: a router that cannot read the name must not guess a route
// (CVE-2026-32305). Legal but unknown things, GREASE among them, are passed over. What a TLS stack has to judge (versions,
// suites, key shares) is left to it.
//
// Shapes: a record is type(1) version(2) length(2) payload; the payload of type 22 is a piece of handshake messages, each
// type(1) length(3) body. Sources: RFC 9846 sections 4.2.2, 5.1 and 6.2, RFC 6066 section 3, RFC 7301 section 3.1, RFC 9849.
package clienthello
