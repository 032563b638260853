package upgrade

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Kept holds the files of releases, and their working directories, open by
// descriptor, so that a release can be started again whose directory has been
// deleted or replaced. A descriptor made by O_PATH reads nothing and hinders
// nobody (open(2)). A nil *Kept keeps nothing. Its methods may be called
// concurrently; it is given up by Close.
type Kept struct {
	mu    sync.Mutex
	files map[keptFile]*keptDescriptor
}

// keptFile is what a path led to.
type keptFile struct{ path, identity string }

type keptDescriptor struct {
	fd   int // owned
	pins int // who may come to need it: admissions under way
}

// NewKept returns a Kept that holds nothing yet.
func NewKept() *Kept { return &Kept{files: map[keptFile]*keptDescriptor{}} }

// parts are what is kept of a release.
func (r Release) parts() []keptFile {
	parts := []keptFile{{r.Path, r.File}}
	if r.Root != "" {
		parts = append(parts, keptFile{r.Root, r.RootFile})
	}
	return parts
}

// keep opens what r is made of where its paths lead to it still, and keeps it at
// least until unpin. What cannot be kept is as if this had not been called:
// whoever starts it says why it cannot be.
func (k *Kept) keep(r Release) {
	if k == nil {
		return
	}
	for _, part := range r.parts() {
		k.open(part, part.path)
	}
	k.pin(r, 1)
}

// pin counts who may come to need the descriptors of r.
func (k *Kept) pin(r Release, delta int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, part := range r.parts() {
		if d := k.files[part]; d != nil {
			d.pins = max(0, d.pins+delta)
		}
	}
}

// open opens part where path leads to it. It does not hold the lock over what may
// take as long as a file system likes.
func (k *Kept) open(part keptFile, path string) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err == nil {
		k.take(part, fd)
	}
}

// take takes a descriptor, and closes it if it is not that of part or not needed.
func (k *Kept) take(part keptFile, fd int) {
	is := part.identity != "" && identityOf(own(fd)) == part.identity
	k.mu.Lock()
	defer k.mu.Unlock()
	if !is || k.files[part] != nil {
		closeFD(fd)
		return
	}
	k.files[part] = &keptDescriptor{fd: fd}
}

// find lends the descriptor of part; false if there is none.
func (k *Kept) find(part keptFile) (fd int, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.files[part]
	if d == nil {
		return -1, false
	}
	return d.fd, true
}

// unpin ends what keep began; retain says then what stays.
func (k *Kept) unpin(r Release) {
	if k != nil {
		k.pin(r, -1)
	}
}

// retain gives up what is of none of these releases.
func (k *Kept) retain(releases []*Release) {
	if k == nil {
		return
	}
	wanted := map[keptFile]bool{}
	for _, r := range releases {
		if r != nil {
			for _, part := range r.parts() {
				wanted[part] = true
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for part, d := range k.files {
		if !wanted[part] && d.pins == 0 {
			closeFD(d.fd)
			delete(k.files, part)
		}
	}
}

// adopt keeps r by a process that runs it, or the parent of one that does, where
// its paths lead elsewhere by now (proc_pid_exe(5), proc_pid_cwd(5)).
func (k *Kept) adopt(r Release, pid int) {
	if k == nil || pid <= 0 {
		return
	}
	of := func(pid int) {
		for i, part := range r.parts() {
			if _, ok := k.find(part); !ok {
				k.open(part, part.path)
				k.open(part, fmt.Sprintf("/proc/%d/%s", pid, []string{"exe", "cwd"}[i]))
			}
		}
	}
	of(pid)
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // of a shim; not every kernel tells
	for _, list := range lists {
		children, _ := os.ReadFile(list) // it may have ended
		for _, word := range strings.Fields(string(children)) {
			if child, err := strconv.Atoi(word); err == nil {
				of(child)
			}
		}
	}
}

// identityOf is what Release.File or RootFile say of what is at path; "" if that
// cannot be known.
func identityOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	identity, err := identify(info)
	if err != nil {
		return ""
	}
	return identity
}

// own is a path that leads this process to one of its descriptors, others that of
// it which have its user and its rights, such as its children (proc_pid_fd(5)).
// Before it executes a program, a child moves descriptors about: in its own
// /proc/self/fd another file might have the number by then.
func own(fd int) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd) }

// ErrScript tells of a release that cannot be started by descriptor, because its
// interpreter would have to open it by its path.
var ErrScript = errors.New("it is a script, which can only be started from its path")

// start returns r with the paths from which it can be started: its own, or those
// of descriptors where they do not lead to it any more. The error is why the
// release cannot be started as it was.
func (k *Kept) start(r Release) (Release, error) {
	err := r.Check()
	if err == nil || k == nil {
		return r, err
	}
	k.pin(r, 1)
	defer k.pin(r, -1)
	if fd, ok := k.find(keptFile{r.Root, r.RootFile}); ok && identityOf(r.Root) != r.RootFile {
		r.Root = own(fd)
	}
	if identityOf(r.Path) == r.File {
		return r, r.Check()
	}
	fd, ok := k.find(keptFile{r.Path, r.File})
	switch {
	case !ok:
		return r, err
	case identityOf(own(fd)) != r.File:
		return r, fmt.Errorf("program %s has been written over since that release was admitted; give every release a path of its own, and a symlink to the current one", r.Path)
	case isScript(own(fd)):
		return r, fmt.Errorf("%w; %w", err, ErrScript)
	}
	r.Path = own(fd)
	return r, r.Check()
}

// isScript tells a file that names an interpreter (execve(2)).
func isScript(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 2)
	_, err = io.ReadFull(f, head)
	return err == nil && string(head) == "#!"
}

// A KeptState is one descriptor of a Kept.
type KeptState struct {
	Path     string `json:"path"`
	Identity string `json:"identity"`
	// FD is its number for the process that inherits it.
	FD int `json:"fd"`
}

// state lends the descriptors.
func (k *Kept) state() (all []KeptState) {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for part, d := range k.files {
		all = append(all, KeptState{part.path, part.identity, d.fd})
	}
	return all
}

// inherit takes the descriptors of another supervisor.
func (k *Kept) inherit(all []KeptState) {
	for _, s := range all {
		if k == nil || s.FD <= 2 || !filepath.IsAbs(s.Path) {
			continue
		}
		k.take(keptFile{s.Path, s.Identity}, s.FD)
	}
}

// Close gives up all descriptors.
func (k *Kept) Close() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for part, d := range k.files {
		closeFD(d.fd)
		delete(k.files, part)
	}
}
