//go:build unix

package router

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childLimit, set in the environment, makes the test binary a router under that limit of descriptors: the limit is the process's.
const childLimit = "TLSROUTE_TEST_ROUTER_UNDER"

func init() {
	limit := os.Getenv(childLimit)
	if limit == "" {
		return
	}
	if err := routerUnder(limit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// routerUnder serves the document on standard input until that ends, says where on standard output, and drains.
func routerUnder(text string) error {
	var limit syscall.Rlimit
	if _, err := fmt.Sscan(text, &limit.Cur); err != nil {
		return err
	}
	limit.Max = limit.Cur
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var config Config
	if err := json.Unmarshal(line, &config); err != nil {
		return err
	}
	s, err := New(config, Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	if err := s.Listen(context.Background()); err != nil {
		return err
	}
	fmt.Println(s.Addr())
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, in)
		stop()
	}()
	return s.Serve(ctx)
}

// childRouter starts such a process. stop ends it in good order, and the test when it does not end so.
func childRouter(t *testing.T, descriptors int, config Config) (addr string, log *logLines, stop func()) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log = &logLines{news: make(chan struct{}, 1)}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", childLimit, descriptors))
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the router's process: %v", err)
		}
	}
	t.Cleanup(stop)
	config.Listen = "127.0.0.1:0"
	if err := json.NewEncoder(in).Encode(config); err != nil {
		t.Fatal(err)
	}
	addr, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the router's process said nothing: %v", err)
	}
	return strings.TrimSpace(addr), log, stop
}

// TestWithoutDescriptorsNewConnectionsAreShedAndOpenTunnelsWork runs a router out of descriptors, and gives them back.
func TestWithoutDescriptorsNewConnectionsAreShedAndOpenTunnelsWork(t *testing.T) {
	const descriptors, tunnels, silent = 64, 8, 96
	back := serveBackend(t, pureEcho)
	addr, log, stop := childRouter(t, descriptors, Config{
		Routes: []Route{passRoute(back.addr)},
		Limits: Limits{ClientHelloTimeout: Duration(6 * patience)}, // what is silent stays
	})
	hello := helloBytes(t, "pass.test")
	var open []net.Conn
	for range tunnels {
		conn, err := routed(addr, hello)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		open = append(open, conn)
	}

	// More than there are descriptors: those that find none must be told so, and not left to wait.
	ended := make(chan error, silent)
	var quiet []net.Conn
	for range silent {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(6 * patience))
		quiet = append(quiet, conn)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			ended <- err
		}()
	}
	for n := range silent + 2*tunnels - descriptors {
		if err := <-ended; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %d connections were closed, the next: %v", n, err)
		}
	}
	log.wait(t, "level=WARN", "out of descriptors")
	if conn, err := routed(addr, hello); err == nil {
		conn.Close()
		t.Error("routed without a descriptor for it")
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("one too many is left to wait")
	}
	bulk := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // enough to ask for a pipe, and there is none
	for i, conn := range open {
		for _, text := range [][]byte{[]byte("small"), bulk} {
			if err := echoed(conn, text); err != nil {
				t.Errorf("tunnel %d, %d bytes, while others are shed: %v", i, len(text), err)
			}
		}
	}

	for _, conn := range quiet {
		conn.Close()
	}
	// The router learns of these ends one by one: until it has a descriptor or two, an attempt fails at once.
	for deadline := time.Now().Add(6 * patience); ; {
		conn, err := routed(addr, hello)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not served again: %v", err)
		}
	}
	for i, conn := range open {
		if err := echoed(conn, []byte("still")); err != nil {
			t.Errorf("tunnel %d, afterwards: %v", i, err)
		}
		conn.Close()
	}
	stop()
}
