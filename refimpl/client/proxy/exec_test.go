package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

func TestEnvironmentIsTheClientsOwn(t *testing.T) {
	here := []string{"TLSROUTE_PROXY_HOST=127.0.0.1", "TLSROUTE_PROXY_PORT=4000"}
	address := []string{"PGHOST=127.0.0.1", "PGHOSTADDR=127.0.0.1", "PGPORT=4000", "PGGSSENCMODE=disable"}
	postgres := append(address[:4:4], "PGSSLMODE=disable")
	mysql := []string{"MYSQL_HOST=127.0.0.1", "MYSQL_TCP_PORT=4000"}
	for _, test := range []struct {
		name string
		kind Kind
		alpn []string
		on   string
		want []string
	}{
		{"postgres", Database, []string{"teleport-postgres"}, "127.0.0.1", postgres},
		{"postgres by its IANA name", Database, []string{"postgresql"}, "127.0.0.1", postgres},
		{"mysql", Database, []string{"teleport-mysql"}, "127.0.0.1", mysql},
		{"either database", Database, nil, "127.0.0.1", append(postgres, mysql...)},
		{"every address is this host", Database, []string{"mysql"}, "0.0.0.0", mysql},
		{"http", HTTP, nil, "127.0.0.1", []string{"TLSROUTE_PROXY_URL=http://127.0.0.1:4000"}},
		{"kube", Kube, nil, "127.0.0.1", []string{"TLSROUTE_PROXY_URL=http://127.0.0.1:4000"}},
		{"ssh", SSH, nil, "127.0.0.1", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &Server{Kind: test.kind, Dialer: &client.Dialer{ALPN: test.alpn}}
			got := s.Environment(&net.TCPAddr{IP: net.ParseIP(test.on), Port: 4000})
			if diff := cmp.Diff(append(here[:2:2], test.want...), got); diff != "" {
				t.Error(diff)
			}
		})
	}
	secure := &Server{Kind: Database, Dialer: &client.Dialer{ALPN: []string{"postgresql"}}, LocalTLS: new(tls.Config)}
	want := slices.Concat(here, address, []string{"PGSSLMODE=prefer", "PGCHANNELBINDING=disable"})
	if diff := cmp.Diff(want, secure.Environment(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000})); diff != "" {
		t.Errorf("with a local certificate: %s", diff)
	}
	six := (&Server{Kind: HTTP}).Environment(&net.TCPAddr{IP: net.IPv6unspecified, Port: 4000})
	if want := "TLSROUTE_PROXY_URL=http://[::1]:4000"; six[2] != want {
		t.Errorf("%q, want %q", six[2], want)
	}
}

func TestSignalsGoToTheCommandAndItsStatusComesBack(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asChild+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	signals := make(chan os.Signal)
	ran := make(chan error, 1)
	go func() { ran <- Run(cmd, signals) }()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	signals <- syscall.SIGTERM
	err = <-ran
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 {
		t.Errorf("%v, want status 7", err)
	}
}

func TestACommandThatDoesNotExistIsAnError(t *testing.T) {
	if err := Run(exec.Command("no-such-program"), nil); !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
}

func TestOnlyKeysOfATerminalAreNotSentAgain(t *testing.T) {
	if sentByTerminal(syscall.SIGTERM) {
		t.Error("no terminal sends SIGTERM")
	}
}
