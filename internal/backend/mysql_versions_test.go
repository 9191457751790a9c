package backend

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// TestMySQLOfAVersionIsFoundAmongSeveral has programs side by side that say what MariaDB and MySQL say to --version.
func TestMySQLOfAVersionIsFoundAmongSeveral(t *testing.T) {
	root := t.TempDir()
	var folders []string
	for _, p := range []struct{ folder, name, says string }{
		{"mariadb-11.4", "mariadbd", "Ver 11.4.8-MariaDB for linux-systemd on x86_64 (MariaDB Server)"},
		{"mariadb-10.11", "mariadbd", "Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64 (Debian 12)"},
		{"mysql-8.4", "mysqld", "Ver 8.4.6 for Linux on x86_64 (MySQL Community Server - GPL)"},
		{"mysql-8.0", "mysqld", "Ver 8.0.43-0ubuntu0.24.04.1 for Linux on x86_64 ((Ubuntu))"},
		{"broken", "mysqld", "nothing that anybody knows"},
	} {
		bin := filepath.Join(root, p.folder, "bin")
		for _, dir := range []string{bin, filepath.Join(root, p.folder, "scripts")} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		script := fmt.Sprintf("#!/bin/sh\necho \"%s  %s\"\n", p.name, p.says)
		for _, file := range []string{filepath.Join(bin, p.name), filepath.Join(root, p.folder, "scripts", "mariadb-install-db")} {
			if err := os.WriteFile(file, []byte(script), 0o755); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
		}
		folders = append(folders, bin)
	}
	t.Setenv(process.SearchVariable, strings.Join(folders, string(filepath.ListSeparator)))
	for version, want := range map[string]string{
		"": "mariadb-11.4", "11": "mariadb-11.4", "10.11": "mariadb-10.11", "10.11.14": "mariadb-10.11", "mariadb": "mariadb-11.4", "mariadb-10.11": "mariadb-10.11",
		"mysql": "mysql-8.4", "8.4": "mysql-8.4", "mysql-8.0": "mysql-8.0", "8": "mysql-8.4",
	} {
		p, err := findMySQL(t.Context(), version)
		if err != nil {
			t.Errorf("%q: %v", version, err)
			continue
		}
		maria := strings.HasPrefix(want, "mariadb")
		if p.base != filepath.Join(root, want) || (p.product == mariaDB) != maria || (p.install != "") != maria {
			t.Errorf("%q is %+v, want that of %s", version, p, want)
		}
	}
	for _, version := range []string{"10.1", "mysql-10.11", "mariadb-8.4", "9.2", "percona"} {
		p, err := findMySQL(t.Context(), version)
		if err == nil {
			t.Errorf("%q is %v", version, p)
			continue
		}
		for _, says := range []string{
			`no MySQL or MariaDB server of version "` + version + `" here`, "MariaDB 10.11.14 (" + filepath.Join(root, "mariadb-10.11"), "MySQL 8.0.43 (",
			"nothing that anybody knows", process.SearchVariable,
		} {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%q: %v; it does not say %q", version, err, says)
			}
		}
	}
}
