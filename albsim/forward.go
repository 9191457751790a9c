package albsim

import (
	"bytes"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// rewrite turns a request into the fields that the target gets. In front of an ALB's target they stand in the order that was
// observed (alb.md 1.2): what the balancer adds, what TLS adds, Upgrade, Connection, and the rest as it came. For a custom
// upgrade token only Connection itself goes; what it nominates stays (ALB-UPG-02, -05). They are written to room where it is large
// enough.
func (s *Server) rewrite(r *request, room []field) []field {
	p, set := &s.plan.profile, &s.plan.set
	upgrade, connection := s.upgradeFields(r)
	out := slices.Grow(room[:0], len(r.fields)+8)
	if !slices.Contains(p.AddedFields, "Host") {
		out = s.appendHost(out, r)
	}
	for _, name := range p.AddedFields {
		if name == "Host" {
			out = s.appendHost(out, r)
		} else if value, ok := s.added(name, r); ok {
			out = append(out, field{name: name, value: value})
		}
	}
	var said []field // of TLS and the client's certificate
	if r.tls != nil {
		said = p.beside(r, append(tlsFields(r, set), s.mtlsFields(r)...))
		out = append(out, said...)
	}
	out = append(out, r.user...)
	out = append(out, upgrade...)
	out = append(out, connection...)
	kept := false // the field before
	for _, f := range r.fields {
		if f.raw == "" {
			kept = passes(f.name, r, p, set) && !p.takesPlaceOf(f, said)
		}
		if kept && (f.raw == "" || !set.dropInvalid) { // a folded line shares the fate of its field, or it would lengthen another
			out = append(out, f)
		}
	}
	if p.FieldNames != "keep" {
		for i := range out {
			out[i].name = spelled(out[i].name, p.FieldNames)
		}
	}
	return out
}

// spelled is a field's name as the knob FieldNames has it. A folded line has no name and stays.
func spelled(name, how string) string {
	if how == "canonical" {
		return textproto.CanonicalMIMEHeaderKey(name)
	}
	return strings.ToLower(name)
}

// passes tells whether a field goes on as it came.
func passes(name string, r *request, p *Profile, set *settings) bool {
	var room [64]byte
	switch lower := appendLower(room[:0], name); string(lower) {
	case "host", "connection", "upgrade":
		return false
	case "content-length", "transfer-encoding":
		return true
	case "expect":
		if r.expect {
			return false
		}
	case "x-amzn-tls-version", "x-amzn-tls-cipher-suite":
		if p.ForgedMTLSHeaders == "strip" {
			return false
		}
	default:
		forged := bytes.HasPrefix(lower, []byte("x-amzn-mtls-")) || r.set != nil && r.set.renamed(name)
		if forged && p.ForgedMTLSHeaders == "strip" {
			return false
		}
	}
	switch {
	case hasToken(p.AddedFields, name), hasToken(p.DropFields, name), len(p.KeepOnlyFields) > 0 && !hasToken(p.KeepOnlyFields, name):
		return false
	}
	return !set.dropInvalid || awsName(name)
}

// appendLower is strings.ToLower without memory of its own for a short name.
func appendLower(b []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 0x80:
			return append(b[:0], strings.ToLower(name)...)
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// appendHost follows the table of AWS's preserve_host_header: unless preserved, the name is lower-cased, the host of an
// absolute target wins, a default listener's port is dropped and another one's appended.
func (s *Server) appendHost(out []field, r *request) []field {
	if r.toHost != "" {
		return append(out, field{name: "Host", value: r.toHost})
	}
	if s.plan.set.preserveHost || s.plan.profile.HostField == "keep" {
		before := len(out)
		for _, f := range r.fields {
			if f.is("Host") {
				out = append(out, field{name: "Host", value: f.value})
			}
		}
		if len(out) > before {
			return out
		}
	}
	return append(out, field{name: "Host", value: publicHost(r)})
}

// publicHost is a request's host, with the listener's port unless it is the protocol's own.
func publicHost(r *request) string {
	var room [64]byte
	host := appendLower(room[:0], hostOnly(r.host))
	if standard := r.secure && r.port == 443 || !r.secure && r.port == 80; !standard {
		host = strconv.AppendInt(append(host, ':'), int64(r.port), 10)
	}
	return string(host)
}

func tlsFields(r *request, set *settings) []field {
	if !set.tlsHeaders {
		return nil
	}
	return []field{
		{name: r.named("x-amzn-tls-version"), value: versionName(r.tls.Version)},
		{name: r.named("x-amzn-tls-cipher-suite"), value: suiteName(r.tls.CipherSuite)},
	}
}

// awsName is what drop_invalid_header_fields lets pass: [-A-Za-z0-9]+.
func awsName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !digit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' {
			return false
		}
	}
	return name != ""
}

// writeHead writes a request to a target. HTTP/1.1 whatever came in front.
func (c *targetConn) writeHead(method, target string, fields []field) error {
	b := append(append(c.bw.AvailableBuffer(), method...), ' ')
	b = append(append(b, target...), " HTTP/1.1\r\n"...)
	_, err := c.bw.Write(appendFields(b, fields))
	return err
}
