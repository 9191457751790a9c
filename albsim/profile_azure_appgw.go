package albsim

import "time"

func init() {
	p := product("azure-appgw", "Azure Application Gateway: WebSocket natively, nothing said of other upgrades")
	p.UpgradeTokens = []string{"websocket"}
	p.grade("UpgradeTokens", "unknown", "alb.md 13: WebSocket is documented (D), another token is not; taken not to cross")
	p.RefusedUpgrade = 0
	p.grade("RefusedUpgrade", "unknown", "alb.md 13: undocumented")
	p.ResponseTimeout = 20 * time.Second
	p.grade("ResponseTimeout", "A", "alb.md 13: request timeout 20 s")
	p.BackendSNI = "address"
	p.grade("BackendSNI", "D", "alb.md 13: from the HTTP settings, which name the target")
	p.AddedFields = []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "Host"}
	p.grade("AddedFields", "A", "none of it is in our facts")
	register(p)
}
