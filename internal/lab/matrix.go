package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
	"github.com/tlsroute/tlsroute-bench/internal/lab/ours"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/internal/stranger"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

const (
	cellTime  = 20 * time.Second // of one combination
	cellBytes = 64 << 10         // that go there and back
)

// Matrix tries every client of the scenario with every router over every path.
func (l *Lab) Matrix(ctx context.Context, sink conformance.EvidenceSink, progress func(done, total int)) (*result.Matrix, error) {
	m := l.scenario.Matrix
	route, ok := l.matrixRoute()
	if !ok {
		return nil, errors.New("matrix: no route leads to a witness")
	}
	out := &result.Matrix{Route: route.Name, Paths: l.scenario.Topology.Paths, Cells: []result.Cell{}}
	for _, c := range m.Clients {
		out.Clients = append(out.Clients, c.Name)
	}
	total := len(m.Routers) * len(m.Clients) * len(out.Paths)
	for _, r := range m.Routers {
		party, chains := l.matrixRouter(ctx, r)
		out.Routers = append(out.Routers, party)
		for _, c := range m.Clients {
			for _, path := range out.Paths {
				cell := result.Cell{
					Client: c.Name, Path: path, Router: r.Name, Evidence: []string{}, Required: !c.Optional && !r.Optional,
					Verdict: result.CheckNotRun, Detail: party.Reason,
				}
				if chains[path] != nil && ctx.Err() == nil {
					l.cell(ctx, &cell, c, chains[path], route, sink)
				}
				out.Cells = append(out.Cells, cell)
				progress(len(out.Cells), total)
			}
		}
	}
	return out, context.Cause(ctx)
}

// matrixRoute is the route that every cell asks for.
func (l *Lab) matrixRoute() (scenario.Route, bool) {
	for _, r := range l.scenario.Routes {
		b := l.backend(r.Backend)
		if (r.Name == l.scenario.Matrix.Route || l.scenario.Matrix.Route == "") && b != nil && b.Witness != nil {
			return r, true
		}
	}
	return scenario.Route{}, false
}

// matrixRouter starts a router with the scenario's document, and the load balancers before it. What cannot be had is missing in the
// chains, and the party says why.
func (l *Lab) matrixRouter(ctx context.Context, p scenario.Party) (party result.Party, chains map[string]*chain) {
	party, chains = result.Party{Name: p.Name}, map[string]*chain{}
	if p.Target == "" {
		party.Product = "tlsroute-bench router"
		for _, c := range l.chains {
			chains[c.path] = c
		}
		return party, chains
	}
	address, about, err := l.matrixStranger(ctx, p)
	party.Product, party.Version = about.Name, about.Version
	if err != nil {
		party.Reason = err.Error()
		return party, chains
	}
	for _, path := range l.scenario.Topology.Paths {
		c, err := l.buildChain(ctx, path, behind{title: p.Name, address: address, name: l.scenario.Topology.Router.Name})
		if err != nil {
			party.Reason = err.Error()
			continue
		}
		chains[path] = c
	}
	return party, chains
}

func (l *Lab) matrixStranger(ctx context.Context, p scenario.Party) (address string, about door.Answer, err error) {
	doc, err := ours.Document(l.routerConfig())
	if err != nil {
		return "", about, err
	}
	doc.Listen = "127.0.0.1:0"
	s, err := l.partyOf(ctx, p, conformance.Router, doc)
	if err != nil {
		return "", about, err
	}
	doc = asClaimed(doc, s.about.Features)
	address, err = l.startStrangeRouter(ctx, s, doc)
	return address, s.about, err
}

// partyOf meets a stranger by its target file, once.
func (l *Lab) partyOf(ctx context.Context, p scenario.Party, role conformance.Role, config any) (*strange, error) {
	if s := l.parties[p.Name]; s != nil {
		return s, nil
	}
	file := p.Target
	if beside := filepath.Join(filepath.Dir(l.scenario.File), file); !filepath.IsAbs(file) {
		file = beside
	}
	f, err := stranger.Load(file)
	if err != nil {
		return nil, err
	}
	if f.Endpoint != nil {
		return nil, fmt.Errorf("target %s: a matrix needs an adapter or an image", file)
	}
	if f.Role != string(role) {
		return nil, fmt.Errorf("target %s: it is a %s, not a %s", file, f.Role, role)
	}
	s, err := l.meetFile(ctx, f, role, p.Name, config)
	if err == nil {
		l.parties[p.Name] = s
	}
	return s, err
}

// cell tries one combination.
func (l *Lab) cell(ctx context.Context, cell *result.Cell, c scenario.Party, ch *chain, route scenario.Route, sink conformance.EvidenceSink) {
	ctx, cancel := context.WithTimeout(ctx, cellTime)
	defer cancel()
	begun := time.Now()
	rec, keys := &wire.Recorder{}, &capture.KeyLog{}
	conn, report, err := l.cellDial(ctx, c, ch, route, rec, keys)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
		err = l.cellAsk(ctx, conn, route)
		stop()
		conn.Close()
	}
	cell.DurationMS = float64(time.Since(begun)) / 1e6
	cell.Class, cell.Upgrade = report.Class, report.Upgrade
	var unsupported *door.UnsupportedError
	switch {
	case err == nil:
		cell.Verdict, cell.Outcome = result.CheckPass, string(conformance.Routed)
		cell.Detail = fmt.Sprintf("the witness answered, and %d bytes came back unchanged", cellBytes)
		return
	case errors.As(err, &unsupported):
		cell.Verdict, cell.Detail = result.CheckUnsupported, unsupported.Reason
		return
	}
	cell.Verdict, cell.Outcome, cell.Detail = result.CheckFail, string(new(conformance.T).Outcome(err)), err.Error()
	rec.Notef("failed: %v", err)
	files, err := sink.Save(fmt.Sprintf("matrix-%s-%s-%s", cell.Router, cell.Client, cell.Path), conformance.Evidence{Trace: rec.Trace(), KeyLog: keys.Bytes()})
	if err != nil {
		cell.Detail += fmt.Sprintf(" (evidence could not be saved: %v)", err)
	}
	cell.Evidence = append(cell.Evidence, files...)
}

// cellDial has the client open a tunnel: ours over a traced connection, a stranger through its adapter.
func (l *Lab) cellDial(
	ctx context.Context, c scenario.Party, ch *chain, route scenario.Route, rec *wire.Recorder, keys io.Writer,
) (net.Conn, conformance.DialReport, error) {
	d := l.dialerOver(ch, route)
	if c.Target != "" {
		s, err := l.partyOf(ctx, c, conformance.Client, nil)
		if err != nil {
			return nil, conformance.DialReport{}, err
		}
		r := door.Request{
			Dir: s.dir, Address: d.Address, SNI: d.ServerName, ALPN: d.ALPN, OuterSNI: d.OuterServerName, Upgrade: "auto",
			CA: &door.CA{Outer: l.pki.outerCA, Inner: l.pki.innerCA}, Client: &door.Identity{Cert: l.pki.clientCert, Key: l.pki.clientKey},
		}
		conn, answer, err := s.adapter.Dial(ctx, r)
		return conn, conformance.DialReport{Class: answer.Class, Upgrade: answer.UpgradeType, ALPN: answer.ALPN}, err
	}
	d.Upgrade = c.Name
	d.InnerKeyLog, d.OuterKeyLog = keys, keys
	dial := d.NetDial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	d.NetDial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return wire.NewConn(conn, rec, "tcp"), nil
	}
	conn, err := d.Dial(ctx)
	if err != nil {
		return nil, conformance.DialReport{}, err
	}
	info := conn.Info()
	return conn, conformance.DialReport{Class: string(info.Class), Upgrade: info.Upgrade, ALPN: info.Negotiated}, nil
}

// cellAsk compares what the client sees with the witness's own record.
func (l *Lab) cellAsk(ctx context.Context, conn net.Conn, route scenario.Route) error {
	b := l.backend(route.Backend)
	var id [8]byte
	_, _ = rand.Read(id[:]) // it never fails
	nonce := "m" + hex.EncodeToString(id[:])
	rec, err := witness.Ask(conn, witness.Order{Nonce: nonce, Do: witness.Echo})
	if err != nil {
		return err
	}
	if rec.Witness != b.Info.Name || len(b.Witness.Find(nonce)) == 0 {
		return fmt.Errorf("misrouted: witness %q answered, and %s has no record of it", rec.Witness, b.Info.Name)
	}
	sent, got := make([]byte, cellBytes), make([]byte, cellBytes)
	_, _ = rand.Read(sent)
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		wrote <- err
	}()
	_, err = io.ReadFull(conn, got)
	if err != nil {
		conn.Close()
	}
	if err = errors.Join(err, <-wrote); err != nil {
		return err
	}
	if !bytes.Equal(sent, got) {
		return fmt.Errorf("corrupted: the echo of %d bytes differs", cellBytes)
	}
	return context.Cause(ctx)
}
