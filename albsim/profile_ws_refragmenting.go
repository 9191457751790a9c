package albsim

func init() {
	p := derive(awsALB(), "ws-refragmenting", "a WebSocket proxy that sends every message on in small fragments, as RFC 6455 section 5.4 lets it")
	p.UpgradeTokens, p.RefusedUpgrade = []string{"websocket"}, 0
	p.grade("UpgradeTokens", "A", "a fixture: what reads frames can carry nothing else")
	p.WebSocketFrames, p.WebSocketFragment = "split", 125
	p.grade("WebSocketFrames", "A", "a fixture: tls-routing.md 1.7, a fragmented message hangs Teleport's client")
	p.grade("WebSocketFragment", "A", "a fixture: the most that a two byte head can say")
	p.WebSocketKeys = "both"
	p.grade("WebSocketKeys", "A", "a fixture: it speaks the protocol")
	p.ServerHeader = "ws-refragmenting"
	p.grade("ServerHeader", "A", "a class, not a product: a name of its own")
	register(p)
}
