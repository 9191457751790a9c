package bench

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// serveFake runs one of the fakes behind one loopback connection and returns the client's end.
func serveFake(t *testing.T, serve func(net.Conn, answer) error, change answer) net.Conn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		defer server.Close()
		done <- serve(server, change)
	}()
	t.Cleanup(func() {
		client.Close()
		server.Close()
		if err := <-done; err != nil {
			t.Logf("fake server ended with %v", err) // most often the closing above
		}
	})
	return client
}

// made is a workload with the defaults of its options.
func made(t *testing.T, name string) workload {
	t.Helper()
	k, err := lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := CheckShape(name, Shape{}, 0, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	return k.make(s)
}

type fake struct {
	serve  func(net.Conn, answer) error
	access Access
}

func fakes(t *testing.T) map[string]fake {
	sshServe, sshAccess := fakeSSH(t)
	db := Access{User: "bench", Password: "p'w d", Database: "bench"}
	return map[string]fake{
		"postgres": {fakePostgres, db},
		"mysql":    {fakeMySQL, db},
		"ssh":      {sshServe, sshAccess},
	}
}

func open(t *testing.T, name string, f fake, change answer) (session, error) {
	t.Helper()
	w := made(t, name)
	conn := serveFake(t, f.serve, change)
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return w.Open(t.Context(), conn, f.access)
}

func TestWorkloadsTakeRightAnswersFiftyTimes(t *testing.T) {
	for name, f := range fakes(t) {
		t.Run(name, func(t *testing.T) {
			s, err := open(t, name, f, honest)
			if err != nil {
				t.Fatal(err)
			}
			if v, ok := s.(verifier); ok {
				if err := v.Verify(t.Context()); err != nil {
					t.Error(err)
				}
			}
			for i := range 50 {
				if err := s.Do(t.Context()); err != nil {
					t.Fatalf("request %d: %v", i, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

func TestWorkloadsRefuseWrongAnswers(t *testing.T) {
	flip := func(p []byte) []byte { return append([]byte{p[0] ^ 1}, p[1:]...) }
	for name, f := range fakes(t) {
		for kind, change := range map[string]answer{
			"one byte other": func(n int, right []byte) []byte {
				if name == "ssh" || n%10 == 7 {
					return flip(right)
				}
				return right
			},
			"something missing": func(n int, right []byte) []byte {
				switch {
				case name == "ssh":
					return right[:len(right)-1]
				case n%10 == 9: // the last row
					return nil
				}
				return right
			},
			"something more": func(n int, right []byte) []byte {
				if name == "ssh" || n%10 == 3 {
					return append(slices.Clone(right), 'x')
				}
				return right
			},
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				s, err := open(t, name, f, change)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Do(t.Context()); err == nil {
					t.Error("the wrong answer was taken")
				} else if !strings.HasPrefix(err.Error(), name+":") {
					t.Errorf("error %q does not begin with the protocol", err)
				}
				_ = s.Close()
			})
		}
	}
}

func TestSSHFileThatArrivesOtherwiseIsRefused(t *testing.T) {
	f := fakes(t)["ssh"]
	s, err := open(t, "ssh", f, func(_ int, right []byte) []byte { return append([]byte("0"), right[1:]...) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	wrong := 0
	for range 3 { // the first digit of one hash in sixteen is a 0 anyway
		if err := s.(verifier).Verify(t.Context()); err != nil {
			wrong++
		}
	}
	if wrong == 0 {
		t.Error("another file's hash was taken")
	}
}

func TestSSHWithAnotherHostKeyIsRefused(t *testing.T) {
	f := fakes(t)["ssh"]
	_, other := fakeSSH(t)
	f.access.HostKey = other.HostKey
	if s, err := open(t, "ssh", f, honest); err == nil {
		_ = s.Close()
		t.Error("a stranger's host key was taken")
	}
}

// A driver that reconnects by itself would leave the path under measurement.
func TestDriverMayNotDialForItself(t *testing.T) {
	for _, name := range []string{"postgres", "mysql"} {
		t.Run(name, func(t *testing.T) {
			f := fakes(t)[name]
			w := made(t, name)
			conn := serveFake(t, f.serve, honest)
			s, err := w.Open(t.Context(), conn, f.access)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Do(t.Context()); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			for range 3 {
				if err := s.Do(t.Context()); err == nil {
					t.Error("answered over a closed connection")
				}
			}
			_ = s.Close()
		})
	}
}

// Arrivals wait behind a tunnel that failed, so giving it up must not wait for a server that says nothing more.
func TestAbortDoesNotWaitForTheServer(t *testing.T) {
	for name, f := range fakes(t) {
		t.Run(name, func(t *testing.T) {
			stuck := make(chan struct{})
			conn := serveFake(t, f.serve, func(_ int, right []byte) []byte { <-stuck; return right })
			defer close(stuck)
			w := made(t, name)
			s, err := w.Open(t.Context(), conn, f.access)
			if err != nil {
				t.Fatal(err)
			}
			tun := &tunnel{conn: conn, sess: s}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			stop := unblock(ctx, conn)
			err = s.Do(ctx)
			stop()
			if err == nil {
				t.Fatal("answered by a server that was stuck")
			}
			began := time.Now()
			tun.abort()
			if d := time.Since(began); d > 500*time.Millisecond {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	for name, f := range fakes(t) {
		t.Run(name, func(t *testing.T) {
			mute := func(c net.Conn, _ answer) error {
				var b [4096]byte
				for {
					if _, err := c.Read(b[:]); err != nil {
						return nil //nolint:nilerr // the end of the connection is the end of the test
					}
				}
			}
			conn := serveFake(t, mute, nil)
			w := made(t, name)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			began := time.Now()
			dial := func(context.Context, func(string, time.Duration)) (net.Conn, error) { return conn, nil }
			if tun, err := openTunnel(ctx, dial, w, f.access, func(string, time.Duration) {}, func(net.Conn) error { return nil }); err == nil {
				tun.close()
				t.Error("logged in to a server that says nothing")
			}
			if d := time.Since(began); d > 3*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}
