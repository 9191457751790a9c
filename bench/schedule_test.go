package bench

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"
)

func drain(s *schedule) []arrival {
	var out []arrival
	for a, ok := s.next(); ok; a, ok = s.next() {
		out = append(out, a)
	}
	return out
}

func TestSameSeedAndIndexGiveTheSameInstants(t *testing.T) {
	w := &WorkloadPlan{Rate: 300, ConnectRate: 30, Arrival: ArrivalPoisson}
	base := drain(newSchedule(7, "echo", w, 3, time.Second))
	for name, c := range map[string]struct {
		seed  int64
		label string
		index int
		same  bool
	}{
		"the same":       {7, "echo", 3, true},
		"another index":  {7, "echo", 4, false},
		"another seed":   {8, "echo", 3, false},
		"another labels": {7, "ssh", 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := slices.Equal(base, drain(newSchedule(c.seed, c.label, w, c.index, time.Second))); got != c.same {
				t.Errorf("equal: %v, want %v", got, c.same)
			}
		})
	}
}

func TestScheduleIsOrderedBoundedAndOfTheRate(t *testing.T) {
	for _, arrivalName := range []string{ArrivalPoisson, ArrivalConstant} {
		t.Run(arrivalName, func(t *testing.T) {
			w := &WorkloadPlan{Rate: 1000, ConnectRate: 100, Arrival: arrivalName}
			const length = 20 * time.Second
			var n [2]int
			var gaps []float64
			last, lastReq := time.Duration(-1), time.Duration(-1)
			for _, a := range drain(newSchedule(1, "x", w, 0, length)) {
				if a.at < last || a.at < 0 || a.at >= length {
					t.Fatalf("arrival at %v after %v, of %v", a.at, last, length)
				}
				last = a.at
				kind := 0
				if a.connect {
					kind = 1
				} else {
					if lastReq >= 0 {
						gaps = append(gaps, float64(a.at-lastReq))
					}
					lastReq = a.at
				}
				if a.seq != n[kind] {
					t.Fatalf("sequence %d, want %d", a.seq, n[kind])
				}
				n[kind]++
			}
			// 20,000 and 2,000 are expected; six standard deviations of a Poisson count are the tolerance.
			if math.Abs(float64(n[0]-20000)) > 6*math.Sqrt(20000) || math.Abs(float64(n[1]-2000)) > 6*math.Sqrt(2000) {
				t.Errorf("%d requests and %d connects", n[0], n[1])
			}
			var mean, sq float64
			for _, g := range gaps {
				mean += g / float64(len(gaps))
			}
			for _, g := range gaps {
				sq += (g - mean) * (g - mean) / float64(len(gaps))
			}
			cv, want := math.Sqrt(sq)/mean, 0.0
			if arrivalName == ArrivalPoisson {
				want = 1 // of exponential gaps
			}
			if math.Abs(cv-want) > 0.05 {
				t.Errorf("coefficient of variation of the gaps is %.3f, want %.0f", cv, want)
			}
		})
	}
}

func TestBlocksAreMirrored(t *testing.T) {
	seen := map[string]bool{}
	rng := stream(1, "order")
	for range 50 {
		o := blockOrder(2, rng)
		switch {
		case slices.Equal(o, []int{0, 1, 1, 0}):
			seen["ABBA"] = true
		case slices.Equal(o, []int{1, 0, 0, 1}):
			seen["BAAB"] = true
		default:
			t.Fatalf("block %v", o)
		}
	}
	if len(seen) != 2 {
		t.Errorf("only %v in 50 blocks", seen)
	}
	o := blockOrder(3, rng)
	for i := range 3 {
		if o[i] != o[5-i] {
			t.Errorf("block of three arms %v is not its own mirror", o)
		}
	}
}

func TestPaceNeverGoesOffEarlyAndKeepsOrder(t *testing.T) {
	w := &WorkloadPlan{Rate: 2000, Arrival: ArrivalPoisson}
	want := drain(newSchedule(1, "x", w, 0, 200*time.Millisecond))
	start := time.Now().Add(time.Millisecond)
	var got []arrival
	late := make([]time.Duration, 0, len(want))
	pace(t.Context(), start, newSchedule(1, "x", w, 0, 200*time.Millisecond), func(a arrival, now time.Duration) {
		if now < a.at {
			t.Errorf("arrival due at %v went off at %v", a.at, now)
		}
		got, late = append(got, a), append(late, now-a.at)
	})
	if !slices.Equal(got, want) {
		t.Errorf("%d arrivals, want %d in the same order", len(got), len(want))
	}
	slices.Sort(late)
	t.Logf("lateness p50 %v, p99 %v", late[len(late)/2], late[len(late)*99/100])
	if p50 := late[len(late)/2]; p50 > 2*time.Millisecond {
		t.Errorf("median lateness %v", p50)
	}
}

func TestPaceEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := &WorkloadPlan{Rate: 100, Arrival: ArrivalConstant}
	n := 0
	began := time.Now()
	pace(ctx, began, newSchedule(1, "x", w, 0, time.Hour), func(arrival, time.Duration) {
		if n++; n == 3 {
			cancel()
		}
	})
	if n != 3 || time.Since(began) > 2*time.Second {
		t.Errorf("%d arrivals in %v", n, time.Since(began))
	}
}

func BenchmarkScheduleNext(b *testing.B) {
	w := &WorkloadPlan{Rate: 1000, ConnectRate: 100, Arrival: ArrivalPoisson}
	s := newSchedule(1, "x", w, 0, 1<<62)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.next(); !ok {
			b.Fatal("ended")
		}
	}
}
