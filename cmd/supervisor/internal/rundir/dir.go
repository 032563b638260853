// Package rundir keeps the directory in which a running supervisor can be
// found, and finds it there.
//
// It guarantees that one directory belongs to one living supervisor: the
// directory is locked as long as its owner lives, an exec in place included, so
// that what a killed one left behind can be told from what is in use. Of what a
// killed one left, its state and the sockets of its generations stay for the
// next; nothing is left when an owner ends of its own accord.
package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// ControlSocket is the name of the control socket in the directory.
	ControlSocket = "control.sock"
	// RendezvousSocket is the name of the socket where generations come back to
	// that lost their supervisor.
	RendezvousSocket = "rendezvous.sock"
	// StateFile is the name of the file from which the next supervisor learns of
	// them.
	StateFile = "state.json"
	// StoredFile is the name of the file in which a supervisor that is started
	// again leaves what sockets the service manager keeps for the next.
	StoredFile = "stored.json"
	// maxPath is the length of the longest path of a Unix socket, in bytes:
	// sun_path without its terminating NUL (unix(7)).
	maxPath = 107
	// socketRoom is the length that a file name in the directory may have: the
	// control socket's, or that of a generation's private socket.
	socketRoom = len("/generation-4294967295.sock")
	// attempts is how often a directory that is being removed by its former
	// owner is made anew.
	attempts = 10
)

// A Place is where a service's directory is to be.
type Place struct {
	Path string
	// Kept tells that the directory belongs to somebody else, who made it and
	// removes it.
	Kept bool
	// Ours tells that only supervisors make the directory and its parent, so
	// that it can be removed whichever of them made it.
	Ours bool
}

// Choose returns the place for the service called name: the path given, if
// there is one, or else the first of $RUNTIME_DIRECTORY as it is,
// $XDG_RUNTIME_DIR/supervisor/name and, for root, /run/supervisor/name.
func Choose(given, name string, getenv func(string) string, uid int) (Place, error) {
	place := Place{Path: given}
	first, _, _ := strings.Cut(getenv("RUNTIME_DIRECTORY"), ":")
	switch {
	case given != "":
	case first != "":
		place = Place{Path: first, Kept: true}
	case getenv("XDG_RUNTIME_DIR") != "":
		place = Place{Path: filepath.Join(getenv("XDG_RUNTIME_DIR"), "supervisor", name), Ours: true}
	case uid == 0:
		place = Place{Path: filepath.Join(systemRoot(getenv), name), Ours: true}
	default:
		return Place{}, errors.New("cannot choose a run directory: neither RUNTIME_DIRECTORY (RuntimeDirectory= of a unit) nor XDG_RUNTIME_DIR is set; give one with --run-dir")
	}
	path, err := filepath.Abs(place.Path)
	if err != nil {
		return Place{}, fmt.Errorf("cannot use run directory %s: %w", place.Path, err)
	}
	place.Path = path
	return place, checkLength(path)
}

func checkLength(path string) error {
	if most := maxPath - socketRoom; len(path) > most {
		return fmt.Errorf("cannot use run directory %s: its path has %d bytes, and with more than %d the sockets in it would exceed the system's limit of %d; give a shorter one with --run-dir",
			path, len(path), most, maxPath)
	}
	return nil
}

// A Dir is a run directory that this process has locked.
type Dir struct {
	// Path is absolute.
	Path string
	// Left tells that a supervisor that was killed left its control socket or
	// its state here. Its generations may live.
	Left bool

	// Passes tells that StoredFile is for the next supervisor.
	Passes bool

	lock  *os.File // the directory itself; flock(2)
	made  []string // the directories made, outermost first
	place Place
}

// RunningError tells that a living supervisor has the directory.
type RunningError struct {
	Path string
	// PID is 0 if it is not known yet.
	PID int
}

// Error names the owner.
func (e *RunningError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("is already run by another supervisor (%s is locked)", e.Path)
	}
	return fmt.Sprintf("is already run by pid %d (%s)", e.PID, e.Path)
}

// Open makes the directory where it does not exist, mode 0700 and its parents
// 0755, and locks it. If a living supervisor has it, the error is a
// *RunningError. What a dead one left stays until Listen, as the trace of it.
// The lock is not inherited by programs that are started.
func Open(place Place) (*Dir, error) {
	var gone error
	for range attempts {
		d, err := open(place)
		if errors.Is(err, errGone) || errors.Is(err, fs.ErrNotExist) {
			gone = err
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := d.look(); err != nil {
			d.lock.Close() // and nothing else: what is there is not ours
			return nil, err
		}
		return d, nil
	}
	return nil, gone
}

// errGone tells that the directory was removed between making and locking it.
var errGone = errors.New("the run directory is removed again and again while it is opened")

// Adopt takes over the directory from the program that this process executed
// before, whose lock it has inherited as a descriptor, which it takes. made is
// what [Dir.Made] told there.
func Adopt(place Place, lock int, made []string) (*Dir, error) {
	unix.CloseOnExec(lock)
	d := &Dir{Path: place.Path, lock: os.NewFile(uintptr(lock), place.Path), made: made, place: place}
	if err := d.own(); err != nil {
		d.lock.Close()
		return nil, err
	}
	return d, nil
}

// Succeed has the directories removed at the end that a supervisor made which was
// killed, as its [Dir.Made] told. Only the directory itself and those that hold it
// count.
func (d *Dir) Succeed(made []string) {
	var all []string
	for _, dir := range made {
		if filepath.IsAbs(dir) && (dir == d.Path || strings.HasPrefix(d.Path, dir+"/")) {
			all = append(all, dir)
		}
	}
	d.made = append(all, d.made...)
}

// Made are the directories that were made for it, outermost first.
func (d *Dir) Made() []string { return d.made }

// Lock gives a close-on-exec duplicate of the descriptor that holds the lock.
func (d *Dir) Lock() (fd int, err error) {
	raw, err := d.lock.SyscallConn()
	if err != nil {
		return -1, err
	}
	failed := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) })
	return fd, errors.Join(failed, err)
}

func open(place Place) (*Dir, error) {
	made, err := makeAll(place.Path, 0o700)
	if err != nil {
		return nil, fmt.Errorf("cannot make run directory %s: %w", place.Path, err)
	}
	lock, err := os.Open(place.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot open run directory: %w", err)
	}
	d := &Dir{Path: place.Path, lock: lock, made: made, place: place}
	if err := d.own(); err != nil {
		lock.Close() // of what was made, nothing is ours to remove
		return nil, err
	}
	return d, nil
}

// makeAll makes path with that mode, and its parents with 0755, and returns
// what it made, outermost first.
func makeAll(path string, mode fs.FileMode) (made []string, err error) {
	err = os.Mkdir(path, mode)
	if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
		if made, err = makeAll(parent, 0o755); err != nil {
			return made, err
		}
		err = os.Mkdir(path, mode)
	}
	if err == nil {
		return append(made, path), nil
	}
	if errors.Is(err, fs.ErrExist) {
		return made, nil
	}
	return made, err
}

// own locks the directory and checks that nobody else can put files into it.
func (d *Dir) own() error {
	raw, err := d.lock.SyscallConn()
	if err != nil {
		return err
	}
	var opened unix.Stat_t
	var locked error
	err = raw.Control(func(fd uintptr) {
		if err = unix.Fstat(int(fd), &opened); err == nil {
			locked = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB)
		}
	})
	if err != nil {
		return fmt.Errorf("cannot use run directory %s: %w", d.Path, err)
	}
	if errors.Is(locked, unix.EWOULDBLOCK) {
		pid, _ := Owner(filepath.Join(d.Path, ControlSocket))
		return &RunningError{Path: d.Path, PID: pid}
	} else if locked != nil {
		return fmt.Errorf("cannot lock run directory %s: %w", d.Path, locked)
	}
	var present unix.Stat_t
	if unix.Stat(d.Path, &present) != nil || present.Ino != opened.Ino || present.Dev != opened.Dev {
		return errGone
	}
	return checkSafe(d.Path, opened)
}

// ErrGone is what errors.Is finds where the directory is not there any more, or is
// another one.
var ErrGone = errors.New("is gone")

// Check says whether the directory is still where it was. One that was removed can
// be found by nobody, and no socket can be made in it.
func (d *Dir) Check() error {
	opened, err := d.lock.Stat()
	if err != nil {
		return fmt.Errorf("its run directory %s cannot be looked at: %w", d.Path, err)
	}
	if present, err := os.Stat(d.Path); err != nil || !os.SameFile(opened, present) {
		return fmt.Errorf("its run directory %s %w; restart the service", d.Path, ErrGone)
	}
	return nil
}

// Room says why that many bytes cannot be written to the directory, as far as its
// file system tells (statfs(2)).
func (d *Dir) Room(bytes uint64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(d.Path, &st); err != nil {
		return fmt.Errorf("statfs %s: %w", d.Path, err)
	}
	switch {
	case st.Flags&unix.ST_RDONLY != 0:
		return unix.EROFS
	case st.Blocks > 0 && st.Bavail*uint64(st.Bsize) < bytes, st.Files > 0 && st.Ffree == 0: // 0 of all: it has no limit
		return unix.ENOSPC
	}
	return nil
}

// checkSafe refuses a directory in which another user could replace sockets.
func checkSafe(path string, st unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("cannot use run directory %s: it is not a directory", path)
	}
	if uid := uint32(os.Geteuid()); st.Uid != uid && st.Uid != 0 {
		return fmt.Errorf("cannot use run directory %s: it belongs to uid %d; give another with --run-dir", path, st.Uid)
	}
	if mode := st.Mode & 0o777; mode&0o022 != 0 {
		return fmt.Errorf("cannot use run directory %s: others may write to it (mode %04o); try chmod go-w, or give another with --run-dir", path, mode)
	}
	return nil
}

// look sees whether a supervisor that is gone left its control socket.
func (d *Dir) look() error {
	if _, err := os.Lstat(d.State()); err == nil {
		d.Left = true
	}
	path := d.Control()
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot use run directory: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("cannot use run directory %s: %s is not a socket; remove it, or give another with --run-dir", d.Path, path)
	}
	if pid, err := Owner(path); err == nil {
		return &RunningError{Path: d.Path, PID: pid}
	}
	d.Left = true
	return nil
}

// Sweep removes what there is of generations that are not among those kept.
func (d *Dir) Sweep(kept []int) error {
	return d.sweep(func(name string) bool {
		return isPrivate(name) && !slices.ContainsFunc(kept, func(n int) bool { return strings.HasPrefix(name, private(n)+".") })
	})
}

// PrivateSocket is the name of the private socket of a generation.
func PrivateSocket(generation int) string { return private(generation) + ".sock" }

// NotifySocket is the name of the socket on which the program of a generation
// says how it is. Beside it there may be a directory of the same name with
// another ending, in which the next version of a program is played.
func NotifySocket(generation int) string { return private(generation) + ".notify" }

const privatePrefix = "generation-"

// private begins the names of what a generation has in the run directory.
func private(generation int) string { return fmt.Sprintf(privatePrefix+"%d", generation) }

func isPrivate(name string) bool {
	return strings.HasPrefix(name, privatePrefix) &&
		slices.Contains([]string{".sock", ".notify", ".next"}, filepath.Ext(name))
}

// isOurs tells the files of the supervisor and of its generations.
func isOurs(name string) bool {
	return isPrivate(name) || name == ControlSocket || name == RendezvousSocket ||
		strings.HasPrefix(name, StateFile) || strings.HasPrefix(name, StoredFile)
}

func (d *Dir) sweep(ours func(name string) bool) error {
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return fmt.Errorf("cannot clean run directory: %w", err)
	}
	for _, e := range entries {
		if !ours(e.Name()) {
			continue
		}
		if err := remove(filepath.Join(d.Path, e.Name()), e); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot clean run directory: %w", err)
		}
	}
	return nil
}

// remove removes what somebody of ours has left.
func remove(path string, e fs.DirEntry) error {
	if e.IsDir() {
		return os.RemoveAll(path)
	}
	return os.Remove(path)
}

// Control is the path of the control socket.
func (d *Dir) Control() string { return filepath.Join(d.Path, ControlSocket) }

// Rendezvous is the path of the socket where generations come back to.
func (d *Dir) Rendezvous() string { return filepath.Join(d.Path, RendezvousSocket) }

// State is the path of the file in which the next supervisor finds what it has
// to know.
func (d *Dir) State() string { return filepath.Join(d.Path, StateFile) }

// Stored is the path of the file in which the next supervisor finds what sockets
// the service manager keeps for it.
func (d *Dir) Stored() string { return filepath.Join(d.Path, StoredFile) }

// Close removes the sockets and the directories that supervisors made,
// unless somebody's files are in them, and gives up the lock. What a dead
// supervisor left stays if Listen was not called.
func (d *Dir) Close() error {
	if d.Left || errors.Is(d.Check(), ErrGone) { // what has its name now may be another supervisor's
		return d.lock.Close()
	}
	err := d.sweep(func(name string) bool { return isOurs(name) && !(d.Passes && name == StoredFile) })
	made := d.made
	if d.place.Ours {
		made = []string{filepath.Dir(d.Path), d.Path}
	}
	if !d.place.Kept {
		for _, dir := range slices.Backward(made) {
			_ = os.Remove(dir) // fails if it is not empty
		}
	}
	return errors.Join(err, d.lock.Close())
}

// Listen opens the control socket, mode 0600, in the place of one that a dead
// supervisor left. Closing it removes its file.
func (d *Dir) Listen() (*Socket, error) {
	if err := d.sweep(func(name string) bool { return name == ControlSocket || name == StoredFile }); err != nil {
		return nil, err
	}
	d.Left = false
	l, err := listenAt(d.Control())
	if err != nil {
		return nil, err
	}
	return &Socket{path: d.Control(), now: l}, nil
}
