//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/procstat"
)

// stopTime is how long a process may take to end when asked.
const stopTime = 5 * time.Second

// process is a program of ours to stop. It does not outlive this one: the kernel signals it when we die.
type process struct {
	cmd  *exec.Cmd
	out  tail
	done chan struct{}
}

// start runs a program. Its input stays open as long as it is to run, its output is kept for the error message.
// death is the signal it gets should we die first: one by which it also ends its own children.
func start(death syscall.Signal, stdout io.Writer, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: death}
	if _, err := p.cmd.StdinPipe(); err != nil { // never written to; Wait closes it
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // its status is in ProcessState
		close(p.done)
	}()
	return p, nil
}

// stop ends the process and its children, by their ids, and waits for it.
func (p *process) stop() {
	pids := procstat.Family(p.cmd.Process.Pid)
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(stopTime):
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-p.done
	}
}

// tail keeps the end of what is written to it. It is read only after the writer has ended.
type tail struct{ text []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	t.text = t.text[max(0, len(t.text)-4096):]
	return len(b), nil
}

// ended is the error of a process that was to go on.
func (p *process) ended(name string) error {
	return fmt.Errorf("%s has ended (%s): %s", name, p.cmd.ProcessState, strings.TrimSpace(string(p.out.text)))
}

// run gives a job to a load process of its own, behind the words of prefix, and returns what it measured.
func run(ctx context.Context, j job, prefix ...string) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, j.bound())
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	argv := append(prefix, self, roleLoad)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	in, err := json.Marshal(j)
	if err != nil {
		return sample{}, err
	}
	var complaint tail
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &complaint
	// By SIGTERM, since perf then ends what it has started; what does not end is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTime
	out, err := cmd.Output()
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w: %s", j.Kind, errors.Join(ctx.Err(), err), strings.TrimSpace(string(complaint.text)))
	}
	var s sample
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("%s: %w", j.Kind, err)
	}
	return s, nil
}
