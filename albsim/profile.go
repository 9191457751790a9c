package albsim

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Evidence says how sure a knob's value is. Grade is as in alb.md section 0: D documented, O observed by a third party,
// S read in source code, I inferred, A assumed; "unknown" where nothing was found and the value is only a default.
type Evidence struct {
	Grade  string
	Source string
}

// Profile is what a load balancer does where its configuration has no word. It is data: every field but the first three
// is a knob, and Evidence has an entry for each by its Go name.
type Profile struct {
	// Name is how a document asks for it, Description a sentence for people.
	Name, Description string
	// Evidence is the grade and source of each knob's value.
	Evidence map[string]Evidence

	// ALPNOffer is what the TLS front end selects from, in its order of preference.
	ALPNOffer []string
	// ALPNNoOverlap is what a client gets whose ALPN list has none of them: ignore (the handshake completes without a
	// protocol) or alert120 (no_application_protocol). The third behaviour in the field, http/1.1 though it was not
	// offered, is beyond crypto/tls.
	ALPNNoOverlap string
	// BackendSNI is the name in the ClientHello to an HTTPS target: none, or host for the request's Host.
	BackendSNI string
	// BackendALPN is the ALPN list in it; nil for none.
	BackendALPN []string
	// UpgradeTokens are the upgrades that cross; nil for all.
	UpgradeTokens []string
	// RefusedUpgrade answers the others: a status, or 0 to drop Upgrade and Connection and pass a plain request on.
	RefusedUpgrade int
	// StripConnectionForCustom removes Connection, and keeps Upgrade, for any token but websocket.
	StripConnectionForCustom bool
	// SwitchWithoutUpgrade is what a 101 becomes that answers a request without Upgrade: 502 or pass.
	SwitchWithoutUpgrade string
	// MatchSwitchToken turns a 101 into 502 when its Upgrade is not among the request's.
	MatchSwitchToken bool
	// EarlyBytes is what becomes of bytes that the client sent behind an upgrade request, before the 101: buffer (they
	// are the tunnel's first bytes) or discard.
	EarlyBytes string
	// HalfClose is what the end of one direction of a tunnel does: propagate, or close-both.
	HalfClose string
	// TLSTruncation is what the other leg of a tunnel gets when a TLS leg ends without close_notify: reset or fin.
	TLSTruncation string
	// TunnelIdleCloseClient and TunnelIdleCloseTarget are how an idle tunnel is cut: fin or rst.
	TunnelIdleCloseClient, TunnelIdleCloseTarget string
	// ClientFIN is what an end of the client's stream means while its request is being answered: abort (460 in the log)
	// or wait.
	ClientFIN string
	// SilentConnection is what a new connection gets on which nothing came before the idle timeout: close or 408.
	SilentConnection string
	// PlainOnTLS is what plaintext HTTP on an HTTPS listener gets, TLSOnPlain TLS on an HTTP listener: 400 or close.
	PlainOnTLS, TLSOnPlain string
	// Informational is what becomes of a target's 102 and 103: drop or pass (HTTP/1.1 front only).
	Informational string
	// TunnelLogType is the access log's type for a tunnel whose token is not websocket: ws (ws, wss) or http (http, https).
	TunnelLogType string
	// ForgedMTLSHeaders is what becomes of X-Amzn-Mtls-* and X-Amzn-Tls-* from the client: strip or pass.
	ForgedMTLSHeaders string
	// ConnectStatus answers the method CONNECT.
	ConnectStatus int
	// ServerHeader names the balancer on the pages it writes itself.
	ServerHeader string

	// MaxRequestLine, MaxHeaderLine and MaxHeaders bound a request's head in bytes; MaxResponseHeaders a target's.
	MaxRequestLine, MaxHeaderLine, MaxHeaders, MaxResponseHeaders int
	// MaxForwardedFor is how many addresses X-Forwarded-For may have; one more is 463.
	MaxForwardedFor int
	// H2Streams is SETTINGS_MAX_CONCURRENT_STREAMS; after H2Requests requests a connection gets GOAWAY.
	H2Streams, H2Requests uint32
	// ConnectTimeout bounds the TCP connection to a target, TargetTLSTimeout its handshake.
	ConnectTimeout, TargetTLSTimeout time.Duration
}

// Knob is one row of a profile, for reports and documents.
type Knob struct {
	Name  string
	Value string
	Evidence
}

// Knobs lists every knob with its value and evidence, in the order of the struct.
func (p Profile) Knobs() []Knob {
	v := reflect.ValueOf(p)
	var out []Knob
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "Name" || name == "Description" || name == "Evidence" {
			continue
		}
		out = append(out, Knob{Name: name, Value: fmt.Sprint(v.Field(i).Interface()), Evidence: p.Evidence[name]})
	}
	return out
}

// choices are the words each text knob may have.
var choices = map[string][]string{
	"ALPNNoOverlap":         {"ignore", "alert120"},
	"BackendSNI":            {"none", "host"},
	"SwitchWithoutUpgrade":  {"502", "pass"},
	"EarlyBytes":            {"buffer", "discard"},
	"HalfClose":             {"propagate", "close-both"},
	"TLSTruncation":         {"reset", "fin"},
	"TunnelIdleCloseClient": {"fin", "rst"},
	"TunnelIdleCloseTarget": {"fin", "rst"},
	"ClientFIN":             {"abort", "wait"},
	"SilentConnection":      {"close", "408"},
	"PlainOnTLS":            {"400", "close"},
	"TLSOnPlain":            {"400", "close"},
	"Informational":         {"drop", "pass"},
	"TunnelLogType":         {"ws", "http"},
	"ForgedMTLSHeaders":     {"strip", "pass"},
}

var profiles = map[string]Profile{}

// register adds a profile from the init of its file; a profile that cannot be kept is a bug and panics at start.
func register(p Profile) {
	if _, dup := profiles[p.Name]; dup || p.Name == "" {
		panic("albsim: profile name empty or registered twice: " + p.Name)
	}
	for _, k := range p.Knobs() {
		if k.Grade == "" || k.Source == "" {
			panic("albsim: profile " + p.Name + ": knob " + k.Name + " has no evidence")
		}
		if words, ok := choices[k.Name]; ok && !slices.Contains(words, k.Value) {
			panic("albsim: profile " + p.Name + ": " + k.Name + " must be one of " + strings.Join(words, ", "))
		}
	}
	profiles[p.Name] = p
}

// Profiles are the names of the profiles there are.
func Profiles() []string {
	names := make([]string, 0, len(profiles))
	for name := range profiles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// LookupProfile returns a profile by name; its maps and slices are shared and not to be written to.
func LookupProfile(name string) (Profile, bool) {
	p, ok := profiles[name]
	return p, ok
}

// derive returns a copy of base under another name, with an evidence map of its own.
func derive(base Profile, name, description string) Profile {
	p := base
	p.Name, p.Description = name, description
	p.Evidence = maps.Clone(base.Evidence)
	return p
}

func (p *Profile) grade(knob, grade, source string) { p.Evidence[knob] = Evidence{grade, source} }
