package selftest

import (
	"bytes"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// editHello changes the extensions of each ClientHello that passes in the clear, the first being number 0; nil loses it. All else
// passes as it is.
func editHello(change func(number int, list []wire.Extension) []wire.Extension) fault {
	return func(dst, src net.Conn) {
		for number := 0; ; {
			rec, err := wire.ReadRecord(src)
			if err != nil {
				return
			}
			if rec.Type == 22 && bytes.HasPrefix(rec.Fragment, []byte{1}) {
				var list []wire.Extension
				edited, err := wire.Edit(rec.Fragment, func(exts []wire.Extension) []wire.Extension {
					list = change(number, exts)
					return list
				})
				number++
				if err == nil && list == nil {
					continue
				}
				if err == nil {
					rec.Fragment = edited
				}
			}
			if _, err := dst.Write(wire.Record(rec.Type, rec.Version, rec.Fragment)); err != nil {
				return
			}
		}
	}
}

// repairsALPN puts a good list in the place of one that does not parse.
func repairsALPN(_ int, list []wire.Extension) []wire.Extension {
	for i, e := range list {
		if _, err := wire.ParseMessage(wire.NewHello(wire.HelloOptions{Last: []wire.Extension{e}})); e.Type == wire.ExtALPN && err != nil {
			list[i].Body = wire.ALPNBody("trb-a")
		}
	}
	return list
}

// firstOnly leaves out an extension that was there already.
func firstOnly(_ int, list []wire.Extension) []wire.Extension {
	seen := map[uint16]bool{}
	return slices.DeleteFunc(list, func(e wire.Extension) bool {
		again := seen[e.Type]
		seen[e.Type] = true
		return again
	})
}

// losesSecond passes the first ClientHello only.
func losesSecond(number int, list []wire.Extension) []wire.Extension {
	if number > 0 {
		return nil
	}
	return list
}

// firstName puts the name of the first ClientHello into the second.
func firstName() func(int, []wire.Extension) []wire.Extension {
	name := wire.Extension{Type: wire.ExtServerName}
	return func(number int, list []wire.Extension) []wire.Extension {
		if number > 0 {
			return wire.Set(list, name)
		}
		if i := slices.IndexFunc(list, func(e wire.Extension) bool { return e.Type == wire.ExtServerName }); i >= 0 {
			name.Body = list[i].Body
		}
		return list
	}
}

// redials gives each ClientHello a connection of its own.
func redials(c net.Conn, dial func() net.Conn) {
	var wg sync.WaitGroup
	var b net.Conn
	for {
		rec, err := wire.ReadRecord(c)
		if err != nil {
			break
		}
		if rec.Type == 22 { // TLS 1.3 hides all other handshake messages of a client
			next := dial()
			if next == nil {
				break
			}
			defer next.Close()
			b = next
			wg.Go(func() { _, _ = io.Copy(c, next) })
		}
		if b == nil {
			break
		}
		if _, err := b.Write(wire.Record(rec.Type, rec.Version, rec.Fragment)); err != nil {
			break
		}
	}
	if b != nil {
		_ = netx.CloseWrite(b)
	}
	wg.Wait()
}

// behindWith is behind with a proxy that dials for itself.
func behindWith(route string, handle func(c net.Conn, dial func() net.Conn)) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		l := newLab(t)
		l.backendFor = func(r conformance.FixtureRoute, address string) string {
			if r.Name == route {
				return serve(t, address, handle)
			}
			return address
		}
		return l.start(t, nil)
	}
}

// withRoute changes configurations that have a route which a setup adds.
func withRoute(name string, change func(c *router.Config, r *router.Route)) func(t *testing.T) conformance.Target {
	return mutatedConfig(func(_ *lab, c *router.Config) {
		for i := range c.Routes {
			if c.Routes[i].Name == name {
				change(c, &c.Routes[i])
			}
		}
	})
}

// losesBehind passes the hello on and loses what came with it.
func losesBehind(dst, src net.Conn) {
	buf := make([]byte, 64<<10)
	n := 0
	for {
		m, err := src.Read(buf[n:])
		n += m
		if hello, _, parsed := wire.ParseHello(buf[:n]); parsed == nil {
			n = len(hello.Raw)
			break
		}
		if err != nil {
			return
		}
	}
	if _, err := dst.Write(buf[:n]); err == nil {
		_, _ = io.Copy(dst, src)
	}
}

// swapsRecords passes every two records of application data the other way round, as far as they come together.
func swapsRecords(dst, src net.Conn) {
	var held []byte
	for {
		rec, err := wire.ReadRecord(src)
		if err != nil {
			_, _ = dst.Write(held)
			return
		}
		raw := wire.Record(rec.Type, rec.Version, rec.Fragment)
		switch {
		case held != nil:
			raw, held = append(raw, held...), nil
		case rec.Type == 23 && len(rec.Fragment) == 700: // the check's own, and nobody else's
			held = raw
			continue
		}
		if _, err := dst.Write(raw); err != nil {
			return
		}
	}
}

// secondHandshake hands a second handshake of a TLS 1.2 client to a function in the router's place: then the connection stands still.
func secondHandshake(then func(c net.Conn)) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := newLab(t).start(t, nil)
		address := serve(t, target.Paths[0].Address, func(c net.Conn, dial func() net.Conn) {
			b := dial()
			if b == nil {
				return
			}
			defer b.Close()
			done := make(chan struct{})
			go func() { defer close(done); copyWith(nil, c, b) }()
			defer func() { <-done }()
			defer func() { _ = netx.CloseWrite(b) }()
			protected := 0 // handshake records behind change_cipher_spec: TLS 1.3 has none of that type
			changed := false
			for {
				rec, err := wire.ReadRecord(c)
				if err != nil {
					return
				}
				changed = changed || rec.Type == 20
				if changed && rec.Type == 22 {
					protected++
				}
				if protected > 1 {
					then(c)
					_, _ = io.Copy(io.Discard, c)
					return
				}
				if _, err := b.Write(wire.Record(rec.Type, rec.Version, rec.Fragment)); err != nil {
					return
				}
			}
		})
		for i := range target.Paths {
			target.Paths[i].Address = address
		}
		return target
	}
}

// otherCertificate gives a route a certificate that is good for another name.
func otherCertificate(t *testing.T, l *lab, c *router.Config, route string) {
	leaf := must(l.serverCA.Issue(certs.Leaf{CommonName: "other", DNS: []string{"other.example.test"}}))(t)
	cert, key, err := certs.WritePEM(t.TempDir(), "other", leaf)
	check(t, err)
	routeNamed(c, route).Certificates = []router.Certificate{{Cert: cert, Key: key}}
}

func init() {
	addMutant("TLS-08", "default route for what comes in pieces", naiveWith(bugs{firstRecord: true}))
	addMutant("TLS-09", "takes the last offer", naiveWith(bugs{tls2: tls2{lastOffer: true}}))
	addMutant("TLS-12", "guesses at what does not parse", inFront(editHello(repairsALPN), nil))
	addMutant("TLS-15", "the route of the name takes it", withRoute("acme", func(c *router.Config, r *router.Route) {
		r.ALPN = []string{"trb-nobody"}
		routeNamed(c, "a").ALPN = append(slices.Clone(routeNamed(c, "a").ALPN), "acme-tls/1")
	}))
	addMutant("TLS-15", "ends the solver's TLS", withRoute("acme", func(_ *router.Config, r *router.Route) { r.Mode = conformance.ModeTerminate }))
	addMutant("TLS-17", "refuses what it cannot decrypt", naiveWith(bugs{tls2: tls2{refusesECH: true}}))
	addMutant("TLS-18", "takes an inner hello from anybody", naiveWith(bugs{tls2: tls2{echBackend: true}}))
	addMutant("TLS-22", "expects the name in front", naiveWith(bugs{tls2: tls2{nameFirst: true}}))
	addMutant("TLS-22", "takes the first of two", inFront(editHello(firstOnly), nil))
	addMutant("TLS-23", "one ticket key for all names", naiveWith(bugs{tls2: tls2{tickets: true}}))
	addMutant("TLS-23", "asks for a certificate in full handshakes only", naiveWith(bugs{tls2: tls2{tickets: true, authOnce: true}}))
	addMutant("TLS-20", "takes a second hello for a new client", behindWith("pass", redials))
	addMutant("TLS-20", "loses the second hello", behind("pass", editHello(losesSecond), nil))
	addMutant("TLS-21", "passes the first name on with the second hello", inFront(func(dst, src net.Conn) { editHello(firstName())(dst, src) }, nil))
	addMutant("TLS-24", "goes where the session before went", naiveWith(bugs{tls2: tls2{tickets: true, ticketRoute: true}}))
	addMutant("TLS-26", "loses what came with the ClientHello", behind("pass", losesBehind, nil))
	addMutant("TLS-26", "swaps two records", behind("pass", swapsRecords, nil))
	addMutant("TLS-27", "looks for another name than it should", withRoute("tls-b", func(c *router.Config, r *router.Route) {
		r.Backend.ServerName = routeNamed(c, "tls-a").Backend.ServerName
	}))
	addMutant("TLS-27", "passes the client's hello on", withRoute("tls-a", func(_ *router.Config, r *router.Route) {
		r.Mode, r.Backend.TLS, r.Backend.ServerName, r.Backend.CA = conformance.ModePassthrough, "", "", ""
	}))
	addMutant("TLS-27", "speaks to its backend in the clear", withRoute("tls-a", func(_ *router.Config, r *router.Route) {
		r.Backend.TLS, r.Backend.ServerName, r.Backend.CA = "", "", ""
	}))
	addMutant("TLS-31", "begins a second handshake", secondHandshake(func(c net.Conn) {
		_, _ = c.Write(wire.Record(22, 0x0303, make([]byte, 64)))
	}))
	addMutant("TLS-31", "stands still", secondHandshake(func(net.Conn) {}))
	addMutant("TLS-28", "another name's certificate on one route", func(t *testing.T) conformance.Target {
		l := newLab(t)
		return l.start(t, func(c *router.Config) { otherCertificate(t, l, c, "wild") })
	})
	addMutant("TLS-29", "takes TLS 1.0 and 1.1", naiveWith(bugs{tls2: tls2{oldVersions: true}}))
}
