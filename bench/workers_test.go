package bench

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

func TestATunnelHasOneWorkerAtMostAndItsArrivalsStayInOrder(t *testing.T) {
	const slots, each = 7, 2000
	var at [slots]atomic.Int32
	got := make([][]int, slots)
	list := make([]slot, slots)
	index := func(s *slot) int {
		for i := range list {
			if s == &list[i] {
				return i
			}
		}
		return -1
	}
	c := newCrew(func(s *slot) {
		i := index(s)
		for a := range s.waiting() {
			if at[i].Add(1) != 1 {
				t.Error("two workers on one tunnel")
			}
			got[i] = append(got[i], a.seq)
			at[i].Add(-1)
		}
	})
	for k := range each {
		for i := range list {
			idle, full := list[i].push(arrival{seq: k}, each)
			if full {
				t.Fatal("full")
			}
			if idle {
				c.send(&list[i])
			}
		}
	}
	c.end()
	for i := range got {
		if len(got[i]) != each {
			t.Fatalf("tunnel %d has %d of %d arrivals", i, len(got[i]), each)
		}
		for k, seq := range got[i] {
			if seq != k {
				t.Fatalf("tunnel %d: arrival %d in place %d", i, seq, k)
			}
		}
	}
}

func TestAFullTunnelTakesNoMoreAndAnIdleOneHasNoWorker(t *testing.T) {
	var s slot
	for k := range 3 {
		if idle, full := s.push(arrival{seq: k}, 3); full || idle != (k == 0) {
			t.Fatalf("arrival %d: idle %v, full %v", k, idle, full)
		}
	}
	if _, full := s.push(arrival{}, 3); !full {
		t.Error("it took a fourth of three")
	}
	for range s.waiting() {
	}
	if s.busy {
		t.Error("it still has a worker")
	}
	if idle, _ := s.push(arrival{}, 3); !idle {
		t.Error("nobody would be sent")
	}
}

func TestTheEndOfAWindowWakesThoseAtWorkAlone(t *testing.T) {
	slots := make([]slot, 2)
	var far [2]net.Conn
	for i := range slots {
		var near net.Conn
		near, far[i] = net.Pipe()
		defer near.Close()
		defer far[i].Close()
		slots[i].tunnel = &tunnel{conn: near}
	}
	ctx, cancel := context.WithCancel(t.Context())
	stop := watch(ctx, slots)
	slots[0].hold()
	cancel()
	if _, err := slots[0].tunnel.conn.Read(make([]byte, 1)); err == nil {
		t.Error("the read of the tunnel at work came back without an error")
	}
	stop()
	slots[0].release()
	if !slots[0].spoiled || slots[1].spoiled {
		t.Errorf("spoiled: %v at work, %v idle", slots[0].spoiled, slots[1].spoiled)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = far[1].Write([]byte{1}) })
	if _, err := slots[1].tunnel.conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("the idle tunnel is of no more use: %v", err)
	}
	wg.Wait()
}
