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

	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

func init() {
	register(kind{
		name: "ssh", backend: "ssh",
		options: []option{
			{"variant", "exec, or copy, sftp", func(s *Shape) { setDefault(&s.Variant, "exec") }},
			{"bytes", "1 MiB, of a copy or sftp", func(s *Shape) {
				if s.Variant == "copy" || s.Variant == "sftp" {
					setDefault(&s.Bytes, 1<<20)
				}
			}},
			{"direction", "up, or duplex, of a copy; duplex of sftp", func(s *Shape) {
				switch s.Variant {
				case "copy":
					setDefault(&s.Direction, Up)
				case "sftp":
					setDefault(&s.Direction, Duplex)
				}
			}},
		},
		check: func(s Shape) error {
			switch s.Variant {
			case "copy":
				return errors.Join(between("bytes", s.Bytes, 1, maxSSHCopy), oneOf("direction", s.Direction, Up, Duplex))
			case "sftp":
				return errors.Join(between("bytes", s.Bytes, 1, maxSSHCopy), oneOf("direction", s.Direction, Duplex))
			}
			if s.Bytes != 0 || s.Direction != "" {
				return optionErrorf("variant", "bytes and direction are of variants copy and sftp")
			}
			return oneOf("variant", s.Variant, "exec", "copy", "sftp")
		},
		make: func(s Shape) workload {
			if s.Variant == "sftp" {
				return sftpWorkload{sshWorkload{shape: s}}
			}
			return sshWorkload{shape: s}
		},
	})
}

// sshWorkload runs `cat` over a new channel of an open connection, 64 bytes in, and compares what comes back by its hash.
// Once on each lasting tunnel, before the measurement, a file of 256 KiB goes through `sha256sum`.
//
// A copy is a file of another size in the place of the 64 bytes: up is compared by the hash that the far side computed, duplex by every byte
// of what `cat` gave back. By sftp it is written to a file and read back (workload_ssh_sftp.go).
type sshWorkload struct{ shape Shape }

const (
	sshFile    = 256 << 10
	maxSSHCopy = 1 << 30
)

func (w sshWorkload) Open(_ context.Context, conn net.Conn, access Access) (session, error) {
	s, err := w.login(conn, access)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (w sshWorkload) login(conn net.Conn, access Access) (*sshSession, error) {
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
	s := &sshSession{client: ssh.NewClient(c, chans, reqs), shape: w.shape}
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
	shape   Shape
}

func (s *sshSession) Do(context.Context) error {
	s.seq++
	if s.shape.Variant == "copy" {
		return s.copy()
	}
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

// copy streams a file that was never sent before, so that it is held nowhere.
func (s *sshSession) copy() error {
	stream := func() io.Reader {
		return io.LimitReader(&streamReader{witness.NewStream(hex.EncodeToString(s.payload[32:]), Up, int(s.seq))}, s.shape.Bytes)
	}
	if s.shape.Direction == Duplex {
		same := &sameBytes{want: &streamReader{witness.NewStream(hex.EncodeToString(s.payload[32:]), Up, int(s.seq))}}
		if err := s.pipe("cat", stream(), same); err != nil {
			return err
		}
		if same.n != s.shape.Bytes {
			return fmt.Errorf("ssh: cat gave %d bytes back for %d", same.n, s.shape.Bytes)
		}
		return nil
	}
	sum, out := sha256.New(), &capped{max: 1024}
	if err := s.pipe("sha256sum", io.TeeReader(stream(), sum), out); err != nil {
		return err
	}
	if got, _, _ := strings.Cut(out.String(), " "); got != hex.EncodeToString(sum.Sum(nil)) {
		return fmt.Errorf("ssh: a file of %d bytes arrived as another: sha256sum says %.80q, not %x", s.shape.Bytes, out.String(), sum.Sum(nil))
	}
	return nil
}

func (s *sshSession) Moved() int64 {
	switch s.shape.Direction {
	case Up:
		return s.shape.Bytes
	case Duplex:
		return 2 * s.shape.Bytes
	}
	return 0 // an exec is no transfer
}

// streamReader is a witness.Stream to be read.
type streamReader struct{ witness.Stream }

func (r *streamReader) Read(b []byte) (int, error) {
	r.Fill(b)
	return len(b), nil
}

// sameBytes takes what is written as long as it is what want gives.
type sameBytes struct {
	want *streamReader
	n    int64
}

func (s *sameBytes) Write(p []byte) (int, error) {
	right := s.want.Right(p)
	s.n += int64(right)
	if right < len(p) {
		return right, fmt.Errorf("byte %d came back as another", s.n)
	}
	return len(p), nil
}

// run executes a command with input; its output may have max bytes.
func (s *sshSession) run(command string, input []byte, max int) ([]byte, error) {
	out := &capped{max: max}
	if err := s.pipe(command, bytes.NewReader(input), out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// pipe executes a command.
func (s *sshSession) pipe(command string, in io.Reader, out io.Writer) error {
	sess, err := s.client.NewSession()
	if err != nil {
		return fmt.Errorf("ssh: open a channel: %w", err)
	}
	defer func() { _ = sess.Close() }() // io.EOF, as Run has ended it
	errOut := &capped{max: 4096}
	sess.Stdin, sess.Stdout, sess.Stderr = in, out, errOut
	if err := sess.Run(command); err != nil {
		if errOut.Len() > 0 {
			return fmt.Errorf("ssh: %s: %w: %.200q", command, err, errOut.Bytes())
		}
		return fmt.Errorf("ssh: %s: %w", command, err)
	}
	return nil
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
