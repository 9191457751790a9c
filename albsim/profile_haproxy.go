package albsim

// debianHAProxy is what TestProfilesAreTrueToTheRealProducts of internal/lab sees.
const debianHAProxy = "this project's test against Debian's HAProxy 2.6.12"

func init() {
	p := product("haproxy", "HAProxy in mode http: any upgrade that Connection names, WebSocket keys looked at")
	p.ALPNNoOverlap = "ignore"
	p.grade("ALPNNoOverlap", "O", debianHAProxy+"; S alb.md 12.2: ssl_sock.c:2388 (NOACK)")
	p.ConnectionRequired = true
	p.grade("ConnectionRequired", "S", "alb.md 12.2: h1_htx.c:219 removes Upgrade without it; Debian's 2.6.12 leaves it, and does not switch either (502)")
	p.UpgradeTokens = nil
	p.grade("UpgradeTokens", "S", "alb.md 13: any")
	p.StripConnectionForCustom = false
	p.grade("StripConnectionForCustom", "S", "alb.md 12.3: both go on")
	p.UpgradeWithBody, p.RefusedUpgrade = "refuse", 0
	p.grade("UpgradeWithBody", "O", debianHAProxy+": Upgrade is dropped")
	p.grade("RefusedUpgrade", "O", debianHAProxy+": dropped, not refused")
	p.WebSocketKeys = "present"
	p.grade("WebSocketKeys", "O", debianHAProxy+": 400 without a key, 502 without an accept value, any of which passes; S alb.md 12.2: mux_h1.c:2048")
	p.HalfClose = "propagate"
	p.grade("HalfClose", "O", debianHAProxy+"; S alb.md 12.8")
	p.TLSTruncation = "fin"
	p.grade("TLSTruncation", "O", debianHAProxy+": passed on as a clean end")
	p.TunnelIdleCloseTarget = "rst"
	p.grade("TunnelIdleCloseTarget", "O", debianHAProxy)
	p.TunnelIdleCloseClient = "fin"
	p.grade("TunnelIdleCloseClient", "O", debianHAProxy)
	p.TunnelIdleCounts = "any"
	p.grade("TunnelIdleCounts", "O", debianHAProxy)
	p.EarlyBytes = "buffer"
	p.grade("EarlyBytes", "O", debianHAProxy)
	p.UpgradeList = "all"
	p.grade("UpgradeList", "O", debianHAProxy)
	p.SwitchWithoutUpgrade = "502"
	p.grade("SwitchWithoutUpgrade", "O", debianHAProxy)
	p.MatchSwitchToken = false
	p.grade("MatchSwitchToken", "O", debianHAProxy)
	p.Informational = "pass"
	p.grade("Informational", "O", debianHAProxy)
	p.ConnectStatus, p.TraceStatus = 0, 0
	p.grade("ConnectStatus", "O", debianHAProxy+": passed on")
	p.grade("TraceStatus", "O", debianHAProxy+": passed on")
	p.PlainOnTLS = "close"
	p.grade("PlainOnTLS", "O", debianHAProxy)
	p.ClientFIN = "wait"
	p.grade("ClientFIN", "O", debianHAProxy)
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
	p.grade("FieldNames", "O", debianHAProxy+"; S h1.h: H1_MF_TOLOWER")
	p.PageStyle = "haproxy"
	p.grade("PageStyle", "O", debianHAProxy)
	p.grade("ServerHeader", "O", debianHAProxy+": none")
	p.grade("MaxForwardedFor", "O", debianHAProxy+": no limit met")
	register(p)
}
