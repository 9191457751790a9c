package backend

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding, both ends: the embedded PostgreSQL server checks passwords
// with it, the probe of the local one logs in with it. Passwords are our own ASCII ones, so SASLprep changes nothing.

const (
	scramName       = "SCRAM-SHA-256"
	scramIterations = 4096
	// maxScramIterations bounds the work a server can ask of the probe.
	maxScramIterations = 1 << 20
)

var errScram = errors.New("SCRAM: the message is malformed")

// scramSecret is what a server keeps of a password.
type scramSecret struct {
	salt              []byte
	stored, serverKey []byte
}

func newScramSecret(password string) (scramSecret, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return scramSecret{}, err
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	return scramSecret{salt: salt, stored: stored[:], serverKey: mac(salted, "Server Key")}, nil
}

// scramServer is one login at the server.
type scramServer struct {
	secret      scramSecret
	gs2, bare   string // of the client's first message
	serverFirst string
	nonce       string
}

// first takes the client's first message and returns the server's.
func (s *scramServer) first(msg []byte) ([]byte, error) {
	// gs2-header is "n,," or "y,,", with an authorization identity between the commas that PostgreSQL does not use.
	parts := strings.SplitN(string(msg), ",", 3)
	if len(parts) != 3 || (parts[0] != "n" && parts[0] != "y") {
		return nil, errScram
	}
	s.gs2, s.bare = parts[0]+","+parts[1]+",", parts[2]
	nonce, ok := scramField(s.bare, "r")
	if !ok || nonce == "" {
		return nil, errScram
	}
	s.nonce = nonce + rand.Text()
	s.serverFirst = fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce, base64.StdEncoding.EncodeToString(s.secret.salt), scramIterations)
	return []byte(s.serverFirst), nil
}

// final checks the client's proof; false is a wrong password. The answer proves that the server knows the password too.
func (s *scramServer) final(msg []byte) ([]byte, bool, error) {
	at := bytes.LastIndex(msg, []byte(",p="))
	if at < 0 {
		return nil, false, errScram
	}
	without := string(msg[:at])
	proof, err := base64.StdEncoding.DecodeString(string(msg[at+3:]))
	binding, _ := scramField(without, "c")
	nonce, _ := scramField(without, "r")
	if err != nil || len(proof) != sha256.Size || nonce != s.nonce || binding != base64.StdEncoding.EncodeToString([]byte(s.gs2)) {
		return nil, false, errScram
	}
	auth := s.bare + "," + s.serverFirst + "," + without
	key := make([]byte, sha256.Size)
	subtle.XORBytes(key, proof, mac(s.secret.stored, auth))
	stored := sha256.Sum256(key)
	if !hmac.Equal(stored[:], s.secret.stored) {
		return nil, false, nil
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(mac(s.secret.serverKey, auth))), true, nil
}

// scramClient is one login at the client.
type scramClient struct {
	password, nonce string
	want            []byte // the server's last message
}

func (c *scramClient) first() []byte {
	c.nonce = rand.Text()
	return []byte("n,,n=,r=" + c.nonce) // PostgreSQL takes the name from the startup message
}

func (c *scramClient) final(msg []byte) ([]byte, error) {
	serverFirst := string(msg)
	nonce, _ := scramField(serverFirst, "r")
	salt64, _ := scramField(serverFirst, "s")
	rounds, _ := scramField(serverFirst, "i")
	salt, err := base64.StdEncoding.DecodeString(salt64)
	n, nerr := strconv.Atoi(rounds)
	if err != nil || nerr != nil || n < 1 || n > maxScramIterations || !strings.HasPrefix(nonce, c.nonce) || nonce == c.nonce {
		return nil, errScram
	}
	salted, err := pbkdf2.Key(sha256.New, c.password, salt, n, sha256.Size)
	if err != nil {
		return nil, err
	}
	without := "c=biws,r=" + nonce // biws is "n,,"
	auth := "n=,r=" + c.nonce + "," + serverFirst + "," + without
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	proof := make([]byte, sha256.Size)
	subtle.XORBytes(proof, clientKey, mac(stored[:], auth))
	c.want = []byte("v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), auth)))
	return []byte(without + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

func (c *scramClient) check(msg []byte) error {
	if !hmac.Equal(msg, c.want) {
		return errors.New("SCRAM: the server does not know the password")
	}
	return nil
}

func scramField(msg, name string) (string, bool) {
	for field := range strings.SplitSeq(msg, ",") {
		if value, ok := strings.CutPrefix(field, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
