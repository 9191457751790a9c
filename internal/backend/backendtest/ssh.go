package backendtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

func sshContract(t *testing.T, r *backend.Running) {
	dial := func(key ssh.Signer) (*ssh.Client, error) {
		return ssh.Dial("tcp", r.Address, &ssh.ClientConfig{
			User: r.Access.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(r.Access.HostKey), Timeout: 10 * time.Second,
			HostKeyAlgorithms: []string{r.Access.HostKey.Type()},
		})
	}
	client, err := dial(r.Access.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	file := make([]byte, 1<<20)
	rand.Read(file)
	sum := sha256.Sum256(file)
	for command, want := range map[string]struct {
		stdin  []byte
		stdout string
		status int
	}{
		"cat":                    {file, string(file), 0},
		"sha256sum":              {file, hex.EncodeToString(sum[:]) + "  -\n", 0},
		"true":                   {nil, "", 0},
		"echo one  two/3.4":      {nil, "one two/3.4\n", 0},
		"no-such-program-at-all": {nil, "", 127},
	} {
		session, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		session.Stdin, session.Stdout = bytes.NewReader(want.stdin), &out
		err = session.Run(command)
		status := 0
		if exit := (*ssh.ExitError)(nil); errors.As(err, &exit) {
			status, err = exit.ExitStatus(), nil
		}
		if err != nil || status != want.status || sha256.Sum256(out.Bytes()) != sha256.Sum256([]byte(want.stdout)) {
			t.Errorf("%s: status %d, %d bytes, want %d bytes: %v", command, status, out.Len(), len(want.stdout), err)
		}
		_ = session.Close()
	}
	if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Errorf("keepalive is not answered: %v", err)
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := dial(stranger); err == nil {
		_ = c.Close()
		t.Error("a key that nobody knows was let in")
	}
	identity, err := os.ReadFile(r.Access.IdentityFile)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(r.Access.IdentityFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("identity file: %v, %v", info.Mode(), err)
	}
	fromFile, err := ssh.ParsePrivateKey(identity)
	if err != nil {
		t.Fatal(err)
	}
	again, err := dial(fromFile)
	if err != nil {
		t.Fatalf("with the identity file: %v", err)
	}
	// A session that runs on must not outlive the backend.
	session, err := again.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.StdinPipe(); err != nil { // keeps cat waiting
		t.Fatal(err)
	}
	if err := session.Start("cat"); err != nil {
		t.Fatal(err)
	}
	Close(t, r)
	if err := session.Wait(); err == nil {
		t.Error("cat ended well though its server is gone")
	}
	_ = again.Close()
}
