package albsim

import "time"

// TunnelKnobs are about what follows a 101.
type TunnelKnobs struct {
	// HalfClose is what the end of one direction of a tunnel does: propagate, or close-both.
	HalfClose string `words:"propagate,close-both"`
	// TLSTruncation is what the other leg of a tunnel gets when a TLS leg ends without close_notify: reset or fin.
	TLSTruncation string `words:"reset,fin"`
	// TunnelIdle is how long a tunnel may be silent where the document has no idle timeout; 0 is that of any connection.
	TunnelIdle time.Duration
	// TunnelIdleCounts are the bytes that keep a tunnel: any, or those of the target alone.
	TunnelIdleCounts string `words:"any,target"`
	// TunnelIdleCloseClient and TunnelIdleCloseTarget are how an idle tunnel is cut: fin or rst.
	TunnelIdleCloseClient, TunnelIdleCloseTarget string `words:"fin,rst"`
	// TunnelLife is how long a tunnel stands whatever moves in it; 0 is for ever. Its end is that of an idle one.
	TunnelLife time.Duration
	// KeepAliveEndsTunnel says that a tunnel ends when the client's connection has reached its keep-alive duration.
	KeepAliveEndsTunnel bool
	// TunnelAtDeregistration is what becomes of a tunnel whose target is gone for good: cut or keep.
	TunnelAtDeregistration string `words:"cut,keep"`
	// WebSocketFrames is what becomes of the frames of a websocket tunnel: keep, split (data in frames of at most
	// WebSocketFragment bytes), merge (the fragments of a message in one frame of at most as many), or remask (another
	// masking key).
	WebSocketFrames string `words:"keep,split,merge,remask"`
	// WebSocketFragment is the payload of a frame that split leaves whole, and the most that merge makes: 64 KiB when 0.
	WebSocketFragment int
	// TunnelLogType is the access log's type for a tunnel whose token is not websocket: ws (ws, wss) or http (http, https).
	TunnelLogType string `words:"ws,http"`
}
