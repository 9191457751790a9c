package albsim

import "time"

// ConnectionKnobs are about connections outside a tunnel, and how long a target is waited for.
type ConnectionKnobs struct {
	// IdleTimeout is idle_timeout.timeout_seconds where the document does not have it: how long a connection may be silent.
	IdleTimeout time.Duration
	// ClientKeepAlive is client_keep_alive.seconds where the document does not have it: how long a connection takes new
	// requests; 0 is for ever.
	ClientKeepAlive time.Duration
	// ClientFIN is what an end of the client's stream means while its request is being answered: abort (460 in the log)
	// or wait.
	ClientFIN string `words:"abort,wait"`
	// SilentConnection is what a new connection gets on which nothing came before the idle timeout: close or 408.
	SilentConnection string `words:"close,408"`
	// ConnectTimeout bounds the TCP connection to a target, TargetTLSTimeout its handshake.
	ConnectTimeout, TargetTLSTimeout time.Duration
	// ResponseTimeout is how long a target may take from the request to the head of its answer where the document has no
	// idle timeout; 0 is the idle timeout.
	ResponseTimeout time.Duration
}
