package selftest

import (
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// sends rewrites requests before the simulator, gets after it; says rewrites its answers, and told those of the target.
func sends(change func(head string) string) func(t *testing.T) conformance.Target {
	return before(rewrite(change))
}

func gets(change func(head string) string) func(t *testing.T) conformance.Target {
	return after(rewrite(change))
}

func says(change func(request, head string) string) func(t *testing.T) conformance.Target {
	return before(answer(change))
}

func told(change func(request, head string) string) func(t *testing.T) conformance.Target {
	return after(answer(change))
}

// refuses is a hop that answers some requests itself.
func refuses(status string, bad func(head string) bool) func(t *testing.T) conformance.Target {
	return before(front{request: func(head string) (string, string) {
		if bad(head) {
			return head, "HTTP/1.1 " + status + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
		}
		return head, ""
	}})
}

// status replaces the status of answers.
func status(from, to string) func(request, head string) string {
	return func(_, head string) string { return strings.Replace(head, "HTTP/1.1 "+from, "HTTP/1.1 "+to, 1) }
}

func dropping(name string) func(head string) string {
	return func(head string) string { return without(head, name) }
}

// shortened halves the letters that the checks fill up with, where there are more than the controls have.
func shortened(head string) string {
	for letter, most := range map[string]int{"q": 9_000, "v": 13_000} {
		if many := strings.Repeat(letter, most); strings.Contains(head, many) {
			head = strings.Replace(head, many, "", 1)
		}
	}
	return head
}

func init() {
	right = append(right, conforming{
		name: "lb in the clear", role: conformance.LoadBalancer, target: hops{before: spoils(front{}), behind: spoils(front{})}.target,
		only: []string{
			"ALB-DES-*", "ALB-ERR-0[1-6]", "ALB-HDR-0[1-9]", "ALB-HDR-11", "ALB-HDR-13", "ALB-IDLE-0[1356]", "ALB-KA-03", "ALB-LIM-0[13]", "ALB-MTLS-09", "ALB-UPG-*",
		},
	}, conforming{
		name: "lb before a hop", role: conformance.LoadBalancer, only: []string{"ALB-HDR-10"}, target: hops{tls: true, behind: spoils(front{})}.target,
	})

	addMutant("ALB-HDR-01", "keeps what the client sent and adds nothing", attribute("routing.http.xff_header_processing.mode", "preserve"))
	addMutant("ALB-HDR-01", "removes it", attribute("routing.http.xff_header_processing.mode", "remove"))
	addMutant("ALB-HDR-01", "replaces it", gets(func(head string) string {
		list := field(head, "X-Forwarded-For")
		return with(without(head, "X-Forwarded-For"), "X-Forwarded-For: "+list[strings.LastIndexByte(list, ' ')+1:])
	}))
	addMutant("ALB-HDR-01", "believes the client", gets(func(head string) string {
		if at := strings.LastIndexByte(field(head, "X-Forwarded-For"), ','); at > 0 {
			return with(without(head, "X-Forwarded-For"), "X-Forwarded-For: "+field(head, "X-Forwarded-For")[:at])
		}
		return head
	}))
	addMutant("ALB-HDR-03", "cuts the list", sends(func(head string) string { return strings.Replace(head, "192.0.2.31", "", 1) }))
	addMutant("ALB-HDR-05", "has no trace", gets(dropping("X-Amzn-Trace-Id")))
	addMutant("ALB-HDR-05", "does not add itself", gets(func(head string) string {
		return regexp.MustCompile(`Self=[^;]*;`).ReplaceAllString(head, "")
	}))
	addMutant("ALB-HDR-05", "begins anew each time", sends(dropping("X-Amzn-Trace-Id")))
	addMutant("ALB-HDR-06", "leaves Host as it is", attribute("routing.http.preserve_host_header.enabled", true))
	addMutant("ALB-HDR-08", "drops odd names", attribute("routing.http.drop_invalid_header_fields.enabled", true))
	addMutant("ALB-HDR-08", "makes hyphens of underscores", gets(func(head string) string { return strings.Replace(head, "X_Trb_Underscore", "X-Trb-Underscore", 1) }))
	addMutant("ALB-HDR-09", "leaves it to the target", sends(dropping("Expect")))
	addMutant("ALB-HDR-09", "passes it on all the same", gets(func(head string) string {
		if strings.HasPrefix(head, "POST ") {
			return with(head, "Expect: 100-continue")
		}
		return head
	}))
	addMutant("ALB-HDR-10", "gives names capitals", hops{tls: true, behind: spoils(rewrite(func(head string) string {
		return strings.Replace(head, "x-custom:", "X-Custom:", 1)
	}))}.target)
	addMutant("ALB-HDR-10", "has its own names in lower case", hops{tls: true, behind: spoils(rewrite(func(head string) string {
		return strings.Replace(head, "X-Forwarded-For:", "x-forwarded-for:", 1)
	}))}.target)
	addMutant("ALB-HDR-10", "loses a field", hops{tls: true, behind: spoils(rewrite(dropping("user-agent")))}.target)
	addMutant("ALB-HDR-11", "unfolds", sends(func(head string) string { return strings.Replace(head, "\r\n two", " two", 1) }))
	addMutant("ALB-HDR-11", "passes it as it is", gets(func(head string) string {
		return regexp.MustCompile(`(\r\n two-[^\r]*):`).ReplaceAllString(head, "$1")
	}))
	addMutant("ALB-HDR-11", "drops the line", sends(func(head string) string { return regexp.MustCompile(`\r\n two-[^\r]*`).ReplaceAllString(head, "") }))
	addMutant("ALB-HDR-11", "refuses it", refuses("400 Bad Request", func(head string) bool { return strings.Contains(head, "\r\n two-") }))
	addMutant("ALB-HDR-13", "passes none", gets(func(head string) string { return without(head, "Host") }))
	addMutant("ALB-MTLS-09", "passes them on", gets(func(head string) string { return with(head, "X-Amzn-Mtls-Clientcert: CN=forged") }))
	addMutant("ALB-MTLS-09", "passes them on (naive)", balancerWith(balancerBugs{}))

	addMutant("ALB-LIM-01", "answers 431", refuses("431 Request Header Fields Too Large", func(head string) bool { return strings.Contains(head, strings.Repeat("q", 9000)) }))
	addMutant("ALB-LIM-01", "cuts the line", sends(shortened))
	addMutant("ALB-LIM-02", "answers 431", refuses("431 Request Header Fields Too Large", func(head string) bool { return strings.Contains(head, strings.Repeat("v", 13000)) }))
	addMutant("ALB-LIM-02", "cuts the field", sends(shortened))
	addMutant("ALB-LIM-03", "cuts the answer", told(func(_, head string) string {
		if len(head) > 32<<10 {
			return without(head, "X-Trb-Large-1")
		}
		return head
	}))

	addMutant("ALB-ERR-01", "has a name of its own", profile("alpn-alert"))
	addMutant("ALB-ERR-01", "has nginx's page", profile("nginx"))
	addMutant("ALB-ERR-05", "answers 503", says(status("502", "503")))
	addMutant("ALB-ERR-05", "leaves the client without an answer", balancerWith(balancerBugs{}))
	addMutant("ALB-ERR-06", "drops the coding", sends(func(head string) string { return strings.Replace(head, "Transfer-Encoding: gzip\r\n", "", 1) }))
	addMutant("ALB-ERR-06", "takes TRACE for GET", sends(func(head string) string { return strings.Replace(head, "TRACE ", "GET ", 1) }))
	addMutant("ALB-ERR-06", "answers TRACE with 501", says(status("405", "501")))
	addMutant("ALB-ERR-10", "looks at the dates", balancerWith(balancerBugs{expiry: true}))
	addMutant("ALB-ERR-12", "leaves the client without an answer", balancerWith(balancerBugs{}))

	addMutant("ALB-DES-01", "routes whatever can be routed", attribute("routing.http.desync_mitigation_mode", "monitor"))
	addMutant("ALB-DES-01", "refuses what is not perfect", attribute("routing.http.desync_mitigation_mode", "strictest"))
	addMutant("ALB-DES-02", "keeps the connections", attribute("routing.http.desync_mitigation_mode", "monitor"))
	addMutant("ALB-DES-02", "refuses what is not perfect", attribute("routing.http.desync_mitigation_mode", "strictest"))
	addMutant("ALB-DES-02", "keeps the client's connection", hops{
		change: func(c *albsim.Config) { c.Attributes["routing.http.desync_mitigation_mode"] = "monitor" },
		behind: endsBehindAnswers,
	}.target)
	addMutant("ALB-KA-03", "does not heed the target's close", hops{behind: faults(nil, replacing(`Connection: close\r\n`, ""))}.target)

	addMutant("ALB-IDLE-01", "cuts early", declared(simulated(nil), 2*idleSeconds*time.Second))
	addMutant("ALB-IDLE-01", "cuts late", declared(simulated(nil), time.Second))
	addMutant("ALB-IDLE-03", "never cuts", declared(balancerWith(balancerBugs{}), 2*time.Second))
	addMutant("ALB-IDLE-06", "answers 502", says(status("504", "502")))
	addMutant("ALB-IDLE-06", "waits for ever", declared(balancerWith(balancerBugs{}), time.Second))
	addMutant("ALB-IDLE-07", "waits for ever", declared(balancerWith(balancerBugs{}), time.Second))
	addMutant("ALB-IDLE-07", "closes without a word", hops{before: faults(nil, func(dst, src net.Conn) {
		resp, rest, err := wire.ReadResponse(src)
		if err != nil || resp.Status == 408 {
			return
		}
		if _, err := dst.Write(resp.Raw); err == nil {
			_, _ = io.Copy(dst, rest)
		}
	})}.target)
}

// endsBehindAnswers is a target that closes behind each answer.
func endsBehindAnswers(t *testing.T, address string) string {
	return serve(t, address, func(c net.Conn, dial func() net.Conn) {
		b := dial()
		if b == nil {
			return
		}
		defer b.Close()
		head, behind, ok := header(c)
		if !ok {
			return
		}
		if _, err := b.Write(append([]byte(head), behind...)); err != nil {
			return
		}
		answer, rest, ok := header(b)
		if ok {
			_, _ = c.Write(append([]byte(answer), rest...))
		}
	})
}
