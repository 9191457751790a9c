package albsim

func init() {
	p := derive(awsALB(), "header-scrubber", "a firewall that passes the fields on its list alone, WebSocket's among them, and no other upgrade")
	p.KeepOnlyFields = []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Content-Type", "Cookie", "Origin", "Referer",
		"Sec-WebSocket-Extensions", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Version", "User-Agent",
	}
	p.grade("KeepOnlyFields", "A", "a fixture: whatever is not everyday goes, X-Teleport-Upgrade too")
	p.UpgradeTokens = []string{"websocket"}
	p.grade("UpgradeTokens", "O", "tls-routing.md 4.4: TP #29683: a balancer that drops the value of Upgrade")
	p.RefusedUpgrade = 0
	p.grade("RefusedUpgrade", "O", "tls-routing.md 4.4: dropped, not refused")
	p.ServerHeader = "header-scrubber"
	p.grade("ServerHeader", "A", "a class, not a product: a name of its own")
	register(p)
}
