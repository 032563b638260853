package history

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// FileName is the name of the file in the state directory. The service may have
// files of its own there.
const FileName = "supervisor-history.jsonl"

// temporary is added to the path of a file while it is written anew.
const temporary = ".new"

// Choose returns the state directory of the service called name: the one given, or
// else the first of $STATE_DIRECTORY, as it is, and $XDG_STATE_HOME/supervisor/name;
// "" if there is none. Without being told none is made, not even for root: what is
// started depends on what is in it.
func Choose(given, name string, getenv func(string) string) string {
	first, _, _ := bytes.Cut([]byte(getenv("STATE_DIRECTORY")), []byte(":"))
	switch {
	case given != "":
		return given
	case len(first) > 0:
		return string(first)
	case getenv("XDG_STATE_HOME") != "":
		return filepath.Join(getenv("XDG_STATE_HOME"), "supervisor", name)
	}
	return ""
}

// ReadFile reads what is in the file at path, as [Parse] does. It waits for nobody
// and reads a limited amount.
func ReadFile(path, service string) (entries []Entry, damaged int, err error) {
	text, _, err := read(path)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read the history %s: %w", path, bare(err))
	}
	entries, damaged = Parse(text, service)
	return entries, damaged, nil
}

func read(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, nil, err
	}
	var from io.Reader = f
	if surplus := info.Size() - maxRead; surplus > 0 {
		from = io.NewSectionReader(f, surplus, maxRead)
	}
	text, err := io.ReadAll(io.LimitReader(from, maxRead))
	return text, info, err
}

// trusted refuses a file that somebody else can have written: what is started
// depends on it.
func trusted(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return errors.New("the system does not tell its owner")
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("it belongs to uid %d", st.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others may write to it (mode %04o); try chmod go-w", info.Mode().Perm())
	}
	return nil
}

// add writes lines to the end of the file and returns when they are on the disk,
// and the size that it has then. Of a line that was not finished, the rest is a
// damaged one.
func add(path string, lines []byte) (size int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size = info.Size()
	if last := make([]byte, 1); size > 0 {
		if _, err := f.ReadAt(last, size-1); err != nil {
			return 0, err
		}
		if last[0] != '\n' {
			lines = append([]byte("\n"), lines...)
		}
	}
	if _, err := f.Write(lines); err != nil {
		return 0, err
	}
	return size + int64(len(lines)), f.Sync()
}

// replace puts lines in the place of the file, which is the old or the new one at
// any moment, also after a crash of the system.
func replace(path string, lines []byte) error {
	_ = os.Remove(path + temporary) // of a writer that was killed
	f, err := os.OpenFile(path+temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(lines)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+temporary))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// bare is err without the path, which its reader is told already.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
