package albsim

import (
	"strings"
	"testing"
	"time"
)

// FuzzCookies reads what clients may send as Cookie: no value is taken that the jar did not make.
func FuzzCookies(f *testing.F) {
	j, made := newJar(), time.Now()
	id := newTargetID("a")
	good := j.value("AWSALB t", id, made)
	for _, seed := range []string{"AWSALB=", "x=1; AWSALB=garbage", "AWSALB=AAAA;;AWSALB", good, strings.ToLower(good)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		req := &request{fields: []field{{name: "Cookie", value: text}}}
		if got, ok := j.named(req, "AWSALB t", time.Hour, "AWSALB", "AWSALBCORS"); ok {
			t.Fatalf("%q names %x", text, got)
		}
		req.fields = append(req.fields, field{name: "cookie", value: "y=2;AWSALB=" + good})
		if got, ok := j.named(req, "AWSALB t", time.Hour, "AWSALB"); !ok || got != id {
			t.Fatalf("behind %q the good cookie gives %x, %v", text, got, ok)
		}
		if _, ok := j.named(req, "AWSALBTG", time.Hour, "AWSALB"); ok {
			t.Fatal("a cookie counts for another purpose")
		}
	})
}

// FuzzParseCodes reads a matcher: what is taken is in its range.
func FuzzParseCodes(f *testing.F) {
	for _, seed := range []string{"200", "200,202-299", "499-200", "", "-", "200-", ",", "+200"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		codes, msg := parseCodes(text, 200, 499)
		if (len(codes) == 0) != (msg != "") {
			t.Fatalf("%q: %v and %q", text, codes, msg)
		}
		for _, c := range codes {
			if c.low < 200 || c.high > 499 || c.low > c.high {
				t.Fatalf("%q: %+v", text, c)
			}
		}
	})
}
