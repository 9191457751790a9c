package container

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Where our program is in a container, and the libraries of this machine that it is linked to.
const (
	programPath = putDir + "/tlsroute-bench"
	libraryDir  = putDir + "/lib"
)

// architectures are Go's names of processors.
var architectures = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm", elf.EM_RISCV: "riscv64", elf.EM_S390: "s390x", elf.EM_PPC64: "ppc64le",
}

// ownProgram is the path of a program of ours; this very one when none is named.
func ownProgram(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find our own program: %w", err)
	}
	return self, nil
}

// fits tells whether the engine runs our program.
func (e *engine) fits(ctx context.Context, named string) error {
	program, err := ownProgram(named)
	if err != nil {
		return err
	}
	f, err := elf.Open(program)
	if _, ok := errors.AsType[*elf.FormatError](err); ok {
		return fmt.Errorf("%s is no program for Linux, which is what containers run: use --backends embedded: %w", program, err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if is, runs := "linux/"+architectures[f.Machine], e.platform(ctx); is != runs {
		return fmt.Errorf("%s is for %s (%s), which this engine (%s) cannot run: use --backends embedded", program, is, f.Machine, runs)
	}
	return nil
}

// programFiles are what our program needs to run in an image that has nothing.
func programFiles(named string) ([]file, error) {
	program, err := ownProgram(named)
	if err != nil {
		return nil, err
	}
	files := []file{{name: programPath, from: program, mode: 0o755}}
	loader, err := interpreter(program)
	if err != nil || loader == "" {
		return files, err
	}
	if same, err := isSelf(program); err != nil || !same {
		return nil, errors.Join(fmt.Errorf("%s is linked to libraries, which an image may not have: build it with CGO_ENABLED=0", program), err)
	}
	libraries, err := mapped()
	if err != nil {
		return nil, err
	}
	for _, from := range libraries {
		f, err := asLibrary(from, loader)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// interpreter is what a program is loaded by; empty when it needs nothing.
func interpreter(program string) (string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
			return strings.TrimRight(string(name), "\x00"), err
		}
	}
	return "", nil
}

func isSelf(program string) (bool, error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	a, err := os.Stat(self)
	if err != nil {
		return false, err
	}
	b, err := os.Stat(program)
	return err == nil && os.SameFile(a, b), err
}

// mapped are the libraries that this process runs, its loader among them.
func mapped() ([]string, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	self, err := filepath.EvalSymlinks("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	var list []string
	for line := range strings.Lines(string(maps)) {
		// address perms offset dev inode path
		field := strings.Fields(line)
		if len(field) == 6 && strings.Contains(field[1], "x") && strings.HasPrefix(field[5], "/") && field[5] != self && !slices.Contains(list, field[5]) {
			list = append(list, field[5])
		}
	}
	return list, nil
}

// asLibrary is a library by the name that programs know it by; the loader where the program looks for it.
func asLibrary(from, loader string) (file, error) {
	f, err := elf.Open(from)
	if err != nil {
		return file{}, err
	}
	defer func() { _ = f.Close() }()
	target, err := filepath.EvalSymlinks(loader)
	if err != nil {
		return file{}, err
	}
	to := loader
	if target != from {
		names, err := f.DynString(elf.DT_SONAME)
		if err != nil || len(names) != 1 {
			return file{}, errors.Join(fmt.Errorf("library %s has no name of its own", from), err)
		}
		to = path.Join(libraryDir, names[0])
	}
	return file{name: to, from: from, mode: 0o755}, nil
}
