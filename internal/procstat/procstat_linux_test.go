package procstat

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestANameMayHoldAnything(t *testing.T) {
	got := afterName([]byte("4711 (x) R 1 (y) S 42 4711\n"))
	if diff := cmp.Diff([]string{"S", "42", "4711"}, got); diff != "" {
		t.Error(diff)
	}
}

// child is cat, which waits for its input's end.
func child(t *testing.T) (pid int, stop func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestFamilyIsAProcessAndWhatItStarted(t *testing.T) {
	pid, stop := child(t)
	if g := Family(os.Getpid()); g[0] != os.Getpid() || !slices.Contains(g, pid) {
		t.Errorf("%v: %d is missing", g, pid)
	}
	stop()
	if g := Family(os.Getpid()); slices.Contains(g, pid) {
		t.Errorf("%v: %d has ended", g, pid)
	}
}

func TestHoldReadsOurselves(t *testing.T) {
	self := Group{os.Getpid()}
	before, err := self.Hold()
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
	after, err := self.Hold()
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Descriptors - before.Descriptors; n < 10 {
		t.Errorf("ten files more are %d descriptors", n)
	}
	if n := after.Read - before.Read; n < 1<<20 {
		t.Errorf("a MiB read is %d bytes", n)
	}
	if before.PSS < 1<<20 {
		t.Errorf("a Go program in %d bytes", before.PSS)
	}
	if _, err := (Group{1 << 30}).Hold(); err == nil {
		t.Error("a process that is not there holds something")
	}
}

func TestCPUIsThatOfTheProcessesAlone(t *testing.T) {
	self := Group{os.Getpid()}
	idle, stop := child(t)
	defer stop()
	var before, other [2]CPU
	read := func(i int) {
		t.Helper()
		var err1, err2 error
		before[i], err1 = self.CPU()
		other[i], err2 = (Group{idle}).CPU()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
	}
	read(0)
	// Until our clock has moved: it is processor time, so the machine's load does not matter.
	for {
		if c, err := self.CPU(); err != nil || c.Sub(before[0]).Total > 50*time.Millisecond {
			break
		}
	}
	read(1)
	if used := before[1].Sub(before[0]); used.Total < 50*time.Millisecond {
		t.Errorf("we have used %v", used)
	}
	if used := other[1].Sub(other[0]); used.Total > 25*time.Millisecond {
		t.Errorf("cat, which waits, has used %v", used)
	}
	if both, err := (Group{os.Getpid(), idle}).CPU(); err != nil || both.Total < before[1].Total {
		t.Errorf("%v, %v: less than one of the two", both, err)
	}
	if _, err := (Group{1 << 29}).CPU(); err == nil {
		t.Error("a process that is not there has used something")
	}
}
