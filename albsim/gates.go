package albsim

// gates stand before the rules, in this order. Each looks at a request and gives the status of the page that answers it, or 0
// to let it pass.
var gates = []func(x *exchange) int{methodGate, forwardedForGate, upgradeGate}

func methodGate(x *exchange) int {
	switch x.req.method {
	case "TRACE":
		return 405
	case "CONNECT":
		return x.s.plan.profile.ConnectStatus
	}
	return 0
}

func forwardedForGate(x *exchange) int {
	if len(list(x.req.fields, "X-Forwarded-For")) > x.s.plan.profile.MaxForwardedFor {
		return 463
	}
	return 0
}

// upgradeGate refuses upgrades that do not cross, if the profile does so at all: RefusedUpgrade is 0 else.
func upgradeGate(x *exchange) int {
	if len(x.req.upgrade) > 0 && !x.s.tokensCross(x.req.upgrade) {
		return x.s.plan.profile.RefusedUpgrade
	}
	return 0
}
