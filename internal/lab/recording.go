package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// Bounds of a tape: the connections of which it is noted who dialled them, beyond which packets go to no file, and the key log lines of
// which it is known that they are there already.
const (
	maxNoted  = 1 << 18
	maxLogged = 1 << 18
)

// way is a hop of a path.
type way struct{ path, hop string }

// tape is what a lab notes for a recording, from its start on: who dialled which connection to whom, the TLS secrets of every end that is
// ours, and what the simulators tell.
type tape struct {
	keys     capture.KeyLog
	timeline timeline

	mu      sync.Mutex // guards what follows
	logged  map[string]struct{}
	dialled map[way]map[netip.AddrPort]struct{}
	noted   int
	over    int // connections beyond maxNoted
}

func newTape() *tape {
	return &tape{logged: map[string]struct{}{}, dialled: map[way]map[netip.AddrPort]struct{}{}}
}

// Write takes key log lines. Both ends of a session write the same ones.
func (t *tape) Write(line []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	label, rest, _ := strings.Cut(string(line), " ")
	random, _, _ := strings.Cut(rest, " ")
	if _, ok := t.logged[label+random]; ok {
		return len(line), nil
	}
	if len(t.logged) < maxLogged {
		t.logged[label+random] = struct{}{}
	}
	return t.keys.Write(line)
}

// note says that the connection from a local address is one of a hop.
func (t *tape) note(w way, local string) {
	address, err := netip.ParseAddrPort(local)
	if err != nil {
		return // a connection that is not TCP has no packets either
	}
	address = netip.AddrPortFrom(address.Addr().Unmap(), address.Port())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dialled[w] == nil {
		t.dialled[w] = map[netip.AddrPort]struct{}{}
	}
	if _, ok := t.dialled[w][address]; ok {
		return
	}
	if t.noted == maxNoted {
		t.over++
		return
	}
	t.noted++
	t.dialled[w][address] = struct{}{}
}

func (t *tape) has(w way, client netip.AddrPort) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.dialled[w][client]
	return ok
}

// observe is told of what happens at a simulator.
func (t *tape) observe(w way, e albsim.Event) {
	if e.Kind == albsim.EventOpen && e.Hop == "target" {
		t.note(w, e.Local)
	}
	t.timeline.add(w, e)
}

// dial notes the connections of a client.
func (t *tape) dial(w way, dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			t.note(w, conn.LocalAddr().String())
		}
		return conn, err
	}
}

// Recording is the capture of a run.
type Recording struct {
	lab     *Lab
	dir     string
	packets *capture.Recording // nil where it is not permitted
	notes   []string
}

// Record begins to keep the packets of every hop of every path, and a timeline of what the simulators do; the lab must have been started
// with Options.Record. Where this process may not read packets the timeline alone is kept, and Stop says so.
func (l *Lab) Record(ctx context.Context, dir string) (*Recording, error) {
	if l.tape == nil {
		return nil, errors.New("lab: it was not started to be recorded")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	r := &Recording{lab: l, dir: dir}
	hops, mixed := l.recordedHops()
	r.notes = mixed
	var err error
	r.packets, err = l.record(ctx, hops, l.dir, 0)
	if errors.Is(err, capture.ErrNotPermitted) {
		r.notes = []string{"No packets were captured: " + err.Error() + "."}
		err = nil
	}
	l.tape.timeline.start()
	return r, err
}

// Stop ends the recording and names the files it left, and what a reader must know of them.
func (r *Recording) Stop() (files, notes []string, err error) {
	t := r.lab.tape
	notes = r.notes
	if r.packets != nil {
		var missed int
		files, missed, err = r.packets.Stop(r.dir, &t.keys)
		if missed > 0 {
			notes = append(notes, fmt.Sprintf("The capture lacks %d packets: the kernel dropped them, or they were more than a recording keeps.", missed))
		}
		t.mu.Lock()
		if t.over > 0 {
			notes = append(notes, fmt.Sprintf("The capture may lack the packets of %d connections: there were more than are told apart.", t.over))
		}
		t.mu.Unlock()
	}
	const name = "timeline.json"
	if writeErr := t.timeline.write(filepath.Join(r.dir, name)); writeErr != nil {
		return files, notes, errors.Join(err, writeErr)
	}
	return append(files, name), notes, err
}

// recordedHops are all TCP connections of all paths. Where several lead to one server, who dialled tells them apart; connections that
// nobody of ours dialled are those of the real product, and if there are several of them the sentences say so.
func (l *Lab) recordedHops() (hops []capture.Hop, mixed []string) {
	type leads struct {
		ways   []way // that we dial
		others []way
	}
	servers := map[netip.AddrPort]*leads{}
	var order []netip.AddrPort
	for _, c := range l.chains {
		for i, h := range c.hops() {
			if h.Name == hopInner {
				continue
			}
			server := c.server(i, h)
			to := servers[server]
			if to == nil {
				to = &leads{}
				servers[server] = to
				order = append(order, server)
			}
			if w := (way{c.path, h.Name}); i == 0 || c.nodes[i-1].alb != nil {
				to.ways = append(to.ways, w)
			} else {
				to.others = append(to.others, w)
			}
		}
	}
	// An address that stands for many comes last: the first hop that a packet fits has it.
	slices.SortStableFunc(order, func(a, b netip.AddrPort) int {
		switch many := b.Addr().IsUnspecified(); {
		case a.Addr().IsUnspecified() == many:
			return 0
		case many:
			return -1
		}
		return 1
	})
	for _, server := range order {
		to := servers[server]
		for _, w := range to.ways {
			h := capture.Hop{Path: w.path, Name: w.hop, Server: server}
			if len(to.ways)+len(to.others) > 1 {
				h.From = func(client netip.AddrPort) bool { return l.tape.has(w, client) }
			}
			hops = append(hops, h)
		}
		var names []string
		for _, w := range to.others {
			hops = append(hops, capture.Hop{Path: w.path, Name: w.hop, Server: server})
			names = append(names, w.hop+" of "+w.path)
		}
		if len(names) > 1 {
			mixed = append(mixed, fmt.Sprintf("The captures of %s are in one file, that of the first: products of others dial, and nobody tells which connection is whose.",
				strings.Join(names, ", ")))
		}
	}
	return hops, mixed
}

// server is where hop i of a chain leads; its port alone says so where nodes come and go.
func (c *chain) server(i int, h result.Hop) netip.AddrPort {
	server := netip.MustParseAddrPort(h.Address)
	if i < len(c.nodes) && c.nodes[i].Nodes > 0 {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), server.Port())
	}
	return server
}

// recordClient has a client of a path leave its secrets, and notes its connections.
func (l *Lab) recordClient(c *chain, d *client.Dialer) {
	if l.tape == nil {
		return
	}
	d.InnerKeyLog, d.OuterKeyLog = l.tape, l.tape
	d.NetDial = l.tape.dial(way{c.path, scenario.HopName(c.legs(), 0)}, d.NetDial)
}
