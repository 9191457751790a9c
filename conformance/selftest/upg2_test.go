package selftest

import (
	"strings"

	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

func init() {
	addMutant("UPG-17", "confirms the first that is offered to nobody", wsFronted(wsBugs{protocol: "trb-other"}))
	addMutant("UPG-17", "confirms the whole list", wsFronted(wsBugs{protocol: "trb-a, trb-b"}))
	addMutant("UPG-17", "compares in any case of letters", spoiled(answer(func(request, head string) string {
		if field(request, "Sec-WebSocket-Protocol") == "ALPN" {
			return with(head, "Sec-WebSocket-Protocol: alpn")
		}
		return head
	})))
	addMutant("UPG-17-C", "does not look at the fields of the 101", naiveClient(clientBugs{anyFields: true}))
	addMutant("UPG-11", "takes a folded line for a field of its own", spoiled(rewrite(func(head string) string { return strings.ReplaceAll(head, "\r\n ", "\r\n") })))
	addMutant("UPG-11", "takes a fold for nothing", spoiled(rewrite(func(head string) string {
		return strings.NewReplacer("\r\n ", "", "\r\n\t", "").Replace(head)
	})))
	addMutant("UPG-12", "ends a line at a CR", spoiled(rewrite(func(head string) string {
		return strings.NewReplacer("\r\n", "\r\n", "\r ", "\r\n", "\r", "\r\n").Replace(head)
	})))
	addMutant("UPG-14", "takes a coding that is not final for none", spoiled(rewrite(func(head string) string { return without(head, "Transfer-Encoding") })))
	addMutant("UPG-14", "looks for chunked anywhere in the list", spoiled(rewrite(func(head string) string {
		if strings.Contains(field(head, "Transfer-Encoding"), "chunked") {
			return with(without(head, "Transfer-Encoding"), "Transfer-Encoding: chunked")
		}
		return head
	})))
	addMutant("UPG-07", "switches without a look at Expect", spoiled(rewrite(func(head string) string {
		return without(without(head, "Expect"), "Content-Length")
	})))
	addMutant("UPG-08", "switches at the end of the header", spoiled(rewrite(func(head string) string {
		return without(without(head, "Content-Length"), "Transfer-Encoding")
	})))
	addMutant("UPG-08", "takes what comes with the request for its content", spoiled(front{dropBehind: true, request: func(head string) (string, string) {
		return without(without(head, "Content-Length"), "Transfer-Encoding"), ""
	}}))
	addMutant("UPG-22", "has no bound", mutatedConfig(func(_ *lab, c *router.Config) { c.Limits.HeaderBytes = 4 << 20 }))
}
