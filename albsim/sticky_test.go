package albsim

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// namedTarget answers requests with the target's name and those fields, and upgrades with a tunnel that begins with it.
func namedTarget(t *testing.T, name string, fields ...string) *stub {
	s := newStub(t, nil, func(c *client, head string) {
		if has(head, "Upgrade") {
			switching(name, echo)(c, head)
			return
		}
		say(c, "HTTP/1.1 200 OK\r\n"+strings.Join(fields, "")+"Content-Length: 1\r\n\r\n"+name)
	})
	s.unread(t)
	return s
}

// unread drops the heads that a target gets, so that it may get any number.
func (s *stub) unread(t *testing.T) {
	stop := make(chan struct{})
	var dropping sync.WaitGroup
	t.Cleanup(func() {
		close(stop)
		dropping.Wait()
	})
	dropping.Go(func() {
		for {
			select {
			case <-s.heads:
			case <-stop:
				return
			}
		}
	})
}

// sticky is a document with those attributes before targets that are called a, b and c.
func sticky(t *testing.T, attributes map[string]any, fields ...string) Config {
	cfg := plain("")
	g := &cfg.TargetGroups[0]
	g.Targets = nil
	for _, name := range []string{"a", "b", "c"} {
		g.Targets = append(g.Targets, namedTarget(t, name, fields...).addr)
	}
	g.Attributes = map[string]any{"stickiness.enabled": true}
	maps.Copy(g.Attributes, attributes)
	return cfg
}

// visit sends a request with those cookies and returns who answered, and the cookies that it set by name.
func (m *sim) visit(fields ...string) (body string, set map[string]*http.Cookie) {
	m.t.Helper()
	_, head, body := m.request("GET / HTTP/1.1\r\nHost: a\r\n" + strings.Join(fields, "") + "\r\n")
	set = map[string]*http.Cookie{}
	for line := range strings.SplitSeq(head, "\r\n") {
		if v, ok := strings.CutPrefix(line, "Set-Cookie: "); ok {
			c, err := http.ParseSetCookie(v)
			if err != nil {
				m.t.Fatalf("%q: %v", line, err)
			}
			set[c.Name] = c
		}
	}
	return body, set
}

func cookieField(pairs ...string) string { return "Cookie: " + strings.Join(pairs, "; ") + "\r\n" }

func TestALB_TG_02_CookiesOfADuration(t *testing.T) {
	m := start(t, sticky(t, nil), Options{})
	_, set := m.visit()
	one, cors := set["AWSALB"], set["AWSALBCORS"]
	if one == nil || cors == nil || len(set) != 2 {
		t.Fatalf("cookies %v, want AWSALB and AWSALBCORS", set)
	}
	if raw, err := base64.StdEncoding.DecodeString(one.Value); err != nil || len(raw) != 96 || one.Value != cors.Value {
		t.Errorf("values %q and %q (%v), want the same 96 bytes", one.Value, cors.Value, err)
	}
	for _, c := range []*http.Cookie{one, cors} {
		if in := time.Until(c.Expires); in < cookieLife-time.Minute || in > cookieLife || c.MaxAge != 0 || c.Path != "/" {
			t.Errorf("%s: Expires in %v, Max-Age %d, Path %q; want seven days, none, /", c.Name, in, c.MaxAge, c.Path)
		}
	}
	if one.Secure || one.SameSite != 0 || !cors.Secure || cors.SameSite != http.SameSiteNoneMode {
		t.Errorf("%q and %q: only the latter has SameSite=None; Secure", one.Raw, cors.Raw)
	}
}

func TestALB_TG_02_ACookieLeadsBackAndIsMadeAnew(t *testing.T) {
	m := start(t, sticky(t, nil), Options{})
	first, set := m.visit()
	for _, name := range []string{"AWSALB", "AWSALBCORS"} {
		for range 4 {
			body, again := m.visit(cookieField("x=1", name+"="+set["AWSALB"].Value))
			if body != first {
				t.Errorf("%s leads to %s, want %s", name, body, first)
			}
			if again["AWSALB"] == nil || again["AWSALB"].Value == set["AWSALB"].Value {
				t.Errorf("%s: the cookie was not made anew: %v", name, again)
			}
		}
	}
	m.counted(map[string]int64{"NonStickyRequestCount": 1})
}

func TestALB_TG_03_UnreadableAndStaleCookies(t *testing.T) {
	m := start(t, sticky(t, map[string]any{"stickiness.lb_cookie.duration_seconds": 100}), Options{TimeScale: 10})
	other := start(t, sticky(t, nil), Options{})
	_, set := m.visit()
	_, foreign := other.visit()
	id := newTargetID(m.Targets()[0].Address)
	old := func(by time.Duration) string { return m.jar.value("AWSALB t", id, time.Now().Add(-by)) }
	if body, _ := m.visit(cookieField("AWSALB=" + old(990*time.Second))); body != "a" {
		t.Errorf("a cookie within its time leads to %s, want a", body)
	}
	good := set["AWSALB"].Value
	escaped := fmt.Sprintf("%%%02X", good[0]) + good[1:]
	var seen []string
	for _, value := range []string{"", "garbage", "AAAA", foreign["AWSALB"].Value, escaped, old(1000 * time.Second)} {
		body, again := m.visit(cookieField("AWSALB=" + value))
		seen = append(seen, body)
		if again["AWSALB"] == nil || again["AWSALB"].Value == value {
			t.Errorf("%.12q: no new cookie: %v", value, again)
		}
	}
	if want := []string{"b", "c", "a", "b", "c", "a"}; !slices.Equal(seen, want) {
		t.Errorf("targets %v, want %v: each a new choice", seen, want)
	}
	m.counted(map[string]int64{"NonStickyRequestCount": 7})
}

func TestALB_TG_03_ACookieOfATargetThatHasLeft(t *testing.T) {
	m := start(t, sticky(t, nil), Options{})
	_, set := m.visit()
	m.deregister(m.Targets()[0].Address)
	body, again := m.visit(cookieField("AWSALB=" + set["AWSALB"].Value))
	if body == "a" || again["AWSALB"] == nil {
		t.Fatalf("%s answered and set %v, want another target and its cookie", body, again)
	}
	if next, _ := m.visit(cookieField("AWSALB=" + again["AWSALB"].Value)); next != body {
		t.Errorf("the new cookie leads to %s, want %s", next, body)
	}
}

func TestAWebSocketStaysWithTheTargetThatSentThe101(t *testing.T) {
	m := start(t, sticky(t, nil), Options{})
	first, set := m.visit()
	c := m.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + cookieField("AWSALB="+set["AWSALB"].Value) + "\r\n")
	if head := c.head(); !has(head, "Set-Cookie") {
		t.Errorf("no cookie beside the 101: %q", head)
	}
	c.expect(first)
	m.deregister(m.Targets()[0].Address)
	c.send("still here")
	c.expect("still here")
}

func TestStickinessOfAnApplicationsCookie(t *testing.T) {
	app := map[string]any{"stickiness.type": "app_cookie", "stickiness.app_cookie.cookie_name": "SID"}
	m := start(t, sticky(t, app), Options{})
	_, set := m.visit()
	for _, name := range []string{"AWSALBAPP-0", "AWSALBAPP-1", "AWSALBAPP-2", "AWSALBAPP-3"} {
		if set[name] == nil || set[name].Value != removed {
			t.Errorf("%s is %v without the application's cookie, want %s", name, set[name], removed)
		}
	}

	m = start(t, sticky(t, app, "Set-Cookie: SID=1; Path=/app\r\n"), Options{})
	first, set := m.visit()
	one := set["AWSALBAPP-0"]
	if one == nil || one.Value == removed || one.Path != "/" || one.Secure || set["AWSALBAPP-1"].Value != removed || set["SID"] == nil {
		t.Fatalf("cookies %v", set)
	}
	for range 3 {
		if body, again := m.visit(cookieField("SID=1", "AWSALBAPP-0="+one.Value)); body != first || again["AWSALBAPP-0"].Value == one.Value {
			t.Errorf("%s answered and set %v, want %s and a new cookie", body, again["AWSALBAPP-0"], first)
		}
	}
	var others []string
	for range 3 { // AWSALBAPP alone does not do
		body, _ := m.visit(cookieField("AWSALBAPP-0=" + one.Value))
		others = append(others, body)
	}
	if slices.Sort(others); !slices.Equal(others, []string{"a", "b", "c"}) {
		t.Errorf("without the application's cookie %v answered, want each once", others)
	}
	for agent, secure := range map[string]bool{"Mozilla/5.0 Chrome/79.0.1": false, "Mozilla/5.0 Chrome/80.0.1": true, "curl/8": false} {
		_, set := m.visit("User-Agent: " + agent + "\r\n")
		if c := set["AWSALBAPP-0"]; c == nil || c.Secure != secure || (c.SameSite == http.SameSiteNoneMode) != secure {
			t.Errorf("%s: %v, want SameSite=None; Secure %v", agent, c, secure)
		}
	}
}

// weighted is a document whose default spreads over groups a and b by those weights.
func weighted(t *testing.T, a, b int, stick TargetGroupStickiness) Config {
	cfg := plain("")
	cfg.TargetGroups = []TargetGroup{
		{Name: "a", Protocol: "HTTP", Targets: []string{namedTarget(t, "a").addr}},
		{Name: "b", Protocol: "HTTP", Targets: []string{namedTarget(t, "b").addr}},
	}
	cfg.Listeners[0].Default = Default{Actions: []Action{{
		Type: "forward", TargetGroups: []WeightedTarget{{"a", a}, {"b", b}}, TargetGroupStickiness: stick,
	}}}
	return cfg
}

func TestALB_RULE_05_WeightsSpreadRequests(t *testing.T) {
	m := start(t, weighted(t, 300, 100, TargetGroupStickiness{}), Options{})
	c, toA := m.dial(), 0
	for range 1000 {
		c.send(plainGet)
		if _, head, body := c.response(); body == "a" {
			toA++
		} else if has(head, "Set-Cookie") {
			t.Fatalf("a cookie without stickiness: %q", head)
		}
	}
	// 750 with a deviation of 14; six of them happen once in 500 million runs.
	if toA < 666 || toA > 834 {
		t.Errorf("%d of 1000 went to a, want about 750", toA)
	}

	for _, c := range []struct {
		a, b int
		want string
	}{{1, 0, "a"}, {0, 999, "b"}} {
		m := start(t, weighted(t, c.a, c.b, TargetGroupStickiness{}), Options{})
		for range 20 {
			if body, _ := m.visit(); body != c.want {
				t.Errorf("weights %d and %d: %s answered", c.a, c.b, body)
			}
		}
	}
}

func TestALB_RULE_05_AWSALBTGKeepsTheGroup(t *testing.T) {
	m := start(t, weighted(t, 1, 1, TargetGroupStickiness{Enabled: true, DurationSeconds: 60}), Options{})
	first, set := m.visit()
	one, cors := set["AWSALBTG"], set["AWSALBTGCORS"]
	if len(set) != 2 || one == nil || cors == nil || one.Value != cors.Value || one.Secure || !cors.Secure ||
		cors.SameSite != http.SameSiteNoneMode || time.Until(one.Expires) > cookieLife {
		t.Fatalf("cookies %v", set)
	}
	for _, name := range []string{"AWSALBTG", "AWSALBTGCORS"} {
		for range 20 { // by chance alone once in a million runs
			if body, _ := m.visit(cookieField(name + "=" + one.Value)); body != first {
				t.Fatalf("%s leads to %s, want %s", name, body, first)
			}
		}
	}
}

func TestStickinessThatAWSRefuses(t *testing.T) {
	for path, cfg := range map[string]Config{
		"listeners[0].default.actions[0].target_group_stickiness_config.duration_seconds": weighted(t, 1, 1, TargetGroupStickiness{Enabled: true}),
		"listeners[0].default.actions[0].target_group_stickiness_config.enabled": func() Config {
			cfg := weighted(t, 1, 1, TargetGroupStickiness{})
			cfg.TargetGroups[1].Attributes = map[string]any{"stickiness.enabled": true}
			return cfg
		}(),
		"target_groups[0].attributes[stickiness.app_cookie.cookie_name]": sticky(t, map[string]any{"stickiness.type": "app_cookie"}),
		"target_groups[0].attributes[stickiness.type]":                   sticky(t, map[string]any{"stickiness.type": "source_ip"}),
	} {
		_, err := New(cfg, Options{})
		if faults, ok := errors.AsType[Faults](err); !ok || len(faults) != 1 || faults[0].Path != path {
			t.Errorf("error %v, want one at %s", err, path)
		}
	}
}
