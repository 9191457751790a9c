package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	_ "github.com/tlsroute/tlsroute-bench/conformance/checks"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// withoutKeys is a lab that keeps its secrets, as strangers do.
type withoutKeys struct{ *lab.Lab }

func (withoutKeys) LogJudged(*capture.KeyLog) {}

// TestEvidenceOfAFailureDecrypts: of a check that FAILs over alb-https the capture of all hops has the secrets of every TLS session, that
// of the load balancer with the router too. Of ends that do not tell theirs the timeline says that they are not known.
func TestEvidenceOfAFailureDecrypts(t *testing.T) {
	sc, err := scenario.Load("alb", scenario.Vocabulary{Topology: lab.Check})
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.Start(t.Context(), sc, lab.Options{Conformance: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	targets, err := l.Targets("test")
	if err != nil {
		t.Fatal(err)
	}
	target := targets[slices.IndexFunc(targets, func(t conformance.Target) bool { return t.Role == conformance.Router })]
	target.Paths = slices.DeleteFunc(slices.Clone(target.Paths), func(p conformance.Path) bool { return p.Name != "alb-https" })
	target.Fixture.WitnessB = target.Fixture.WitnessA // so that what leads to B, as it must, is a FAIL
	for name, h := range map[string]hopper{"ours": l, "a stranger": withoutKeys{l}} {
		t.Run(name, func(t *testing.T) {
			sink := &evidence{dir: t.TempDir()}
			stop := sink.watch(h, targets, slog.New(slog.DiscardHandler))
			got, err := conformance.Run(t.Context(), target, conformance.Options{Only: []string{"TLS-01"}, Evidence: sink})
			if sink.hops == nil {
				if os.Geteuid() == 0 {
					t.Error("root may not read packets")
				}
				return
			}
			if stopped := stop(); err != nil || stopped != nil {
				t.Fatal(err, stopped)
			}
			r := got.Results[0]
			if len(got.Results) != 1 || r.Verdict != result.CheckFail || len(r.Evidence) != 3 {
				t.Fatalf("%d results, %s on %s: %s (%s), evidence %q", len(got.Results), r.Check, r.Path, r.Verdict, r.Detail, r.Evidence)
			}
			timeline, err := os.ReadFile(filepath.Join(sink.dir, r.Evidence[0]))
			if err != nil {
				t.Fatal(err)
			}
			hops, err := os.ReadFile(filepath.Join(sink.dir, r.Evidence[2]))
			if err != nil {
				t.Fatal(err)
			}
			hellos, without := sealedHellos(hops)
			told := strings.Contains(string(timeline), fmt.Sprintf("secrets of %d TLS sessions to the router", without))
			switch {
			case hellos < 2:
				t.Errorf("the capture has %d ClientHellos: it lacks a hop", hellos)
			case name == "ours" && (without > 0 || strings.Contains(string(timeline), "are not known")):
				t.Errorf("%d of %d sessions have no secret; the timeline ends:\n%s", without, hellos, timeline[max(0, len(timeline)-300):])
			case name != "ours" && (without == 0 || !told):
				t.Errorf("%d of %d sessions have no secret; the timeline ends:\n%s", without, hellos, timeline[max(0, len(timeline)-300):])
			}
		})
	}
}

// sealedHellos counts the ClientHellos in a packet file, found by their first bytes (RFC 9846 sections 4, 4.1.2 and 5.1), and those whose
// random is in no line of the key log in it.
func sealedHellos(file []byte) (hellos, without int) {
	seen := map[string]bool{} // loopback shows packets twice
	for at := range len(file) - 43 {
		b := file[at : at+43]
		if b[0] != 22 || b[1] != 3 || b[5] != 1 || b[6] != 0 || b[9] != 3 || b[10] != 3 {
			continue
		}
		random := hex.EncodeToString(b[11:])
		if seen[random] {
			continue
		}
		seen[random] = true
		hellos++
		if !regexp.MustCompile(`(?m)CLIENT_(HANDSHAKE_TRAFFIC_SECRET|RANDOM) ` + random + ` [0-9a-f]{64,}$`).Match(file) {
			without++
		}
	}
	return hellos, without
}
