package albsim

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// FuzzFrames holds that frames that are split, masked anew or merged carry what those carried that came in, up to where that breaks off.
func FuzzFrames(f *testing.F) {
	key := []byte{1, 2, 3, 4}
	f.Add([]byte(frame(0x82, "0123456789", key)+frame(0x89, "ping", nil)+frame(0x01, "", nil)), uint8(3), false)
	f.Add([]byte(frame(0x02, strings.Repeat("x", 300), key)+"\x80"), uint8(0), true)
	f.Add([]byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"), uint8(1), true)
	f.Fuzz(func(t *testing.T, in []byte, most uint8, remask bool) {
		if len(in) > 4096 {
			return
		}
		came, cameEnd := payloads(bytes.NewReader(in))
		for _, r := range []io.Reader{
			&reframer{br: newReader(in), most: int64(most), remask: remask},
			&merger{br: newReader(in), most: 1 + int(most)},
		} {
			out, err := io.ReadAll(r)
			if (cameEnd == nil) != (err == nil) {
				t.Fatalf("frames that end with %v come out with %v", cameEnd, err)
			}
			went, _ := payloads(bytes.NewReader(out))
			if !strings.HasPrefix(went, came) {
				t.Fatalf("%q became %q", came, went)
			}
		}
	})
}

// payloads joins those of whole frames; the error is nil for an end between two.
func payloads(r io.Reader) (all string, err error) {
	for {
		f, err := readFrame(r)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all += f.payload
	}
}
