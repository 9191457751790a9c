package witness

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// prefix begins every order line.
const prefix = "WITNESS "

// Orders lists what an [Order] may ask for.
var Orders = []string{Echo, Sink, Source, AfterEOF, HalfClose, Reset, Close, Truncate, Stall, Bulk}

// ErrLineTooLong is returned for an order or a record longer than MaxLine.
var ErrLineTooLong = errors.New("line longer than the witness protocol allows")

// Line returns the order as it is sent, newline included.
func (o Order) Line() ([]byte, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write order: %w", err)
	}
	line := append(append([]byte(prefix), body...), '\n')
	if len(line) > MaxLine {
		return nil, fmt.Errorf("write order: %w", ErrLineTooLong)
	}
	return line, nil
}

// ParseOrder reads an order line, with or without its newline. False means that the line is not an order.
func ParseOrder(line []byte) (Order, bool) {
	var o Order
	if len(line) < len(prefix) || string(line[:len(prefix)]) != prefix {
		return o, false
	}
	if json.Unmarshal(line[len(prefix):], &o) != nil {
		return Order{}, false
	}
	return o, slices.Contains(Orders, o.Do) && o.Bytes >= 0 && o.ForMS >= 0
}

// Ask sends an order on conn and returns the witness's first record. It reads that one line and not a byte more, so that
// conn may be used for the payload. How long it may take is the caller's to say, by a deadline on conn.
func Ask(conn io.ReadWriter, o Order) (Record, error) {
	line, err := o.Line()
	if err != nil {
		return Record{}, err
	}
	if _, err := conn.Write(line); err != nil {
		return Record{}, fmt.Errorf("send order: %w", err)
	}
	rec, err := ReadRecord(conn)
	if err == nil && rec.Nonce != o.Nonce {
		return rec, fmt.Errorf("read record: it answers nonce %q, not %q", rec.Nonce, o.Nonce)
	}
	return rec, err
}

// ReadRecord reads one line, byte by byte so that nothing behind it is consumed. The end of the stream before the first
// byte is io.EOF, inside the line io.ErrUnexpectedEOF.
func ReadRecord(r io.Reader) (Record, error) {
	var rec Record
	line := make([]byte, 0, 512)
	one := make([]byte, 1)
	for {
		n, err := r.Read(one)
		if n == 1 {
			if one[0] == '\n' {
				break
			}
			if line = append(line, one[0]); len(line) >= MaxLine {
				return rec, fmt.Errorf("read record: %w", ErrLineTooLong)
			}
			continue
		}
		if err == io.EOF && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return rec, fmt.Errorf("read record: %w", err)
		}
	}
	if err := json.Unmarshal(line, &rec); err != nil {
		return rec, fmt.Errorf("read record: %w (%.80q)", err, line)
	}
	return rec, nil
}
