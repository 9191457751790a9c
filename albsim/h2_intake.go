package albsim

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// maxH2Field is AWS's limit of one field of h2, compressed: alb.md section 7, code 000.
const maxH2Field = 8 << 10

// h2Intake is an h2 connection as x/net/http2 gets it. It decodes each block of fields and writes it again, because x/net
// hides what an ALB acts on: it answers requests with a Connection or an Upgrade itself, in Go's words and in no log; it hands
// the fields over as a map; and the compressed length of a field is gone by then. So the fields that HTTP/2 forbids are taken
// out, and a field of ours in front names all that there were, in their order.
//
// A block that is malformed goes on as it came: x/net knows what to say of it.
type h2Intake struct {
	*plainConn
	br      *bufio.Reader
	out     []byte // to be read next
	pass    int    // bytes behind out that go on as they are
	decoder *hpack.Decoder
	encoder *hpack.Encoder
	block   bytes.Buffer
	limit   int                              // of what a request's fields may come to
	refused func(fields []hpack.HeaderField) // told of the request that ends the connection
	reset   func(fields []hpack.HeaderField) // told of a request that ends its stream for a forbidden field; nil for none
	beyond  uint32                           // the stream of that request: it and later ones are dropped; 0 for none
}

// h2Names is the field that names all others. hpack gives names in lower case, so that none of the client's is in its place.
const (
	h2Names    = "x-albsim-names"
	h2Oversize = "*" // at its end: there were more
)

// h2Forbidden are the fields of a connection: RFC 9113 section 8.2.2.
var h2Forbidden = []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}

func forbidden(f hpack.HeaderField) bool {
	return slices.Contains(h2Forbidden, f.Name) || f.Name == "te" && f.Value != "trailers"
}

func newH2Intake(conn *plainConn, limit int, refused func([]hpack.HeaderField)) *h2Intake {
	in := &h2Intake{plainConn: conn, br: bufio.NewReader(conn), pass: len(http2.ClientPreface), limit: limit, refused: refused}
	in.decoder = hpack.NewDecoder(4096, nil)
	in.encoder = hpack.NewEncoder(&in.block)
	in.encoder.SetMaxDynamicTableSize(0) // what goes on as it came must not meet a table of ours
	return in
}

func (in *h2Intake) Read(p []byte) (int, error) {
	for len(in.out) == 0 && in.pass == 0 {
		if err := in.frame(); err != nil {
			return 0, err
		}
	}
	if len(in.out) > 0 {
		n := copy(p, in.out)
		in.out = in.out[n:]
		return n, nil
	}
	n, err := in.br.Read(p[:min(len(p), in.pass)])
	in.pass -= n
	return n, err
}

// frameHead is RFC 9113 section 4.1.
type frameHead struct {
	length int
	kind   http2.FrameType
	flags  http2.Flags
	stream uint32
}

func (in *h2Intake) head() (h frameHead, raw []byte, err error) {
	raw = make([]byte, 9)
	if _, err = io.ReadFull(in.br, raw); errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	h.length = int(raw[0])<<16 | int(raw[1])<<8 | int(raw[2])
	h.kind, h.flags = http2.FrameType(raw[3]), http2.Flags(raw[4])
	h.stream = binary.BigEndian.Uint32(raw[5:]) &^ (1 << 31)
	return h, raw, err
}

// frame makes the next frame what is read next.
func (in *h2Intake) frame() error {
	h, raw, err := in.head()
	if err != nil {
		return err
	}
	if in.beyond != 0 && h.stream >= in.beyond && h.kind != http2.FrameHeaders {
		_, err := io.CopyN(io.Discard, in.br, int64(h.length))
		return err
	}
	if h.kind != http2.FrameHeaders {
		in.out, in.pass = raw, h.length
		return nil
	}
	first := h
	var priority, fragment []byte
	for {
		if len(raw)+h.length > 2*in.limit {
			return errLineTooLong // no request of that size is anything but an attack: the connection ends
		}
		at := len(raw)
		raw = append(raw, make([]byte, h.length)...)
		if _, err := io.ReadFull(in.br, raw[at:]); err != nil {
			return err
		}
		part, ok := raw[at:], true
		if h.kind == http2.FrameHeaders {
			priority, part, ok = unpadded(h, part)
		}
		if !ok || h.stream == 0 {
			in.out = raw
			return nil
		}
		fragment = append(fragment, part...)
		if h.flags.Has(http2.FlagHeadersEndHeaders) {
			if in.out, ok = in.rewrite(first, priority, fragment); !ok {
				in.out = raw
			}
			return nil
		}
		var next []byte
		if h, next, err = in.head(); err != nil {
			return err
		}
		raw = append(raw, next...)
		if h.kind != http2.FrameContinuation || h.stream != first.stream {
			in.out, in.pass = raw, h.length
			return nil
		}
	}
}

// unpadded are the priority and the fragment in a HEADERS frame: RFC 9113 section 6.2.
func unpadded(h frameHead, payload []byte) (priority, fragment []byte, ok bool) {
	pad := 0
	if h.flags.Has(http2.FlagHeadersPadded) {
		if len(payload) == 0 {
			return nil, nil, false
		}
		pad, payload = int(payload[0]), payload[1:]
	}
	if h.flags.Has(http2.FlagHeadersPriority) {
		if len(payload) < 5 {
			return nil, nil, false
		}
		priority, payload = payload[:5], payload[5:]
	}
	if pad > len(payload) {
		return nil, nil, false
	}
	return priority, payload[:len(payload)-pad], true
}

// rewrite is the block in one frame of ours: none, when it ends the connection. It is false for what cannot be decoded.
func (in *h2Intake) rewrite(h frameHead, priority, fragment []byte) (frame []byte, ok bool) {
	fields, size, long := []hpack.HeaderField(nil), 0, false
	in.decoder.SetEmitFunc(func(f hpack.HeaderField) {
		if size += len(f.Name) + len(f.Value) + 4; size <= in.limit+maxH2Field { // a small block can decode to a huge list
			fields = append(fields, f)
			long = long || !f.IsPseudo() && min(len(f.Value), int(hpack.HuffmanEncodeLength(f.Value))) > maxH2Field
		}
	})
	if _, err := in.decoder.Write(fragment); err != nil || in.decoder.Close() != nil {
		return nil, false
	}
	request := len(fields) > 0 && fields[0].IsPseudo()
	switch {
	case in.beyond != 0 && h.stream >= in.beyond:
		return nil, true
	case request && long:
		in.beyond = h.stream
		in.refused(fields)
		return nil, true
	}
	switch {
	case request && in.reset != nil && slices.ContainsFunc(fields, forbidden):
		in.reset(fields)
		// What has no :path is malformed to x/net as well, and it says so with PROTOCOL_ERROR.
		fields = slices.DeleteFunc(slices.Clone(fields), func(f hpack.HeaderField) bool { return f.Name == ":path" || !f.IsPseudo() })
	case request:
		fields = marked(fields, size > in.limit)
	}
	in.block.Reset()
	for _, f := range fields {
		_ = in.encoder.WriteField(f) // into memory
	}
	n := len(priority) + in.block.Len()
	flags := http2.FlagHeadersEndHeaders | h.flags&(http2.FlagHeadersEndStream|http2.FlagHeadersPriority)
	frame = append(make([]byte, 0, 9+n), byte(n>>16), byte(n>>8), byte(n), byte(http2.FrameHeaders), byte(flags))
	frame = binary.BigEndian.AppendUint32(frame, h.stream)
	return append(append(frame, priority...), in.block.Bytes()...), true
}

// marked has the names of the ordinary fields in front of them, and the forbidden ones only there.
func marked(fields []hpack.HeaderField, oversize bool) []hpack.HeaderField {
	pseudo := 0
	for pseudo < len(fields) && fields[pseudo].IsPseudo() {
		pseudo++
	}
	var names []string
	out := slices.Clone(fields[:pseudo])
	out = append(out, hpack.HeaderField{Name: h2Names})
	for _, f := range fields[pseudo:] {
		names = append(names, f.Name)
		if !forbidden(f) {
			out = append(out, f)
		}
	}
	if oversize {
		names = append(names, h2Oversize)
	}
	out[pseudo].Value = strings.Join(names, ",")
	return out
}
