package albsim

import "time"

func init() {
	p := product("gcp-l7", "Google Cloud external application load balancer: WebSocket alone, and for the backend timeout at most")
	p.UpgradeTokens = []string{"websocket"}
	p.grade("UpgradeTokens", "O", "alb.md 13: TP #31202, PR#38167")
	p.RefusedUpgrade = 400
	p.grade("RefusedUpgrade", "O", "tls-routing.md 4.5: TP #31202 got 400; in conflict with alb.md 13, by which Upgrade is dropped as hop-by-hop")
	p.ALPNNoOverlap = "ignore"
	p.grade("ALPNNoOverlap", "I", "alb.md 13: TP treats it as of the class that negotiates nothing")
	p.TunnelLife = 30 * time.Second
	p.grade("TunnelLife", "D", "alb.md 13, GKE ingress-xlb: the backend timeout, 30 s, is a WebSocket's life whatever moves; O TP #56344")
	p.ResponseTimeout = 30 * time.Second
	p.grade("ResponseTimeout", "D", "alb.md 13, GKE ingress-xlb: the backend timeout, 30 s")
	p.IdleTimeout = 610 * time.Second
	p.grade("IdleTimeout", "D", "alb.md 13, GKE ingress-xlb: client keep-alive 610 s")
	p.ClientKeepAlive = 0
	p.grade("ClientKeepAlive", "unknown", "nothing found")
	p.AddedFields = []string{"X-Forwarded-For", "X-Forwarded-Proto", "Host", "Via"}
	p.grade("AddedFields", "A", "none of it is in our facts")
	register(p)
}
