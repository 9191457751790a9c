package splice

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is what a pipe is asked to hold; smaller ones cost more calls (facts/performance.md section 3.5).
	pipeSize = 1 << 20
	// pipeLeast is what it must hold to be worth its while. An unprivileged user gets 8 KiB pipes when his share is used up
	// (fs.pipe-user-pages-soft).
	pipeLeast = 64 << 10
	// maxPipes bounds the pipes of a poller. A tunnel has one only while bytes are in it; where there is none, bytes are copied.
	maxPipes = 16
)

// pipe is where bytes are between two sockets.
type pipe struct {
	r, w int
	size int
	n    int // bytes in it
}

// fill moves bytes from a socket into an empty pipe.
func (p *pipe) fill(fd int) (int, error) {
	n, err := splice(fd, p.w, p.size)
	p.n = n
	return n, err
}

// drain moves bytes from the pipe to a socket.
func (p *pipe) drain(fd int) (int, error) {
	n, err := splice(p.r, fd, p.n)
	p.n -= n
	return n, err
}

// splice is splice(2) past the scheduler. The call does not block, but moving a megabyte takes longer than the runtime leaves a thread in
// a system call before it gives its place away, and getting that back costs more than the call.
func splice(from, to, most int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// take empties the pipe into memory.
func (p *pipe) take() []byte {
	b := make([]byte, p.n)
	for have := 0; have < len(b); {
		n, err := unix.Read(p.r, b[have:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return b[:have] // it holds less than it was given: nothing can be done for the rest
		}
		have += n
	}
	p.n = 0
	return b
}

func (p *pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

// pipePool has the pipes of a poller.
type pipePool struct {
	idle []*pipe
	made int
	none bool // the system gives none that are worth their while
}

func (pool *pipePool) get() *pipe {
	if n := len(pool.idle); n > 0 {
		p := pool.idle[n-1]
		pool.idle = pool.idle[:n-1]
		return p
	}
	if pool.none || pool.made == maxPipes {
		return nil
	}
	p, err := newPipe()
	if err != nil || p.size < pipeLeast {
		if p != nil {
			p.close()
		}
		pool.none = err == nil // no descriptors left is a passing state
		return nil
	}
	pool.made++
	return p
}

// put takes a pipe back. One with bytes in it is closed: they must never reach another tunnel.
func (pool *pipePool) put(p *pipe) {
	if p.n == 0 {
		pool.idle = append(pool.idle, p)
		return
	}
	p.close()
	pool.made--
}

func (pool *pipePool) close() {
	for _, p := range pool.idle {
		p.close()
	}
}

func newPipe() (*pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	p := &pipe{r: fds[0], w: fds[1]}
	_, _ = unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeSize) // what came of it is asked next
	size, err := unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		p.close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	p.size = size
	return p, nil
}
