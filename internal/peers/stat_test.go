//go:build linux

package main

import (
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestANameMayHoldAnything(t *testing.T) {
	got := afterName([]byte("4711 (x) R 1 (y) S 42 4711\n"))
	if diff := cmp.Diff([]string{"S", "42", "4711"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFamilyIsAProcessAndItsChildren(t *testing.T) {
	p, err := start(syscall.SIGKILL, nil, "cat")
	if err != nil {
		t.Fatal(err)
	}
	pids, err := family(os.Getpid())
	if err != nil || pids[0] != os.Getpid() || !slices.Contains(pids, p.cmd.Process.Pid) {
		t.Errorf("%v, %v: %d is missing", pids, err, p.cmd.Process.Pid)
	}
	p.stop()
	if pids, err = family(os.Getpid()); err != nil || slices.Contains(pids, p.cmd.Process.Pid) {
		t.Errorf("%v, %v: %d has ended", pids, err, p.cmd.Process.Pid)
	}
}

func TestHoldReadsOurselves(t *testing.T) {
	before, err := hold([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	files := make([]*os.File, 10)
	for i := range files {
		if files[i], err = os.Open("/dev/zero"); err != nil {
			t.Fatal(err)
		}
		defer files[i].Close()
	}
	if _, err := files[0].Read(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	after, err := hold([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if n := after.fds - before.fds; n < 10 {
		t.Errorf("ten files more are %d descriptors", n)
	}
	if n := after.rchar - before.rchar; n < 1<<20 {
		t.Errorf("a MiB read is %d bytes", n)
	}
	if before.pss < 1<<20 {
		t.Errorf("a Go program in %d bytes", before.pss)
	}
	if _, err := hold([]int{1 << 30}); err == nil {
		t.Error("a process that is not there holds something")
	}
}
