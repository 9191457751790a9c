package albsim

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// idpResponse is where the identity provider sends users back to, on every listener with an authenticate action: D. That it is
// answered whatever the rules say is inferred: a rule with another path has its users come back here all the same.
const idpResponse = "/oauth2/idpresponse"

// loginTimeout is how long a log-in may take; it cannot be changed. That there is one, and 401 behind it, is alb.md section 7 (TRB); the
// quarter of an hour is assumed, since the page that has it was not to be had.
const loginTimeout = 15 * time.Minute

// loginNonce ties a log-in to the browser that began it. The name and length of its cookie were seen (O), and that it stays behind the
// log-in.
const loginNonce = "AWSALBAuthNonce"

// loginState goes to the provider and back, sealed.
type loginState struct {
	Began time.Time `json:"b"`
	Nonce string    `json:"n"`
	Then  string    `json:"t"` // the URL that was asked for
	By    string    `json:"a"` // the action's id
}

// controls are what a Location may not have.
var controls = regexp.MustCompile(`[\x00-\x1f\x7f]`)

// login sends the user to the identity provider.
func (o *oidc) login(x *exchange) {
	if x.req.proto == "HTTP/1.0" && x.req.host == x.l.dnsName { // 401 by the current text of TRB, 500 by that of 2023
		if _, there := x.req.get("Host"); !there {
			x.authFailed(&authFault{401, "AuthMissingHostHeader", nil})
			return
		}
	}
	self := "https://" + publicHost(x.req)
	then := self + x.req.path
	if x.req.query != "" {
		then += "?" + x.req.query
	}
	then = controls.ReplaceAllStringFunc(then, url.QueryEscape) // a mode of the desync mitigation routes them
	nonce := rand.Text()[:16]
	plain, err := json.Marshal(loginState{time.Now(), nonce, then, o.id})
	if err != nil {
		x.authFailed(&authFault{500, "AuthUnhandledException", err})
		return
	}
	to := o.authorize
	query := to.Query()
	for name, value := range o.extra {
		query.Set(name, value)
	}
	query.Set("client_id", o.clientID)
	query.Set("redirect_uri", self+idpResponse)
	query.Set("response_type", "code")
	query.Set("scope", o.scope)
	query.Set("state", base64.RawURLEncoding.EncodeToString(x.s.jar.seal("login", plain)))
	to.RawQuery = query.Encode()
	x.cookies = append(x.cookies, field{name: "Set-Cookie", value: loginNonce + "=" + nonce + "; Path=/; Secure; HttpOnly"})
	x.send(redirection(&x.s.plan.profile, 302, to.String()))
}

func (x *exchange) authFailed(f *authFault) {
	x.s.count.auth.failed(f.reason)
	x.turnAway(f)
}

// comeBack answers who was sent back by an identity provider: with a session, and the way to where he wanted to go.
func (x *exchange) comeBack(ctx context.Context) {
	x.rec.priority = -1 // O: a line of such a request in the tests of aws-log-parser
	x.rec.did("authenticate")
	query, err := url.ParseQuery(x.req.query)
	if err != nil {
		x.authFailed(&authFault{401, "AuthInvalidStateParam", err})
		return
	}
	state, o, f := x.loginState(query)
	if f != nil {
		x.authFailed(f)
		return
	}
	s, f := o.finish(ctx, x, query)
	if f == nil {
		if err := o.keep(x, s); err != nil {
			f = &authFault{500, "AuthUnhandledException", err}
		}
	}
	if f != nil {
		x.authFailed(f)
		return
	}
	x.s.count.auth.successes.Add(1)
	x.send(redirection(&x.s.plan.profile, 302, state.Then))
}

// loginState is what the provider was given, and the action that gave it.
func (x *exchange) loginState(query url.Values) (state loginState, o *oidc, f *authFault) {
	if !query.Has("state") {
		return state, nil, &authFault{401, "AuthMissingStateParam", nil}
	}
	raw, err := base64.RawURLEncoding.DecodeString(query.Get("state"))
	if err != nil {
		return state, nil, &authFault{401, "AuthInvalidStateParam", err}
	}
	plain, ok := x.s.jar.open("login", raw)
	if !ok {
		return state, nil, &authFault{401, "AuthInvalidStateParam", nil}
	}
	if err := json.Unmarshal(plain, &state); err != nil {
		return state, nil, &authFault{401, "AuthInvalidStateParam", err}
	}
	o = x.l.plan.signIns[state.By]
	nonces := cookies(x.req.fields, loginNonce)
	switch {
	case o == nil || time.Since(state.Began) >= x.s.scaled(loginTimeout):
		return state, nil, &authFault{401, "AuthInvalidStateParam", nil}
	case len(nonces) == 0:
		return state, nil, &authFault{401, "AuthMissingAWSALBAuthNonce", nil}
	case !slices.Contains(nonces, state.Nonce):
		return state, nil, &authFault{401, "AuthInvalidAWSALBAuthNonce", nil}
	}
	return state, o, nil
}

// finish makes a session of what the provider sent back. Its word for a user that it denied access is RFC 6749's, and 401 (D); any other
// error is 561 (D).
func (o *oidc) finish(ctx context.Context, x *exchange, query url.Values) (*session, *authFault) {
	switch reason := query.Get("error"); {
	case reason == "access_denied":
		return nil, &authFault{401, "", nil}
	case reason != "":
		return nil, &authFault{561, "", &providerError{reason}}
	case query.Get("code") == "":
		return nil, &authFault{401, "AuthMissingCodeParam", nil}
	}
	return o.ask(ctx, x, url.Values{
		"grant_type":   {"authorization_code"},
		"code":         {query.Get("code")},
		"redirect_uri": {"https://" + publicHost(x.req) + idpResponse},
	}, nil)
}

type providerError struct{ word string }

func (e *providerError) Error() string {
	return "the identity provider says " + strings.ToValidUTF8(e.word[:min(len(e.word), 100)], "?")
}
