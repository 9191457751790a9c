package router

import (
	"bufio"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTheSourceOfATunnelIsTheRightmostUntrusted goes from a chain of hops into a tunnel, to the backend and into the log.
func TestTheSourceOfATunnelIsTheRightmostUntrusted(t *testing.T) {
	got := make(chan string, 1)
	back := serveBackend(t, func(conn net.Conn) {
		line, _ := bufio.NewReader(conn).ReadString('\n')
		got <- line
		pureEcho(conn)
	})
	r := echoRoute(back.addr)
	r.Backend.SendProxy = ProxyV1
	for _, test := range []struct {
		name, trusted string // in addition to 127.0.0.0/8
		proxy         string // a PROXY header before the request, "" = none
		fields        []string
		want          string
	}{
		{"none", "", "", nil, "127.0.0.1:"},
		{"one", "", "", []string{"198.51.100.7"}, "198.51.100.7:0"},
		{"a port, as an ALB adds it", "", "", []string{"198.51.100.7:4711"}, "198.51.100.7:0"},
		{"forged on the left, in a field of its own", "", "", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7:0"},
		{"forged as a trusted hop", "10.0.0.0/8", "", []string{"10.1.1.1, 198.51.100.7"}, "198.51.100.7:0"},
		{"a chain in two fields", "10.0.0.0/8", "", []string{"203.0.113.9, 198.51.100.7, 10.1.1.1", "10.2.2.2"}, "198.51.100.7:0"},
		{"a chain with a stranger in it", "10.0.0.0/8", "", []string{"203.0.113.9, 192.0.2.1, 10.2.2.2"}, "192.0.2.1:0"},
		{"IPv6", "", "", []string{"2001:db8::7"}, "[2001:db8::7]:0"},
		{"IPv6 in brackets with a port", "", "", []string{"[2001:db8::7]:4711"}, "[2001:db8::7]:0"},
		{"no address", "", "", []string{"198.51.100.7, unknown"}, "127.0.0.1:"},
		{"PROXY says who the hop is, and it is trusted", "10.0.0.0/8", "PROXY TCP4 10.3.3.3 10.0.0.1 5 443\r\n", []string{"198.51.100.7"}, "198.51.100.7:0"},
		{"PROXY says who the hop is, and it is not", "", "PROXY TCP4 192.0.2.1 10.0.0.1 5 443\r\n", []string{"198.51.100.7"}, "192.0.2.1:5"},
		{"PROXY of the hop itself", "", "PROXY UNKNOWN\r\n", []string{"198.51.100.7"}, "198.51.100.7:0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := Config{Routes: []Route{r}, ForwardedFor: ForwardedFor{Trusted: []string{"127.0.0.0/8"}}}
			if test.trusted != "" {
				config.ForwardedFor.Trusted = append(config.ForwardedFor.Trusted, test.trusted)
			}
			if test.proxy != "" {
				config.ProxyProtocol = ProxyProtocol{Mode: "required", Trusted: []string{"127.0.0.0/8"}}
			}
			b := startRouter(t, config)
			var fields strings.Builder
			for _, f := range test.fields {
				fields.WriteString("X-Forwarded-For: " + f + "\r\n")
			}
			request := test.proxy + strings.Replace(upgradeRequest, "Host:", fields.String()+"Host:", 1)
			conn := secure(t, &gluedConn{Conn: b.tcp(t), before: request}, b.clientConfig("echo.routes.example.test", "echo"))
			if e := <-b.hellos; !strings.HasPrefix(e.Source.String(), test.want) || !e.Tunnel {
				t.Errorf("the tunnel's hello: %+v, want source %s", e, test.want)
			}
			host, _, err := net.SplitHostPort(test.want + "0")
			if line := <-got; err != nil || !strings.Contains(line, " "+host+" ") {
				t.Errorf("the backend read %q, want %s", line, host)
			}
			conn.Close()
			if line := b.log.wait(t, "msg=connection"); !strings.Contains(line, "source="+test.want) &&
				!strings.Contains(line, `source="`+test.want) {
				t.Errorf("logged %q, want source %s", line, test.want)
			}
		})
	}
}

// TestOneLineAConnectionSaysEverything is what an operator's queries rely on: the keys, their types and their meaning.
func TestOneLineAConnectionSaysEverything(t *testing.T) {
	back := echoBackend(t, "echo")
	lines := &logLines{news: make(chan struct{}, 1)}
	b := startRouter(t, Config{Routes: []Route{echoRoute(back.addr)}}, func(o *Options) {
		o.Logger = slog.New(slog.NewJSONHandler(lines, nil))
	})
	tcp := b.tcp(t)
	outer := secure(t, tcp, b.clientConfig(ownName))
	conn := secure(t, b.upgrade(t, outer, "websocket"), b.clientConfig("echo.routes.example.test", "echo"))
	readLine(t, conn)
	roundTrip(t, conn, "hello")
	conn.Close()

	var got map[string]any
	if err := json.Unmarshal([]byte(lines.wait(t, `"connection"`)), &got); err != nil {
		t.Fatal(err)
	}
	if took, ok := got["dur"].(float64); !ok || took <= 0 {
		t.Errorf("dur is %v", got["dur"])
	}
	delete(got, "dur")
	delete(got, "time")
	want := map[string]any{
		"level": "INFO", "msg": "connection", "conn_id": 1.0, "sni": "echo.routes.example.test", "alpn": "echo", "route": "echo",
		"upgrade": "websocket", "source": tcp.LocalAddr().String(), "in": 6.0, "out": 11.0, "outcome": "joined", "cause": "eof",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	lines.mu.Lock()
	defer lines.mu.Unlock()
	if n := strings.Count(lines.text.String(), "\n"); n != 1 {
		t.Errorf("%d lines for one connection:\n%s", n, lines.text.String())
	}
}
