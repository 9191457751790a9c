package container

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/testcontainers/testcontainers-go"

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
	return fmt.Sprintf(`set -e; (umask 077; mkdir %[1]s; cp %[2]s/* %[1]s); [ "$(id -u)" != 0 ] || chown -R %[3]s %[1]s; exec "$@"`, ownDir, putDir, account)
}

func inContainer(files []file) []testcontainers.ContainerFile {
	var list []testcontainers.ContainerFile
	for _, f := range files {
		list = append(list, testcontainers.ContainerFile{Reader: bytes.NewReader(f.data), ContainerFilePath: f.path(), FileMode: f.mode})
	}
	return list
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
	files := []file{{certFile, chain, 0o644}, {keyFile, key, 0o644}}
	if len(spec.ClientCA) > 0 {
		files = append(files, file{clientCAFile, spec.ClientCA, 0o644})
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
