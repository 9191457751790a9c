package backend

import (
	"bytes"
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// openssh runs a client of OpenSSH that trusts nobody but the authority of r's host key, for the host name "localhost".
func openssh(t *testing.T, r *Running, stdin []byte, argv ...string) (stdout []byte, says string, err error) {
	t.Helper()
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte("@cert-authority localhost "+r.Access.HostCALine()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(r.Address)
	options := []string{
		"-F", "none", "-o", "BatchMode=yes", "-o", "Port=" + port, "-o", "HostKeyAlias=localhost", "-o", "UserKnownHostsFile=" + known,
		"-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20", "-i", r.Access.IdentityFile,
	}
	cmd := exec.CommandContext(t.Context(), argv[0], append(options, argv[1:]...)...)
	var out, diag bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &diag
	err = cmd.Run()
	return out.Bytes(), diag.String(), err
}

// TestSSHHostKeysAreCertified has OpenSSH verify both drivers by their authority alone.
func TestSSHHostKeysAreCertified(t *testing.T) {
	for _, driver := range []string{Embedded, Local} {
		t.Run(driver, func(t *testing.T) {
			r := start(t, driver, SSH)
			out, says, err := openssh(t, r, nil, "ssh", r.Access.User+"@127.0.0.1", "echo certified")
			if err != nil || string(out) != "certified\n" {
				t.Errorf("%q, %v: %s", out, err, says)
			}
			other, _, err := newKey()
			if err != nil {
				t.Fatal(err)
			}
			access := r.Access
			access.HostCA = other.PublicKey()
			if out, says, err := openssh(t, &Running{Address: r.Address, Access: access}, nil, "ssh", r.Access.User+"@127.0.0.1", "echo certified"); err == nil || !strings.Contains(says, "Host key verification failed") {
				t.Errorf("an authority of somebody else: %q, %v: %s", out, err, says)
			}
		})
	}
}

// TestSSHFiles copies a file with each protocol that scp knows, and with sftp; paths begin in the private directory.
func TestSSHFiles(t *testing.T) {
	r := start(t, Local, SSH)
	file := make([]byte, 300_000)
	rand.Read(file)
	local := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(local, file, 0o600); err != nil {
		t.Fatal(err)
	}
	host := r.Access.User + "@127.0.0.1"
	for name, copies := range map[string]struct {
		stdin []byte
		argv  []string
	}{
		"scp":     {nil, []string{"scp", local, host + ":scp"}},
		"scp-old": {nil, []string{"scp", "-O", local, host + ":" + filepath.Join(r.Access.Folder, "scp-old")}}, // its paths begin at home
		"sftp":    {[]byte("put " + local + " sftp\n"), []string{"sftp", "-b", "-", host}},
	} {
		if out, says, err := openssh(t, r, copies.stdin, copies.argv...); err != nil {
			t.Errorf("%s: %v: %s%s", name, err, out, says)
			continue
		}
		if got, err := os.ReadFile(filepath.Join(r.Access.Folder, name)); err != nil || !bytes.Equal(got, file) {
			t.Errorf("%s: %d bytes of %d arrived, %v", name, len(got), len(file), err)
		}
	}
}

// TestSSHForwardsToThisMachineOnly: a tunnel must not become a way out.
func TestSSHForwardsToThisMachineOnly(t *testing.T) {
	r := start(t, Local, SSH)
	client, err := ssh.Dial("tcp", r.Address, &ssh.ClientConfig{
		User: r.Access.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(r.Access.ClientKey)},
		HostKeyCallback: ssh.FixedHostKey(r.Access.HostKey), HostKeyAlgorithms: []string{r.Access.HostKey.Type()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	c, err := client.Dial("tcp", r.Address)
	if err != nil {
		t.Fatalf("to itself: %v", err)
	}
	_ = c.Close()
	if c, err := client.Dial("tcp", "192.0.2.1:22"); err == nil || !strings.Contains(err.Error(), "administratively prohibited") {
		if err == nil {
			_ = c.Close()
		}
		t.Errorf("to another machine: %v", err)
	}
}

// TestConfigIsRefusedWhereNobodyReadsIt: a line that did nothing would be a wrong result.
func TestConfigIsRefusedWhereNobodyReadsIt(t *testing.T) {
	spec := Spec{Name: "s", Kind: SSH, Dir: testDir(t), Config: []string{"RekeyLimit 1M"}}
	if err := Available(t.Context(), Embedded, spec); err == nil || !strings.Contains(err.Error(), "leave config out") {
		t.Errorf("available: %v", err)
	}
	if r, err := Start(t.Context(), Embedded, spec); err == nil {
		closeBackend(t, r)
		t.Error("the embedded server started with it")
	}
	spec.Config = []string{"NoSuchKeyword yes"}
	if r, err := Start(t.Context(), Local, spec); err == nil || !strings.Contains(err.Error(), "NoSuchKeyword") {
		if err == nil {
			closeBackend(t, r)
		}
		t.Errorf("a keyword that sshd does not know: %v", err)
	}
}
