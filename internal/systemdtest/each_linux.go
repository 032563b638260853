package systemdtest

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	// suitesEnv replaces the suites that are tested with.
	suitesEnv = "SYSTEMD_TEST_SUITES"
	// requireEnv turns a skip into a failure.
	requireEnv = "REQUIRE_SYSTEMD"
	// mainEnv is the pid of the test binary whose TestMain called Main.
	mainEnv = "SYSTEMD_TEST_MAIN"
)

// Each runs f as a subtest against each version of systemd that the project is
// tested with: 252 of Debian 12 ("bookworm") and 257 of Debian 13 ("trixie").
// SYSTEMD_TEST_SUITES, separated by commas, names others. Each subtest has the
// name of its suite and a Machine of its own, which ends with it; when it has
// failed, the journal is in its log. Where f calls t.Parallel its Machine waits
// for its turn, booted; EachParallel boots it when that has come.
//
// Where a systemd cannot be run the subtest is skipped with a sentence that
// says why; with REQUIRE_SYSTEMD=1 in the environment it fails instead. The
// TestMain of the package must call Main.
func Each(t *testing.T, f func(t *testing.T, m *Machine)) {
	t.Helper()
	eachSuite(t, func(*testing.T) {}, f)
}

// EachParallel is Each with subtests that run in parallel. Only those that run
// have a Machine: each takes about 16 of the inotify instances that a user has,
// which are 128 on many machines (fs.inotify.max_user_instances, inotify(7)), and a
// systemd that gets none ends while it comes up.
func EachParallel(t *testing.T, f func(t *testing.T, m *Machine)) {
	t.Helper()
	eachSuite(t, (*testing.T).Parallel, f)
}

func eachSuite(t *testing.T, begin func(*testing.T), f func(t *testing.T, m *Machine)) {
	t.Helper()
	if os.Getenv(mainEnv) != strconv.Itoa(os.Getpid()) {
		t.Fatal("the TestMain of this package does not call systemdtest.Main")
	}
	suites := cmp.Or(os.Getenv(suitesEnv), "bookworm,trixie")
	for suite := range strings.SplitSeq(suites, ",") {
		t.Run(suite, func(t *testing.T) {
			begin(t)
			m, err := newMachine(t, suite)
			if err == nil {
				f(t, m)
				return
			}
			if os.Getenv(requireEnv) == "1" {
				t.Fatalf("cannot run a systemd: %v", err)
			}
			t.Skipf("skipped, as a systemd cannot be run here: %v", err)
		})
	}
}

// newMachine boots an instance that ends with the test.
func newMachine(t *testing.T, suite string) (*Machine, error) {
	if err := able(suite); err != nil {
		return nil, err
	}
	s, err := openStore()
	if err != nil {
		return nil, err
	}
	s.sweep()
	root, err := s.root(suite)
	if err != nil {
		return nil, err
	}
	i, err := s.boot(root)
	if err != nil {
		return nil, err
	}
	m := &Machine{Dir: i.dir, instance: i}
	t.Cleanup(func() {
		if t.Failed() {
			m.dump(t)
		}
		if err := i.end(); err != nil {
			t.Errorf("cannot end systemd %d in an orderly way: %v", m.Version, err)
		}
	})
	version := m.Systemctl(t, "show", "--property=Version", "--value")
	if _, err := fmt.Sscanf(version, "%d", &m.Version); err != nil {
		t.Fatalf("systemd says that its version is %q", version)
	}
	return m, nil
}

// able tells what keeps this machine from running a systemd, as far as that is
// known beforehand.
func able(suite string) error {
	if strings.Trim(suite, "abcdefghijklmnopqrstuvwxyz-") != "" || suite == "" {
		return fmt.Errorf("%s: %q is no suite of Debian, as trixie is", suitesEnv, suite)
	}
	if os.Geteuid() != 0 {
		return errors.New("namespaces and mounts need root; run the tests as root")
	}
	for _, tool := range []string{"apt-get", "dpkg", "dpkg-deb", "tar", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w; the tools of a Debian machine are needed", err)
		}
	}
	return nil
}

// dump writes the journal to the log of a failed test.
func (m *Machine) dump(t *testing.T) {
	select {
	case <-m.instance.ended:
		t.Logf("systemd %d ended before the test; its console said:\n%s", m.Version, m.instance.console())
	default:
		t.Logf("the end of the journal of systemd %d:\n%s", m.Version, m.Journal(t, "--output=short-monotonic", "--lines=2000"))
	}
}

// Main runs the tests of a package and exits with their status. It is to be
// called by the TestMain of each package that uses Each, first of all: Each
// starts the test binary again, as the PID 1 of an instance. Something that
// wraps a *testing.M does as well.
func Main(m interface{ Run() int }) {
	if text, ok := os.LookupEnv(stageEnv); ok {
		fmt.Fprintln(os.Stderr, "cannot become an instance:", enter(text))
		os.Exit(1)
	}
	if err := os.Setenv(mainEnv, strconv.Itoa(os.Getpid())); err != nil {
		panic(err)
	}
	code := m.Run()
	if s, err := openStore(); err == nil {
		if err := os.RemoveAll(filepath.Join(s.runs(), s.session())); err != nil {
			fmt.Fprintln(os.Stderr, "cannot clean up after the tests:", err)
			code = cmp.Or(code, 1)
		}
	}
	os.Exit(code)
}
