package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

func init() {
	register(kind{name: backend.SSH, port: "22/tcp", plan: sshPlan, images: []string{"tlsroute-bench/sshd:9.2"}, config: true})
}

const (
	hostKeyFile         = "/etc/ssh/keys/host_key"
	hostCertificateFile = "/etc/ssh/keys/host_key-cert.pub"
)

func sshPlan(spec backend.Spec, r *backend.Running, dir string) (plan, error) {
	keys, err := backend.NewSSHKeys(spec)
	if err != nil {
		return plan{}, err
	}
	identity := filepath.Join(dir, "id_ed25519")
	if err := os.WriteFile(identity, keys.ClientPEM, 0o600); err != nil {
		return plan{}, fmt.Errorf("write the client's key: %w", err)
	}
	r.Access = backend.Access{User: userName, HostKey: keys.Host.PublicKey(), HostCA: keys.CA, ClientKey: keys.Client, IdentityFile: identity, Folder: "/home/" + userName}
	var args []string
	for _, line := range append(slices.Clone(spec.Config), "HostCertificate "+hostCertificateFile) {
		args = append(args, "-o", line)
	}
	return plan{
		env: map[string]string{"SSHD_USER": r.Access.User, "SSHD_AUTHORIZED_KEYS": string(ssh.MarshalAuthorizedKey(keys.Client.PublicKey()))},
		files: []file{
			{hostKeyFile, keys.HostPEM, 0o600},
			{hostCertificateFile, ssh.MarshalAuthorizedKey(keys.Certificate), 0o644},
		},
		args: args,
		probe: func(ctx context.Context, address string) error {
			banner, err := backend.ProbeSSH(ctx, address, r.Access)
			// SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7
			r.Info.Product, r.Info.Version, _ = strings.Cut(strings.TrimPrefix(banner, "SSH-2.0-"), "_")
			return err
		},
	}, nil
}
