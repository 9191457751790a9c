package albsim

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// guard is an action that stands in front of a rule's last one.
type guard interface {
	// admit lets a request go on, or answers it and is false.
	admit(ctx context.Context, x *exchange) bool
}

// guardTypes are AWS's words for them.
var guardTypes = []string{"authenticate-oidc", "authenticate-cognito", "jwt-validation"}

// authFault is why a guard does not let a request on.
type authFault struct {
	status int
	reason string // AWS's word for the access log; empty where none is known
	err    error  // for our log
}

// turnAway answers with the fault's page.
func (x *exchange) turnAway(f *authFault) {
	x.rec.errorReason = f.reason
	x.s.log.Debug("not authenticated", "status", f.status, "reason", f.reason, "err", f.err)
	x.page(f.status)
}

// identityTimeout bounds one question to an endpoint of an identity provider: alb.md section 7, 500. For a set of keys it is assumed.
const identityTimeout = 5 * time.Second

// fetch has such an endpoint answer. No redirect is followed, and over limit bytes is an error.
func (s *Server) fetch(ctx context.Context, r *http.Request, limit int64) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.scaled(identityTimeout))
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig: &tls.Config{RootCAs: s.opt.IdentityRoots, MinVersion: tls.VersionTLS12},
	}
	resp, err := transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
	case ctx.Err() != nil: // net/http may still give what a server says to the close_notify that the deadline has sent
		err = ctx.Err()
	case int64(len(body)) > limit:
		err = &tooLargeError{r.URL.Host, limit}
	}
	return resp.StatusCode, body, err
}

type tooLargeError struct {
	host  string
	limit int64
}

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the answer of %s is over %d bytes", e.host, e.limit)
}

// planGuard reads an action of guardTypes.
func (p *plan) planGuard(a Action, protocol, path string, faults *Faults) guard {
	if protocol != "HTTPS" {
		faults.add(path+".type", "%s needs an HTTPS listener", a.Type)
	}
	need := func(config bool, word string) bool {
		if !config {
			faults.add(path+"."+word, "is needed by %s", a.Type)
		}
		return config
	}
	switch {
	case a.Type == "jwt-validation" && need(a.JWTValidationConfig != nil, "jwt_validation_config"):
		return planJWT(*a.JWTValidationConfig, path+".jwt_validation_config", faults)
	case a.Type == "authenticate-oidc" && need(a.AuthenticateOIDCConfig != nil, "authenticate_oidc_config"):
		return p.planOIDC(*a.AuthenticateOIDCConfig, path+".authenticate_oidc_config", faults)
	case a.Type == "authenticate-cognito" && need(a.AuthenticateCognitoConfig != nil, "authenticate_cognito_config"):
		return p.planCognito(*a.AuthenticateCognitoConfig, path+".authenticate_cognito_config", faults)
	}
	return nil
}

// checkEndpoint refuses what AWS would: "a full URL, including the HTTPS protocol, the domain, and the path".
func checkEndpoint(s, path string, faults *Faults) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		faults.add(path, "%q: must be a full URL with https and a host", s)
	}
}

// isGuard tells whether an action is one that stands in front of another.
func isGuard(a Action) bool { return slices.Contains(guardTypes, a.Type) }
