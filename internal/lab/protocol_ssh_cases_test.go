package lab

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// sshHostCertificate: the name that was asked for, by the authority that is trusted, or nothing.
func sshHostCertificate(t *testing.T, l sshLab, path string) {
	if c, err := l.dial(t, path, "another.example.test", l.config(new(atomic.Int32)), nil); err == nil || !strings.Contains(err.Error(), "not in the set of valid principals") {
		t.Errorf("a host by another name: %v, %v", c, err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	config := l.config(new(atomic.Int32))
	checker := ssh.CertChecker{IsHostAuthority: func(ca ssh.PublicKey, _ string) bool {
		return bytes.Equal(ca.Marshal(), other.PublicKey().Marshal())
	}}
	config.HostKeyCallback = checker.CheckHostKey
	if c, err := l.dial(t, path, "ssh.example.test", config, nil); err == nil || !strings.Contains(err.Error(), "no authorities for hostname") {
		t.Errorf("a host of another authority: %v, %v", c, err)
	}
}

// sshExec: output, diagnosis and status are told apart, and a signal from a status.
func sshExec(t *testing.T, l sshLab, path string) {
	c := l.connect(t, path)
	s := sshSession(t, c)
	var out, diag bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader("in"), &out, &diag
	exit, ok := errors.AsType[*ssh.ExitError](s.Run("cat; echo diag >&2; exit 3"))
	if !ok || exit.ExitStatus() != 3 || out.String() != "in" || diag.String() != "diag\n" {
		t.Errorf("%v, output %q, diagnosis %q", exit, &out, &diag)
	}
	if exit, ok := errors.AsType[*ssh.ExitError](sshSession(t, c).Run("kill -9 $$")); !ok || exit.Signal() != "KILL" {
		t.Errorf("a command that was killed: %v", exit)
	}
}

// sshTerminal talks to a shell, which sees the size that the client says, and each new one.
func sshTerminal(t *testing.T, l sshLab, path string) {
	s := sshSession(t, l.connect(t, path))
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	answers := bufio.NewReader(io.TeeReader(out, &said))
	size := func(rows, columns int) {
		t.Helper()
		fmt.Fprint(in, "tty >/dev/null && echo \"size=$(stty size);\"\n") // an echo of it has no such answer in it
		for want := fmt.Sprintf("size=%d %d;", rows, columns); !strings.Contains(said.String(), want); {
			if _, err := answers.ReadString(';'); err != nil {
				t.Fatalf("waiting for %q: %v after %q", want, err, said.String())
			}
		}
	}
	size(24, 80)
	if err := s.WindowChange(50, 132); err != nil {
		t.Fatal(err)
	}
	size(50, 132)
	fmt.Fprint(in, "exit 5\n")
	if _, err := io.Copy(io.Discard, answers); err != nil {
		t.Error(err)
	}
	if exit, ok := errors.AsType[*ssh.ExitError](s.Wait()); !ok || exit.ExitStatus() != 5 {
		t.Errorf("the shell ended with %v, want 5", exit)
	}
}

// sshFiles writes, lists, reads and removes a file.
func sshFiles(t *testing.T, l sshLab, path string) {
	c, err := sftp.NewClient(l.connect(t, path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // its session ends with the test
	const size = 2 << 20
	name := "over-" + path
	f, err := c.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	sent, got := sha256.New(), sha256.New()
	if n, err := io.Copy(f, io.TeeReader(io.LimitReader(backend.SeededBytes(1), size), sent)); err != nil || n != size {
		t.Fatalf("wrote %d bytes: %v", n, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := c.Stat(name); err != nil || info.Size() != size {
		t.Fatalf("%v, %v", info, err)
	}
	if f, err = c.Open(name); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(got, f); err != nil || n != size || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		t.Errorf("read %d bytes, of another hash: %v", n, err)
	}
	if err := errors.Join(f.Close(), c.Remove(name)); err != nil {
		t.Error(err)
	}
	if _, err := c.Stat(name); err == nil {
		t.Errorf("%s is there after it was removed", name)
	}
}

// sshForwarding goes into the tunnel by -L to a port of the server's machine, and out of it by the -R that has that port: a stream, and its half-close.
func sshForwarding(t *testing.T, l sshLab, path string) {
	c := l.connect(t, path)
	remote, err := c.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	echoed := make(chan error, 1)
	go func() {
		conn, err := remote.Accept()
		if err == nil {
			_, err = io.Copy(conn, conn)
			err = errors.Join(err, conn.Close())
		}
		echoed <- err
	}()
	conn, err := c.Dial("tcp", remote.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const size = 1 << 20
	sent, got := sha256.New(), sha256.New()
	wrote := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, io.TeeReader(io.LimitReader(backend.SeededBytes(2), size), sent))
		wrote <- errors.Join(err, conn.(interface{ CloseWrite() error }).CloseWrite())
	}()
	n, err := io.Copy(got, conn)
	if err := errors.Join(err, <-wrote, <-echoed); err != nil || n != size || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		t.Errorf("%d bytes of %d came back, or others: %v", n, size, err)
	}
}

// sshNewKeys has both sides change keys again and again while bytes flow both ways.
func sshNewKeys(t *testing.T, l sshLab, path string) {
	size := 4 << 20
	if path == scenario.PathALBHTTPS {
		size = 32 << 20
	}
	var keyed atomic.Int32
	config := l.config(&keyed)
	config.RekeyThreshold = sshRekey
	c, err := l.dial(t, path, "ssh.example.test", config, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := sshSession(t, c)
	sent, got := sha256.New(), sha256.New()
	s.Stdin, s.Stdout = io.TeeReader(io.LimitReader(backend.SeededBytes(3), int64(size)), sent), got
	if err := s.Run("cat"); err != nil || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		t.Errorf("cat gave other bytes back: %v", err)
	}
	// One exchange renews the keys of both directions, so there may be half as many as MiB went through.
	if n := keyed.Load(); int(n) < size/sshRekey/2 {
		t.Errorf("%d key exchanges for %d MiB each way", n, size>>20)
	}
}

// sshKeepAlive has a session that only asks now and then whether the other side is there outlive one that is silent.
func sshKeepAlive(t *testing.T, l sshLab) {
	raw := func(d *client.Dialer) { d.Upgrade = "alpn" } // where the tunnel itself has no pings
	try := func() (slowest time.Duration, err error) {
		kept, err := l.dial(t, "hasty", "ssh.example.test", l.config(new(atomic.Int32)), raw)
		if err != nil {
			t.Fatal(err)
		}
		asked, over := make(chan error, 1), make(chan struct{})
		go func() {
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for last := time.Now(); ; {
				if _, _, err := kept.SendRequest("keepalive@openssh.com", true, nil); err != nil {
					slowest = max(slowest, time.Since(last))
					asked <- err
					return
				}
				slowest, last = max(slowest, time.Since(last)), time.Now()
				select {
				case <-tick.C:
				case <-over:
					asked <- nil
					return
				}
			}
		}()
		silent, err := l.dial(t, "hasty", "ssh.example.test", l.config(new(atomic.Int32)), raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := sshSession(t, silent).Run("true"); err != nil { // its last word
			t.Fatal(err)
		}
		if err := silent.Wait(); err == nil {
			t.Error("the silent session ended as if it had said goodbye")
		}
		close(over)
		if err := <-asked; err != nil {
			return slowest, err
		}
		return slowest, sshSession(t, kept).Run("true")
	}
	for range 3 {
		slowest, err := try()
		if err == nil {
			return
		}
		if slowest < time.Second {
			t.Fatalf("the session that asked every 200 ms, and was answered within %v, died: %v", slowest, err)
		}
		t.Logf("this machine stood still for %v, which the load balancer took for idleness: again", slowest)
	}
	t.Fatal("this machine is too slow to ask five times in two seconds")
}
