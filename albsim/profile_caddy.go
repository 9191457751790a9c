package albsim

import "time"

// debianCaddy is what TestProfilesAreTrueToTheRealProducts of internal/lab sees.
const debianCaddy = "this project's test against Debian's Caddy 2.6.2"

func init() {
	p := product("caddy", "Caddy: Go's TLS in front and its own kin of Go's ReverseProxy behind")
	goProxy(&p)
	p.grade("ALPNNoOverlap", "O", debianCaddy+"; S alb.md 13: crypto/tls")
	p.grade("UpgradeList", "O", debianCaddy)
	p.grade("MatchSwitchToken", "O", debianCaddy+": refused, by a 200 without content; S alb.md 13: caddy@0cf03d3")
	p.grade("SwitchWithoutUpgrade", "O", debianCaddy+": refused, by a 200 without content")
	p.WebSocketKeys, p.UpgradeWithBody = "off", "pass"
	p.grade("WebSocketKeys", "O", debianCaddy)
	p.grade("UpgradeWithBody", "O", debianCaddy)
	p.grade("FieldNames", "O", debianCaddy+"; S net/http")
	p.EarlyBytes = "discard"
	p.grade("EarlyBytes", "O", debianCaddy)
	p.HalfClose, p.TLSTruncation = "close-both", "fin"
	p.grade("HalfClose", "O", debianCaddy)
	p.grade("TLSTruncation", "O", debianCaddy)
	p.ConnectStatus, p.TraceStatus = 0, 0
	p.grade("ConnectStatus", "O", debianCaddy+": passed on")
	p.grade("TraceStatus", "O", debianCaddy+": passed on")
	p.Informational = "pass"
	p.grade("Informational", "O", debianCaddy)
	p.grade("ClientFIN", "O", debianCaddy)
	p.grade("PlainOnTLS", "O", debianCaddy)
	p.grade("MaxForwardedFor", "O", debianCaddy+": no limit met")
	p.IdleTimeout = 5 * time.Minute
	p.grade("IdleTimeout", "S", "alb.md 13: caddy@0cf03d3, idle 5 min")
	p.TunnelIdle = forever
	p.grade("TunnelIdle", "S", "alb.md 13: stream_timeout none; a year stands for it")
	p.AddedFields = []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"}
	p.grade("AddedFields", "A", "not in our facts")
	p.ServerHeader, p.PageStyle = "Caddy", "empty"
	p.grade("ServerHeader", "A", "not in our facts")
	p.grade("PageStyle", "A", "not in our facts")
	register(p)
}
