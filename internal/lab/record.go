package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
)

// recording is what Options.Record keeps: every packet of every hop, and what the simulators saw of their connections.
type recording struct {
	packets *capture.Recording // nil before begin, and when it has been stopped
	keys    capture.KeyLog

	mu    sync.Mutex // guards what follows
	from  map[hopOf]map[netip.AddrPort]bool
	file  *os.File
	lines *bufio.Writer
	left  int // events that may still be written
	lost  int
	err   error
}

// hopOf is one hop of one path.
type hopOf struct{ path, hop string }

// maxEvents bounds the timeline.
const maxEvents = 1 << 20

func newRecording(dir string) (*recording, error) {
	file, err := os.Create(filepath.Join(dir, "timeline"))
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return &recording{from: map[hopOf]map[netip.AddrPort]bool{}, file: file, lines: bufio.NewWriter(file), left: maxEvents}, nil
}

// begin records all hops of the chains from now on. Several lead to the router, and are told apart by who opened the connection; one
// that a product of others opened, or a load balancer of ours without TLS, goes into a file for all such.
func (r *recording) begin(ctx context.Context, chains []*chain, dir string) (err error) {
	var hops []capture.Hop
	var router netip.AddrPort
	for _, c := range chains {
		for _, h := range c.captureHops(false) {
			h.Path = c.path
			if last := hopName(c.legs(), len(c.nodes)); h.Name == last {
				router = h.Server
				key := hopOf{c.path, h.Name}
				h.From = func(client netip.AddrPort) bool {
					r.mu.Lock()
					defer r.mu.Unlock()
					return r.from[key][client]
				}
			}
			hops = append(hops, h)
		}
	}
	if router.IsValid() {
		hops = append(hops, capture.Hop{Path: "other", Name: "router", Server: router})
	}
	r.packets, err = capture.Record(ctx, hops, dir, 0)
	return err
}

// opened notes who opened a connection of a hop.
func (r *recording) opened(path, hop, local string) {
	address, err := netip.ParseAddrPort(local)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := hopOf{path, hop}
	if r.from[key] == nil {
		r.from[key] = map[netip.AddrPort]bool{}
	}
	r.from[key][netip.AddrPortFrom(address.Addr().Unmap(), address.Port())] = true
}

// dial notes each connection that a client opens.
func (r *recording) dial(path, hop string, dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			r.opened(path, hop, conn.LocalAddr().String())
		}
		return conn, err
	}
}

// moment is one line of the timeline.
type moment struct {
	Time         time.Time `json:"time"`
	Path         string    `json:"path"`
	LoadBalancer string    `json:"load_balancer"`
	// Side is client for a connection in front and target for one behind, Number its place there, from 1.
	Side      string           `json:"side"`
	Number    uint64           `json:"number"`
	Kind      albsim.EventKind `json:"kind"`
	Remote    string           `json:"remote"`
	Direction string           `json:"direction,omitempty"`
	Bytes     int              `json:"bytes,omitempty"`
	Detail    string           `json:"detail,omitempty"`
}

func (r *recording) event(path, balancer string, e albsim.Event) {
	line, err := json.Marshal(moment{e.Time.UTC(), path, balancer, e.Hop, e.Number, e.Kind, e.Remote, e.Direction, e.Bytes, e.Detail})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left == 0 {
		r.lost++
		return
	}
	r.left--
	_, werr := r.lines.Write(append(line, '\n'))
	r.err = errors.Join(r.err, err, werr)
	if r.err != nil {
		r.left = 0 // once is enough
	}
}

// StopRecording ends what Options.Record began and writes it into dir: a pcapng for each hop, with the secrets that decrypt it, and
// timeline.jsonl, the simulators' events one a line. missed counts packets and events that are not in them.
func (l *Lab) StopRecording(dir string) (files []string, missed int, err error) {
	r := l.recording
	if r == nil || r.packets == nil {
		return nil, 0, errors.New("record: nothing is being recorded")
	}
	packets := r.packets
	r.packets = nil
	if err := os.MkdirAll(dir, 0o755); err != nil {
		_, _, stopped := packets.Stop(l.dir, nil)
		return nil, 0, errors.Join(fmt.Errorf("record: %w", err), stopped)
	}
	if files, missed, err = packets.Stop(dir, &r.keys); err != nil {
		return files, missed, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = 0
	if err := errors.Join(r.err, r.lines.Flush()); err != nil {
		return files, missed, fmt.Errorf("record: timeline: %w", err)
	}
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return files, missed, fmt.Errorf("record: timeline: %w", err)
	}
	const name = "timeline.jsonl"
	out, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return files, missed, fmt.Errorf("record: %w", err)
	}
	_, err = io.Copy(out, r.file)
	return append(files, name), missed + r.lost, errors.Join(err, out.Close())
}

// close lets go of what StopRecording has not, by way of a folder that is about to be removed.
func (r *recording) close(dir string) error {
	if r == nil {
		return nil
	}
	err := r.file.Close()
	if r.packets != nil {
		_, _, stopped := r.packets.Stop(dir, nil)
		err = errors.Join(err, stopped)
	}
	return err
}
