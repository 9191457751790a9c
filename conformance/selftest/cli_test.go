package selftest

import (
	"context"
	"net"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/lab/ours"
)

func init() {
	right = append(right,
		conforming{name: "client", role: conformance.Client, target: func(*testing.T) conformance.Target { return clientTarget(ours.Dial) }},
		conforming{name: "naive client", role: conformance.Client, target: naiveClient(clientBugs{})})
	addMutant("TUN-03", "throws the buffer of the HTTP parser away", naiveClient(clientBugs{dropBuffer: true}))
	addMutant("TUN-03", "does not answer pings", naiveClient(clientBugs{socketBugs: socketBugs{noPong: true}}))
	addMutant("UPG-16-C", "does not look at Sec-WebSocket-Accept", naiveClient(clientBugs{anyAccept: true}))
	addMutant("UPG-16-C", "neither goes on nor gives up", naiveClient(clientBugs{hangs: true}))
	addMutant("UPG-16-C", "compares in any case of letters", naiveClient(clientBugs{foldAccept: true}))
	for _, m := range []struct {
		id, name string
		bugs     clientBugs
	}{
		{"UPG-01-C", "looks at the status alone", clientBugs{statusOnly: true}},
		{"UPG-03-C", "compares the token byte for byte", clientBugs{exactToken: true}},
		{"UPG-07-C", "takes the first header for the answer", clientBugs{firstAnswer: true}},
		{"UPG-18-C", "looks at the fields alone", clientBugs{anyStatus: true}},
		{"UPG-22-C", "reads a header of any length", clientBugs{endlessHeader: true}},
		{"DET-03-C", "takes one read for the answer", clientBugs{oneRead: true}},
		{"UPG-15-C", "leaves the version out", clientBugs{noVersion: true}},
		{"UPG-15-C", "asks with one key for ever", clientBugs{oneKey: true}},
		{"WSF-12-C", "offers compression", clientBugs{deflates: true}},
		{"WSF-01-C", "masks with zeros", clientBugs{socketBugs: socketBugs{zeroMask: true}}},
		{"WSF-01-C", "does not mask", clientBugs{socketBugs: socketBugs{noMask: true}}},
		{"WSF-03-C", "passes over bits and opcodes", clientBugs{socketBugs: socketBugs{anyBits: true}}},
		{"WSF-03-C", "takes reserved control frames for data", clientBugs{socketBugs: socketBugs{reservedData: true}}},
		{"WSF-04-C", "takes a long ping for data", clientBugs{socketBugs: socketBugs{longPingData: true}}},
		{"WSF-04-C", "takes any control frame", clientBugs{socketBugs: socketBugs{anyControl: true}}},
		{"WSF-05-C", "takes lengths in any form", clientBugs{socketBugs: socketBugs{anyLength: true}}},
		{"WSF-06-C", "answers no ping", clientBugs{socketBugs: socketBugs{noPong: true}}},
		{"WSF-06-C", "answers without the data", clientBugs{socketBugs: socketBugs{emptyPong: true}}},
		{"WSF-07-C", "drops continuations", clientBugs{socketBugs: socketBugs{dropsContinuations: true}}},
		{"WSF-08-C", "takes one read for a header", clientBugs{socketBugs: socketBugs{headerInOne: true}}},
		{"WSF-09-C", "leaves without a close frame", clientBugs{socketBugs: socketBugs{silentClose: true}}},
		{"WSF-09-C", "answers with a code that must not be sent", clientBugs{socketBugs: socketBugs{reservedClose: true}}},
		{"TLS-01-C", "asks the router for the load balancer", clientBugs{outerName: true}},
		{"TLS-01-C", "sorts the ALPN list", clientBugs{sortsALPN: true}},
		{"TLS-10-C", "goes on without ALPN", clientBugs{anyALPN: true}},
		{"TLS-28-C", "verifies nothing", clientBugs{insecure: true}},
		{"TLS-28-C", "does not look at the name", clientBugs{anyName: true}},
		{"TLS-29-C", "takes any version", clientBugs{oldVersions: true}},
		{"MTL-01-C", "shows its certificate to whoever asks", clientBugs{showsOutside: true}},
		{"MTL-01-C", "shows none", clientBugs{showsNone: true}},
		{"TUN-04-C", "ends everything at the end of its input", clientBugs{fullClose: true}},
		{"TUN-05-C", "leaves at the first end", clientBugs{leavesFirst: true}},
		{"TUN-07-C", "takes any end for a regular one", clientBugs{anyEnd: true}},
		{"DET-01-C", "upgrades always", clientBugs{alwaysUpgrades: true}},
		{"UPG-24-C", "gives up behind the first refusal", clientBugs{oneTry: true}},
		{"UPG-24-C", "asks for both at once", clientBugs{bothAtOnce: true}},
	} {
		addMutant(m.id, m.name, naiveClient(m.bugs))
	}
}

type dialFunc = func(ctx context.Context, req conformance.DialRequest) (net.Conn, conformance.DialReport, error)

func clientTarget(dial dialFunc) conformance.Target {
	return conformance.Target{Name: "selftest client", Role: conformance.Client, Features: []string{"websocket", "alpn", "alpn-ping"}, Dial: dial}
}

// referenceDial is our client.
var referenceDial = ours.Dial
