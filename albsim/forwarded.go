package albsim

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"
)

// added is the value of a field that the balancer adds; ok is false where the document wants none.
func (s *Server) added(name string, r *request) (value string, ok bool) {
	scheme := "http"
	if r.secure {
		scheme = "https"
	}
	switch name {
	case "X-Forwarded-For":
		return forwardedFor(r, &s.plan.set)
	case "X-Forwarded-Proto":
		return scheme, true
	case "X-Forwarded-Port":
		return strconv.Itoa(r.port), true
	case "X-Forwarded-Host":
		return r.host, true
	case "X-Real-Ip":
		return r.clientAddress(), true
	case "X-Amzn-Trace-Id":
		trace, _ := r.get(name)
		return traceID(trace, r.headSize > 7<<10, r.received), true
	case "Via":
		version := strings.TrimPrefix(r.proto, "HTTP/")
		return strings.Join(append(list(r.fields, name), version+" "+s.plan.profile.Name), ", "), true
	case "Forwarded":
		node := r.clientAddress()
		if r.client.Addr().Unmap().Is6() {
			node = `"[` + node + `]"` // RFC 7239 section 6
		}
		return strings.Join(append(list(r.fields, name), "for="+node+`;host="`+r.host+`";proto=`+scheme), ", "), true
	}
	return "", false
}

// forwardedFor is the X-Forwarded-For of the three modes; ok is false when there is none.
func forwardedFor(r *request, set *settings) (value string, ok bool) {
	var before []string
	for _, f := range r.fields {
		if strings.EqualFold(f.name, "X-Forwarded-For") && f.value != "" {
			before = append(before, f.value)
		}
	}
	switch set.xffMode {
	case "remove":
		return "", false
	case "preserve":
		return strings.Join(before, ", "), len(before) > 0
	}
	addr := r.clientAddress()
	if set.xffPort {
		addr = net.JoinHostPort(addr, strconv.Itoa(int(r.client.Port())))
	}
	if before == nil {
		return addr, true
	}
	return strings.Join(append(before, addr), ", "), true
}

// newTraceID is label and 1-<8 hex digits of the time>-<24 random ones>.
func newTraceID(label string, now time.Time) string {
	var id [16]byte
	binary.BigEndian.PutUint32(id[:], uint32(now.Unix()))
	binary.BigEndian.PutUint32(id[4:], rand.Uint32())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	b := append(make([]byte, 0, 64), label...)
	b = hex.AppendEncode(append(b, "1-"...), id[:4])
	b = hex.AppendEncode(append(b, '-'), id[4:])
	return string(b)
}

// traceID follows alb.md section 6 (TRC): a new Root; Self in front of a Root that came in, replacing an older Self;
// custom fields stay. A request whose head is over 7 KB gets a Root alone.
func traceID(got string, oversize bool, now time.Time) string {
	if got == "" || oversize {
		return newTraceID("Root=", now)
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
	return strings.Join(append([]string{newTraceID(first, now)}, kept...), ";")
}
