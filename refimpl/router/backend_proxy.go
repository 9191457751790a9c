package router

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"

	proxyproto "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// proxyHeader is what a backend is told before the client's bytes, nil when send_proxy is off. secure is the client's session, nil
// for a passthrough route, where it is not ours to see.
func (c *session) proxyHeader(version string, secure *tls.Conn) ([]byte, error) {
	if version == Off {
		return nil, nil
	}
	header := proxyAddresses(version, c.source, c.dest)
	if header.Command == proxyproto.PROXY && version == ProxyV2 {
		tlvs, err := proxyTLVs(c.sni, secure)
		if err != nil {
			return nil, err
		}
		if err := header.SetTLVs(tlvs); err != nil {
			return nil, err
		}
	}
	return header.Format()
}

// proxyAddresses says where the client is. Version 1 has one family for both addresses, so a mixed pair is written as IPv6.
func proxyAddresses(version string, source, dest netip.AddrPort) *proxyproto.Header {
	header := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4}
	if version == ProxyV1 {
		header.Version = 1
	}
	if !source.Addr().Is4() || !dest.Addr().Is4() {
		header.TransportProtocol = proxyproto.TCPv6
	}
	if !source.IsValid() || !dest.IsValid() {
		header.TransportProtocol = proxyproto.UNSPEC
		header.Command = proxyproto.LOCAL
	}
	header.SourceAddr, header.DestinationAddr = tcpAddr(source), tcpAddr(dest)
	return header
}

func tcpAddr(ap netip.AddrPort) *net.TCPAddr {
	return &net.TCPAddr{IP: ap.Addr().AsSlice(), Port: int(ap.Port())}
}

// proxyTLVs tells what the client's TLS was (PROXY protocol, sections 2.2.1 to 2.2.6). A passthrough route has the name only: the
// backend negotiates ALPN itself, and PP2_CLIENT_SSL would say that TLS has been taken off.
func proxyTLVs(name string, secure *tls.Conn) ([]proxyproto.TLV, error) {
	var tlvs []proxyproto.TLV
	// A longer name is no host's, and a stranger's 64 KiB must not cost the header its room.
	if name != "" && len(name) <= maxLoggedName {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(name)})
	}
	if secure == nil {
		return tlvs, nil
	}
	state := secure.ConnectionState()
	if state.NegotiatedProtocol != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte(state.NegotiatedProtocol)})
	}
	version := strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1) // as OpenSSL writes it
	ssl := tlvparse.PP2SSL{
		Client: tlvparse.PP2_BITFIELD_CLIENT_SSL,
		Verify: 1, // zero is for a certificate that was sent and verified
		TLV:    []proxyproto.TLV{{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(version)}},
	}
	if len(state.PeerCertificates) > 0 {
		ssl.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN | tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS
	}
	if len(state.VerifiedChains) > 0 {
		ssl.Verify = 0
		// Of an unverified certificate no name is told: a backend that reads the name and not the verdict would believe it.
		if cn := state.PeerCertificates[0].Subject.CommonName; cn != "" {
			ssl.TLV = append(ssl.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_CN, Value: []byte(cn)})
		}
	}
	tlv, err := ssl.Marshal()
	return append(tlvs, tlv), err
}
