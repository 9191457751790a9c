package progress_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/internal/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPlainLinesWhereThereIsNoTerminal(t *testing.T) {
	var out bytes.Buffer
	p := progress.New(&out, progress.Options{Every: time.Nanosecond})
	s := p.Step("bench", 2)
	s.Note("echo")
	s.Add(1)
	s.Add(1)
	s.Done()
	s.Done()
	p.Close()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []string{"bench …", "bench: echo", "bench: 1 of 2 echo", "bench: 2 of 2 echo", "bench: 2 done in "}
	if len(lines) != len(want) {
		t.Fatalf("got %q", lines)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("line %d is %q, want %q", i, lines[i], want[i])
		}
	}
}

func TestQuietPrintsNothing(t *testing.T) {
	for _, tty := range []bool{false, true} {
		var out bytes.Buffer
		p := progress.New(&out, progress.Options{TTY: tty, Quiet: true})
		s := p.Step("bench", 1)
		s.Add(1)
		s.Note("x")
		s.Done()
		p.Close()
		if out.Len() != 0 {
			t.Errorf("tty %v: printed %q", tty, out.String())
		}
	}
}

func TestCloseDoesNotWaitForUnfinishedBars(t *testing.T) {
	var out bytes.Buffer
	p := progress.New(&out, progress.Options{TTY: true})
	s := p.Step("never done", 10)
	s.Add(3)
	p.Step("unknown length", 0).Note("working")
	finished := make(chan struct{})
	go func() { p.Close(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(10 * time.Second):
		t.Fatal("Close hangs on an unfinished bar")
	}
	if !strings.Contains(out.String(), "never done") {
		t.Errorf("no bar was drawn: %q", out.String())
	}
}

func TestLongStepIsHeardOfEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := progress.New(&out, progress.Options{})
		s := p.Step("checks", 30)
		over := p.Step("over", 0)
		over.Done()
		s.Add(7)
		s.Note("DET-02")
		time.Sleep(25 * time.Second) // of the bubble's clock
		s.Done()
		time.Sleep(25 * time.Second)
		p.Close()
		p.Close()
		want := "checks …\nover …\nover: done in 0s\nchecks: DET-02\n" +
			"checks: still running after 10s, 7 of 30, DET-02\nchecks: still running after 20s, 7 of 30, DET-02\nchecks: 7 done in 25s\n"
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
	})
}

func TestFiguresAreInTheLinesThatAreDueWithTheTimeThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := progress.New(&out, progress.Options{})
		s := p.Step("bench", 40)
		time.Sleep(4 * time.Second)
		s.Add(2)
		s.Figures("50/s 0 errors") // no line of its own
		time.Sleep(8 * time.Second)
		s.Add(2)
		s.Figures("51/s 1 errors")
		time.Sleep(3 * time.Second)
		s.Done()
		p.Close()
		want := "bench …\nbench: still running after 10s, 2 of 40, 50/s 0 errors, 3m10s left\nbench: 4 done in 15s, 51/s 1 errors\n"
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
	})
}

func TestFiguresStandBehindTheBar(t *testing.T) {
	var out bytes.Buffer
	p := progress.New(&out, progress.Options{TTY: true})
	s := p.Step("bench", 3)
	s.Add(1)
	s.Note("echo")
	s.Figures("50/s 0 errors")
	s.Add(1)
	p.Close()
	if !strings.Contains(out.String(), "echo · 50/s 0 errors") {
		t.Errorf("no figures: %q", out.String())
	}
}

func TestNoColourEvenOnATerminal(t *testing.T) {
	var out bytes.Buffer
	p := progress.New(&out, progress.Options{TTY: true})
	p.Step("bench", 1).Add(1)
	p.Close()
	if regexp.MustCompile("\x1b\\[[0-9;]*m").MatchString(out.String()) {
		t.Errorf("colour: %q", out.String())
	}
}
