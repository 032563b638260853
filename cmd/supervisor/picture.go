package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// A picture is the file of --plot. Nil, and then nothing is done, without it.
type picture struct {
	name string
	file *os.File // nil if there was none before; owned
}

// openPicture finds out before the run whether the file can be written. It
// leaves an older picture in it until there is a new one, and no file where there
// was none: who is killed meanwhile leaves nothing behind.
func openPicture(name string) (*picture, error) {
	if name == "" {
		return nil, nil
	}
	p := &picture{name: name}
	probe, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	switch {
	case err == nil:
		err = errors.Join(os.Remove(name), probe.Close())
	case errors.Is(err, fs.ErrExist):
		p.file, err = os.OpenFile(name, os.O_WRONLY, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot draw: %w; give --plot a file that can be written", err)
	}
	return p, nil
}

// draw has what is in the file replaced by what by draws.
func (p *picture) draw(by func(io.Writer) error) (err error) {
	if p == nil {
		return nil
	}
	if p.file == nil {
		p.file, err = os.Create(p.name)
	} else {
		err = p.clear()
	}
	if err == nil {
		err = by(p.file)
	}
	if err != nil {
		return fmt.Errorf("cannot draw %s: %w", p.name, err)
	}
	return nil
}

// clear empties a file; what is none, as a pipe, is not to be emptied.
func (p *picture) clear() error {
	info, err := p.file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	return p.file.Truncate(0)
}

// close removes the file if nothing was drawn.
func (p *picture) close() error {
	if p == nil || p.file == nil {
		return nil
	}
	info, err := p.file.Stat()
	if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		err = os.Remove(p.name)
	}
	return errors.Join(err, p.file.Close())
}
