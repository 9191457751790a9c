package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

func init() {
	register(kind{name: "ssh", backend: "ssh", make: func(Shape) workload { return sshWorkload{} }})
}

// sshWorkload runs `cat` over a new channel of an open connection, 64 bytes in, and compares what comes back by its hash.
// Once on each lasting tunnel, before the measurement, a file of 256 KiB goes through `sha256sum`.
type sshWorkload struct{}

const sshFile = 256 << 10

func (sshWorkload) Open(_ context.Context, conn net.Conn, access Access) (session, error) {
	if access.SSHKey == nil || access.HostKey == nil {
		return nil, errors.New("ssh: a client key and the host key are needed")
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, "127.0.0.1:22", &ssh.ClientConfig{
		User:            access.User,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(access.SSHKey)},
		HostKeyCallback: ssh.FixedHostKey(access.HostKey),
		// Ask for the known key's own type: a server with several host keys would otherwise show one that is not known.
		HostKeyAlgorithms: hostKeyAlgorithms(access.HostKey.Type()),
	})
	if err != nil {
		return nil, fmt.Errorf("ssh: %w", err)
	}
	s := &sshSession{client: ssh.NewClient(c, chans, reqs)}
	if _, err := rand.Read(s.payload[:]); err != nil {
		_ = s.client.Close()
		return nil, fmt.Errorf("ssh: make a payload: %w", err)
	}
	return s, nil
}

// hostKeyAlgorithms are the signatures that fit a key type: an RSA key signs with SHA-2, under names of its own.
func hostKeyAlgorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512}
	}
	return []string{keyType}
}

type sshSession struct {
	client  *ssh.Client
	seq     uint64
	payload [64]byte
}

func (s *sshSession) Do(context.Context) error {
	s.seq++
	copy(s.payload[:], fmt.Sprintf("%020d", s.seq))
	out, err := s.run("cat", s.payload[:], len(s.payload))
	if err != nil {
		return err
	}
	if sha256.Sum256(out) != sha256.Sum256(s.payload[:]) {
		return fmt.Errorf("ssh: cat gave other bytes back (%d for %d)", len(out), len(s.payload))
	}
	return nil
}

// Verify sends a file through the tunnel and compares the hash that the far side computed.
func (s *sshSession) Verify(context.Context) error {
	file := make([]byte, sshFile)
	if _, err := rand.Read(file); err != nil {
		return fmt.Errorf("ssh: make a file: %w", err)
	}
	out, err := s.run("sha256sum", file, 1024)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(file)
	if got, _, _ := strings.Cut(string(out), " "); got != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("ssh: a file of %d bytes arrived as another: sha256sum says %.80q, not %x", len(file), out, sum)
	}
	return nil
}

// run executes a command with input; its output may have max bytes.
func (s *sshSession) run(command string, input []byte, max int) ([]byte, error) {
	sess, err := s.client.NewSession()
	if err != nil {
		return nil, fmt.Errorf("ssh: open a channel: %w", err)
	}
	defer func() { _ = sess.Close() }() // io.EOF, as Run has ended it
	out, errOut := &capped{max: max}, &capped{max: 4096}
	sess.Stdin, sess.Stdout, sess.Stderr = bytes.NewReader(input), out, errOut
	if err := sess.Run(command); err != nil {
		if errOut.Len() > 0 {
			return nil, fmt.Errorf("ssh: %s: %w: %.200q", command, err, errOut.Bytes())
		}
		return nil, fmt.Errorf("ssh: %s: %w", command, err)
	}
	return out.Bytes(), nil
}

func (s *sshSession) Close() error {
	err := s.client.Close()
	_ = s.client.Wait() // its reader goroutine ends with the connection
	return err
}

// capped keeps what is written, up to max bytes; more is an error.
type capped struct {
	bytes.Buffer
	max int
}

func (c *capped) Write(p []byte) (int, error) {
	if c.Len()+len(p) > c.max {
		return 0, io.ErrShortBuffer
	}
	return c.Buffer.Write(p)
}

// ReadFrom hides the buffer's own, through which io.Copy would go past the cap.
func (c *capped) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}
