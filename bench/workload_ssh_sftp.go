package bench

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/pkg/sftp"

	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// sftpWorkload is variant sftp, which is what scp does since OpenSSH 9.0: a file goes over the sftp subsystem, many requests under way at
// once. It is written in the folder that a login begins in, read back, and compared byte for byte.
type sftpWorkload struct{ sshWorkload }

func (w sftpWorkload) Open(_ context.Context, conn net.Conn, access Access) (session, error) {
	s, err := w.login(conn, access)
	if err != nil {
		return nil, err
	}
	files, err := sftp.NewClient(s.client, sftp.UseConcurrentWrites(true), sftp.UseFstat(true))
	if err != nil {
		_ = s.Close()
		return nil, needsServer("variant sftp", "sshd with Subsystem sftp", fmt.Errorf("ssh: open sftp: %w", err))
	}
	return &sftpSession{s, files}, nil
}

// Prepare finds out before the load whether the server has the subsystem.
func (w sftpWorkload) Prepare(ctx context.Context, conn net.Conn, access Access) error {
	s, err := w.Open(ctx, conn, access)
	if err != nil {
		return err
	}
	return s.Close()
}

type sftpSession struct {
	*sshSession
	files *sftp.Client
}

func (s *sftpSession) Do(context.Context) (err error) {
	s.seq++
	stream := func() *streamReader {
		return &streamReader{witness.NewStream(hex.EncodeToString(s.payload[32:]), Up, int(s.seq))}
	}
	name := fmt.Sprintf(".tlsroute-bench-%x-%d", s.payload[32:48], s.seq)
	f, err := s.files.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return fmt.Errorf("ssh: sftp: make a file where a login begins: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// It has no name from here on: a tunnel that dies leaves nothing there.
	if err := s.files.Remove(name); err != nil {
		return fmt.Errorf("ssh: sftp: remove the open file: %w", err)
	}
	if n, err := f.ReadFrom(io.LimitReader(stream(), s.shape.Bytes)); err != nil || n != s.shape.Bytes {
		return fmt.Errorf("ssh: sftp: wrote %d of %d bytes: %w", n, s.shape.Bytes, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("ssh: sftp: %w", err)
	}
	same := &sameBytes{want: stream()}
	if _, err := f.WriteTo(same); err != nil {
		return fmt.Errorf("ssh: sftp: read back: %w", err)
	}
	if same.n != s.shape.Bytes {
		return fmt.Errorf("ssh: sftp: %d bytes came back of %d", same.n, s.shape.Bytes)
	}
	return nil
}

func (s *sftpSession) Close() error {
	err := s.sshSession.Close()
	_ = s.files.Wait() // its reader ends with the connection
	return err
}
