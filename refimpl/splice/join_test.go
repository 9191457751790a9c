package splice

import (
	"net"
	"syscall"
	"testing"
)

// A peer that has ended its side and closed for good answers the other side's end with a reset, which the router may hear of before
// it hears that this end was told: still both have ended cleanly.
func TestJoinForgivesAResetAfterBothEnds(t *testing.T) {
	for name, told := range map[string]bool{"b has ended too": true, "b goes on": false} {
		t.Run(name, func(t *testing.T) {
			a, _ := net.Pipe()
			b, _ := net.Pipe()
			j := newJoin(a, b)
			j.ba.telling.Store(told)
			j.events <- event{from: j.ab}
			j.events <- event{from: j.ab, bad: j.a, read: true, late: true, err: syscall.ECONNRESET}
			j.events <- event{from: j.ba}
			want := EndEOF
			if !told {
				want = EndResetA
			}
			if v := j.supervise(t.Context(), 0); v.end != want {
				t.Errorf("ended %q (%v), want %q", v.end, v.err, want)
			}
		})
	}
}
