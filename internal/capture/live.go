package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// Bounds of what is kept of the traffic of late: of one frame, which holds any handshake, and of all.
const (
	liveFrameBytes = 16 << 10
	liveBytes      = 32 << 20
	liveCatchUp    = time.Second // for the reader to see what has been sent
	// A packet has the time at which it was read, which on a busy machine is that much later than it was sent.
	liveLate = 100 * time.Millisecond
)

// Live keeps the latest packets of some hops, so that those of a moment can be written down once it is known that somebody wants
// them. Long frames are cut, and marked as cut.
type Live struct {
	src    source
	hops   []Hop
	keys   KeyLog
	marker net.Listener
	done   chan struct{} // closed when the reader has ended

	mu     sync.Mutex  // guards what follows
	frames []liveFrame // those before first are let go of
	first  int
	kept   int
	marks  map[netip.AddrPort]chan struct{}
}

type liveFrame struct {
	at       time.Time
	src, dst netip.AddrPort
	syn      bool
	length   int
	data     []byte
}

// StartLive begins to keep packets on the loopback interface, until Close; of the hops it heeds the name and the server. The error is
// [ErrNotPermitted] when this process may not read packets.
func StartLive(hops []Hop) (*Live, error) { return startLive(hops, openSocket) }

func startLive(hops []Hop, open func(string, []uint16) (source, error)) (*Live, error) {
	marker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	src, err := openHops(Loopback, append([]Hop{{Name: "marker", Server: marker.Addr().(*net.TCPAddr).AddrPort()}}, hops...), open)
	if err != nil {
		return nil, errors.Join(err, marker.Close())
	}
	l := &Live{src: src, hops: hops, marker: marker, done: make(chan struct{}), marks: map[netip.AddrPort]chan struct{}{}}
	go l.read()
	return l, nil
}

// Keys takes the secrets of those ends of the hops that are ours. What is written has those of its connections.
func (l *Live) Keys() *KeyLog { return &l.keys }

// Close ends the keeping.
func (l *Live) Close() error {
	err := errors.Join(l.src.Close(), l.marker.Close())
	<-l.done
	return err
}

func (l *Live) read() {
	defer close(l.done)
	buf := make([]byte, maxFrame)
	d := newDecoder()
	for {
		n, err := l.src.Read(buf)
		if err != nil {
			return // closed, or broken: what is missing then is seen by its absence
		}
		if !d.decode(buf[:n]) {
			continue
		}
		f := liveFrame{at: time.Now(), src: d.src, dst: d.dst, syn: d.tcp.SYN && !d.tcp.ACK, length: n, data: slices.Clone(buf[:min(n, liveFrameBytes)])}
		l.mu.Lock()
		if seen := l.marks[f.src]; seen != nil {
			close(seen)
			delete(l.marks, f.src)
		}
		l.frames, l.kept = append(l.frames, f), l.kept+len(f.data)
		for ; l.kept > liveBytes; l.first++ {
			l.kept -= len(l.frames[l.first].data)
			l.frames[l.first] = liveFrame{}
		}
		if l.first > len(l.frames)/2 { // seldom: each frame is moved once or twice in its life
			l.frames, l.first = slices.Delete(l.frames, 0, l.first), 0
		}
		l.mu.Unlock()
	}
}

// catchUp returns when the reader has seen all that was sent before: a connection of our own comes behind it.
func (l *Live) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, liveCatchUp)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", l.marker.Addr().String())
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	defer c.Close()
	local := c.LocalAddr().(*net.TCPAddr).AddrPort()
	seen := make(chan struct{})
	l.mu.Lock()
	if slices.ContainsFunc(l.frames[l.first:], func(f liveFrame) bool { return f.src == local }) {
		close(seen)
	} else {
		l.marks[local] = seen
	}
	l.mu.Unlock()
	select {
	case <-seen:
		return nil
	case <-l.done:
		return errors.New("capture: it has ended")
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.marks, local)
		l.mu.Unlock()
		return fmt.Errorf("capture: the reader does not keep up: %w", ctx.Err())
	}
}

// Written says what there was of a moment.
type Written struct {
	Connections int
	// Sealed counts by hop the TLS sessions whose secrets are not known: neither end has told.
	Sealed map[string]int
}

// Write writes the packets of the connections that were opened from one time to another, with the secrets of keylog and, of these
// connections, those that Keys has got. Of the servers to which there are connections of a client that is ours it takes those only; of
// all other servers every one, since nobody tells whose it is.
func (l *Live) Write(ctx context.Context, w io.Writer, from, to time.Time, ours func(client netip.AddrPort) bool, keylog []byte) (Written, error) {
	written := Written{Sealed: map[string]int{}}
	if err := l.catchUp(ctx); err != nil {
		return written, err
	}
	l.mu.Lock()
	frames := slices.Clone(l.frames[l.first:]) // the data are not changed any more
	l.mu.Unlock()
	chosen := l.choose(frames, from, to, ours)
	if written.Connections = len(chosen); len(chosen) == 0 {
		return written, nil
	}
	keylog = l.unseal(keylog, sessionsOf(frames, chosen), written.Sealed)
	out := bufio.NewWriter(w)
	ng, err := begin(out, pcapgo.NgInterface{
		Name: Loopback, Description: "all hops", LinkType: layers.LinkTypeEthernet, TimestampResolution: 9, SnapLength: liveFrameBytes,
	}, keylog)
	if err != nil {
		return written, err
	}
	for _, f := range frames {
		if f.at.Before(from) || !chosen[flow{f.src, f.dst}] && !chosen[flow{f.dst, f.src}] {
			continue
		}
		if err := ng.WritePacket(gopacket.CaptureInfo{Timestamp: f.at, CaptureLength: len(f.data), Length: f.length}, f.data); err != nil {
			return written, fmt.Errorf("pcapng: %w", err)
		}
	}
	return written, errors.Join(ng.Flush(), out.Flush())
}

// unseal adds to a key log what it lacks of the sessions, and counts those that stay sealed.
func (l *Live) unseal(keylog []byte, sessions map[flow]session, sealed map[string]int) []byte {
	known, wanted := randomsIn(string(keylog)), map[string]bool{}
	for _, s := range sessions {
		if !known[s.random] {
			wanted[s.random] = true
		}
	}
	more := l.keys.lines(wanted)
	told := randomsIn(string(more))
	for f, s := range sessions {
		if s.begun && !known[s.random] && !told[s.random] {
			sealed[l.name(f.server)]++
		}
	}
	return slices.Concat(keylog, more)
}

// name is that of the hop to a server, with its address.
func (l *Live) name(server netip.AddrPort) string {
	i := slices.IndexFunc(l.hops, func(h Hop) bool { return h.Server == server })
	return fmt.Sprintf("%s (%s)", l.hops[i].Name, server)
}

func (l *Live) choose(frames []liveFrame, from, to time.Time, ours func(netip.AddrPort) bool) map[flow]bool {
	opened := map[flow]bool{}
	first := map[netip.AddrPort]bool{} // servers to which we connect ourselves
	for _, f := range frames {
		if f.syn && !f.at.Before(from) && !f.at.After(to.Add(liveLate)) && slices.ContainsFunc(l.hops, func(h Hop) bool { return h.Server == f.dst }) {
			mine := ours(f.src)
			opened[flow{f.src, f.dst}] = mine
			first[f.dst] = first[f.dst] || mine
		}
	}
	chosen := map[flow]bool{}
	for f, mine := range opened {
		if mine || !first[f.server] {
			chosen[f] = true
		}
	}
	return chosen
}
