package albsim

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// rewrite turns a request into the fields that the target gets, in the order observed behind an ALB (alb.md 1.2):
// X-Forwarded-For, -Proto, -Port, Host, X-Amzn-Trace-Id, what TLS adds, Upgrade, Connection, and the rest as it came.
// For a custom upgrade token only Connection itself goes; what it nominates stays (ALB-UPG-02, -05).
func (s *Server) rewrite(r *request) []field {
	p, set := &s.plan.profile, &s.plan.set
	upgrade, connection := s.upgradeFields(r)
	out := make([]field, 0, len(r.fields)+8)
	if xff, ok := forwardedFor(r, set); ok {
		out = append(out, field{name: "X-Forwarded-For", value: xff})
	}
	proto := "http"
	if r.secure {
		proto = "https"
	}
	out = append(out, field{name: "X-Forwarded-Proto", value: proto}, field{name: "X-Forwarded-Port", value: strconv.Itoa(r.port)})
	out = append(out, s.hostFields(r)...)
	trace, _ := r.get("X-Amzn-Trace-Id")
	out = append(out, field{name: "X-Amzn-Trace-Id", value: traceID(trace, r.headSize > 7<<10)})
	if r.tls != nil {
		out = append(out, tlsFields(r, set)...)
		out = append(out, s.mtlsFields(r)...)
	}
	out = append(out, upgrade...)
	out = append(out, connection...)
	kept := false // the field before
	for _, f := range r.fields {
		if f.raw == "" {
			kept = passes(f.name, r, p, set)
		}
		if kept && (f.raw == "" || !set.dropInvalid) { // a folded line shares the fate of its field, or it would lengthen another
			out = append(out, f)
		}
	}
	return out
}

// passes tells whether a field goes on as it came.
func passes(name string, r *request, p *Profile, set *settings) bool {
	switch lower := strings.ToLower(name); lower {
	case "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "host", "x-amzn-trace-id", "connection", "upgrade":
		return false
	case "expect":
		if r.expect {
			return false
		}
	default:
		forged := strings.HasPrefix(lower, "x-amzn-mtls-") || lower == "x-amzn-tls-version" || lower == "x-amzn-tls-cipher-suite" ||
			r.set != nil && r.set.renamed(name)
		if forged && p.ForgedMTLSHeaders == "strip" {
			return false
		}
	}
	return !set.dropInvalid || awsName(name)
}

// upgradeFields returns what is left of Upgrade and Connection.
func (s *Server) upgradeFields(r *request) (upgrade, connection []field) {
	p := &s.plan.profile
	if len(r.upgrade) == 0 || !s.tokensCross(r.upgrade) {
		return nil, nil
	}
	for _, f := range r.fields {
		switch {
		case f.is("Upgrade"):
			upgrade = append(upgrade, f)
		case f.is("Connection") && hasToken(list([]field{f}, "Connection"), "upgrade"):
			if hasToken(r.upgrade, "websocket") || !p.StripConnectionForCustom {
				connection = []field{{name: f.name, value: "Upgrade"}}
			}
		}
	}
	return upgrade, connection
}

// tokensCross tells whether the profile lets one of the tokens through.
func (s *Server) tokensCross(tokens []string) bool {
	if s.plan.profile.UpgradeTokens == nil {
		return true
	}
	for _, t := range tokens {
		if hasToken(s.plan.profile.UpgradeTokens, t) {
			return true
		}
	}
	return false
}

// forwardedFor is the X-Forwarded-For of the three modes; ok is false when there is none.
func forwardedFor(r *request, set *settings) (value string, ok bool) {
	var before []string
	for _, f := range r.fields {
		if f.is("X-Forwarded-For") && f.value != "" {
			before = append(before, f.value)
		}
	}
	switch set.xffMode {
	case "remove":
		return "", false
	case "preserve":
		return strings.Join(before, ", "), len(before) > 0
	}
	addr := r.client.Addr().Unmap().WithZone("").String()
	if set.xffPort {
		addr = net.JoinHostPort(addr, strconv.Itoa(int(r.client.Port())))
	}
	return strings.Join(append(before, addr), ", "), true
}

// hostFields follows the table of AWS's preserve_host_header: unless preserved, the name is lower-cased, the host of an
// absolute target wins, a default listener's port is dropped and another one's appended.
func (s *Server) hostFields(r *request) []field {
	if s.plan.set.preserveHost {
		var out []field
		for _, f := range r.fields {
			if f.is("Host") {
				out = append(out, field{name: "Host", value: f.value})
			}
		}
		if out != nil {
			return out
		}
	}
	host := strings.ToLower(hostOnly(r.host))
	if standard := r.secure && r.port == 443 || !r.secure && r.port == 80; !standard {
		host += ":" + strconv.Itoa(r.port)
	}
	return []field{{name: "Host", value: host}}
}

// newTraceID is 1-<8 hex digits of the time>-<24 random ones>.
func newTraceID() string {
	var b [12]byte
	rand.Read(b[:])
	return fmt.Sprintf("1-%08x-%s", uint32(time.Now().Unix()), hex.EncodeToString(b[:]))
}

// traceID follows alb.md section 6 (TRC): a new Root; Self in front of a Root that came in, replacing an older Self;
// custom fields stay. A request whose head is over 7 KB gets a Root alone.
func traceID(got string, oversize bool) string {
	if got == "" || oversize {
		return "Root=" + newTraceID()
	}
	var kept []string
	root := false
	for part := range strings.SplitSeq(got, ";") {
		part = strings.TrimSpace(part)
		if part == "" || strings.HasPrefix(part, "Self=") {
			continue
		}
		root = root || strings.HasPrefix(part, "Root=")
		kept = append(kept, part)
	}
	first := "Self="
	if !root {
		first = "Root="
	}
	return strings.Join(append([]string{first + newTraceID()}, kept...), ";")
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
