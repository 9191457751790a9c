package albsim

func init() {
	p := derive(awsALB(), "ws-merging", "a WebSocket proxy that sends the fragments of a message on in one frame, as RFC 6455 section 5.4 lets it")
	p.UpgradeTokens, p.RefusedUpgrade = []string{"websocket"}, 0
	p.grade("UpgradeTokens", "A", "a fixture: what reads frames can carry nothing else")
	p.WebSocketFrames = "merge"
	p.grade("WebSocketFrames", "A", "a fixture: frames are not those that were sent")
	p.WebSocketKeys = "both"
	p.grade("WebSocketKeys", "A", "a fixture: it speaks the protocol")
	p.ServerHeader = "ws-merging"
	p.grade("ServerHeader", "A", "a class, not a product: a name of its own")
	register(p)
}
