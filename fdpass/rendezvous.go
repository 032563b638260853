package fdpass

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// A Rendezvous is the socket on which a supervisor that goes on where another
// one was waits for the generations that serve. Its file may be connected to by
// its owner and root only. Accept and Close may be called concurrently.
type Rendezvous struct {
	listener *net.UnixListener
	path     string
	file     socketFile
}

// A Peer is the process that connected, as the kernel noted it then.
type Peer struct {
	PID, UID int
	// PIDFD refers to the process even if its number is used again
	// (pidfd_open(2)); it is close-on-exec and the caller's to close, and -1 if
	// the kernel does not give one.
	PIDFD int
}

// ListenRendezvous makes a rendezvous at path and replaces a socket that is
// there: the caller makes sure that nobody else does the same, by a lock on the
// folder for instance.
func ListenRendezvous(path string) (*Rendezvous, error) {
	r, err := listenRendezvous(path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for the generations that serve at %s: %w", path, err)
	}
	return r, nil
}

func listenRendezvous(path string) (*Rendezvous, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path of a socket has %d bytes at most, not %d; use a shorter folder", maxSocketPath, len(path))
	}
	if err := removeSocket(path); err != nil {
		return nil, err
	}
	fd, file, err := listenSocket(path)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &Rendezvous{listener: l.(*net.UnixListener), path: path, file: file}, nil
}

// removeSocket removes what a former supervisor left, and nothing that is no
// socket.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is no socket; remove it")
	}
	return os.Remove(path)
}

// Accept waits for the next process that connects. It gives the Conn and the
// descriptor of the Peer. Only the uid is proof of anything: the caller judges
// whether the process is the one that it expects, and hears its token. After
// Close the error is net.ErrClosed.
func (r *Rendezvous) Accept() (*Conn, Peer, error) {
	sock, err := r.listener.AcceptUnix()
	if err != nil {
		return nil, Peer{}, fmt.Errorf("cannot accept at the rendezvous: %w", err)
	}
	c := connOf(sock)
	pid, uid, err := c.Peer()
	if err != nil {
		return nil, Peer{}, errors.Join(err, c.Close())
	}
	return c, Peer{PID: pid, UID: uid, PIDFD: c.pidfd(pid)}, nil
}

// Close ends Accept and removes the file, unless another rendezvous has taken
// its place. Connections stay open.
func (r *Rendezvous) Close() error {
	err := r.listener.Close()
	if file, gone := identify(r.path); gone == nil && file == r.file {
		err = errors.Join(err, os.Remove(r.path))
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("cannot close the rendezvous at %s: %w", r.path, err)
	}
	return nil
}

// DialRendezvous connects a child to the rendezvous of its supervisor. What
// listens there must belong to root or to the user of this process, as the
// kernel says (SO_PEERCRED, unix(7)): nobody else may hear the token. It does
// not wait for a supervisor that has no time to accept.
func DialRendezvous(path string) (*Conn, error) {
	sock, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: path})
	if err != nil {
		return nil, fmt.Errorf("cannot reach the supervisor: %w", err)
	}
	c := connOf(sock)
	_, uid, err := c.Peer()
	if err == nil {
		err = trustedUser(uid, os.Geteuid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot trust the supervisor at %s: %w", path, err), c.Close())
	}
	return c, nil
}

// trustedUser reports why a process of that uid may not hear the token of one
// with uid own.
func trustedUser(uid, own int) error {
	if uid != 0 && uid != own {
		return fmt.Errorf("user %d listens there, who is neither root nor the user %d of this process", uid, own)
	}
	return nil
}
