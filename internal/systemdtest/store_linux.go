package systemdtest

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// storeEnv replaces the folder of the store.
const storeEnv = "SYSTEMD_TEST_DIR"

// A store is the folder that outlives the tests. In roots/ is one unpacked
// root for each suite, in runs/ what belongs to test binaries that run: a
// folder for each binary and one for each of its instances. Their names begin
// with who owns them, so that others can tell what was left by the dead.
type store struct {
	path  string
	owner string // this process: its pid, a dot, its start time
}

// openStore makes the folders where they are missing.
func openStore() (store, error) {
	s := store{path: cmp.Or(os.Getenv(storeEnv), "/var/lib/supervisor-systemd-test")}
	if err := s.visible(); err != nil {
		return s, err
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		return s, fmt.Errorf("cannot tell when this process started: %w", err)
	}
	s.owner = fmt.Sprintf("%d.%s", os.Getpid(), start)
	if os.Geteuid() != 0 {
		return s, nil // no instance can have been made
	}
	for _, folder := range []string{s.roots(), s.runs()} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return s, fmt.Errorf("cannot make the folder for the roots: %w; %s may name another", err, storeEnv)
		}
	}
	return s, nil
}

// visible refuses folders that a unit under test could not see: an instance
// has its own /run, PrivateTmp= hides the temporary folders, ProtectHome= the
// homes (systemd.exec(5)).
func (s store) visible() error {
	if !filepath.IsAbs(s.path) {
		return fmt.Errorf("%s: %q is no absolute path", storeEnv, s.path)
	}
	for _, hidden := range []string{"/tmp", "/var/tmp", "/home", "/root", "/run", "/dev", "/proc", "/sys"} {
		if strings.HasPrefix(filepath.Clean(s.path)+"/", hidden+"/") {
			return fmt.Errorf("%s: %s is hidden from units; choose a folder that is not below %s", storeEnv, s.path, hidden)
		}
	}
	return nil
}

func (s store) roots() string { return filepath.Join(s.path, "roots") }
func (s store) runs() string  { return filepath.Join(s.path, "runs") }

// session is the name of the folder of this process below runs.
func (s store) session() string { return s.owner + ".session" }

// sessionDir makes a folder for what belongs to this process. Main removes it.
func (s store) sessionDir(name string) (string, error) {
	path := filepath.Join(s.runs(), s.session(), name)
	return path, os.MkdirAll(path, 0o755)
}

// newRun makes the folder of an instance. The name is short: the path of a
// Unix socket has 107 bytes (unix(7)).
func (s store) newRun() (name string, err error) {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.%d", s.owner, n)
		err := os.Mkdir(filepath.Join(s.runs(), name), 0o755)
		if !os.IsExist(err) {
			return name, err
		}
	}
}

// sweep removes what test binaries left that were killed. What it cannot
// remove now the next one will; another one may be sweeping too.
func (s store) sweep() {
	entries, err := os.ReadDir(s.runs())
	if err != nil {
		return
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return alive(e.Name()) })
	if len(entries) == 0 {
		return
	}
	groups, err := openCgroups()
	if err != nil {
		return
	}
	defer groups.Close()
	for _, e := range entries {
		if groups.remove(e.Name()) == nil {
			os.RemoveAll(filepath.Join(s.runs(), e.Name()))
		}
	}
}

// alive reports whether the process that owns a run is there. One without an
// owner is nobody's.
func alive(run string) bool {
	fields := strings.SplitN(run, ".", 3)
	if len(fields) != 3 {
		return false
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		return false
	}
	start, err := startTime(pid)
	return err == nil && start == fields[1]
}

// startTime tells, with the pid, a process from all others since boot
// (proc_pid_stat(5), field 22). It is an error if there is no process.
func startTime(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The name, in parentheses, may contain anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("cannot read /proc/%d/stat: it has only %d fields", pid, len(fields))
	}
	return fields[19], nil
}

// lock takes a lock that other processes and goroutines wait for. It is given
// back by closing the file, or by the end of the process.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return f, nil
}
