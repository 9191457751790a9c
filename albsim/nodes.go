package albsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// NodeTTL is for how long a name server may tell of a node: alb.md section 12.7, ALB-DNS-01.
const NodeTTL = 60 * time.Second

// ErrNoSpareNode is a rotation that has nowhere to go.
var ErrNoSpareNode = errors.New("every node is in service, or has left it a moment ago")

// node is one address of a listener.
type node struct {
	net.Listener
	ip     string
	closed *time.Timer // runs once the node has left
}

func planNodes(l Listener, out *listenerPlan, path string, faults *Faults) {
	host, port, _ := net.SplitHostPort(l.Listen)
	out.port = port
	if len(l.Nodes) == 0 {
		out.hosts, out.inService = []string{host}, 1
	} else if out.hosts, out.inService = l.Nodes, len(l.Nodes); host != "" {
		faults.add(path+".listen", "%q: with nodes it is a port alone, as in :%s", l.Listen, port)
	}
	for i, ip := range l.Nodes {
		if _, err := netip.ParseAddr(ip); err != nil || slices.Contains(l.Nodes[:i], ip) {
			faults.add(path+".nodes["+strconv.Itoa(i)+"]", "%q: must be an IP address, each given once", ip)
		}
	}
	if n := l.NodesInService; n < 0 || n > len(l.Nodes) {
		faults.add(path+".nodes_in_service", "%d: must be from 1 to the number of nodes", n)
	} else if n > 0 {
		out.inService = n
	}
}

// bind has a listener's next spare node listen on a port, 0 for any, and puts it in service; mu is held, or nobody serves yet.
func (s *Server) bind(ctx context.Context, l *listener, port string) error {
	var lc net.ListenConfig
	if l.plan.network != nil {
		lc.KeepAlive = -1 // NLB-TCP-04: only what we mean to send
	}
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(l.spare[0], port))
	if err != nil {
		return err
	}
	if s.opt.Wrap != nil {
		ln = s.opt.Wrap(ln)
	}
	l.nodes = append(l.nodes, &node{Listener: ln, ip: l.spare[0]})
	l.spare = l.spare[1:]
	return nil
}

// Nodes are the addresses that the balancer's name has at the moment for one of the document's listeners, the oldest first.
func (s *Server) Nodes(listener int) []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]net.Addr, len(s.listeners[listener].nodes))
	for i, n := range s.listeners[listener].nodes {
		out[i] = n.Addr()
	}
	return out
}

// Rotate replaces a listener's oldest node by the one that has been out of service the longest, and returns what Nodes then
// does. The old one takes connections for one NodeTTL more, since a name may be remembered for that long (grade A), and what
// is open on it stays open. ctx bounds the binding.
func (s *Server) Rotate(ctx context.Context, listener int) ([]net.Addr, error) {
	if err := s.rotate(ctx, s.listeners[listener]); err != nil {
		return nil, fmt.Errorf("rotate listeners[%d]: %w", listener, err)
	}
	return s.Nodes(listener), nil
}

func (s *Server) rotate(ctx context.Context, l *listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begin == nil {
		return net.ErrClosed
	}
	if len(l.spare) == 0 {
		return ErrNoSpareNode
	}
	_, port, err := net.SplitHostPort(l.nodes[0].Addr().String())
	if err != nil {
		return err
	}
	if err := s.bind(ctx, l, port); err != nil {
		return err
	}
	s.begin(l, l.nodes[len(l.nodes)-1])
	old := l.nodes[0]
	l.nodes, l.leaving = l.nodes[1:], append(l.leaving, old)
	old.closed = time.AfterFunc(s.scaled(NodeTTL), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		old.Close()
		l.leaving = slices.DeleteFunc(l.leaving, func(n *node) bool { return n == old })
		l.spare = append(l.spare, old.ip)
	})
	return nil
}

// close ends every node of a listener; mu is held, or nobody serves yet.
func (l *listener) close() {
	for _, n := range slices.Concat(l.nodes, l.leaving) {
		if n.closed != nil {
			n.closed.Stop()
		}
		n.Close()
	}
}
