package backend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

func init() { Register(Driver{Kind: SSH, Name: Embedded, Start: startEmbeddedSSH}) }

// maxSessions is sshd's MaxSessions.
const maxSessions = 10

func startEmbeddedSSH(_ context.Context, spec Spec, r *Running) error {
	dir, err := os.MkdirTemp(spec.Dir, "tlsroute-bench-ssh-")
	if err != nil {
		return fmt.Errorf("make private directory: %w", err)
	}
	r.OnClose(func(context.Context) error { return os.RemoveAll(dir) })
	keys, err := NewSSHKeys(spec)
	if err != nil {
		return err
	}
	certified, err := ssh.NewCertSigner(keys.Certificate, keys.Host)
	if err != nil {
		return fmt.Errorf("certify the host key: %w", err)
	}
	identity := filepath.Join(dir, "id_ed25519")
	if err := os.WriteFile(identity, keys.ClientPEM, 0o600); err != nil {
		return fmt.Errorf("write the client's key: %w", err)
	}
	r.Access = Access{User: userName, HostKey: keys.Host.PublicKey(), HostCA: keys.CA, ClientKey: keys.Client, IdentityFile: identity}
	r.Info.Product, r.Info.Version = "tlsroute-bench protocol server", "1"
	r.Info.Note = "protocol server: speaks SSH (x/crypto/ssh, public key authentication) and runs no programs. Exec answers cat, sha256sum, true and echo WORDS. " +
		"It does not do: a shell, a terminal, sftp, scp, forwarding, agents, passwords, other programs"
	want := keys.Client.PublicKey().Marshal()
	config := &ssh.ServerConfig{
		MaxAuthTries: 6,
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if meta.User() != userName || !bytes.Equal(key.Marshal(), want) {
				return nil, fmt.Errorf("key %s is not known for %q", ssh.FingerprintSHA256(key), meta.User())
			}
			return &ssh.Permissions{}, nil
		},
	}
	config.AddHostKey(certified)
	config.AddHostKey(keys.Host)
	s := &sshServer{config: config}
	s.handle = s.serve
	return serve(spec, r, &s.server)
}

type sshServer struct {
	server
	config *ssh.ServerConfig
}

func (s *sshServer) serve(c net.Conn) {
	late := time.AfterFunc(loginTimeout, func() { c.Close() })
	conn, channels, requests, err := ssh.NewServerConn(&idleConn{c, idleTimeout}, s.config)
	late.Stop()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			s.log.Debug("ssh login failed", "remote", c.RemoteAddr(), "err", err)
		}
		return
	}
	var wg sync.WaitGroup
	// keepalive@openssh.com wants an answer and sshd's is no, too.
	wg.Go(func() { ssh.DiscardRequests(requests) })
	free := make(chan struct{}, maxSessions)
	for offer := range channels {
		if offer.ChannelType() != "session" {
			_ = offer.Reject(ssh.UnknownChannelType, "the embedded protocol server has sessions only")
			continue
		}
		select {
		case free <- struct{}{}:
		default:
			_ = offer.Reject(ssh.ResourceShortage, "too many sessions")
			continue
		}
		ch, reqs, err := offer.Accept()
		if err != nil {
			<-free
			continue
		}
		wg.Go(func() {
			s.session(ch, reqs)
			<-free
		})
	}
	_ = conn.Close()
	wg.Wait()
}

// session serves one channel: the first exec is run, other requests are answered as sshd answers what it does not allow.
func (s *sshServer) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	var wg sync.WaitGroup
	running := false
	for req := range reqs {
		var exec struct{ Command string }
		ok := req.Type == "exec" && !running && ssh.Unmarshal(req.Payload, &exec) == nil
		if req.WantReply {
			_ = req.Reply(ok, nil)
		}
		if ok {
			running = true
			wg.Go(func() {
				status := runCommand(exec.Command, ch, ch, ch.Stderr())
				_ = ch.CloseWrite()
				_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
				_ = ch.Close() // ends reqs
			})
		}
	}
	_ = ch.Close()
	wg.Wait()
}

// runCommand runs a line as a shell would. What a shell would treat specially is refused rather than echoed.
func runCommand(line string, in io.Reader, out, diag io.Writer) uint32 {
	words := strings.Fields(line)
	if len(words) > 1 && words[0] == "echo" && !plainWords(words[1:]) {
		words = []string{line}
	}
	return runWords(words, in, out, diag)
}

// runWords is all that the embedded servers can run; it returns the exit status.
func runWords(words []string, in io.Reader, out, diag io.Writer) uint32 {
	name := ""
	if len(words) > 0 {
		name = words[0]
	}
	var err error
	switch {
	case name == "cat" && len(words) == 1:
		_, err = io.Copy(out, in)
	case name == "sha256sum" && len(words) == 1:
		h := sha256.New()
		if _, err = io.Copy(h, in); err == nil {
			_, err = fmt.Fprintf(out, "%s  -\n", hex.EncodeToString(h.Sum(nil)))
		}
	case name == "true" && len(words) == 1:
	case name == "echo" && (len(words) == 1 || !strings.HasPrefix(words[1], "-")):
		_, err = fmt.Fprintln(out, strings.Join(words[1:], " "))
	default:
		fmt.Fprintf(diag, "the embedded protocol server runs cat, sha256sum, true and echo WORDS, not %q\n", strings.Join(words, " "))
		return 127
	}
	if err != nil {
		return 1
	}
	return 0
}

// plainWords tells whether echo prints the words as they are: no option, nothing to quote or expand.
func plainWords(words []string) bool {
	for i, w := range words {
		if i == 0 && w[0] == '-' {
			return false
		}
		for _, c := range []byte(w) {
			if !isDigit(c) && (c >= 0x80 || !isLetter(c) || c == '`') && !strings.ContainsRune("-_./:=@%+,", rune(c)) {
				return false
			}
		}
	}
	return true
}
