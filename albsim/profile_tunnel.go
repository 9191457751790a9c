package albsim

// TunnelKnobs are about what follows a 101.
type TunnelKnobs struct {
	// HalfClose is what the end of one direction of a tunnel does: propagate, or close-both.
	HalfClose string `words:"propagate,close-both"`
	// TLSTruncation is what the other leg of a tunnel gets when a TLS leg ends without close_notify: reset or fin.
	TLSTruncation string `words:"reset,fin"`
	// TunnelIdleCloseClient and TunnelIdleCloseTarget are how an idle tunnel is cut: fin or rst.
	TunnelIdleCloseClient, TunnelIdleCloseTarget string `words:"fin,rst"`
	// TunnelLogType is the access log's type for a tunnel whose token is not websocket: ws (ws, wss) or http (http, https).
	TunnelLogType string `words:"ws,http"`
}
