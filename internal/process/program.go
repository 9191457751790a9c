package process

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// SearchVariable is an environment variable that, when set, is a list of folders as in PATH: the only ones in which server
// programs are looked for. It chooses between versions side by side.
const SearchVariable = "TLSROUTE_BACKEND_PATH"

// MissingError says which program is not there.
type MissingError struct {
	Program string
	// Package is the Debian package that has it.
	Package string
	// Instead is what else the user can do; may be empty.
	Instead string
}

func (e *MissingError) Error() string {
	text := fmt.Sprintf("%s not found: install the Debian package %s", e.Program, e.Package)
	if e.Instead != "" {
		text += ", or " + e.Instead
	}
	return text
}

// Find finds the first of names: in PATH, then in the folders of patterns, the one with the highest number in its name
// first (/usr/lib/postgresql/17/bin before 15/bin).
func Find(pkg string, patterns []string, names ...string) (string, error) {
	found := FindAll(patterns, names...)
	if len(found) == 0 {
		return "", &MissingError{Program: names[0], Package: pkg}
	}
	return found[0], nil
}

// FindAll finds every program of these names, the best first, in the order of Find.
func FindAll(patterns []string, names ...string) []string {
	folders := filepath.SplitList(os.Getenv("PATH"))
	if only := os.Getenv(SearchVariable); only != "" {
		folders = filepath.SplitList(only)
	} else {
		for _, pattern := range patterns {
			found, _ := filepath.Glob(pattern) // errs on a bad pattern only
			slices.SortFunc(found, func(a, b string) int { return versionIn(b) - versionIn(a) })
			folders = append(folders, found...)
		}
	}
	var programs []string
	for _, name := range names {
		for _, folder := range folders {
			path := filepath.Join(folder, name)
			// sshd starts itself again and wants to be called by its whole path.
			if info, err := os.Stat(path); err == nil && filepath.IsAbs(path) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				programs = append(programs, path)
			}
		}
	}
	return programs
}

// versionIn is the first path element that is a number, 0 without.
func versionIn(path string) int {
	for part := range strings.SplitSeq(path, string(filepath.Separator)) {
		if n, err := strconv.Atoi(part); err == nil {
			return n
		}
	}
	return 0
}

// SystemFolders is where daemons live that are not in an ordinary user's PATH.
var SystemFolders = []string{"/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"}
