package albsim

// UpgradeKnobs are about a request that asks for another protocol, up to the 101.
type UpgradeKnobs struct {
	// ConnectionRequired says that Upgrade counts only where Connection names it; elsewhere it is dropped.
	ConnectionRequired bool
	// UpgradeTokens are the upgrades that cross; empty for all.
	UpgradeTokens []string
	// UpgradeMethods are the methods that an upgrade crosses with; empty for all.
	UpgradeMethods []string
	// UpgradeList is what becomes of more than one token in a request, in one field or several: all go on if one may
	// cross, first (the others are dropped), first-field (the others are, whatever stands in it), or refuse.
	UpgradeList string `words:"all,first,first-field,refuse"`
	// UpgradeWithBody is what becomes of an upgrade request with a body: pass or refuse.
	UpgradeWithBody string `words:"pass,refuse"`
	// RefusedUpgrade answers an upgrade that does not cross: a status, or 0 to drop Upgrade and Connection and pass a
	// plain request on.
	RefusedUpgrade int
	// WebSocketKeys is how far an upgrade to websocket is looked at: off, request (without a key and version 13 it is
	// 400), present (a 101 without an accept value is 502, too), or both (so is one with a value that does not belong to
	// the key).
	WebSocketKeys string `words:"off,request,present,both"`
	// StripConnectionForCustom removes Connection, and keeps Upgrade, for any token but websocket.
	StripConnectionForCustom bool
	// AddConnection adds Connection to a request that goes on with Upgrade and came without it.
	AddConnection bool
	// SwitchWithoutUpgrade is what a 101 becomes that answers a request without Upgrade: 502 or pass.
	SwitchWithoutUpgrade string `words:"502,pass"`
	// MatchSwitchToken turns a 101 into 502 when its Upgrade is not the request's as a whole, whatever the case.
	MatchSwitchToken bool
	// StripUpgradeResponse removes Connection and Upgrade from the 101.
	StripUpgradeResponse bool
	// EarlyBytes is what becomes of bytes that the client sent behind an upgrade request, before the 101: buffer (they
	// are the tunnel's first bytes), discard, or request (they are the next request, and there is no tunnel).
	EarlyBytes string `words:"buffer,discard,request"`
}
