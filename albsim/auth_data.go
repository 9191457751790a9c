package albsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"
)

// dataKey signs what targets are told of users.
type dataKey struct {
	key *ecdsa.PrivateKey
	id  string // of the form of a UUID, as AWS's
	pem []byte
}

func newDataKey() *dataKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		panic(err) // P-256 is known
	}
	id := sha256.Sum256(der)
	return &dataKey{
		key: key, id: fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16]),
		pem: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	}
}

// PublicKey is what verifies x-amzn-oidc-data, as PEM, by the kid in its header: AWS has it at
// https://public-keys.auth.elb.REGION.amazonaws.com/KID.
func (s *Server) PublicKey(kid string) (pem []byte, ok bool) {
	k := s.plan.dataKey
	if k == nil || k.id != kid {
		return nil, false
	}
	return k.pem, true
}

// loadBalancerARN is the signer of x-amzn-oidc-data.
const loadBalancerARN = "arn:aws:elasticloadbalancing:albsim:000000000000:loadbalancer/" + elbName

// dataLife is how long it is good for: assumed, AWS has the field exp and no value.
const dataLife = 2 * time.Minute

// userFields are what a target is told of a user: D, with the fields of the JWT's header and padding behind each of its parts.
func (o *oidc) userFields(s *session, now time.Time) []field {
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Signer    string `json:"signer"`
		Issuer    string `json:"iss"`
		Client    string `json:"client"`
		Expires   int64  `json:"exp"`
	}{"ES256", o.key.id, loadBalancerARN, o.issuer, o.clientID, now.Add(dataLife).Unix()})
	if err != nil {
		panic(err) // strings and a number
	}
	part := base64.URLEncoding.EncodeToString
	signed := part(header) + "." + part(s.Claims)
	return []field{
		{name: "x-amzn-oidc-accesstoken", value: s.Access},
		{name: "x-amzn-oidc-identity", value: s.Subject},
		{name: "x-amzn-oidc-data", value: signed + "." + part(o.key.sign(signed))},
	}
}

// sign is ES256: RFC 7518 section 3.4.
func (k *dataKey) sign(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, k.key, sum[:])
	if err != nil {
		panic(err) // crypto/rand does not fail, and the key is sound
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}
