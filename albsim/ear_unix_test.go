//go:build unix

package albsim

import (
	"errors"
	"net"
	"testing"
)

func TestEarHearsAndLeavesWhatItHears(t *testing.T) {
	_, c, peer := pooled(t)
	if !c.ear.quiet() {
		t.Fatal("a silent socket is not quiet")
	}
	say(peer, "x")
	eventually(t, "the byte is heard", func() bool { return !c.ear.quiet() })
	if b, err := c.br.ReadByte(); b != 'x' || err != nil {
		t.Fatalf("read %q and %v behind it, want x", b, err)
	}
	if !c.ear.quiet() {
		t.Fatal("what has been read is heard still")
	}
	peer.Close()
	eventually(t, "the end is heard", func() bool { return !c.ear.quiet() })
	c.Close()
	if c.ear.quiet() {
		t.Fatal("a closed socket is quiet")
	}
}

// Bytes between requests belong to none, and an end is one: neither waits for a watcher to be found out.
func TestPoolKeepsNothingThatHasSpoken(t *testing.T) {
	for name, speak := range map[string]func(net.Conn){
		"a byte": func(peer net.Conn) { say(peer, "x") },
		"an end": func(peer net.Conn) { peer.Close() },
	} {
		p, c, peer := pooled(t)
		p.put(c)
		speak(peer)
		eventually(t, name+" has come", func() bool { return !c.ear.quiet() })
		if p.get(c.key) != nil {
			t.Fatalf("%s: the connection is handed out", name)
		}
		eventually(t, "it is closed", func() bool { _, err := c.Write([]byte("x")); return errors.Is(err, net.ErrClosed) })
	}
}
