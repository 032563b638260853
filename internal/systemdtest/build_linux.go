package systemdtest

import (
	"testing"
)

// Build builds a main package (a path as for `go build`) as Dir/NAME and
// returns that path. A test binary builds each package once. The result is
// static, as it has to run on the C library of each version.
func (m *Machine) Build(t testing.TB, pkg string) string {
	t.Helper()
	t.Fatal("not yet")
	return ""
}
