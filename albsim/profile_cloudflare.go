package albsim

import "time"

func init() {
	p := product("cloudflare", "Cloudflare's proxy: WebSocket by GET")
	p.UpgradeTokens = []string{"websocket"}
	p.grade("UpgradeTokens", "O", "alb.md 13: TP #30493, custom upgrades not allowed; in conflict with cloudflared #990, where tailscale-control-protocol passed")
	p.UpgradeMethods = []string{"GET"}
	p.grade("UpgradeMethods", "O", "alb.md 13: POST upgrades stripped (cloudflared #883, headscale #3287)")
	p.RefusedUpgrade = 0
	p.grade("RefusedUpgrade", "O", "alb.md 13: of POST, stripped (#883, #3287); of another token not said")
	p.ALPNNoOverlap = "ignore"
	p.grade("ALPNNoOverlap", "unknown", "alb.md 13: not found")
	p.ResponseTimeout = 120 * time.Second
	p.grade("ResponseTimeout", "D", "alb.md 13: connection limits: proxy read timeout 120 s")
	p.IdleTimeout = 900 * time.Second
	p.grade("IdleTimeout", "D", "alb.md 13: connection limits: idle 900 s")
	p.ClientKeepAlive = 0
	p.grade("ClientKeepAlive", "unknown", "nothing found")
	p.AddedFields = []string{"X-Forwarded-For", "X-Forwarded-Proto", "Host"}
	p.grade("AddedFields", "A", "none of it is in our facts")
	p.ServerHeader = "cloudflare"
	p.grade("ServerHeader", "A", "not in our facts")
	register(p)
}
