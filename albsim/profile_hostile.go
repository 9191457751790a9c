package albsim

import "time"

func init() {
	p := derive(awsALB(), "hostile",
		"whatever the others do, at once, on a wire that comes in small pieces: who gets through it gets through any of them")
	p.ALPNNoOverlap = "eof"
	p.ConnectionRequired, p.UpgradeTokens, p.UpgradeMethods = true, []string{"websocket"}, []string{"GET"}
	p.UpgradeList, p.UpgradeWithBody, p.RefusedUpgrade = "refuse", "refuse", 403
	p.WebSocketKeys, p.MatchSwitchToken, p.EarlyBytes = "both", true, "request"
	p.HalfClose, p.TunnelIdleCounts, p.TunnelLife, p.KeepAliveEndsTunnel = "close-both", "target", 30*time.Second, true
	p.TunnelIdleCloseClient, p.TunnelIdleCloseTarget = "rst", "rst"
	p.WebSocketFrames, p.WebSocketFragment = "split", 7
	p.FieldNames, p.DropFields, p.PageStyle, p.ServerHeader = "lower", []string{"X-Teleport-Upgrade"}, "empty", ""
	p.Faults = []Injection{
		{Kind: "split", Hop: "client", Bytes: 16, Seed: 1},
		{Kind: "split", Hop: "target", Bytes: 16, Seed: 2},
	}
	for _, k := range p.Knobs() {
		p.grade(k.Name, "A", "a fixture")
	}
	register(p)
}
