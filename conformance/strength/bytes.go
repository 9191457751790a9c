package strength

import (
	"errors"
	"io"
	"net"
	"slices"
)

// place is where in a direction bytes are spoiled: far behind the handshakes, and the sanity of a path.
const place = 50_000

// spoilAt gives change the next piece at the place and passes what it returns.
func spoilAt(change func(piece []byte) []byte) Copy {
	return func(dst, src net.Conn) error {
		if _, err := io.CopyN(dst, src, place); err != nil {
			return ended(err)
		}
		buf := make([]byte, 4096)
		n, err := io.ReadAtLeast(src, buf, 64)
		if _, werr := dst.Write(change(buf[:n])); werr != nil {
			return werr
		}
		if err != nil {
			return ended(err)
		}
		return Faithful(dst, src)
	}
}

// ended is nil for a regular end, wherever it came.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func dropOne(p []byte) []byte   { return p[min(1, len(p)):] }
func doubleOne(p []byte) []byte { return append(p[:min(1, len(p)):1], p...) }

func flipOne(p []byte) []byte {
	for i := range p[:min(1, len(p))] {
		p[i] ^= 1
	}
	return p
}

func swapTwo(p []byte) []byte {
	if len(p) < 64 {
		return p
	}
	return slices.Concat(p[32:64], p[:32], p[64:])
}

// stall passes no more from the place on, and reads no more either: what follows stays where it is.
func stall(dst, src net.Conn) error {
	if _, err := io.CopyN(dst, src, place); err != nil {
		return ended(err)
	}
	return ErrKept
}

// loseTail holds the last bytes back once the place is passed, and loses them at the end.
func loseTail(dst, src net.Conn) error {
	const tail = 100
	buf := make([]byte, 32<<10)
	var held []byte
	seen := 0
	for {
		n, err := src.Read(buf)
		seen += n
		held = append(held, buf[:n]...)
		pass := len(held)
		if seen > place {
			pass = max(0, pass-tail)
		}
		if _, werr := dst.Write(held[:pass]); werr != nil {
			return werr
		}
		if err != nil {
			return ended(err)
		}
		held = append([]byte(nil), held[pass:]...)
	}
}

var byteFaults = []Fault{
	{
		Name: "byte-dropped-up", About: "loses one byte of a long upload",
		Layer: Wire, New: pipe(spoilAt(dropOne), nil),
		Checks: []string{"TUN-01", "TUN-02", "TUN-05", "TUN-08"},
	},
	{
		Name: "byte-dropped-down", About: "loses one byte of a long download",
		Layer: Wire, New: pipe(nil, spoilAt(dropOne)),
		Checks: []string{"TUN-01", "TUN-04", "TUN-08"},
	},
	{
		Name: "byte-doubled-up", About: "sends one byte of a long upload twice",
		Layer: Wire, New: pipe(spoilAt(doubleOne), nil),
		Checks: []string{"TUN-01", "TUN-02", "TUN-05", "TUN-08"},
	},
	{
		Name: "byte-doubled-down", About: "sends one byte of a long download twice",
		Layer: Wire, New: pipe(nil, spoilAt(doubleOne)),
		Checks: []string{"TUN-01", "TUN-04", "TUN-08"},
	},
	{
		Name: "bit-flipped-up", About: "flips one bit of a long upload",
		Layer: Wire, New: pipe(spoilAt(flipOne), nil),
		Checks: []string{"TUN-01", "TUN-02", "TUN-05", "TUN-08"},
	},
	{
		Name: "bit-flipped-down", About: "flips one bit of a long download",
		Layer: Wire, New: pipe(nil, spoilAt(flipOne)),
		Checks: []string{"TUN-01", "TUN-04", "TUN-08"},
	},
	{
		Name: "pieces-swapped-down", About: "swaps two pieces of a long download",
		Layer: Wire, New: pipe(nil, spoilAt(swapTwo)),
		Checks: []string{"TUN-01", "TUN-04", "TUN-08"},
	},
	{
		Name: "stalled-up", About: "carries a long upload no further",
		Layer: Wire, New: pipe(stall, nil),
		Checks: []string{"TUN-01", "TUN-08"},
	},
	{
		Name: "stalled-down", About: "carries a long download no further",
		Layer: Wire, New: pipe(nil, stall),
		Checks: []string{"TUN-01", "TUN-08"},
	},
	{
		Name: "tail-lost-up", About: "loses the last bytes of a long upload",
		Layer: Wire, New: pipe(loseTail, nil),
		Checks: []string{"TUN-01", "TUN-08"},
	},
	{
		Name: "tail-lost-down", About: "loses the last bytes of a long download",
		Layer: Wire, New: pipe(nil, loseTail),
		Checks: []string{"TUN-01", "TUN-08"},
	},
}
