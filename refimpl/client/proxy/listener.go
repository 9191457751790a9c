package proxy

import (
	"net"
	"sync"
)

// listener has a limited number of places: accept waits for a free one before it takes a connection.
type listener struct {
	net.Listener
	places chan struct{}
	once   sync.Once
	closed chan struct{}
}

func newListener(l net.Listener, limit int) *listener {
	if limit <= 0 {
		limit = defaultLimit
	}
	return &listener{Listener: l, places: make(chan struct{}, limit), closed: make(chan struct{})}
}

// place is a connection that gives its place back when it is closed. splice needs to see what is inside.
type place struct {
	net.Conn
	once sync.Once
	give func()
}

func (l *listener) accept() (*place, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &place{Conn: conn, give: func() { <-l.places }}, nil
}

// Accept is accept for net/http.
func (l *listener) Accept() (net.Conn, error) {
	p, err := l.accept()
	if err != nil {
		return nil, err // not p: a nil *place in a net.Conn would not be nil
	}
	return p, nil
}

// Close ends an accept that waits for a place, too.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Close closes the connection and gives its place back, once.
func (p *place) Close() error {
	err := p.Conn.Close()
	p.once.Do(p.give)
	return err
}
