package albsim

func init() {
	p := product("haproxy", "HAProxy in mode http: any upgrade that Connection names, WebSocket keys looked at")
	p.ALPNNoOverlap = "ignore"
	p.grade("ALPNNoOverlap", "S", "alb.md 12.2: ssl_sock.c:2388 (NOACK)")
	p.ConnectionRequired = true
	p.grade("ConnectionRequired", "S", "alb.md 12.2: h1_htx.c:219 removes Upgrade without it")
	p.UpgradeTokens = nil
	p.grade("UpgradeTokens", "S", "alb.md 13: any")
	p.StripConnectionForCustom = false
	p.grade("StripConnectionForCustom", "S", "alb.md 12.3: both go on")
	p.WebSocketKeys = "both"
	p.grade("WebSocketKeys", "S", "alb.md 12.2: mux_h1.c:2048; the statuses, 400 and 502, are assumed")
	p.HalfClose = "propagate"
	p.grade("HalfClose", "S", "alb.md 12.8")
	p.TunnelIdle = 0
	p.grade("TunnelIdle", "S", "alb.md 12.2: timeout tunnel has no default, and falls back to those of client and server")
	p.BackendSNI = "none"
	p.grade("BackendSNI", "S", "alb.md 12.5: configuration; newer ones send the host of themselves (sni-auto)")
	p.BackendALPN = nil
	p.grade("BackendALPN", "S", "alb.md 12.5: only if configured")
	p.BackendVerify = "verify"
	p.grade("BackendVerify", "S", "alb.md 13: required by default; that the name is looked at too is ours")
	p.AddedFields = nil
	p.grade("AddedFields", "S", "alb.md 12.6: option forwardfor is configuration")
	p.FieldNames = "lower"
	p.grade("FieldNames", "S", "h1.h: H1_MF_TOLOWER, names turn into lower case")
	p.PageStyle = "haproxy"
	p.grade("PageStyle", "A", "not in our facts; the second line of its pages is left out")
	register(p)
}
