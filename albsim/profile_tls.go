package albsim

// TLSKnobs are about TLS, on either leg.
type TLSKnobs struct {
	// ALPNOffer is what the TLS front end selects from, in its order of preference.
	ALPNOffer []string
	// ALPNNoOverlap is what a client gets whose ALPN list has none of them: ignore (the handshake completes without a
	// protocol) or alert120 (no_application_protocol). The third behaviour in the field, http/1.1 though it was not
	// offered, is beyond crypto/tls.
	ALPNNoOverlap string `words:"ignore,alert120"`
	// BackendSNI is the name in the ClientHello to an HTTPS target: none, or host for the request's Host.
	BackendSNI string `words:"none,host"`
	// BackendALPN is the ALPN list in it; nil for none.
	BackendALPN []string
	// PlainOnTLS is what plaintext HTTP on an HTTPS listener gets, TLSOnPlain TLS on an HTTP listener: 400 or close.
	PlainOnTLS, TLSOnPlain string `words:"400,close"`
}
