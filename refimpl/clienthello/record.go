package clienthello

import "fmt"

const (
	recordHeader       = 5
	maxPlaintext       = 1 << 14 // RFC 9846 section 5.1
	typeHandshake      = 22
	messageHeader      = 4
	messageClientHello = 1
)

// reassembler collects the first handshake message out of records. It looks at each byte once, however small the reads are.
type reassembler struct {
	next int    // offset of the first byte not yet consumed
	left int    // payload bytes of the current record not yet consumed; 0 = a record header is due
	msg  []byte // the handshake message so far
}

// feed takes up the bytes that buf, everything read since the beginning, has gained since the last call. Pieces of a record are
// judged as they come: a bad first byte is not waited upon.
func (r *reassembler) feed(buf []byte, limit int) (done bool, err error) {
	for r.next < len(buf) {
		if r.left == 0 {
			// The type is judged before the rest of the header is there.
			if t := buf[r.next]; t != typeHandshake {
				return false, unexpected("record of type %d where the client hello was due", t)
			}
			if len(buf)-r.next < recordHeader {
				return false, nil
			}
			// legacy_record_version MUST be ignored for all purposes (RFC 9846 section 5.1).
			r.left = int(buf[r.next+3])<<8 | int(buf[r.next+4])
			r.next += recordHeader
			if r.left == 0 {
				return false, unexpected("handshake record of length 0")
			}
			if r.left > maxPlaintext {
				return false, &Error{Alert: AlertRecordOverflow, Reason: fmt.Sprintf("record of %d bytes, more than 2^14", r.left)}
			}
			continue
		}
		n := min(r.left, len(buf)-r.next)
		r.msg = append(r.msg, buf[r.next:r.next+n]...)
		r.next += n
		r.left -= n
		if r.msg[0] != messageClientHello {
			return false, unexpected("handshake message of type %d where the client hello was due", r.msg[0])
		}
		if len(r.msg) < messageHeader {
			continue
		}
		want := messageHeader + (int(r.msg[1])<<16 | int(r.msg[2])<<8 | int(r.msg[3]))
		switch {
		case want > limit:
			return false, tooLarge(limit)
		case len(r.msg) > want || len(r.msg) == want && r.left > 0:
			// A ClientHello ends its record: the next flight is the server's (RFC 9846 section 5.1).
			return false, unexpected("more in the record than the client hello")
		case len(r.msg) == want:
			return true, nil
		}
	}
	return false, nil
}
