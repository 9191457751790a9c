package selftest

import (
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// refuseIf refuses a request for a reason of the mutant's own.
func refuseIf(bad func(head string) bool) front {
	return front{request: func(head string) (string, string) {
		if bad(head) {
			return head, refusal
		}
		return head, ""
	}}
}

// agreeIf switches where the router would not.
func agreeIf(good func(head string) (token string)) front {
	return front{request: func(head string) (string, string) {
		if token := good(head); token != "" {
			return head, agreement(token)
		}
		return head, ""
	}}
}

func rewrite(change func(head string) string) front {
	return front{request: func(head string) (string, string) { return change(head), "" }}
}

func answer(change func(request, head string) string) front { return front{response: change} }

func init() {
	addMutant("UPG-01", "101 without Connection", spoiled(answer(func(_, head string) string { return without(head, "Connection") })))
	addMutant("UPG-01", "101 to alpn names websocket", spoiled(answer(func(request, head string) string {
		if field(request, "Upgrade") == wire.ALPN {
			return strings.Replace(head, "Upgrade: alpn", "Upgrade: websocket", 1)
		}
		return head
	})))
	addMutant("UPG-01", "101 to alpn without Upgrade", spoiled(answer(func(request, head string) string {
		if field(request, "Upgrade") == wire.ALPN {
			return without(head, "Upgrade")
		}
		return head
	})))
	addMutant("UPG-02", "switches to whatever is asked for", spoiled(agreeIf(func(head string) string {
		if token := field(head, "Upgrade"); strings.HasPrefix(token, "trb-") {
			return token
		}
		return ""
	})))
	addMutant("UPG-02", "switches unasked", spoiled(agreeIf(func(head string) string {
		if field(head, "Upgrade") == "" {
			return wire.ALPN
		}
		return ""
	})))
	addMutant("UPG-02", "compares the beginning of the token", spoiled(rewrite(func(head string) string {
		return strings.Replace(head, "Upgrade: alpn-trb", "Upgrade: alpn", 1)
	})))
	addMutant("UPG-03", "compares the token byte by byte", spoiled(refuseIf(func(head string) bool {
		return strings.EqualFold(field(head, "Upgrade"), wire.WebSocket) && field(head, "Upgrade") != wire.WebSocket
	})))
	addMutant("UPG-03", "takes the list for one token", spoiled(refuseIf(func(head string) bool { return strings.Contains(field(head, "Upgrade"), ",") })))
	addMutant("UPG-03", "looks at the first line only", spoiled(refuseIf(func(head string) bool { return field(head, "Upgrade") == "trb-foo" })))
	addMutant("UPG-04", "compares the option byte by byte", spoiled(refuseIf(func(head string) bool { v := field(head, "Connection"); return v == "upgrade" || v == "UPGRADE" })))
	addMutant("UPG-04", "takes the list for one option", spoiled(refuseIf(func(head string) bool { return strings.Contains(field(head, "Connection"), ",") })))
	addMutant("UPG-04", "looks at the first line only", spoiled(refuseIf(func(head string) bool { return field(head, "Connection") == "keep-alive" })))
	addMutant("UPG-05", "does not look at Connection", spoiled(rewrite(func(head string) string {
		if field(head, "Upgrade") != "" {
			return with(without(head, "Connection"), "Connection: Upgrade")
		}
		return head
	})))
	addMutant("UPG-05", "switches to h2c without Connection", spoiled(agreeIf(func(head string) string {
		if field(head, "Upgrade") == "h2c" && field(head, "Connection") == "" {
			return "h2c"
		}
		return ""
	})))
	addMutant("UPG-06", "does not look at the version", spoiled(rewrite(func(head string) string {
		return strings.Replace(head, " HTTP/1.0\r\n", " HTTP/1.1\r\n", 1)
	})))
	addMutant("UPG-09", "does without Host", spoiled(rewrite(func(head string) string {
		if field(head, "Host") == "" {
			return with(head, "Host: "+ownName)
		}
		return head
	})))
	addMutant("UPG-09", "takes the first of two Hosts", spoiled(rewrite(func(head string) string {
		if host := field(head, "Host"); host != "" {
			return with(without(head, "Host"), "Host: "+host)
		}
		return head
	})))
	addMutant("UPG-10", "trims field names", spoiled(rewrite(func(head string) string {
		return strings.NewReplacer(" :", ":", "\t:", ":").Replace(head)
	})))
	addMutant("UPG-15", "takes any version", spoiled(rewrite(func(head string) string {
		if field(head, "Sec-WebSocket-Key") != "" {
			return with(without(head, "Sec-WebSocket-Version"), "Sec-WebSocket-Version: 13")
		}
		return head
	})))
	addMutant("UPG-15", "takes any key", spoiled(rewrite(func(head string) string {
		if field(head, "Sec-WebSocket-Version") == "13" {
			return with(without(head, "Sec-WebSocket-Key"), "Sec-WebSocket-Key: "+wire.Key)
		}
		return head
	})))
	addMutant("UPG-15", "does not say which version would do", spoiled(answer(func(_, head string) string { return without(head, "Sec-WebSocket-Version") })))
	addMutant("UPG-15", "takes a POST", spoiled(rewrite(func(head string) string { return strings.Replace(head, "POST ", "GET ", 1) })))
	addMutant("UPG-16", "answers from a cache", spoiled(answer(func(_, head string) string {
		if field(head, "Sec-WebSocket-Accept") != "" {
			return with(without(head, "Sec-WebSocket-Accept"), "Sec-WebSocket-Accept: "+wire.AcceptFor(wire.Key))
		}
		return head
	})))
	addMutant("UPG-20", "switches to h2c", spoiled(agreeIf(func(head string) string {
		if field(head, "Upgrade") == "h2c" {
			return "h2c"
		}
		return ""
	})))
	addMutant("UPG-20", "switches to TLS", spoiled(agreeIf(func(head string) string {
		token, _, _ := strings.Cut(field(head, "Upgrade"), ",")
		if strings.HasPrefix(token, "TLS/") {
			return token
		}
		return ""
	})))
	addMutant("UPG-24", "insists on Connection", spoiled(refuseIf(func(head string) bool { return field(head, "Connection") == "" })))
	addMutant("UPG-24", "answers with the fields of the request", spoiled(answer(func(request, head string) string {
		if field(request, "Connection") == "" {
			return without(head, "Connection")
		}
		return head
	})))
}
