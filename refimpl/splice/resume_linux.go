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

// fail takes a tunnel out of the loop. How it ends takes time and is rare: a goroutine does it, in the way of Join.
func (p *poller) fail(x *pair, f failure) {
	p.remove(x)
	for i := range x.ends {
		h := &x.ends[i]
		// Its error means that it is not watched, which is what is wanted.
		_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, h.fd, nil)
		if h.pipe != nil {
			h.pending = h.pipe.take()
			p.pipes.put(h.pipe)
			h.pipe = nil
		}
	}
	p.loop.wg.Go(func() { x.done(p.loop.resume(x, f)) })
}

// resume brings a tunnel to its end.
func (l *Loop) resume(x *pair, f failure) Report {
	a, errA := x.ends[0].conn()
	b, errB := x.ends[1].conn()
	if err := errors.Join(errA, errB); err != nil {
		// Out of descriptors: nothing can be done for what was on its way.
		for _, conn := range []net.Conn{a, b} {
			if conn != nil {
				Abort(conn)
			}
		}
		return x.report(EndErrorA, fmt.Errorf("take the connection back: %w", err))
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
	if !f.read && !j.over[back] {
		j.copies.Go(func() { j.run(back) }) // what it said before is perhaps still to be read
	}
	v := verdict{end: word(ev), err: ev.err, ev: ev}
	j.finish(l.ctx, v)
	return j.report(v)
}

// conn gives the socket back to the Go runtime. When that fails it is reset.
func (h *half) conn() (net.Conn, error) {
	file := os.NewFile(uintptr(h.fd), "tcp")
	conn, err := net.FileConn(file) // on a descriptor of its own
	if err != nil {
		_ = unix.SetsockoptLinger(h.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	file.Close()
	return conn, err
}
