package capture

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// maxFrame is more than a frame on loopback has: 64 KiB, and more with segmentation offload.
const maxFrame = 256 << 10

// openHops opens the source of the packets of some hops.
func openHops(iface string, hops []Hop, open func(iface string, ports []uint16) (source, error)) (source, error) {
	var ports []uint16
	for _, h := range hops {
		if !h.Server.IsValid() || h.Server.Port() == 0 {
			return nil, fmt.Errorf("capture: hop %s of %s has no address", h.Name, h.Path)
		}
		ports = append(ports, h.Server.Port())
	}
	if len(ports) == 0 {
		return nil, errors.New("capture: no hop to capture")
	}
	src, err := open(iface, ports)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("capture on %s: %w (%w)", iface, ErrNotPermitted, err)
	}
	if err != nil {
		return nil, fmt.Errorf("capture on %s: %w", iface, err)
	}
	return src, nil
}

// ends tells the errors by which a source says that it was told to end.
func ends(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed)
}

// decoder finds the TCP segment in an Ethernet frame.
type decoder struct {
	parser  *gopacket.DecodingLayerParser
	decoded []gopacket.LayerType
	eth     layers.Ethernet
	ip4     layers.IPv4
	ip6     layers.IPv6
	tcp     layers.TCP

	src, dst netip.AddrPort
}

func newDecoder() *decoder {
	d := &decoder{}
	d.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &d.eth, &d.ip4, &d.ip6, &d.tcp)
	d.parser.IgnoreUnsupported = true
	return d
}

// decode fills tcp, src and dst, and tells whether the frame has a segment. Checksums are not looked at: loopback leaves them out.
func (d *decoder) decode(frame []byte) (found bool) {
	if err := d.parser.DecodeLayers(frame, &d.decoded); err != nil {
		return false
	}
	var src, dst netip.Addr
	for _, l := range d.decoded {
		switch l {
		case layers.LayerTypeIPv4:
			src, _ = netip.AddrFromSlice(d.ip4.SrcIP)
			dst, _ = netip.AddrFromSlice(d.ip4.DstIP)
		case layers.LayerTypeIPv6:
			src, _ = netip.AddrFromSlice(d.ip6.SrcIP)
			dst, _ = netip.AddrFromSlice(d.ip6.DstIP)
		case layers.LayerTypeTCP:
			d.src = netip.AddrPortFrom(src.Unmap(), uint16(d.tcp.SrcPort))
			d.dst = netip.AddrPortFrom(dst.Unmap(), uint16(d.tcp.DstPort))
			return true
		}
	}
	return false
}
