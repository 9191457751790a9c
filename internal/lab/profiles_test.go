package lab

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// TestOurClientMeetsEveryProfile has the client's probe say what each load balancer does to ALPN and which upgrades cross, and
// opens a tunnel through it. An upgrade that does not cross is told with the status that came back: a balancer that drops
// Upgrade alone leaves X-Teleport-Upgrade, by which the router answers 101, which the balancer did not ask for (502).
func TestOurClientMeetsEveryProfile(t *testing.T) {
	const all = "websocket 101, alpn-ping 101, alpn 101"
	only := func(status int) string {
		return fmt.Sprintf("websocket 101, alpn-ping %d, alpn %d", status, status)
	}
	expected := map[string]struct{ class, upgrades string }{
		"alpn-alert":          {"terminated", all},
		"alpn-echo":           {"terminated", all},
		"alpn-forced-http1":   {"terminated", all},
		"aws-alb":             {"terminated", all},
		"azure-appgw":         {"terminated", only(502)},
		"caddy":               {"terminated", all},
		"cloudflare":          {"terminated", only(502)},
		"cloudfront":          {"terminated", only(502)},
		"envoy":               {"terminated", only(403)},
		"eof-on-unknown-alpn": {"broken", all},
		"gcp-l7":              {"terminated", only(400)},
		"haproxy":             {"terminated", all},
		"header-scrubber":     {"terminated", only(426)},
		"hostile":             {"broken", only(403)},
		"nginx":               {"terminated", all},
		"traefik":             {"terminated", all},
		"waf-single-token":    {"terminated", all},
		"websocket-only":      {"terminated", only(502)},
		"ws-merging":          {"terminated", only(502)},
		"ws-refragmenting":    {"terminated", only(502)},
	}
	for _, name := range albsim.Profiles() {
		want, ok := expected[name]
		if strings.HasPrefix(name, "aws-nlb-") {
			continue // a network load balancer is no path of this topology
		}
		if !ok {
			t.Errorf("nothing is expected of profile %s", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			l := startText(t, strings.Replace(small, "load_balancer: {}", "load_balancer: {profile: "+name+"}", 1), Options{})
			d, err := l.Dialer("alb-https", "echo")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			prober := *d
			prober.Types = nil
			found, err := prober.Probe(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var upgrades []string
			for _, u := range found.Upgrades {
				upgrades = append(upgrades, fmt.Sprintf("%s %d", u.Type, u.Status))
				if u.Crosses != (u.Status == 101) {
					t.Errorf("%s: crosses %v, %s", u.Type, u.Crosses, u.Reason)
				}
			}
			if got := strings.Join(upgrades, ", "); string(found.Class) != want.class || got != want.upgrades {
				t.Errorf("probe: %s, %s; want %s, %s", found.Class, got, want.class, want.upgrades)
			}

			conn, err := d.Dial(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			if got := conn.Info(); got.Upgrade != "websocket" || got.Negotiated != "tlsroute-echo" {
				t.Errorf("dialled %+v", got)
			}
			if _, err := witness.Ask(conn, witness.Order{Nonce: "x", Do: witness.Echo}); err != nil {
				t.Fatal(err)
			}
			sent := slices.Repeat([]byte("0123456789abcdef"), 4096)
			written := make(chan error, 1)
			go func() {
				_, err := conn.Write(sent)
				written <- err
			}()
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(conn, got); err != nil || !slices.Equal(got, sent) {
				t.Errorf("the echo is not what was sent: %v", err)
			}
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
	}
}
