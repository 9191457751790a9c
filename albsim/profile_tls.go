package albsim

// TLSKnobs are about TLS, on either leg.
type TLSKnobs struct {
	// ALPNOffer is what the TLS front end selects from, in its order of preference.
	ALPNOffer []string
	// ALPNNoOverlap is what a client gets whose ALPN list has none of them: ignore (the handshake completes without a
	// protocol), alert120 (no_application_protocol), http/1.1 (selected though it was not offered), echo (the client's
	// first), or eof (the connection ends without a word).
	ALPNNoOverlap string `words:"ignore,alert120,http/1.1,echo,eof"`
	// BackendSNI is the name in the ClientHello to an HTTPS target: none, host for the request's Host, or address for the
	// name in the target's address, which an IP address has none of.
	BackendSNI string `words:"none,host,address"`
	// BackendALPN is the ALPN list in it; empty for none.
	BackendALPN []string
	// BackendVerify says whether an HTTPS target's certificate is looked at: none, or verify, for the name that was sent
	// or the address, against Options.TargetRoots.
	BackendVerify string `words:"none,verify"`
	// PlainOnTLS is what plaintext HTTP on an HTTPS listener gets, TLSOnPlain TLS on an HTTP listener: 400 or close.
	PlainOnTLS, TLSOnPlain string `words:"400,close"`
}
