package lab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/capture"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// TestRecordingHasAFileForEachHop records a walk over a chain with a real product in it.
func TestRecordingHasAFileForEachHop(t *testing.T) {
	sc, err := scenario.Load("chain", scenario.Vocabulary{Topology: Check})
	if err != nil {
		t.Fatal(err)
	}
	sc.Topology.Paths, sc.Routes = []string{"direct", "chain"}, sc.Routes[:1]
	if session, err := capture.Start(t.Context(), []capture.Hop{{Server: netip.MustParseAddrPort("127.0.0.1:1")}}, nil); errors.Is(err, capture.ErrNotPermitted) {
		if _, err := Start(t.Context(), sc, Options{Record: true}); !errors.Is(err, capture.ErrNotPermitted) {
			t.Errorf("not permitted to capture here, and the lab says %v", err)
		}
		return
	} else if err != nil {
		t.Fatal(err)
	} else if _, err := session.Stop(); err != nil {
		t.Fatal(err)
	}
	l := startLab(t, sc, Options{Record: true})
	if _, _, err := l.Walk(t.Context(), func(string) {}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files, missed, err := l.StopRecording(dir)
	if err != nil || missed > 0 {
		t.Fatalf("%d missed, %v", missed, err)
	}
	if _, _, err := l.StopRecording(dir); err == nil {
		t.Error("stopped twice")
	}
	want := []string{
		"chain.alb-router.pcapng", "chain.client-nlb.pcapng", "chain.haproxy-alb.pcapng", "chain.nlb-haproxy.pcapng", "direct.client-router.pcapng", "timeline.jsonl",
	}
	slices.Sort(files)
	if !slices.Equal(files, want) {
		t.Errorf("files %q, want %q", files, want)
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, ".pcapng") && !bytes.Contains(data, []byte("CLIENT_HANDSHAKE_TRAFFIC_SECRET")) {
			t.Errorf("%s has no secrets", f)
		}
	}
	timeline, err := os.Open(filepath.Join(dir, "timeline.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer timeline.Close()
	kinds := map[string]int{}
	for lines := bufio.NewScanner(timeline); lines.Scan(); {
		var m moment
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if m.Path != "chain" || m.Time.IsZero() {
			t.Errorf("%+v", m)
		}
		kinds[m.LoadBalancer+" "+m.Side+" "+string(m.Kind)]++
	}
	for _, kind := range []string{"nlb client open", "nlb target open", "alb client open", "alb target open", "alb client bytes", "alb target bytes"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s in the timeline: %v", kind, kinds)
		}
	}
}

// A recording that nobody stops goes with the lab.
func TestRecordingThatNobodyStopsIsLetGo(t *testing.T) {
	sc, err := scenario.Parse("small.yaml", []byte(small), scenario.Vocabulary{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Start(t.Context(), sc, Options{Record: true})
	if errors.Is(err, capture.ErrNotPermitted) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(t.Context()); err != nil { // and goleak has a look at the goroutines
		t.Error(err)
	}
	if _, err := os.Stat(l.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", l.dir, err)
	}
}
