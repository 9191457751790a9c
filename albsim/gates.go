package albsim

// gates stand before the rules, in this order. Each looks at a request and gives the status of the page that answers it, or 0
// to let it pass.
var gates = []func(x *exchange) int{methodGate, forwardedForGate, upgradeGate, wafGate}

func methodGate(x *exchange) int {
	switch x.req.method {
	case "TRACE":
		return x.s.plan.profile.TraceStatus
	case "CONNECT":
		return x.s.plan.profile.ConnectStatus
	}
	return 0
}

func forwardedForGate(x *exchange) int {
	most := x.s.plan.profile.MaxForwardedFor
	if most > 0 && len(list(x.req.fields, "X-Forwarded-For")) > most {
		return 463
	}
	return 0
}
