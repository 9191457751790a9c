package reports

import (
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// A container is named by its image and the digest, wherever backends are listed.
func TestTheImageOfAContainerIsShown(t *testing.T) {
	run := golden(t)
	run.Backends[1].Driver, run.Backends[1].Image, run.Backends[1].ImageDigest = "container", "postgres:17", "sha256:"+strings.Repeat("0123456789abcdef", 4)
	for _, name := range []string{"text", "markdown", "html"} {
		out := render(t, name, run)
		if !strings.Contains(out, "postgres:17 sha256:0123456789ab") || strings.Contains(out, "sha256:0123456789abc") {
			t.Errorf("%s does not show the image and a short digest", name)
		}
	}
	for b, want := range map[result.Backend]string{
		{Product: "MariaDB", Version: "11.4"}:                               "MariaDB 11.4",
		{Product: "p", Version: "1", Image: "i@sha256:ab", ImageDigest: ""}: "p 1, i@sha256:ab",
		{Product: "p", Image: "i:1"}:                                        "p, i:1",
		{Product: "p", Image: "i:1", ImageDigest: "sha256:abc"}:             "p, i:1 sha256:abc",
	} {
		if got := backendText(b); got != want {
			t.Errorf("%+v is shown as %q, want %q", b, got, want)
		}
	}
}

// Wherever backends are listed a reader sees what is no product, and how long each took to be ready.
func TestWhatIsEmbeddedIsCalledAProtocolServer(t *testing.T) {
	for _, name := range []string{"text", "markdown", "html"} {
		out := strings.Join(strings.Fields(render(t, name, golden(t))), " ")
		for _, want := range []string{"local, ready in 2.90 s", "embedded protocol server, ready in 400 µs", "embedded protocol server"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
	}
	for b, want := range map[result.Backend]string{
		{Driver: "embedded"}: "embedded protocol server", {Driver: "container", ReadyMS: 1500}: "container, ready in 1.50 s", {Driver: "local"}: "local",
	} {
		if got := driverText(b); got != want {
			t.Errorf("%+v is run as %q, want %q", b, got, want)
		}
	}
}
