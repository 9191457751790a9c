package door

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Dial has a client under test open a tunnel. Behind the first line, the answer, the adapter's standard input and output are the tunnel;
// the end of either is its end, an irregular one (io.ErrUnexpectedEOF) when the adapter's status is not 0. Close kills an adapter that does not end by itself.
func (a Adapter) Dial(ctx context.Context, r Request) (net.Conn, Answer, error) {
	r.Verb = "dial"
	in, err := json.Marshal(r)
	if err != nil {
		return nil, Answer{}, err
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, Answer{}, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, Answer{}, errors.Join(err, inR.Close(), inW.Close())
	}
	said := &bounded{most: mostSaid, drop: true}
	cmd := a.command(context.WithoutCancel(ctx)) // the tunnel outlives the dialling
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, said
	cmd.WaitDelay = time.Second
	err = cmd.Start()
	inR.Close()
	outW.Close()
	if err != nil {
		return nil, Answer{}, errors.Join(fmt.Errorf("adapter %s, verb dial: %w", a.Command[0], err), inW.Close(), outR.Close())
	}
	p := &piped{time: a.time(), in: inW, out: outR, cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	stop := context.AfterFunc(ctx, func() { _ = outR.SetReadDeadline(time.Unix(1, 0)) })
	answer, err := p.begin(in)
	if !stop() {
		err = errors.Join(err, context.Cause(ctx))
	}
	if err == nil {
		switch answer.Status {
		case OK:
			return p, answer, outR.SetReadDeadline(time.Time{})
		case Unsupported:
			err = &UnsupportedError{answer.Message}
		default:
			err = fmt.Errorf("adapter %s, verb dial: %s", a.Command[0], answer.Message)
		}
	} else {
		_ = p.Close() // ends what it says
		err = fmt.Errorf("adapter %s, verb dial: %w; it said: %s", a.Command[0], err, said.buf.String())
	}
	return nil, answer, errors.Join(err, p.Close())
}

// begin asks and reads the first line.
func (p *piped) begin(request []byte) (answer Answer, err error) {
	if err := p.SetDeadline(time.Now().Add(p.time)); err != nil {
		return answer, err
	}
	_, err = p.in.Write(append(request, '\n'))
	if err = errors.Join(err, p.in.SetWriteDeadline(time.Time{})); err != nil {
		return answer, err
	}
	p.br = bufio.NewReader(io.LimitReader(p.out, mostAnswer))
	line, err := p.br.ReadBytes('\n')
	if err != nil {
		return answer, fmt.Errorf("no answer (%.80q): %w", line, err)
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return answer, fmt.Errorf("its first line is no JSON object: %w", err)
	}
	p.ahead, _ = p.br.Peek(p.br.Buffered())
	return answer, nil
}

// piped is a tunnel over the standard input and output of a process.
type piped struct {
	time    time.Duration // for the answer
	in, out *os.File
	cmd     *exec.Cmd
	br      *bufio.Reader
	ahead   []byte
	ended   chan struct{}
	err     error
	once    sync.Once
}

func (p *piped) Read(b []byte) (int, error) {
	if len(p.ahead) > 0 {
		n := copy(b, p.ahead)
		p.ahead = p.ahead[n:]
		return n, nil
	}
	n, err := p.out.Read(b)
	if n == 0 && errors.Is(err, io.EOF) && p.failed() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// failed says whether the adapter has ended with a status other than 0, for which it is given a second: so it tells an end that was no
// regular one. One that goes on has ended its output alone.
func (p *piped) failed() bool {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.err != nil
	case <-timer.C:
		return false
	}
}

func (p *piped) Write(b []byte) (int, error) { return p.in.Write(b) }

// CloseWrite ends the adapter's standard input.
func (p *piped) CloseWrite() error { return p.in.Close() }

func (p *piped) Close() error {
	p.once.Do(func() {
		p.in.Close()
		p.out.Close()
		timer := time.NewTimer(time.Second)
		defer timer.Stop()
		select {
		case <-p.ended:
		case <-timer.C:
		}
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // what it left; it may be gone
		<-p.ended
	})
	return nil
}

func (p *piped) LocalAddr() net.Addr                { return pipeAddr{} }
func (p *piped) RemoteAddr() net.Addr               { return pipeAddr{} }
func (p *piped) SetReadDeadline(t time.Time) error  { return p.out.SetReadDeadline(t) }
func (p *piped) SetWriteDeadline(t time.Time) error { return p.in.SetWriteDeadline(t) }
func (p *piped) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "adapter" }
