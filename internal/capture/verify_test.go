package capture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/capture"
)

func TestVerify(t *testing.T) {
	at := time.Unix(1700000000, 0)
	segments := []capture.Segment{
		{At: at, Conn: "a", Kind: capture.Open},
		{At: at, Conn: "b", Kind: capture.Open},
		{At: at, Conn: "a", Kind: capture.Data, Data: bytes.Repeat([]byte("x"), 70000), Missing: 100000},
		{At: at, Conn: "a", Kind: capture.Data, FromServer: true, Data: []byte("hello")},
		{At: at, Conn: "a", Kind: capture.Fin},
		{At: at, Conn: "b", Kind: capture.Reset, FromServer: true},
		{At: at, Conn: "b", Kind: capture.Data, Data: []byte("too late")},
	}
	keylog := "CLIENT_HANDSHAKE_TRAFFIC_SECRET 01 aa\nSERVER_HANDSHAKE_TRAFFIC_SECRET 01 bb\nCLIENT_RANDOM 02 cc\n"
	write := func(segments []capture.Segment, keylog string) []byte {
		var file bytes.Buffer
		if err := capture.WritePcapng(&file, segments, []byte(keylog)); err != nil {
			t.Fatal(err)
		}
		return file.Bytes()
	}
	good := write(segments, keylog)
	broken := bytes.Clone(good)
	binary.LittleEndian.PutUint32(broken[4:], 13)
	for name, tc := range map[string]struct {
		file     []byte
		segments []capture.Segment
		sessions int
		want     string
	}{
		"as written":                    {good, segments, 2, ""},
		"nothing at all":                {write(nil, ""), nil, 0, ""},
		"empty":                         {write(nil, keylog), segments, 0, "the capture is empty, and there were 2 connections"},
		"without a connection":          {write([]capture.Segment{segments[0], segments[2], segments[3]}, keylog), segments, 0, "lacks connection b"},
		"without bytes of a connection": {write(segments[:2], keylog), segments, 0, "has 0 and 0 bytes of connection a, which carried 170000 and 5"},
		"without secrets":               {write(segments, ""), segments, 1, "secrets of 0 TLS sessions, and there were 1"},
		"without secrets of one":        {good, segments, 3, "secrets of 2 TLS sessions, and there were 3"},
		"no bytes":                      {nil, segments, 0, "cannot be read: it does not begin as"},
		"another file":                  {[]byte(strings.Repeat("nonsense", 8)), segments, 0, "cannot be read: it does not begin as"},
		"cut":                           {good[:len(good)-6], segments, 0, "cannot be read"},
		"a broken block":                {broken, segments, 0, "the block at byte 0 is broken"},
	} {
		err := capture.Verify(tc.file, tc.segments, tc.sessions)
		if _, ok := errors.AsType[*capture.UnsoundError](err); ok != (tc.want != "") || tc.want != "" && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	for n := range good { // whatever is cut off, it is an error and no panic
		if err := capture.Verify(good[:min(n, 2000)], segments, 0); err == nil {
			t.Errorf("the first %d bytes are taken for the whole", n)
		}
		if n > 2000 {
			break
		}
	}
}
