package upgrade

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The clock of these tests is synctest's and their connection net.Pipe, on which a write waits for its reader.

const (
	testPing = 30 * time.Second
	testPong = 5 * time.Minute
)

// pinged is a server's tunnel and the connection to it.
func pinged(t *testing.T, typ string) (peer net.Conn, server net.Conn) {
	peer, below := net.Pipe()
	server = lookup(typ).Server(below, nil, ServerOptions{PingInterval: testPing, PongTimeout: testPong})
	t.Cleanup(func() { peer.Close(); server.Close() })
	return peer, server
}

func TestPingsAreSpreadAndNeverLate(t *testing.T) {
	for typ, size := range map[string]int{"websocket": 10, "alpn-ping": 4} {
		t.Run(typ, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer, _ := pinged(t, typ)
				seen := map[time.Duration]bool{}
				for range 50 {
					last := time.Now()
					mustRead(t, peer, size)
					interval := time.Since(last)
					if interval < testPing*8/10 || interval > testPing {
						t.Errorf("a ping after %v, want it within [%v, %v]", interval, testPing*8/10, testPing)
					}
					seen[interval] = true
				}
				if len(seen) < 25 {
					t.Errorf("only %d different intervals of 50", len(seen))
				}
			})
		})
	}
}

func TestPeerThatAnswersNoPingIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, server := pinged(t, "websocket")
		told := make(chan []byte, 1)
		go func() {
			all, _ := io.ReadAll(peer)
			told <- all
		}()
		began := time.Now()
		server.SetReadDeadline(time.Time{})
		_, err := server.Read(make([]byte, 1))
		took := time.Since(began)
		if !errors.Is(err, ErrNoPong) {
			t.Fatalf("read: %v after %v, want ErrNoPong", err, took)
		}
		if first, last := testPing*8/10+testPong, testPing+testPong+secondLook; took < first || took > last {
			t.Errorf("dead after %v, want it within [%v, %v]", took, first, last)
		}
		// It is final, whatever deadline the owner sets.
		server.SetReadDeadline(time.Time{})
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, ErrNoPong) {
			t.Errorf("the next read: %v", err)
		}
		synctest.Wait() // the goodbye has left
		if _, err := server.Write([]byte("x")); err == nil {
			t.Error("a write to a dead peer succeeded")
		}
		server.Close()
		if all := <-told; !bytes.HasSuffix(all, raw(0x88, nil, "\x03\xf3")) {
			t.Errorf("the peer's last bytes are % x, want a Close frame with 1011", all[max(0, len(all)-20):])
		}
	})
}

// An hour is twelve times the pong timeout.
func TestPeerThatIsMerelySlowLives(t *testing.T) {
	read := func(server net.Conn) { _, _ = io.Copy(io.Discard, server) }
	drain := func(peer net.Conn) { _, _ = io.Copy(io.Discard, peer) }
	every := func(d time.Duration, do func() error) {
		for ; ; time.Sleep(d) {
			if do() != nil {
				return
			}
		}
	}
	tests := []struct {
		name string
		typ  string
		// Each runs in its goroutine until the connections close; nil is an end that does nothing.
		peerReads, peerWrites, serverReads, serverWrites func(net.Conn)
	}{
		{
			name: "pongs that take their time", typ: "websocket", serverReads: read,
			peerReads: func(peer net.Conn) {
				br := bufio.NewReader(peer)
				for {
					if _, err := io.ReadFull(br, make([]byte, 10)); err != nil {
						return
					}
					time.Sleep(testPong - testPing - time.Second)
					_, _ = peer.Write(raw(0x8a, mask, "tlsroute"))
				}
			},
		},
		{
			name: "data and no pong", typ: "websocket", serverReads: read, peerReads: drain,
			peerWrites: func(peer net.Conn) {
				every(testPong-time.Second, func() error { _, err := peer.Write(raw(0x82, mask, "x")); return err })
			},
		},
		{
			name: "one frame, byte by byte", typ: "websocket", serverReads: read, peerReads: drain,
			peerWrites: func(peer net.Conn) {
				frame := raw(0x82, mask, string(make([]byte, 100)))
				every(testPong-time.Second, func() error {
					_, err := peer.Write(frame[:1])
					frame = frame[1:]
					return err
				})
			},
		},
		{
			name: "it takes what is sent", typ: "websocket", serverReads: read, peerReads: drain,
			serverWrites: func(server net.Conn) {
				every(testPong-time.Second, func() error { _, err := server.Write([]byte("x")); return err })
			},
		},
		{name: "it takes nothing and a ping waits", typ: "websocket", serverReads: read},
		{name: "nobody reads here", typ: "websocket", peerReads: drain},
		{
			name: "here one reads at times", typ: "websocket", peerReads: drain,
			peerWrites: func(peer net.Conn) {
				every(testPing, func() error { _, err := peer.Write(raw(0x8a, mask, "tlsroute")); return err })
			},
			serverReads: func(server net.Conn) {
				every(testPong*2, func() error {
					server.SetReadDeadline(time.Now().Add(time.Second))
					if _, err := server.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
						return err
					}
					return nil
				})
			},
		},
		{name: "a type without pongs", typ: "alpn-ping", serverReads: read, peerReads: drain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer, server := pinged(t, tt.typ)
				var ends sync.WaitGroup
				for f, c := range map[*func(net.Conn)]net.Conn{
					&tt.peerReads: peer, &tt.peerWrites: peer, &tt.serverReads: server, &tt.serverWrites: server,
				} {
					if *f != nil {
						ends.Go(func() { (*f)(c) })
					}
				}
				time.Sleep(time.Hour)
				if c, ok := server.(*wsConn); ok && c.out.dead.Load() {
					t.Error("taken for dead")
				}
				peer.Close()
				server.Close()
				ends.Wait()
			})
		})
	}
}

func TestReaderThatComesBackGetsASecondLook(t *testing.T) {
	p := pulse{timeout: testPong}
	p.reading.Store(true)
	p.asked.Store(1)
	late := epoch.Add(time.Hour)
	if dead, again := p.look(late); dead || again != secondLook {
		t.Errorf("first look: dead %v, the next in %v", dead, again)
	}
	p.life() // what waited in the kernel
	if dead, again := p.look(late); dead || again != 0 {
		t.Errorf("after a byte: dead %v, the next look in %v", dead, again)
	}
	p.asked.Store(2)
	for i, want := range []bool{false, true} {
		if dead, _ := p.look(late); dead != want {
			t.Errorf("look %d without a byte: dead %v, want %v", i+1, dead, want)
		}
	}
}

func TestPingsDoNotJudgeAPeerThatHoldsAWriteUp(t *testing.T) {
	peer, below := net.Pipe()
	c := newWSConn(below, nil, 0, false)
	c.out.pulse.timeout = testPong
	c.out.pulse.reading.Store(true)
	c.out.pulse.asked.Store(1) // long ago
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte("x"))
		wrote <- err
	}()
	mustRead(t, peer, 1) // the write has begun and waits
	for range 3 {
		if dead, again := c.out.pulse.look(time.Now().Add(time.Hour)); dead || again != 0 {
			t.Errorf("dead: %v, another look in %v", dead, again)
		}
	}
	mustRead(t, peer, 2)
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	peer.Close()
	_ = c.Close()
}

// A pool of database connections reads only what it has asked for.
func TestClientAnswersPingsWhileItsOwnerDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below, s := net.Pipe()
		server := lookup("websocket").Server(s, nil, ServerOptions{PingInterval: testPing, PongTimeout: testPong})
		client := lookup("websocket").Client(below, nil, ClientOptions{})
		got := make(chan error, 1)
		go func() {
			_, err := io.Copy(server, server)
			got <- err
		}()
		for range 2 {
			time.Sleep(time.Hour)
			if _, err := client.Write([]byte("still here")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // the answer waits for its reader
			if p := mustRead(t, client, 10); string(p) != "still here" {
				t.Errorf("read %q", p)
			}
		}
		client.Close()
		if err := <-got; err != nil {
			t.Errorf("server: %v", err)
		}
		server.Close()
	})
}

func TestDeadlineOfAReadEndsWhatAttendsForIt(t *testing.T) {
	peer, below := tcpPair(t)
	c := newWSConn(below, nil, 0, true)
	defer func() { _ = c.Close() }()
	c.out.wg.Add(1)
	go c.attend()
	_, _ = peer.Write(raw(0x89, nil, "?"))
	mustRead(t, peer, 7) // the pong: attend has the reader's place
	_ = c.SetReadDeadline(time.Unix(1, 0))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read: %v", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _ = peer.Write(raw(0x82, nil, "data"))
	if p := mustRead(t, c, 4); string(p) != "data" {
		t.Errorf("read %q", p)
	}
}
