package albsim

import (
	"strings"
	"testing"
)

func TestRedirectOver8KIs507(t *testing.T) {
	m := start(t, ruled([]Rule{{
		Priority: 1, Conditions: onPath("/*"), Actions: []Action{{Type: "redirect", StatusCode: 301, Protocol: "HTTPS", Port: "443"}},
	}}), Options{})
	const before = len("https://a:443/")
	for i, c := range []struct {
		length         int
		status, logged string
	}{{8 << 10, "301", "https://a:443/" + strings.Repeat("p", 8<<10-before)}, {8<<10 + 1, "507", "-"}} {
		_, head, body := m.request("GET /" + strings.Repeat("p", c.length-before) + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 "+c.status+" ") || has(head, "Location") != (c.status == "301") {
			t.Errorf("%d bytes: %.60q", c.length, head)
		}
		if c.status == "507" && !strings.Contains(body, "507 Insufficient Storage") {
			t.Errorf("the page is %q", body)
		}
		if line := quoted(m.logLines(i + 1)[i]); line[logStatus] != c.status || line[logActions] != "redirect" || line[23] != c.logged {
			t.Errorf("%d bytes: logged %.200q", c.length, line)
		}
	}
	m.counted(map[string]int64{"HTTP_Redirect_Count": 1, "HTTP_Redirect_Url_Limit_Exceeded_Count": 1})
}
