package backend

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHKeys are what an SSH server and its one client need: a host key with a certificate of an authority of its own, and the client's key.
type SSHKeys struct {
	Host, Client       ssh.Signer
	HostPEM, ClientPEM []byte // in the form of OpenSSH's files
	Certificate        *ssh.Certificate
	CA                 ssh.PublicKey
}

// NewSSHKeys makes keys for one server. Its host certificate is for the names and addresses of spec.Certificate, for those of this machine
// where there is none: clients ask for the name that they dialled, and behind a router that is a route's.
func NewSSHKeys(spec Spec) (*SSHKeys, error) {
	k := &SSHKeys{}
	var err error
	if k.Host, k.HostPEM, err = newKey(); err != nil {
		return nil, err
	}
	if k.Client, k.ClientPEM, err = newKey(); err != nil {
		return nil, err
	}
	authority, _, err := newKey()
	if err != nil {
		return nil, err
	}
	k.CA = authority.PublicKey()
	now := time.Now()
	k.Certificate = &ssh.Certificate{
		Key: k.Host.PublicKey(), CertType: ssh.HostCert, KeyId: spec.Name, ValidPrincipals: hostNames(spec),
		ValidAfter: uint64(now.Add(-24 * time.Hour).Unix()), ValidBefore: uint64(now.Add(7 * 24 * time.Hour).Unix()),
	}
	if err := k.Certificate.SignCert(rand.Reader, authority); err != nil {
		return nil, fmt.Errorf("certify the host key: %w", err)
	}
	return k, nil
}

func hostNames(spec Spec) []string {
	names := []string{}
	if leaf := spec.Certificate.Leaf; leaf != nil {
		names = append(names, leaf.DNSNames...)
		for _, ip := range leaf.IPAddresses {
			names = append(names, ip.String())
		}
	}
	if len(names) == 0 { // none at all would be good for any host
		names = []string{"localhost", "127.0.0.1", "::1"}
	}
	return names
}

// newKey makes an Ed25519 key, also in the form of OpenSSH's files.
func newKey() (ssh.Signer, []byte, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "tlsroute-bench")
	if err != nil {
		return nil, nil, fmt.Errorf("write key: %w", err)
	}
	return signer, pem.EncodeToMemory(block), nil
}
