package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// protect is the sender's half of what clientCert13 reads: TLS 1.3 records of a type under a traffic secret.
func protect(t *testing.T, suite uint16, secret []byte, seq uint64, typ byte, body []byte, padding int) []byte {
	t.Helper()
	aead, iv, err := trafficKey(suite, secret)
	if err != nil {
		t.Fatal(err)
	}
	nonce := bytes.Clone(iv)
	for i := range 8 {
		nonce[len(nonce)-1-i] ^= byte(seq >> (8 * i))
	}
	inner := append(append(bytes.Clone(body), typ), make([]byte, padding)...)
	head := binary.BigEndian.AppendUint16([]byte{recordApplication, 3, 3}, uint16(len(inner)+aead.Overhead()))
	return append(bytes.Clone(head), aead.Seal(nil, nonce, inner, head)...)
}

// message is a handshake message.
func message(typ byte, body []byte) []byte {
	return append([]byte{typ, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

func TestCertificateIsSeenUnderEveryCipherSuite(t *testing.T) {
	certificate := append([]byte{0, 0, 0, 105, 0, 0, 100}, make([]byte, 102)...)
	ccs := []byte{recordCCS, 3, 3, 0, 1, 1}
	for _, suite := range []uint16{0x1301, 0x1302, 0x1303} {
		size := 32
		if suite == 0x1302 {
			size = 48
		}
		secret := bytes.Repeat([]byte{7}, size)
		other := bytes.Repeat([]byte{9}, size)
		record := func(seq uint64, typ byte, body []byte) []byte { return protect(t, suite, secret, seq, typ, body, 3) }
		full := message(messageCertificate, certificate)
		for _, c := range []struct {
			name string
			sent []byte
			want string
		}{
			{"certificate", record(0, recordHandshake, full), "true"},
			{"behind a ChangeCipherSpec", append(bytes.Clone(ccs), record(0, recordHandshake, full)...), "true"},
			{"in two records", append(record(0, recordHandshake, full[:20]), record(1, recordHandshake, full[20:])...), "true"},
			{"behind early data", append(protect(t, suite, other, 0, recordApplication, []byte("GET /"), 0), record(0, recordHandshake, full)...), "true"},
			{"empty list", record(0, recordHandshake, append(message(messageCertificate, []byte{0, 0, 0, 0}), message(messageFinished, make([]byte, 32))...)), "false"},
			{"only a Finished", record(0, recordHandshake, message(messageFinished, make([]byte, 32))), "false"},
			{"alert", record(0, 21, []byte{2, 42}), "not a handshake"},
			{"cut short", record(0, recordHandshake, full)[:40], "more bytes"},
			{"Certificate without a list", record(0, recordHandshake, message(messageCertificate, []byte{9})), "cut short"},
		} {
			got, err := clientCert(c.sent, answer{versionTLS13, suite}, secret)
			text := fmt.Sprint(got)
			if err != nil {
				text = err.Error()
			}
			if !strings.Contains(text, c.want) {
				t.Errorf("suite %#04x, %s: %s, want %s", suite, c.name, text, c.want)
			}
		}
	}
	if _, err := clientCert(nil, answer{versionTLS13, 0x1304}, make([]byte, 32)); err == nil {
		t.Error("a cipher suite that is not known passed")
	}
}

func TestKeyLogTakesLinesInAnyPieces(t *testing.T) {
	var k KeyLog
	random := [32]byte{1, 2, 3}
	text := fmt.Sprintf("# comment\nCLIENT_RANDOM %064x %096x\nCLIENT_HANDSHAKE_TRAFFIC_SECRET %x 0a0b\nCLIENT_HANDSHAKE_TRAFFIC_SECRET zz zz\n", 1, 2, random)
	for i := range len(text) {
		if _, err := k.Write([]byte{text[i]}); err != nil {
			t.Fatal(err)
		}
		if i == len(text)/2 {
			k.clientHandshake(random) // asked too early must do no harm
		}
	}
	if got := k.clientHandshake(random); !bytes.Equal(got, []byte{0x0a, 0x0b}) {
		t.Errorf("secret %x", got)
	}
	if k.clientHandshake([32]byte{9}) != nil {
		t.Error("a secret for a random that was never there")
	}
	if string(k.Bytes()) != text {
		t.Error("Bytes is not what was written")
	}
}

func TestStreamIsTheSameHoweverItIsCut(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	want := make([]byte, 20_000)
	for i := range want {
		want[i] = byte(random.Uint32())
	}
	for round := range 200 {
		first := random.Uint32()
		if round%2 == 0 {
			first = 0xffffffff - random.Uint32N(20_000) // the numbers wrap on the way
		}
		type seg struct {
			seq  uint32
			data []byte
		}
		var segs []seg
		for at := 0; at < len(want); {
			n := min(1+random.IntN(3000), len(want)-at)
			back := min(at, random.IntN(500)) // overlap, as when TCP repeats itself in other pieces
			segs = append(segs, seg{first + 1 + uint32(at-back), want[at-back : at+n]})
			at += n
		}
		random.Shuffle(len(segs), func(i, j int) { segs[i], segs[j] = segs[j], segs[i] })
		var s stream
		s.syn(first)
		grown := 0
		for _, g := range append(segs, segs...) {
			grown += s.add(g.seq, g.data)
		}
		if !bytes.Equal(s.data, want) || s.held != 0 || len(s.ahead) != 0 || grown != len(want) {
			t.Fatalf("round %d: %d bytes, %d held in %d, grown %d", round, len(s.data), s.held, len(s.ahead), grown)
		}
	}
}

func TestStreamKeepsWithinItsBound(t *testing.T) {
	s := stream{limit: 1000}
	s.syn(0)
	for i := range 100 {
		s.add(uint32(1+100*i), make([]byte, 100))
	}
	if len(s.data) != 1000 {
		t.Errorf("%d bytes kept of a bound of 1000", len(s.data))
	}
	var gap stream
	gap.syn(0)
	for i := range 10_000 {
		gap.add(uint32(2+1000*i), make([]byte, 1000)) // byte 1 never comes
	}
	if gap.held > maxAhead {
		t.Errorf("%d bytes held behind a gap", gap.held)
	}
}

// Bytes off the wire may be anything.
func FuzzHandshakeBytesNeverPanic(f *testing.F) {
	f.Add([]byte{22, 3, 1, 0, 4, 2, 0, 0, 0}, []byte{22, 3, 3, 0, 4, 11, 0, 0, 0})
	f.Fuzz(func(t *testing.T, server, client []byte) {
		a, err := serverHello(server)
		if err == nil && a.version == 0 && len(server) < 40 {
			t.Errorf("a ServerHello out of %x", server)
		}
		for _, version := range []uint16{0x0303, versionTLS13} {
			if cert, err := clientCert(client, answer{version, 0x1301}, make([]byte, 32)); cert && err != nil {
				t.Errorf("a certificate and an error: %v", err)
			}
		}
	})
}

func TestProxyHeaderIsSkipped(t *testing.T) {
	v2 := append([]byte(proxyV2), 0x21, 0x11, 0, 12)
	v2 = append(v2, make([]byte, 12)...)
	for name, header := range map[string][]byte{"none": nil, "v1": []byte("PROXY TCP4 127.0.0.2 127.0.0.1 1 2\r\n"), "v2": v2} {
		whole := slices.Concat(header, []byte{22, 3, 1})
		for n := range len(header) {
			if _, err := proxyHeader(whole[:n]); !errors.Is(err, errMore) {
				t.Errorf("%s, %d bytes: %v", name, n, err)
			}
		}
		if n, err := proxyHeader(whole); n != len(header) || err != nil {
			t.Errorf("%s: %d bytes of %d, %v", name, n, len(header), err)
		}
	}
	if _, err := proxyHeader([]byte("PROXY " + strings.Repeat("x", maxV1))); !errors.Is(err, errMore) {
		t.Errorf("a v1 header without an end: %v", err)
	}
	if n, err := proxyHeader([]byte("GET / HTTP/1.1\r\n")); n != 0 || err != nil {
		t.Errorf("no header at all: %d, %v", n, err)
	}
}
