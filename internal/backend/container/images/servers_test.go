//go:build docker

package images

import (
	"bytes"
	"compress/gzip"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

const password = `it's "a\pass"` // what a shell and SQL could trip over

// eventually tries until there is no error; it gives up when the container has ended, or after two minutes.
func (c *container) eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	giveUp := time.Now().Add(2 * time.Minute)
	for {
		err := try()
		if err == nil {
			return
		}
		if docker(t, "inspect", "--format", "{{.State.Running}}", c.id) != "true" {
			t.Fatalf("%s: the container has ended; the last try: %v", what, err)
		}
		if time.Now().After(giveUp) {
			t.Fatalf("%s: not within two minutes; the last try: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// gate is an initialisation script that holds up the first start until open.
var gate = file{"/docker-entrypoint-initdb.d/0-gate.sh", 0o755, []byte("#!/bin/sh\necho the gate is closed\nuntil [ -e /tmp/open ]; do sleep 0.1; done\n")}

// atGate waits for the initialisation to come to the gate.
func (c *container) atGate(t *testing.T) {
	t.Helper()
	c.eventually(t, "initialise up to the first script", func() error {
		if strings.Contains(c.logs(t), "the gate is closed") {
			return nil
		}
		return os.ErrNotExist
	})
}

func (c *container) open(t *testing.T) { t.Helper(); c.exec(t, "touch", "/tmp/open") }

// tlsFiles makes a certificate for 127.0.0.1 as files in the place where the entry points expect it. The key is readable for everybody, as
// what a client copies in may be.
func tlsFiles(t *testing.T) (caFile string, ca *certs.CA, files []file) {
	t.Helper()
	ca, err := certs.NewCA("images test")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(certs.Leaf{CommonName: "server", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key, err := certs.WritePEM(dir, "server", leaf)
	if err != nil {
		t.Fatal(err)
	}
	caFile = dir + "/ca.pem"
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{cert: "server.crt", key: "server.key", caFile: "ca.crt"} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file{"/etc/tls/" + to, 0o644, text})
	}
	return caFile, ca, files
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
