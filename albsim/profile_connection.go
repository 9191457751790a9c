package albsim

import "time"

// ConnectionKnobs are about connections outside a tunnel, and how long a target is waited for.
type ConnectionKnobs struct {
	// ClientFIN is what an end of the client's stream means while its request is being answered: abort (460 in the log)
	// or wait.
	ClientFIN string `words:"abort,wait"`
	// SilentConnection is what a new connection gets on which nothing came before the idle timeout: close or 408.
	SilentConnection string `words:"close,408"`
	// ConnectTimeout bounds the TCP connection to a target, TargetTLSTimeout its handshake.
	ConnectTimeout, TargetTLSTimeout time.Duration
}
