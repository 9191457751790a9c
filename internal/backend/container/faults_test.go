package container_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	_ "github.com/tlsroute/tlsroute-bench/internal/backend/container"
)

// startVariable has this test program start one container, since testcontainers looks for an engine once in a process: of the image that
// it names, or of the default when it is "-". A line on standard input cancels the start.
const startVariable = "TLSROUTE_TEST_START_CONTAINER"

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
	kind, image, _ := strings.Cut(image, " ")
	r, err := backend.Start(ctx, backend.Container, backend.Spec{Name: "it", Kind: kind, Image: image, Dir: os.Getenv("TMPDIR")})
	if err != nil {
		fmt.Print(err)
		os.Exit(1)
	}
	fmt.Print("started")
	if err := r.Close(ctx); err != nil {
		fmt.Print(err)
	}
}

// startElsewhere starts a container of a kind in a process of its own and returns what came of it.
func startElsewhere(t *testing.T, host, what string, stdin io.Reader) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	dir := t.TempDir()
	// Of the user's own settings nothing counts.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "DOCKER_HOST=" + host, startVariable + "=" + what}
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
