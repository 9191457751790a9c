package selftest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

// The environment of a process that is a WebSocket front: where the router listens, and whether messages are held.
const (
	frontOf    = "SELFTEST_FRONT_OF"
	frontHolds = "SELFTEST_FRONT_HOLDS"
)

// TestFrontProcess is no test but the front in a process of its own, whose memory can be looked at: it says where it listens and goes on
// until its input ends. Without the environment it has nothing to do.
func TestFrontProcess(t *testing.T) {
	address := os.Getenv(frontOf)
	if address == "" {
		return
	}
	bugs := wsBugs{wholeMessages: os.Getenv(frontHolds) != ""}
	fmt.Println(serve(t, address, func(c net.Conn, dial func() net.Conn) { fronted(bugs, c, dial()) }))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// wsFrontedApart is wsFronted in a process of its own.
func wsFrontedApart(bugs wsBugs) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := plainUpgrade(newLab(t).start(t, nil))
		target.Paths[0].Upgrade.Types = []string{"websocket"}
		cmd := exec.Command(os.Args[0], "-test.run=^TestFrontProcess$")
		cmd.Env = append(os.Environ(), frontOf+"="+target.Paths[0].Address)
		if bugs.wholeMessages {
			cmd.Env = append(cmd.Env, frontHolds+"=yes")
		}
		in := must(cmd.StdinPipe())(t)
		out := must(cmd.StdoutPipe())(t)
		check(t, cmd.Start())
		t.Cleanup(func() {
			_ = in.Close()
			_, _ = io.Copy(io.Discard, out)
			check(t, cmd.Wait())
		})
		line, err := bufio.NewReader(out).ReadString('\n')
		check(t, err)
		target.Paths[0].Address, target.PID = strings.TrimSpace(line), cmd.Process.Pid
		return target
	}
}
