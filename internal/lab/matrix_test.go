package lab

import (
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

const matrixText = `
name: matrix-test
topology:
  paths: [direct, alb-https, gcp]
  load_balancers: {alb: {profile: aws-alb}, gcp: {profile: gcp-l7}}
backends: [{name: witness, kind: witness}]
routes: [{name: echo, sni: [echo.example.test], alpn: [tlsroute-echo], mode: terminate, backend: witness}]
matrix:
  clients: [{name: auto}, {name: direct, optional: true}, {name: alpn, optional: true}, {name: stranger, target: nowhere.yaml, optional: true}]
  routers: [{name: ours}, {name: absent, target: nowhere.yaml, optional: true}]
`

// saved counts the evidence.
type saved map[string]conformance.Evidence

func (s saved) Save(name string, e conformance.Evidence) ([]string, error) {
	s[name] = e
	return []string{name}, nil
}

func TestMatrixTriesEveryCombination(t *testing.T) {
	l := startText(t, matrixText, Options{})
	evidence := saved{}
	var told int
	m, err := l.Matrix(t.Context(), evidence, func(done, total int) {
		if told = done; total != 24 {
			t.Errorf("%d of %d", done, total)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Cells) != 24 || told != 24 {
		t.Errorf("%d cells, told of %d", len(m.Cells), told)
	}
	for _, want := range []struct {
		client, path string
		verdict      result.CheckVerdict
		upgrade      string
	}{
		{"auto", "direct", result.CheckPass, ""},
		{"auto", "alb-https", result.CheckPass, "websocket"},
		{"auto", "gcp", result.CheckPass, "websocket"},
		{"direct", "direct", result.CheckPass, ""},
		{"direct", "alb-https", result.CheckFail, ""},
		{"alpn", "direct", result.CheckPass, "alpn"},
		{"alpn", "alb-https", result.CheckPass, "alpn"},
		{"alpn", "gcp", result.CheckFail, ""},
		{"stranger", "direct", result.CheckFail, ""},
	} {
		c := m.Cell(want.client, want.path, "ours")
		if c == nil || c.Verdict != want.verdict || c.Upgrade != want.upgrade || c.Required != (want.client == "auto") {
			t.Errorf("%s over %s: %+v", want.client, want.path, c)
			continue
		}
		if c.Verdict == result.CheckFail && want.client != "stranger" && (len(c.Evidence) == 0 || len(evidence[c.Evidence[0]].Trace.Events) == 0) {
			t.Errorf("%s over %s failed without evidence", want.client, want.path)
		}
	}
	if c := m.Cell("auto", "direct", "absent"); c.Verdict != result.CheckNotRun || c.Required || c.Detail == "" {
		t.Errorf("a router that is not there: %+v", c)
	}
}
