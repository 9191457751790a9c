//go:build docker

package images

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

const sshdImage = "tlsroute-bench/sshd:latest"

// newKey makes a key, and the file that OpenSSH keeps it in.
func newKey(t *testing.T) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

func dialSSH(t *testing.T, c *container, user string, host ssh.PublicKey, method ssh.AuthMethod) (*ssh.Client, error) {
	return ssh.Dial("tcp", c.address(t), &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{method}, HostKeyCallback: ssh.FixedHostKey(host), Timeout: 20 * time.Second,
	})
}

// session runs do in a session of its own.
func session(t *testing.T, client *ssh.Client, do func(*ssh.Session) error) {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // it has ended
	if err := do(s); err != nil {
		t.Error(err)
	}
}

func TestSSHD(t *testing.T) {
	t.Parallel()
	host, hostFile := newKey(t)
	key, _ := newKey(t)
	stranger, _ := newKey(t)
	// The host's key is readable for everybody, which sshd would not take as it is.
	c := start(t, sshdImage, "22", []string{"--env", "SSHD_USER=bench", "--env", "SSHD_AUTHORIZED_KEYS=" + string(ssh.MarshalAuthorizedKey(key.PublicKey()))},
		[]file{{"/etc/ssh/keys/host_key", 0o644, hostFile}}, "-o", "Banner=/etc/debian_version")
	var client *ssh.Client
	c.eventually(t, "log in", func() (err error) {
		client, err = dialSSH(t, c, "bench", host.PublicKey(), ssh.PublicKeys(key))
		return err
	})
	defer client.Close() //nolint:errcheck // it may have ended with the server

	session(t, client, func(s *ssh.Session) error {
		out, err := s.CombinedOutput(`echo "$USER $HOME"; cat; command -v scp rsync sha256sum; env`)
		if !strings.HasPrefix(string(out), "bench /home/bench\n/usr/bin/scp\n/usr/bin/rsync\n/usr/bin/sha256sum\n") || strings.Contains(string(out), "SSHD_") {
			t.Errorf("the session has said %q", out)
		}
		return err
	})
	session(t, client, func(s *ssh.Session) error {
		if err := s.RequestPty("xterm", 41, 97, ssh.TerminalModes{}); err != nil {
			return err
		}
		out, err := s.Output("stty size; tty")
		if !strings.HasPrefix(string(out), "41 97\r\n/dev/pts/") {
			t.Errorf("the terminal has said %q", out)
		}
		return err
	})
	session(t, client, func(s *ssh.Session) error {
		in, err := s.StdinPipe()
		if err != nil {
			return err
		}
		out, err := s.StdoutPipe()
		if err != nil {
			return err
		}
		if err := s.RequestSubsystem("sftp"); err != nil {
			return err
		}
		// SSH_FXP_INIT of version 3 is answered with SSH_FXP_VERSION of 3 (draft-ietf-secsh-filexfer-02, section 4).
		if _, err := in.Write([]byte{0, 0, 0, 5, 1, 0, 0, 0, 3}); err != nil {
			return err
		}
		var answer [9]byte
		if _, err := io.ReadFull(out, answer[:]); err != nil {
			return err
		}
		if !bytes.Equal(answer[4:], []byte{2, 0, 0, 0, 3}) {
			t.Errorf("sftp is answered with % x", answer)
		}
		return in.Close()
	})

	// A port forwarded to the server itself: what comes back is its own banner.
	forwarded, err := client.Dial("tcp", "127.0.0.1:22")
	if err != nil {
		t.Fatal(err)
	}
	defer forwarded.Close()
	var banner [8]byte
	if _, err := io.ReadFull(forwarded, banner[:]); err != nil || string(banner[:]) != "SSH-2.0-" {
		t.Errorf("through a forwarded port came %q (%v)", banner, err)
	}

	for name, login := range map[string]struct {
		user   string
		method ssh.AuthMethod
	}{
		"a stranger's key": {"bench", ssh.PublicKeys(stranger)},
		"a password":       {"bench", ssh.Password("bench")},
		"another user":     {"root", ssh.PublicKeys(key)},
	} {
		other, err := dialSSH(t, c, login.user, host.PublicKey(), login.method)
		if err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
			t.Errorf("%s is answered with %v, want a refusal", name, err)
		}
		if other != nil {
			other.Close() //nolint:errcheck // it should not be there
		}
	}
	c.stop(t)
	if logs := c.logs(t); !strings.Contains(logs, "Accepted publickey for bench") {
		t.Errorf("the log has nothing of the login:\n%s", logs)
	}
}

// Without a key of the host's one is made; the user's keys may come as a file.
func TestSSHDMakesAHostKey(t *testing.T) {
	t.Parallel()
	key, _ := newKey(t)
	c := start(t, sshdImage, "22", nil, []file{{"/etc/ssh/authorized_keys.d/tlsroute", 0o600, ssh.MarshalAuthorizedKey(key.PublicKey())}})
	var host ssh.PublicKey
	c.eventually(t, "log in", func() error {
		client, err := ssh.Dial("tcp", c.address(t), &ssh.ClientConfig{
			User: "tlsroute", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, Timeout: 20 * time.Second,
			HostKeyCallback: ssh.HostKeyCallback(func(_ string, _ net.Addr, k ssh.PublicKey) error { host = k; return nil }),
		})
		if err != nil {
			return err
		}
		return client.Close()
	})
	if logs := c.logs(t); !strings.Contains(logs, ssh.FingerprintSHA256(host)) {
		t.Errorf("the fingerprint of the key, %s, is not in the log:\n%s", ssh.FingerprintSHA256(host), logs)
	}
	c.stop(t)
}

func TestSSHDSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	refuses(t, sshdImage, "nobody could log in: set SSHD_AUTHORIZED_KEYS")
	refuses(t, sshdImage, "an account's name", "--env", "SSHD_USER=../x", "--env", "SSHD_AUTHORIZED_KEYS=x")
	refuses(t, sshdImage, "sshd has to start as root", "--user", "1000")
}
