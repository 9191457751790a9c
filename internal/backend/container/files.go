package container

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/moby/client"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

// Where the files of a server's account are put, and where it has them from.
const (
	putDir = "/tlsroute"
	ownDir = "/tmp/tlsroute"
)

// file is put into the container before it starts, as root's; by a name alone in putDir.
type file struct {
	name string
	data []byte
	mode int64
	from string // the file of this machine that it is a copy of, in the place of data
}

func (f file) path() string {
	if strings.HasPrefix(f.name, "/") {
		return f.name
	}
	return putDir + "/" + f.name
}

// ownPath is where the server's account has the file from.
func (f file) ownPath() string { return ownDir + "/" + f.name }

// own is what runs before the image's own entry point: what is put into a container belongs to root, and a server reads no key that
// others may read too. An image that does not begin as root has its files by the copy.
func own(account string) string {
	return fmt.Sprintf(`set -e; (umask 077; mkdir -p %[1]s; cp %[2]s/* %[1]s); [ "$(id -u)" != 0 ] || chown -R %[3]s %[1]s; exec "$@"`, ownDir, putDir, account)
}

// put writes files into a container, as they are read: a program is too large to be held.
func (e *engine) put(ctx context.Context, name string, files []file) error {
	if len(files) == 0 {
		return nil
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(w, files)
		_ = w.CloseWithError(err) // it never fails
		packed <- err
	}()
	_, err := e.client.CopyToContainer(ctx, name, client.CopyToContainerOptions{DestinationPath: "/", Content: r})
	_ = r.Close() // nor does this
	if packing := <-packed; packing != nil && !errors.Is(packing, io.ErrClosedPipe) {
		err = packing
	}
	if err != nil {
		return fmt.Errorf("put files into container %s: %w", name, err)
	}
	return nil
}

// pack writes an archive.
func pack(to io.Writer, files []file) error {
	archive := tar.NewWriter(to)
	for _, f := range files {
		if err := f.pack(archive); err != nil {
			return err
		}
	}
	return archive.Close()
}

func (f file) pack(archive *tar.Writer) error {
	var content io.Reader = bytes.NewReader(f.data)
	size := int64(len(f.data))
	if f.from != "" {
		source, err := os.Open(f.from)
		if err != nil {
			return err
		}
		defer func() { _ = source.Close() }()
		about, err := source.Stat()
		if err != nil {
			return err
		}
		content, size = source, about.Size()
	}
	err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.path(), "/"), Mode: f.mode, Size: size})
	if err == nil {
		_, err = io.Copy(archive, content)
	}
	return err
}

// The files of a server with TLS of its own.
const (
	certFile     = "server.pem"
	keyFile      = "server-key.pem"
	clientCAFile = "client-ca.pem"
)

// tlsFiles are those of spec, none when it has no certificate. The authority's file on this machine goes into r.
func tlsFiles(spec backend.Spec, r *backend.Running, dir string) ([]file, error) {
	if len(spec.Certificate.Certificate) == 0 {
		return nil, nil
	}
	chain, key, err := encode(spec.Certificate)
	if err != nil {
		return nil, err
	}
	files := []file{{name: certFile, data: chain, mode: 0o644}, {name: keyFile, data: key, mode: 0o644}}
	if len(spec.ClientCA) > 0 {
		files = append(files, file{name: clientCAFile, data: spec.ClientCA, mode: 0o644})
	}
	if len(spec.CA) > 0 {
		r.Access.CA = filepath.Join(dir, "ca.pem")
		if err := os.WriteFile(r.Access.CA, spec.CA, 0o644); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func encode(c tls.Certificate) (chain, key []byte, err error) {
	for _, der := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("the server's key: %w", err)
	}
	return chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
