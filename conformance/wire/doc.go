// Package wire is raw bytes for checks: it builds and reads TLS records, ClientHellos, HTTP responses and upgrade tunnels
// exactly as a check wants them, right or wrong, and keeps a trace of everything that went over the connection.
//
// It shares no code with refimpl or albsim, so that a mistake in one of them cannot hide itself. Readers are bounded in
// bytes; time is bounded by the deadlines that the caller sets. Errors are typed: [ErrNeedMore] means that the input is a
// good beginning, [*MalformedError] that it never can become a ClientHello, [*AlertError] that the peer sent a TLS alert in
// the clear. Sources: RFC 9846 (TLS 1.3), RFC 6066 section 3 (server_name), RFC 7301 (ALPN), RFC 6455 (WebSocket), RFC 9112.
package wire
