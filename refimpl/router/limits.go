package router

import "net/netip"

// admit takes a place for a connection; release gives it back.
func (s *Server) admit(limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || limit > 0 && s.active >= limit {
		return false
	}
	s.active++
	return true
}

func (s *Server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.draining && s.active == 0 {
		close(s.idle)
	}
}

// admitIP takes one of the places that an address has; releaseIP gives it back.
func (s *Server) admitIP(ip netip.Addr, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit > 0 && s.perIP[ip] >= limit {
		return false
	}
	s.perIP[ip]++
	return true
}

func (s *Server) releaseIP(ip netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perIP[ip]--; s.perIP[ip] == 0 {
		delete(s.perIP, ip)
	}
}

func (s *Server) isDraining() bool { return s.drainCtx.Err() != nil }

// countAs takes one of the places of limits.connections_per_ip, giving back the one held before.
func (c *session) countAs(ip netip.Addr) bool {
	if c.counted == ip {
		return true
	}
	c.uncount()
	if !c.server.admitIP(ip, c.policy.config.Limits.ConnectionsPerIP) {
		c.end(outcomeLimit, "too many connections from this address")
		return false
	}
	c.counted = ip
	return true
}

func (c *session) uncount() {
	if c.counted.IsValid() {
		c.server.releaseIP(c.counted)
		c.counted = netip.Addr{}
	}
}
