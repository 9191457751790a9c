package process

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Account is whom the programs of a local backend run as.
type Account struct {
	Name     string
	uid, gid int
	groups   []uint32 // besides gid
	// other is set when that is not the caller: root runs servers as somebody harmless, and PostgreSQL insists on it.
	other bool
}

// Unprivileged is the caller, or when that is root the first account that exists of those preferred, nobody at last.
func Unprivileged(prefer ...string) (Account, error) {
	if os.Geteuid() != 0 {
		return Self()
	}
	for _, name := range append(prefer, "nobody") {
		if a, err := Lookup(name); err == nil {
			return a, nil
		}
	}
	return Account{}, fmt.Errorf("no unprivileged account to run as: neither %s nor nobody exists", strings.Join(prefer, ", "))
}

// Self is the caller.
func Self() (Account, error) {
	u, err := user.Current()
	if err != nil {
		return Account{}, fmt.Errorf("find own account: %w", err)
	}
	return Account{Name: u.Username, uid: os.Geteuid(), gid: os.Getegid()}, nil
}

// Lookup finds an account by its name.
func Lookup(name string) (Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return Account{}, err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil {
		return Account{}, fmt.Errorf("account %s has ids %s and %s", name, u.Uid, u.Gid)
	}
	return Account{Name: name, uid: uid, gid: gid, other: true}, nil
}

// In is the account in a group more. That is root's to give: a caller who is no other account stays in the groups that it has, and a group
// that does not exist changes nothing.
func (a Account) In(group string) Account {
	g, err := user.LookupGroup(group)
	if err != nil {
		return a
	}
	if gid, err := strconv.ParseUint(g.Gid, 10, 32); err == nil {
		a.groups = append(slices.Clone(a.groups), uint32(gid))
	}
	return a
}

// HasShell tells whether /etc/passwd gives the account a shell that runs commands.
func (a Account) HasShell() bool {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Split(lines.Text(), ":"); len(fields) == 7 && fields[0] == a.Name {
			switch filepath.Base(fields[6]) {
			case "sh", "bash", "dash", "ash", "zsh", "ksh":
				return true
			}
		}
	}
	return false
}

// PrivateDir makes a directory of the account's own (0700) under parent, or os.TempDir() when that is empty or a folder above it bars
// the account. The caller removes it.
func (a Account) PrivateDir(parent, pattern string, logger *slog.Logger) (string, error) {
	given := parent != ""
	if !given {
		parent = os.TempDir()
	}
	parent, err := filepath.Abs(parent)
	if err != nil {
		return "", fmt.Errorf("make private directory: %w", err)
	}
	if a.other {
		// A run's folder is often made by MkdirTemp, mode 0700, and another user cannot pass. Search permission on it
		// shows nobody its contents; what is above it is not ours to open.
		if info, err := os.Stat(parent); err == nil && given {
			if err := os.Chmod(parent, info.Mode().Perm()|0o011); err != nil {
				return "", fmt.Errorf("make private directory: %w", err)
			}
		}
		if !a.reaches(parent) {
			logger.Debug("account cannot reach the run's folder, using the system's", "account", a.Name, "folder", parent)
			parent = os.TempDir()
		}
	}
	dir, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		return "", fmt.Errorf("make private directory: %w", err)
	}
	if err := a.Own(dir); err != nil {
		return "", errors.Join(fmt.Errorf("make private directory: %w", err), os.Remove(dir))
	}
	return dir, nil
}

// RemoveAll removes a directory at the end. A server that was just killed may have a descendant that still writes.
func RemoveAll(dir string) error {
	var err error
	for range 5 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
	}
	return err
}

// reaches tells whether the account may search every folder down to dir, by its mode bits.
func (a Account) reaches(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		bit := os.FileMode(0o001)
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			if int(st.Uid) == a.uid {
				bit = 0o100
			} else if int(st.Gid) == a.gid {
				bit = 0o010
			}
		}
		if info.Mode()&bit == 0 {
			return false
		}
		up := filepath.Dir(dir)
		if up == dir {
			return true
		}
		dir = up
	}
}

// Own gives a path to the account.
func (a Account) Own(path string) error {
	if !a.other {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// WriteFile writes a file of the account's own, mode 0600.
func (a Account) WriteFile(path string, data []byte) error {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return a.Own(path)
}
