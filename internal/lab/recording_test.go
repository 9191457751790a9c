package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

const recorded = `
name: recorded
topology:
  paths: [direct, alb-https, alb-http, haproxy]
  load_balancers: {alb: {nodes: 2}, haproxy: {real: haproxy}}
  faults:
    - {hop: client->alb, kind: latency, delay: 1ms}
backends: [{name: witness, kind: witness}]
routes: [{name: echo, sni: [echo.example.test], alpn: [tlsroute-echo], mode: terminate, backend: witness}]
`

// dialEach opens one tunnel over each path.
func dialEach(t *testing.T, l *Lab) {
	t.Helper()
	for _, path := range l.scenario.Topology.Paths {
		d, err := l.Dialer(path, "echo")
		if err != nil {
			t.Fatal(err)
		}
		conn, err := dialOnce(t.Context(), d)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		conn.Close()
	}
}

// readPackets gives what the clients of a capture sent, by their ports. It takes the file apart itself: a pcapng is blocks of a type, a length
// and a body (draft-ietf-opsawg-pcapng section 3.1), packets are in those of type 6 behind 20 bytes.
func readPackets(t *testing.T, file string) (sent map[uint16][]byte, secrets bool) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sent = map[uint16][]byte{}
	number := binary.LittleEndian.Uint32
	for rest := data; len(rest) > 0; {
		length := number(rest[4:])
		if length < 12 || length%4 != 0 || int(length) > len(rest) || number(rest[length-4:]) != length {
			t.Fatalf("%s: a block of %d bytes at %d of %d", file, length, len(data)-len(rest), len(data))
		}
		block := rest[:length]
		rest = rest[length:]
		if number(block) != 6 {
			continue
		}
		ip := block[8+20:][:number(block[20:])][14:] // behind the Ethernet header
		tcp := ip[int(ip[0]&15)*4 : binary.BigEndian.Uint16(ip[2:])]
		const syn, ack = 2, 16
		port, flags := binary.BigEndian.Uint16(tcp), tcp[13]
		if flags&(syn|ack) == syn {
			sent[port] = []byte{}
		}
		if _, ok := sent[port]; ok {
			sent[port] = append(sent[port], tcp[int(tcp[12]>>4)*4:]...)
		}
	}
	return sent, bytes.Contains(data, []byte("CLIENT_HANDSHAKE_TRAFFIC_SECRET "))
}

// TestACaptureHasAFileForEachHop records for real. Without the right to, it checks that the notes say so.
func TestACaptureHasAFileForEachHop(t *testing.T) {
	l := startText(t, recorded, Options{Record: true})
	dir := t.TempDir()
	r, err := l.Record(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	dialEach(t, l)
	files, notes, err := r.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 && len(notes) == 1 && strings.Contains(notes[0], "not permitted") {
		t.Logf("may not capture, and says so: %s", notes[0])
		return
	}
	slices.Sort(files)
	want := []string{
		"alb-http.alb-router.pcapng", "alb-http.client-alb.pcapng", "alb-https.alb-router.pcapng", "alb-https.client-alb.pcapng",
		"direct.client-router.pcapng", "haproxy.client-haproxy.pcapng", "haproxy.haproxy-router.pcapng", "timeline.json",
	}
	if diff := cmp.Diff(want, files); diff != "" || len(notes) > 0 {
		t.Fatalf("files (-want +got):\n%s\nnotes %q", diff, notes)
	}
	ports := map[uint16]string{} // of connections to the router, which four hops lead to
	for _, file := range want[:7] {
		sent, secrets := readPackets(t, filepath.Join(dir, file))
		if !secrets || len(sent) == 0 {
			t.Errorf("%s: %d connections, secrets %v", file, len(sent), secrets)
		}
		for port, data := range sent {
			if strings.Contains(file, "-router.") {
				if other, ok := ports[port]; ok {
					t.Errorf("port %d is in %s and in %s", port, file, other)
				}
				ports[port] = file
			}
			if file == "alb-http.alb-router.pcapng" {
				if !bytes.HasPrefix(data, []byte("GET ")) {
					t.Errorf("%s begins with %.20q", file, data)
				}
				continue
			}
			hello, _, err := wire.ParseHello(data)
			if err != nil {
				t.Errorf("%s: %v", file, err)
			}
			sni := "echo.example.test"
			switch file {
			case "alb-https.alb-router.pcapng":
				sni = ""
			case "haproxy.haproxy-router.pcapng":
				sni = "router.example.test"
			}
			if hello.SNI != sni {
				t.Errorf("%s: a ClientHello with SNI %q, %v", file, hello.SNI, hello.HasSNI)
			}
		}
	}
}

func TestWithoutTheRightATimelineIsLeft(t *testing.T) {
	l := startText(t, recorded, Options{Record: true})
	l.record = func(context.Context, []capture.Hop, string, int64) (*capture.Recording, error) {
		return nil, fmt.Errorf("capture on lo: %w", capture.ErrNotPermitted)
	}
	dir := filepath.Join(t.TempDir(), "capture")
	r, err := l.Record(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	play := l.PlayFaults(t.Context(), 1)
	dialEach(t, l)
	play.Stop()
	files, notes, err := r.Stop()
	if err != nil || !slices.Equal(files, []string{"timeline.json"}) || len(notes) != 1 || !strings.Contains(notes[0], "No packets were captured") {
		t.Fatalf("files %v, notes %q, %v", files, notes, err)
	}
	events := readTimeline(t, filepath.Join(dir, "timeline.json"))
	seen := map[string]bool{}
	for i, e := range events {
		seen[string(e.Kind)+" "+e.Hop+" of "+e.Path] = true
		if i > 0 && e.AtNS < events[i-1].AtNS {
			t.Errorf("event %d comes before the one before it", i)
		}
	}
	for _, want := range []string{
		"inject client->alb of alb-https", "open client->alb of alb-http", "bytes alb->router of alb-https", "open alb->router of alb-http",
	} {
		if !seen[want] {
			t.Errorf("the timeline has no %s, but %v", want, seen)
		}
	}
}

func readTimeline(t *testing.T, file string) []happening {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema string      `json:"schema"`
		Events []happening `json:"events"`
	}
	if err := json.Unmarshal(data, &got); err != nil || got.Schema != "tlsroute-bench/timeline/1" {
		t.Fatalf("schema %q, %v", got.Schema, err)
	}
	return got.Events
}

// What moves in a burst is one event, and bytes do not take the room of what is rare.
func TestATimelineIsBounded(t *testing.T) {
	var tl timeline
	tl.start()
	w := way{"p", "h"}
	moved := func(remote, direction string, after time.Duration) {
		tl.add(w, albsim.Event{Time: tl.began.Add(after), Kind: albsim.EventBytes, Hop: "client", Remote: remote, Direction: direction, Bytes: 10})
	}
	for i := range 5 {
		moved("a", "up", time.Duration(i)*time.Millisecond)
	}
	moved("a", "down", 5*time.Millisecond)
	moved("a", "up", 6*time.Millisecond)
	moved("a", "up", time.Second)
	for i := range maxMoves {
		moved(fmt.Sprint(i), "up", 2*time.Second)
	}
	tl.add(w, albsim.Event{Time: tl.began, Kind: albsim.EventAlert, Hop: "client", Remote: "a", Detail: "40"})
	if tl.leftOut != 4 {
		t.Errorf("%d left out, want 4", tl.leftOut)
	}
	file := filepath.Join(t.TempDir(), "timeline.json")
	if err := tl.write(file); err != nil {
		t.Fatal(err)
	}
	events := readTimeline(t, file)
	if len(events) != maxMoves+1 {
		t.Fatalf("%d events", len(events))
	}
	want := []happening{
		{Path: "p", Hop: "h", Kind: albsim.EventBytes, Remote: "a", Direction: "up", Bytes: 50, Pieces: 5, LastNS: 4e6},
		{Path: "p", Hop: "h", Kind: albsim.EventAlert, Remote: "a", Detail: "40"},
		{AtNS: 5e6, Path: "p", Hop: "h", Kind: albsim.EventBytes, Remote: "a", Direction: "down", Bytes: 10, Pieces: 1},
	}
	if diff := cmp.Diff(want, events[:3], cmp.AllowUnexported(happening{})); diff != "" {
		t.Errorf("the first events (-want +got):\n%s", diff)
	}
}

// Connections of products of others to one server cannot be told apart, and are said to be in one file.
func TestMixedHopsAreSaid(t *testing.T) {
	text := strings.Replace(recorded, "alb-http, haproxy]", "alb-http, haproxy, nginx]", 1)
	text = strings.Replace(text, "haproxy: {real: haproxy}", "haproxy: {real: haproxy}, nginx: {real: nginx}", 1)
	l := startText(t, text, Options{Record: true})
	hops, mixed := l.recordedHops()
	if len(mixed) != 1 || !strings.Contains(mixed[0], "haproxy->router of haproxy, nginx->router of nginx") {
		t.Errorf("said %q", mixed)
	}
	client := netip.MustParseAddrPort("127.0.0.1:40000")
	l.tape.note(way{"alb-http", "alb->router"}, client.String())
	for _, h := range hops {
		own := h.Path == "alb-http" && h.Name == "alb->router"
		if h.From != nil && h.From(client) != own {
			t.Errorf("%s of %s has the connection that alb-http's load balancer dialled: %v", h.Name, h.Path, !own)
		}
	}
}

// A chain with a real product in its middle has all its hops, and the real one's secrets come from those at its ends.
func TestACaptureOfAChain(t *testing.T) {
	sc, err := scenario.Load("chain", scenario.Vocabulary{Topology: Check})
	if err != nil {
		t.Fatal(err)
	}
	sc.Topology.Paths, sc.Routes = []string{"direct", "chain"}, sc.Routes[:1]
	l := startLab(t, sc, Options{Record: true})
	dir := t.TempDir()
	r, err := l.Record(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Walk(t.Context(), func(string) {}); err != nil {
		t.Fatal(err)
	}
	files, notes, err := r.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 && len(notes) == 1 && strings.Contains(notes[0], "not permitted") {
		t.Logf("may not capture, and says so: %s", notes[0])
		return
	}
	want := []string{
		"chain.alb-router.pcapng", "chain.client-nlb.pcapng", "chain.haproxy-alb.pcapng", "chain.nlb-haproxy.pcapng", "direct.client-router.pcapng", "timeline.json",
	}
	slices.Sort(files)
	if diff := cmp.Diff(want, files); diff != "" || len(notes) > 0 {
		t.Fatalf("files (-want +got):\n%s\nnotes %q", diff, notes)
	}
	for _, file := range want[:5] {
		if sent, secrets := readPackets(t, filepath.Join(dir, file)); !secrets || len(sent) != 1 {
			t.Errorf("%s: %d connections, secrets %v", file, len(sent), secrets)
		}
	}
	seen := map[string]bool{}
	for _, e := range readTimeline(t, filepath.Join(dir, "timeline.json")) {
		seen[e.Hop+" "+string(e.Kind)] = true
	}
	for _, want := range []string{"client->nlb open", "nlb->haproxy open", "haproxy->alb bytes", "alb->router bytes"} {
		if !seen[want] {
			t.Errorf("no %s in the timeline: %v", want, seen)
		}
	}
}
