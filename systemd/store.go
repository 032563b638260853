package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Store puts a copy of a descriptor into this service's descriptor store, from
// which it comes back to the next process of the service. It borrows fd. The
// service needs FileDescriptorStoreMax=; without it, or beyond it, nothing is
// stored, and nothing is said: only the property NFileDescriptorStore of the
// service tells. One socket under two names is stored once, and under one name
// may be several.
func (n *Notifier) Store(name string, fd int) error {
	if !n.On() {
		return nil
	}
	if err := judgeStoreName(name); err != nil {
		return fmt.Errorf("cannot store descriptor %d as %q: %w", fd, name, err)
	}
	// Without FDPOLL=0 it would be dropped once it has an error or a hang-up,
	// as a listener has after shutdown(2).
	return n.sendWith([]int{fd}, "FDSTORE=1", "FDNAME="+name, "FDPOLL=0")
}

// Unstore removes all descriptors of that name from the store.
func (n *Notifier) Unstore(name string) error {
	if !n.On() {
		return nil
	}
	if err := judgeStoreName(name); err != nil {
		return fmt.Errorf("cannot remove %q from the store: %w", name, err)
	}
	return n.send("FDSTOREREMOVE=1", "FDNAME="+name)
}

// judgeStoreName says what systemd would not, but store the descriptor under
// the name "stored" (fdname_is_valid in its fd-util.c).
func judgeStoreName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > maxName:
		return fmt.Errorf("the name is longer than %d bytes", maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r >= 0x7f || r == ':' }):
		return errors.New(`a name is made of printable ASCII without ":"`)
	}
	return nil
}

// Barrier returns when the service manager has processed all that was sent
// before, or with an error when ctx is done. A process that ends right after it
// has sent something has to wait so, or systemd may not know any more whose it was.
func (n *Notifier) Barrier(ctx context.Context) error {
	if !n.On() {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot wait for systemd: %w", err)
	}
	defer r.Close()
	err = n.sendEnd(w)
	w.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// systemd writes nothing; it closes the other end.
	if _, err := r.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("cannot wait for systemd to process what it was told: %w", context.Cause(ctx))
	}
	return nil
}

func (n *Notifier) sendEnd(w *os.File) error {
	raw, err := w.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot wait for systemd: %w", err)
	}
	var sent error
	err = raw.Control(func(fd uintptr) { sent = n.sendWith([]int{int(fd)}, "BARRIER=1") })
	return errors.Join(sent, err)
}
