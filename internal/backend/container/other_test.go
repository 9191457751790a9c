//go:build docker

package container_test

import (
	"archive/tar"
	"bytes"
	"testing"
)

// otherArchitecture is an archive of one program, whose header is of an ELF file for a processor that no engine runs on.
func otherArchitecture(t *testing.T) string {
	t.Helper()
	elf := make([]byte, 120)
	copy(elf, "\x7fELF\x02\x01\x01")
	elf[16], elf[18], elf[19], elf[20] = 2, 0xff, 0xfe, 1 // executable; a machine that does not exist
	elf[52], elf[54], elf[56] = 64, 56, 1
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	err := w.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: int64(len(elf))})
	if err == nil {
		_, err = w.Write(elf)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return archive.String()
}
