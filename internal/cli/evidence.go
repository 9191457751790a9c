package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
)

// evidence keeps what went over the wire in a check: a timeline for people, and for tools a pcapng of the check's own connections and,
// where packets may be read, one of all hops, each with its key log.
type evidence struct {
	dir   string
	files []string
	hops  *capture.Live // nil where packets may not be read
}

// hopper knows the hops of targets, and the TLS secrets of those ends that are ours.
type hopper interface {
	JudgedHops(targets []conformance.Target) []capture.Hop
	LogJudged(keys *capture.KeyLog)
}

// watch has the packets of all hops kept, and their secrets, until the function it returns is called.
func (e *evidence) watch(h hopper, targets []conformance.Target, log *slog.Logger) (stop func() error) {
	live, err := capture.StartLive(h.JudgedHops(targets))
	if err != nil {
		log.Debug("evidence is of the checks' own connections only", "error", err)
		return func() error { return nil }
	}
	e.hops = live
	h.LogJudged(live.Keys())
	return func() error {
		h.LogJudged(nil)
		return live.Close()
	}
}

// Save implements conformance.EvidenceSink. What it wrote it reads back: evidence that shows nothing is worse than none.
func (e *evidence) Save(name string, ev conformance.Evidence) ([]string, error) {
	if err := os.MkdirAll(filepath.Join(e.dir, "evidence"), 0o755); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	timeline := filepath.Join("evidence", name+".txt")
	if err := e.write(timeline, ev.Trace.WriteTimeline); err != nil {
		return nil, err
	}
	packets := filepath.Join("evidence", name+".pcapng")
	list := segments(ev.Trace)
	if err := e.write(packets, func(w io.Writer) error { return capture.WritePcapng(w, list, ev.KeyLog) }); err != nil {
		return []string{timeline}, err
	}
	file, err := os.ReadFile(filepath.Join(e.dir, packets))
	if err == nil {
		err = capture.Verify(file, list, ev.Sessions)
	}
	names := []string{timeline, packets}
	if err != nil || e.hops == nil || ev.Began.IsZero() {
		return names, err
	}
	hops := filepath.Join("evidence", name+".hops.pcapng")
	var written capture.Written
	err = e.write(hops, func(w io.Writer) (err error) {
		written, err = e.hops.Write(context.Background(), w, ev.Began, ev.Ended, opened(ev.Trace), ev.KeyLog)
		return err
	})
	if err == nil && written.Connections == 0 { // the check had an instance of its own, or opened nothing
		e.files = e.files[:len(e.files)-1]
		return names, os.Remove(filepath.Join(e.dir, hops))
	}
	return append(names, hops), errors.Join(err, e.sealed(timeline, filepath.Base(hops), written.Sealed))
}

// sealed says at the end of a timeline which sessions a capture of the hops shows from outside only.
func (e *evidence) sealed(timeline, hops string, count map[string]int) error {
	if len(count) == 0 {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(e.dir, timeline), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	for _, hop := range slices.Sorted(maps.Keys(count)) {
		_, werr := fmt.Fprintf(f, "%s: the secrets of %d TLS sessions %s are not known: no end of them that is ours has told\n", hops, count[hop], hop)
		err = errors.Join(err, werr)
	}
	return errors.Join(err, f.Close())
}

// opened tells the check's own connections by their local address.
func opened(trace wire.Trace) func(netip.AddrPort) bool {
	ours := map[netip.AddrPort]bool{}
	for _, event := range trace.Events {
		local, _, dialled := strings.Cut(event.Text, " -> ")
		if a, err := netip.ParseAddrPort(local); event.Kind == "open" && dialled && err == nil {
			ours[a] = true
		}
	}
	return func(client netip.AddrPort) bool { return ours[client] }
}

func (e *evidence) write(name string, write func(io.Writer) error) error {
	f, err := os.Create(filepath.Join(e.dir, name))
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return fmt.Errorf("evidence %s: %w", name, err)
	}
	e.files = append(e.files, name)
	return f.Close()
}

// segments are the events of the TCP connections of a trace; those of the layers above (tcp#1/http#1) are the same bytes in
// the clear, which the key log gives.
func segments(trace wire.Trace) []capture.Segment {
	var list []capture.Segment
	for _, event := range trace.Events {
		if strings.Contains(event.Conn, "/") {
			continue
		}
		s := capture.Segment{At: event.At, Conn: event.Conn, Data: event.Data}
		s.Missing = event.N - len(event.Data)
		switch event.Kind {
		case "open":
			s.Kind = capture.Open
		case "write":
			s.Kind = capture.Data
		case "read":
			s.Kind, s.FromServer = capture.Data, true
			if event.N == 0 {
				s.Kind = capture.Fin // the read that found the end
			}
		case "close-write", "close":
			s.Kind = capture.Fin
		case "reset":
			s.Kind = capture.Reset
		default:
			continue
		}
		list = append(list, s)
	}
	return list
}
