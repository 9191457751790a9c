package selftest

import (
	"strings"
)

func init() {
	addMutant("ALB-UPG-03", "wants Connection", sends(func(head string) string {
		if field(head, "Connection") == "" {
			return without(head, "Upgrade")
		}
		return head
	}))
	addMutant("ALB-UPG-03", "refuses it without Connection", refuses("400 Bad Request", func(head string) bool {
		return field(head, "Connection") == "" && field(head, "Upgrade") != ""
	}))
	addMutant("ALB-UPG-04", "passes the 101 on without Connection", says(func(_, head string) string {
		if strings.HasPrefix(head, "HTTP/1.1 101") {
			return without(head, "Connection")
		}
		return head
	}))
	addMutant("ALB-UPG-04", "says websocket", says(func(_, head string) string {
		return strings.Replace(head, "Upgrade: trb-custom", "Upgrade: websocket", 1)
	}))
	addMutant("ALB-UPG-05", "drops what Connection names", sends(dropping("X-Trb-Settings")))
	addMutant("ALB-UPG-07", "inspects", balancerWith(balancerBugs{inspects: true}))
	addMutant("ALB-UPG-08", "closes behind a refusal", says(func(_, head string) string {
		if strings.HasPrefix(head, "HTTP/1.1 426") {
			return with(without(head, "Connection"), "Connection: close")
		}
		return head
	}))
	addMutant("ALB-UPG-08", "closes without saying so", balancerWith(balancerBugs{answer: func(head string) string {
		return without(head, "Connection")
	}}))
	addMutant("ALB-UPG-09", "reads requests in tunnels", balancerWith(balancerBugs{readsTunnels: true}))
	addMutant("ALB-UPG-13", "keeps Connection", balancerWith(balancerBugs{keepAll: true}))
	addMutant("ALB-UPG-13", "upgrades GET only", sends(func(head string) string {
		if strings.HasPrefix(head, "POST ") {
			return without(without(head, "Upgrade"), "Connection")
		}
		return head
	}))
	addMutant("ALB-UPG-14", "drops what came with the request", before(front{dropBehind: true}))
	addMutant("ALB-UPG-15", "does not pass the end on", hops{before: swallowsEnds}.target)
}
