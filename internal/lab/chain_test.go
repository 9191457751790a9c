package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// startScenario brings up an embedded scenario.
func startScenario(t *testing.T, name string, change func(*scenario.Scenario)) *Lab {
	t.Helper()
	sc, err := scenario.Load(name, scenario.Vocabulary{Topology: Check})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(sc)
	}
	return startLab(t, sc, Options{})
}

// aClient is an address that nothing of the lab has.
const aClient = "127.0.0.2"

func dialFrom(address string) func(context.Context, string, string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return d.DialContext
}

// ask sends one request over a path to a service that is not behind the router, and returns what the service saw of it.
func ask(t *testing.T, l *Lab, path string, header http.Header) backend.Seen {
	t.Helper()
	c, ok := l.chain(path)
	if !ok {
		t.Fatalf("no path %s", path)
	}
	return askAt(t, l, c, header)
}

func askAt(t *testing.T, l *Lab, c *chain, header http.Header) backend.Seen {
	t.Helper()
	raw, err := dialFrom(aClient)(t.Context(), "tcp", c.address())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{ServerName: c.front().Name, RootCAs: l.pki.outerRoots, NextProtos: []string{"http/1.1"}})
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+c.front().Name+"/app/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var seen backend.Seen
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&seen); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", c.path, resp.Status, err)
	}
	return seen
}

// tunnelTo opens a tunnel of a type to the witness and returns its record.
func tunnelTo(t *testing.T, l *Lab, path, typ string) (net.Conn, witness.Record, error) {
	t.Helper()
	d, err := l.Dialer(path, "echo")
	if err != nil {
		t.Fatal(err)
	}
	d.Upgrade, d.NetDial = typ, dialFrom(aClient)
	conn, err := d.Dial(t.Context())
	if err != nil {
		return nil, witness.Record{}, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	record, err := witness.Ask(conn, witness.Order{Nonce: path + "/" + typ, Do: witness.Echo})
	return conn, record, err
}

// A custom token gets through NLB, HAProxy and ALB without its Connection field, and a router that tolerates that makes a tunnel
// (facts/alb.md section 12, CHAIN-01).
func TestCHAIN_01_CustomTokenReachesTheServiceWithoutConnection(t *testing.T) {
	l := startScenario(t, "chain", nil)
	for _, path := range []string{"chain", "chain-instance"} {
		seen := ask(t, l, path, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"alpn"}})
		if seen.Header.Get("Upgrade") != "alpn" || seen.Header.Get("Connection") != "" {
			t.Errorf("%s: the service saw %v", path, seen.Header)
		}
		// The true client first, HAProxy second: told by a PROXY header or kept as the connection's own address.
		if got := seen.Header.Get("X-Forwarded-For"); got != aClient+", 127.0.0.1" && got != aClient+",127.0.0.1" {
			t.Errorf("%s: X-Forwarded-For %q", path, got)
		}
		for _, typ := range []string{"alpn", "websocket"} {
			_, record, err := tunnelTo(t, l, path, typ)
			if err != nil {
				t.Fatalf("%s, %s: %v", path, typ, err)
			}
			if !strings.HasPrefix(record.Proxy, "PROXY TCP4 "+aClient+" ") {
				t.Errorf("%s, %s: the service behind the router saw %+v", path, typ, record)
			}
		}
	}
}

// The client's address reaches the service behind the router over every path: in a PROXY header, in X-Forwarded-For, or kept as the
// connection's own up to the ALB that puts it there.
func TestTheClientsAddressReachesTheService(t *testing.T) {
	l := startScenario(t, "nlb", nil)
	for path, typ := range map[string]string{"direct": "auto", "nlb-tcp": "auto", "alb-https": "websocket", "nlb-alb": "websocket"} {
		_, record, err := tunnelTo(t, l, path, typ)
		if err != nil || !strings.HasPrefix(record.Proxy, "PROXY TCP4 "+aClient+" ") {
			t.Errorf("%s: the service saw %q, %v", path, record.Proxy, err)
		}
	}
}

// A network load balancer that ends TLS leaves no more of the client's hello than an ALB does, and no less: names and certificate
// come back inside.
func TestTLSEndsAtANetworkLoadBalancer(t *testing.T) {
	l := startScenario(t, "nlb-tls", nil)
	for _, source := range []string{"capture", "tap"} {
		if source == "tap" {
			l.capture = func(context.Context, []capture.Hop, *capture.KeyLog) (*capture.Session, error) {
				return nil, fmt.Errorf("socket: %w", capture.ErrNotPermitted)
			}
		}
		wires, _, err := l.Walk(t.Context(), func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		for _, w := range wires {
			if w.Path != "nlb-tls" {
				continue
			}
			rows++
			if seen := w.SNI != nil; seen == (w.Hop == "nlb->router") || w.ClientCert != (w.Hop == "inner" && w.Route == "mtls") {
				t.Errorf("%s, %s, %s: SNI %v, client certificate %v", source, w.Hop, w.Route, seen, w.ClientCert)
			}
		}
		if rows != 9 {
			t.Errorf("%s: %d rows", source, rows)
		}
	}
}

// In the other order a token that has lost its Connection field makes no tunnel, and websocket does (CHAIN-02). HAProxy 2.6, unlike the
// source that the row goes by, hands the lone Upgrade field on and takes the router's 101 for an error.
func TestCHAIN_02_HAProxyBehindALBMakesNoTunnelOfCustomTokens(t *testing.T) {
	l := startScenario(t, "chain", func(sc *scenario.Scenario) {
		lbs := sc.Topology.LoadBalancers
		lbs["haproxy"].Apps, lbs["alb"].Apps, lbs["alb"].Nodes, lbs["alb"].RotateEvery = lbs["alb"].Apps, nil, 0, 0
		sc.Topology.Chains["alb-haproxy"] = []string{"alb", "haproxy"}
		sc.Topology.Paths = []string{"alb-haproxy"}
	})
	seen := ask(t, l, "alb-haproxy", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"alpn"}})
	if seen.Header.Get("Connection") != "" {
		t.Errorf("behind HAProxy: %v", seen.Header)
	}
	seen = ask(t, l, "alb-haproxy", http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	})
	if seen.Header.Get("Upgrade") != "websocket" {
		t.Errorf("websocket did not survive: %v", seen.Header)
	}
	if _, _, err := tunnelTo(t, l, "alb-haproxy", "alpn"); err == nil {
		t.Error("a tunnel by a custom token")
	} else if refused, ok := errors.AsType[*upgrade.StatusError](err); !ok || refused.Status != http.StatusBadGateway {
		t.Errorf("a custom token: %v", err)
	}
	if _, _, err := tunnelTo(t, l, "alb-haproxy", "websocket"); err != nil {
		t.Errorf("websocket: %v", err)
	}
}

// Of three idle times the ALB's, the smallest, ends a silent tunnel (CHAIN-03).
func TestCHAIN_03_SmallestIdleTimeWins(t *testing.T) {
	l := startScenario(t, "chain", func(sc *scenario.Scenario) {
		sc.Topology.Paths = []string{"chain"}
		sc.Topology.LoadBalancers["alb"].Attributes = map[string]any{idleAttribute: 1}
	})
	conn, _, err := tunnelTo(t, l, "chain", "alpn") // which nobody pings
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := conn.SetReadDeadline(begin.Add(realIdle / 2)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Read(make([]byte, 1))
	if took := time.Since(begin); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || took < 900*time.Millisecond {
		t.Errorf("%v after %v", err, took)
	}
}

// A target that insists on the Connection field, as net/http/httputil does, never sees an upgrade behind an ALB (CHAIN-04).
func TestCHAIN_04_StrictTargetSeesAPlainRequest(t *testing.T) {
	l := startScenario(t, "chain", nil)
	web, err := url.Parse("http://" + l.backend("web").Address)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	strict := &http.Server{
		Handler:           &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(web) }, Transport: transport},
		ReadHeaderTimeout: 10 * time.Second,
	}
	served := make(chan error, 1)
	go func() { served <- strict.Serve(ln) }()
	t.Cleanup(func() {
		if err := strict.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		transport.CloseIdleConnections()
	})
	// The same load balancer with a strict target in the router's place, and without the rule for /app/*.
	l.scenario.Topology.LoadBalancers["alb"].Apps = nil
	l.scenario.Topology.LoadBalancers["alb"].TargetProtocol = scenario.HTTP
	l.scenario.Topology.Chains["strict"] = []string{"alb"}
	c, err := l.buildChain(t.Context(), "strict", behind{address: ln.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if seen := askAt(t, l, c, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"alpn"}}); seen.Header.Get("Upgrade") != "" {
		t.Errorf("behind a strict target: %v", seen.Header)
	}
	seen := askAt(t, l, c, http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	})
	if seen.Header.Get("Upgrade") != "websocket" {
		t.Errorf("websocket behind a strict target: %v", seen.Header)
	}
}

// TestChainIsCountedFromTheWire finds at least four TLS connections on the chain, read off the wire and, where that is not
// permitted, by those who can tell.
func TestChainIsCountedFromTheWire(t *testing.T) {
	for _, source := range []string{"capture", "tap"} {
		t.Run(source, func(t *testing.T) {
			l := startScenario(t, "chain", func(sc *scenario.Scenario) { sc.Routes = sc.Routes[:2] })
			if source == "tap" {
				l.capture = func(context.Context, []capture.Hop, *capture.KeyLog) (*capture.Session, error) {
					return nil, fmt.Errorf("socket: %w", capture.ErrNotPermitted)
				}
			}
			run := result.Run{Topology: l.Topology()}
			var err error
			if run.Wire, run.WireSource, err = l.Walk(t.Context(), func(string) {}); err != nil {
				t.Fatal(err)
			}
			run.CountTLS()
			for i, want := range []int{1, 3, 4, 4, 4} { // direct, alb-https, haproxy-alb, chain, chain-instance
				if got := run.Topology[i]; got.TLSConnections != want {
					t.Errorf("%s: %d TLS connections, want %d", got.Name, got.TLSConnections, want)
				}
			}
			blind := strings.Contains(run.WireSource, "Between products of others nothing can be tapped: nlb->haproxy of chain, nlb-instance->haproxy of chain-instance.")
			if tapped := strings.Contains(run.WireSource, "not captured"); blind != tapped || source == "tap" && !tapped {
				t.Errorf("sentence %q", run.WireSource)
			}
			for _, w := range run.Wire {
				sni := ""
				if w.SNI != nil {
					sni = *w.SNI
				}
				want := map[string]string{"alb->router": "", "haproxy->alb": "alb.example.test"}
				if name, ok := want[w.Hop]; ok && sni != name || !ok && sni != w.Route+".example.test" {
					t.Errorf("%s, %s, %s: SNI %q", w.Path, w.Hop, w.Route, sni)
				}
				if ends := w.Hop == "inner" || w.Hop == "client->router"; w.ClientCert != (ends && w.Route == "mtls") {
					t.Errorf("%s, %s, %s: client certificate %v", w.Path, w.Hop, w.Route, w.ClientCert)
				}
			}
		})
	}
}

// HAProxy asks for the ALB's addresses again and again, so that nodes may go.
func TestRotatedNodesAreResolvedAgain(t *testing.T) {
	l := startScenario(t, "chain", func(sc *scenario.Scenario) {
		sc.Topology.Paths = []string{"alb-https", "haproxy-alb"}
		sc.Topology.LoadBalancers["alb"].RotateEvery = 0
	})
	c, _ := l.chain("haproxy-alb")
	alb := c.nodes[1].alb
	old := alb.addresses(0)
	open, _, err := tunnelTo(t, l, "haproxy-alb", "websocket")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // after which neither of the first two takes connections
		if err := alb.rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if now := alb.addresses(0); slices.ContainsFunc(now, func(a string) bool { return slices.Contains(old, a) }) {
		t.Fatalf("nodes %v, before %v", now, old)
	}
	for _, a := range old { // a node closes its port in its own time
		for end := time.Now().Add(10 * time.Second); ; {
			conn, err := net.DialTimeout("tcp", a, time.Second)
			if err != nil {
				break
			}
			conn.Close()
			if time.Now().After(end) {
				t.Errorf("%s is still there", a)
				break
			}
		}
	}
	for end := time.Now().Add(10 * time.Second); ; {
		_, record, err := tunnelTo(t, l, "haproxy-alb", "websocket")
		if err == nil && record.Witness == "witness" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("over the new nodes: %v", err)
		}
	}
	if alb.dns.Asked() < 2 {
		t.Errorf("the name server was asked %d times", alb.dns.Asked())
	}
	// What was open lives on.
	if _, err := open.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("still here"))
	if err := open.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(open, got); err != nil || string(got) != "still here" {
		t.Errorf("the old tunnel: %q, %v", got, err)
	}
}

// Plaintext HTTP is redirected, by a real product and by the simulator.
func TestPlaintextIsRedirectedToHTTPS(t *testing.T) {
	for name, want := range map[string][2]string{
		"chain":    {"haproxy-http", "https://static.example.test/app/x?y=1"},
		"alb-http": {"alb-http", "https://alb.example.test:443/app/x?y=1"},
	} {
		l := startScenario(t, name, nil)
		address := l.Ready().Addresses[want[0]]
		host := strings.TrimPrefix(want[1], "https://")
		host = host[:strings.IndexAny(host, ":/")]
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET /app/x?y=1 HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusMovedPermanently || got != want[1] {
			t.Errorf("%s: %s to %q, want %q", name, resp.Status, got, want[1])
		}
	}
}
