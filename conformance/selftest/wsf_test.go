package selftest

import (
	"github.com/tlsroute/tlsroute-bench/conformance"
)

func init() {
	right = append(right, conforming{
		name: "websocket front", role: conformance.Router, only: []string{"WSF-*", "UPG-17"}, target: wsFronted(wsBugs{}),
	})
	for _, m := range []struct {
		id, name string
		bugs     wsBugs
	}{
		{"WSF-01", "takes unmasked frames", wsBugs{takesUnmasked: true}},
		{"WSF-01", "leaves the connection open behind its close frame", wsBugs{leavesOpen: true}},
		{"WSF-03", "passes over reserved bits", wsBugs{takesRSV: true}},
		{"WSF-03", "takes any opcode for data", wsBugs{takesOpcodes: true}},
		{"WSF-04", "answers long pings", wsBugs{longControl: true}},
		{"WSF-04", "takes fragments of control frames", wsBugs{fragmentedControl: true}},
		{"WSF-05", "takes lengths in any form", wsBugs{longForms: true}},
		{"WSF-05", "clears the top bit of a length", wsBugs{signedLength: true}},
		{"WSF-06", "answers no ping", wsBugs{noPong: true}},
		{"WSF-06", "answers without the data", wsBugs{emptyPong: true}},
		{"WSF-06", "answers no ping inside a message", wsBugs{pongAtEnd: true}},
		{"WSF-07", "drops continuations", wsBugs{dropsContinuations: true}},
		{"WSF-07", "forgets the message over a ping", wsBugs{resetsAtPing: true}},
		{"WSF-08", "takes a read for a header", wsBugs{headerInOne: true}},
		{"WSF-08", "takes a read for a payload", wsBugs{readFirst: true}},
		{"WSF-09", "closes without an answer", wsBugs{silentClose: true}},
		{"WSF-09", "answers with the code that came, whatever it is", wsBugs{echoesAny: true}},
		{"WSF-09", "refuses codes that are newer than the RFC", wsBugs{refusesNew: true}},
		{"WSF-09", "stays when both have closed", wsBugs{staysAfterClose: true}},
		{"WSF-10", "takes text for bytes", wsBugs{takesText: true}},
		{"WSF-11", "takes frames of any length", wsBugs{noLimit: true}},
		{"WSF-12", "agrees to compression", wsBugs{deflates: true}},
	} {
		addMutant(m.id, m.name, wsFronted(m.bugs))
	}
	right = append(right, conforming{
		name: "websocket front in a process", role: conformance.Router, only: []string{"WSF-11"}, target: wsFrontedApart(wsBugs{}),
	})
	addMutant("WSF-11", "holds messages until they are whole", wsFrontedApart(wsBugs{wholeMessages: true}))
	addMutant("WSF-02", "undoes the server's mask", naiveClient(clientBugs{socketBugs: socketBugs{takesMask: true}}))
}
