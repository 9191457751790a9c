package splice

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

func TestJoinTurnsCloseNotifyIntoFIN(t *testing.T) {
	peer, _, a := tlsPair(t)
	cb, b := tcpPair(t)
	tn := start(t, a, b)
	send(t, peer, "question")
	_ = peer.CloseWrite()
	wantEOF(t, cb, "question")
	send(t, cb, "answer")
	_ = cb.CloseWrite()
	wantEOF(t, peer, "answer")
	_ = peer.Close()
	r := tn.wait(EndEOF)
	if r.AToB != 8 || r.BToA != 6 {
		t.Errorf("counts: %+v", r)
	}
}

// crypto/tls says io.EOF for a FIN between two records: it must not become a clean end of a plain backend.
func TestJoinTurnsATLSEndWithoutCloseNotifyIntoAReset(t *testing.T) {
	for name, version := range map[string]uint16{"1.3": tls.VersionTLS13, "1.2": tls.VersionTLS12} {
		t.Run(name, func(t *testing.T) {
			raw, ours := tcpPair(t)
			peer, a := tlsOver(t, raw, ours, version)
			cb, b := tcpPair(t)
			tn := start(t, a, b)
			send(t, peer, "half an order")
			expect(t, cb, "half an order")
			_ = raw.CloseWrite() // FIN at a record boundary, no close_notify
			if rest := wantReset(t, cb); len(rest) > 0 {
				t.Errorf("%d bytes more", len(rest))
			}
			tn.wait(EndTruncatedA)
			if _, err := peer.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the TLS side read %v, want an abort", err)
			}
		})
	}
}

func TestJoinTurnsACutRecordIntoAReset(t *testing.T) {
	_, raw, a := tlsPair(t)
	cb, b := tcpPair(t)
	tn := start(t, a, b)
	if _, err := raw.Write([]byte{23, 3, 3, 0, 100, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	_ = raw.CloseWrite()
	wantReset(t, cb)
	tn.wait(EndTruncatedA)
}

func TestJoinTurnsAResetOfTheBackendIntoATLSAbort(t *testing.T) {
	peer, _, a := tlsPair(t)
	cb, b := tcpPair(t)
	tn := start(t, a, b)
	send(t, cb, "half an answer")
	expect(t, peer, "half an answer")
	reset(t, cb)
	wantReset(t, peer)
	tn.wait(EndResetB)
}

func TestJoinTurnsABadRecordIntoAReset(t *testing.T) {
	_, raw, a := tlsPair(t)
	cb, b := tcpPair(t)
	tn := start(t, a, b)
	if _, err := raw.Write(append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...)); err != nil {
		t.Fatal(err)
	}
	wantReset(t, cb)
	tn.wait(EndErrorA)
}

// TLS in TLS, as after an upgrade: the layers end one after the other, and each end must be told from the others.
func TestJoinTellsTheEndsOfNestedTLSApart(t *testing.T) {
	nested := func(t *testing.T) (inner, outer *tls.Conn, raw *net.TCPConn, a *tls.Conn) {
		outer, raw, ours := tlsPair(t)
		inner, a = tlsOver(t, outer, ours, 0)
		return inner, outer, raw, a
	}
	t.Run("inner close_notify and all behind it", func(t *testing.T) {
		inner, _, _, a := nested(t)
		cb, b := tcpPair(t)
		tn := start(t, a, b)
		send(t, inner, "x")
		inner.Close() // close_notify inside, close_notify outside, FIN: often one segment
		wantEOF(t, cb, "x")
		begun := time.Now()
		_ = cb.CloseWrite()
		tn.wait(EndEOF)
		if took := time.Since(begun); took >= drainStall {
			t.Errorf("waited %v for a peer that has gone", took)
		}
	})
	t.Run("inner half-close and an answer", func(t *testing.T) {
		inner, _, _, a := nested(t)
		cb, b := tcpPair(t)
		tn := start(t, a, b)
		_ = inner.CloseWrite()
		wantEOF(t, cb, "")
		send(t, cb, "answer")
		_ = cb.Close()
		wantEOF(t, inner, "answer")
		_ = inner.Close()
		tn.wait(EndEOF)
	})
	t.Run("outer close_notify without an inner one", func(t *testing.T) {
		inner, outer, _, a := nested(t)
		cb, b := tcpPair(t)
		tn := start(t, a, b)
		send(t, inner, "x")
		expect(t, cb, "x")
		_ = outer.CloseWrite()
		wantReset(t, cb)
		tn.wait(EndTruncatedA)
	})
	t.Run("outer cut off under a layer that passes bytes on", func(t *testing.T) {
		peer, raw, a := tlsPair(t)
		cb, b := tcpPair(t)
		tn := start(t, opaque{a}, b)
		send(t, peer, "x")
		expect(t, cb, "x")
		_ = raw.CloseWrite()
		wantReset(t, cb)
		tn.wait(EndTruncatedA)
	})
}

// framed is a layer with an end of its own, like a WebSocket: it stops reading at its closing frame, '.', and what the layers
// below say after that stays unread.
type framed struct{ *tls.Conn }

func (f framed) Unwrap() net.Conn { return f.Conn }
func (f framed) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p[:1])
	if n == 1 && p[0] == '.' {
		return 0, io.EOF
	}
	return n, err
}

// Closing a socket with unread bytes resets it, and the reset would destroy an answer that is still on its way.
func TestJoinDeliversAllToAPeerWhoseLastBytesStayUnread(t *testing.T) {
	peer, raw, a := tlsPair(t)
	cb, b := tcpPair(t)
	tn := start(t, framed{a}, b)
	// More than crypto/tls reads ahead, so that it stays in the socket.
	send(t, peer, "q."+strings.Repeat("unread", 10<<10))
	_ = peer.CloseWrite()
	wantEOF(t, cb, "q")
	const size = 1 << 20 // the router's send queue takes it all, the peer's receive queue does not
	send(t, cb, string(make([]byte, size)))
	_ = cb.CloseWrite()
	acknowledged(t, cb)
	<-time.After(drainStall / 5) // a router that hurries has closed by now
	_ = raw.SetDeadline(time.Now().Add(patience))
	n, err := io.Copy(io.Discard, peer)
	if err != nil || n != size {
		t.Errorf("read %d of %d bytes: %v", n, size, err)
	}
	_ = raw.Close()
	tn.wait(EndEOF)
}

// A load balancer in between has taken all and passed on nothing yet, when a pong of the client's comes late: a reset for it would
// end the tunnel before its time. Nor does somebody who never closes hold the router for ever.
func TestJoinLingersBehindItsGoodbye(t *testing.T) {
	peer, raw, a := tlsPair(t)
	cb, b := tcpPair(t)
	tn := start(t, framed{a}, b)
	send(t, peer, "q.")
	wantEOF(t, cb, "q")
	send(t, cb, "answer")
	_ = cb.CloseWrite()
	begun := time.Now()
	for range 20 {
		if _, err := raw.Write([]byte("late")); err != nil {
			t.Fatalf("%v after the end: %v", time.Since(begun), err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	wantEOF(t, peer, "answer")
	tn.wait(EndEOF)
	if took := time.Since(begun); took < lingerQuiet || took > 2*lingerQuiet {
		t.Errorf("ended after %v, want to have lingered for %v", took, lingerQuiet)
	}
}

func TestWatchEOFTellsABareEndFromCloseNotify(t *testing.T) {
	for name, clean := range map[string]bool{"close_notify": true, "bare": false} {
		t.Run(name, func(t *testing.T) {
			peer, raw, ours := tlsPair(t)
			send(t, peer, "x")
			if clean {
				peer.Close()
			} else {
				_ = raw.CloseWrite()
			}
			if _, err := io.ReadAll(ours); err != nil {
				t.Errorf("crypto/tls now tells by itself: %v; WatchEOF may go", err)
			}
			if saw := ours.NetConn().(*Watched).SawEOF(); saw == clean {
				t.Errorf("SawEOF is %v", saw)
			}
			ours.Close()
		})
	}
}

// together returns its last bytes and its end in one Read, as a tls.Conn does.
type together struct{ net.Conn }

func (together) Read(p []byte) (int, error) { return copy(p, "last"), io.EOF }

func TestWatchEOFHasNotSeenAnEndThatNobodyAskedFor(t *testing.T) {
	w := WatchEOF(together{})
	p := make([]byte, 8)
	if n, err := w.Read(p); string(p[:n]) != "last" || err != nil || w.SawEOF() {
		t.Errorf("read %q, %v, SawEOF %v", p[:n], err, w.SawEOF())
	}
	if n, err := w.Read(p); n != 0 || !errors.Is(err, io.EOF) || !w.SawEOF() {
		t.Errorf("then %q, %v, SawEOF %v", p[:n], err, w.SawEOF())
	}
}

func TestLoopDoesTheSameWithTLS(t *testing.T) {
	loopTLS = true
	defer func() { loopTLS = false }()
	for name, test := range map[string]func(*testing.T){
		"close_notify": TestJoinTurnsCloseNotifyIntoFIN,
		"bare end":     TestJoinTurnsATLSEndWithoutCloseNotifyIntoAReset,
		"cut record":   TestJoinTurnsACutRecordIntoAReset,
		"reset":        TestJoinTurnsAResetOfTheBackendIntoATLSAbort,
		"bad record":   TestJoinTurnsABadRecordIntoAReset,
		"both ends":    testTLSAtBothEnds,
		"bulk":         testTLSBulk,
		"slow reader":  testTLSSlowReader,
		"late pong":    testTLSGoodbye,
	} {
		t.Run(name, test)
	}
}

func TestJoinWithTLSAtBothEnds(t *testing.T) { testTLSAtBothEnds(t) }

func testTLSAtBothEnds(t *testing.T) {
	pa, _, a := tlsPair(t)
	pb, _, b := tlsPair(t)
	tn := start(t, a, b)
	for range 100 {
		send(t, pa, "ping")
		expect(t, pb, "ping")
		send(t, pb, "pong")
		expect(t, pa, "pong")
	}
	send(t, pb, "last")
	_ = pb.CloseWrite()
	wantEOF(t, pa, "last")
	send(t, pa, "words")
	_ = pa.Close()
	wantEOF(t, pb, "words")
	_ = pb.Close()
	if r := tn.wait(EndEOF); r.AToB != 405 || r.BToA != 404 {
		t.Errorf("%+v", r)
	}
}

func TestJoinMovesTLSBulk(t *testing.T) { testTLSBulk(t) }

func testTLSBulk(t *testing.T) {
	peer, raw, a := tlsPair(t)
	cb, b := tcpPair(t)
	_ = raw.SetDeadline(time.Now().Add(3 * patience))
	_ = cb.SetDeadline(time.Now().Add(3 * patience))
	tn := start(t, a, b)
	const size = 8 << 20
	up, down := make([]byte, size), make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{4}).Read(up)
	_, _ = rand.NewChaCha8([32]byte{5}).Read(down)
	go func() {
		_, _ = peer.Write(up)
		_ = peer.CloseWrite()
	}()
	go func() {
		_, _ = cb.Write(down)
		_ = cb.CloseWrite()
	}()
	got := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(cb)
		got <- all
	}()
	if all, err := io.ReadAll(peer); err != nil || !bytes.Equal(all, down) {
		t.Errorf("down: %d bytes, %v", len(all), err)
	}
	if all := <-got; !bytes.Equal(all, up) {
		t.Errorf("up: %d bytes", len(all))
	}
	_ = peer.Close()
	tn.wait(EndEOF)
}

func TestJoinWaitsForASlowTLSReader(t *testing.T) { testTLSSlowReader(t) }

// The backend has said all and has gone; the client reads when it likes. Nothing is lost, and the writer is stopped meanwhile.
func testTLSSlowReader(t *testing.T) {
	peer, raw, a := tlsPair(t)
	cb, b := tcpPair(t)
	tn := start(t, a, b)
	var sent int
	for buf := make([]byte, 1<<20); ; {
		_ = cb.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := cb.Write(buf)
		if sent += n; err != nil {
			break
		}
		if sent > 256<<20 {
			t.Fatal("the writer is not stopped")
		}
	}
	_ = cb.CloseWrite()
	time.Sleep(2 * drainStall)
	_ = raw.SetDeadline(time.Now().Add(3 * patience))
	if n, err := io.Copy(io.Discard, peer); err != nil || n != int64(sent) {
		t.Errorf("read %d of %d bytes: %v", n, sent, err)
	}
	_ = peer.Close()
	_ = cb.Close()
	tn.wait(EndEOF)
}

// The tunnel says its goodbye and lingers, so that what the peer still says below TLS resets nothing.
func testTLSGoodbye(t *testing.T) {
	peer, raw, a := tlsPair(t)
	cb, b := tcpPair(t)
	tn := start(t, a, b)
	_ = peer.CloseWrite()
	wantEOF(t, cb, "")
	send(t, cb, "answer")
	_ = cb.Close()
	time.Sleep(50 * time.Millisecond)
	_ = raw.SetDeadline(time.Now().Add(patience)) // crypto/tls has left one in the past
	if _, err := raw.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	wantEOF(t, peer, "answer")
	_ = raw.Close()
	tn.wait(EndEOF)
}
