package albsim

import (
	"net"
	"sync"
)

// cutSet has connections that are cut when what they are used for is over. A context.AfterFunc for each request would say the
// same for five allocations.
type cutSet struct {
	mu    sync.Mutex // guards what follows
	over  bool
	conns map[net.Conn]struct{}
}

// add has a connection cut, at once when it is over already. Whoever adds one removes it.
func (s *cutSet) add(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		c.SetDeadline(longAgo)
		return
	}
	if s.conns == nil {
		s.conns = map[net.Conn]struct{}{}
	}
	s.conns[c] = struct{}{}
}

func (s *cutSet) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// end cuts them all, and what is added from now on.
func (s *cutSet) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for c := range s.conns {
		c.SetDeadline(longAgo)
	}
}
