package albsim

import "time"

func init() {
	p := product("nginx", "nginx with the configuration that its documentation has for WebSocket proxying")
	p.ALPNNoOverlap = "alert120"
	p.grade("ALPNNoOverlap", "S", "alb.md 13: ngx_http_ssl_alpn_select, since 1.21.4")
	p.UpgradeTokens = nil
	p.grade("UpgradeTokens", "S", "alb.md 13: any, by proxy_set_header Upgrade $http_upgrade")
	p.ConnectionRequired = false
	p.grade("ConnectionRequired", "S", "alb.md 13: the map looks at Upgrade alone")
	p.StripConnectionForCustom = false
	p.grade("StripConnectionForCustom", "S", "alb.md 13: proxy_set_header sends both")
	p.TunnelIdle, p.TunnelIdleCounts = 60*time.Second, "target"
	p.grade("TunnelIdle", "S", "alb.md 13: proxy_read_timeout 60 s")
	p.grade("TunnelIdleCounts", "D", "nginx.org websocket.html: if the proxied server does not transmit any data")
	p.ResponseTimeout = 60 * time.Second
	p.grade("ResponseTimeout", "S", "alb.md 13: proxy_read_timeout 60 s")
	p.BackendSNI = "none"
	p.grade("BackendSNI", "S", "alb.md 13: proxy_ssl_server_name off")
	p.BackendALPN = nil
	p.grade("BackendALPN", "S", "alb.md 13: none")
	p.BackendVerify = "none"
	p.grade("BackendVerify", "S", "alb.md 13: proxy_ssl_verify off")
	p.AddedFields = nil
	p.grade("AddedFields", "S", "alb.md 13: what a target gets is proxy_set_header's to say")
	p.ServerHeader, p.PageStyle = "nginx", "nginx"
	p.grade("ServerHeader", "A", "not in our facts; without the version, which is configuration")
	p.grade("PageStyle", "A", "not in our facts; its pages are the ALB's with its name below")
	register(p)
}
