package shim

import (
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"example.com/supervisor/cmd/supervisor/internal/protocol"
)

const (
	// flipReady is what a tableflip program writes when it is ready, and flipParent
	// the variable by which it knows that it has a parent
	// (github.com/cloudflare/tableflip v1.2.3, parent.go).
	flipReady  = 42
	flipParent = "TABLEFLIP_HAS_PARENT_7DIU3"
	// flipDir ends the name of the directory in which this binary has the name of a
	// tableflip program, to play its next version. The rest of it is that of the
	// generation's socket, so that the supervisor removes what a shim leaves that
	// was killed.
	flipDir = ".notify.next"
)

// playParent makes what a tableflip program inherits: descriptor 3 to say ready,
// descriptor 4 with the names of the listeners that follow from 5 on, and which
// ends when the program before it has.
//
// Such a program ends well only when it has been upgraded: by convention SIGHUP
// has it start its own file again, os.Args[0], as the next version, and it ends
// when that one is ready. So it is told a name of its own that leads to this
// binary, which then plays the next version ([Flip]).
func (s *shim) playParent(p *program, l *launch) error {
	ready, saysReady, err := os.Pipe()
	if err != nil {
		return err
	}
	l.theirs = append(l.theirs, saysReady)
	p.hold(ready.Close)
	names, writesNames, err := os.Pipe()
	if err != nil {
		return err
	}
	l.theirs = append(l.theirs, names)
	written := make([]string, len(s.listeners))
	for i, listener := range s.listeners {
		written[i] = s.cfg.Written[listener.Name]
	}
	fds, err := numbers(saysReady, names)
	if err != nil {
		return err
	}
	var all [][]string
	for _, a := range protocol.Aliases(s.listeners, written) {
		all = append(all, a.Name[:])
		fds = append(fds, s.listeners[a.Listener].FD)
	}
	l.fds = fds
	// The names may be more than a pipe holds. Both end when the program does, or
	// before.
	go func() {
		_ = gob.NewEncoder(writesNames).Encode(all)
		var b [1]byte
		_, err := ready.Read(b[:])
		// Whoever waits for the end of its parent need not: the generation before
		// this one is the supervisor's affair.
		_ = writesNames.Close()
		if err == nil && b[0] == flipReady {
			s.tellSelf(word{ready: true})
		}
	}()
	return s.rename(p, l)
}

// rename has the program start this binary where it starts itself.
func (s *shim) rename(p *program, l *launch) error {
	dir := strings.TrimSuffix(s.cfg.Socket, ".notify") + flipDir
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("cannot play the next version of the program: %w", err)
	}
	p.hold(func() error { return os.RemoveAll(dir) })
	link := filepath.Join(dir, filepath.Base(l.argv[0]))
	if err := os.Symlink(s.cfg.Self, link); err != nil {
		return fmt.Errorf("cannot play the next version of the program: %w", err)
	}
	l.argv = append([]string{link}, l.argv[1:]...)
	return nil
}

// numbers are the descriptors of files, which stay open as long as these do.
func numbers(files ...*os.File) ([]int, error) {
	var all []int
	for _, f := range files {
		if err := withFD(f, func(fd int) error {
			all = append(all, fd)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Flip plays the next version of a tableflip program if this process was started
// as one; it does not return then. It says that it is ready, holds nothing, and
// ends with the program.
func Flip() {
	if os.Getenv(flipParent) == "" { // as also for whatever else the program starts
		return
	}
	command, err := os.ReadFile("/proc/self/cmdline") // its name is what counts, whatever has become of os.Args
	name, _, _ := strings.Cut(string(command), "\x00")
	if err != nil || !strings.HasSuffix(filepath.Dir(name), flipDir) {
		return
	}
	const first = 5
	ready, names := os.NewFile(3, "ready"), os.NewFile(4, "names")
	var all [][]string
	if err := gob.NewDecoder(names).Decode(&all); err != nil {
		fmt.Fprintln(os.Stderr, "supervisor: cannot play the next version of the program:", err)
		os.Exit(1)
	}
	for i := range all {
		_ = syscall.Close(first + i) // the listeners
	}
	if _, err := ready.Write([]byte{flipReady}); err != nil {
		os.Exit(1)
	}
	_ = ready.Close()
	_, _ = io.Copy(io.Discard, names)
	os.Exit(0)
}
