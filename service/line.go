package service

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/listen"
)

// maxWord is the size of the longest word on a line, in bytes.
const maxWord = 16 << 20

// A line connects a process with the one that replaces it. In the one direction
// go an estate, the descriptors of its listeners, and in the end the word to
// serve; in the other the word that the new one is ready, or why it is not.
type line struct{ conn *net.UnixConn }

// An estate is what a process leaves to the next.
type estate struct {
	Listeners []heirloom `json:"listeners"`
	// Notify and Watchdog are the notifier's.
	Notify   string        `json:"notify,omitempty"`
	Watchdog time.Duration `json:"watchdog_ns,omitempty"`
	// Unit says that the service is a unit of systemd.
	Unit bool `json:"unit,omitempty"`
	// Activated says that the listeners come from socket units.
	Activated bool `json:"activated,omitempty"`
}

// An heirloom is one listener of an estate. Its descriptor follows.
type heirloom struct {
	Name    string `json:"name"`
	Network string `json:"network"`
	// Spec is what the listener was opened from; empty for one that is kept.
	Spec string `json:"spec,omitempty"`
	// File is that of a Unix socket that is removed in the end.
	File listen.FileID `json:"file"`
	Kept bool          `json:"kept,omitempty"`

	fd int // not in the word
}

// A word is what goes over a line. Just one of its fields is set.
type word struct {
	Estate *estate `json:"estate,omitempty"`
	Ready  int     `json:"ready,omitempty"`  // the process id of the new one
	Failed string  `json:"failed,omitempty"` // why the new one is not ready
	Serve  bool    `json:"serve,omitempty"`  // to the new one: the old one leaves
}

// newLine gives both ends. The other one is for a process that is to be started.
func newLine() (l *line, other *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a line to the next process: %w", os.NewSyscallError("socketpair", err))
	}
	own := os.NewFile(uintptr(fds[0]), "line")
	defer own.Close()
	if l, err = lineOf(own); err != nil {
		closeFD(fds[1])
		return nil, nil, err
	}
	return l, os.NewFile(uintptr(fds[1]), "line"), nil
}

// lineOf makes a line of its end, which it borrows.
func lineOf(end *os.File) (*line, error) {
	conn, err := net.FileConn(end)
	if err != nil {
		return nil, fmt.Errorf("cannot use the line between two processes: %w", err)
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("cannot use the line between two processes: it is a %T", conn)
	}
	return &line{u}, nil
}

func (l *line) close() { _ = l.conn.Close() }

func (l *line) say(w word) error {
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	_, err = l.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	return err
}

// hear reads the next word and not a byte more: a descriptor belongs to the byte
// that it comes with.
func (l *line) hear() (w word, err error) {
	var length [4]byte
	if _, err := io.ReadFull(l.conn, length[:]); err != nil {
		return w, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxWord {
		return w, fmt.Errorf("a word of %d bytes is too long", n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(l.conn, text); err != nil {
		return w, err
	}
	return w, json.Unmarshal(text, &w)
}

// give hands an estate over. It borrows the descriptors.
func (l *line) give(e estate) error {
	if err := l.say(word{Estate: &e}); err != nil {
		return err
	}
	for _, h := range e.Listeners {
		if _, _, err := l.conn.WriteMsgUnix([]byte{0}, unix.UnixRights(h.fd), nil); err != nil {
			return fmt.Errorf("cannot pass listener %q: %w", h.Name, err)
		}
	}
	return nil
}

// take receives an estate and gives its descriptors.
func (l *line) take() (estate, error) {
	w, err := l.hear()
	if err == nil && w.Estate == nil {
		err = errors.New("it says something else first")
	}
	if err != nil {
		return estate{}, fmt.Errorf("cannot take over from the process before: %w", err)
	}
	e := *w.Estate
	for i := range e.Listeners {
		if e.Listeners[i].fd, err = l.takeFD(); err != nil {
			for _, h := range e.Listeners[:i] {
				closeFD(h.fd)
			}
			return estate{}, fmt.Errorf("cannot take over listener %q from the process before: %w", e.Listeners[i].Name, err)
		}
	}
	return e, nil
}

// takeFD reads one byte and the descriptor that comes with it, close-on-exec.
func (l *line) takeFD() (int, error) {
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := l.conn.ReadMsgUnix(b[:], oob)
	if err != nil {
		return -1, err
	}
	if n == 0 {
		return -1, io.ErrUnexpectedEOF
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return -1, errors.Join(err, errors.New("no descriptor came: too many files may be open, see ulimit -n"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.Join(err, fmt.Errorf("%d descriptors came instead of one", len(fds)))
	}
	return fds[0], nil
}
