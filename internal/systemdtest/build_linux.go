package systemdtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// Build builds a main package (a path as for `go build`) as Dir/NAME and
// returns that path. A test binary builds each package once. The result is
// static, as it has to run on the C library of each version.
func (m *Machine) Build(t testing.TB, pkg string) string {
	t.Helper()
	built, err := m.instance.store.build(t.Context(), pkg)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(m.Dir, filepath.Base(built))
	// The same file by another name: nobody has ever had it open for writing,
	// so it can be executed at once.
	if err := os.Link(built, program); err != nil && !sameFile(err, built, program) {
		t.Fatalf("cannot put %s into the instance: %v", pkg, err)
	}
	return program
}

func sameFile(err error, a, b string) bool {
	one, errOne := os.Stat(a)
	other, errOther := os.Stat(b)
	return errors.Is(err, fs.ErrExist) && errOne == nil && errOther == nil && os.SameFile(one, other)
}

// build returns a program that lives as long as this process.
func (s store) build(ctx context.Context, pkg string) (string, error) {
	wd, err := os.Getwd() // a package may be named by a path
	if err != nil {
		return "", err
	}
	key := sha256.Sum256([]byte(wd + "\n" + pkg))
	folder, err := s.sessionDir(fmt.Sprintf("%x", key[:6]))
	if err != nil {
		return "", err
	}
	held, err := lock(filepath.Join(folder, ".lock"))
	if err != nil {
		return "", err
	}
	defer held.Close()
	list := exec.CommandContext(ctx, "go", "list", "-f", "{{.ImportPath}}", pkg)
	name, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("cannot find package %s: %w", pkg, err)
	}
	program := filepath.Join(folder, path.Base(string(name[:len(name)-1])))
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	// It dies with this process, for which the kernel looks at the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program+".new", pkg)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build %s: %w: %s", pkg, err, out)
	}
	return program, os.Rename(program+".new", program)
}
