package splice

import (
	"crypto/tls"
	"errors"
	"io"
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
