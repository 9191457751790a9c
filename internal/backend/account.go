package backend

import (
	"bufio"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is whom the programs of a local backend run as.
type account struct {
	name     string
	uid, gid int
	// other is set when that is not the caller: root runs servers as somebody harmless, and PostgreSQL insists on it.
	other bool
}

// unprivileged is the caller, or when that is root the first account that exists of those preferred, nobody at last.
func unprivileged(prefer ...string) (account, error) {
	if os.Geteuid() != 0 {
		return self()
	}
	for _, name := range append(prefer, "nobody") {
		if a, err := lookup(name); err == nil {
			return a, nil
		}
	}
	return account{}, fmt.Errorf("no unprivileged account to run as: neither %s nor nobody exists", strings.Join(prefer, ", "))
}

func self() (account, error) {
	u, err := user.Current()
	if err != nil {
		return account{}, fmt.Errorf("find own account: %w", err)
	}
	return account{name: u.Username, uid: os.Geteuid(), gid: os.Getegid()}, nil
}

func lookup(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil {
		return account{}, fmt.Errorf("account %s has ids %s and %s", name, u.Uid, u.Gid)
	}
	return account{name: name, uid: uid, gid: gid, other: true}, nil
}

// hasShell tells whether /etc/passwd gives the account a shell that runs commands.
func (a account) hasShell() bool {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Split(lines.Text(), ":"); len(fields) == 7 && fields[0] == a.name {
			switch filepath.Base(fields[6]) {
			case "sh", "bash", "dash", "ash", "zsh", "ksh":
				return true
			}
		}
	}
	return false
}

// privateDir makes a directory of the account's own (0700) under spec.Dir; r removes it at the end.
func (a account) privateDir(spec Spec, r *Running) (string, error) {
	parent := spec.Dir
	if parent == "" {
		parent = os.TempDir()
	}
	parent, err := filepath.Abs(parent)
	if err != nil {
		return "", fmt.Errorf("make private directory: %w", err)
	}
	if a.other {
		// A run's folder is often made by MkdirTemp, mode 0700, and another user cannot pass. Search permission on it
		// shows nobody its contents; what is above it is not ours to open.
		if info, err := os.Stat(parent); err == nil && spec.Dir != "" {
			if err := os.Chmod(parent, info.Mode().Perm()|0o011); err != nil {
				return "", fmt.Errorf("make private directory: %w", err)
			}
		}
		if !a.reaches(parent) {
			spec.Logger.Debug("account cannot reach the run's folder, using the system's", "account", a.name, "folder", parent)
			parent = os.TempDir()
		}
	}
	dir, err := os.MkdirTemp(parent, "tlsroute-bench-"+spec.Kind+"-")
	if err != nil {
		return "", fmt.Errorf("make private directory: %w", err)
	}
	r.onClose(removeAll(dir))
	if err := a.own(dir); err != nil {
		return "", fmt.Errorf("make private directory: %w", err)
	}
	return dir, nil
}

// reaches tells whether the account may search every folder down to dir, by its mode bits.
func (a account) reaches(dir string) bool {
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

// own gives a path to the account.
func (a account) own(path string) error {
	if !a.other {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// writeFile writes a file of the account's own, mode 0600.
func (a account) writeFile(path string, data []byte) error {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return a.own(path)
}
