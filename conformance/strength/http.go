package strength

import (
	"io"
	"net"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// exchange carries one request and its answer, and then bytes both ways, with faults in each. nil changes nothing.
type exchange struct {
	request  func(head string) string
	response func(request, head string) string
	// loseRequests and loseAnswers forget what came in one read with the header, behind it.
	loseRequests, loseAnswers bool
	// up and down are for what follows a 101.
	up, down func(typ string) Copy
}

func (e exchange) handler() Handler { return e.carry }

func (e exchange) carry(c net.Conn, dial func() net.Conn) {
	b := dial()
	if b == nil {
		_ = netx.Reset(c)
		return
	}
	defer b.Close()
	request, behind, err := wire.ReadHead(c)
	if err != nil {
		if _, werr := b.Write(behind); werr == nil && ended(err) == nil { // what is no whole request
			_ = netx.CloseWrite(b)
			_, _ = io.Copy(c, b)
		}
		return
	}
	sent := request
	if e.request != nil {
		sent = e.request(request)
	}
	if e.loseRequests {
		behind = nil
	}
	if _, err := b.Write(append([]byte(sent), behind...)); err != nil {
		return
	}
	answer, rest, err := wire.ReadHead(b)
	if err != nil {
		_, _ = c.Write(rest)
		return
	}
	switched := strings.HasPrefix(answer, "HTTP/1.1 101 ")
	if e.response != nil {
		answer = e.response(request, answer)
	}
	if e.loseAnswers && len(rest) == 0 && len(behind) > 0 && switched {
		rest = next(b) // an answer to what came behind the request: on loopback it may come apart from the 101
	}
	if e.loseAnswers {
		rest = nil
	}
	if _, err := io.WriteString(c, answer); err != nil {
		return
	}
	b = wire.WithPrefix(b, rest)
	var up, down Copy
	if typ := strings.ToLower(wire.Field(request, "Upgrade")); switched && e.up != nil {
		up = e.up(typ)
	}
	if typ := strings.ToLower(wire.Field(request, "Upgrade")); switched && e.down != nil {
		down = e.down(typ)
	}
	join(c, b, up, down)
}

// next reads once, if something comes soon.
func next(b net.Conn) []byte {
	_ = b.SetReadDeadline(time.Now().Add(soon))
	buf := make([]byte, 4096)
	n, _ := b.Read(buf) // an end is met again
	_ = b.SetReadDeadline(time.Time{})
	return buf[:n]
}

// soon is far above what a target on this machine needs for an answer, and below the wait of a check.
const soon = 500 * time.Millisecond

func onRequest(change func(head string) string) func() Handler {
	return exchange{request: change}.handler
}

func onAnswer(change func(request, head string) string) func() Handler {
	return exchange{response: change}.handler
}

// custom says whether a request asks for an upgrade that is no WebSocket: what knows of WebSocket only is the most common fault of
// load balancers, and lets the sanity of a path pass.
func custom(request string) bool {
	typ := wire.Field(request, "Upgrade")
	return typ != "" && !strings.EqualFold(typ, wire.WebSocket)
}

func ok200(request, head string) string {
	if _, fields, ok := strings.Cut(head, "\r\n"); ok && custom(request) && strings.HasPrefix(head, "HTTP/1.1 101 ") {
		return "HTTP/1.1 200 OK\r\n" + fields
	}
	return head
}

func stripRequest(head string) string {
	if custom(head) {
		return wire.Without(wire.Without(head, "Upgrade"), "Connection")
	}
	return head
}

func stripAnswer(field string) func(request, head string) string {
	return func(_, head string) string {
		if strings.HasPrefix(head, "HTTP/1.1 101 ") {
			return wire.Without(head, field)
		}
		return head
	}
}

// stripUpgrade leaves that of WebSocket, without which nobody would come as far as a check.
func stripUpgrade(request, head string) string {
	if custom(request) {
		return wire.Without(head, "Upgrade")
	}
	return head
}

func staleAccept(_, head string) string {
	if wire.Field(head, "Sec-WebSocket-Accept") == "" {
		return head
	}
	return wire.With(wire.Without(head, "Sec-WebSocket-Accept"), "Sec-WebSocket-Accept: "+wire.AcceptFor(wire.Key))
}

// repair makes a good upgrade request of a bad one.
func repair(field, line string) func(head string) string {
	return func(head string) string {
		if wire.Field(head, "Upgrade") == "" {
			return head
		}
		return wire.With(wire.Without(head, field), line)
	}
}

func repairVersion(head string) string {
	return strings.Replace(head, " HTTP/1.0\r\n", " HTTP/1.1\r\n", 1)
}

func repairNames(head string) string { return strings.NewReplacer(" :", ":", "\t:", ":").Replace(head) }

func firstHost(head string) string {
	if host := wire.Field(head, "Host"); host != "" {
		return wire.With(wire.Without(head, "Host"), "Host: "+host)
	}
	return head
}

func firstToken(head string) string {
	if list := wire.Field(head, "Upgrade"); strings.Contains(list, ",") {
		token, _, _ := strings.Cut(list, ",")
		return wire.With(wire.Without(head, "Upgrade"), "Upgrade: "+token)
	}
	return head
}

var httpFaults = []Fault{
	{
		Name: "101-is-200", About: "answers 200 in place of 101 to an upgrade that is no WebSocket",
		Layer: HTTP, New: onAnswer(ok200),
		Checks: []string{"TUN-02", "UPG-01", "UPG-24"},
	},
	{
		Name: "101-without-connection", About: "strips Connection of the 101",
		Layer: HTTP, New: onAnswer(stripAnswer("Connection")),
		Checks: []string{"UPG-01", "UPG-24"},
	},
	{
		Name: "101-without-upgrade", About: "strips Upgrade of a 101 that is to no WebSocket",
		Layer: HTTP, New: onAnswer(stripUpgrade),
		Checks: []string{"TUN-02", "UPG-01", "UPG-24"},
	},
	{
		Name: "upgrade-stripped", About: "strips Connection and Upgrade of a request that is for no WebSocket",
		Layer: HTTP, New: onRequest(stripRequest),
		Checks: []string{"UPG-01", "UPG-03", "UPG-24"},
	},
	{
		Name: "behind-101-lost", About: "loses what comes in one segment with the 101, behind it",
		Layer: HTTP, New: exchange{loseAnswers: true}.handler,
		Checks: []string{"TUN-02", "UPG-08"},
	},
	{
		Name: "behind-request-lost", About: "loses what comes in one segment with the request, behind it",
		Layer: HTTP, New: exchange{loseRequests: true}.handler,
		Checks: []string{"TUN-02", "UPG-08"},
	},
	{
		Name: "accept-from-cache", About: "answers every Sec-WebSocket-Key with the same Sec-WebSocket-Accept",
		Layer: HTTP, New: onAnswer(staleAccept),
		Checks: []string{"UPG-16"},
	},
	{
		Name: "connection-repaired", About: "puts Connection: Upgrade into requests with an Upgrade",
		Layer: HTTP, New: onRequest(repair("Connection", "Connection: Upgrade")),
		Checks: []string{"UPG-05"},
	},
	{
		Name: "ws-version-repaired", About: "puts Sec-WebSocket-Version: 13 into requests with an Upgrade",
		Layer: HTTP, New: onRequest(repair("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13")),
		Checks: []string{"UPG-15"},
	},
	{
		Name: "ws-key-repaired", About: "puts a good Sec-WebSocket-Key into requests with an Upgrade",
		Layer: HTTP, New: onRequest(repair("Sec-WebSocket-Key", "Sec-WebSocket-Key: "+wire.Key)),
		Checks: []string{"UPG-15", "UPG-16"},
	},
	{
		Name: "http10-repaired", About: "turns requests of HTTP/1.0 into ones of HTTP/1.1",
		Layer: HTTP, New: onRequest(repairVersion),
		Checks: []string{"UPG-06"},
	},
	{
		Name: "names-repaired", About: "takes space before a colon away",
		Layer: HTTP, New: onRequest(repairNames),
		Checks: []string{"UPG-10"},
	},
	{
		Name: "first-host", About: "passes the first of two Host lines only",
		Layer: HTTP, New: onRequest(firstHost),
		Checks: []string{"UPG-09"},
	},
	{
		Name: "first-token", About: "passes the first of a list of upgrades only",
		Layer: HTTP, New: onRequest(firstToken),
		Checks: []string{"UPG-03"},
	},
}
