package systemdtest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// stageEnv has the JSON of a stage in the environment of a test binary that is
// to become an instance.
const stageEnv = "SYSTEMD_TEST_STAGE"

// A stage is the way of a test binary, started as PID 1 of new namespaces and
// in the cgroup of the instance, to become its systemd.
type stage struct {
	Lower string // the unpacked root
	Work  string // an empty folder of its own
	Dir   string // the folder shared under the same path
	Ready string // the Unix socket on which systemd tells that it is up
}

// enter does not return unless it fails.
func enter(text string) error {
	// Namespaces and capabilities are a thread's; what it executes has them.
	runtime.LockOSThread()
	var s stage
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("%s: %w", stageEnv, err)
	}
	for _, step := range []func() error{s.separate, s.overlay, s.mountKernel, s.makeDevices, s.share, s.name, s.changeRoot, renounce} {
		if err := step(); err != nil {
			return err
		}
	}
	// systemd goes by "container" in what it leaves to the machine (systemd's
	// Container Interface), and tells READY=1 once all start jobs are done.
	return unix.Exec("/lib/systemd/systemd",
		[]string{"systemd", "--system", "--unit=multi-user.target", "--show-status=no"},
		append(environment(), "container=supervisor-test", "NOTIFY_SOCKET="+s.Ready))
}

func (s stage) root() string { return filepath.Join(s.Work, "root") }

// separate makes the cgroup that the process is in the root of its cgroup
// namespace, and keeps the mounts from appearing outside.
func (s stage) separate() error {
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("cannot make a cgroup namespace: %w", err)
	}
	return mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

// overlay makes a root that can be written to and is in memory.
func (s stage) overlay() error {
	if err := mount("tmpfs", s.Work, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	upper, work := filepath.Join(s.Work, "upper"), filepath.Join(s.Work, "work")
	for _, folder := range []string{upper, work, s.root()} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	return mount("overlay", s.root(), "overlay", 0, "lowerdir="+s.Lower+",upperdir="+upper+",workdir="+work)
}

// mountKernel mounts what shows the kernel. Settings are not to be written:
// systemd would raise some for the whole machine. Those of the network are the
// instance's own. The other file systems systemd mounts itself.
func (s stage) mountKernel() error {
	const inert = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	in := func(path string) string { return filepath.Join(s.root(), path) }
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"proc", in("proc"), "proc", inert},
		{in("proc/sys"), in("proc/sys"), "", unix.MS_BIND},
		{in("proc/sys/net"), in("proc/sys/net"), "", unix.MS_BIND},
		{"", in("proc/sys"), "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | inert},
		{"sysfs", in("sys"), "sysfs", inert | unix.MS_RDONLY},
		{"cgroup2", in("sys/fs/cgroup"), "cgroup2", inert},
	} {
		if err := mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return err
		}
	}
	return nil
}

// makeDevices makes a /dev with the devices that every program expects.
func (s stage) makeDevices() error {
	dev := filepath.Join(s.root(), "dev")
	if err := mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return err
	}
	unix.Umask(0)
	defer unix.Umask(0o022)
	// The numbers are in Documentation/admin-guide/devices.txt.
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		if err := unix.Mknod(filepath.Join(dev, name), unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			return fmt.Errorf("cannot make device %s: %w", name, err)
		}
	}
	// Without ptmx systemd makes no private /dev (PrivateDevices=).
	for name, to := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	return nil
}

// share shows the shared folder inside.
func (s stage) share() error {
	inside := filepath.Join(s.root(), s.Dir)
	if err := os.MkdirAll(inside, 0o755); err != nil {
		return err
	}
	return mount(s.Dir, inside, "", unix.MS_BIND, "")
}

// name gives the instance an identity. Without one systemd would take this
// boot for the first of a machine, and enable what is preset.
func (s stage) name() error {
	id := make([]byte, 16)
	rand.Read(id)
	if err := os.WriteFile(filepath.Join(s.root(), "etc/machine-id"), []byte(hex.EncodeToString(id)+"\n"), 0o444); err != nil {
		return err
	}
	return unix.Sethostname([]byte("supervisor-test"))
}

// changeRoot leaves the machine's files, by pivot_root(".", ".") as its manual
// page has it: the old root lies over the new one until it is detached.
func (s stage) changeRoot() error {
	if err := unix.Chdir(s.root()); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("cannot change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("cannot leave the old root: %w", err)
	}
	return unix.Chdir("/")
}

// renounce gives up capabilities that reach the whole machine.
func renounce() error {
	for _, c := range []uintptr{unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_SYS_TIME, unix.CAP_SYSLOG} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("cannot drop capability %d: %w", c, err)
		}
	}
	return nil
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("cannot mount %s%s on %s: %w", kind, source, target, err)
	}
	return nil
}
