package albsim

// LimitKnobs are how much is taken.
type LimitKnobs struct {
	// MaxRequestLine, MaxHeaderLine and MaxHeaders bound a request's head in bytes; MaxResponseHeaders a target's.
	MaxRequestLine, MaxHeaderLine, MaxHeaders, MaxResponseHeaders int
	// MaxForwardedFor is how many addresses X-Forwarded-For may have; one more is 463. 0 is for any number.
	MaxForwardedFor int
	// H2Streams is SETTINGS_MAX_CONCURRENT_STREAMS; after H2Requests requests a connection gets GOAWAY.
	H2Streams, H2Requests uint32
}
