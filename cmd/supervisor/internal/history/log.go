package history

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// A Log is the history of a service that goes on. Its methods may be called
// concurrently, but for Close.
type Log struct {
	service string
	path    string // of the file; "" if there is none
	log     *slog.Logger
	work    chan struct{} // has room for one: there is something to be written
	written sync.WaitGroup

	saving sync.Mutex // held while the file is written
	failed bool       // the latest could not be written, which has been logged

	mu      sync.Mutex
	entries []Entry
	unsaved []Entry
}

// Open reads the history of a service in a state directory, which is made if it is
// not there; with "" there is no file, and the history ends with the process. What
// cannot be read or written is logged, and hinders nothing.
func Open(dir, service string, log *slog.Logger) *Log {
	l := &Log{service: service, log: log, work: make(chan struct{}, 1)}
	if dir == "" {
		return l
	}
	path, err := filepath.Abs(filepath.Join(dir, FileName))
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = l.load(path)
	}
	if err != nil {
		log.Error("there will be no history of the upgrades; what is started does not depend on it", "dir", dir, "error", err)
		return l
	}
	l.path = path
	l.written.Go(l.write)
	return l
}

// load reads what is there.
func (l *Log) load(path string) error {
	info, err := os.Stat(filepath.Dir(path))
	if err == nil {
		err = trusted(info)
	}
	if err != nil {
		return err
	}
	text, info, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = trusted(info)
	}
	if err != nil {
		return fmt.Errorf("cannot use the history %s: %w", path, bare(err))
	}
	damaged := 0
	if l.entries, damaged = Parse(text, l.service); damaged > 0 {
		l.log.Warn("lines of the history cannot be read and are passed over", "file", path, "count", damaged)
	}
	return nil
}

// Entries are what is known, oldest first.
func (l *Log) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// Path is the file; "" if there is none.
func (l *Log) Path() string { return l.path }

// Add adds an entry, unless it is there already. It does not wait for the disk.
func (l *Log) Add(e Entry) {
	l.mu.Lock()
	if slices.ContainsFunc(l.entries, e.is) {
		l.mu.Unlock()
		return
	}
	l.entries = latest(append(l.entries, e))
	if l.path != "" {
		l.unsaved = latest(append(l.unsaved, e))
	}
	l.mu.Unlock()
	l.Retry()
}

// Retry has written again what could not be.
func (l *Log) Retry() {
	select {
	case l.work <- struct{}{}:
	default: // it is to be written already
	}
}

// Close waits until all is written that can be.
func (l *Log) Close() {
	if l != nil {
		close(l.work)
		l.written.Wait()
	}
}

// write is the goroutine that waits for the disk. Close joins it.
func (l *Log) write() {
	for range l.work {
		l.save()
	}
	l.save()
}

// save writes what is not written yet, and says once that it cannot.
func (l *Log) save() {
	l.saving.Lock()
	defer l.saving.Unlock()
	l.mu.Lock()
	unsaved, all := l.unsaved, slices.Clone(l.entries)
	l.unsaved = nil
	l.mu.Unlock()
	if len(unsaved) == 0 {
		return
	}
	size, err := add(l.path, l.lines(unsaved))
	if err != nil {
		l.mu.Lock()
		l.unsaved = latest(append(unsaved, l.unsaved...))
		l.mu.Unlock()
	} else if size > maxFile {
		err = replace(l.path, l.lines(all))
	}
	switch {
	case err != nil && !l.failed:
		l.log.Error("cannot write the history of the upgrades; the service goes on, and it is tried again", "file", l.path, "error", err)
	case err == nil && l.failed:
		l.log.Info("the history of the upgrades is written again", "file", l.path)
	}
	l.failed = err != nil
}

// lines are entries as they are written.
func (l *Log) lines(entries []Entry) []byte {
	var text []byte
	for _, e := range entries {
		line, err := e.encode()
		if err != nil {
			l.log.Error("an entry of the history cannot be written", "kind", e.Kind, "request", e.Request, "error", err)
			continue
		}
		text = append(text, line...)
	}
	return text
}
