//go:build unix

package lab

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

func TestSweepRemovesOnlyWhatNobodyHolds(t *testing.T) {
	parent := t.TempDir()
	folder := func(name string) string {
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(filepath.Join(dir, "inside"), 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	alive, dead, making, other := folder(dirPrefix+"1"), folder(dirPrefix+"2"), folder(dirPrefix+"3"), folder("other")
	held, err := claim(alive)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	gone, err := claim(dead)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close() // as the kernel does for a process that was killed
	sweep(parent, slog.New(slog.DiscardHandler))
	for _, dir := range []string{alive, making, other} {
		if _, err := os.Stat(filepath.Join(dir, "inside")); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", dead, err)
	}
}
