package capture_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/tlsroute/tlsroute-bench/internal/capture"
)

func TestPcapngReadsBackWithPayloadAndSecrets(t *testing.T) {
	at := time.Unix(1700000000, 123456789)
	keylog := []byte("CLIENT_RANDOM 00 11\n")
	big := bytes.Repeat([]byte("x"), 70000)
	var file bytes.Buffer
	err := capture.WritePcapng(&file, []capture.Segment{
		{At: at, Conn: "a", Kind: capture.Open},
		{At: at, Conn: "b", Kind: capture.Open},
		{At: at, Conn: "a", Kind: capture.Data, Data: []byte("hello")},
		{At: at, Conn: "a", Kind: capture.Data, FromServer: true, Data: big},
		{At: at, Conn: "a", Kind: capture.Fin},
		{At: at, Conn: "b", Kind: capture.Reset, FromServer: true},
	}, keylog)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file.Bytes(), append([]byte("KSLT"), byte(len(keylog)), 0, 0, 0)) {
		t.Error("the file has no TLS secrets block")
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(file.Bytes()), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	var up, down []byte
	ports := map[layers.TCPPort]bool{}
	var count, fins, resets int
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		count++
		if !info.Timestamp.Equal(at) {
			t.Errorf("packet %d has time %v", count, info.Timestamp)
		}
		p := gopacket.NewPacket(data, layers.LayerTypeIPv4, gopacket.Default) // gopacket has no decoder for the link type
		tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if !ok {
			t.Fatalf("packet %d is not TCP: %v", count, p)
		}
		if tcp.DstPort == 443 {
			ports[tcp.SrcPort] = true
			up = append(up, tcp.Payload...)
		} else {
			down = append(down, tcp.Payload...)
		}
		if tcp.FIN {
			fins++
		}
		if tcp.RST {
			resets++
		}
	}
	// Two handshakes of three, one packet up, three down, a FIN, a RST.
	if count != 12 || fins != 1 || resets != 1 || len(ports) != 2 {
		t.Errorf("%d packets, %d FIN, %d RST, %d client ports", count, fins, resets, len(ports))
	}
	if string(up) != "hello" || !bytes.Equal(down, big) {
		t.Errorf("payload differs: %d up, %d down", len(up), len(down))
	}
}

// A trace keeps only the first bytes of a long read: what follows must still be where it was in the stream.
func TestPcapngKeepsItsPlaceOverMissingBytes(t *testing.T) {
	at := time.Unix(1700000000, 0)
	var file bytes.Buffer
	err := capture.WritePcapng(&file, []capture.Segment{
		{At: at, Conn: "a", Kind: capture.Open},
		{At: at, Conn: "a", Kind: capture.Data, Data: []byte("head"), Missing: 100_000},
		{At: at, Conn: "a", Kind: capture.Data, Data: []byte("tail")},
		{At: at, Conn: "a", Kind: capture.Fin},
		{At: at, Conn: "a", Kind: capture.Fin}, // close after close-write
		{At: at, Conn: "a", Kind: capture.Reset},
		{At: at, Conn: "a", Kind: capture.Data, Data: []byte("after the end")},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(&file, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	var head, tail uint32
	missing, fins, resets := 0, 0, 0
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		missing += info.Length - info.CaptureLength
		tcp, ok := gopacket.NewPacket(data, layers.LayerTypeIPv4, gopacket.Default).Layer(layers.LayerTypeTCP).(*layers.TCP)
		if !ok {
			t.Fatalf("a packet of %d bytes is not TCP", len(data))
		}
		switch string(tcp.Payload) {
		case "head":
			head = tcp.Seq
		case "tail":
			tail = tcp.Seq
		case "after the end":
			t.Error("payload behind a reset")
		}
		if tcp.FIN {
			fins++
		}
		if tcp.RST {
			resets++
		}
	}
	if missing != 100_000 || tail-head != 100_004 {
		t.Errorf("%d bytes are marked as not captured, tail is %d behind head", missing, tail-head)
	}
	if fins != 1 || resets != 1 {
		t.Errorf("%d FIN, %d RST", fins, resets)
	}
}
