package albsim

import "time"

func init() {
	p := product("caddy", "Caddy: Go's TLS in front and its own kin of Go's ReverseProxy behind")
	goProxy(&p)
	p.grade("MatchSwitchToken", "S", "alb.md 13: caddy@0cf03d3: the response's token must equal the request's")
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
