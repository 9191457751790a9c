package backend

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

// ReadKeys sets ClientKey from a private key file and HostKey from a line of authorized_keys, as HostKeyLine gives it.
func (a *Access) ReadKeys(identity, hostKey string) error {
	data, err := os.ReadFile(identity)
	if err != nil {
		return err
	}
	if a.ClientKey, err = ssh.ParsePrivateKey(data); err != nil {
		return fmt.Errorf("%s: %w", identity, err)
	}
	a.IdentityFile = identity
	if a.HostKey, _, _, _, err = ssh.ParseAuthorizedKey([]byte(hostKey)); err != nil {
		return fmt.Errorf("host key: %w", err)
	}
	return nil
}

// HostKeyLine is the server's key as in a line of authorized_keys, empty for what has none.
func (a *Access) HostKeyLine() string { return keyLine(a.HostKey) }

// HostCALine is the same of the authority behind it.
func (a *Access) HostCALine() string { return keyLine(a.HostCA) }

func keyLine(key ssh.PublicKey) string {
	if key == nil {
		return ""
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}
