//go:build docker

package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestContainerScripts runs the scripts that need a Docker engine and the images of "make images". Beside the commands of TestScripts there is
//
//	containers NAME N        so many containers are there of the command that was started as NAME
func TestContainerScripts(t *testing.T) {
	if out, err := exec.Command("docker", "image", "inspect", "--format", "{{.Id}}", "tlsroute-bench/postgres:17", "tlsroute-bench/mariadb:10.11", "tlsroute-bench/sshd:9.2").CombinedOutput(); err != nil {
		t.Fatalf("these tests need a Docker engine, and images: run make images first: %v\n%s", err, out)
	}
	runScripts(t, "testdata/docker", func(b beside) scriptCommands { return scriptCommands{"containers": b.containers} })
}

func (b beside) containers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: containers NAME N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	out, err := exec.Command("docker", "ps", "--all", "--filter", "label=org.tlsroute-bench.run", "--format", `{{.Names}} {{.Label "org.tlsroute-bench.owner"}}`).CombinedOutput()
	if err != nil {
		ts.Fatalf("docker ps: %v\n%s", err, out)
	}
	var found []string
	owner := fmt.Sprintf("/%d/", b.get(ts, args[0]).cmd.Process.Pid)
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.Contains(line, owner) {
			found = append(found, line)
		}
	}
	if len(found) != want {
		ts.Fatalf("%d containers, want %d: %q", len(found), want, found)
	}
}
