package health

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// A Netstat reads the counters of a network namespace. It is not for
// concurrent use.
type Netstat struct {
	files [2]*os.File // netstat and snmp
	texts [2][]byte   // room to read them into
}

// OpenNetstat returns a Netstat of the calling thread's network namespace. It
// stays with that one, whatever the thread does later.
func OpenNetstat() (*Netstat, error) {
	n := &Netstat{}
	// /proc/net would be that of the process's first thread.
	for i, name := range []string{"/proc/thread-self/net/netstat", "/proc/thread-self/net/snmp"} {
		f, err := os.Open(name)
		if err != nil {
			n.Close()
			return nil, fmt.Errorf("cannot read the counters of the network namespace: %w", err)
		}
		n.files[i] = f
	}
	return n, nil
}

// Read returns the counters as they are now.
func (n *Netstat) Read() (Counters, error) {
	for i := range n.files {
		if err := n.read(i); err != nil {
			return Counters{}, fmt.Errorf("cannot read the counters of the network namespace: %w", err)
		}
	}
	return ParseNetstat(n.texts[0], n.texts[1])
}

// read reads a file from its start, where the kernel writes it anew.
func (n *Netstat) read(i int) error {
	const room = 4096
	text := n.texts[i][:0]
	for {
		if cap(text)-len(text) < room {
			text = append(text, make([]byte, room)...)[:len(text)]
		}
		got, err := n.files[i].ReadAt(text[len(text):cap(text)], int64(len(text)))
		text = text[:len(text)+got]
		n.texts[i] = text
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Close closes the Netstat's descriptors.
func (n *Netstat) Close() error {
	var errs []error
	for _, f := range n.files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
