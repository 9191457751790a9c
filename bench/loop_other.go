//go:build !linux

package bench

import (
	"net"
	"time"
)

// pollable is nothing but the connection where there is no epoll: the workers have all tunnels.
type pollable struct{ net.Conn }

func newPollable(conn net.Conn) net.Conn { return conn }

type loop struct {
	w       *window
	workers *crew
}

func (*run) newLoops(*armState) []*loop { return nil }
func endLoops([]*loop, []slot)          {}

func (*loop) send(*slot)          {}
func (*loop) until(time.Duration) {}
func (*loop) drain(int, int)      {}
