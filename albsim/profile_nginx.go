package albsim

import "time"

// debianNginx is what TestProfilesAreTrueToTheRealProducts of internal/lab sees.
const debianNginx = "this project's test against Debian's nginx 1.22.1"

func init() {
	p := product("nginx", "nginx with the configuration that its documentation has for WebSocket proxying")
	p.ALPNNoOverlap = "alert120"
	p.grade("ALPNNoOverlap", "O", debianNginx+"; S alb.md 13: ngx_http_ssl_alpn_select, since 1.21.4")
	p.UpgradeTokens = nil
	p.grade("UpgradeTokens", "O", debianNginx+"; S alb.md 13: any, by proxy_set_header Upgrade $http_upgrade")
	p.ConnectionRequired = false
	p.grade("ConnectionRequired", "S", "alb.md 13: the map looks at Upgrade alone")
	p.StripConnectionForCustom = false
	p.grade("StripConnectionForCustom", "S", "alb.md 13: proxy_set_header sends both")
	p.TunnelIdle, p.TunnelIdleCounts = 60*time.Second, "any"
	p.grade("TunnelIdle", "S", "alb.md 13: proxy_read_timeout 60 s")
	p.grade("TunnelIdleCounts", "O", debianNginx+"; in conflict with nginx.org websocket.html (D), by which the proxied server must transmit")
	p.UpgradeList = "first-field"
	p.grade("UpgradeList", "O", debianNginx+": $http_upgrade of 1.22 is the first field")
	p.UpgradeWithBody = "pass"
	p.grade("UpgradeWithBody", "O", debianNginx)
	p.WebSocketKeys = "off"
	p.grade("WebSocketKeys", "O", debianNginx)
	p.AddConnection = true
	p.grade("AddConnection", "O", debianNginx+": the map's own value")
	p.SwitchWithoutUpgrade = "pass"
	p.grade("SwitchWithoutUpgrade", "O", debianNginx+": the client gets the 101")
	p.MatchSwitchToken = false
	p.grade("MatchSwitchToken", "O", debianNginx)
	p.EarlyBytes = "buffer"
	p.grade("EarlyBytes", "O", debianNginx)
	p.HalfClose = "close-both"
	p.grade("HalfClose", "O", debianNginx)
	p.TLSTruncation = "fin"
	p.grade("TLSTruncation", "O", debianNginx+": passed on as a clean end")
	p.grade("TunnelIdleCloseClient", "O", debianNginx)
	p.grade("TunnelIdleCloseTarget", "O", debianNginx)
	p.ConnectStatus, p.TraceStatus = 400, 405
	p.grade("ConnectStatus", "O", debianNginx)
	p.grade("TraceStatus", "O", debianNginx)
	p.PlainOnTLS = "400"
	p.grade("PlainOnTLS", "O", debianNginx)
	p.ClientFIN = "wait"
	p.grade("ClientFIN", "O", debianNginx+": of a close_notify")
	p.FieldNames = "keep"
	p.grade("FieldNames", "O", debianNginx)
	p.grade("MaxForwardedFor", "O", debianNginx+": no limit met")
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
	p.grade("ServerHeader", "O", debianNginx+"; without the version, which server_tokens can turn off")
	p.grade("PageStyle", "O", debianNginx)
	register(p)
}
