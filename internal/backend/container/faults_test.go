package container_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	_ "github.com/tlsroute/tlsroute-bench/internal/backend/container"
)

// startVariable has this test program start one container, since testcontainers looks for an engine once in a process: of the image that
// it names, or of the default, of our own with the program that it names behind that. Then the faults that faultsVariable lists are done to it. A
// line on standard input cancels the start.
const (
	startVariable  = "TLSROUTE_TEST_START_CONTAINER"
	faultsVariable = "TLSROUTE_TEST_CONTAINER_FAULTS"
)

// cleanup comes behind all tests.
var cleanup []func()

func TestMain(m *testing.M) {
	image := os.Getenv(startVariable)
	if image == "" {
		goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
			for _, f := range cleanup {
				f()
			}
			os.Exit(code)
		}))
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err == nil {
			cancel()
		}
	}()
	what := append(strings.Split(image, " "), "", "")
	r, err := backend.Start(ctx, backend.Container, backend.Spec{Name: "it", Kind: what[0], Image: what[1], Program: what[2], Dir: os.Getenv("TMPDIR")})
	if err != nil {
		fmt.Print(err)
		os.Exit(1)
	}
	status := 0
	say := func(err error) {
		if err != nil {
			fmt.Println(err)
			status = 1
		}
	}
	for fault := range strings.FieldsSeq(os.Getenv(faultsVariable)) {
		say(map[string]func(context.Context) error{
			"kill": r.Faults.Kill, "restart": r.Faults.Restart, "pause": r.Faults.Pause, "resume": r.Faults.Resume,
		}[fault](ctx))
	}
	say(r.Close(ctx))
	os.Exit(status)
}

// startElsewhere starts a container of a kind in a process of its own and returns what came of it.
func startElsewhere(t *testing.T, host, what string, stdin io.Reader, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	dir := t.TempDir()
	// Of the user's own settings nothing counts.
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"), "HOME="+dir, "TMPDIR="+dir, "DOCKER_HOST="+host, startVariable+"="+what)
	cmd.Stdin = stdin
	out, err := cmd.Output()
	if ctx.Err() != nil {
		t.Fatalf("it did not come to an end: %s", out)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Fatalf("it ended with %v: %s", err, out)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return string(out)
}

// Whatever goes wrong is said with the next step, and leaves no container.
func TestEveryFailureNamesTheNextStep(t *testing.T) {
	none := refuse(404, "No such image")
	text, err := filepath.Abs("own.go")
	if err != nil {
		t.Fatal(err)
	}
	linked, err := exec.LookPath("cp") // of the C library
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, what string
		engine     *fakeEngine
		want       []string
		starts     int
	}{
		{
			name: "no image, no registry", what: "postgres",
			engine: &fakeEngine{answers: map[string]answer{
				"GET /images/*/json": none, "POST /images/create": refuse(500, `Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host`),
			}},
			want: []string{"pull image postgres:17", "no such host", "run make images", "--backends local"},
		},
		{
			name: "no image of ours", what: "ssh", engine: &fakeEngine{answers: map[string]answer{"GET /images/*/json": none}},
			want: []string{"no image of ssh", "tlsroute-bench/sshd:9.2", "run make images"},
		},
		{
			name: "no image of that name", what: "mysql mysql:5.0",
			engine: &fakeEngine{answers: map[string]answer{
				"GET /images/*/json": none, "POST /images/create": refuse(404, "manifest for mysql:5.0 not found"),
			}},
			want: []string{"pull image mysql:5.0", "manifest for mysql:5.0 not found", "name an image that is here", "--backends local"},
		},
		{
			name: "disk full in a pull", what: "mysql",
			engine: &fakeEngine{answers: map[string]answer{
				"GET /images/*/json":  none,
				"POST /images/create": {200, `{"errorDetail":{"message":"failed to register layer: write /x: no space left on device"},"error":"failed to register layer: write /x: no space left on device"}`},
			}},
			want: []string{"pull image mysql:8.4", "disk of the Docker engine is full", "docker system df"},
		},
		{
			name: "disk full in a start", what: "ssh",
			engine: &fakeEngine{answers: map[string]answer{"POST /containers/*/start": refuse(500, "mkdir /var/lib/docker/overlay2/x: no space left on device")}},
			want:   []string{"disk of the Docker engine is full", "docker system df"}, starts: 1,
		},
		{
			name: "disk full in the container", what: "ssh",
			engine: &fakeEngine{ended: map[string]any{"ExitCode": 1}, log: "initdb: No space left on device"},
			want:   []string{"disk of the Docker engine is full", "status 1", "initdb: No space"}, starts: 1,
		},
		{
			name: "ports taken each time", what: "ssh",
			engine: &fakeEngine{answers: map[string]answer{"POST /containers/*/start": refuse(500, "driver failed: Bind for 127.0.0.1:49153 failed: port is already allocated")}},
			want:   []string{"ports that were chosen for the container were taken", "ss -ltn", "49153"}, starts: 4,
		},
		{
			name: "another architecture", what: "ssh",
			engine: &fakeEngine{arch: "arm64", ended: map[string]any{"ExitCode": 1}, log: "standard_init_linux.go:228: exec user process caused: exec format error"},
			want:   []string{"tlsroute-bench/sshd:9.2 is for linux/arm64", "linux/amd64", "pull or build it"}, starts: 1,
		},
		{
			name: "another architecture than our own program's", what: "http",
			engine: &fakeEngine{answers: map[string]answer{"GET /version": {200, `{"Version": "20.10", "ApiVersion": "1.41", "Os": "linux", "Arch": "vax"}`}}},
			want:   []string{"is for linux/" + runtime.GOARCH, "this engine (linux/vax) cannot run", "--backends embedded"},
		},
		{
			name: "a program that is none for Linux", what: "witness  " + text, engine: &fakeEngine{},
			want: []string{text + " is no program for Linux", "--backends embedded"},
		},
		{
			name: "no such program", what: "kube  /nowhere", engine: &fakeEngine{},
			want: []string{"open /nowhere: no such file"},
		},
		{
			name: "a program with libraries that are not at hand", what: "http  " + linked, engine: &fakeEngine{},
			want: []string{linked + " is linked to libraries", "CGO_ENABLED=0"},
		},
		{
			name: "no place for the image with nothing in it", what: "http",
			engine: &fakeEngine{answers: map[string]answer{"GET /images/*/json": none, "POST /images/create": refuse(500, "no space left on device")}},
			want:   []string{"make image tlsroute-bench/empty:1", "disk of the Docker engine is full", "--backends embedded"},
		},
		{
			name: "our own program does not run", what: "witness", engine: &fakeEngine{ended: map[string]any{"ExitCode": 1}, log: "exec /tlsroute/tlsroute-bench: no such file"},
			want: []string{"ended with status 1", "exec /tlsroute/tlsroute-bench: no such file"}, starts: 1,
		},
		{
			name: "disk full while files are put into it", what: "ssh",
			engine: &fakeEngine{answers: map[string]answer{"PUT /containers/*/archive": refuse(500, "no space left on device")}},
			want:   []string{"put files into container", "disk of the Docker engine is full", "docker system df"},
		},
		{
			name: "it ends at once", what: "ssh", engine: &fakeEngine{ended: map[string]any{"ExitCode": 3}, log: "no such option"},
			want: []string{"ended with status 3", "no such option"}, starts: 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := startFake(t, c.engine)
			said := startElsewhere(t, e.host(), c.what, nil)
			for _, want := range append(c.want, "start backend it") {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			if n := e.count("POST /containers/*/start"); n != c.starts {
				t.Errorf("%d starts, want %d", n, c.starts)
			}
			if left := e.leftovers(); len(left) > 0 {
				t.Errorf("containers are left: %v", left)
			}
		})
	}
}

func TestWithoutAnEngineTheNextStepIsSaid(t *testing.T) {
	said := startElsewhere(t, "unix://"+t.TempDir()+"/none", "ssh", nil)
	for _, want := range []string{"no Docker engine answers", "systemctl start docker", "DOCKER_HOST", "--backends local"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
}

// An engine goes on making what nobody waits for any more: it is waited for, and removed.
func TestAStartThatIsCancelledLeavesNoContainer(t *testing.T) {
	stdin, cancelled := io.Pipe()
	e := startFake(t, &fakeEngine{creating: func() {
		fmt.Fprintln(cancelled)
		_ = cancelled.Close()
	}})
	said := startElsewhere(t, e.host(), "ssh", stdin)
	if !strings.Contains(said, "context canceled") {
		t.Errorf("it says %s", said)
	}
	if left := e.leftovers(); len(left) > 0 || e.count("POST /containers/create") != 1 || e.count("DELETE /containers/*") == 0 {
		t.Errorf("containers are left: %v of %d, %d were removed", left, e.count("POST /containers/create"), e.count("DELETE /containers/*"))
	}
}

// own runs what a container of ours is told to, in this process.
func own(t *testing.T) func(command []string, at map[string]string) func() {
	return func(command []string, at map[string]string) func() {
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() {
			if len(command) < 5 || command[0] != "backend" || command[1] != "--kind" || command[3] != "--name" {
				served <- fmt.Errorf("the command is %q", command)
				return
			}
			served <- backend.Own{Kind: command[2], Name: command[4], Listen: at["8000/tcp"], Admin: at["8001/tcp"]}.Serve(ctx)
		}()
		return func() {
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	}
}

func TestAFaultThatTheEngineRefusesIsSaid(t *testing.T) {
	for _, c := range []struct {
		name, faults string
		answers      map[string]answer
		want         []string
	}{
		{"frozen", "pause restart", map[string]answer{"POST /containers/*/pause": refuse(500, "cgroups: not allowed")}, []string{
			"pause it: this engine does not freeze the container", "cgroup v2", "driver: local", "cgroups: not allowed",
		}},
		{"down", "kill kill pause restart restart kill resume", nil, []string{"kill it: " + backend.ErrDown.Error(), "pause it: " + backend.ErrDown.Error(), "resume it: " + backend.ErrDown.Error()}},
		{"not killed", "kill", map[string]answer{"POST /containers/*/kill": refuse(500, "tried to kill container, but did not receive an exit event")}, []string{
			"kill it: ", "did not receive an exit event",
		}},
		{"not stopped", "restart", map[string]answer{"POST /containers/*/stop": refuse(500, "cannot stop")}, []string{"restart it: ", "cannot stop"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := startFake(t, &fakeEngine{runs: own(t), answers: c.answers})
			said := startElsewhere(t, e.host(), "witness", nil, faultsVariable+"="+c.faults)
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			if lines := strings.Count(said, "\n"); c.answers == nil && lines != len(c.want) {
				t.Errorf("%d faults are refused, want %d:\n%s", lines, len(c.want), said)
			}
			if left := e.leftovers(); len(left) > 0 {
				t.Errorf("containers are left: %v", left)
			}
		})
	}
}
