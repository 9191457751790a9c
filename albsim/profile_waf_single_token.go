package albsim

func init() {
	p := derive(awsALB(), "waf-single-token", "a firewall that takes an upgrade to one protocol and refuses a request with two tokens")
	p.UpgradeList = "refuse"
	p.grade("UpgradeList", "O", "tls-routing.md 4.7: TP #52397, #52534: websocket and alpn-ping together were rejected")
	p.RefusedUpgrade = 403
	p.grade("RefusedUpgrade", "A", "the status is not known")
	p.ServerHeader = "waf-single-token"
	p.grade("ServerHeader", "A", "a class, not a product: a name of its own")
	register(p)
}
