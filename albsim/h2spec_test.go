//go:build h2spec

package albsim

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// h2specKnown are the cases of the suite that fail, by section and number, each with why that stays so.
var h2specKnown = map[string]string{
	"4.2/1":     "sends a DATA frame of our SETTINGS_MAX_FRAME_SIZE at once, which the stream's window of 65,536 bytes does not allow",
	"4.2/2":     "our SETTINGS_MAX_FRAME_SIZE is 16,777,215, as was seen of an ALB (alb.md 2, KONAMI): no frame can be longer, and none is sent",
	"4.2/3":     "as 4.2/2",
	"6.5.3/1":   "x/net/http2 closes on a SETTINGS frame that has one parameter twice (its defence against floods)",
	"8.1.2.2/1": "answered with the balancer's page of 400 and logged, not with RST_STREAM: RFC 9113 section 8.1.1 lets a server answer first",
	"8.1.2.2/2": "as 8.1.2.2/1",
}

// TestH2SpecConformance has summerwind/h2spec (pinned in tools/go.mod) judge the h2 front end of an HTTPS listener.
func TestH2SpecConformance(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		discard(r.Body, 64<<20) // an answer that comes before the end of a request ends its stream too early for some cases
		_, _ = io.WriteString(w, strings.Repeat("x", 1000))
	}))
	defer target.Close()
	m := start(t, secure(t, strings.TrimPrefix(target.URL, "http://")), Options{})
	_, port, err := net.SplitHostPort(m.addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // the first run builds it
	defer cancel()
	suite := exec.CommandContext(ctx, "go", "tool", "-modfile=../tools/go.mod", "h2spec", "--port", port, "--tls", "--insecure", "--strict")
	suite.WaitDelay = time.Second
	b, err := suite.CombinedOutput()
	out := string(b)
	count := regexp.MustCompile(`(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed`).FindString(out)
	if count == "" {
		t.Fatalf("no result: %v\n%s", err, out)
	}
	t.Log(count)
	section := ""
	failed := map[string]bool{}
	_, failures, _ := strings.Cut(out, "Failures:")
	for _, found := range regexp.MustCompile(`(?m)^\s*(?:(\d[\d.]*)\. |× (\d+): )`).FindAllStringSubmatch(failures, -1) {
		if found[1] != "" {
			section = found[1]
			continue
		}
		failed[section+"/"+found[2]] = true
	}
	for id := range failed {
		if h2specKnown[id] == "" {
			t.Errorf("%s fails:\n%s", id, out)
		}
	}
	for id := range h2specKnown {
		if !failed[id] {
			t.Errorf("%s is known to fail, and passes", id)
		}
	}
}
