package albsim

import "time"

func init() {
	p := product("cloudfront", "Amazon CloudFront: WebSocket in the form of RFC 6455, any other Upgrade removed")
	p.UpgradeTokens = []string{"websocket"}
	p.grade("UpgradeTokens", "D", "alb.md 13: CloudFront guide; O overtls PR#95")
	p.RefusedUpgrade = 0
	p.grade("RefusedUpgrade", "D", "alb.md 13: RequestAndResponseBehaviorCustomOrigin: other Upgrade is removed")
	p.WebSocketKeys = "request"
	p.grade("WebSocketKeys", "D", "alb.md 13: distribution-working-with.websockets: the request must be of RFC 6455's form")
	p.TunnelIdle, p.TunnelIdleCounts = 10*time.Minute, "target"
	p.grade("TunnelIdle", "D", "alb.md 13: cloudfront-limits: 10 minutes")
	p.grade("TunnelIdleCounts", "D", "alb.md 13: without bytes from the origin to the client")
	p.ALPNNoOverlap = "ignore"
	p.grade("ALPNNoOverlap", "unknown", "alb.md 13: undocumented")
	p.AddedFields = []string{"X-Forwarded-For", "Host", "Via"}
	p.grade("AddedFields", "A", "none of it is in our facts")
	p.ServerHeader, p.PageStyle = "CloudFront", "text"
	p.grade("ServerHeader", "A", "not in our facts")
	register(p)
}
