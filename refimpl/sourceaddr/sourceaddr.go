// Package sourceaddr finds out on whose behalf a connection or a request comes: from a PROXY header (v1, v2) or from
// X-Forwarded-For, and in both cases only when a trusted peer says so.
//
// Addresses are compared and returned unmapped: ::ffff:10.0.0.1, as a dual-stack listener shows it, is 10.0.0.1 and falls under a
// trusted 10.0.0.0/8. An empty list of trusted networks trusts nobody.
//
// Sources: haproxy doc/proxy-protocol.txt sections 2, 2.1 and 2.2; RFC 7239 section 8.1 for why only trusted hops count.
package sourceaddr

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Trusted tells whether addr is in one of the networks. An invalid address never is.
func Trusted(addr netip.Addr, trusted []netip.Prefix) bool {
	addr = addr.Unmap().WithZone("") // a prefix never contains an address with a zone
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return unmapPrefix(p).Contains(addr) })
}

// ParsePrefixes reads a configuration's list: CIDR networks or single addresses.
func ParsePrefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for i, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, addrErr := netip.ParseAddr(s)
			if addrErr != nil {
				return nil, fmt.Errorf("trusted[%d]: %q is neither a network (10.0.0.0/8) nor an address", i, s)
			}
			p = netip.PrefixFrom(a.WithZone(""), a.BitLen())
		}
		out = append(out, unmapPrefix(p).Masked())
	}
	return out, nil
}

func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// addrPort is an address as a value, the zero one when it has no IP.
func addrPort(addr net.Addr) netip.AddrPort {
	if addr == nil {
		return netip.AddrPort{}
	}
	var ap netip.AddrPort
	if tcp, ok := addr.(*net.TCPAddr); ok {
		ap = tcp.AddrPort()
	} else {
		ap, _ = netip.ParseAddrPort(addr.String()) // the zero value is the answer
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// FromXFF returns the client's address as the trusted hops report it. values are the X-Forwarded-For fields in their order, each a
// list; every hop appended the address it saw, so the list is read from the right, and the first address that is not trusted is
// the client: what stands left of it is the client's own word. peer is the TCP peer, and the answer when it is not trusted
// itself.
//
// When all are trusted the leftmost is the answer. An entry that is no address ends the walk at the last hop understood. A
// port, as an ALB adds it with xff_client_port, is cut off.
func FromXFF(peer netip.Addr, values []string, trusted []netip.Prefix) netip.Addr {
	client := peer.Unmap()
	for _, value := range slices.Backward(values) {
		for rest, more := value, true; more; {
			if !Trusted(client, trusted) {
				return client
			}
			var entry string
			if i := strings.LastIndexByte(rest, ','); i >= 0 {
				rest, entry = rest[:i], rest[i+1:]
			} else {
				entry, more = rest, false
			}
			entry = strings.Trim(entry, " \t")
			if entry == "" {
				continue // RFC 9110 section 5.6.1.2: empty elements of a list are ignored
			}
			addr, ok := parseHop(entry)
			if !ok {
				return client
			}
			client = addr
		}
	}
	return client
}

// parseHop reads "1.2.3.4", "1.2.3.4:5", "2001:db8::1", "[2001:db8::1]" and "[2001:db8::1]:5". Brackets are for IPv6, with a port and
// without one (RFC 3986 section 3.2.2).
func parseHop(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
			if addr, err = netip.ParseAddr(strings.TrimSuffix(inner, "]")); addr.Is4() {
				return netip.Addr{}, false
			}
		} else {
			var ap netip.AddrPort
			ap, err = netip.ParseAddrPort(s)
			addr = ap.Addr()
		}
	}
	if err != nil || addr.Zone() != "" { // a zone means something on another host only
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}
