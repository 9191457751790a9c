package albsim

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 section 4.2.2 has it
	"encoding/base64"
	"slices"
	"strings"
)

// upgradeGate refuses upgrades that do not cross, if the profile does so at all: RefusedUpgrade is 0 else.
func upgradeGate(x *exchange) int {
	p := &x.s.plan.profile
	tokens, refused := p.crossing(x.req)
	switch {
	case refused:
		return p.RefusedUpgrade
	case p.WebSocketKeys != "off" && hasToken(tokens, "websocket") && !soundHandshake(x.req):
		return 400
	}
	return 0
}

// crossing are the tokens of a request's Upgrade that the target gets to see; refused says that there are some that it may
// not. Neither: no upgrade was asked for.
func (p *Profile) crossing(r *request) (tokens []string, refused bool) {
	tokens = r.upgrade
	if len(tokens) == 0 || p.ConnectionRequired && !hasToken(list(r.fields, "Connection"), "upgrade") {
		return nil, false
	}
	switch p.UpgradeList {
	case "first":
		tokens = tokens[:1]
	case "first-field":
		value, _ := r.get("Upgrade")
		tokens = list([]field{{name: "Upgrade", value: value}}, "Upgrade")
	}
	switch {
	case len(tokens) > 1 && p.UpgradeList == "refuse",
		len(p.UpgradeMethods) > 0 && !slices.Contains(p.UpgradeMethods, r.method),
		r.length != 0 && p.UpgradeWithBody == "refuse",
		len(p.UpgradeTokens) > 0 && !slices.ContainsFunc(tokens, func(t string) bool { return hasToken(p.UpgradeTokens, t) }):
		return nil, true
	}
	return tokens, false
}

// upgradeFields returns what is left of Upgrade and Connection.
func (s *Server) upgradeFields(r *request) (upgrade, connection []field) {
	p := &s.plan.profile
	tokens, _ := p.crossing(r)
	if len(tokens) == 0 {
		return nil, nil
	}
	for _, f := range r.fields {
		switch {
		case strings.EqualFold(f.name, "Upgrade"):
			upgrade = append(upgrade, f)
		case strings.EqualFold(f.name, "Connection") && hasToken(list([]field{f}, "Connection"), "upgrade"):
			if hasToken(tokens, "websocket") || !p.StripConnectionForCustom {
				connection = []field{{name: f.name, value: "Upgrade"}}
			}
		}
	}
	switch p.UpgradeList {
	case "first":
		upgrade = []field{{name: upgrade[0].name, value: tokens[0]}}
	case "first-field":
		upgrade = upgrade[:1]
	}
	if p.AddConnection && len(connection) == 0 {
		connection = []field{{name: "Connection", value: "Upgrade"}}
	}
	return upgrade, connection
}

// maySwitch tells whether a 101 is passed on.
func (p *Profile) maySwitch(r *request, answer *response) bool {
	asked, _ := p.crossing(r)
	got := list(answer.fields, "Upgrade")
	switch {
	case len(asked) == 0:
		return p.SwitchWithoutUpgrade == "pass"
	case p.MatchSwitchToken && !strings.EqualFold(strings.Join(asked, ","), strings.Join(got, ",")):
		return false
	case !hasToken(got, "websocket"):
		return true
	}
	key, _ := r.get("Sec-WebSocket-Key")
	accept, there := get(answer.fields, "Sec-WebSocket-Accept")
	switch p.WebSocketKeys {
	case "present":
		return there
	case "both":
		return accept == acceptOf(key)
	}
	return true
}

// soundHandshake is what RFC 6455 section 4.1 asks of a request, as far as a balancer that looks at it does.
func soundHandshake(r *request) bool {
	keys := list(r.fields, "Sec-WebSocket-Key")
	version, _ := r.get("Sec-WebSocket-Version")
	if len(keys) != 1 || version != "13" || r.method != "GET" {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(keys[0])
	return err == nil && len(key) == 16
}

// acceptOf is the Sec-WebSocket-Accept that belongs to a key: RFC 6455 section 4.2.2.
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}
