package albsim

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// field is one header field, its name as it came. raw, when set, is a line that is none (a folded one) and passed as it is.
type field struct {
	name, value string
	raw         string
}

// is compares without case, in ASCII: strings.EqualFold takes a long s for an s, and so would a Tranſfer-Encoding be one.
func (f field) is(name string) bool {
	return len(f.name) == len(name) && strings.EqualFold(f.name, name)
}

// request is one request in front, whichever protocol it came in.
type request struct {
	proto   string // HTTP/1.0, HTTP/1.1 or HTTP/2.0
	method  string
	target  string  // as it came
	path    string  // without the query
	query   string  // without the question mark
	host    string  // of an absolute target, or of the Host field
	toHost  string  // the Host field for the target, where a transform has made one
	user    []field // what an authentication tells the target
	fields  []field
	class   classification
	length  int64 // of the body; 0 none, -1 chunked
	body    io.Reader
	trailer http.Header // of h2: filled in at the end of the body, with what was announced
	upgrade []string    // tokens of Upgrade, in order
	expect  bool        // Expect: 100-continue
	close   bool        // the client wants the connection closed behind the response

	client   netip.AddrPort
	address  string // the client's, as clientAddress has it, once it was asked for
	port     int    // the listener's, as advertised
	secure   bool
	tls      *tls.ConnectionState
	mutual   string // the listener's mode
	set      *listenerSettings
	received time.Time
	headSize int64
}

// usualFields is more than most heads have.
const usualFields = 64

// roomOf is the memory of fields that are done with, for the next ones: none if it is large, or one huge head would cost its
// memory for as long as the connection stands.
func roomOf(fields []field) []field {
	if cap(fields) > usualFields {
		return nil
	}
	clear(fields[:cap(fields)])
	return fields[:0]
}

// clientAddress is the client's as header fields have it, without its port.
func (r *request) clientAddress() string {
	if r.address == "" {
		r.address = r.client.Addr().Unmap().WithZone("").String()
	}
	return r.address
}

// grpc tells whether it is gRPC's, by the media type; gRPC-Web is none.
func (r *request) grpc() bool {
	kind, _ := r.get("Content-Type")
	rest, ok := strings.CutPrefix(strings.ToLower(kind), "application/grpc")
	return ok && r.proto == "HTTP/2.0" && (rest == "" || strings.ContainsRune("+; ", rune(rest[0])))
}

func (r *request) get(name string) (string, bool) { return get(r.fields, name) }

func get(fields []field, name string) (string, bool) {
	for _, f := range fields {
		if f.is(name) {
			return f.value, true
		}
	}
	return "", false
}

// list joins every field of that name and splits it at its commas.
func list(fields []field, name string) []string {
	var out []string
	for _, f := range fields {
		if f.is(name) {
			for part := range strings.SplitSeq(f.value, ",") {
				if part = trim(part); part != "" {
					out = append(out, part)
				}
			}
		}
	}
	return out
}

func hasToken(tokens []string, token string) bool {
	for _, t := range tokens {
		if strings.EqualFold(t, token) {
			return true
		}
	}
	return false
}

// named is a field that the balancer adds under the name that the listener has for it.
func (r *request) named(name string) string {
	if r.set != nil && r.set.names[name] != "" {
		return r.set.names[name]
	}
	return name
}

// peer is the client's certificate chain on the front connection, leaf first.
func (r *request) peer() []*x509.Certificate {
	if r.tls == nil {
		return nil
	}
	return r.tls.PeerCertificates
}

// hostOnly is a host without its port; an IPv6 literal keeps its brackets.
func hostOnly(host string) string {
	if strings.HasPrefix(host, "[") {
		if i := strings.IndexByte(host, ']'); i >= 0 {
			return host[:i+1]
		}
		return host
	}
	host, _, _ = strings.Cut(host, ":")
	return host
}
