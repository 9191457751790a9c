//go:build docker

package container_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// build is tlsroute-bench, which this test program is not.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tlsroute-bench-program-")
	if err != nil {
		return "", err
	}
	cleanup = append(cleanup, func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "tlsroute-bench")
	cmd := exec.Command("go", "build", "-tags", "nodocker", "-o", program, "../../..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return program, nil
})

func program(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
