package albsim

// AuthenticateOIDC is how a user is logged in by an identity provider of OpenID Connect: AWS's AuthenticateOidcActionConfig. The
// endpoints are https, and their certificates are verified: by Options.IdentityRoots, or the system's authorities.
type AuthenticateOIDC struct {
	// Issuer is what the ID token must name as its issuer.
	Issuer                string `json:"issuer" jsonschema:"required"`
	AuthorizationEndpoint string `json:"authorization_endpoint" jsonschema:"required"`
	TokenEndpoint         string `json:"token_endpoint" jsonschema:"required"`
	UserInfoEndpoint      string `json:"user_info_endpoint" jsonschema:"required"`
	ClientID              string `json:"client_id" jsonschema:"required"`
	ClientSecret          Secret `json:"client_secret" jsonschema:"required"`
	AuthenticateSession
}

// AuthenticateCognito is the same by a user pool: AWS's AuthenticateCognitoActionConfig.
type AuthenticateCognito struct {
	// UserPoolARN gives the issuer, and the region of a domain that is a prefix alone.
	UserPoolARN      string `json:"user_pool_arn" jsonschema:"required"`
	UserPoolClientID string `json:"user_pool_client_id" jsonschema:"required"`
	// UserPoolDomain is a prefix of amazoncognito.com, or a host with a dot, with or without a port, whose endpoints are
	// /oauth2/authorize, /oauth2/token and /oauth2/userInfo.
	UserPoolDomain string `json:"user_pool_domain" jsonschema:"required"`
	// ClientSecret is not in AWS's interface, which asks the user pool for it.
	ClientSecret Secret `json:"client_secret" jsonschema:"required"`
	AuthenticateSession
}

// AuthenticateSession is what both have.
type AuthenticateSession struct {
	// OnUnauthenticatedRequest is authenticate when empty.
	OnUnauthenticatedRequest string `json:"on_unauthenticated_request,omitempty" jsonschema:"enum=deny,enum=allow,enum=authenticate"`
	// Scope is openid when empty.
	Scope string `json:"scope,omitempty"`
	// SessionCookieName is AWSELBAuthSessionCookie when empty; the cookies are named so with -0, -1 and so on behind it.
	SessionCookieName string `json:"session_cookie_name,omitempty"`
	// SessionTimeout is in seconds; 604800 when 0.
	SessionTimeout int `json:"session_timeout,omitempty" jsonschema:"minimum=1,maximum=604800"`
	// AuthenticationRequestExtraParams go into the query for the authorization endpoint.
	AuthenticationRequestExtraParams map[string]string `json:"authentication_request_extra_params,omitempty" jsonschema:"maxProperties=10"`
}

// JWTValidation lets requests on that bring a token in Authorization: AWS's JwtValidationActionConfig.
type JWTValidation struct {
	// JWKSEndpoint is the https URL of the issuer's keys.
	JWKSEndpoint string `json:"jwks_endpoint" jsonschema:"required,maxLength=256"`
	Issuer       string `json:"issuer" jsonschema:"required,maxLength=256"`
	// AdditionalClaims must all be met, beside iss, exp, nbf and iat.
	AdditionalClaims []JWTClaim `json:"additional_claims,omitempty" jsonschema:"maxItems=10"`
}

// JWTClaim is one claim that a token must have: with single-string the one value, else all of the values among its own.
type JWTClaim struct {
	Format string   `json:"format" jsonschema:"required,enum=single-string,enum=string-array,enum=space-separated-values"`
	Name   string   `json:"name" jsonschema:"required"`
	Values []string `json:"values" jsonschema:"required,minItems=1,maxItems=10"`
}

// Secret is left out of what is shown of a document, such as the admin port's /config.
type Secret string

// MarshalText hides it.
func (s Secret) MarshalText() ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return []byte("hidden"), nil
}
