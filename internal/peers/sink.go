//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// The services of the sink. A router finds them by the first label of the name it is asked for.
const (
	serviceEcho    = "echo"    // sends back what comes, in small messages
	serviceDiscard = "discard" // throws away what comes, and ends when the client does
	serviceSource  = "source"  // sends without end from the first byte that comes
)

var services = []string{serviceEcho, serviceDiscard, serviceSource, serviceHTTP}

// sinkMain is the backend of all routers: it writes the address of each service to out and serves until in ends.
func sinkMain(in io.Reader, out io.Writer) error {
	addresses := map[string]string{}
	failed := make(chan error, len(services)+1)
	for _, name := range services {
		l, addr, err := listen()
		if err != nil {
			return fmt.Errorf("sink: %w", err)
		}
		addresses[name] = addr
		if name == serviceEcho || name == serviceHTTP {
			go func() { failed <- answer(l, name == serviceHTTP) }()
			continue
		}
		serve := discard
		if name == serviceSource {
			serve = source
		}
		go func() { failed <- accept(l, serve) }()
	}
	if err := json.NewEncoder(out).Encode(addresses); err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	go func() {
		_, err := io.Copy(io.Discard, in)
		failed <- err
	}()
	return <-failed // the process ends with it, and every connection
}

func accept(l socket, serve func(socket)) error {
	for {
		fd, _, err := unix.Accept4(int(l), unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return fmt.Errorf("sink: accept: %w", err)
		}
		go serve(socket(fd))
	}
}

func discard(s socket) {
	defer s.close()
	scratch := make([]byte, 1<<20)
	for {
		if _, err := s.discard(scratch); err != nil {
			return
		}
	}
}

func source(s socket) {
	defer s.close()
	b := make([]byte, chunk)
	if _, err := s.Read(b); err != nil {
		return
	}
	for {
		if _, err := s.Write(b); err != nil {
			return
		}
	}
}

// answer echoes, or speaks HTTP, on all its connections in one thread, which ten thousand idle ones and the fastest ping-pong both want.
func answer(l socket, speaksHTTP bool) error {
	if err := unix.SetNonblock(int(l), true); err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	poll, err := newPoll()
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	if err := poll.add(l); err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	b := make([]byte, chunk)
	states := map[socket]*httpState{}
	for {
		ready, err := poll.wait()
		if err != nil {
			return fmt.Errorf("sink: %w", err)
		}
		for _, s := range ready {
			if s == l {
				if err := acceptAll(l, poll); err != nil {
					return fmt.Errorf("sink: %w", err)
				}
				continue
			}
			n, err := s.Read(b)
			out := b[:max(n, 0)]
			if speaksHTTP && err == nil {
				if states[s] == nil {
					states[s] = &httpState{}
				}
				out = states[s].answer(out)
			}
			if err == nil && len(out) > 0 {
				_, err = s.Write(out)
			}
			// A message that does not fit into the socket is not an echo's, and ends it.
			if err != nil && !errors.Is(err, unix.EAGAIN) || err != nil && n > 0 {
				delete(states, s)
				s.close()
			}
		}
	}
}

func acceptAll(l socket, p *poll) error {
	for {
		fd, _, err := unix.Accept4(int(l), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.EINTR || err == unix.ECONNABORTED:
			continue
		case err != nil:
			return fmt.Errorf("accept: %w", err)
		}
		s := socket(fd)
		if err := s.prepare(); err != nil {
			s.close()
			continue
		}
		if err := p.add(s); err != nil {
			return err
		}
	}
}

// poll is an epoll instance for reading; a closed socket leaves it by itself.
type poll struct {
	fd     int
	events [256]unix.EpollEvent
	ready  []socket
}

func newPoll() (*poll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &poll{fd: fd}, nil
}

func (p *poll) add(s socket) error {
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(s), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s)}); err != nil {
		return fmt.Errorf("epoll add: %w", err)
	}
	return nil
}

// wait returns those that can be read; the slice is the caller's until the next call.
func (p *poll) wait() ([]socket, error) {
	for {
		n, err := unix.EpollWait(p.fd, p.events[:], -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("epoll wait: %w", err)
		}
		p.ready = p.ready[:0]
		for _, e := range p.events[:n] {
			p.ready = append(p.ready, socket(e.Fd))
		}
		return p.ready, nil
	}
}
