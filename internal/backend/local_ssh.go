package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

func init() {
	Register(Driver{Kind: SSH, Name: Local, Start: startLocalSSH, Config: true, Available: func(context.Context, Spec) error {
		_, err := findSSHD()
		return err
	}})
}

// privsepDir is compiled into Debian's sshd; an sshd of root does not start without it. Others never look.
const privsepDir = "/run/sshd"

func findSSHD() (string, error) { return program("openssh-server", process.SystemFolders, "sshd") }

// sshAccount is whom sshd runs as and logs in: without root it can log in nobody else. Root gives it to the service
// account of PostgreSQL, where there is one, as it is unprivileged and has a shell; nobody has none. Else root stays.
func sshAccount() (process.Account, error) {
	if os.Geteuid() != 0 {
		return process.Self()
	}
	if a, err := process.Lookup("postgres"); err == nil && a.HasShell() {
		// A terminal belongs to group tty. devpts makes it so with gid=5, Debian's way; where it does not, a container's, sshd must, and
		// ends the session when it may not.
		return a.In("tty"), nil
	}
	// The packaged service makes this directory too when it starts, and leaves it.
	if err := os.MkdirAll(privsepDir, 0o755); err != nil {
		return process.Account{}, fmt.Errorf("make sshd's own directory: %w", err)
	}
	return process.Self()
}

func startLocalSSH(ctx context.Context, spec Spec, r *Running) error {
	sshd, err := findSSHD()
	if err != nil {
		return err
	}
	acct, err := sshAccount()
	if err != nil {
		return err
	}
	dir, err := privateDir(acct, spec, r)
	if err != nil {
		return err
	}
	keys, err := NewSSHKeys(spec)
	if err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Mkdir(in("files"), 0o700); err != nil {
		return fmt.Errorf("make the folder of files: %w", err)
	}
	if err := acct.Own(in("files")); err != nil {
		return fmt.Errorf("make the folder of files: %w", err)
	}
	for name, data := range map[string][]byte{
		"host_key": keys.HostPEM, "host_key-cert.pub": ssh.MarshalAuthorizedKey(keys.Certificate),
		"authorized_keys": ssh.MarshalAuthorizedKey(keys.Client.PublicKey()), "config": []byte(sshdConfig(spec, acct, in)),
	} {
		if err := acct.WriteFile(in(name), data); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	// The identity stays the caller's own: ssh refuses one that it cannot have written itself.
	if err := os.WriteFile(in("id_ed25519"), keys.ClientPEM, 0o600); err != nil {
		return fmt.Errorf("write the client's key: %w", err)
	}
	r.Access = Access{
		User: acct.Name, HostKey: keys.Host.PublicKey(), HostCA: keys.CA, ClientKey: keys.Client, IdentityFile: in("id_ed25519"), Folder: in("files"),
	}
	server := func(port int) process.Command {
		return process.Command{Account: acct, Dir: dir, Log: "sshd.log", Argv: []string{sshd, "-D", "-e", "-f", in("config"), "-p", strconv.Itoa(port)}}
	}
	var banner string
	// Sessions outlive an sshd that ends politely, and there is nothing in it to be saved.
	err = listenOn(ctx, spec, r, syscall.Signal(0), server, func(ctx context.Context, address string) (err error) {
		banner, err = probeSSH(ctx, address, r.Access)
		return err
	})
	if err != nil {
		return err
	}
	// SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7
	r.Info.Product, r.Info.Version, _ = strings.Cut(strings.TrimPrefix(banner, "SSH-2.0-"), "_")
	r.Info.Note = "the real server of this machine with keys, a host certificate and a configuration of its own, with sftp, scp, terminals and the " +
		"forwarding of ports of this machine; it runs and logs in as " + acct.Name
	return nil
}

// sshdConfig is the server's configuration. Of a keyword that comes twice sshd takes the first.
func sshdConfig(spec Spec, acct process.Account, in func(name string) string) string {
	return strings.Join(append(slices.Clone(spec.Config),
		"ListenAddress 127.0.0.1", "HostKey "+in("host_key"), "HostCertificate "+in("host_key-cert.pub"), "AuthorizedKeysFile "+in("authorized_keys"),
		"PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PubkeyAuthentication yes",
		"AllowUsers "+acct.Name, "PermitRootLogin prohibit-password", "PermitUserRC no", "PrintMotd no", "PrintLastLog no", "UseDNS no", "LogLevel VERBOSE",
		// Without -d it begins in the account's home, where files would stay.
		"Subsystem sftp internal-sftp -d "+in("files"),
		// -L to this machine only, as -R is by itself (GatewayPorts no).
		"AllowTcpForwarding yes", "PermitOpen 127.0.0.1:* localhost:* [::1]:*",
		// A bench opens many connections at once; the default begins to drop the eleventh that has not logged in.
		"MaxStartups 1000:30:2000", "LoginGraceTime 60", ""), "\n")
}

// probeSSH logs in, runs true, and returns the server's banner.
func probeSSH(ctx context.Context, address string, a Access) (string, error) {
	conn, stop, err := dialProbe(ctx, address)
	if err != nil {
		return "", err
	}
	defer stop()
	sc, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: a.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(a.ClientKey)}, HostKeyCallback: ssh.FixedHostKey(a.HostKey),
		HostKeyAlgorithms: []string{a.HostKey.Type()}, // else it would show its certificate
	})
	if err != nil {
		return "", err
	}
	client := ssh.NewClient(sc, channels, requests)
	defer func() { _ = client.Close() }()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	defer func() { _ = session.Close() }()
	if out, err := session.CombinedOutput("true"); err != nil {
		if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
			return "", fmt.Errorf("the shell of %s cannot run true: %w: %s", a.User, exit, out)
		}
		return "", err
	}
	return string(client.ServerVersion()), nil
}
