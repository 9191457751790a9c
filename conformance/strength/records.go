package strength

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
)

// The record types of RFC 9846 section 5.1 that faults look at.
const (
	typeAlert       = 21
	typeHandshake   = 22
	typeApplication = 23
)

const recordHead = 5

// pass is what becomes of a record: what is written in its place, and the error that ends the direction there.
type pass func(number int, record []byte) ([]byte, error)

// records gives each TLS record that passes, head and all, to what begin returns for the connection. From the first bytes on that are
// no record everything passes as it is; so does a record that does not come whole.
func records(begin func() pass) Copy {
	return func(dst, src net.Conn) error {
		change := begin()
		r := bufio.NewReaderSize(src, 1<<17)
		for number := 0; ; number++ {
			head, err := r.Peek(recordHead)
			if err != nil || head[0] < 20 || head[0] > 24 || head[1] != 3 {
				_, err := io.Copy(dst, r)
				return err
			}
			record := make([]byte, recordHead+int(binary.BigEndian.Uint16(head[3:])))
			n, err := io.ReadFull(r, record)
			if err != nil {
				_, _ = dst.Write(record[:n])
				return ended(err)
			}
			out, stop := change(number, record)
			if _, err := dst.Write(out); err != nil {
				return err
			}
			if stop != nil {
				return stop
			}
		}
	}
}

// each is for changes that remember nothing.
func each(change func(number int, record []byte) []byte) Copy {
	return records(func() pass { return func(n int, r []byte) ([]byte, error) { return change(n, r), nil } })
}

// closes says whether a record may be a close_notify: an alert in the clear, or protected by TLS 1.3, where it is as long as two bytes,
// their type and a tag of 16 bytes (RFC 9846 section 5.2).
func closes(record []byte) bool {
	return record[0] == typeAlert || record[0] == typeApplication && len(record) == recordHead+2+1+16
}

// keepEnd swallows close_notify, and the FIN behind it.
func keepEnd(dst, src net.Conn) error {
	if err := each(func(_ int, r []byte) []byte {
		if closes(r) {
			return nil
		}
		return r
	})(dst, src); err != nil {
		return err
	}
	return ErrKept
}

// delayEnd passes close_notify on much too late.
func delayEnd(dst, src net.Conn) error {
	return each(func(_ int, r []byte) []byte {
		if closes(r) {
			hold(dst)
		}
		return r
	})(dst, src)
}

// closeBoth takes the end of one direction for the end of the connection.
func closeBoth(dst, src net.Conn) error {
	return records(func() pass {
		return func(_ int, r []byte) ([]byte, error) {
			if closes(r) {
				return nil, errReset
			}
			return r, nil
		}
	})(dst, src)
}

// oldVersion rewrites the version of the first record.
func oldVersion(number int, r []byte) []byte {
	if number == 0 {
		r[1], r[2] = 3, 2
	}
	return r
}

// noAlert swallows alerts that are sent in the clear.
func noAlert(_ int, r []byte) []byte {
	if r[0] == typeAlert {
		return nil
	}
	return r
}

// otherAlert makes every alert in the clear an internal_error.
func otherAlert(_ int, r []byte) []byte {
	if r[0] == typeAlert && len(r) == recordHead+2 {
		r[6] = 80
	}
	return r
}

var recordFaults = []Fault{
	{
		Name: "half-close-kept-up", About: "keeps the client's close_notify and FIN to itself",
		Layer: Wire, New: pipe(keepEnd, nil),
		Checks: []string{"TUN-04", "TUN-05", "TUN-08"},
	},
	{
		Name: "half-close-kept-down", About: "keeps the target's close_notify and FIN to itself",
		Layer: Wire, New: pipe(nil, keepEnd),
		Checks: []string{"TUN-04", "TUN-05", "TUN-08"},
	},
	{
		Name: "half-close-late-up", About: "passes the client's close_notify on after 5 s",
		Layer: Wire, New: pipe(delayEnd, nil),
		Checks: []string{"TUN-04"},
	},
	{
		Name: "half-close-is-close-up", About: "resets both directions on the client's close_notify",
		Layer: Wire, New: pipe(closeBoth, nil),
		Checks: []string{"TUN-04", "TUN-08"},
	},
	{
		Name: "half-close-is-close-down", About: "resets both directions on the target's close_notify",
		Layer: Wire, New: pipe(nil, closeBoth),
		Checks: []string{"TUN-05", "TUN-08"},
	},
	{
		Name: "record-version", About: "rewrites the version of the client's first record to 0x0302",
		Layer: Wire, New: pipe(each(oldVersion), nil),
		Checks: []string{"DET-08", "DET-14", "TLS-26"},
	},
	{
		Name: "alert-swallowed", About: "swallows the target's alerts that are in the clear",
		Layer: Wire, New: pipe(nil, each(noAlert)),
		Checks: []string{"DET-10", "TLS-10"},
	},
	{
		Name: "alert-changed", About: "turns the target's alerts that are in the clear into internal_error",
		Layer: Wire, New: pipe(nil, each(otherAlert)),
		Checks: []string{"DET-10", "DET-11", "TLS-05", "TLS-07", "TLS-10", "TLS-12"},
	},
}
