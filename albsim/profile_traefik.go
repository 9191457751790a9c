package albsim

import "time"

func init() {
	p := product("traefik", "Traefik: Go's TLS in front and Go's ReverseProxy behind")
	goProxy(&p)
	p.IdleTimeout = 180 * time.Second
	p.grade("IdleTimeout", "S", "alb.md 13: traefik@fd5a576, entrypoint idle 180 s")
	p.AddedFields = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Real-Ip"}
	p.grade("AddedFields", "A", "not in our facts")
	register(p)
}

// goProxy is what proxies on Go's standard library share.
func goProxy(p *Profile) {
	p.ALPNNoOverlap = "alert120"
	p.grade("ALPNNoOverlap", "S", "alb.md 13: crypto/tls, handshake_server.go negotiateALPN")
	p.ConnectionRequired = true
	p.grade("ConnectionRequired", "S", "alb.md 1.9: httputil takes the upgrade only if Connection has it")
	p.UpgradeTokens = nil
	p.grade("UpgradeTokens", "S", "alb.md 13: any with Connection: Upgrade")
	p.StripConnectionForCustom = false
	p.grade("StripConnectionForCustom", "S", "alb.md 17: httputil adds both fields again")
	p.UpgradeList = "first-field"
	p.grade("UpgradeList", "S", "httputil's upgradeType is Header.Get")
	p.MatchSwitchToken = true
	p.grade("MatchSwitchToken", "S", "alb.md 13: the token of the 101 must be the request's, else 502")
	p.EarlyBytes = "discard"
	p.grade("EarlyBytes", "S", "httputil's handleUpgradeResponse writes to what Hijack returns and does not read it (Go 1.26)")
	p.BackendSNI = "address"
	p.grade("BackendSNI", "S", "alb.md 13: Go's default, the name in the target's address")
	p.BackendVerify = "verify"
	p.grade("BackendVerify", "S", "alb.md 13: on by default")
	p.FieldNames = "canonical"
	p.grade("FieldNames", "S", "net/http spells names Like-This")
	p.ClientKeepAlive = 0
	p.grade("ClientKeepAlive", "A", "net/http bounds no connection's age")
}
