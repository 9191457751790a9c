package capture

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/pcapgo"
)

// framesOf reads the packets of a file.
func framesOf(t *testing.T, name string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	var list [][]byte
	for {
		frame, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if info.Timestamp.IsZero() || info.Length != len(frame) {
			t.Errorf("packet of %d bytes: %+v", len(frame), info)
		}
		list = append(list, bytes.Clone(frame))
	}
}

func TestARecordingHasAFileForEachHop(t *testing.T) {
	router := netip.MustParseAddrPort("127.0.0.1:8443")
	client, balancer := netip.MustParseAddrPort("127.0.0.1:40001"), netip.MustParseAddrPort("127.0.0.1:40002")
	direct := packets(t, client, router, []part{{data: []byte("from the client")}, {fromServer: true, data: []byte("to it")}}, 4, 1)
	behind := packets(t, balancer, router, []part{{data: []byte("from the balancer")}}, 100, 1)
	foreign := packets(t, client, netip.MustParseAddrPort("127.0.0.1:9"), []part{{data: []byte("?")}}, 100, 1)
	hops := []Hop{
		{Path: "alb-https", Name: "alb->router", Server: router, From: func(a netip.AddrPort) bool { return a == balancer }},
		{Path: "direct", Name: "client->router", Server: router},
		{Path: "alb-https", Name: "client->alb", Server: netip.MustParseAddrPort("127.0.0.1:7")},
	}
	keys := &KeyLog{}
	_, _ = keys.Write([]byte("CLIENT_RANDOM aa bb\n"))
	src := newFrames(slices.Concat(direct[:3], behind, [][]byte{{1, 2, 3}}, foreign, direct[3:]))
	spool, dir := t.TempDir(), t.TempDir()
	r, err := recordOn(t.Context(), hops, spool, 0, func(string, []uint16) (source, error) { return src, nil })
	if err != nil {
		t.Fatal(err)
	}
	files, missed, err := r.Stop(dir, keys)
	if err != nil || missed != 0 {
		t.Errorf("missed %d, %v", missed, err)
	}
	if diff := cmp.Diff([]string{"alb-https.alb-router.pcapng", "direct.client-router.pcapng"}, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for name, want := range map[string][][]byte{"alb-https.alb-router.pcapng": behind, "direct.client-router.pcapng": direct} {
		if diff := cmp.Diff(want, framesOf(t, filepath.Join(dir, name))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if data, _ := os.ReadFile(filepath.Join(dir, name)); !bytes.Contains(data, []byte("CLIENT_RANDOM aa bb\n")) {
			t.Errorf("%s has no secrets", name)
		}
	}
	if left, _ := os.ReadDir(spool); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestARecordingIsBounded(t *testing.T) {
	server := netip.MustParseAddrPort("127.0.0.1:8443")
	list := packets(t, netip.MustParseAddrPort("127.0.0.1:40001"), server, []part{{data: bytes.Repeat([]byte("x"), 1000)}}, 100, 1)
	src := newFrames(slices.Clone(list))
	dir := t.TempDir()
	most := int64(len(list[0]) + len(list[1]) + len(list[2]))
	r, err := recordOn(t.Context(), []Hop{{Path: "p", Name: "h", Server: server}}, dir, most, func(string, []uint16) (source, error) { return src, nil })
	if err != nil {
		t.Fatal(err)
	}
	files, missed, err := r.Stop(dir, nil)
	if err != nil || missed != len(list)-3 || len(files) != 1 || len(framesOf(t, filepath.Join(dir, files[0]))) != 3 {
		t.Errorf("files %v, missed %d of %d, %v", files, missed, len(list), err)
	}
}

func TestARecordingThatMayNotBeginLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	hops := []Hop{{Path: "p", Name: "h", Server: netip.MustParseAddrPort("127.0.0.1:8443")}}
	_, err := recordOn(t.Context(), hops, dir, 0, func(string, []uint16) (source, error) { return nil, os.ErrPermission })
	if !errors.Is(err, ErrNotPermitted) {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestLoopbackIsRecorded records for real. Without the right to, it checks that the error says so.
func TestLoopbackIsRecorded(t *testing.T) {
	ln, server := listen(t, "127.0.0.1:0")
	keys, dir := &KeyLog{}, t.TempDir()
	r, err := Record(t.Context(), []Hop{{Path: "p", Name: "h", Server: server}}, dir, 0)
	if errors.Is(err, ErrNotPermitted) && os.Geteuid() != 0 {
		t.Logf("may not capture, and says so: %v", err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	h := handshakes(t)[0]
	h.shake(t, ln, keys)
	files, missed, err := r.Stop(dir, keys)
	if err != nil || missed != 0 || len(files) != 1 {
		t.Fatalf("files %v, missed %d, %v", files, missed, err)
	}
	// SYN and its answer, two flights at least each way: what exactly a kernel sends is its own affair.
	if n := len(framesOf(t, filepath.Join(dir, files[0]))); n < 6 {
		t.Errorf("%d packets", n)
	}
}
