//go:build docker && image

package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/reports"
)

const swarmPlan = `
name: swarm
topology:
  paths: [direct, alb-https]
  load_balancer: {profile: aws-alb}
backends:
  - {name: witness, kind: witness}
routes:
  - {name: echo, sni: [echo.example.test], alpn: [tlsroute-echo], mode: terminate, backend: witness}
bench:
  window: 300ms
  guard: 100ms
  pairs: 6
  warmup: {max: 0s}
  workloads:
    - {name: echo, route: echo, rate: 200, connect_rate: 20, tunnels: 8}
limits: ["errors == 0"]
`

// Four agents run as a replicated job of a swarm of one engine, and one report comes of it. Nothing is left behind, the swarm included.
func TestSwarmOfFourAgents(t *testing.T) {
	if state := run(t, exec.Command("docker", "info", "--format", "{{.Swarm.LocalNodeState}}")); state != "inactive" {
		t.Fatalf("this engine is part of a swarm (%s), which this test must not touch", state)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "tlsroute-bench")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	run(t, build)
	const image, service, agents = "tlsroute-bench-agent:test", "tlsroute-bench-agents", 4
	importImage(t, image, program)

	plan, ready, out := filepath.Join(dir, "plan.yaml"), filepath.Join(dir, "ready.json"), filepath.Join(dir, "results")
	for _, d := range []string{out, filepath.Join(dir, "tmp")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(plan, []byte(swarmPlan), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := exec.Command(program, "serve", plan, "--ready", ready, "--quiet")
	serve.Env = append(os.Environ(), "TMPDIR="+filepath.Join(dir, "tmp")) // its certificates are for the agents to read
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := serve.Wait(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	await(t, "the topology", func() bool { _, err := os.Stat(ready); return err == nil })

	bridged := exec.Command("docker", "network", "inspect", "docker_gwbridge").Run() == nil
	run(t, exec.Command("docker", "swarm", "init", "--advertise-addr", "127.0.0.1"))
	t.Cleanup(func() {
		run(t, exec.Command("docker", "swarm", "leave", "--force"))
		await(t, "the last container to go", func() bool {
			return run(t, exec.Command("docker", "ps", "--all", "--quiet", "--filter", "ancestor="+image)) == ""
		})
		if !bridged { // a swarm makes it and leaves it
			run(t, exec.Command("docker", "network", "rm", "docker_gwbridge"))
		}
	})
	run(t, exec.Command("docker", "service", "create", "--detach", "--no-resolve-image", "--name", service,
		"--mode", "replicated-job", "--replicas", fmt.Sprint(agents), "--network", "host",
		"--env", fmt.Sprintf("TLSROUTE_SLOT={{.Task.Slot}}/%d", agents), "--mount", "type=bind,source="+dir+",target="+dir,
		image, "agent", "--coordinator", "127.0.0.1:17944", "--ready", ready, "--out", out, plan))
	// A task whose status is not 0 is started again whatever the service says (20.10), agent 0 after a measurement that is not valid too.
	ended := func() bool {
		states := run(t, exec.Command("docker", "service", "ps", "--format", "{{.Name}} {{.CurrentState}}", service))
		for i := 1; i < agents; i++ {
			if !strings.Contains(states, fmt.Sprintf("%s.%d Complete", service, i)) {
				return false
			}
		}
		_, err := os.Stat(filepath.Join(out, "summary.md"))
		return err == nil
	}
	defer func() {
		if t.Failed() {
			t.Log(run(t, exec.Command("docker", "service", "ps", "--no-trunc", service)))
			t.Log(run(t, exec.Command("docker", "service", "logs", service)))
		}
	}()
	await(t, "the agents", ended)

	f, err := os.Open(filepath.Join(out, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := reports.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	w := r.Bench.Workloads[0]
	if len(r.Bench.Shards) != agents || w.RatePerS != 200 || w.Tunnels != 8 {
		t.Errorf("%d shards, %g/s, %d tunnels", len(r.Bench.Shards), w.RatePerS, w.Tunnels)
	}
	pids := map[int]bool{}
	for i, s := range r.Bench.Shards {
		pids[s.PID] = true
		if s.Index != i || s.PlanSHA256 != r.Bench.Shards[0].PlanSHA256 || s.BinarySHA256 != r.Bench.Shards[0].BinarySHA256 {
			t.Errorf("shard %d: %+v", i, s)
		}
	}
	t.Logf("verdict %s %q, %d windows an arm, process ids %v", r.Verdict, r.Reasons, w.Windows, pids)
	for k, a := range w.Arms {
		var requests, samples int64
		for i := range agents {
			part := filepath.Join(out, fmt.Sprintf("shard-%d", i), "report.json")
			data, err := os.ReadFile(part)
			if err != nil {
				t.Fatal(err)
			}
			p, err := reports.Read(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			requests += p.Bench.Workloads[0].Arms[k].Requests
			samples += p.Bench.Workloads[0].Arms[k].Phases[result.PhaseSteady].Count
		}
		if a.Errors != 0 || a.Requests != requests || a.Phases[result.PhaseSteady].Count != samples || requests == 0 {
			t.Errorf("%s: %d requests, %d samples and %d errors (%q); its parts have %d and %d", a.Path, a.Requests, a.Phases[result.PhaseSteady].Count, a.Errors, a.ErrorSamples, requests, samples)
		}
		t.Logf("%s: %d requests, rtt p50 %v", a.Path, a.Requests, time.Duration(a.Phases[result.PhaseSteady].P50NS))
	}
}

// importImage makes an image of the one program, as docker would of "FROM scratch".
func importImage(t *testing.T, tag, program string) {
	t.Helper()
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	for _, h := range []*tar.Header{{Name: "tlsroute-bench", Mode: 0o755, Size: int64(len(data))}, {Name: "tmp", Mode: 0o1777, Typeflag: tar.TypeDir}} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	load := exec.Command("docker", "import", "--change", `ENTRYPOINT ["/tlsroute-bench"]`, "-", tag)
	load.Stdin = &image
	run(t, load)
	t.Cleanup(func() { run(t, exec.Command("docker", "image", "rm", tag)) })
}

// await polls: what it waits for happens elsewhere.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited three minutes for %s", what)
		}
	}
}
