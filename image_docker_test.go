//go:build docker && image

package main

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An implementation in a container is judged like any other, and nothing of it is left behind. The image has our own router's adapter, and
// a sleep for it to live by; it is made here, since no registry may be reached.
func TestAnImageIsJudged(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "tlsroute-bench")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	run(t, build)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("the image needs a static busybox: apt-get install busybox-static")
	}
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	for name, from := range map[string]string{"tlsroute-bench": program, "bin/sleep": busybox} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data))})
		}
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Name: "tmp", Mode: 0o1777, Typeflag: tar.TypeDir}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const tag = "tlsroute-bench-target:test"
	load := exec.Command("docker", "import", "-", tag)
	load.Stdin = &image
	run(t, load)
	t.Cleanup(func() { run(t, exec.Command("docker", "image", "rm", tag)) })

	target := filepath.Join(dir, "target.yaml")
	text := "role: router\nimage: {name: " + tag + ", command: [/tlsroute-bench, adapter, router]}\n"
	if err := os.WriteFile(target, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := run(t, exec.Command(program, "run", "alb", "--target", "router="+target, "--only", "TLS-01", "--only", "OPS-0[12]", "--only", "SRC-01",
		"--out", filepath.Join(dir, "out"), "--quiet"))
	if !strings.Contains(out, "All 4 checks conform") {
		t.Errorf("it said\n%s", out)
	}
	if left := run(t, exec.Command("docker", "ps", "--all", "--quiet", "--filter", "label=tlsroute-bench=target")); left != "" {
		t.Errorf("containers are left: %s", left)
	}
}

func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(bytes.TrimSpace(out))
}
