package backend

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

const (
	mysqlPackage = "mariadb-server"

	mariaDB    = "MariaDB"
	mysqlOwned = "MySQL"
)

// mysqlFolders is where servers are: Debian's, and where the archives of either project are unpacked side by side.
var mysqlFolders = append([]string{"/opt/mariadb*/bin", "/opt/mysql*/bin", "/usr/local/mariadb*/bin", "/usr/local/mysql*/bin"}, process.SystemFolders...)

// mysqlPrograms is a server and how to make its data directory.
type mysqlPrograms struct {
	path             string
	product, version string
	base             string // the folder above the one that the server is in: messages and character sets are below it
	install          string // mariadb-install-db; empty for MySQL, which does it by itself
}

func (p mysqlPrograms) String() string {
	return fmt.Sprintf("%s %s (%s)", p.product, p.version, p.path)
}

// mysqlSays is the beginning of what a server says to --version, behind its name:
//
//	mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64 (Debian 12)
//	/usr/sbin/mysqld  Ver 8.4.6 for Linux on x86_64 (MySQL Community Server - GPL)
var mysqlSays = regexp.MustCompile(`\sVer ((\d+(?:\.\d+)*)\S*) for `)

// findMySQL finds the first server that is of the version: 10.11, mariadb, mariadb-10.11, mysql-8.4, or any for "". MariaDB, which is
// what Debian has, comes before MySQL, and what PATH has before the rest.
func findMySQL(ctx context.Context, version string) (mysqlPrograms, error) {
	paths := process.FindAll(mysqlFolders, "mariadbd", "mysqld")
	if len(paths) == 0 {
		return mysqlPrograms{}, missing("mariadbd", mysqlPackage)
	}
	var seen, others []string
	for _, path := range paths {
		real, err := filepath.EvalSymlinks(path) // mysqld is mariadbd, by Debian's link
		if err != nil || slices.Contains(seen, real) {
			continue
		}
		seen = append(seen, real)
		p, err := describeMySQL(ctx, real)
		if err != nil {
			others = append(others, err.Error())
			continue
		}
		if !p.is(version) {
			others = append(others, p.String())
			continue
		}
		if p.product != mariaDB {
			return p, nil
		}
		if p.install = installerOf(p); p.install == "" {
			return mysqlPrograms{}, missing("mariadb-install-db", mysqlPackage)
		}
		return p, nil
	}
	return mysqlPrograms{}, fmt.Errorf("no MySQL or MariaDB server of version %q here, but %s: unpack it below /opt, name its folder in %s, or ask for what there is",
		version, strings.Join(others, ", "), process.SearchVariable)
}

// describeMySQL asks a server what it is.
func describeMySQL(ctx context.Context, path string) (mysqlPrograms, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	said, err := exec.CommandContext(ctx, path, "--no-defaults", "--version").Output()
	if err != nil {
		return mysqlPrograms{}, fmt.Errorf("%s, whose --version fails: %w", path, err)
	}
	version := mysqlSays.FindSubmatch(said)
	if version == nil {
		return mysqlPrograms{}, fmt.Errorf("%s, which says %.80q to --version", path, said)
	}
	p := mysqlPrograms{path: path, product: mysqlOwned, version: string(version[2]), base: filepath.Dir(filepath.Dir(path))}
	if strings.Contains(string(version[1]), mariaDB) {
		p.product = mariaDB
	}
	return p, nil
}

// is tells whether the server is what was asked for: a product, the first numbers of a version, or both with a dash between.
func (p mysqlPrograms) is(asked string) bool {
	product, number, both := strings.Cut(asked, "-")
	if !both && asked != "" && (asked[0] < '0' || asked[0] > '9') {
		number = ""
	} else if !both {
		product, number = "", asked
	}
	return (product == "" || strings.EqualFold(product, p.product)) && (number == "" || strings.HasPrefix(p.version+".", number+"."))
}

// installerOf is the mariadb-install-db of the same installation, empty when there is none.
func installerOf(p mysqlPrograms) string {
	for _, folder := range []string{filepath.Dir(p.path), filepath.Join(p.base, "scripts"), filepath.Join(p.base, "bin")} {
		for _, name := range []string{"mariadb-install-db", "mysql_install_db"} {
			path := filepath.Join(folder, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path
			}
		}
	}
	return ""
}
