package lab

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// mysqlIdle has sessions idle for longer than the load balancer allows. Those whose tunnel is pinged live on; one on a raw tunnel, where
// nothing can be, dies, and its end is the sign that the others have been idle for that long: it fell silent last.
func mysqlIdle(t *testing.T, l mysqlLab) {
	by := func(upgrade string) *client.Dialer {
		d := l.dialer(t, "hasty", "db")
		d.Upgrade = upgrade
		return d
	}
	kept := map[string]mysqlSession{}
	for _, upgrade := range []string{"websocket", "alpn-ping"} {
		kept[upgrade+", tunnel"] = session(t, l.config(t, "db", by(upgrade)))
		kept[upgrade+", local port"] = session(t, startProxy(t, by(upgrade)).mysqlConfig(l.config(t, "db", nil)))
	}
	proxied := startProxy(t, by("alpn"))
	behindProxy := session(t, proxied.mysqlConfig(l.config(t, "db", nil)))
	raw := session(t, l.config(t, "db", by("alpn")))
	ids := map[string]string{}
	for name, s := range kept { // the last word that they say
		ids[name] = s.value(t, "SELECT CONNECTION_ID()")
	}
	behindID, id := behindProxy.value(t, "SELECT CONNECTION_ID()"), raw.value(t, "SELECT CONNECTION_ID()")

	// A statement that takes longer than the load balancer allows is as silent as none. It must end with an error, and not with half an answer.
	var v int
	err := raw.QueryRowContext(t.Context(), "SELECT SLEEP(300)").Scan(&v)
	if !errors.Is(err, mysql.ErrInvalidConn) {
		t.Errorf("a silent statement on the raw tunnel: %v", err)
	}
	waitUntil(t, "the local proxy to say that the route was cut", func() bool { return strings.Contains(proxied.lines(), "the route cut the connection off") })
	if err := behindProxy.PingContext(t.Context()); err == nil {
		t.Error("the raw tunnel behind the local port outlived the idle timeout")
	}
	for name, s := range kept {
		if got := s.value(t, "SELECT CONNECTION_ID()"); got != ids[name] {
			t.Errorf("%s: after the idle time session %s answers for %s", name, got, ids[name])
		}
	}
	// The server has not kept the sessions of clients that are gone.
	watcher := kept["websocket, tunnel"]
	waitUntil(t, "the server to end the sessions", func() bool {
		return watcher.value(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID IN (?, ?)", id, behindID) == "0"
	})
}
