package albsim

// HeaderKnobs are about requests, answers and their fields.
type HeaderKnobs struct {
	// Informational is what becomes of a target's 102 and 103: drop or pass (HTTP/1.1 front only).
	Informational string `words:"drop,pass"`
	// ForgedMTLSHeaders is what becomes of X-Amzn-Mtls-* and X-Amzn-Tls-* from the client: strip or pass.
	ForgedMTLSHeaders string `words:"strip,pass"`
	// ConnectStatus answers the method CONNECT.
	ConnectStatus int
	// ServerHeader names the balancer on the pages it writes itself.
	ServerHeader string
}
