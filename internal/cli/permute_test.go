package cli

import (
	"strings"
	"testing"
)

func TestFlagsMayStandAnywhere(t *testing.T) {
	app := newApp(Env{})
	for in, want := range map[string]string{
		"run a.yaml --out x":                       "run --out x a.yaml",
		"run --out x a.yaml":                       "run --out x a.yaml",
		"run a.yaml --out=x b.yaml --no-bench":     "run --out=x --no-bench a.yaml b.yaml",
		"--quiet run a.yaml":                       "run --quiet a.yaml",
		"--log-level debug run a.yaml --seed 7":    "run --log-level debug --seed 7 a.yaml",
		"run --no-bench a.yaml":                    "run --no-bench a.yaml",
		"run -- --odd.yaml --out":                  "run -- --odd.yaml --out",
		"checks show DET-02 --quiet":               "checks show --quiet DET-02",
		"checks --log-level info list":             "checks list --log-level info",
		"nothing run":                              "nothing run",
		"probe 127.0.0.1:1 --insecure --alpn a":    "probe --insecure --alpn a 127.0.0.1:1",
		"run a.yaml --unknown x":                   "run --unknown a.yaml x",
		"run a.yaml --set bench.pairs=4 --seed -1": "run --set bench.pairs=4 --seed -1 a.yaml",
	} {
		got := permute(app, append([]string{"tlsroute-bench"}, strings.Fields(in)...))
		if joined := strings.Join(got[1:], " "); joined != want {
			t.Errorf("%s\n got %s\nwant %s", in, joined, want)
		}
	}
}
