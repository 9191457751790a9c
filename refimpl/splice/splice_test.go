package splice

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// opaque hides that a connection is TCP, as a counting wrapper does.
type opaque struct{ net.Conn }

func (o opaque) Unwrap() net.Conn { return o.Conn }

// kinds are the ways to hand a TCP connection to Join; all must mean the same.
var kinds = map[string]func(*net.TCPConn) net.Conn{
	"tcp":     func(c *net.TCPConn) net.Conn { return c },
	"wrapped": func(c *net.TCPConn) net.Conn { return opaque{c} },
	"loop":    func(c *net.TCPConn) net.Conn { return looped{c} },
}

// looped marks a connection for a Loop.
type looped struct{ *net.TCPConn }

func each(t *testing.T, run func(t *testing.T, wrap func(*net.TCPConn) net.Conn)) {
	for name, wrap := range kinds {
		t.Run(name, func(t *testing.T) { run(t, wrap) })
	}
}

func TestJoinCarriesAHalfCloseEachWay(t *testing.T) {
	each(t, func(t *testing.T, wrap func(*net.TCPConn) net.Conn) {
		ca, a := tcpPair(t)
		cb, b := tcpPair(t)
		tn := start(t, wrap(a), wrap(b))
		send(t, ca, "question")
		_ = ca.CloseWrite()
		wantEOF(t, cb, "question")
		send(t, cb, "late ")
		expect(t, ca, "late ")
		send(t, cb, "answer")
		_ = cb.CloseWrite()
		wantEOF(t, ca, "answer")
		if r := tn.wait(EndEOF); r.AToB != 8 || r.BToA != 11 || r.Spliced != 0 {
			t.Errorf("counts: %+v", r)
		}
	})
}

func TestJoinCarriesAHalfCloseOfTheOtherSideFirst(t *testing.T) {
	each(t, func(t *testing.T, wrap func(*net.TCPConn) net.Conn) {
		ca, a := tcpPair(t)
		cb, b := tcpPair(t)
		tn := start(t, wrap(a), wrap(b))
		send(t, cb, "greeting")
		_ = cb.CloseWrite()
		wantEOF(t, ca, "greeting")
		send(t, ca, "still here")
		_ = ca.CloseWrite()
		wantEOF(t, cb, "still here")
		tn.wait(EndEOF)
	})
}

func TestJoinCarriesAReset(t *testing.T) {
	each(t, func(t *testing.T, wrap func(*net.TCPConn) net.Conn) {
		for name, end := range map[string]string{"a": EndResetA, "b": EndResetB} {
			t.Run(name, func(t *testing.T) {
				ca, a := tcpPair(t)
				cb, b := tcpPair(t)
				bad, good := ca, cb
				if name == "b" {
					bad, good = cb, ca
				}
				tn := start(t, wrap(a), wrap(b))
				send(t, bad, "last words")
				expect(t, good, "last words")
				begun := time.Now()
				reset(t, bad)
				wantReset(t, good)
				if took := time.Since(begun); took > time.Second {
					t.Errorf("the reset took %v", took)
				}
				tn.wait(end)
			})
		}
	})
}

// A peer that ended cleanly and then dies is not read any more, yet its reset must cross.
func TestJoinCarriesAResetAfterAHalfClose(t *testing.T) {
	each(t, func(t *testing.T, wrap func(*net.TCPConn) net.Conn) {
		ca, a := tcpPair(t)
		cb, b := tcpPair(t)
		tn := start(t, wrap(a), wrap(b))
		send(t, ca, "q")
		_ = ca.CloseWrite()
		wantEOF(t, cb, "q")
		reset(t, ca)
		// b has read a clean end before; the reset shows when it writes.
		tn.wait(EndResetA)
		_ = cb.SetDeadline(time.Now().Add(patience))
		for {
			if _, err := cb.Write(make([]byte, 4096)); err != nil {
				break
			}
		}
	})
}

// A backend that answers, ends its side and goes away without having read all: the answer must arrive, though the client takes
// its time and the router meets a reset while it still has the answer in its send queue.
func TestJoinDeliversWhatCameBeforeACloseWithUnreadData(t *testing.T) {
	for _, c := range []struct {
		name  string
		size  int
		wait  bool          // until the backend has gone, before the client reads
		pause time.Duration // of the client, after that
	}{
		{"all of it in the client's kernel", 32 << 10, true, 0},
		{"most of it in the router's kernel", 1 << 20, true, 0},
		{"more than the kernels hold", 8 << 20, false, 0},
		{"a client that pauses for longer than a reset is held back", 1 << 20, true, 2 * drainStall},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, wrap func(*net.TCPConn) net.Conn) {
				t.Parallel()
				ca, a := tcpPair(t)
				cb, b := tcpPair(t)
				tn := start(t, wrap(a), wrap(b))
				send(t, ca, "never read")
				payload := make([]byte, c.size)
				_, _ = rand.NewChaCha8([32]byte{1}).Read(payload)
				gone := make(chan error, 1)
				go func() {
					_, err := cb.Write(payload)
					_ = cb.CloseWrite()
					// Closing with unread data drops what is still in the backend's own send queue, on a direct path too.
					acknowledged(t, cb)
					_ = cb.Close() // "never read" is unread: the kernel sends a reset behind the FIN
					gone <- err
				}()
				if c.wait {
					if err := <-gone; err != nil {
						t.Fatal(err)
					}
				}
				<-time.After(c.pause)
				got, err := io.ReadAll(ca)
				if err != nil || !bytes.Equal(got, payload) {
					t.Errorf("read %d of %d bytes: %v", len(got), len(payload), err)
				}
				_ = ca.Close()
				if r := <-tn.report; r.BToA != int64(c.size) {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

func TestJoinMovesBulkBothWaysAndCounts(t *testing.T) {
	each(t, func(t *testing.T, wrap func(*net.TCPConn) net.Conn) {
		ca, a := tcpPair(t)
		cb, b := tcpPair(t)
		tn := start(t, wrap(a), wrap(b))
		up, down := make([]byte, 16<<20), make([]byte, 12<<20)
		_, _ = rand.NewChaCha8([32]byte{2}).Read(up)
		_, _ = rand.NewChaCha8([32]byte{3}).Read(down)
		push := func(c *net.TCPConn, p []byte) {
			if _, err := c.Write(p); err != nil {
				t.Error(err)
			}
			_ = c.CloseWrite()
		}
		go push(ca, up)
		go push(cb, down)
		got := make(chan []byte, 1)
		go func() {
			p, _ := io.ReadAll(cb)
			got <- p
		}()
		gotDown, err := io.ReadAll(ca)
		if err != nil || !bytes.Equal(gotDown, down) {
			t.Errorf("down: %d bytes, %v", len(gotDown), err)
		}
		if !bytes.Equal(<-got, up) {
			t.Error("up: the bytes differ")
		}
		r := tn.wait(EndEOF)
		if r.AToB != int64(len(up)) || r.BToA != int64(len(down)) {
			t.Errorf("counts: %+v", r)
		}
		t.Logf("spliced %d of %d bytes", r.Spliced, r.AToB+r.BToA)
	})
}

// A reader that stops must stop the writer: only the kernel's buffers fill up.
func TestJoinPassesBackpressureOn(t *testing.T) {
	each(t, func(t *testing.T, wrap func(*net.TCPConn) net.Conn) {
		ca, a := tcpPair(t)
		cb, b := tcpPair(t)
		tn := start(t, wrap(a), wrap(b))
		const step = 1 << 20
		total, stalled := 0, false
		for buf := make([]byte, step); total < 256*step; {
			_ = ca.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			n, err := ca.Write(buf)
			total += n
			if err != nil {
				stalled = true
				break
			}
		}
		if !stalled {
			t.Fatalf("wrote %d bytes into a tunnel nobody reads", total)
		}
		t.Logf("stalled after %d KiB", total>>10)
		_ = ca.CloseWrite()
		if n, err := io.Copy(io.Discard, cb); err != nil || n != int64(total) {
			t.Errorf("read %d of %d bytes: %v", n, total, err)
		}
		_ = cb.Close()
		tn.wait(EndEOF)
	})
}

type held struct {
	net.Conn
	bytes []byte
}

func (h *held) Unwrap() net.Conn { return h.Conn }
func (h *held) Buffered() []byte { p := h.bytes; h.bytes = nil; return p }

func TestJoinSendsHeldBytesFirst(t *testing.T) {
	ca, a := tcpPair(t)
	cb, b := tcpPair(t)
	send(t, ca, "three")
	_ = ca.CloseWrite()
	_ = cb.CloseWrite()
	tn := start(t, &held{&held{a, []byte("two ")}, []byte("one ")}, &held{b, []byte("back")})
	wantEOF(t, cb, "one two three")
	wantEOF(t, ca, "back")
	if r := tn.wait(EndEOF); r.AToB != 13 || r.BToA != 4 {
		t.Errorf("counts: %+v", r)
	}
}

func TestLoopSendsHeldBytesFirst(t *testing.T) {
	ca, a := tcpPair(t)
	cb, b := tcpPair(t)
	send(t, ca, "three")
	_ = ca.CloseWrite()
	_ = cb.CloseWrite()
	var loop Loop
	defer loop.Close()
	ha, hb := &held{&held{a, []byte("two ")}, []byte("one ")}, &held{b, []byte("back")}
	taken := loop.Take(ha, hb)
	if taken == nil {
		if string(ha.bytes) != "one " || string(hb.bytes) != "back" {
			t.Error("what was not taken has changed")
		}
		return
	}
	// The old owner goes away, as he may.
	ha.Close()
	hb.Close()
	ended := make(chan Report, 1)
	taken.Start(func(r Report) { ended <- r })
	wantEOF(t, cb, "one two three")
	wantEOF(t, ca, "back")
	if r := <-ended; r.AToB != 13 || r.BToA != 4 || r.End != EndEOF {
		t.Errorf("%+v", r)
	}
}

func TestLoopLeavesWhatIsNotTCP(t *testing.T) {
	var loop Loop
	defer loop.Close()
	_, a := net.Pipe()
	_, b := tcpPair(t)
	if loop.Take(a, b) != nil || loop.Take(b, opaque{b}) != nil {
		t.Error("something was taken that cannot be")
	}
	if _, err := b.Write([]byte("x")); err != nil {
		t.Errorf("the connection was touched: %v", err)
	}
}

// A tunnel that comes when the loop has ended is reset, and told so.
func TestLoopResetsWhatComesTooLate(t *testing.T) {
	ca, a := tcpPair(t)
	_, b := tcpPair(t)
	var loop Loop
	taken := loop.Take(a, b)
	loop.Close()
	if taken == nil {
		return // not on this system
	}
	ended := make(chan Report, 1)
	taken.Start(func(r Report) { ended <- r })
	wantReset(t, ca)
	if r := <-ended; r.End != EndCancelled || r.Err == nil {
		t.Errorf("%+v", r)
	}
	if loop.Take(ca, b) != nil {
		t.Error("a closed loop takes")
	}
}

// Many tunnels on one loop, both ways at once, with more bulk than there are pipes.
func TestLoopKeepsTunnelsApart(t *testing.T) {
	var loop Loop
	defer loop.Close()
	const tunnels, size = 3 * 16, 1 << 20
	var wg sync.WaitGroup
	for i := range tunnels {
		ca, a := tcpPair(t)
		cb, b := tcpPair(t)
		taken := loop.Take(a, b)
		if taken == nil {
			return // not on this system
		}
		wg.Add(1)
		taken.Start(func(r Report) {
			defer wg.Done()
			if r.End != EndEOF || r.AToB != size || r.BToA != size {
				t.Errorf("tunnel %d: %+v", i, r)
			}
		})
		for j, c := range []*net.TCPConn{ca, cb} {
			mine, theirs := make([]byte, size), make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{byte(i), byte(j)}).Read(mine)
			_, _ = rand.NewChaCha8([32]byte{byte(i), byte(1 - j)}).Read(theirs)
			wg.Go(func() {
				_, _ = c.Write(mine)
				_ = c.CloseWrite()
			})
			wg.Go(func() {
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, theirs) {
					t.Errorf("tunnel %d: %d bytes, %v", i, len(got), err)
				}
			})
		}
	}
	wg.Wait()
}

func TestJoinEndsWithItsContext(t *testing.T) {
	each(t, func(t *testing.T, wrap func(*net.TCPConn) net.Conn) {
		ca, a := tcpPair(t)
		cb, b := tcpPair(t)
		tn := start(t, wrap(a), wrap(b))
		send(t, ca, "x")
		expect(t, cb, "x")
		tn.cancel()
		wantReset(t, ca)
		wantReset(t, cb)
		tn.wait(EndCancelled)
	})
}

// Without CloseWrite the end of one side can only be told by closing.
func TestJoinEndsATunnelThatCannotBeHalfClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, a := net.Pipe()
		cb, b := net.Pipe()
		done := make(chan Report)
		go func() { done <- Join(t.Context(), a, b, Options{}) }()
		go func() {
			_, _ = io.WriteString(ca, "bye")
			ca.Close()
		}()
		if got, err := io.ReadAll(cb); err != nil || string(got) != "bye" {
			t.Errorf("read %q, %v", got, err)
		}
		if r := <-done; r.End != EndEOF || r.AToB != 3 {
			t.Errorf("%+v", r)
		}
	})
}

func TestJoinEndsAnIdleTunnelByBytesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, a := net.Pipe()
		cb, b := net.Pipe()
		begun := time.Now()
		done := make(chan Report)
		go func() { done <- Join(t.Context(), a, b, Options{Idle: time.Minute}) }()
		go func() {
			time.Sleep(50 * time.Second) // virtual
			_, _ = io.WriteString(ca, "x")
		}()
		if _, err := cb.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		r := <-done
		if r.End != EndIdle || r.Err == nil {
			t.Errorf("%+v", r)
		}
		if took := time.Since(begun); took != 110*time.Second {
			t.Errorf("ended after %v, want a minute after the byte at 50 s", took)
		}
		if _, err := ca.Read(make([]byte, 1)); err == nil {
			t.Error("a is still open")
		}
	})
}
