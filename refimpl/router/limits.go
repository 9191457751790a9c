package router

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// spare is a descriptor kept for the day there is no other. Given up, it lets a connection be accepted and closed, which would wait
// unanswered in the kernel's queue for as long as tunnels hold the rest. The zero value holds none. The accept loop owns it.
type spare struct {
	file *os.File
	told bool // the log knows that connections are being closed
}

// take opens it where it is not held, and tells whether the process is out of descriptors.
func (s *spare) take() (out bool) {
	if s.file != nil {
		return false
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		return noDescriptor(err) // a root without /dev/null is no reason to serve nobody: there is no spare then
	}
	s.file = file
	return false
}

// give tells whether there was one to give up.
func (s *spare) give() bool {
	if s.file == nil {
		return false
	}
	s.file.Close()
	s.file = nil
	return true
}

// noDescriptor tells whether the process (EMFILE) or the system (ENFILE) has no descriptor left.
func noDescriptor(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// makeRoom gives the spare up when that is what accept failed for, and tells whether to try again at once.
func (s *Server) makeRoom(err error, last *spare) bool {
	if !noDescriptor(err) || !last.give() {
		return false
	}
	if !last.told {
		last.told = true
		s.log.Warn("out of descriptors: new connections are closed until some are free", keyErr, err)
	}
	return true
}

// shed closes a connection that there is no descriptor to serve with, and tells whether it did.
func (s *Server) shed(conn net.Conn, last *spare) bool {
	if !last.take() {
		last.told = false
		return false
	}
	conn.Close()
	last.take()
	s.stats.count("", outcomeShed)
	s.log.Debug("closed at once: out of descriptors", keySource, conn.RemoteAddr())
	return true
}

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
