package witness

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestPatternIsTheSameHoweverItIsRead(t *testing.T) {
	whole, err := io.ReadAll(io.LimitReader(Pattern("n"), 1000))
	if err != nil || len(whole) != 1000 {
		t.Fatalf("read whole: %d bytes, %v", len(whole), err)
	}
	byOne, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(Pattern("n"), 1000)))
	if err != nil || !bytes.Equal(whole, byOne) {
		t.Fatalf("byte by byte it differs, %v", err)
	}
	other, _ := io.ReadAll(io.LimitReader(Pattern("m"), 1000))
	if bytes.Equal(whole, other) {
		t.Fatal("two nonces have the same pattern")
	}
}

type duplex struct {
	io.Reader
	bytes.Buffer
}

func (d *duplex) Read(p []byte) (int, error)  { return d.Reader.Read(p) }
func (d *duplex) Write(p []byte) (int, error) { return d.Buffer.Write(p) }

func TestAskLeavesWhatFollowsTheRecord(t *testing.T) {
	in := strings.NewReader(`{"witness":"w","nonce":"7"}` + "\npayload")
	conn := &duplex{Reader: in}
	rec, err := Ask(conn, Order{Nonce: "7", Do: Echo})
	if err != nil || rec.Witness != "w" {
		t.Fatalf("ask: %+v, %v", rec, err)
	}
	if rest, _ := io.ReadAll(in); string(rest) != "payload" {
		t.Fatalf("left behind %q, want payload", rest)
	}
	if o, ok := ParseOrder(conn.Bytes()); !ok || o.Nonce != "7" || o.Do != Echo {
		t.Fatalf("sent %q", conn.Bytes())
	}
}

func TestAskNamesWhatWentWrong(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		want   error
	}{
		"silence":    {"", io.EOF},
		"cut line":   {`{"witness"`, io.ErrUnexpectedEOF},
		"endless":    {strings.Repeat("x", MaxLine+1), ErrLineTooLong},
		"other":      {`{"nonce":"8"}` + "\n", nil},
		"not a line": {"HTTP/1.1 400 Bad Request\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Ask(&duplex{Reader: strings.NewReader(c.answer)}, Order{Nonce: "7", Do: Echo})
			if err == nil || (c.want != nil && !errors.Is(err, c.want)) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestParseOrderRefusesWhatIsNone(t *testing.T) {
	for _, line := range []string{"", "WITNESS", "WITNESS {", `WITNESS {"do":"dance"}`, `WITNESS {"do":"source","bytes":-1}`, `witness {"do":"echo"}`} {
		if o, ok := ParseOrder([]byte(line)); ok {
			t.Errorf("%q was taken as %+v", line, o)
		}
	}
}
