package albsim

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// eventually waits for what no event tells of.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// pooled is a target connection as the pool has it, and the target's end.
func pooled(t *testing.T) (p *pool, c *targetConn, peer net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	m := start(t, plain(ln.Addr().String()), Options{})
	if c, err = m.dialTarget(t.Context(), ln.Addr().String(), "", false, policy{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	if peer, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	peer.SetDeadline(time.Now().Add(patience))
	return m.pool, c, peer
}

func (c *targetConn) hasWatcher() bool {
	c.later.mu.Lock()
	defer c.later.mu.Unlock()
	return c.watched != nil
}

// ended reads to the end of the connection.
func ended(t *testing.T, peer net.Conn) {
	t.Helper()
	if n, err := peer.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("the target read %d bytes and %v, want the end", n, err)
	}
}

// A connection is handed out again whether a watcher had time to come or not, and can be read from.
func TestPoolHandsOutWhatIsAlive(t *testing.T) {
	for _, watched := range []bool{false, true} {
		p, c, peer := pooled(t)
		p.put(c)
		if watched {
			eventually(t, "a watcher comes", c.hasWatcher)
		}
		if got := p.get(c.key); got != c || !c.reused {
			t.Fatalf("watched %t: got %p, want the connection %p", watched, got, c)
		}
		if c.hasWatcher() {
			t.Fatalf("watched %t: it still has a watcher", watched)
		}
		say(peer, "x")
		if b, err := c.br.ReadByte(); b != 'x' || err != nil {
			t.Fatalf("watched %t: read %q and %v, want x", watched, b, err)
		}
		if p.get(c.key) != nil {
			t.Fatalf("watched %t: handed out twice", watched)
		}
	}
}

func TestPoolDropsWatchedAndUnwatched(t *testing.T) {
	for _, watched := range []bool{false, true} {
		p, c, peer := pooled(t)
		p.put(c)
		if watched {
			eventually(t, "a watcher comes", c.hasWatcher)
		}
		p.drop("another:1")
		p.drop(c.key)
		ended(t, peer)
		if p.get(c.key) != nil {
			t.Errorf("watched %t: it is handed out", watched)
		}
	}
}

func TestPoolEndsWhatNobodyTakes(t *testing.T) {
	last := make(chan error, 1)
	target := newStub(t, nil, func(c *client, head string) {
		ok(c, head)
		_, err := c.br.ReadByte()
		last <- err
	})
	c := start(t, plain(target.addr), Options{TimeScale: 0.001}).dial() // the idle timeout is 60 ms
	c.send(plainGet)
	c.response()
	if err := <-last; !errors.Is(err, io.EOF) {
		t.Errorf("the target read %v, want the end", err)
	}
}
