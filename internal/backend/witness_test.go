package backend

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// askTimeout bounds each exchange of these tests.
const askTimeout = 10 * time.Second

func dialWitness(t *testing.T, r *Running, overTLS bool) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		t.Fatal(err)
	}
	if !overTLS {
		return c
	}
	raw := &rawConn{Conn: c, br: bufio.NewReader(c)} // tells close_notify from a mere FIN
	tc := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: "pass.example.test", NextProtos: []string{"one", "two"}})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	return &tlsConn{tc, raw}
}

func finished(t *testing.T, r *Running, nonce string) witness.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), askTimeout)
	defer cancel()
	rec, err := r.Witness.Wait(ctx, nonce, true)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func pattern(nonce string, n int64) []byte {
	b, _ := io.ReadAll(io.LimitReader(witness.Pattern(nonce), n))
	return b
}

// rawEnd reads TCP to its end, past TLS, and says how it ended.
func rawEnd(c net.Conn) error {
	_, err := io.Copy(io.Discard, netx.TCP(c))
	return err
}

func TestWitnessFollowsOrders(t *testing.T) {
	const size = 300_000
	sent := bytes.Repeat([]byte("payload "), 5000)
	r := start(t, Embedded, Witness)
	for _, c := range []struct {
		name  string
		order witness.Order
		// send is written after the record, then the client half-closes; nil: nothing, and no half-close.
		send []byte
		// want is what comes back to the end of the stream; second asks for a second record instead.
		want    []byte
		second  bool
		in, out int64
		end     string
		// tlsErr is what a TLS client must meet at the end: nil is close_notify.
		tlsErr error
	}{
		{name: "echo", order: witness.Order{Do: witness.Echo}, send: sent, want: sent, in: int64(len(sent)), out: int64(len(sent)), end: "eof"},
		{name: "sink", order: witness.Order{Do: witness.Sink}, send: sent, second: true, in: int64(len(sent)), end: "eof"},
		{name: "source", order: witness.Order{Do: witness.Source, Bytes: size}, send: sent, want: pattern("source", size), in: int64(len(sent)), out: size, end: "eof"},
		{name: "after-eof", order: witness.Order{Do: witness.AfterEOF, Bytes: size}, send: sent, want: pattern("after-eof", size), in: int64(len(sent)), out: size, end: "eof"},
		{name: "half-close", order: witness.Order{Do: witness.HalfClose}, send: sent, want: []byte{}, in: int64(len(sent)), end: "eof"},
		{name: "close", order: witness.Order{Do: witness.Close}, want: []byte{}},
		{name: "truncate", order: witness.Order{Do: witness.Truncate, Bytes: size}, want: pattern("truncate", size), out: size, tlsErr: errTruncated},
		{name: "stall", order: witness.Order{Do: witness.Stall, ForMS: 50}, send: sent, second: true, in: int64(len(sent)), end: "eof"},
	} {
		for _, overTLS := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%v", c.name, overTLS), func(t *testing.T) {
				// The nonce is the name so that the wanted pattern can stand in the table; TLS comes second.
				conn := dialWitness(t, r, overTLS)
				order := c.order
				order.Nonce = c.name
				begun := time.Now()
				rec, err := witness.Ask(conn, order)
				if err != nil {
					t.Fatal(err)
				}
				if rec.Witness != Witness || rec.Remote != conn.LocalAddr().String() || (rec.TLS != nil) != overTLS || rec.Finished {
					t.Errorf("first record %+v", rec)
				}
				if c.send != nil {
					if _, err := conn.Write(c.send); err != nil {
						t.Fatal(err)
					}
					if err := netx.CloseWrite(conn); err != nil {
						t.Fatal(err)
					}
				}
				if c.second {
					second, err := witness.ReadRecord(conn)
					if err != nil || second.In != c.in || second.SHA256 != hexSum(c.send) || second.End != "eof" || !second.Finished {
						t.Fatalf("second record %+v, %v", second, err)
					}
				}
				got, err := io.ReadAll(conn)
				if !bytes.Equal(got, c.want) {
					t.Errorf("came back: %d bytes, want %d", len(got), len(c.want))
				}
				if want := c.tlsErr; overTLS && !errors.Is(err, want) || !overTLS && err != nil {
					t.Errorf("the end: %v, want %v", err, want)
				}
				conn.Close()
				last := finished(t, r, c.name)
				wantEnd := c.end
				if wantEnd == "" { // the client closed without half-closing first
					wantEnd = last.End
				}
				if last.In != c.in || last.Out != c.out || last.End != wantEnd || last.Nonce != c.name {
					t.Errorf("final record %+v", last)
				}
				if c.order.Do == witness.Stall && time.Since(begun) < 50*time.Millisecond {
					t.Error("the stall was too short")
				}
			})
			r.Witness.(*witnessLog).forget(c.name)
		}
	}
}

// forget lets a nonce be used again.
func (l *witnessLog) forget(nonce string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.byNonce[nonce] {
		e.rec.Nonce = "forgotten"
	}
	l.byNonce["forgotten"] = append(l.byNonce["forgotten"], l.byNonce[nonce]...)
	delete(l.byNonce, nonce)
}

func TestWitnessResets(t *testing.T) {
	r := start(t, Embedded, Witness)
	for _, overTLS := range []bool{false, true} {
		conn := dialWitness(t, r, overTLS)
		nonce := fmt.Sprint("reset", overTLS)
		order := witness.Order{Nonce: nonce, Do: witness.Reset}
		if overTLS {
			order.Bytes = 2
		}
		if _, err := witness.Ask(conn, order); err != nil {
			t.Fatal(err)
		}
		for range order.Bytes { // one write for each: none may be met by the reset
			if _, err := conn.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		if err := rawEnd(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("tls=%v: ended with %v, want a reset", overTLS, err)
		}
		finished(t, r, nonce)
	}
}

func TestWitnessTellsHowTheClientEnded(t *testing.T) {
	r := start(t, Embedded, Witness)
	for _, c := range []struct {
		name    string
		overTLS bool
		end     func(net.Conn) error
		want    string
	}{
		{"plain fin", false, netx.CloseWrite, "eof"},
		{"plain reset", false, netx.Reset, "reset"},
		{"tls close_notify", true, netx.CloseWrite, "eof"},
		{"tls fin without close_notify", true, func(c net.Conn) error { return netx.TCP(c).CloseWrite() }, "truncated"},
		{"tls reset", true, netx.Reset, "reset"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dialWitness(t, r, c.overTLS)
			if _, err := witness.Ask(conn, witness.Order{Nonce: c.name, Do: witness.HalfClose}); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte("four")); err != nil {
				t.Fatal(err)
			}
			// The bytes must have arrived: a reset may overtake them.
			for r.Witness.Find(c.name)[0].In < 4 {
				if t.Context().Err() != nil {
					t.Fatal("the bytes did not arrive")
				}
				time.Sleep(time.Millisecond)
			}
			if err := c.end(conn); err != nil {
				t.Fatal(err)
			}
			rec := finished(t, r, c.name)
			if rec.End != c.want || rec.In != 4 || rec.SHA256 != hexSum([]byte("four")) {
				t.Errorf("record %+v, want end %q", rec, c.want)
			}
		})
	}
}

func TestWitnessRecordsTheHello(t *testing.T) {
	r := start(t, Embedded, Witness)
	c, err := net.Dial("tcp", r.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var written bytes.Buffer
	client, err := certs.SelfSigned(certs.Leaf{CommonName: "somebody", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	tc := tls.Client(&teeConn{c, &written}, &tls.Config{
		InsecureSkipVerify: true, ServerName: "pass.example.test", NextProtos: []string{"x-odd", "h2"}, Certificates: []tls.Certificate{client},
	})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	hello := bytes.Clone(written.Bytes())
	size := 5 + int(hello[3])<<8 + int(hello[4])
	rec, err := witness.Ask(tc, witness.Order{Nonce: "hello", Do: witness.Close})
	if err != nil || rec.TLS == nil {
		t.Fatalf("%+v, %v", rec, err)
	}
	got := *rec.TLS
	if got.SNI != "pass.example.test" || strings.Join(got.ALPN, " ") != "x-odd h2" || got.Negotiated != "x-odd" || got.Version != "TLS 1.3" || got.ClientCert != "CN=somebody" {
		t.Errorf("saw %+v", got)
	}
	if got.RawSHA256 != hexSum(hello[:size]) || got.HelloSHA256 != hexSum(hello[5:size]) || got.HelloBytes != size-5 {
		t.Errorf("hashes %+v", got)
	}
	if tc.ConnectionState().NegotiatedProtocol != "x-odd" {
		t.Error("the first protocol was not confirmed")
	}
}

type teeConn struct {
	net.Conn
	written *bytes.Buffer
}

func (c *teeConn) Write(p []byte) (int, error) {
	c.written.Write(p)
	return c.Conn.Write(p)
}

func TestWitnessRecordsWhatIsNoOrder(t *testing.T) {
	r := start(t, Embedded, Witness)
	sent := "GET / HTTP/1.1\r\n\r\n" + strings.Repeat("z", 40_000)
	c := dialWitness(t, r, false)
	if _, err := io.WriteString(c, sent); err != nil {
		t.Fatal(err)
	}
	if err := netx.CloseWrite(c); err != nil {
		t.Fatal(err)
	}
	if back, err := io.ReadAll(c); len(back) > 0 || err != nil {
		t.Errorf("answered %q, %v", back, err)
	}
	rec := finished(t, r, "")
	sum := sha256.Sum256([]byte(sent))
	if rec.In != int64(len(sent)) || rec.SHA256 != hex.EncodeToString(sum[:]) || rec.End != "eof" {
		t.Errorf("record %+v", rec)
	}
	if n := r.Witness.Accepted(); n != 1 {
		t.Errorf("accepted %d", n)
	}
}

func TestWitnessRecordsTheProxyHeader(t *testing.T) {
	r := start(t, Embedded, Witness)
	src, dst := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 8), Port: 443}
	for version := byte(1); version <= 2; version++ {
		c, err := net.Dial("tcp", r.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := proxyproto.HeaderProxyFromAddrs(version, src, dst).WriteTo(c); err != nil {
			t.Fatal(err)
		}
		tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		rec, err := witness.Ask(tc, witness.Order{Nonce: fmt.Sprint(version), Do: witness.Close})
		if err != nil || rec.Proxy != "PROXY TCP4 192.0.2.7 192.0.2.8 4711 443" || rec.TLS == nil {
			t.Errorf("version %d: %+v, %v", version, rec, err)
		}
	}
}

func TestWitnessEndsIdleConnectionsOnClose(t *testing.T) {
	r := start(t, Embedded, Witness)
	idle := dialWitness(t, r, false)
	asked := dialWitness(t, r, true)
	if _, err := witness.Ask(asked, witness.Order{Nonce: "idle", Do: witness.Echo}); err != nil {
		t.Fatal(err)
	}
	stalled := dialWitness(t, r, false)
	if _, err := witness.Ask(stalled, witness.Order{Nonce: "stalled", Do: witness.Stall, ForMS: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	closeBackend(t, r)
	for _, c := range []net.Conn{idle, asked, stalled} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection outlived Close")
		}
	}
	if rec := finished(t, r, "idle"); !strings.HasPrefix(rec.End, "error: ") {
		t.Errorf("end %q", rec.End)
	}
}

func TestWitnessLogIsBounded(t *testing.T) {
	l := newWitnessLog()
	for i := range maxRecords + 10 {
		l.update(&entry{}, func(rec *witness.Record) { rec.Nonce = fmt.Sprint(i / 2) })
	}
	if len(l.order) != maxRecords || len(l.Find("0")) != 0 || len(l.Find("5")) != 2 || len(l.byNonce) != maxRecords/2 {
		t.Errorf("%d records, %d nonces", len(l.order), len(l.byNonce))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.Wait(ctx, "5", true); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waited for what is not over: %v", err)
	}
}

// A handshake that fails leaves what came with the ClientHello, and behind it, as it was on the wire.
func TestWitnessRecordsWhatCameBehindARefusedHello(t *testing.T) {
	r := start(t, Embedded, Witness)
	ours, theirs := net.Pipe()
	go func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: "refused.example.test", MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}).Handshake()
	}()
	hello := make([]byte, 5)
	if _, err := io.ReadFull(ours, hello); err != nil {
		t.Fatal(err)
	}
	hello = append(hello, make([]byte, int(hello[3])<<8|int(hello[4]))...)
	if _, err := io.ReadFull(ours, hello[5:]); err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	c := dialWitness(t, r, false)
	behind := bytes.Repeat([]byte("\x17\x03\x03\x00\x01x"), 5000)
	for _, part := range [][]byte{append(bytes.Clone(hello), behind[:100]...), behind[100:]} {
		if _, err := c.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := netx.CloseWrite(c); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, []byte("\x15\x03\x01\x00\x02\x02\x46")) {
		t.Errorf("read % x, %v, want the alert protocol_version", got, err)
	}
	rec := finished(t, r, "")
	sum := sha256.Sum256(behind)
	if rec.TLS == nil || rec.TLS.SNI != "refused.example.test" || len(rec.TLS.Random) != 64 || rec.In != int64(len(behind)) || rec.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("record %+v, TLS %+v", rec, rec.TLS)
	}
}
