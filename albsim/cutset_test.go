package albsim

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestCutSetCutsWhatIsInIt(t *testing.T) {
	var set cutSet
	var conns, peers [3]net.Conn
	for i := range conns {
		here, there := net.Pipe()
		defer here.Close()
		defer there.Close()
		conns[i], peers[i] = here, there
	}
	stays, leaves, comes := conns[0], conns[1], conns[2]
	leaves.SetDeadline(time.Now().Add(patience))
	set.add(stays)
	set.add(leaves)
	set.remove(leaves)
	set.end()
	set.add(comes)
	for name, c := range map[string]net.Conn{"was in it": stays, "came too late": comes} {
		c.SetWriteDeadline(time.Now().Add(patience)) // the read deadline is the cut's
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one that %s read %v, want it cut", name, err)
		}
	}
	go say(peers[1], "x")
	if _, err := leaves.Read(make([]byte, 1)); err != nil {
		t.Errorf("one that had left read %v, want what was sent to it", err)
	}
}

func TestRoomOfAHugeHeadIsNotKept(t *testing.T) {
	if room := roomOf(make([]field, usualFields+1)); room != nil {
		t.Errorf("room for %d fields is kept", cap(room))
	}
	usual := []field{{name: "Cookie", value: "secret"}, {name: "Host"}}
	room := roomOf(usual[:1])
	if len(room) != 0 || cap(room) != 2 {
		t.Errorf("room for %d fields with %d in it, want 2 and none", cap(room), len(room))
	}
	for _, f := range room[:2] {
		if f != (field{}) {
			t.Errorf("the room holds %q still", f)
		}
	}
}
