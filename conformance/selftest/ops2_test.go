package selftest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Checks that look at the memory and the descriptors of a process need one that is not the harness's own: this test binary, started
// again as a relay before an instance of the reference.
const (
	relayTo   = "TRB_SELFTEST_RELAY_TO"
	relayKind = "TRB_SELFTEST_RELAY_KIND"
)

func init() {
	if address := os.Getenv(relayTo); address != "" {
		relayMain(address, os.Getenv(relayKind))
	}
}

// Kinds of relays.
const (
	relayHonest = "honest"
	relayFat    = "fat"    // a megabyte for each connection
	relayHoards = "hoards" // keeps what it has read
	relayLeaks  = "leaks"  // never closes a descriptor
)

// relayMain is the process: it prints where it listens and relays until its standard input ends.
func relayMain(address, kind string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(ln.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	var mu sync.Mutex // guards kept
	var kept []any
	keep := func(what any) {
		mu.Lock()
		defer mu.Unlock()
		kept = append(kept, what)
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			os.Exit(1)
		}
		go func() {
			defer c.Close()
			b, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			defer b.Close()
			switch kind {
			case relayFat:
				big := make([]byte, 1<<20)
				for i := range big {
					big[i] = byte(i)
				}
				defer func() { _ = big[0] }()
			case relayHoards:
				small := make([]byte, 64<<10)
				for i := range small {
					small[i] = byte(i)
				}
				keep(small)
			case relayLeaks:
				if f, err := c.(*net.TCPConn).File(); err == nil {
					keep(f)
				}
			}
			both(touching{c, func() {}}, touching{b, func() {}}) // not *net.TCPConn: splice(2) keeps pipes, which a collection closes
		}()
	}
}

// relayed starts instances of the reference, each behind a process of its own.
type relayed struct {
	conformance.Launcher
	kind string
}

func (r relayed) Launch(ctx context.Context, doc door.Router) (conformance.Instance, error) {
	i, err := r.Launcher.Launch(ctx, doc)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(os.Args[0]) //nolint:gosec // this very binary
	cmd.Env = append(os.Environ(), relayTo+"="+i.Address(), relayKind+"="+r.kind)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return process{behindFront{i, strings.TrimSpace(line)}, cmd, in}, err
}

type process struct {
	behindFront
	cmd *exec.Cmd
	in  io.Closer
}

func (p process) PID() int { return p.cmd.Process.Pid }

func (p process) Stop(ctx context.Context) error {
	_ = p.in.Close()
	_ = p.cmd.Wait() // it ends with its input
	return p.behindFront.Stop(ctx)
}

func inProcess(kind string) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := newLab(t).start(t, nil)
		target.Launcher = relayed{target.Launcher, kind}
		return target
	}
}

// measured are the checks that are NOT-RUN on what runs in this process.
var measured = []string{"SEC-05", "SEC-10", "OPS-06"}

func TestMeasuredChecksPassOnAnHonestProcess(t *testing.T) {
	target := inProcess(relayHonest)(t)
	for _, id := range measured {
		got, err := conformance.Run(t.Context(), target, conformance.Options{Only: []string{id}, Seed: 1})
		check(t, err)
		for _, r := range got.Results {
			t.Logf("%s %s %s: %s", r.Check, r.Verdict, r.Outcome, r.Detail)
			if r.Verdict != result.CheckPass || strings.Contains(r.Detail, "not looked at") {
				t.Errorf("%s: %s: %s", id, r.Verdict, r.Detail)
			}
		}
		if len(got.Results) == 0 {
			t.Errorf("%s was not run", id)
		}
	}
}

// rewritten is the reference router whose metrics say something else.
func rewritten(change func(line string) string) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		return otherwise(func(_ conformance.Launcher, i conformance.Instance) conformance.Instance {
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				client := &http.Transport{DisableKeepAlives: true}
				req := must(http.NewRequest(http.MethodGet, "http://"+i.Admin()+"/metrics", http.NoBody))(t)
				resp, err := client.RoundTrip(req)
				if err != nil {
					w.WriteHeader(http.StatusBadGateway)
					return
				}
				defer resp.Body.Close()
				for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
					_, _ = fmt.Fprintln(w, change(lines.Text()))
				}
			}))
			t.Cleanup(front.Close)
			return adminAt{i, front.Listener.Addr().String()}
		})(t)
	}
}

type adminAt struct {
	conformance.Instance
	admin string
}

func (a adminAt) Admin() string { return a.admin }

func init() {
	addMutant("SEC-05", "holds a megabyte for each", inProcess(relayFat))
	addMutant("SEC-10", "leaks descriptors", inProcess(relayLeaks))
	addMutant("OPS-06", "leaks descriptors", inProcess(relayLeaks))
	addMutant("OPS-06", "keeps memory", inProcess(relayHoards))
	addMutant("OPS-05", "forgets refusals", rewritten(func(line string) string {
		if strings.Contains(line, `route=""`) {
			return ""
		}
		return line
	}))
	addMutant("OPS-05", "counts bytes twice", rewritten(func(line string) string {
		if name, value, ok := strings.Cut(line, " "); ok && strings.HasPrefix(name, "tlsroute_router_bytes_total") {
			n, _ := strconv.ParseFloat(value, 64)
			return fmt.Sprintf("%s %f", name, 2*n)
		}
		return line
	}))
	addMutant("OPS-05", "does not count open tunnels", rewritten(func(line string) string {
		if strings.HasPrefix(line, "tlsroute_router_tunnels_active ") {
			return "tlsroute_router_tunnels_active 0"
		}
		return line
	}))
}
