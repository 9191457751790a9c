package conformance

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestDifference(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 100)
	other := append(bytes.Clone(long[:40]), 8)
	for name, tc := range map[string]struct {
		want, got []byte
		at        int64
		diff      *result.Diff
	}{
		"none":           {[]byte("abc"), []byte("abc"), 5, nil},
		"of nothing":     {nil, nil, 0, nil},
		"the first byte": {[]byte("abc"), []byte("xbc"), 0, &result.Diff{Want: "616263", Got: "786263"}},
		"at an offset":   {[]byte("abc"), []byte("abx"), 1000, &result.Diff{Offset: 1002, From: 1000, Want: "616263", Got: "616278"}},
		"ends early":     {[]byte("abc"), []byte("a"), 0, &result.Diff{Offset: 1, Want: "616263", Got: "61"}},
		"goes on":        {[]byte("a"), []byte("abc"), 0, &result.Diff{Offset: 1, Want: "61", Got: "616263"}},
		"nothing came":   {[]byte("abc"), nil, 0, &result.Diff{Want: "616263", Got: ""}},
		"in a long string": {long, other, 0, &result.Diff{
			Offset: 40, From: 32, Want: "0707070707070707" + "070707070707070707070707070707070707070707070707", Got: "0707070707070707" + "08",
		}},
	} {
		if diff := cmp.Diff(tc.diff, Difference(tc.want, tc.got, tc.at)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestADifferenceIsToldOfWhatFailedOnly(t *testing.T) {
	target, _ := newTarget(t)
	d := Difference([]byte("a"), []byte("b"), 3)
	c, err := run(t.Context(), target, Options{}, []Check{fake("X-01", Observation{Outcome: Corrupted, Diff: d}, nil), fake("X-02", Observation{Outcome: Routed, Diff: d}, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if c.Results[0].Diff != d || c.Results[1].Diff != nil {
		t.Errorf("%+v, %+v", c.Results[0].Diff, c.Results[1].Diff)
	}
	if got, want := d.String(), "first at byte 3; from byte 3 on, expected 61, got 62"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
