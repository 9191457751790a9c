package albsim

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// jwtValidation is the action of that name: AWS's guide, page listener-verify-jwt. RS256 alone; iss and exp must be there, nbf and iat
// are looked at where they are; a valid token goes on to the target as it is. 401 for one that is not was read in a third party's
// notes (O); 500 where the keys cannot be had is assumed, AWS says only that the request is not forwarded. The words of error_reason
// are AWS's as a third party's list has them; those about the keys are not in it, and stay out of the log.
type jwtValidation struct {
	config JWTValidation
	keys   keySet
}

func (v *jwtValidation) admit(ctx context.Context, x *exchange) bool {
	x.rec.did("jwt-validation")
	f := v.judge(ctx, x)
	if f == nil {
		return true
	}
	x.s.count.jwtFailures.Add(1)
	x.turnAway(f)
	return false
}

func (v *jwtValidation) judge(ctx context.Context, x *exchange) *authFault {
	var given []string
	for _, f := range x.req.fields {
		if f.is("Authorization") {
			given = append(given, f.value)
		}
	}
	if len(given) == 0 {
		return &authFault{401, "JWTHeaderNotPresent", nil}
	}
	scheme, bearer, _ := strings.Cut(given[0], " ")
	if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return &authFault{401, "JWTRequestFormatInvalid", nil}
	}
	t, err := parseToken(strings.TrimSpace(bearer))
	if err != nil {
		return &authFault{401, "JWTRequestFormatInvalid", err}
	}
	key, err := v.keys.key(ctx, x.s, t.header.KeyID)
	if err != nil {
		return &authFault{500, "", err}
	}
	if err := t.verify(key); err != nil {
		return &authFault{401, "JWTSignatureValidationError", err}
	}
	return v.claims(t, time.Now())
}

// claims are judged without leeway: AWS says of none.
func (v *jwtValidation) claims(t *jwt, now time.Time) *authFault {
	at := float64(now.UnixNano()) / 1e9
	for _, name := range []string{"exp", "nbf", "iat"} {
		when, present, ok := t.seconds(name)
		switch {
		case !present && name == "exp":
			return &authFault{401, "JWTClaimNotPresent", errClaim(name)}
		case !present:
		case !ok:
			return &authFault{401, "JWTClaimFormatInvalid", errClaim(name)}
		case name == "exp" && when <= at, name != "exp" && when > at:
			return &authFault{401, "JWTClaimValueInvalid", errClaim(name)}
		}
	}
	for _, want := range slices.Concat([]JWTClaim{{"single-string", "iss", []string{v.config.Issuer}}}, v.config.AdditionalClaims) {
		claim, present := t.claims[want.Name]
		if !present {
			return &authFault{401, "JWTClaimNotPresent", errClaim(want.Name)}
		}
		has, ok := claimed(claim, want.Format)
		if !ok {
			return &authFault{401, "JWTClaimFormatInvalid", errClaim(want.Name)}
		}
		if slices.ContainsFunc(want.Values, func(v string) bool { return !slices.Contains(has, v) }) {
			return &authFault{401, "JWTClaimValueInvalid", errClaim(want.Name)}
		}
	}
	return nil
}

func errClaim(name string) error { return fmt.Errorf("claim %.100q", name) }

// claimed are the values of a claim, if it has that format.
func claimed(claim any, format string) (values []string, ok bool) {
	if format == "string-array" {
		list, ok := claim.([]any)
		for _, one := range list {
			s, text := one.(string)
			values, ok = append(values, s), ok && text
		}
		return values, ok
	}
	s, ok := claim.(string)
	if format == "space-separated-values" {
		return strings.Fields(s), ok
	}
	return []string{s}, ok
}

// planJWT checks AWS's limits: D, API_JwtValidationActionConfig and API_JwtValidationActionAdditionalClaim.
func planJWT(c JWTValidation, path string, faults *Faults) guard {
	checkEndpoint(c.JWKSEndpoint, path+".jwks_endpoint", faults)
	for word, s := range map[string]string{"jwks_endpoint": c.JWKSEndpoint, "issuer": c.Issuer} {
		if s == "" || len(s) > 256 {
			faults.add(path+"."+word, "must have from 1 to 256 characters")
		}
	}
	if len(c.AdditionalClaims) > 10 {
		faults.add(path+".additional_claims", "%d, and an action has at most 10", len(c.AdditionalClaims))
	}
	for i, claim := range c.AdditionalClaims {
		checkClaim(claim, path+".additional_claims["+strconv.Itoa(i)+"]", faults)
	}
	return &jwtValidation{config: c, keys: keySet{url: c.JWKSEndpoint}}
}

func checkClaim(c JWTClaim, path string, faults *Faults) {
	if c.Name == "" || slices.Contains([]string{"exp", "iss", "nbf", "iat"}, c.Name) {
		faults.add(path+".name", "%q: must be a claim other than exp, iss, nbf and iat, which are looked at anyway", c.Name)
	}
	words := []string{"single-string", "string-array", "space-separated-values"}
	if !slices.Contains(words, c.Format) {
		faults.add(path+".format", "%q: must be one of %s", c.Format, strings.Join(words, ", "))
	}
	if n := len(c.Values); n < 1 || n > 10 || c.Format == "single-string" && n > 1 {
		faults.add(path+".values", "%d values: single-string has one, the other formats have from 1 to 10", n)
	}
	for _, v := range c.Values {
		if v == "" || len(v) > 256 || c.Format == "space-separated-values" && strings.Contains(v, " ") {
			faults.add(path+".values", "%.60q: must have from 1 to 256 characters, and no space in space-separated-values", v)
		}
	}
}
