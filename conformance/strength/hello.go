package strength

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// firstRead gives change what the client's first read brings; more says whether what follows passes.
func firstRead(change func(head []byte) (out []byte, more bool)) Copy {
	return func(dst, src net.Conn) error {
		head := make([]byte, 64<<10)
		n, err := src.Read(head)
		if err != nil {
			return ended(err)
		}
		out, more := change(head[:n])
		if _, err := dst.Write(out); err != nil {
			return err
		}
		if !more {
			_, err := io.Copy(io.Discard, src)
			return err
		}
		return Faithful(dst, src)
	}
}

// helloEnd is where the first record of a ClientHello ends, or 0.
func helloEnd(head []byte) int {
	if len(head) < recordHead || head[0] != typeHandshake {
		return 0
	}
	return recordHead + int(binary.BigEndian.Uint16(head[3:]))
}

// oneRead takes the first read for the whole ClientHello.
func oneRead(head []byte) ([]byte, bool) { return head, helloEnd(head) <= len(head) }

// loseBehind forgets what came in one read with the ClientHello, behind it.
func loseBehind(head []byte) ([]byte, bool) {
	if end := helloEnd(head); end > 0 && end < len(head) {
		return head[:end], true
	}
	return head, true
}

// oneRecord passes of a ClientHello the first record only.
func oneRecord(number int, r []byte) []byte {
	if number > 0 && r[0] == typeHandshake {
		return nil
	}
	return r
}

// helloLimit is above a plain ClientHello of today, which with a post-quantum key share is longer than a segment: with 1,460 bytes in its
// place nothing would get through, and there would be nothing left for a check to notice.
const helloLimit = 2048

// limited drops what of the first record is beyond the limit.
func limited(number int, r []byte) []byte {
	if number == 0 && r[0] == typeHandshake && len(r) > helloLimit {
		return r[:helloLimit]
	}
	return r
}

// reframed cuts the first record of a ClientHello in two: the same to a server that reads it, other bytes to the backend of a
// passed-through route.
func reframed(number int, r []byte) []byte {
	if number > 0 || r[0] != typeHandshake || len(r) < recordHead+200 {
		return r
	}
	version, fragment := binary.BigEndian.Uint16(r[1:]), r[recordHead:]
	return slices.Concat(wire.Record(typeHandshake, version, fragment[:100]), wire.Record(typeHandshake, version, fragment[100:]))
}

// tlsOnly closes on what is no TLS.
func tlsOnly(dst, src net.Conn) error {
	first := make([]byte, 1)
	if _, err := io.ReadFull(src, first); err != nil {
		return ended(err)
	}
	if first[0] != typeHandshake {
		return errReset
	}
	if _, err := dst.Write(first); err != nil {
		return err
	}
	return Faithful(dst, src)
}

// proxyV2 is where a PROXY header of version 2 ends, or 0 when there is none or not the whole of it. Faults leave version 1 alone: by it
// the checks make sure that headers are read at all.
func proxyV2(head []byte) int {
	const fixed = 16 // the length of what follows is in the last two
	if !bytes.HasPrefix(head, []byte(wire.ProxyV2Signature)) || len(head) < fixed {
		return 0
	}
	if end := fixed + int(binary.BigEndian.Uint16(head[fixed-2:])); end <= len(head) {
		return end
	}
	return 0
}

// noProxy strips a PROXY header.
func noProxy(head []byte) ([]byte, bool) { return head[proxyV2(head):], true }

// loseBehindProxy forgets what came in one read with a PROXY header, behind it.
func loseBehindProxy(head []byte) ([]byte, bool) {
	if end := proxyV2(head); end > 0 {
		return head[:end], true
	}
	return head, true
}

// proxyOneRead takes the first read for the whole PROXY header: the rest of a line of version 1 is lost.
func proxyOneRead(head []byte) ([]byte, bool) {
	whole := !bytes.HasPrefix([]byte("PROXY "), head[:min(6, len(head))]) || bytes.Contains(head, []byte("\r\n"))
	return head, whole
}

var helloFaults = []Fault{
	{
		Name: "hello-one-read", About: "takes the client's first segment for its whole ClientHello",
		Layer: Wire, New: pipe(firstRead(oneRead), nil),
		Checks: []string{"DET-02"},
	},
	{
		Name: "hello-one-record", About: "passes the first record of a ClientHello only",
		Layer: Wire, New: pipe(each(oneRecord), nil),
		Checks: []string{"DET-04", "DET-14", "TLS-28"},
	},
	{
		Name: "hello-truncated", About: "cuts a ClientHello off at 2,048 bytes",
		Layer: Wire, New: pipe(each(limited), nil),
		Checks: []string{"DET-07"},
	},
	{
		Name: "hello-reframed", About: "cuts the record of a ClientHello in two",
		Layer: Wire, New: pipe(each(reframed), nil),
		Checks: []string{"DET-10", "DET-14", "TLS-26"},
	},
	{
		Name: "hello-behind-lost", About: "loses what comes in one segment with a ClientHello, behind it",
		Layer: Wire, New: pipe(firstRead(loseBehind), nil),
		Checks: []string{"DET-09", "TLS-26"},
	},
	{
		Name: "tls-only", About: "resets connections that do not begin with TLS",
		Layer: Wire, New: pipe(tlsOnly, nil),
		Checks: []string{"DET-01", "STT-01"},
	},
	{
		Name: "proxy-v2-stripped", About: "strips PROXY headers of version 2",
		Layer: Wire, New: pipe(firstRead(noProxy), nil),
		Checks: []string{"SRC-06"},
	},
	{
		Name: "proxy-behind-lost", About: "loses what comes in one segment with a PROXY header of version 2, behind it",
		Layer: Wire, New: pipe(firstRead(loseBehindProxy), nil),
		Checks: []string{"SRC-06"},
	},
	{
		Name: "proxy-one-read", About: "takes the first segment for the whole PROXY header of version 1",
		Layer: Wire, New: pipe(firstRead(proxyOneRead), nil),
		Checks: []string{"SRC-06"},
	},
}
