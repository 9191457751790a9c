package container

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

func init() {
	register(kind{name: backend.SSH, port: "22/tcp", plan: sshPlan, images: []string{"tlsroute-bench/sshd:9.2"}})
}

const hostKeyFile = "/etc/ssh/keys/host_key"

func sshPlan(_ backend.Spec, r *backend.Running, dir string) (plan, error) {
	host, hostPEM, err := newKey()
	if err != nil {
		return plan{}, err
	}
	client, clientPEM, err := newKey()
	if err != nil {
		return plan{}, err
	}
	identity := filepath.Join(dir, "id_ed25519")
	if err := os.WriteFile(identity, clientPEM, 0o600); err != nil {
		return plan{}, fmt.Errorf("write the client's key: %w", err)
	}
	r.Access = backend.Access{User: userName, HostKey: host.PublicKey(), ClientKey: client, IdentityFile: identity}
	return plan{
		env:   map[string]string{"SSHD_USER": r.Access.User, "SSHD_AUTHORIZED_KEYS": string(ssh.MarshalAuthorizedKey(client.PublicKey()))},
		files: []file{{hostKeyFile, hostPEM, 0o600}},
		probe: func(ctx context.Context, address string) error {
			banner, err := backend.ProbeSSH(ctx, address, r.Access)
			// SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7
			r.Info.Product, r.Info.Version, _ = strings.Cut(strings.TrimPrefix(banner, "SSH-2.0-"), "_")
			return err
		},
	}, nil
}

func newKey() (ssh.Signer, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "tlsroute-bench")
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	return signer, pem.EncodeToMemory(block), err
}
