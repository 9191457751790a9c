package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func sshConfig() *tls.Config { return &tls.Config{NextProtos: []string{"teleport-proxy-ssh"}} }

// afterTheEnd reads to the end of the client's half, and only then answers.
func afterTheEnd(conn *tls.Conn) {
	got, err := io.ReadAll(conn)
	if err != nil {
		abort(conn)
		return
	}
	_, _ = conn.Write(append([]byte("got "), got...))
	conn.Close()
}

func echo(conn *tls.Conn) {
	_, _ = io.Copy(conn, conn)
	conn.Close()
}

func TestHalfClosesCross(t *testing.T) {
	s := listen(t, sshConfig(), afterTheEnd)
	var said said
	addr, end := serve(t, &Server{Kind: SSH, Dialer: s.dialer("teleport-proxy-ssh"), Say: said.say})
	conn := dial(t, addr)
	_, err := io.WriteString(conn, "question")
	if err := errors.Join(err, conn.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "got question" {
		t.Errorf("%q, %v", got, err)
	}
	end()
	said.nothing(t)
}

func TestAServiceThatAbortsIsAResetAndIsTold(t *testing.T) {
	s := listen(t, sshConfig(), func(conn *tls.Conn) {
		_, _ = conn.Write([]byte("hello"))
		_, _ = conn.Read(make([]byte, 1)) // the client has it
		abort(conn)
	})
	var said said
	addr, end := serve(t, &Server{Kind: SSH, Dialer: s.dialer("teleport-proxy-ssh"), Say: said.say})
	conn := dial(t, addr)
	_, err := io.ReadFull(conn, make([]byte, 5))
	if err == nil {
		_, err = conn.Write([]byte("x"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
	end()
	said.one(t, "the route cut the connection off")
}

func TestAClientThatLeavesIsNotTold(t *testing.T) {
	left := make(chan error, 1)
	s := listen(t, sshConfig(), func(conn *tls.Conn) {
		_, err := io.Copy(conn, conn)
		left <- err
	})
	var said said
	addr, end := serve(t, &Server{Kind: SSH, Dialer: s.dialer("teleport-proxy-ssh"), Say: said.say})
	conn := dial(t, addr)
	_, err := conn.Write([]byte("x"))
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1))
	}
	if err := errors.Join(err, conn.SetLinger(0), conn.Close()); err != nil {
		t.Fatal(err)
	}
	if err := <-left; err == nil {
		t.Error("the client's reset reached the service as a clean end")
	}
	end()
	said.nothing(t)
}

func TestADialThatFailsIsTold(t *testing.T) {
	var said said
	addr, end := serve(t, &Server{Kind: SSH, Dialer: nobody(t), Say: said.say})
	if got, err := io.ReadAll(dial(t, addr)); len(got) > 0 {
		t.Errorf("read %q, %v", got, err)
	}
	end()
	said.one(t, "connection refused")
}

func TestOverTheLimitConnectionsWait(t *testing.T) {
	s := listen(t, sshConfig(), echo)
	addr, _ := serve(t, &Server{Kind: SSH, Dialer: s.dialer("teleport-proxy-ssh"), Limit: 1})
	roundTrip := func(conn net.Conn) {
		t.Helper()
		_, err := conn.Write([]byte("x"))
		if err == nil {
			_, err = io.ReadFull(conn, make([]byte, 1))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	first, second := dial(t, addr), dial(t, addr)
	for range 20 {
		roundTrip(first)
	}
	if n := s.connections(); n != 1 {
		t.Errorf("%d connections to the service, want 1", n)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	roundTrip(second)
}

func TestServeEndsWithItsContextAndAllConnections(t *testing.T) {
	for _, kind := range []Kind{Database, SSH, HTTP} {
		t.Run(string(kind), func(t *testing.T) {
			s := listen(t, &tls.Config{}, echo)
			addr, end := serve(t, &Server{Kind: kind, Dialer: s.dialer(), Limit: 1})
			conn, waiting := dial(t, addr), dial(t, addr)
			_, err := conn.Write([]byte("G")) // the beginning of something
			if err != nil {
				t.Fatal(err)
			}
			end()
			for _, c := range []net.Conn{conn, waiting} {
				if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the connection is still open")
				}
			}
		})
	}
}

func TestAPortThatIsTakenAwayIsAnError(t *testing.T) {
	for _, kind := range []Kind{SSH, HTTP} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if err := (&Server{Kind: kind, Dialer: nobody(t)}).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// output is a writer that can be closed.
type output struct {
	bytes.Buffer
	closed bool
}

func (o *output) Close() error { o.closed = true; return nil }

func TestStdioIsOneConnection(t *testing.T) {
	s := listen(t, sshConfig(), afterTheEnd)
	var out output
	err := (&Server{Kind: SSH, Dialer: s.dialer("teleport-proxy-ssh")}).Stdio(t.Context(), strings.NewReader("question"), &out)
	if err != nil || out.String() != "got question" || !out.closed {
		t.Errorf("%q, closed %v, %v", out.String(), out.closed, err)
	}
}

func TestStdioEndsWithAServiceThatAborts(t *testing.T) {
	s := listen(t, sshConfig(), abort)
	in, writer := io.Pipe()               // of which a read never returns
	defer func() { _ = writer.Close() }() // of a pipe: it cannot fail
	err := (&Server{Kind: SSH, Dialer: s.dialer("teleport-proxy-ssh")}).Stdio(t.Context(), in, new(output))
	if err == nil || !strings.Contains(err.Error(), "the route cut the connection off") {
		t.Error(err)
	}
}

func TestStdioTellsWhyADialFailed(t *testing.T) {
	err := (&Server{Kind: SSH, Dialer: nobody(t)}).Stdio(t.Context(), strings.NewReader(""), new(output))
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
}
