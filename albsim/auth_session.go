package albsim

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// session is what the cookies of a user who is logged in hold, sealed.
type session struct {
	Began   time.Time       `json:"b"` // the log-in: the session timeout counts from here
	Claims  json.RawMessage `json:"c"`
	Subject string          `json:"s"`
	Access  string          `json:"a"`
	Refresh string          `json:"r,omitempty"`
	Until   time.Time       `json:"u,omitzero"` // the end of the access token, if the provider told one
}

// stale tells whether the claims are to be fetched anew: a session outlives its access token if there is no refresh token (D).
func (s *session) stale(now time.Time) bool {
	return s.Refresh != "" && !s.Until.IsZero() && now.After(s.Until)
}

// maxShards is more than a Cookie field of 64 KB holds.
const maxShards = 32

func (o *oidc) purpose() string { return "session " + o.id }

// session is the one of the request's cookies; nil for none and one that has timed out. A cookie that is none of ours is 401, by AWS's
// AuthInvalidCookie (re:Post, elb-configure-authentication-alb).
func (o *oidc) session(x *exchange) (*session, *authFault) {
	var text strings.Builder
	for i := range maxShards {
		values := cookies(x.req.fields, o.shard(i))
		if len(values) == 0 || values[0] == "" {
			break
		}
		text.WriteString(values[0])
	}
	if text.Len() == 0 {
		return nil, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text.String())
	if err != nil {
		return nil, &authFault{401, "AuthInvalidCookie", err}
	}
	plain, ok := x.s.jar.open(o.purpose(), raw)
	if !ok {
		return nil, &authFault{401, "AuthInvalidCookie", nil}
	}
	var s session
	if err := json.Unmarshal(plain, &s); err != nil {
		return nil, &authFault{401, "AuthInvalidCookie", err}
	}
	if time.Since(s.Began) >= x.s.scaled(o.timeout) {
		return nil, nil
	}
	return &s, nil
}

func (o *oidc) shard(i int) string { return o.cookie + "-" + strconv.Itoa(i) }

// maxCookie is what browsers take of one cookie, its name and attributes included: D "4K", RFC 6265 section 6.1.
const maxCookie = 4096

// keep gives the client the session, in as many cookies as it takes, and takes back those of an older one that was longer. The
// attributes beside Path are assumed: AWS has no word for them. Expires is a date for the client, which TimeScale does not touch.
func (o *oidc) keep(x *exchange, s *session) error {
	plain, err := json.Marshal(s)
	if err != nil {
		return err
	}
	text := base64.StdEncoding.EncodeToString(x.s.jar.seal(o.purpose(), plain))
	attributes := "; Expires=" + s.Began.Add(o.timeout).UTC().Format(http.TimeFormat) + "; Path=/; Secure; HttpOnly"
	i := 0
	for ; text != ""; i++ {
		name := o.shard(i) + "="
		n := min(len(text), maxCookie-len(name)-len(attributes))
		x.cookies = append(x.cookies, field{name: "Set-Cookie", value: name + text[:n] + attributes})
		text = text[n:]
	}
	for ; i < maxShards && len(cookies(x.req.fields, o.shard(i))) > 0; i++ {
		x.cookies = append(x.cookies, field{name: "Set-Cookie", value: o.shard(i) + "=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly"})
	}
	return nil
}
