package albsim

import (
	"strings"
	"sync"
	"time"
)

// pool keeps idle target connections. A watcher notices when the target closes one; since most are taken again sooner than a
// goroutine is worth its while, one that can be asked has a watcher only after some time.
type pool struct {
	limit   int // per key
	timeout time.Duration
	wg      sync.WaitGroup

	mu     sync.Mutex // guards what follows
	idle   map[string][]*targetConn
	closed bool
}

// get returns an idle connection that was alive a moment ago, or nil.
func (p *pool) get(key string) *targetConn {
	for {
		p.mu.Lock()
		list := p.idle[key]
		if len(list) == 0 {
			p.mu.Unlock()
			return nil
		}
		c := list[len(list)-1]
		if p.idle[key] = list[:len(list)-1]; len(list) == 1 {
			delete(p.idle, key) // BackendSNI can make keys of what clients say
		}
		p.mu.Unlock()

		if p.free(c) {
			c.reused = true
			return c
		}
		c.close()
	}
}

// free takes a connection from its watcher, if it has one, and tells whether it is alive; it is not in the list any more.
func (p *pool) free(c *targetConn) bool {
	c.later.pause()
	if c.watched == nil {
		if c.askable() {
			return c.ear.quiet()
		}
		p.look(c) // a fault has come since it was put here, and only a Read meets those
	}
	c.SetReadDeadline(longAgo)
	<-c.watched
	c.watched = nil
	c.SetReadDeadline(time.Time{})
	return !c.stale
}

// askable tells whether the socket itself says all that there is to know.
func (c *targetConn) askable() bool { return c.ear != nil && !c.wire.b.on.Load() }

// put takes a connection whose last response was read to its end.
func (p *pool) put(c *targetConn) {
	c.dog.Store(nil)
	c.answer = response{fields: roomOf(c.answer.fields)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle[c.key]) >= p.limit {
		c.close()
		return
	}
	p.idle[c.key] = append(p.idle[c.key], c)
	if !c.askable() {
		p.look(c)
		return
	}
	if c.look == nil {
		c.later.timeout = min(watchAfter, p.timeout)
		c.look = func() { p.look(c) }
	}
	c.later.arm(c.look)
}

// look begins a watcher.
func (p *pool) look(c *targetConn) {
	c.watched = make(chan struct{})
	c.SetReadDeadline(time.Now().Add(p.timeout - c.later.timeout)) // the time before counts
	p.wg.Go(func() { p.watch(c) })
}

// watch waits for a word from an idle target. Any is wrong: a FIN ends the connection, bytes belong to no request.
func (p *pool) watch(c *targetConn) {
	_, err := c.br.Peek(1)
	// Whoever removed c from the list wants it; otherwise it is ours to close.
	p.mu.Lock()
	wanted := true
	for i, other := range p.idle[c.key] {
		if other == c {
			p.idle[c.key] = append(p.idle[c.key][:i], p.idle[c.key][i+1:]...)
			wanted = false
			break
		}
	}
	p.mu.Unlock()
	c.stale = !timedOut(err)
	close(c.watched)
	if !wanted {
		c.close()
	}
}

// drop closes the idle connections to a target that is sent no requests any more.
func (p *pool) drop(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.idle {
		if key == address || strings.HasSuffix(key, " "+address) {
			p.end(key)
		}
	}
}

// end closes idle connections; mu is held.
func (p *pool) end(key string) {
	var watched []*targetConn
	for _, c := range p.idle[key] {
		if c.later.pause(); c.watched == nil {
			c.close()
			continue
		}
		c.SetReadDeadline(longAgo) // its watcher closes it
		watched = append(watched, c)
	}
	if p.idle[key] = watched; watched == nil {
		delete(p.idle, key)
	}
}

// close ends every idle connection and waits for the watchers.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for key := range p.idle {
		p.end(key)
	}
	p.mu.Unlock()
	p.wg.Wait()
}
