package client

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
)

const (
	defaultLifetime = 10 * time.Minute
	defaultSize     = 256
)

// A Memory keeps which upgrade led through which path. A Dialer that finds its path in it goes that way at once, without a handshake
// that fails, a silence waited for or a token refused first. When the remembered way fails it is forgotten and the path is probed
// again, within the same dial. Direct paths need no memory: there the probe is the data session.
//
// A path is an address, the proxy in front of it, and the network, known by the local IP address. Dialers for several services behind
// one address may share a Memory. The zero value is ready for use. Lifetime and Size must not be changed afterwards.
type Memory struct {
	// Lifetime of a decision from the probe that led to it, 0 means 10 minutes: so long may the detour outlive the load balancer.
	Lifetime time.Duration
	// Size is the number of paths kept, 0 means 256. The one that would end first makes room.
	Size int

	mu   sync.Mutex // guards ways
	ways map[pathKey]way
}

type pathKey struct {
	network, proxy, address string
	plaintext               bool
}

// way is what is known about a path.
type way struct {
	class   probe.Class
	reason  string
	upgrade string
	until   time.Time
}

// recall finds a way that has not outlived itself at now. A nil Memory knows none.
func (m *Memory) recall(key pathKey, now time.Time) (way, bool) {
	if m == nil {
		return way{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w, ok := m.ways[key]
	if ok && !now.Before(w.until) {
		delete(m.ways, key)
		ok = false
	}
	return w, ok
}

func (m *Memory) keep(key pathKey, w way, now time.Time) {
	if m == nil {
		return
	}
	lifetime, size := m.Lifetime, m.Size
	if lifetime <= 0 {
		lifetime = defaultLifetime
	}
	if size <= 0 {
		size = defaultSize
	}
	w.until = now.Add(lifetime)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ways == nil {
		m.ways = make(map[pathKey]way)
	}
	if _, known := m.ways[key]; !known && len(m.ways) >= size {
		var first pathKey
		for k, w := range m.ways {
			if f, ok := m.ways[first]; !ok || w.until.Before(f.until) {
				first = k
			}
		}
		delete(m.ways, first)
	}
	m.ways[key] = w
}

func (m *Memory) forget(key pathKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.ways, key)
}

// pathOf is the path that raw, a connection to the address, was made on.
func (s *dialing) pathOf(raw net.Conn) pathKey {
	key := pathKey{network: raw.LocalAddr().String(), address: s.addr.dial, plaintext: s.plaintext}
	if host, _, err := net.SplitHostPort(key.network); err == nil {
		key.network = host
	}
	if s.proxy != nil {
		key.proxy = s.proxy.String()
	}
	return key
}

// auto finds the way: the remembered one if there is one, otherwise by the probe.
func (s *dialing) auto(ctx context.Context) (*Conn, error) {
	raw, err := s.firstTCP(ctx)
	if err != nil {
		return nil, err
	}
	path := s.pathOf(raw)
	if w, ok := s.Memory.recall(path, time.Now()); ok && slices.Contains(s.types, w.upgrade) {
		c, err := s.along(ctx, raw, w)
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		s.Memory.forget(path)
		if raw, err = s.firstTCP(ctx); err != nil {
			return nil, err
		}
	}
	c, err := s.explore(ctx, raw)
	if err == nil && c.info.Upgrade != "" {
		s.Memory.keep(path, way{class: c.info.Class, reason: c.info.Reason, upgrade: c.info.Upgrade}, time.Now())
	}
	return c, err
}

// along goes a remembered way, on raw.
func (s *dialing) along(ctx context.Context, raw net.Conn, w way) (*Conn, error) {
	s.info.Class, s.info.Reason = w.class, fmt.Sprintf("remembered: %s", w.reason)
	conn, err := s.outerConn(ctx, raw)
	if err != nil {
		return nil, err
	}
	return s.ladder(ctx, []string{w.upgrade}, conn, false)
}
