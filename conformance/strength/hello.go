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

// noProxy strips a PROXY header.
func noProxy(head []byte) ([]byte, bool) {
	const fixed = 16 // of a header of version 2, its length being in the last two
	switch {
	case bytes.HasPrefix(head, []byte("PROXY ")):
		if _, rest, ok := bytes.Cut(head, []byte("\r\n")); ok {
			return rest, true
		}
	case bytes.HasPrefix(head, []byte(wire.ProxyV2Signature)) && len(head) >= fixed:
		return head[min(len(head), fixed+int(binary.BigEndian.Uint16(head[14:]))):], true
	}
	return head, true
}

var helloFaults = []Fault{
	{Name: "hello-one-read", About: "takes the client's first segment for its whole ClientHello", Layer: Wire, New: pipe(firstRead(oneRead), nil)},
	{Name: "hello-one-record", About: "passes the first record of a ClientHello only", Layer: Wire, New: pipe(each(oneRecord), nil)},
	{Name: "hello-truncated", About: "cuts a ClientHello off at 2,048 bytes", Layer: Wire, New: pipe(each(limited), nil)},
	{Name: "hello-reframed", About: "cuts the record of a ClientHello in two", Layer: Wire, New: pipe(each(reframed), nil)},
	{Name: "hello-behind-lost", About: "loses what comes in one segment with a ClientHello, behind it", Layer: Wire, New: pipe(firstRead(loseBehind), nil)},
	{Name: "tls-only", About: "resets connections that do not begin with TLS", Layer: Wire, New: pipe(tlsOnly, nil)},
	{Name: "proxy-stripped", About: "strips the PROXY header", Layer: Wire, New: pipe(firstRead(noProxy), nil)},
}
