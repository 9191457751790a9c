//go:build unix

package lab

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// claim marks a lab's directory as in use for as long as this process lives, however it ends: the kernel lets go of the lock.
// It is locked before it has its name, so that no sweep can find it unlocked.
func claim(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".claim-*")
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, claimFile))
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lab: claim %s: %w", dir, err)
	}
	return f, nil
}

// sweep removes the directories of labs whose process was killed before it could. One without a claim may be just in the
// making and is left alone, and so is one of another user: its claim cannot be opened.
func sweep(parent string, log *slog.Logger) {
	claims, err := filepath.Glob(filepath.Join(parent, dirPrefix+"*", claimFile))
	if err != nil {
		return // the pattern is a constant below a folder that exists
	}
	for _, name := range claims {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			err := os.RemoveAll(filepath.Dir(name))
			log.Info("removed what a lab that was killed had left", "dir", filepath.Dir(name), "error", err)
		}
		_ = f.Close()
	}
}
