//go:build docker || imagescheck

package images

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// docker runs the docker command and returns what it printed, both streams.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(bytes.TrimSpace(out))
}

// file is one that is copied into a container before it starts; root's, as docker cp makes it.
type file struct {
	path string
	mode os.FileMode
	text []byte
}

// container is one of this test's own, removed with its volumes when the test is over.
type container struct {
	id, port string
}

// start makes a container of an image with files in it, and starts it. args are those of docker create before the image, command those after it.
func start(t *testing.T, image, port string, args []string, files []file, command ...string) *container {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "docker", "image", "inspect", image).CombinedOutput(); err != nil {
		t.Fatalf("there is no image %s; run: make images\n%s", image, out)
	}
	create := append([]string{"create", "--label", "tlsroute-bench=images-test", "--publish", "127.0.0.1::" + port}, args...)
	c := &container{id: docker(t, append(append(create, image), command...)...), port: port}
	t.Cleanup(func() {
		// The test's context is over by now.
		if t.Failed() {
			logs, _ := exec.Command("docker", "logs", "--tail", "60", c.id).CombinedOutput()
			t.Logf("%s said at the end:\n%s", image, logs)
		}
		if out, err := exec.Command("docker", "rm", "--force", "--volumes", c.id).CombinedOutput(); err != nil {
			t.Errorf("remove container: %v\n%s", err, out)
		}
	})
	for _, f := range files {
		from := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(from, f.text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(from, f.mode); err != nil {
			t.Fatal(err)
		}
		docker(t, "cp", from, c.id+":"+f.path)
	}
	docker(t, "start", c.id)
	return c
}

// address is where the port is reached on this machine; it is another one after every start.
func (c *container) address(t *testing.T) string {
	t.Helper()
	first, _, _ := strings.Cut(docker(t, "port", c.id, c.port), "\n")
	return first
}

func (c *container) logs(t *testing.T) string { t.Helper(); return docker(t, "logs", c.id) }

// exec runs a command in the container and returns its output.
func (c *container) exec(t *testing.T, args ...string) string {
	t.Helper()
	return docker(t, append([]string{"exec", c.id}, args...)...)
}

// stop ends it as docker stop does. The engine kills what is still there after the time, and that would be status 137.
func (c *container) stop(t *testing.T) {
	t.Helper()
	docker(t, "stop", "--time", "30", c.id)
	if status := docker(t, "inspect", "--format", "{{.State.ExitCode}}", c.id); status != "0" {
		t.Errorf("after docker stop the exit status is %s, want 0", status)
	}
}

// refuses runs an image that must not start, and looks for words of its last sentence.
func refuses(t *testing.T, image, words string, args ...string) {
	t.Helper()
	run := append(append([]string{"run", "--rm", "--label", "tlsroute-bench=images-test"}, args...), image)
	out, err := exec.CommandContext(t.Context(), "docker", run...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), words) {
		t.Errorf("docker %s: %v\n%s\nwant an exit status other than 0 and %q", strings.Join(run, " "), err, out, words)
	}
}
