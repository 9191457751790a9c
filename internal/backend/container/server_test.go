//go:build docker

package container_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/backend/backendtest"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// answers asks a server something that only one at work can answer.
func answers(ctx context.Context, r *backend.Running) (err error) {
	switch r.Info.Kind {
	case backend.Postgres:
		_, err = backend.AskPostgres(ctx, r.Address, r.Access.User, r.Access.Password, r.Access.Database, "SELECT 1")
	case backend.MySQL:
		_, err = backend.AskMySQL(ctx, r.Address, r.Access, "SELECT 1")
	case backend.SSH:
		_, err = backend.ProbeSSH(ctx, r.Address, r.Access)
	case backend.Witness:
		var conn net.Conn
		if conn, err = new(net.Dialer).DialContext(ctx, "tcp", r.Address); err == nil {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			_, err = witness.Ask(conn, witness.Order{Nonce: "n", Do: witness.Close})
		}
	case backend.HTTP, backend.Kube:
		url := "http://" + r.Address
		if r.Info.Kind == backend.Kube {
			url = "https://" + r.Address
		}
		var req *http.Request
		var resp *http.Response
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, url, nil); err != nil {
			return err
		}
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		if resp, err = transport.RoundTrip(req); err == nil {
			err = resp.Body.Close()
		}
	default:
		err = fmt.Errorf("nothing is known to ask of kind %s", r.Info.Kind)
	}
	return err
}

// TestFaultsOfContainers is what internal/backend has of local servers.
func TestFaultsOfContainers(t *testing.T) {
	for _, kind := range backend.Kinds() {
		t.Run(kind, func(t *testing.T) {
			spec := backendtest.Spec(t, kind)
			spec.Program = program(t)
			r := backendtest.Start(t, backend.Container, spec)
			ctx := t.Context()
			must := func(what string, err error) {
				t.Helper()
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
			held, err := net.Dial("tcp", r.Address)
			must("dial", err)
			defer held.Close()
			must("pause", r.Faults.Pause(ctx))
			must("pause again", r.Faults.Pause(ctx))
			short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			if err := answers(short, r); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a frozen server: %v", err)
			}
			must("resume", r.Faults.Resume(ctx))
			must("after resume", answers(ctx, r))
			must("pause", r.Faults.Pause(ctx))
			must("kill a frozen one", r.Faults.Kill(ctx))
			if c, err := net.Dial("tcp", r.Address); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a killed server: %v, %v", c, err)
			}
			must("deadline", held.SetReadDeadline(time.Now().Add(time.Minute)))
			for {
				if _, err := held.Read(make([]byte, 1024)); errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
					t.Error("a session with a killed server does not end")
				} else if err != nil {
					break
				}
			}
			for what, do := range map[string]func(context.Context) error{"kill": r.Faults.Kill, "pause": r.Faults.Pause, "resume": r.Faults.Resume} {
				if err := do(ctx); !errors.Is(err, backend.ErrDown) {
					t.Errorf("%s of a killed server: %v", what, err)
				}
			}
			if kind == backend.Witness {
				if n := r.Witness.Accepted(); n >= 0 || len(r.Witness.Find("n")) > 0 {
					t.Errorf("a killed witness has accepted %d", n)
				}
			}
			must("restart", r.Faults.Restart(ctx))
			must("after restart", answers(ctx, r))
			must("pause", r.Faults.Pause(ctx))
			must("restart of a frozen one", r.Faults.Restart(ctx))
			must("restart of one at work", r.Faults.Restart(ctx))
			must("after restarts", answers(ctx, r))
			if kind == backend.MySQL {
				must("kill before the end", r.Faults.Kill(ctx))
			} else {
				must("pause before the end", r.Faults.Pause(ctx))
			}
			backendtest.Close(t, r)
			if c, err := net.Dial("tcp", r.Address); err == nil {
				c.Close()
				t.Error("something still listens after Close")
			}
		})
	}
}

// TestADurableContainerKeepsWhatItConfirmed kills it right behind the confirmation: without flushing that row is lost, since the log is written
// some hundred milliseconds later.
func TestADurableContainerKeepsWhatItConfirmed(t *testing.T) {
	for _, kind := range []string{backend.Postgres, backend.MySQL} {
		t.Run(kind, func(t *testing.T) {
			spec := backendtest.Spec(t, kind)
			spec.Durable = true
			r := backendtest.Start(t, backend.Container, spec)
			if !strings.HasSuffix(r.Info.Note, ", flushing at commit") {
				t.Errorf("the note does not say so: %s", r.Info.Note)
			}
			ask := func(sql string) (value string) {
				t.Helper()
				var err error
				if kind == backend.Postgres {
					value, err = backend.AskPostgres(t.Context(), r.Address, r.Access.User, r.Access.Password, r.Access.Database, sql)
				} else {
					value, err = backend.AskMySQL(t.Context(), r.Address, r.Access, sql)
				}
				if err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
				return value
			}
			ask("CREATE TABLE kept (id int)")
			ask("INSERT INTO kept VALUES (1)")
			if err := r.Faults.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := r.Faults.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if rows := ask("SELECT count(*) FROM kept"); rows != "1" {
				t.Errorf("%s rows of 1 after a kill", rows)
			}
		})
	}
}
