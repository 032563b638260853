package handover

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// temporary is added to the path of a state while it is being written.
const temporary = ".new"

// Save writes s to a file that is either the old or the new one at any moment,
// mode 0600. The numbers of descriptors and the clients' connections are left
// out: they end with the process. Save does not wait for the disk, because the
// state is of no use after a crash of the system. There is one writer: the
// owner of the directory.
func Save(path string, s State) error {
	data, err := Encode(s.withoutDescriptors())
	if err != nil {
		return err
	}
	if err := write(path+temporary, data); err != nil {
		return fmt.Errorf("cannot save the state: %w", err)
	}
	if err := os.Rename(path+temporary, path); err != nil {
		return errors.Join(fmt.Errorf("cannot save the state: %w", err), os.Remove(path+temporary))
	}
	return nil
}

// write makes a file of its own: what has that name already was left by a
// writer that was killed, or put there by somebody who wants it written to.
func write(path string, data []byte) error {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err := os.Remove(path); err != nil {
			return err
		}
		f, err = os.OpenFile(path, flags, 0o600)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// Load reads what Save has written; fs.ErrNotExist if there is nothing. It
// refuses a file that anybody but this user or root can have written.
func Load(path string) (State, error) {
	data, err := read(path)
	if err != nil {
		return State{}, fmt.Errorf("cannot load the state from %s: %w", path, err)
	}
	s, err := Decode(data)
	if err != nil {
		return State{}, fmt.Errorf("%s: %w", path, err)
	}
	for _, d := range s.descriptors() {
		if d.fd != 0 {
			return State{}, fmt.Errorf("%s: cannot read the state: %w: a descriptor for %s, in a file", path, ErrCorrupt, d.whose)
		}
	}
	return s, nil
}

func read(path string) ([]byte, error) {
	// Nobody is waited for who might open the other end of a FIFO.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, errors.New("it is a symbolic link")
	}
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err // the path is named by the caller
		}
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := trusted(info); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxHeader+maxSize))
}

// trusted says whether only this user and root can have written the file.
func trusted(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("it is no regular file (mode %v)", info.Mode())
	case !ok:
		return errors.New("the system does not tell its owner")
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("it belongs to uid %d, not to uid %d", st.Uid, os.Geteuid())
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others may write to it (mode %v)", info.Mode().Perm())
	case info.Size() > maxHeader+maxSize:
		return fmt.Errorf("it has %d bytes, and %d is the limit", info.Size(), maxHeader+maxSize)
	}
	return nil
}

// withoutDescriptors returns s as it is without the process that it is of.
func (s State) withoutDescriptors() State {
	s.Control, s.Scrape, s.Lock, s.Streams, s.Supervisor.Kept = 0, 0, 0, nil, nil
	s.Listeners = slices.Clone(s.Listeners)
	for i := range s.Listeners {
		s.Listeners[i].FD = 0
	}
	s.Supervisor.Generations = slices.Clone(s.Supervisor.Generations)
	for i := range s.Supervisor.Generations {
		s.Supervisor.Generations[i].Channel = 0
	}
	return s
}
