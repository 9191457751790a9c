package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the bench finds is a measurement, and belongs to "make bench-aa". Here: that the tool measures what it says.
func TestDelayIsAddedAndBothTablesAreThere(t *testing.T) {
	var out bytes.Buffer
	const delay = 5 * time.Millisecond
	plan := bench.Plan{Pairs: 6, Window: 60 * time.Millisecond, Guard: 10 * time.Millisecond}
	load := bench.WorkloadPlan{Name: "echo", Backend: "loopback", Rate: 100, ConnectRate: 20}
	if _, err := try(t.Context(), &out, plan, load, 1, 1, delay); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"The same path as both arms", "valid runs found a difference", "With 5ms added to each answer"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	s, err := serve(delay)
	if err != nil {
		t.Fatal(err)
	}
	late, err := newTimer()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.wait(late); err != nil {
			t.Fatal(err)
		}
	}
	if err := late.close(); err != nil {
		t.Error(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if got := s.typicalDelay(); got < delay {
		t.Errorf("%v added, want at least %v", got, delay)
	}
	if got := s.typicalDelay(); got != 0 {
		t.Errorf("%v added since nothing was", got)
	}
}
