package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
)

func TestFrameIsWhatTheRFCShows(t *testing.T) {
	for name, c := range map[string]struct {
		frame Frame
		head  []byte
	}{
		"a ping":               {Frame{Op: OpPing, Payload: []byte("Hello"), Unmasked: true}, []byte{0x89, 5}},
		"256 bytes":            {Frame{Op: OpBinary, Payload: make([]byte, 256), Unmasked: true}, []byte{0x82, 0x7e, 1, 0}},
		"64 KiB":               {Frame{Op: OpBinary, Payload: make([]byte, 65536), Unmasked: true}, []byte{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}},
		"a fragment":           {Frame{Op: OpText, Payload: []byte("Hel"), More: true, Unmasked: true}, []byte{1, 3}},
		"reserved bits":        {Frame{Op: OpBinary, RSV: 4, Unmasked: true}, []byte{0xc2, 0}},
		"a length in 64 bits":  {Frame{Op: OpBinary, Payload: []byte{1}, Form: 64, Unmasked: true}, []byte{0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0, 1}},
		"a length not its own": {Frame{Op: OpBinary, Announce: new(uint64(126)), Unmasked: true}, []byte{0x82, 0x7e, 0, 126}},
	} {
		if got, want := c.frame.Bytes(), append(slices.Clone(c.head), c.frame.Payload...); !bytes.Equal(got, want) {
			t.Errorf("%s: % x…, want % x…", name, got[:min(len(got), 12)], want[:min(len(want), 12)])
		}
	}
}

func TestReadFrameGivesBackWhatWasSent(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536} {
		for _, unmasked := range []bool{true, false} {
			sent := Frame{Op: OpBinary, Payload: bytes.Repeat([]byte{7}, size), More: size == 1, Unmasked: unmasked}
			got, err := ReadFrame(bytes.NewReader(sent.Bytes()))
			if err != nil || got.Op != sent.Op || got.More != sent.More || got.Unmasked != unmasked || !bytes.Equal(got.Payload, sent.Payload) {
				t.Errorf("%d bytes: %v, %v", size, got.Op, err)
			}
		}
	}
}

func TestReadFrameTellsAnEndFromACut(t *testing.T) {
	raw := Frame{Op: OpBinary, Payload: []byte("payload")}.Bytes()
	for at := range raw {
		want := io.ErrUnexpectedEOF
		if at == 0 {
			want = io.EOF
		}
		if _, err := ReadFrame(bytes.NewReader(raw[:at])); !errors.Is(err, want) {
			t.Errorf("cut behind byte %d: %v, want %v", at, err, want)
		}
	}
	if _, err := ReadFrame(bytes.NewReader(Frame{Op: OpBinary, Announce: new(uint64(maxRead + 1))}.Bytes())); err == nil {
		t.Error("a frame over the bound was read")
	}
}

func TestReadEndingSortsWhatCame(t *testing.T) {
	raw := Joined(Frame{Op: OpPing}, Frame{Op: OpPong, Payload: []byte("x")}, Frame{Op: OpClose, Payload: CloseBody(1002, "why")}, Frame{Op: OpBinary})
	e := ReadEnding(bytes.NewReader(raw))
	if len(e.Frames) != 1 || e.Frames[0].Op != OpPong || e.Close == nil || e.Close.CloseCode() != 1002 || len(e.Behind) != 1 || !errors.Is(e.Err, io.EOF) {
		t.Errorf("%+v", e)
	}
	flood := bytes.Repeat(Frame{Op: OpPong}.Bytes(), maxFrames+1)
	if e := ReadEnding(bytes.NewReader(flood)); e.Err == nil || errors.Is(e.Err, io.EOF) {
		t.Errorf("a flood ended with %v", e.Err)
	}
}

func TestWSClientShapesWritesAndKeepsPongs(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := NewWSClient(near)
	c.Shape = func(p []byte) [][]byte { return Drip(1)(Frame{Op: OpBinary, Payload: p}.Bytes()) }
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte("data"))
		wrote <- err
	}()
	if f, err := ReadFrame(far); err != nil || string(f.Payload) != "data" {
		t.Fatalf("%q, %v", f.Payload, err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := far.Write(Joined(Frame{Op: OpPong, Payload: []byte("one"), Unmasked: true}, Frame{Op: OpBinary, Payload: []byte("back"), Unmasked: true},
			Frame{Op: OpClose, Payload: CloseBody(1000, ""), Unmasked: true}))
		wrote <- err
	}()
	got, err := io.ReadAll(c)
	if closed, ok := errors.AsType[*CloseError](err); !ok || closed.Code != 1000 || string(got) != "back" || !slices.Equal(c.Pongs(), []string{"one"}) {
		t.Errorf("%q, %v, pongs %q", got, err, c.Pongs())
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
}
