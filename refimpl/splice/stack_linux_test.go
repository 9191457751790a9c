package splice

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// stacks are ends that a router makes, from the bottom up.
var stacks = []string{
	"websocket", "alpn-ping", "tls websocket", "tls alpn-ping", "tls alpn", "tls alpn tls", "websocket tls", "tls websocket tls", "tls alpn-ping tls",
	"websocket alpn-ping websocket",
}

// stacked is a tunnel whose client end is a stack, carried by a loop.
type stacked struct {
	*tunnel
	peer    net.Conn // the client's end of the stack
	raw     *net.TCPConn
	backend *net.TCPConn
}

// stackOver puts the layers of kind on a connection, at both its ends.
func stackOver(t *testing.T, kind string, peer, ours net.Conn, opt upgrade.ServerOptions) (top, ourTop net.Conn) {
	t.Helper()
	for layer := range strings.FieldsSeq(kind) {
		if layer == "tls" {
			peer, ours = tlsOver(t, peer, ours, 0)
			continue
		}
		ours = Prepare(ours)
		var accepted net.Conn
		var err error
		var wg sync.WaitGroup
		wg.Go(func() {
			br := bufio.NewReader(ours)
			var req *http.Request
			if req, err = http.ReadRequest(br); err == nil {
				accepted, _, err = upgrade.Accept(t.Context(), ours, br, req, opt)
			}
		})
		tunnel, dialErr := upgrade.Dial(t.Context(), peer, upgrade.ClientOptions{Type: layer, Host: "x.test"})
		wg.Wait()
		if err := errors.Join(err, dialErr); err != nil {
			t.Fatal(err)
		}
		peer, ours = tunnel, accepted
	}
	return peer, ours
}

// Each layer that writes on its own prepares what it stands on; there must be one base under them all.
func TestPreparedTwiceHasOneBase(t *testing.T) {
	for _, kind := range []string{"", "websocket", "tls websocket", "tls websocket tls"} {
		raw, ours := tcpPair(t)
		peer, top := stackOver(t, kind, raw, Prepare(ours), upgrade.ServerOptions{})
		first := lowestBase(top)
		if again := lowestBase(Prepare(top)); first == nil || again != first {
			t.Errorf("%q: base %p, and then %p", kind, first, again)
		}
		_ = peer.Close()
		_ = top.Close()
	}
}

func lowestBase(conn net.Conn) (lowest *base) {
	for c := conn; c != nil; c = below(c) {
		if b, ok := c.(*base); ok {
			lowest = b
		}
	}
	return lowest
}

func startStack(t *testing.T, kind string, opt upgrade.ServerOptions) stacked {
	t.Helper()
	raw, ours := tcpPair(t)
	peer, a := stackOver(t, kind, raw, ours, opt)
	t.Cleanup(func() { _ = peer.Close() })
	backend, b := tcpPair(t)
	loop := new(Loop)
	t.Cleanup(loop.Close)
	tn := &tunnel{t: t, report: make(chan Report, 1), cancel: loop.Close}
	taken := loop.Take(a, b)
	for start := time.Now(); taken == nil; taken = loop.Take(a, b) { // a ping may be on its way out, which refuses it
		if time.Since(start) > patience {
			t.Fatal("not taken")
		}
	}
	taken.Start(func(r Report) { tn.report <- r })
	return stacked{tn, peer, raw, backend}
}

func eachStack(t *testing.T, opt upgrade.ServerOptions, test func(*testing.T, stacked)) {
	t.Helper()
	for _, kind := range stacks {
		t.Run(kind, func(t *testing.T) { test(t, startStack(t, kind, opt)) })
	}
}

func closeWrite(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := CloseWrite(conn); err != nil {
		t.Error(err)
	}
}

func TestLoopCarriesAHalfCloseThroughLayers(t *testing.T) {
	eachStack(t, upgrade.ServerOptions{}, func(t *testing.T, s stacked) {
		send(t, s.peer, "question")
		closeWrite(t, s.peer)
		wantEOF(t, s.backend, "question")
		send(t, s.backend, "answer")
		closeWrite(t, s.backend)
		wantEOF(t, s.peer, "answer")
		_ = s.peer.Close()
		if r := s.wait(EndEOF); r.AToB != 8 || r.BToA != 6 {
			t.Errorf("counts: %+v", r)
		}
	})
}

func TestLoopCarriesTheBackendsHalfCloseThroughLayers(t *testing.T) {
	eachStack(t, upgrade.ServerOptions{}, func(t *testing.T, s stacked) {
		send(t, s.backend, "banner")
		closeWrite(t, s.backend)
		wantEOF(t, s.peer, "banner")
		send(t, s.peer, "all right")
		closeWrite(t, s.peer)
		wantEOF(t, s.backend, "all right")
		_ = s.peer.Close()
		s.wait(EndEOF)
	})
}

// Pings come as fast as they can among the bytes, and none of either is lost.
func TestLoopMovesBulkThroughLayersAmongPings(t *testing.T) {
	opt := upgrade.ServerOptions{PingInterval: time.Millisecond, PongTimeout: patience}
	eachStack(t, opt, func(t *testing.T, s stacked) {
		_ = s.raw.SetDeadline(time.Now().Add(3 * patience))
		_ = s.backend.SetDeadline(time.Now().Add(3 * patience))
		const size = 2 << 20
		up, down := make([]byte, size), make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{6}).Read(up)
		_, _ = rand.NewChaCha8([32]byte{7}).Read(down)
		var wg sync.WaitGroup
		for _, way := range []struct {
			conn net.Conn
			sent []byte
		}{{s.peer, up}, {s.backend, down}} {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(8, 9))
				for left := way.sent; len(left) > 0; {
					n, _ := way.conn.Write(left[:min(len(left), 1+random.IntN(100<<10))])
					if left = left[n:]; n == 0 {
						break
					}
				}
				closeWrite(t, way.conn)
			})
		}
		wg.Go(func() {
			if got, err := io.ReadAll(s.backend); err != nil || !bytes.Equal(got, up) {
				t.Errorf("up: %d bytes, %v", len(got), err)
			}
		})
		if got, err := io.ReadAll(s.peer); err != nil || !bytes.Equal(got, down) {
			t.Errorf("down: %d bytes, %v", len(got), err)
		}
		wg.Wait()
		_ = s.peer.Close()
		s.wait(EndEOF)
	})
}

func TestLoopPassesBackpressureOnThroughLayers(t *testing.T) {
	eachStack(t, upgrade.ServerOptions{PingInterval: 20 * time.Millisecond}, func(t *testing.T, s stacked) {
		sent := 0
		for buf := make([]byte, 1<<20); ; {
			_ = s.backend.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			n, err := s.backend.Write(buf)
			if sent += n; err != nil {
				break
			}
			if sent > 256<<20 {
				t.Fatal("the writer is not stopped")
			}
		}
		closeWrite(t, s.backend)
		_ = s.raw.SetDeadline(time.Now().Add(3 * patience))
		if n, err := io.Copy(io.Discard, s.peer); err != nil || n != int64(sent) {
			t.Errorf("read %d of %d bytes: %v", n, sent, err)
		}
		_ = s.peer.Close()
		_ = s.backend.Close()
		s.wait(EndEOF)
	})
}

func TestLoopCarriesResetsThroughLayers(t *testing.T) {
	eachStack(t, upgrade.ServerOptions{}, func(t *testing.T, s stacked) {
		send(t, s.backend, "half an answer")
		expect(t, s.peer, "half an answer")
		reset(t, s.backend)
		wantReset(t, s.peer)
		s.wait(EndResetB)
	})
	eachStack(t, upgrade.ServerOptions{}, func(t *testing.T, s stacked) {
		send(t, s.peer, "half an order")
		expect(t, s.backend, "half an order")
		reset(t, s.raw)
		wantReset(t, s.backend)
		s.wait(EndResetA)
	})
}

func TestLoopTellsATruncatedStack(t *testing.T) {
	for _, kind := range stacks {
		if !strings.Contains(kind, "tls") {
			continue // without TLS a bare FIN is how clients in use end a tunnel; what is in it tells
		}
		t.Run(kind, func(t *testing.T) {
			s := startStack(t, kind, upgrade.ServerOptions{})
			send(t, s.peer, "half an order")
			expect(t, s.backend, "half an order")
			_ = s.raw.CloseWrite()
			wantReset(t, s.backend)
			s.wait(EndTruncatedA)
		})
	}
}

func TestLoopEndsAPeerThatAnswersNoPing(t *testing.T) {
	for _, kind := range []string{"websocket", "tls websocket", "tls websocket tls"} {
		t.Run(kind, func(t *testing.T) {
			s := startStack(t, kind, upgrade.ServerOptions{PingInterval: 20 * time.Millisecond, PongTimeout: 50 * time.Millisecond})
			send(t, s.peer, "hello")
			expect(t, s.backend, "hello")
			// Nobody reads at the peer from here on.
			if r := s.wait(EndErrorA); !errors.Is(r.Err, upgrade.ErrNoPong) {
				t.Errorf("ended with %v", r.Err)
			}
			wantReset(t, s.backend)
		})
	}
}

// Nobody looks for pongs while the backend takes nothing: a peer that has answered is not taken for dead.
func TestLoopDoesNotJudgeAPeerThatItDoesNotRead(t *testing.T) {
	const timeout = 50 * time.Millisecond
	s := startStack(t, "websocket", upgrade.ServerOptions{PingInterval: 20 * time.Millisecond, PongTimeout: timeout})
	_ = s.raw.SetDeadline(time.Now().Add(3 * patience))
	_ = s.backend.SetDeadline(time.Now().Add(3 * patience))
	const size = 64 << 20
	pongs := make(chan error, 1)
	go func() {
		_, err := s.peer.Read(make([]byte, 1)) // answers pings until the end
		pongs <- err
	}()
	go func() {
		_, _ = s.peer.Write(make([]byte, size))
		_ = CloseWrite(s.peer)
	}()
	time.Sleep(10 * timeout) // the state that is meant cannot be seen from here: the buffers of both sockets are full
	if n, err := io.Copy(io.Discard, s.backend); n != size || err != nil {
		t.Errorf("the backend has read %d bytes, %v", n, err)
	}
	closeWrite(t, s.backend)
	if err := <-pongs; !errors.Is(err, io.EOF) {
		t.Errorf("the peer read %v", err)
	}
	_ = s.peer.Close()
	s.wait(EndEOF)
}

// A peer that sends pings and reads no pongs is not read any more, so that what is kept for it stays bounded.
func TestLoopBoundsTheAnswersItKeeps(t *testing.T) {
	s := startStack(t, "websocket", upgrade.ServerOptions{})
	ping := append([]byte{0x89, 0x80 | 125, 0, 0, 0, 0}, make([]byte, 125)...)
	pings := bytes.Repeat(ping, 1000)
	sent := 0
	for stopped := false; !stopped; {
		_ = s.raw.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := s.raw.Write(pings)
		sent += n
		stopped = err != nil
		if sent > 256<<20 {
			t.Fatal("the pings are not stopped")
		}
	}
	reset(t, s.raw)
	wantReset(t, s.backend)
	s.wait(EndResetA)
}

func TestLoopCloseEndsLayersToo(t *testing.T) {
	// Nobody reads at the other end, so timers of pings and of the pongs that are owed run when it is closed.
	eachStack(t, upgrade.ServerOptions{PingInterval: time.Millisecond, PongTimeout: patience}, func(t *testing.T, s stacked) {
		s.cancel()
		wantReset(t, s.backend)
		s.wait(EndCancelled)
	})
}

func TestLoopLeavesAClientsWebSocket(t *testing.T) {
	raw, ours := tcpPair(t)
	peer, a := stackOver(t, "websocket", Prepare(raw), ours, upgrade.ServerOptions{})
	defer peer.Close()
	defer a.Close()
	_, b := tcpPair(t)
	var loop Loop
	defer loop.Close()
	if loop.Take(peer, b) != nil {
		t.Error("taken, though it reads on its own")
	}
}

func TestARefusedDialGivesAStackBack(t *testing.T) {
	for _, kind := range stacks {
		t.Run(kind, func(t *testing.T) {
			l, to := listen(t)
			_ = l.Close()
			raw, ours := tcpPair(t)
			peer, client := stackOver(t, kind, raw, ours, upgrade.ServerOptions{PingInterval: time.Millisecond})
			defer peer.Close()
			send(t, peer, "hello")
			_, r := startDial(t, client, Dial{To: to})
			refused := <-r.refused
			defer refused.client.Close()
			if !errors.Is(refused.err, syscall.ECONNREFUSED) {
				t.Error(refused.err)
			}
			expect(t, refused.client, "hello")
			send(t, refused.client, "sorry")
			expect(t, peer, "sorry")
		})
	}
}

// Join does with the same stacks what the loop does.
func TestJoinCarriesWhatALoopGaveBack(t *testing.T) {
	raw, ours := tcpPair(t)
	peer, a := stackOver(t, "tls websocket", raw, ours, upgrade.ServerOptions{PingInterval: time.Millisecond})
	defer peer.Close()
	l, to := listen(t)
	_ = l.Close()
	_, r := startDial(t, a, Dial{To: to})
	refused := <-r.refused
	backend, b := tcpPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tn := &tunnel{t: t, report: make(chan Report, 1), cancel: cancel}
	go func() { tn.report <- Join(ctx, refused.client, b, Options{}) }()
	send(t, peer, "question")
	closeWrite(t, peer)
	wantEOF(t, backend, "question")
	send(t, backend, "answer")
	_ = backend.Close()
	wantEOF(t, peer, "answer")
	_ = peer.Close()
	tn.wait(EndEOF)
}
