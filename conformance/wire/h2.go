package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// maxH2Fields bounds the fields of one answer, in bytes.
const maxH2Fields = 64 << 10

// H2 is the client's end of an HTTP/2 connection, for checks that look at frames. Reading and writing are one goroutine's; deadlines are
// those of the connection.
type H2 struct {
	*http2.Framer
	// Settings are the server's first.
	Settings []http2.Setting

	encoder *hpack.Encoder
	block   bytes.Buffer
	next    uint32
}

// H2Response is the head of an answer.
type H2Response struct {
	Status string
	Fields []hpack.HeaderField
	// Ended says that no body and no trailers follow.
	Ended bool
}

// Field is the value of the first field of that lower-case name, "" when there is none.
func (r *H2Response) Field(name string) string {
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// ErrGoAway says that the server ends the connection in order.
var ErrGoAway = errors.New("http/2: the server sent GOAWAY")

// NewH2 sends the preface and our settings, and reads the server's.
func NewH2(conn net.Conn) (*H2, error) {
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return nil, fmt.Errorf("http/2: writing the preface: %w", err)
	}
	h := &H2{Framer: http2.NewFramer(conn, conn), next: 1}
	h.SetMaxReadFrameSize(1 << 14) // what RFC 9113 section 4.2 lets a server send to who has not asked for more
	h.ReadMetaHeaders, h.MaxHeaderListSize = hpack.NewDecoder(4096, nil), maxH2Fields
	h.encoder = hpack.NewEncoder(&h.block)
	if err := h.WriteSettings(); err != nil {
		return nil, fmt.Errorf("http/2: writing settings: %w", err)
	}
	frame, err := h.ReadFrame()
	if err != nil {
		return nil, fmt.Errorf("http/2: reading settings: %w", err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return nil, fmt.Errorf("http/2: the server began with %v, not its settings", frame.Header())
	}
	_ = settings.ForeachSetting(func(s http2.Setting) error { h.Settings = append(h.Settings, s); return nil })
	return h, h.WriteSettingsAck()
}

// Ask sends a request of these fields, given as name and value by turns, on a stream of its own. A nil body is none.
func (h *H2) Ask(body []byte, fields ...string) (stream uint32, err error) {
	h.block.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		if err := h.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			return 0, fmt.Errorf("http/2: %w", err)
		}
	}
	stream = h.next
	h.next += 2
	err = h.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: h.block.Bytes(), EndStream: body == nil, EndHeaders: true})
	if err == nil && body != nil {
		err = h.WriteData(stream, true, body)
	}
	return stream, err
}

// Response reads up to the head of the answer on the stream. A GOAWAY is ErrGoAway, whatever stream it lets end.
func (h *H2) Response(stream uint32) (*H2Response, error) {
	for {
		frame, err := h.ReadFrame()
		if err != nil {
			return nil, fmt.Errorf("http/2: reading: %w", err)
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID == stream {
				return &H2Response{f.PseudoValue("status"), f.RegularFields(), f.StreamEnded()}, nil
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == stream {
				return nil, fmt.Errorf("http/2: the stream was reset: %v", f.ErrCode)
			}
		case *http2.GoAwayFrame:
			return nil, fmt.Errorf("%w (%v)", ErrGoAway, f.ErrCode)
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = h.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				err = h.WritePing(true, f.Data)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("http/2: %w", err)
		}
	}
}
