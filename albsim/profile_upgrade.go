package albsim

// UpgradeKnobs are about a request that asks for another protocol, up to the 101.
type UpgradeKnobs struct {
	// UpgradeTokens are the upgrades that cross; nil for all.
	UpgradeTokens []string
	// RefusedUpgrade answers the others: a status, or 0 to drop Upgrade and Connection and pass a plain request on.
	RefusedUpgrade int
	// StripConnectionForCustom removes Connection, and keeps Upgrade, for any token but websocket.
	StripConnectionForCustom bool
	// SwitchWithoutUpgrade is what a 101 becomes that answers a request without Upgrade: 502 or pass.
	SwitchWithoutUpgrade string `words:"502,pass"`
	// MatchSwitchToken turns a 101 into 502 when its Upgrade is not among the request's.
	MatchSwitchToken bool
	// EarlyBytes is what becomes of bytes that the client sent behind an upgrade request, before the 101: buffer (they
	// are the tunnel's first bytes) or discard.
	EarlyBytes string `words:"buffer,discard"`
}
