package splice

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// failure is why a tunnel does not end cleanly.
type failure struct {
	side int // the end that failed
	read bool
	late bool // after its own clean end
	err  error
}

// leave takes a tunnel out of the loop. How it ends takes time: a goroutine does it, in the way of Join.
func (p *poller) leave(x *pair, end func() Report) {
	p.detach(x)
	for i := range x.ends {
		h := &x.ends[i]
		if h.pipe != nil {
			h.pending = h.pipe.take()
			p.pipes.put(h.pipe)
			h.pipe = nil
		}
	}
	p.loop.wg.Go(func() { x.done(end()) })
}

// detach forgets a tunnel and watches its sockets no longer.
func (p *poller) detach(x *pair) {
	p.remove(x)
	for i := range x.ends {
		// Its error means that it is not watched, which is what is wanted.
		_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, x.ends[i].fd, nil)
	}
}

func (p *poller) fail(x *pair, f failure) {
	p.leave(x, func() Report { return p.loop.resume(x, f) })
}

// bidFarewell ends a tunnel that has ended cleanly at both ends.
func (l *Loop) bidFarewell(x *pair) Report {
	j, err := x.join()
	if err != nil {
		return x.report(EndErrorA, err)
	}
	v := verdict{end: EndEOF}
	j.finish(l.ctx, v)
	return j.report(v)
}

// resume brings a tunnel to its end that has failed.
func (l *Loop) resume(x *pair, f failure) Report {
	j, err := x.join()
	if err != nil {
		return x.report(EndErrorA, err)
	}
	back := j.ab // the direction that comes from the end that failed
	if f.side == 1 {
		back = j.ba
	}
	from, step := back, "read from " // the direction that failed
	if !f.read {
		from, step = j.reverse(back), "write to "
	}
	ev := event{from: from, bad: back.src, read: f.read, late: f.late, err: fmt.Errorf("%s%s: %w", step, back.src.name, f.err)}
	if !f.late {
		j.over[from] = true
	}
	if kept := x.ends[1-f.side].base; kept != nil {
		kept.sendKept(l.ctx)
	}
	if !f.read && !j.over[back] {
		j.copies.Go(func() { j.run(back) }) // what it said before is perhaps still to be read
	}
	v := verdict{end: word(ev), err: ev.err, ev: ev}
	j.finish(l.ctx, v)
	return j.report(v)
}

// join makes of the tunnel what Join would have made of it by now. On an error, which is for want of descriptors, both ends have been
// reset: nothing can be done for what was on its way.
func (x *pair) join() (*join, error) {
	a, errA := x.ends[0].conn()
	b, errB := x.ends[1].conn()
	if err := errors.Join(errA, errB); err != nil {
		for _, conn := range []net.Conn{a, b} {
			if conn != nil {
				Abort(conn)
			}
		}
		return nil, fmt.Errorf("take the connection back: %w", err)
	}
	j := newJoin(a, b)
	for i, d := range []*direction{j.ab, j.ba} {
		h := &x.ends[i]
		d.moved.Store(h.moved)
		d.spliced.Store(h.spliced)
		d.src.held, d.src.refused = h.pending, h.refused
		if h.told {
			d.telling.Store(true)
			j.over[d], j.clean[d] = true, true
		}
	}
	return j, nil
}

// conn gives the socket back to the Go runtime, and to its session. When that fails it is reset.
func (h *half) conn() (net.Conn, error) {
	file := os.NewFile(uintptr(h.fd), "tcp")
	conn, err := net.FileConn(file) // on a descriptor of its own
	if err != nil {
		_ = unix.SetsockoptLinger(h.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	tcp, _ := conn.(*net.TCPConn) // what else would it be
	if h.base == nil {
		file.Close()
		return conn, err
	}
	h.base.wake.Store(nil)
	h.base.regain(tcp) // before others can get the descriptor's number
	file.Close()
	if err != nil {
		h.top.Close()
		return nil, err
	}
	return h.top, nil
}

// ahead gives back bytes that were read too early.
type ahead struct {
	net.Conn
	bytes []byte
}

func (a *ahead) Unwrap() net.Conn { return a.Conn }

func (a *ahead) Buffered() []byte {
	b := a.bytes
	a.bytes = nil
	return b
}

func (a *ahead) Read(p []byte) (int, error) {
	if len(a.bytes) > 0 {
		n := copy(p, a.bytes)
		a.bytes = a.bytes[n:]
		return n, nil
	}
	return a.Conn.Read(p)
}
