package capture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// Kind is what a Segment does on its connection.
type Kind uint8

// The kinds of a Segment.
const (
	Open  Kind = iota // the three-way handshake
	Data              // payload
	Fin               // one direction ends
	Reset             // both end
)

// Segment is one event on a TCP connection as an endpoint saw it.
type Segment struct {
	At time.Time
	// Conn tells connections apart; it becomes a comment-free port number in the file.
	Conn string
	// FromServer is set for what the endpoint read.
	FromServer bool
	Kind       Kind
	Data       []byte
	// Missing counts payload bytes behind Data that were not kept: they take their room in the sequence numbers and are marked
	// as not captured, so that what follows is still in its place.
	Missing int
}

// The addresses of synthesised packets. Ports of clients count up from firstPort, one a connection.
const (
	firstPort  = 40001
	serverPort = 443
	maxPayload = 32 << 10 // fits an IPv4 packet
	window     = 65535
)

// WritePcapng writes the segments as packets that any tool can read, with the TLS secrets of keylog (NSS key log format) in
// the same file so that it decrypts itself. The packets are synthesised from what an endpoint saw: times, payload, half-close
// and reset are true, everything below TCP is made up. It needs no right to capture.
func WritePcapng(w io.Writer, segments []Segment, keylog []byte) error {
	buffered := bufio.NewWriter(w)
	ng, err := begin(buffered, pcapgo.NgInterface{
		Name: "tlsroute-bench", Description: "synthesised from the trace of an endpoint", LinkType: layers.LinkTypeIPv4, TimestampResolution: 9,
	}, keylog)
	if err != nil {
		return err
	}
	flows := map[string]*synthetic{}
	for _, s := range segments {
		f := flows[s.Conn]
		if f == nil {
			f = &synthetic{port: layers.TCPPort(firstPort + len(flows)%(65536-firstPort)), client: 1000, server: 5000}
			flows[s.Conn] = f
		}
		for _, p := range f.packets(s) {
			data, err := p.bytes(f.port)
			if err != nil {
				return fmt.Errorf("pcapng: %w", err)
			}
			info := gopacket.CaptureInfo{Timestamp: s.At, CaptureLength: len(data), Length: len(data)}
			if p.missing {
				info.CaptureLength -= len(p.payload)
				data = data[:info.CaptureLength]
			}
			if err := ng.WritePacket(info, data); err != nil {
				return fmt.Errorf("pcapng: %w", err)
			}
		}
	}
	if err := ng.Flush(); err != nil {
		return fmt.Errorf("pcapng: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("pcapng: %w", err)
	}
	return nil
}

// begin writes what comes before the packets: the section, the interface and the secrets, which a reader wants first.
func begin(w io.Writer, iface pcapgo.NgInterface, keylog []byte) (*pcapgo.NgWriter, error) {
	ng, err := pcapgo.NewNgWriterInterface(w, iface, pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "tlsroute-bench"}})
	if err == nil {
		err = ng.Flush()
	}
	if err == nil && len(keylog) > 0 {
		_, err = w.Write(secretsBlock(keylog))
	}
	if err != nil {
		return nil, fmt.Errorf("pcapng: %w", err)
	}
	return ng, nil
}

// secretsBlock is a Decryption Secrets Block, which gopacket v1.1.19 cannot write: draft-ietf-opsawg-pcapng, section 4.7;
// type 0x0000000A, secrets type 0x544c534b ("TLSK"), padded to 32 bits.
func secretsBlock(keylog []byte) []byte {
	padded := (len(keylog) + 3) &^ 3
	total := uint32(20 + padded)
	var b bytes.Buffer
	for _, v := range []uint32{0x0000000A, total, 0x544c534b, uint32(len(keylog))} {
		_ = binary.Write(&b, binary.LittleEndian, v) // a bytes.Buffer does not fail
	}
	b.Write(keylog)
	b.Write(make([]byte, padded-len(keylog)))
	_ = binary.Write(&b, binary.LittleEndian, total)
	return b.Bytes()
}

// synthetic is the state of one connection: the next sequence number of each side.
type synthetic struct {
	port           layers.TCPPort
	client, server uint32
	ended          [2]bool // a FIN was sent: by the client, by the server
	reset          bool
}

type packet struct {
	fromServer         bool
	seq, ack           uint32
	syn, fin, rst, psh bool
	noAck              bool
	missing            bool // payload only says how long it was
	payload            []byte
}

func (f *synthetic) packets(s Segment) []packet {
	mine, theirs, side := &f.client, &f.server, 0
	if s.FromServer {
		mine, theirs, side = theirs, mine, 1
	}
	if f.reset {
		return nil // nothing follows a reset
	}
	base := func() packet { return packet{fromServer: s.FromServer, seq: *mine, ack: *theirs} }
	switch s.Kind {
	case Open:
		syn := packet{seq: f.client, syn: true, noAck: true}
		f.client++
		answer := packet{fromServer: true, seq: f.server, ack: f.client, syn: true}
		f.server++
		return []packet{syn, answer, {seq: f.client, ack: f.server}}
	case Data:
		var list []packet
		for rest := s.Data; len(rest) > 0; {
			n := min(len(rest), maxPayload)
			p := base()
			p.payload, p.psh = rest[:n], n == len(rest)
			list = append(list, p)
			*mine += uint32(n)
			rest = rest[n:]
		}
		for left := s.Missing; left > 0; {
			p := base()
			p.payload, p.missing = make([]byte, min(left, maxPayload)), true
			list = append(list, p)
			*mine += uint32(len(p.payload))
			left -= len(p.payload)
		}
		return list
	case Fin:
		if f.ended[side] {
			return nil // a close behind a half-close is no second FIN
		}
		f.ended[side] = true
		p := base()
		p.fin = true
		*mine++
		return []packet{p}
	case Reset:
		f.reset = true
		p := base()
		p.rst = true
		return []packet{p}
	}
	return nil
}

func (p packet) bytes(port layers.TCPPort) ([]byte, error) {
	client, server := net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2)
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: client, DstIP: server, Flags: layers.IPv4DontFragment}
	tcp := &layers.TCP{
		SrcPort: port, DstPort: serverPort, Seq: p.seq, Ack: p.ack, Window: window,
		SYN: p.syn, FIN: p.fin, RST: p.rst, PSH: p.psh, ACK: !p.noAck,
	}
	if p.fromServer {
		ip.SrcIP, ip.DstIP = server, client
		tcp.SrcPort, tcp.DstPort = serverPort, port
	}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, err
	}
	buffer := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, tcp, gopacket.Payload(p.payload))
	return buffer.Bytes(), err
}
