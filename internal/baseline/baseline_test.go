package baseline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/document"
)

var catalogue = []conformance.Check{{ID: "TLS-02", Slug: "unknown-sni"}, {ID: "DET-05", Slug: "ch-bounds"}}

func TestParse(t *testing.T) {
	got, err := Parse("b.yaml", []byte(`
known:
  - {id: TLS-02, path: "alb-*", reason: a FIN, link: https://example.test/7, expires: 2027-03-01}
  - id: DET-05
    reason: never mind
  - {id: TLS-02, path: direct, reason: another path}
`), catalogue)
	if err != nil {
		t.Fatal(err)
	}
	want := []conformance.Known{
		{Check: "TLS-02", Path: "alb-*", Reason: "a FIN", Link: "https://example.test/7", Expires: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)},
		{Check: "DET-05", Reason: "never mind"},
		{Check: "TLS-02", Path: "direct", Reason: "another path"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := Parse("b.yaml", []byte("known: []\n"), catalogue); err != nil || len(got) != 0 {
		t.Errorf("none known: %v, %v", got, err)
	}
}

func TestFaultsHaveTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"known:\n  - {id: TLS-99, reason: r}":                                  `b.yaml:2:10: there is no check "TLS-99"`,
		"known:\n  - {id: tls-02, reason: r}":                                  `b.yaml:2:10: there is no check "tls-02": the id is TLS-02`,
		"known:\n  - {id: unknown-sni, reason: r}":                             `the id is TLS-02`,
		"known:\n  - {id: TLS-*, reason: r}":                                   `there is no check "TLS-*"`,
		"known:\n  - {id: TLS-02}":                                             `reason`,
		"known:\n  - {id: TLS-02, reason: r, until: 2027-01-01}":               `until`,
		"known:\n  - {id: TLS-02, reason: r, expires: 2027-13-01}":             `b.yaml:2:38: "2027-13-01" is no day`,
		"known:\n  - {id: TLS-02, reason: r, expires: soon}":                   `b.yaml:2:38`,
		"known:\n  - {id: TLS-02, reason: r, link: none}":                      `b.yaml:2:35`,
		"known:\n  - {id: TLS-02, reason: r, path: \"[\"}":                     `is no pattern`,
		"known:\n  - {id: TLS-02, reason: r}\n  - {id: TLS-02, reason: again}": `b.yaml:3:10: TLS-02 is listed twice`,
		"unknown: []": `unknown`,
		"":            `empty`,
	} {
		_, err := Parse("b.yaml", []byte(text), catalogue)
		if _, ok := errors.AsType[*document.Faults](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v\nwant …%s…", text, err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
