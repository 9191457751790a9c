// Package witness is the protocol of the witness: the backend that says, as data, what it saw.
//
// A connection to a witness begins, after TLS where the route is passed through, with one line from the client:
//
//	WITNESS {"nonce":"…","do":"echo"}\n
//
// The witness answers with one line of JSON, a [Record] of what it has seen so far, and then does what the [Order] says.
// When the connection is over the final Record is in the witness's log, found by its nonce. A connection that does not
// begin with an order is recorded, read to its end and closed. Lines are at most [MaxLine] bytes.
//
// The package is shared by the witness itself (internal/backend) and by those who ask it (conformance, bench); it imports
// the standard library only.
package witness

import "time"

// MaxLine bounds an order and a record, in bytes, the newline included.
const MaxLine = 16 << 10

// The orders a witness follows.
const (
	// Echo sends back what comes; when the client half-closes, it half-closes after the last byte.
	Echo = "echo"
	// Sink reads to the end of the client's stream, then sends a second Record with count and hash, and closes.
	Sink = "sink"
	// Source sends Order.Bytes bytes of Pattern(nonce), half-closes, and reads to the end of the client's stream.
	Source = "source"
	// AfterEOF reads to the end of the client's stream, then sends Order.Bytes bytes of Pattern(nonce) and closes.
	AfterEOF = "after-eof"
	// HalfClose half-closes at once and then does as Sink without the second record: the log has the count.
	HalfClose = "half-close"
	// Reset ends the TCP connection with RST right after the record, or once Order.Bytes bytes have come: a RST throws away what a hop on
	// the way has not read yet, so that who wants the record behind one says with a byte that it is there.
	Reset = "reset"
	// Close ends the connection right after the record: with close_notify where the witness speaks TLS.
	Close = "close"
	// Truncate sends Order.Bytes bytes of Pattern(nonce) and ends TCP with a FIN; over TLS without close_notify.
	Truncate = "truncate"
	// Stall does not read for Order.ForMS, then does as Sink.
	Stall = "stall"
	// Bulk makes transfers, one after the other, until the client ends: a [BulkHead] from the client, the bytes that it asks for in each
	// direction at once, from a [Stream] each, and a [BulkTail] from the witness. The record counts them and has no hash.
	Bulk = "bulk"
)

// Order is what a client asks of the witness.
type Order struct {
	Nonce string `json:"nonce"`
	Do    string `json:"do"`
	Bytes int64  `json:"bytes,omitempty"`
	ForMS int64  `json:"for_ms,omitempty"`
}

// Record is what the witness saw of one connection.
type Record struct {
	// Witness is the name of the witness, which tells which route was taken.
	Witness string    `json:"witness"`
	Nonce   string    `json:"nonce,omitempty"`
	Started time.Time `json:"started"`
	Remote  string    `json:"remote"`
	// TLS is what came with the ClientHello when the witness itself ended TLS (a passthrough route), else nil.
	TLS *TLS `json:"tls,omitempty"`
	// Proxy is the PROXY protocol header that preceded everything, in its text form, if any.
	Proxy string `json:"proxy,omitempty"`
	// ProxyVersion is its version, 1 or 2, and ProxyTLVs are the TLVs of version 2 by their type in hex ("02"), each value in hex.
	ProxyVersion int               `json:"proxy_version,omitempty"`
	ProxyTLVs    map[string]string `json:"proxy_tlvs,omitempty"`
	// In and Out count payload bytes after the order line and the record line; SHA256 is the hash of those that came in. When a TLS
	// handshake failed, what came behind the ClientHello, as it was on the wire, is what counts as payload.
	In     int64  `json:"in"`
	Out    int64  `json:"out"`
	SHA256 string `json:"sha256,omitempty"`
	// End says how the client's side ended: "" while open, "eof", "reset", "truncated" (TLS without close_notify), "error: …".
	End      string `json:"end,omitempty"`
	Finished bool   `json:"finished"`
}

// TLS is what a witness that ended TLS saw of it.
type TLS struct {
	SNI        string   `json:"sni"`
	ALPN       []string `json:"alpn"`
	Negotiated string   `json:"negotiated"`
	Version    string   `json:"version"`
	// HelloSHA256 is the hash of the ClientHello handshake message (header included), HelloBytes its length.
	HelloSHA256 string `json:"client_hello_sha256"`
	HelloBytes  int    `json:"client_hello_bytes"`
	// RawSHA256 is the hash of the very bytes, record headers included, up to the end of the ClientHello.
	RawSHA256 string `json:"raw_sha256"`
	// Random is that of the ClientHello, in hex.
	Random string `json:"random,omitempty"`
	// ClientCert is the subject of the client's certificate, empty when none came.
	ClientCert string `json:"client_cert,omitempty"`
}
