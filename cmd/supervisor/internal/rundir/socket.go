package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Socket is the control socket: a listener that can be had back by its name
// when somebody has removed its file, as those do who tidy up. Whoever is
// connected stays so. Its methods may be called concurrently, but Accept, which
// has one caller.
type Socket struct {
	path string

	mu     sync.Mutex
	now    *net.UnixListener // owned
	shut   bool              // by a deadline
	closed bool
}

// listenAt opens the socket, mode 0600.
func listenAt(path string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, fmt.Errorf("cannot open the control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot protect the control socket: %w", err), l.Close())
	}
	return l, nil
}

// Socket takes the control socket of the program that this process executed
// before. Closing it removes its file.
func (d *Dir) Socket(l *net.UnixListener) *Socket {
	l.SetUnlinkOnClose(true)
	return &Socket{path: d.Control(), now: l}
}

// Renew opens the socket anew if its file is gone, and reports whether it has.
// While Accept is kept from waiting by a deadline, nothing is done: somebody else
// is about to have the socket.
func (s *Socket) Renew() (renewed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.shut {
		return false, nil
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, fs.ErrNotExist) {
		return false, nil // what is there is not ours to judge
	}
	l, err := listenAt(s.path)
	if err != nil {
		return false, err
	}
	last := s.now
	s.now = l
	last.SetUnlinkOnClose(false) // the file is the new one's
	return true, last.Close()    // which has Accept go on with the new one
}

func (s *Socket) current() *net.UnixListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Accept waits for the next client, at whatever socket has the name by then.
func (s *Socket) Accept() (net.Conn, error) {
	for {
		l := s.current()
		conn, err := l.Accept()
		if err == nil || s.current() == l {
			return conn, err
		}
	}
}

// Close closes the socket and removes its file.
func (s *Socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.now.Close()
}

// Addr is the socket's path.
func (s *Socket) Addr() net.Addr { return s.current().Addr() }

// SetDeadline ends an Accept that waits then; the zero time lets it wait.
func (s *Socket) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = !t.IsZero()
	return s.now.SetDeadline(t)
}

// SetUnlinkOnClose says whether Close removes the file.
func (s *Socket) SetUnlinkOnClose(unlink bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.SetUnlinkOnClose(unlink)
}

// SyscallConn borrows the descriptor, which is that of the socket until Renew.
func (s *Socket) SyscallConn() (syscall.RawConn, error) { return s.current().SyscallConn() }
