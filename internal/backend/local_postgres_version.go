package backend

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

const (
	postgresPackage = "postgresql" // with -17 behind it, the one of that version
	versionTimeout  = 10 * time.Second
)

// postgresPrograms finds the server, of a version such as 17 or 15.14 where one is asked for, and the initdb beside it: they must be of
// one version. Without a version it is the newest of Debian's, unless PATH has one.
func postgresPrograms(ctx context.Context, version string) (initdb, postgres string, err error) {
	patterns := append([]string{"/usr/lib/postgresql/*/bin"}, process.SystemFolders...)
	if version == "" {
		postgres, err = program(postgresPackage, patterns, "postgres")
	} else {
		postgres, err = postgresOf(ctx, version, process.FindAll(patterns, "postgres"))
	}
	if err != nil {
		return "", "", err
	}
	// PATH may lead to a link.
	real, err := filepath.EvalSymlinks(postgres)
	if err != nil {
		return "", "", err
	}
	initdb = filepath.Join(filepath.Dir(real), "initdb")
	if _, err := os.Stat(initdb); err != nil {
		return "", "", missing("initdb", postgresPackage)
	}
	return initdb, real, nil
}

// postgresOf asks the programs themselves, since a folder may be called anything. What does not answer is not it.
func postgresOf(ctx context.Context, version string, programs []string) (string, error) {
	var there []string
	for _, path := range programs {
		own, err := postgresVersion(ctx, path)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		rest, found := strings.CutPrefix(own, version)
		if err == nil && found && (rest == "" || !isDigit(rest[0])) { // 1 is not 15, but 17 is 17beta1
			return path, nil
		}
		if one := own + " in " + filepath.Dir(path); err == nil && !slices.Contains(there, one) {
			there = append(there, one)
		}
	}
	major, _, _ := strings.Cut(version, ".")
	m := &MissingError{Program: "postgres " + version, Package: postgresPackage + "-" + major, Instead: instead}
	if len(there) > 0 {
		m.Instead = "ask for what is here (" + strings.Join(there, ", ") + "), or " + instead
	}
	return "", m
}

// postgresVersion is the 15.14 of "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)".
func postgresVersion(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	fields := strings.Fields(string(out))
	if len(fields) < 3 || fields[1] != "(PostgreSQL)" {
		return "", fmt.Errorf("%s --version says %.100q", path, out)
	}
	return fields[2], nil
}
